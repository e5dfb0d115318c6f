"""An answer: everything that the page shows for one question, as one JSON-ready dict.

Rule: what changes slowly (which sites there are, the period before) is asked once a minute, and what several questions
have in common is asked once for all of them, so that a cycle costs little, however many look on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar
from zoneinfo import ZoneInfo

from sinks.page import queries, summary
from sinks.page.periods import window
from sinks.page.question import KNOWN_MODELS, Question

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clickhouse_connect.driver.client import Client

    from sinks.page.periods import Window

_T = TypeVar("_T")

SLOW_S: Final = 60.0
"""How old an answer about sites and about the period before may be."""
FAST_S: Final = 1.0
"""How old may be what two questions of one cycle have in common."""
_MOST_KEPT: Final = 128


class Memo:
    """Values that stay good for a while; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[tuple[Any, ...], tuple[float, Any]] = {}

    def get(self, key: tuple[Any, ...], seconds: float, compute: Callable[[], _T]) -> _T:
        """The value of `key`, computed anew where it is older than `seconds`."""
        found = self._kept.get(key)
        if found is not None and self._clock() - found[0] < seconds:
            value: _T = found[1]
            return value
        value = compute()
        self._kept.pop(key, None)
        self._kept[key] = (self._clock(), value)
        while len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return value


def answer(client: Client, question: Question, now: float, memo: Memo) -> dict[str, Any]:
    """What the page shows at `now` (seconds since the epoch); ``choices`` without a site where there is no data at all.

    Raises what the driver raises; `connection.connect` maps it.
    """
    minute = int(now) // 60
    known = memo.get(("choices",), SLOW_S, lambda: queries.choices(client, int(now)))
    if not known:
        # Where nothing is there yet, the first event is to be seen at once.
        known = memo.get(("first",), FAST_S, lambda: queries.choices(client, int(now)))
    sites = list(dict.fromkeys(choice.site for choice in known))
    site = question.site or (sites[0] if sites else "")
    own = [choice for choice in known if choice.site == site]
    own.sort(key=lambda choice: (-choice.conversions, -choice.visits, choice.currency))
    currencies = [choice.currency for choice in own if choice.currency]
    currency = question.currency or (currencies[0] if currencies else "")
    now_window = window(question.period, now, ZoneInfo(question.zone))
    refused = memo.get(
        ("refused", now_window), FAST_S, lambda: queries.refusals(client, now_window.start, now_window.end)
    )
    asked = {"period": question.period, "model": question.model, "zone": question.zone}
    result: dict[str, Any] = {
        "question": asked | {"site": site, "currency": currency},
        "choices": {"sites": sites, "currencies": currencies},
        "window": {"starts": now_window.starts, "end": now_window.end, "length": now_window.length},
        "refused": [refusal._asdict() for refusal in refused],
    }
    if not site:
        return result
    newest = max((choice.newest for choice in own), default=0)
    recent = memo.get(("newest", site), FAST_S, lambda: queries.newest_touch(client, site, int(now)))
    result["newest"] = recent or newest * 1000 or None
    return result | _figures(client, question, site, currency, now_window, minute, memo)


def _figures(
    client: Client, question: Question, site: str, currency: str, now_window: Window, minute: int, memo: Memo
) -> dict[str, Any]:
    model = question.model
    traffic = memo.get(("traffic", site, now_window), FAST_S, lambda: queries.traffic(client, site, now_window))
    credit = memo.get(("credit", site, now_window), FAST_S, lambda: queries.credit(client, site, now_window))
    named, count = memo.get(
        ("campaigns", site, now_window, model, currency),
        FAST_S,
        lambda: queries.campaigns(client, site, now_window, model, currency),
    )
    before = now_window.before()
    key = (site, question.period, question.zone, minute)
    traffic_before = memo.get(("traffic before", *key), SLOW_S, lambda: queries.traffic(client, site, before))
    credit_before = memo.get(("credit before", *key), SLOW_S, lambda: queries.credit(client, site, before))
    channels = summary.channels(traffic, credit, model, currency)
    earlier = summary.channels(traffic_before, credit_before, model, currency)
    names = _model_names(credit)
    return {
        "kpis": summary.kpis(now_window, traffic, credit, model, currency),
        "before": summary.kpis(before, traffic_before, credit_before, model, currency),
        "channels": [
            {"channel": channel, **figures, "before": earlier.get(channel, {})} for channel, figures in channels.items()
        ],
        "campaigns": {"rows": summary.campaigns(named, currency), "count": count},
        "models": {"names": names, "rows": summary.models(credit, names, list(channels), currency)},
    }


def _model_names(credit: Sequence[queries.Credit]) -> list[str]:
    """The models to compare: always the same, and those beyond them that were found."""
    found = {line.model for line in credit}
    return [name for name in KNOWN_MODELS if name != "data_driven" or name in found]
