"""What stands above and below a report: title, and notes that say how its figures are to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sinks.clickhouse.reports import Lag, Models, Paths, Results
from streams.cli.report import words

if TYPE_CHECKING:
    from streams.cli.report.asking import Setting

NAMES: Final = {
    "channels": "Channels",
    "campaigns": "Campaigns",
    "models": "Attribution models",
    "paths": "Paths to conversion",
    "lag": "Time to conversion",
}


def title(kind: str, setting: Setting) -> str:
    """One line: what, of when, of whom."""
    return f"{NAMES[kind]}, {words.period(setting.question.span)}" + "".join(f" · {part}" for part in parts(setting))


def parts(setting: Setting) -> list[str]:
    """Site, time zone, filters and comparison, each as a few words."""
    question = setting.question
    found = [setting.site] if setting.site else []
    found.append("each site's own days" if len(setting.zones) > 1 else question.zone)
    for name, values in setting.filters.items():
        if name != "site" or not setting.site:
            found.append(f"{name} {' or '.join(value or '(none)' for value in values)}")
    if question.before is not None:
        found.append(f"compared with {words.period(question.before)}")
    return found


def is_empty(found: Results | Models | Paths | Lag) -> bool:
    """Whether there is nothing to show."""
    match found:
        case Results():
            return not found.rows
        case Models():
            return not found.rows
        case Paths():
            return not found.total.conversions and not found.rejected.conversions
        case Lag():
            return not found.now.conversions


def notes(kind: str, found: Any, setting: Setting) -> list[str]:
    """How the figures are to be read."""
    question = setting.question
    when = "the touch's" if question.counted_at == "touch" else "the conversion's"
    told = []
    if kind in {"channels", "campaigns"}:
        told.append(f"conversions and money under {question.model}, at {when} time; pending ones count too")
        told.append("CVR conversions/visits, AOV revenue/conversions, EPC revenue/visits, CPA cost/conversions")
        if len(found.total.now.money) > 1:
            told.append("currencies are not added: counts are of all of them, each one's money has a line of its own")
    elif kind == "models":
        told.append("spread: the most that a model credits less the least; of mean: as a part of their mean")
        told.append(f"lies elsewhere: the part of conversions that other channels get than under {found.baseline}")
    elif kind == "paths":
        told.append("channels of the touches that could earn credit, repeats made one; conversions at their own time")
        if found.untouched:
            told.append(f"{found.untouched:,} of them had no touch at all: their path is Direct, as their credit is")
        for name, taken, also in (
            ("pending", found.pending, " (among these)"),
            ("rejected", found.rejected, " besides"),
        ):
            if taken.conversions:
                worth = ", ".join(f"{words.money(taken.value[c], c)} {c}" for c in setting.in_order(taken.value))
                told.append(f"{name}{also}: {taken.conversions:,} conversions{f', {worth}' if worth else ''}")
    else:
        told.append(f"over {found.now.conversions:,} conversions with a touch; {found.now.untouched:,} had none")
    if question.before is not None and not _compared(found):
        told.append(f"nothing in the period before ({words.period(question.before)}), so no changes are shown")
    return told


def _compared(found: Any) -> bool:
    match found:
        case Results():
            return bool(found.total.before)
        case Models():
            return bool(found.total.before)
        case Paths():
            return bool(found.before)
        case _:
            return bool(found.before.conversions)
