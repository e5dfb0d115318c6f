from __future__ import annotations

from streams.core.ids import read_keys, verify_click_id
from streams.simulator.click_ids import DEFAULT_KEYS, mint


def test_the_core_believes_the_shops_click_ids():
    """Two accounts of one format: what the simulator signs, the core verifies and reads."""
    found = verify_click_id(mint("v-1", "autumn sale", b"0123456789ab"), read_keys(DEFAULT_KEYS))
    assert found is not None
    assert (found.visitor_id, found.campaign, found.nonce) == ("v-1", "autumn sale", b"0123456789ab")


def test_the_first_key_signs():
    """As the setting says."""
    assert verify_click_id(mint("v", "c", b"n", "a:one,b:two"), [("a", b"one")]) is not None
