"""Rate limits: who has to wait, how long, and how much is remembered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.collector.limits import Limiter


class Bucket:
    """The slow model: a bucket of tokens that fills up by the second."""

    def __init__(self, rate: float, size: float) -> None:
        self._rate, self._size, self._tokens, self._at = rate, size, size, 0.0

    def take(self, now: float) -> bool:
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@given(
    st.lists(st.sampled_from([0, 0.125, 0.25, 0.5, 1, 4, 16]), max_size=60),
    st.sampled_from([0.5, 1, 2, 8]),
    st.sampled_from([1, 2, 4]),
)
def test_as_a_bucket_of_tokens(pauses: list[float], rate: float, burst_s: float) -> None:
    """The same requests pass."""
    limiter, bucket, now = Limiter(rate, burst_s=burst_s), Bucket(rate, max(1, rate * burst_s)), 0.0
    for pause in pauses:
        now += pause
        assert (limiter.take("a", now) == 0) == bucket.take(now)


def test_waiting_helps() -> None:
    """After just the time that was said, and not before."""
    limiter = Limiter(2, burst_s=1)
    assert [limiter.take("a", 5.0) for _ in range(3)] == [0, 0, 0.5]
    assert limiter.take("a", 5.4) > 0
    assert limiter.take("a", 5.5) == 0


def test_each_for_itself() -> None:
    """Nobody waits for another."""
    limiter = Limiter(1, burst_s=1)
    assert (limiter.take("a", 0), limiter.take("b", 0)) == (0, 0)
    assert limiter.take("a", 0) > 0


def test_no_limit() -> None:
    """A rate of 0 is none."""
    limiter = Limiter(0)
    assert not any(limiter.take("a", 0) for _ in range(1000))
    limiter.fine("a", 0, 1000)
    assert limiter.take("a", 0) == 0


def test_looking_costs_nothing() -> None:
    """It says whether one would be let in, and takes nothing."""
    limiter = Limiter(1, burst_s=1)
    assert not any(limiter.look("a", 0) for _ in range(10))
    assert limiter.take("a", 0) == 0
    assert limiter.look("a", 0) == limiter.take("a", 0) == pytest.approx(1)
    assert limiter.look("a", 1) == 0
    assert Limiter(0).look("a", 0) == 0


def test_a_fine_ends() -> None:
    """Who fails often waits as long as one failure costs, and no longer: the address may get another owner."""
    limiter = Limiter(1, burst_s=10)
    for _ in range(100):
        limiter.fine("a", 0, 20)
    assert limiter.take("a", 0) == pytest.approx(21)
    assert limiter.take("a", 21) == 0


def test_failures_are_slowed_down() -> None:
    """Who is charged only for failures can make few of them: in 100 s a burst's worth, then one each 20 s."""
    limiter, failures = Limiter(1, burst_s=10), 0
    for now in range(100):
        if limiter.look("a", now) == 0:
            failures += 1
            limiter.fine("a", now, 20)
    assert failures <= 6


def test_memory_is_bounded() -> None:
    """Under a flood from ever new addresses; who owes most is remembered."""
    limiter = Limiter(1, burst_s=10, max_senders=1000)
    for _ in range(10):
        limiter.take("greedy", 0)
    for number in range(20_000):
        limiter.take(f"sender {number}", number / 1e6)
        assert len(limiter) <= 1001
    assert limiter.take("greedy", 0.02) > 0
