"""`headwater report` and `headwater explain` as commands, over what the core wrote, on the real engine."""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner, Result

from schemas.errors import HeadwaterError
from schemas.registry import SiteEntry
from schemas.settings import Settings
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrate import migrate
from streams.cli.explain import explain
from streams.cli.report import report
from tests.integration.conftest import Address
from tests.reference.events import DAY, HOUR, MINUTE, T0
from tests.reference.shop import SITE, adjustment, click, impression, landing, purchase
from tests.sinks.flow import SHIFT, flowed, pour, recent, samples

pytestmark = pytest.mark.integration
ZONE = "America/New_York"
ENTRIES = [SiteEntry(site=SITE, timezone=ZONE, currency="EUR")]
STORY = [
    click("ad", T0, campaign="spring", cost="0.50", currency="EUR"),
    impression("seen", T0 + MINUTE),
    landing("direct", T0 + 2 * HOUR),
    purchase(time=T0 + 3 * HOUR),
    purchase("usd", T0 + 3 * HOUR, order_id="o2", currency="USD", value="7"),
    purchase("wait", T0 + 3 * HOUR, order_id="o3", value="30", status="pending"),
    purchase("no", T0 + 3 * HOUR, order_id="o4", value="1000"),
    adjustment("not", "reject", T0 + 4 * HOUR, order_id="o4"),
    adjustment("less", "restate", T0 + 4 * HOUR, value="60"),
    click("before", T0 - 6 * DAY, visitor_id="w"),
]


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A database with the story in it, to which the environment points; a client on it."""
    engine: Address = request.getfixturevalue("engine")
    name = f"r{uuid.uuid4().hex}"
    settings = Settings(clickhouse_host=engine.host, clickhouse_port=engine.port, clickhouse_database=name)
    migrate(settings)
    pour(settings, samples(flowed(map(recent, STORY), ENTRIES, one_by_one=True), ENTRIES))
    with pytest.MonkeyPatch.context() as patch, connect(settings) as client:
        patch.setenv("HEADWATER_CLICKHOUSE_HOST", engine.host)
        patch.setenv("HEADWATER_CLICKHOUSE_PORT", str(engine.port))
        patch.setenv("HEADWATER_CLICKHOUSE_DATABASE", name)
        patch.setenv("HEADWATER_DATA_DIR", "/nonexistent")
        yield client
        client.command(f"DROP DATABASE {name}")


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command("report")(report)
    app.command("explain")(explain)
    return CliRunner().invoke(app, arguments)


def said(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.stdout


def error(*arguments: str) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, HeadwaterError), result.output
    return str(result.exception)


@pytest.fixture(scope="module")
def period(stack: Client) -> list[str]:
    """The day of the story at the site, and that before as what it is compared with."""
    day = stack.query(
        "SELECT toString(toDate(fromUnixTimestamp64Milli({ms:Int64}), {zone:String}))",
        parameters={"ms": T0 + SHIFT, "zone": ZONE},
    ).first_row[0]
    return ["--from", day, "--to", day]


def test_channels_in_every_form(period: list[str], tmp_path: Path) -> None:
    """Table, JSON, CSV and page say the same; days are the site's, and nothing is added across currencies."""
    found = json.loads(said("report", "channels", *period, "--model", "last_non_direct", "--json"))
    assert (found["timezone"], found["filters"]) == (ZONE, {})
    search, display, direct = (
        next(row for row in found["rows"] if row["channel"] == name) for name in ("Paid Search", "Display", "Direct")
    )
    assert (search["conversions"], search["conversions_pending"], search["conversions_rejected"]) == (3, 1, 1)
    assert [(money["currency"], money["revenue"], money["cost"], money["roas"]) for money in search["money"]] == [
        ("EUR", 90, 0.5, 180),
        ("USD", 7, 0, None),
    ]
    assert search["money"][0]["revenue_rejected"] == 1000
    assert (display["impressions"], direct["visits"], direct["conversions"]) == (1, 1, 0)
    assert sum(row["conversions"] for row in found["rows"]) == found["total"]["conversions"] == 3

    text = said("report", "channels", *period)
    assert "America/New_York" in text
    assert "Paid Search" in text
    assert max(map(len, text.splitlines())) <= 100
    lines = list(csv.DictReader(io.StringIO(said("report", "channels", *period, "--csv"))))
    assert sum(int(line["impressions"] or 0) for line in lines) == 1
    page = tmp_path / "page.html"
    assert said("report", "channels", *period, "--html", str(page)) == ""
    assert page.read_text().startswith("<!doctype html>")


