"""A replay from end to end: which letters are meant, what becomes of each, and what it comes to.

Rule: what was sent before is passed over, and what would be refused again stays; both are counted and told.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from schemas.errors import ConfigurationError
from streams.cli.dead_letters.mended import mended_values
from streams.cli.dead_letters.plans import Plan, Rules, plan
from streams.cli.dead_letters.sending import BYTES, LETTERS, Sender
from streams.cli.dead_letters.topic import letterbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from schemas.records import ReplayRecord
    from schemas.settings import Settings
    from streams.cli.dead_letters.letters import Choice, Letter, Place
    from streams.cli.dead_letters.mended import Line

KEPT: Final = 1_000
"""Letters that are told one by one; all are counted."""


@dataclass(slots=True)
class Tally:
    """What became of the letters that were meant; `plans` and `stays` hold the first of them."""

    replayed: int = 0
    before: int = 0
    records: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    plans: list[Plan] = field(default_factory=list)
    stays: list[Plan] = field(default_factory=list)

    @property
    def meant(self) -> int:
        """How many letters were looked at."""
        return self.replayed + self.before + self.refused.total()

    def sent(self, plans: list[Plan]) -> None:
        """Count what is done, or would be."""
        self.replayed += len(plans)
        self.records.update(record.topic for made in plans for record in made.records)
        self.plans += plans[: KEPT - len(self.plans)]

    def stayed(self, made: Plan) -> None:
        """Count a letter that would be refused again."""
        self.refused[made.refused[0].reason] += 1
        if len(self.stays) < KEPT:
            self.stays.append(made)

    def as_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "replayed": self.replayed,
            "replayed_before": self.before,
            "records": dict(self.records),
            "refused_again": dict(self.refused),
            "stays": [
                {"letter": made.letter.id, "reason": refusal.reason, "detail": refusal.detail}
                for made in self.stays
                for refusal in made.refused[:1]
            ],
        }


async def replay(
    settings: Settings,
    choice: Choice,
    rules: Rules,
    *,
    lines: Mapping[Place, Line] | None = None,
    dry_run: bool = False,
    told: Callable[[int, int], None] = lambda _done, _total: None,
    letters: int = LETTERS,
) -> Tally:
    """Send the letters of `choice` again, so many in one transaction, those of `lines` as they were mended.

    Raises `ConfigurationError` where a letter that was named is not there, `CommitFailed`, `Unavailable`; letters that
    were sent by then stay sent.
    """
    async with AsyncExitStack() as stack:
        sender: Sender | None = None
        if not dry_run:
            sender = Sender(settings)
            stack.push_async_callback(sender.close)
            await sender.open()
        box = await stack.enter_async_context(letterbox(settings))
        named = [letter async for letter in box.letters(choice)] if choice.places else []
        _check(named, choice, box.topic_id, lines or {})
        rules = replace(rules, partitions=box.partitions)
        run = _Run(sender, rules, lines or {}, await box.replays(), letters)
        if choice.places:
            for number, letter in enumerate(named):
                await run.take(letter)
                told(number + 1, len(named))
        else:
            async for letter in box.letters(choice, told):
                await run.take(letter)
        await run.flush()
        return run.tally


@dataclass(slots=True)
class _Run:
    """A replay under way: the letters that go into the next transaction, and what was done so far."""

    sender: Sender | None
    rules: Rules
    lines: Mapping[Place, Line]
    replays: Mapping[bytes, ReplayRecord]
    letters: int
    tally: Tally = field(default_factory=Tally)
    batch: list[Plan] = field(default_factory=list)
    size: int = 0

    async def take(self, letter: Letter) -> None:
        """Add what sends `letter` to the batch, unless it was sent before or would not be taken."""
        if letter.mark in self.replays:
            self.tally.before += 1
            return
        line = self.lines.get(letter.place)
        made = plan(letter, self.rules, None if line is None else mended_values(line, letter))
        if not made.records:
            self.tally.stayed(made)
            return
        self.batch.append(made)
        self.size += sum(len(record.value) for record in made.records)
        if len(self.batch) >= self.letters or self.size >= BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Send the batch."""
        if self.batch:
            if self.sender is not None:
                await self.sender.send(self.batch)
            self.tally.sent(self.batch)
        self.batch, self.size = [], 0


def _check(named: list[Letter], choice: Choice, topic_id: str, lines: Mapping[Place, Line]) -> None:
    """Raise `ConfigurationError` where a letter was named that is not there."""
    for line in lines.values():
        if line.topic_id != topic_id:
            where = f"line {line.number}: {line.place[0]}:{line.place[1]}"
            raise ConfigurationError(f"{where} is a letter of another topic `dead-letters` than this one")
    missing = sorted(set(choice.places) - {letter.place for letter in named})
    if missing:
        first = ", ".join(f"{partition}:{offset}" for partition, offset in missing[:5])
        more = f" and {len(missing) - 5:,} more" if len(missing) > 5 else ""
        raise ConfigurationError(f"no such letter: {first}{more} (they are kept for 30 days)")
