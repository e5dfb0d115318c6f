"""Forms of a report: tables that fit, exact JSON, harmless CSV, a page that stands alone; without any server."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from rich.console import Console

from schemas.reasons import MODELS
from sinks.clickhouse.reports import Figures, Money, Question, Row, Span
from sinks.clickhouse.reports.lag import LAG_BINS, TOUCH_BINS, Distribution, Lag, Lags
from sinks.clickhouse.reports.models import Credit, ModelRow, Models
from sinks.clickhouse.reports.paths import PathRow, Paths, Taken
from sinks.clickhouse.reports.results import Results, summed
from streams.cli.report import charts, records, sheet, tables, telling, words
from streams.cli.report.asking import Setting
from streams.cli.report.page import page

D = Decimal
START = datetime(2026, 11, 19, tzinfo=UTC)
NOW = Span(START, START + timedelta(days=7))
BEFORE = Span(START - timedelta(days=7), START - timedelta(days=1, hours=9, minutes=29))
EVIL = "=cmd|' /C calc'!A0<script>alert(1)</script>"


def setting(before: Span | None = BEFORE, **more: object) -> Setting:
    return Setting(Question({"UTC": (NOW, before)}), currencies=("EUR",), site="shop", **more)  # type: ignore[arg-type]


def figures(size: int, *currencies: str, conversions: str = "3") -> Figures:
    money = {name: Money(D(conversions), D("123.456789") * size, D(10 * size), D(1), D(2)) for name in currencies}
    return Figures(100 * size, 10 * size, 20 * size, 1, D(conversions), D(1), D("0.5"), money)


def channel_results(names: list[str], currencies: tuple[str, ...] = ("EUR", "USD"), size: int = 7) -> Results:
    rows = [
        Row(name, figures(size + place, *currencies), figures(size, *currencies)) for place, name in enumerate(names)
    ]
    series = {f"2026-11-{19 + day}": figures(day, "EUR") for day in range(7)}
    return Results("channel", rows, summed("all", rows), series, dict.fromkeys(list(series), figures(3, "EUR")))


def models_report(names: list[str]) -> Models:
    def credit(place: int) -> Credit:
        shares = {model: D(1000 * place + number) / 3 for number, model in enumerate(MODELS)}
        return Credit(shares, {"EUR": {model: 9999 * share for model, share in shares.items()}})

    rows = [ModelRow(name, credit(place + 1), credit(place)) for place, name in enumerate(names)]
    moved = dict.fromkeys(MODELS, D("0.1"))
    return Models(list(MODELS), "last_non_direct", rows, ModelRow("all", credit(9), credit(8)), moved)


def paths_report(*steps: tuple[str, ...]) -> Paths:
    rows = [PathRow(path, Taken(9 - place, 20, {"EUR": D("5.5")}), 4) for place, path in enumerate(steps)]
    others, total = Taken(5, 9, {"EUR": D(1)}), Taken(30, 70, {"EUR": D("100.25"), "USD": D(3)})
    return Paths(rows, others, 3, total, 20, 4, Taken(1, 0, {"EUR": D(1)}), Taken(2, 0, {"EUR": D(2)}), 2)


def lag_report() -> Lag:
    times = Distribution(LAG_BINS, list(range(len(LAG_BINS))), 5e7, 3.6e6, 9e7)
    lags = Lags(45, 2, times, times, Distribution(TOUCH_BINS, [5] * len(TOUCH_BINS), 2.0, 2.0, 4.0))
    return Lag(lags, lags)


def printed(shown: list, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for table in shown:
        console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def in_every_size(width: int = 100) -> str:
    console = Console(width=width)
    names = ["Mobile Push Notifications", "Direct", "a-very-long-name-of-somebody's-campaign-" * 4]
    shown = tables.results_tables(channel_results(names), setting(), 0, console)
    shown += tables.results_tables(channel_results(names, ("EUR", "USD", "JPY"), 9_000_000), setting(), 2, console)
    shown += tables.models_tables(models_report(names), setting(), console)
    shown += tables.paths_tables(paths_report(("Direct",), ("Email", "Direct") * 12), setting(), console)
    shown += tables.lag_tables(lag_report(), console)
    return printed(shown, width)


@pytest.mark.parametrize("width", [100, 80])
def test_tables_fit_and_cut_nothing(width: int) -> None:
    """Large numbers, several currencies and long names too: columns are left out, never digits."""
    text = in_every_size(width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "Notifications" in text


def test_a_results_table_line_by_line() -> None:
    """Counts once a row, money a line a currency, each change with its sign, in every row the same order."""
    rows = [
        Row("Email", Figures(0, 0, 50, 0, D("1.5"), money={"EUR": Money(D(1), D(1234))}), Figures(visits=100)),
        Row("", Figures(0, 0, 10, 0, D(1), money={"USD": Money(D(1), D(7))}), Figures(visits=8, conversions=D(2))),
    ]
    found = Results("channel", rows, summed("all", rows))
    (table,) = tables.results_tables(found, setting(), 0, Console(width=100))
    lines = [line.split() for line in printed([table]).splitlines()]
    assert lines[3] == ["Email", "50", "-50.0", "1.50", "new", "3.00", "EUR", "1,234.00", "new", "1,234.00", "24.68"]
    assert lines[4] == [
        "(no",
        "channel)",
        "10",
        "+25.0",
        "1.00",
        "-50.0",
        "10.00",
        "USD",
        "7.00",
        "new",
        "7.00",
        "0.70",
    ]
    assert lines[6][:5] == ["all", "channels", "60", "-44.4", "2.50"]
    assert lines[7] == ["USD", "7.00", "new", "7.00", "0.12"]


def test_json_is_exact_and_null_where_there_is_no_number() -> None:
    """Money to the millionth; ratios of nothing are null; previous and change beside."""
    record = json.loads(
        records.dumps(
            records.heading("channels", setting()) | records.of_results(channel_results(["Email"]), setting())
        ),
        parse_float=Decimal,
    )
    (row,) = record["rows"]
    assert row["channel"] == "Email"
    assert [money["currency"] for money in row["money"]] == ["EUR", "USD"]
    assert row["money"][0]["revenue"] == D("864.197523")
    assert row["cvr"] == D("0.021429")
    assert row["change"]["visits"] == 0
    assert row["previous"]["visits"] == 140
    assert record["period"] == {"from": "2026-11-19T00:00:00+00:00", "to": "2026-11-26T00:00:00+00:00"}
    assert len(record["series"]) == 7
    empty = records.of_results(Results("channel", [Row("x", Figures())], Row("all", Figures())), setting(None))
    assert json.loads(records.dumps(empty))["rows"][0]["cvr"] is None
    assert json.loads(records.dumps(records.of_models(models_report(["a"]), setting())))["moved"]["linear"] == 0.1
    assert json.loads(records.dumps(records.of_lag(lag_report())))["from_first_touch"]["bins"][0]["conversions"] == 0
    assert json.loads(records.dumps(records.of_paths(paths_report(("a",)), setting())))["total"]["conversions"] == 30


def test_csv_columns_may_be_summed_and_run_nothing() -> None:
    """A count stands on its row's first line only; what looks like a formula is text, a negative number is none."""
    found = channel_results([EVIL, "+1", "@x", "-2+3", "Email"])
    found.rows[4].now.of("EUR").revenue = D("-5.5")
    lines = list(csv.DictReader(io.StringIO(sheet.of_results(found, setting()))))
    assert {line["channel"][0] for line in lines} == {"'", "E"}
    assert sum(int(line["visits"] or 0) for line in lines) == found.total.now.visits
    assert sum(D(line["revenue"]) for line in lines if line["currency"] == "EUR" and line["channel"] == "Email") == D(
        "-5.5"
    )
    assert all("previous_cvr" in line and "change_roas" in line for line in lines)
    for text in (sheet.of_models(models_report([EVIL]), setting()), sheet.of_paths(paths_report((EVIL,)), setting())):
        assert list(csv.reader(io.StringIO(text)))[1][0].startswith("'=cmd")
    by_bin = list(csv.DictReader(io.StringIO(sheet.of_lag(lag_report()))))
    assert sum(int(line["conversions"]) for line in by_bin if line["measure"] == "from_last_touch") == 45


