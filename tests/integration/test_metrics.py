"""What every process tells Prometheus, and that every question asked of it and of ClickHouse has an answer.

One stack with two workers, a real Prometheus that watches it from the start, and a simulated shop of a few thousand
events, refused ones among them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from prometheus_client import parser
from prometheus_client.openmetrics import parser as open_metrics

from deploy.local.probe import until
from schemas.reasons import CAUSES, MODELS, OUTCOMES, REASONS
from schemas.topics import INPUTS
from sinks.clickhouse.metrics import TABLES
from tests.deploy.grafana import queries
from tests.integration.observed import WORKERS, Observed, observed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

WINDOW = {"site", "channel", "campaign", "window"}
CONTRACT = {
    "collector": {
        "headwater_dead_letters": {"reason"},
        "headwater_collector_requests": {"route", "status"},
        "headwater_collector_spooled_events": set(),
    },
    "worker": {
        "headwater_events": {"topic", "outcome"},
        "headwater_invalid_touches": {"reason"},
        "headwater_dead_letters": {"reason"},
        "headwater_attributions": {"cause"},
        "headwater_unmatched_conversions": set(),
        "headwater_batch_seconds": set(),
        "headwater_batch_events": set(),
        "headwater_transaction_seconds": set(),
        "headwater_consumer_lag": {"topic", "partition"},
        "headwater_commit_age_seconds": {"partition"},
        "headwater_lost_records": set(),
        "headwater_restore_seconds": set(),
        "headwater_restored_records": set(),
        "headwater_restore_left_records": {"partition"},
        "headwater_restore_eta_seconds": {"partition"},
        "headwater_rebalance_seconds": set(),
        "headwater_state_bytes": set(),
        "headwater_window_impressions": WINDOW,
        "headwater_window_clicks": WINDOW,
        "headwater_window_visits": WINDOW,
        "headwater_window_cost": WINDOW | {"currency"},
        "headwater_window_conversions": WINDOW | {"model"},
        "headwater_window_revenue": WINDOW | {"model", "currency"},
    },
    "sink": {
        "headwater_consumer_lag": {"topic", "partition"},
        "headwater_sink_rows": {"table"},
        "headwater_sink_lag_seconds": set(),
    },
    "page": {},
}
"""Contract, section 8: role -> metric, without a counter's ``_total`` -> labels."""
COUNTERS = {
    "headwater_events",
    "headwater_invalid_touches",
    "headwater_dead_letters",
    "headwater_attributions",
    "headwater_unmatched_conversions",
    "headwater_lost_records",
    "headwater_restored_records",
    "headwater_collector_requests",
    "headwater_sink_rows",
}
HISTOGRAMS = {
    "headwater_batch_seconds",
    "headwater_batch_events",
    "headwater_transaction_seconds",
    "headwater_restore_seconds",
    "headwater_rebalance_seconds",
}
STANDARD = {"process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"}
OF_EVERY_ROLE = {"headwater_ready", "headwater_build_info"}

CLOSED = {"outcome": set(OUTCOMES), "cause": set(CAUSES), "model": set(MODELS), "window": {"5m", "1h", "24h"}}
"""Labels whose values are a closed set wherever they stand."""

