"""The story as text, within 100 columns: facts, journey, credits and versions of a conversion."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from schemas.reasons import MODELS
from streams.cli.explain.versions import at, first_and_now, in_currency, versions_table, versions_title
from streams.cli.report import words
from streams.cli.report.tables.frame import WIDTH
from streams.core.explain import TEXTS, weightless

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from streams.cli.explain.story import Story, Told
    from streams.core.explain import NoCredit, Why

__all__ = ["MOST_TOUCHES", "WIDTH", "print_story"]

MOST_TOUCHES: Final = 40
"""More touches are shown only when asked for: the first, and the last ones."""
_SHORT: Final[dict[NoCredit, str]] = {
    "not_last": "not last",
    "not_first": "not first",
    "direct_passed_over": "passed over",
    "not_last_non_direct": "not last",
}


def print_story(story: Story, console: Console, *, most: int) -> None:
    """All of it; at most so many touches (0: all)."""
    console.print(_heading(story))
    for note in story.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    if story.facts:
        _section(console, "What was told of it", _facts(story))
    shown, left_out = _chosen(story.touches, most)
    if shown:
        _section(console, f"Its visitor's journey: {len(story.touches):,} touches", _journey(story, shown))
        if left_out:
            console.print(Text(f"{left_out:,} touches between them are left out; --all shows them", style="dim"))
    credited = [told for told in shown if told.place is not None]
    if credited:
        _section(console, "What each model gave", _credits(story, credited))
        console.print(Text(_legend(story), style="dim"))
    if story.versions:
        _section(console, versions_title(story.versions), versions_table(story))
    if len(story.versions) > 1:
        _section(console, "As first reported, and as now known", first_and_now(story))


def _section(console: Console, title: str, table: Table) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    console.print(table)


def _heading(story: Story) -> Table:
    found, named = story.attribution, story.named
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    order = f" {named.order_id}" if named.order_id else ""
    what = Text(words.plain(f"{named.action}{order}"))
    table.add_row(what, Text(words.plain(f"at {named.site}: {found['status']}"), style="bold"))
    value = in_currency(found["value_micros"], found["currency"])
    if found["value_micros"] != found["value_reported_micros"]:
        value += f" (reported: {in_currency(found['value_reported_micros'], found['currency'])})"
    table.add_row("value", value)
    table.add_row("time", f"{at(found['conversion_time'], story)} ({story.zone.key})")
    table.add_row("visitor", Text(words.plain(found["visitor_id"]) or "not known"))
    table.add_row("conversion id", named.conversion_id)
    return table


def _facts(story: Story) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("event", max_width=38, overflow="fold")
    table.add_column("happened", no_wrap=True)
    table.add_column("received", no_wrap=True)
    table.add_column("says", overflow="fold")
    for fact in story.facts:
        late = fact["received_at"] - fact["time"]
        received = (
            "at once" if -1000 < late < 10_000 else f"{words.duration(abs(late))} {'later' if late > 0 else 'before'}"
        )
        says = Text(words.plain(_says(fact, story)))
        table.add_row(Text(words.plain(fact["event_id"])), at(fact["time"], story), received, says)
    return table


def _says(fact: dict[str, Any], story: Story) -> str:
    said = [fact.get("adjustment") or "conversion"]
    if "value_micros" in fact:
        currency = fact.get("currency") or story.attribution["currency"]
        said.append(in_currency(fact["value_micros"], currency))
    elif "currency" in fact:
        said.append(fact["currency"])
    said += [fact["status"]] if "status" in fact else []
    said += [
        f"{name} {fact[field]}" for name, field in (("visitor", "visitor_id"), ("user", "user_id")) if field in fact
    ]
    said += ["with a click id"] if "click_id" in fact else []
    return ", ".join(said)


def _chosen(touches: Sequence[Told], most: int) -> tuple[list[Told], int]:
    """The first and the last touches where they are more than `most`, and how many are left out."""
    if not most or len(touches) <= most:
        return list(touches), 0
    early = most // 4
    return [*touches[:early], *touches[-(most - early) :]], len(touches) - most


def _journey(story: Story, shown: Iterable[Told]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", collapse_padding=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("time", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("touch", overflow="fold", ratio=3)
    table.add_column("", overflow="fold", ratio=2)
    numbers = {told.judged.touch["event_id"]: told.number for told in story.touches}
    total = len(story.candidates)
    for told in shown:
        touch = told.judged.touch
        age = story.attribution["conversion_time"] - touch["time"]
        away = f"{words.duration(abs(age))} {'before' if age >= 0 else 'after'}"
        what = Text(f"{touch['type']} ", style="dim").append(words.plain(touch["channel"]), style="bold not dim")
        way = " / ".join(part for part in (touch["source"], touch["medium"]) if part)
        further = words.plain(" · ".join(part for part in (way, touch["campaign"]) if part))
        what.append(f"\n{further}" if further else "", style="not dim")
        what.append(f"\n{words.plain(touch['event_id'])}", style="dim")
        if told.place is not None:
            why = Text(f"candidate {told.place + 1} of {total}", style="green")
        else:
            said = "; ".join(_why(one, numbers) for one in told.judged.reasons)
            why = Text(f"no candidate: {words.plain(said) or 'not known'}")
        table.add_row(str(told.number), at(touch["time"], story), away, what, why)
    return table


def _why(one: Why, numbers: dict[str, int]) -> str:
    other = numbers.get(one.other)
    match one.reason:
        case "invalid":
            return f"invalid ({one.detail})" if one.detail else "invalid"
        case "lookback":
            length = int(one.detail)
            return f"older than its lookback of {words.duration(length)}" if length else "its kind is switched off"
        case "continuation" if other:
            return f"continuation of the visit of {other}"
        case "arrival" if other:
            return f"arrival of click {other}, which counts instead"
        case _:
            return TEXTS[one.reason]


def _credits(story: Story, credited: Sequence[Told]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("touch", max_width=20, overflow="fold")
    for model in MODELS:
        table.add_column(model.replace("_", "\n"), justify="right", no_wrap=True)
    candidates = [told.judged.touch for told in story.touches if told.place is not None]
    why = {model: weightless(model, candidates) for model in MODELS}
    worth = any(value for told in credited for _, value in told.credits.values())
    currency = story.attribution["currency"]
    for told in credited:
        cells = []
        for model in MODELS:
            if model in told.credits:
                weight, value = told.credits[model]
                cell = Text(words.percent(Decimal(weight).scaleb(-6)), style="bold")
                if worth:
                    cell.append(f"\n{words.money(Decimal(value).scaleb(-6), currency)}", style="not bold")
            else:
                reason = why[model][told.place or 0]
                cell = Text(_SHORT[reason] if reason is not None else words.NOTHING, style="dim")
            cells.append(cell)
        table.add_row(Text(words.plain(f"{told.number} {told.judged.touch['channel']}")), *cells)
    return table


def _legend(story: Story) -> str:
    said = [f"values in {story.attribution['currency']}" if story.attribution["value_micros"] else "worth nothing"]
    said.append("not last, not first: another touch takes it all")
    if any(touch["channel"] == "Direct" for touch in story.candidates):
        said.append("passed over: Direct, under last_non_direct")
    return "; ".join(said)