def test_the_other_kinds(period: list[str], tmp_path: Path) -> None:
    """Campaigns, models, paths and lag: their figures, their tables, their pages."""
    campaigns = json.loads(said("report", "campaigns", *period, "--campaign", "spring", "--json"))
    assert [(row["campaign"], row["conversions"]) for row in campaigns["rows"]] == [("spring", 3)]
    models = json.loads(said("report", "models", *period, "--model", "last_touch", "--json"))
    by_channel = {row["channel"]: row["conversions"] for row in models["rows"]}
    assert (by_channel["Direct"]["last_touch"], by_channel["Direct"]["linear"]) == (3, 1.5)
    assert models["moved"]["last_non_direct"] == 1
    paths = json.loads(said("report", "paths", *period, "--json"))
    assert [(row["path"], row["conversions"], row["average_touches"]) for row in paths["rows"]] == [
        (["Paid Search", "Direct"], 3, 2)
    ]
    assert paths["rejected"] == {"conversions": 1, "value": [{"currency": "EUR", "value": 1000}]}
    lag = json.loads(said("report", "lag", *period, "--json"))
    assert (lag["from_first_touch"]["median"], lag["from_last_touch"]["p90"]) == (3 * HOUR, HOUR)
    for kind, word in (
        ("campaigns", "spring"),
        ("models", "first"),
        ("paths", "Paid Search > Direct"),
        ("lag", "median"),
    ):
        page = tmp_path / f"{kind}.html"
        assert word in said("report", kind, *period)
        said("report", kind, *period, "--html", str(page))
        assert "<svg" in page.read_text()


def test_a_period_without_anything(stack: Client) -> None:
    """Says so, and of which day the latest figures are."""
    assert "nothing in this period; the latest figures are of" in said("report", "channels", "--last", "1h")
    assert "there are no figures yet" in said("report", "paths", "--site", "nobody.example")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--model", "best"), "there is no model 'best'"),
        (("--timezone", "Atlantis"), "there is no time zone 'Atlantis'"),
        (("--json", "--csv"), "choose one"),
        (("--last", "soon"), "--last 'soon'"),
        (("--html", "/nonexistent/x.html"), "/nonexistent/x.html"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(stack: Client, arguments: tuple[str, ...], line: str) -> None:
    """On stderr, by the command line's one way of errors."""
    assert line in error("report", "channels", *arguments)


def test_a_conversion_explained(stack: Client) -> None:
    """By order id and by its own: credits, reasons and history as they were inserted."""
    found = json.loads(said("explain", "o", "--json"))
    assert found["agrees"]
    touches = {touch["event_id"]: touch for touch in found["touches"]}
    assert [one["reason"] for one in touches["seen"]["reasons"]] == ["impression_beside_click"]
    assert touches["direct"]["credits"]["last_non_direct"]["reason"] == "direct_passed_over"
    assert touches["ad"]["credits"]["linear"] == {"weight": 0.5, "value": 30}
    assert [(one["version"], one["cause"], one["value"]) for one in found["history"]] == [
        (1, "first", 100),
        (2, "adjustment", 60),
    ]
    assert found["as_first_reported"]["known"]
    assert [fact["event_id"] for fact in found["facts"]] == ["c", "less"]
    text = said("explain", found["conversion"]["conversion_id"])
    assert "no candidate: an impression" in text
    assert max(map(len, text.splitlines())) <= 100
    assert error("explain", "nobody's") == 'there is no conversion of id or order id "nobody\'s"'