class Reader(HTMLParser):
    """Tags, and addresses that a browser would ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attributes if name in {"src", "href", "srcset", "data", "action"}
        ]


@pytest.mark.parametrize("kind", telling.NAMES)
def test_a_page_stands_alone_and_believes_nothing(kind: str) -> None:
    """No script, no address, a policy that forbids both; names from outside are text; charts have words for readers."""
    found = {
        "channels": lambda: channel_results([EVIL, "Email"]),
        "campaigns": lambda: channel_results([EVIL, ""]),
        "models": lambda: models_report([EVIL, "Email"]),
        "paths": lambda: paths_report((EVIL, "Email"), ("Email",)),
        "lag": lag_report,
    }[kind]()
    text = page(kind, found, setting(filters={"campaign": [EVIL]}), 25)
    reader = Reader()
    reader.feed(text)
    assert reader.addresses == []
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert "svg" in reader.tags
    assert "default-src 'none'" in text
    assert "<script>" not in text
    assert ("=cmd|" in text) == (kind != "lag" or "campaign" in text)
    assert not re.search(r"(?i)https?:|@import|url\(", text)
    assert "nan" not in re.findall(r'="([^"]*)"', text)


def test_an_empty_page_says_so() -> None:
    """Rather than drawing nothing."""
    assert "Nothing in this period" in page("channels", Results("channel", [], Row("all", Figures())), setting(), 0)


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        (None, words.NOTHING),
        (D("0.123"), "+12.3"),
        (D("-0.5"), "-50.0"),
        (D("0.0001"), "±0.0"),
        (D("-0.0004"), "±0.0"),
        (D("123.456"), "+12,346"),
    ],
)
def test_a_change_has_a_sign(ratio: Decimal | None, shown: str) -> None:
    """Also where it is nothing."""
    assert words.change(ratio, unit=False) == shown


def test_money_has_its_currency_s_decimals() -> None:
    """None for yen, three for Kuwait's dinar, two for what nobody knows; tiny prices show what there is of them."""
    assert [words.money(D("1234.5678"), name) for name in ("EUR", "JPY", "KWD", "???")] == [
        "1,234.57",
        "1,235",
        "1,234.568",
        "1,234.57",
    ]
    assert [words.small_money(D(text), "EUR") for text in ("0.0042", "0.42", "0", "-0.0042")] == [
        "0.0042",
        "0.42",
        "0.00",
        "-0.0042",
    ]


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "0 s"),
        (59_400, "59 s"),
        (60_000, "1 min"),
        (5_400_000, "1 h 30 min"),
        (7_200_000, "2 h"),
        (90_000_000, "1 d 1 h"),
    ],
)
def test_durations_have_two_units_at_most(ms: int, shown: str) -> None:
    """The largest, and the one below."""
    assert words.duration(ms).replace(words.THIN, " ") == shown


