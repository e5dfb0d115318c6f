"""The feed: one cycle for all who look on, none when nobody does."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing, asynccontextmanager

import orjson
import pytest
from prometheus_client import CollectorRegistry

from schemas.errors import Unavailable
from sinks.page import feed as module
from sinks.page.feed import Feed, TooMany
from sinks.page.metrics import PageMetrics
from sinks.page.question import Question

LINEAR, FIRST = Question(model="linear"), Question(model="first_touch")


class Desk:
    """Answers questions by counting them; away while `problem` says so."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.problem = ""
        self.still = False
        self.registry = CollectorRegistry()
        self.feed = Feed(self.ask, self.look, PageMetrics(self.registry), pause=0.01)

    async def ask(self, question: Question) -> dict:
        if self.problem:
            raise Unavailable(self.problem)
        self.asked[question.model] += 1
        return {"model": question.model, "round": 0 if self.still else self.asked[question.model]}

    async def look(self) -> dict:
        return {"verdict": "good"}


@asynccontextmanager
async def opened():
    desk = Desk()
    async with asyncio.timeout(20):
        yield desk
        await desk.feed.close()


async def until(messages, name: str, wanted=lambda data: True) -> dict:
    """The first event of that name that is wanted."""
    async for message in messages:
        for block in message.decode().split("\n\n"):
            kind, _, data = block.partition("\ndata: ")
            if kind == f"event: {name}" and wanted(found := orjson.loads(data)):
                return found
    pytest.fail("the stream ended")


async def test_viewers_of_one_question_share_its_answers():
    """Three look on, and each answer is asked for once."""
    async with opened() as desk:
        streams = [desk.feed.follow(LINEAR) for _ in range(3)]
        found = await asyncio.gather(*(until(stream, "figures", lambda data: data["round"] >= 4) for stream in streams))
        rounds = [data["round"] for data in found]
        assert max(rounds) <= desk.asked["linear"] <= max(rounds) + 1
        assert desk.registry.get_sample_value("headwater_page_viewers") == 3
        assert desk.registry.get_sample_value("headwater_page_questions") == 1
        for stream in streams:
            await stream.aclose()


async def test_nothing_is_asked_when_nobody_looks():
    """The last viewer's leaving ends the cycle; another one's coming begins it anew, at once."""
    async with opened() as desk:
        async with aclosing(desk.feed.follow(LINEAR)) as messages:
            await until(messages, "tick")
        asked = desk.asked["linear"]
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        assert desk.asked["linear"] == asked
        async with aclosing(desk.feed.follow(FIRST)) as messages:
            assert (await until(messages, "figures"))["model"] == "first_touch"


async def test_who_loads_the_page_again_sees_the_last_figures_at_once():
    """Before ClickHouse has answered; then the new ones."""
    async with opened() as desk:
        async with aclosing(desk.feed.follow(LINEAR)) as messages:
            await until(messages, "tick")
        desk.problem = "ClickHouse does not answer"
        async with aclosing(desk.feed.follow(LINEAR)) as messages:
            assert (await until(messages, "figures"))["model"] == "linear"


async def test_another_question_is_answered_at_once():
    """It does not wait for the next cycle of those that are there."""
    async with opened() as desk:
        desk.feed._pause = 3600.0
        async with aclosing(desk.feed.follow(LINEAR)) as first, aclosing(desk.feed.follow(FIRST)) as second:
            await until(first, "tick")
            assert (await until(second, "figures"))["round"] == 1


async def test_who_is_away_is_said_and_the_figures_stay():
    """A tick names what is wrong; when it is mended, figures come again by themselves."""
    async with opened() as desk, aclosing(desk.feed.follow(LINEAR)) as messages:
        await until(messages, "figures")
        desk.problem = "ClickHouse does not answer"
        assert (await until(messages, "tick", lambda data: data["problem"]))["problem"] == desk.problem
        desk.problem = ""
        await until(messages, "tick", lambda data: not data["problem"])
        assert desk.registry.get_sample_value("headwater_page_answer_failures_total") >= 1


async def test_figures_that_stay_the_same_are_sent_once():
    """Ticks go on: a viewer knows that it is live."""
    async with opened() as desk:
        desk.still = True
        seen = b""
        async with aclosing(desk.feed.follow(LINEAR)) as messages:
            async for message in messages:
                seen += message
                if seen.count(b"event: tick") >= 4:
                    break
        assert seen.count(b"event: figures") == 1


async def test_who_reads_slowly_gets_the_latest():
    """No backlog: between two reads only the newest state is kept."""
    async with (
        opened() as desk,
        aclosing(desk.feed.follow(LINEAR)) as slow,
        aclosing(desk.feed.follow(LINEAR)) as quick,
    ):
        await until(slow, "figures")
        latest = await until(quick, "figures", lambda data: data["round"] >= 8)
        assert (await until(slow, "figures"))["round"] >= latest["round"]


async def test_a_fault_of_ours_is_told_too():
    """A viewer sees that something is wrong, and the cycle goes on."""
    async with opened() as desk:
        answer, desk.feed._ask = desk.feed._ask, lambda question: 1 / 0
        async with aclosing(desk.feed.follow(LINEAR)) as messages:
            assert "ZeroDivisionError" in (await until(messages, "tick"))["problem"]
            desk.feed._ask = answer
            await until(messages, "figures")


async def test_more_than_can_be_served_are_refused(monkeypatch):
    """In one line; those who are there stay."""
    monkeypatch.setattr(module, "MOST_QUESTIONS", 1)
    monkeypatch.setattr(module, "MOST_VIEWERS", 2)
    async with (
        opened() as desk,
        aclosing(desk.feed.follow(LINEAR)) as one,
        aclosing(desk.feed.follow(LINEAR)) as two,
    ):
        await until(one, "tick")
        with pytest.raises(TooMany):
            await anext(desk.feed.follow(FIRST))
        await until(two, "tick")
        with pytest.raises(TooMany):
            await anext(desk.feed.follow(LINEAR))


async def test_closing_ends_every_stream():
    """A stop in order does not wait for viewers."""
    async with opened() as desk:
        messages = desk.feed.follow(LINEAR)
        await until(messages, "tick")
        await desk.feed.close()
        assert [message async for message in messages if b"event: tick" in message] == []