DASHBOARDS = {file.stem: queries.load(file) for file in queries.DASHBOARDS}
ASKED = [
    pytest.param(panel, target, id=f"{name}: {panel.title} {target['refId']}")
    for name, dashboard in DASHBOARDS.items()
    for panel in queries.panels(dashboard)
    for target in panel.targets
]
IN_PROMQL = [case for case in ASKED if not queries.is_sql(case.values[1])]
IN_SQL = [case for case in ASKED if queries.is_sql(case.values[1])]
NEVER_EMPTY = [
    case
    for case in IN_SQL
    if case.values[0].kind == "stat"
    or case.values[0].title in {"Why", "Dead letters", "Refused, by topic and partition"}
]
"""They say 0 where nothing happened; a table of channels or campaigns may be without a line."""
VARIABLES = [
    pytest.param(variable, id=f"{name}: {variable['name']}")
    for name, dashboard in DASHBOARDS.items()
    for variable in dashboard["templating"]["list"]
    if variable["type"] == "query"
]
RULES = [
    pytest.param(rule, id=rule.get("record") or rule["alert"])
    for file in sorted(Path("deploy/prometheus/rules").glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Observed]:
    """The stack that was watched; it still runs."""
    async with observed(tmp_path_factory.mktemp("observed")) as found:
        yield found


@pytest.fixture(scope="module")
def values(shop: Observed) -> dict[str, str | list[str]]:
    """What a viewer has chosen: all of each variable's values where several can be, else the first."""
    found: dict[str, str | list[str]] = {}
    for dashboard in DASHBOARDS.values():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "custom":
                found[variable["name"]] = variable["current"]["value"]
            else:
                options = choices(shop, variable, found)
                found[variable["name"]] = options if variable.get("multi") else options[0]
    return found


def choices(shop: Observed, variable: dict, values: dict) -> list[str]:
    """The values that a query variable offers."""
    if queries.is_sql(variable):
        return [row[0] for row in shop.rows(queries.interpolate(variable["query"]["rawSql"], values))]
    selector, label = variable["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
    return shop.ask(f"label/{label}/values", **{"match[]": selector})


def period(shop: Observed, days: int = 2) -> queries.Period:
    """The last days."""
    end = int(time.time())
    return queries.Period(end - days * 86_400, end, interval_s=3600)


def families(shop: Observed, service: str) -> dict:
    """All that a service tells, by name."""
    text = shop.metrics(service)
    read = (
        open_metrics.text_string_to_metric_families
        if text.endswith("# EOF\n")
        else parser.text_string_to_metric_families
    )
    return {family.name: family for family in read(text)}


def samples(found: dict, name: str) -> list:
    """A family's samples, but for when they were created."""
    return [sample for sample in found[name].samples if not sample.name.endswith("_created")]


SERVICES = ["collector", *(f"worker-{number}" for number in range(1, WORKERS + 1)), "sink", "page"]


@pytest.mark.parametrize("service", SERVICES)
def test_the_contract_s_metrics_are_there_with_just_those_labels(shop, service):
    """Name, kind and labels, on the processes that the contract names; and what every process tells."""
    role = service.split("-")[0]
    found = families(shop, service)
    for name, labels in CONTRACT[role].items():
        kind = "counter" if name in COUNTERS else "histogram" if name in HISTOGRAMS else "gauge"
        assert (name, found[name].type) == (name, kind)
        # In the windows of one worker may be no cost and no conversion just now.
        assert samples(found, name) or name.startswith("headwater_window_"), name
        assert {frozenset(sample.labels.keys() - {"le"}) for sample in samples(found, name)} <= {frozenset(labels)}, (
            name
        )
    for name in STANDARD | OF_EVERY_ROLE:
        assert samples(found, name), name
    others = {name for names in CONTRACT.values() for name in names} - CONTRACT[role].keys()
    assert not found.keys() & others


def test_workers_together_have_all_windows(shop):
    """Of each kind some, once each has gone through its panes."""
    deadline = time.monotonic() + 30
    while True:
        told = [families(shop, service) for service in SERVICES if service.startswith("worker")]
        missing = [name for name in CONTRACT["worker"] if not any(samples(found, name) for found in told)]
        if not missing:
            break
        assert time.monotonic() < deadline, missing


def test_labels_are_closed_sets_and_never_ids(shop):
    """No visitor, touch, click or order is a label's value; what has a closed set has no other values."""
    ids = {value for row in shop.rows("SELECT visitor_id, event_id, click_id FROM touches") for value in row}
    ids |= {value for row in shop.rows("SELECT conversion_id, order_id FROM conversions") for value in row}
    ids -= {""}
    assert len(ids) > 1000
    for service in SERVICES:
        for name, family in families(shop, service).items():
            for sample in family.samples if name.startswith("headwater_") else ():
                assert not ids & set(sample.labels.values()), sample
                for label in sample.labels.keys() & CLOSED.keys():
                    assert sample.labels[label] in CLOSED[label], sample
    dead = families(shop, "worker-1")["headwater_dead_letters"].samples
    assert {sample.labels["reason"] for sample in dead} == set(REASONS)
    rows = families(shop, "sink")["headwater_sink_rows"].samples
    assert {sample.labels["table"] for sample in rows} == set(TABLES)


async def test_prometheus_scrapes_every_process(shop):
    """`up` comes to be 1 for all of them, each under its role's job; no scrape fails."""
    expected = {(f"headwater-{name.split('-')[0]}", f"127.0.0.1:{shop.ports[name]}"): "1" for name in SERVICES}

    def scraped() -> bool:
        found = shop.ask("query", query="up")["result"]
        up = {(one["metric"]["job"], one["metric"]["instance"]): one["value"][1] for one in found}
        errors = [target["lastError"] for target in shop.ask("targets")["activeTargets"]]
        return (up, errors) == (expected, [""] * len(SERVICES))

    async def asked() -> bool:
        return await asyncio.to_thread(scraped)

    assert await until(asked, 10), shop.ask("targets")


def test_records_are_conserved(shop):
    """In every worker: read is accepted, duplicate, dead-lettered and moved. What was sent is all there."""
    assert set(shop.values("headwater:conservation:gap")) == {0}
    assert shop.values("count(headwater:conservation:gap)") == [WORKERS * (len(INPUTS) + 1)]
    assert shop.values("sum(headwater_records_read_total)") == shop.values("sum(headwater_events_total)")
    assert shop.values('sum(headwater_events_total{outcome="duplicate"})')[0] >= shop.duplicates
    refused = shop.values("sum(headwater_dead_letters_total)")
    assert refused == [shop.rows("SELECT count() FROM dead_letters")[0][0]]
    assert refused[0] >= shop.refused
    taken = 'sum(headwater_collector_events_total{outcome="accepted"})'
    assert shop.values(taken) == shop.values('sum(headwater_records_read_total{topic=~"clicks|conversions|costs"})')


async def test_windows_are_those_of_clickhouse(shop):
    """Revenue of the last 24 hours, over both workers, comes to equal that of the view at the same minute."""
    expr = 'sum by (model, currency) (headwater_window_revenue{window="24h"})'
    seen = {}

    def equal() -> bool:
        minute = int(time.time()) // 60
        window = {
            tuple(sorted(one["metric"].items())): one["value"][1] for one in shop.ask("query", query=expr)["result"]
        }
        rows = shop.rows(
            "SELECT currency, model, toFloat64(sum(revenue)) FROM kpis "
            f"WHERE minute > toDateTime({(minute - 1440) * 60}) AND minute <= toDateTime({minute * 60}) "
            "GROUP BY ALL HAVING sum(revenue) != 0"
        )
        view = {(("currency", currency), ("model", model)): value for currency, model, value in rows}
        seen.update(window=window, view=view)
        return len(view) >= len(MODELS) and {key: round(float(value), 5) for key, value in window.items()} == {
            key: round(value, 5) for key, value in view.items()
        }

    async def asked() -> bool:
        return await asyncio.to_thread(equal)

    assert await until(asked, 20), seen


@pytest.mark.parametrize("rule", RULES)
def test_rules_are_evaluated_on_what_is_there(shop, rule):
    """A recorded series has a value; an alert can be asked, and none fires in health."""
    if "record" in rule:
        assert shop.values(rule["record"]), rule
    else:
        shop.ask("query", query=rule["expr"])
        assert shop.values(f'ALERTS{{alertname="{rule["alert"]}", alertstate="firing"}}') == []


def test_prometheus_has_no_complaint_about_a_rule(shop):
    """It evaluates all of them without an error."""
    rules = [rule for group in shop.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(RULES)
    assert {(rule["health"], rule.get("lastError", "")) for rule in rules} == {("ok", "")}


@pytest.mark.parametrize(("panel", "target"), IN_PROMQL)
def test_no_panel_over_prometheus_is_empty(shop, values, panel, target):
    """Every expression has numbers, also those of what should never happen."""
    expr = queries.promql(queries.interpolate(target["expr"], values), period(shop))
    assert shop.values(expr, over_time=not target.get("instant")), expr


@pytest.mark.parametrize(("panel", "target"), IN_SQL)
def test_no_panel_over_clickhouse_is_empty(shop, values, panel, target):
    """Every statement is understood by the real engine, and has rows; charts are in order of time."""
    everything = frozenset(name for name, value in values.items() if isinstance(value, list))
    for chosen_all in (everything, frozenset()):
        statement = queries.sql(queries.interpolate(target["rawSql"], values, chosen_all), period(shop))
        rows = shop.rows(statement)
        assert rows, statement
    if target["queryType"] == "timeseries":
        times = [row[0] for row in rows]
        assert times == sorted(times)
        assert any(row[-1] for row in rows)


@pytest.mark.parametrize(("panel", "target"), NEVER_EMPTY)
def test_what_counts_says_0_where_nothing_was(shop, values, panel, target):
    """A period in which nothing happened has its zeros."""
    long_ago = queries.Period(1_000_000_000, 1_000_086_400, interval_s=3600)
    assert shop.rows(queries.sql(queries.interpolate(target["rawSql"], values), long_ago))


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_variable_offers_something(shop, values, variable):
    """There is something to choose from."""
    assert all(choices(shop, variable, values))


def test_figures_agree(shop, values):
    """The large figures are the sum of the channels', and every model shares out the same revenue."""
    asked = {panel.title: target for case in IN_SQL for panel, target in [case.values]}

    def rows(title: str) -> list[list]:
        return shop.rows(queries.sql(queries.interpolate(asked[title]["rawSql"], values), period(shop)))

    [total] = rows("This period")
    channels = rows("Channels")
    assert total[0] == sum(row[1] for row in channels)
    assert total[1] == pytest.approx(sum(row[2] for row in channels))
    assert total[3] == pytest.approx(sum(row[4] for row in channels))
    compared = rows("Revenue by channel, under every model")
    assert {round(sum(row[place] for row in compared), 4) for place in range(1, 1 + len(MODELS))} == {
        round(total[3], 4)
    }
    assert rows("Credits that do not add up") == [[0]]
    refused = {row[0]: row[2] for row in rows("Why")}
    assert refused.keys() == set(REASONS)
    assert sum(refused.values()) == shop.rows("SELECT count() FROM dead_letters")[0][0]
