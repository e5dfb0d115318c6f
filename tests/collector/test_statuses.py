"""What networks' words for the state of a conversion mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Refused
from streams.collector.statuses import STATUSES, Meaning, meaning_of


@pytest.mark.parametrize(
    ("word", "action", "meaning"),
    [
        ("", "", Meaning("purchase", "")),
        ("", "lead", Meaning("lead", "")),
        ("sale", "", Meaning("purchase", "approved")),
        ("SALE ", "", Meaning("purchase", "approved")),
        ("lead", "", Meaning("lead", "approved")),
        ("lead", "lead", Meaning("lead", "approved")),
        ("lead", "purchase", Meaning("purchase", "pending")),
        ("rebill", "", Meaning("rebill", "approved")),
        ("registration", "", Meaning("signup", "approved")),
        ("install", "", Meaning("install", "approved")),
        ("hold", "", Meaning("purchase", "pending")),
        ("approved", "demo", Meaning("demo", "approved")),
        ("rejected", "", Meaning("purchase", "rejected")),
        ("trash", "lead", Meaning("lead", "rejected")),
        ("chargeback", "", Meaning("purchase", adjustment="retract")),
        ("refund", "rebill", Meaning("rebill", adjustment="retract")),
        ("restate", "", Meaning("purchase", adjustment="restate")),
    ],
)
def test_words(word: str, action: str, meaning: Meaning) -> None:
    """Without a word it is a sale; a stated action holds; what takes money back is an adjustment."""
    found = meaning_of(word, action)
    assert (found.action, found.adjustment) == (meaning.action, meaning.adjustment)
    assert found.adjustment or found.status == meaning.status


@given(st.text(min_size=1, max_size=200), st.text(max_size=20))
def test_other_words_are_refused(word: str, action: str) -> None:
    """With the words that there are; of a long one only the beginning is repeated."""
    if word.strip().lower() in STATUSES:
        assert meaning_of(word, action).action
        return
    with pytest.raises(Refused, match="status") as caught:
        meaning_of(word, action)
    assert len(caught.value.detail) < 600
