"""Questions: what an address may ask."""

from __future__ import annotations

import pytest

from sinks.page.question import BadQuestion, Question, read_question


def test_nothing_stated_is_the_usual_view():
    assert read_question({}) == Question("", "24h", "last_non_direct", "", "UTC")


def test_what_is_stated_is_asked():
    stated = {"site": "shop", "period": "7d", "model": "linear", "currency": "USD", "zone": "Europe/Berlin"}
    assert read_question(stated) == Question("shop", "7d", "linear", "USD", "Europe/Berlin")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "/etc", "Europe", "x" * 65, "\0"])
def test_an_unknown_zone_is_utc(zone):
    """A browser may know one that this machine does not; the answer says which it took."""
    assert read_question({"zone": zone}).zone == "UTC"


@pytest.mark.parametrize(
    ("name", "value"),
    [("period", "2h"), ("model", "best"), ("currency", "eur"), ("currency", "EUR'--"), ("site", "x" * 65)],
)
def test_what_means_nothing_is_refused_by_name(name, value):
    with pytest.raises(BadQuestion, match=f"^{name}: "):
        read_question({name: value})
