"""From the options of ``headwater report`` to a question: whose days, which sites, which currency comes first.

Rule: the time zone is the sites' own, from the registry; sites of several zones are each asked about their own days,
and the zone of most of them is shown. Where nothing is registered, UTC holds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from schemas.errors import ConfigurationError
from schemas.reasons import MODELS
from sinks.clickhouse import registry
from sinks.clickhouse.reports import Asked, Filters, Question, spans

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from clickhouse_connect.driver.client import Client

    from sinks.clickhouse.reports.question import CountedAt

DATA_DRIVEN: Final = "data_driven"


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for, as it was written."""

    asked: Asked = field(default_factory=Asked)
    filters: Filters = field(default_factory=Filters)
    model: str = ""
    counted_at: CountedAt = "conversion"
    timezone: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """The question, and what else a report shows of its sites: the time zones, the currencies that they are kept in."""

    question: Question
    zones: tuple[str, ...] = ("UTC",)
    currencies: tuple[str, ...] = ()
    site: str = ""
    filters: Mapping[str, list[str]] = field(default_factory=dict)

    def in_order(self, amounts: Mapping[str, Decimal]) -> list[str]:
        """Currencies of some amounts: the sites' own first, then those of most."""
        return sorted(amounts, key=lambda name: (name not in self.currencies, -amounts[name], name))


def ask(client: Client, options: Options, now: datetime) -> Setting:
    """The question that the options mean; raises `ConfigurationError` where they mean none."""
    model = options.model or Question.__dataclass_fields__["model"].default
    if model not in {*MODELS, DATA_DRIVEN}:
        raise ConfigurationError(f"there is no model {model!r}: choose one of {', '.join(MODELS)}")
    known = registry.sites(client)
    chosen = options.filters.site or tuple(sorted({*known, *_with_traffic(client)}))
    if options.timezone:
        zone, zones = options.timezone, {}
    else:
        by_site = {site: known[site].timezone if site in known else "UTC" for site in chosen}
        zone = Counter(by_site.values()).most_common(1)[0][0] if by_site else "UTC"
        zones = {name: [site for site in chosen if by_site[site] == name] for name in dict.fromkeys(by_site.values())}
    periods = {name: spans(options.asked, registry.zone(name), now) for name in {zone: zones.get(zone), **zones}}
    question = Question(periods, zone, zones, options.filters, model, options.counted_at)
    kept_in = Counter(known[site].currency for site in chosen if site in known)
    return Setting(
        question,
        tuple(periods),
        tuple(name for name, _ in kept_in.most_common()),
        chosen[0] if len(chosen) == 1 else "",
        options.filters.given(),
    )


def latest_day(client: Client, setting: Setting) -> str:
    """The day of the latest traffic or conversion of the asked sites, in the zone that is shown; '' where none is."""
    sites = list(setting.question.filters.site)
    chosen = "WHERE site IN {sites:Array(String)}" if sites else ""
    rows = client.query(
        f"SELECT count(), toString(toDate(max(minute), {{zone:String}})) FROM panes_rows {chosen}",  # noqa: S608
        parameters={"sites": sites, "zone": setting.question.zone},
    ).result_rows
    count, day = rows[0]
    return str(day) if count else ""


def _with_traffic(client: Client) -> list[str]:
    return [site for (site,) in client.query("SELECT DISTINCT site FROM panes_rows").result_rows]
