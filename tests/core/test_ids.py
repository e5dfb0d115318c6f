"""Identities: stable, unambiguous, and where they put a record (contract, sections 1 and 2)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.ids import (
    ClickId,
    conversion_id,
    event_hash,
    mint_click_id,
    partition_of,
    read_click_id,
    read_keys,
    verify_click_id,
    visitor_hash,
)

KEYS = [("new", b"secret"), ("old", b"former")]
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


def test_a_conversion_s_id_never_changes():
    """It is in every store downstream: these are promises."""
    assert conversion_id("shop.example", "purchase", "o1", "ignored") == "fadc38ac03b252fd5c08bde2ff7101c2"
    assert conversion_id("shop.example", "ignored", "", "e1") == "ca3a896426ae1f8dbd08ce43bf48aa48"


def test_what_a_conversion_s_id_is_of():
    """(site, action, order id), or (site, event id) without order id."""
    assert conversion_id("s", "a", "o", "e1") == conversion_id("s", "a", "o", "e2")
    assert conversion_id("s", "a", "", "e") == conversion_id("s", "b", "", "e")
    distinct = [
        conversion_id(*parts)
        for parts in [
            ("s", "a", "o", ""),
            ("sa", "", "o", ""),
            ("s", "ao", "x", ""),
            ("s", "", "", "o"),
            ("s", "o", "a", ""),
        ]
    ]
    assert len(set(distinct)) == len(distinct)


@settings(deadline=None)
@given(texts, texts, texts, texts)
def test_a_visitor_is_site_and_visitor_id(site, visitor, other_site, other_visitor):
    """No two look alike, however they are joined."""
    same = (site, visitor) == (other_site, other_visitor)
    assert (visitor_hash(site, visitor) == visitor_hash(other_site, other_visitor)) == same
    assert visitor_hash(site + "1", visitor) != visitor_hash(site, "1" + visitor)
    assert (len(visitor_hash(site, visitor)), len(event_hash(visitor))) == (16, 8)


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_partitions_are_kafka_s(key, hashed):
    """murmur2 of Kafka's own test vectors (UtilsTest.testMurmur2), sign bit off, modulo."""
    assert partition_of(key, 12) == (hashed & 0x7FFFFFFF) % 12


@settings(deadline=None)
@given(texts, texts, st.binary(max_size=16))
def test_a_click_id_says_who_and_what_and_can_be_verified(visitor, campaign, nonce):
    """By any of the keys; it fits into an address as it is."""
    click_id = mint_click_id(visitor, campaign, nonce, KEYS)
    expected = ClickId(visitor, campaign, nonce)
    assert read_click_id(click_id) == verify_click_id(click_id, KEYS) == expected
    assert verify_click_id(mint_click_id(visitor, campaign, nonce, KEYS[1:]), KEYS) == expected
    assert set(click_id) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_a_forged_click_id_is_read_but_not_verified():
    """Another secret, another name, another body."""
    click_id = mint_click_id("v", "c", b"1", KEYS)
    assert verify_click_id(click_id, [("new", b"other")]) is None
    assert verify_click_id(click_id, [("other", b"secret")]) is None
    head, body, _ = click_id.split(".")
    forged = f"{head}.{body}.{mint_click_id('w', 'c', b'1', KEYS).split('.')[2]}"
    assert read_click_id(forged) is not None
    assert verify_click_id(forged, KEYS) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hw1",
        "hw1..",
        "hw1.a.b",
        "hw2.e30.AA",
        "hw1.e30.AA",
        "hw1.W10.AA",
        "hw1.W251bGwsMSwyLDNd.AA",
        "hw1.é.é",
        "a.b.c.d",
    ],
)
def test_what_is_no_click_id_of_ours(text):
    """Read as nothing, never an error."""
    assert read_click_id(text) is None
    assert verify_click_id(text, KEYS) is None


@settings(deadline=None)
@given(st.text())
def test_no_text_breaks_the_reader(text):
    """Whatever an address carries."""
    read_click_id(text)
    read_click_id(f"hw1.{text}.{text}")


def test_keys_are_read_in_order():
    """The first one signs."""
    assert read_keys(" a:x , b:y:z,") == [("a", b"x"), ("b", b"y:z")]
    for text in ("a", ":x", "a:"):
        with pytest.raises(ValueError, match="id:secret"):
            read_keys(text)
