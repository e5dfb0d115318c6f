"""Patterns of the registry: whole values, any case, and never slow."""

from __future__ import annotations

import time

import pytest

from schemas.patterns import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("influencer", "influencer", True),
        ("influencer", "Influencer", True),
        ("INFLUENCER", "influencer", True),
        ("influencer", "influencers", False),
        ("influencer", "an influencer", False),
        ("a|b", "b", True),
        ("a|b", "ab", False),
        ("a.*b", "a\nb", True),
        ("a", "a\n", False),
        ("^a$", "a", True),
        ("^$", "", True),
        (".+", "", False),
        ("über.*", "ÜBERGANG", True),
        (r"\(direct\)", "(direct)", True),
        (r"inf_\d+", "inf_12", True),
    ],
)
def test_a_pattern_matches_the_whole_value_in_any_case(pattern, text, matches):
    """Also over line ends, and letters beyond ASCII."""
    assert compile_pattern(pattern)(text) is matches


@pytest.mark.parametrize(
    "pattern", ["(", "a)|(b", "[a", "a{2", "*", r"(?=a)b", r"(a)\1", r"\q", "(?x)a # b", "a{1000}{1000}"]
)
def test_what_is_no_pattern(pattern):
    """Nor one that looks around, refers back, or grows beyond bounds."""
    with pytest.raises(ValueError, match="no regular expression that can be used here"):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|a)*b", "(.*)*x(.*)*y", ".*a.*a.*a.*a.*b"])
def test_no_pattern_is_slow(pattern):
    """Those that take a backtracking engine for ever; a bound that only such a one would break."""
    started = time.perf_counter()
    assert not compile_pattern(pattern)("a" * 8192)
    assert time.perf_counter() - started < 5