def test_periods_are_told_shortly() -> None:
    """Whole days as dates, others with their hours."""
    day = timedelta(days=1)
    assert words.period(NOW) == "19 to 25 Nov 2026"
    assert words.period(BEFORE) == "12 to 17 Nov 2026, until 14:31"
    assert words.period(Span(START, START + day)) == "19 Nov 2026"
    assert words.period(Span(START - 30 * day, START)) == "20 Oct to 18 Nov 2026"
    assert words.period(Span(START, START + timedelta(hours=3))) == "19 Nov 2026 00:00 to 19 Nov 2026 03:00"


def test_geometry_of_charts() -> None:
    """Lines stay in their box, ticks keep both ends, bars are parts of the longest."""
    line = charts.line([0, 5, 10], 10)
    assert line is not None
    assert line.points == "0.0,100.0 500.0,50.0 1000.0,0.0"
    assert charts.line([], 1) is None
    assert [charts.ceiling(most) for most in (0, 0.9, 1, 11, 10_800, 99)] == [1, 1, 1, 12, 12_000, 100]
    labels = [str(number) for number in range(31)]
    places = charts.ticks(labels)
    assert (places[0], places[-1]) == ((0.0, "0"), (100.0, "30"))
    assert len(places) <= 4
    assert [charts.part(value, 8) for value in (-1, 0, 2, 8)] == [0, 0, 25, 100]
