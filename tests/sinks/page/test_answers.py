"""Answers: the page's figures over known records, in a real engine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clickhouse_connect.driver.client import Client

from sinks.page import queries
from sinks.page.answers import Memo, answer
from sinks.page.periods import window
from sinks.page.question import Question
from tests.sinks.conftest import Put
from tests.sinks.samples import LETTER_HEADERS, Sample, as_json, pane, spend, touch

pytestmark = pytest.mark.integration

NOW = int(time.time())
MINUTE = NOW // 60
HOUR_AGO = MINUTE - 75
REFUSED_NOW = tuple((name, str(NOW * 1000).encode() if name == "time" else value) for name, value in LETTER_HEADERS)
SITE = "o'brien\\ {shop:String} ü"
"""A site's name is whatever its owner likes."""


def paned(offset: int, minute: int = MINUTE, **fields: Any) -> Sample:
    return Sample(
        "panes", as_json(pane(**{"site": SITE, "minute": minute, "currency": "EUR", **fields})), offset=offset
    )


def fill(put: Put) -> None:
    """Paid Search and Email in this hour, Email in the hour before, another site, another currency."""
    whole = {"linear": [1_000_000, 30_000_000, 0, 0, 0, 0], "last_touch": [2_000_000, 50_000_001, 0, 0, 0, 0]}
    email = {"linear": [1_500_000, 20_000_001, 500_000, 7_000_000, 0, 0], "first_touch": [500_000, 1, 0, 0, 0, 0]}
    put(
        paned(1, impressions=400, clicks=7, landings=3, cost_micros=5_000_000, models=whole),
        paned(2, channel="Email", campaign="news", clicks=0, landings=10, cost_micros=0, models=email),
        paned(3, channel="Email", campaign="", clicks=0, landings=2, cost_micros=0),
        paned(4, HOUR_AGO, channel="Email", campaign="news", clicks=4, cost_micros=0, models=email),
        paned(
            5, currency="USD", channel="Email", clicks=1, campaign="usd", models={"linear": [1, 9_000_000, 0, 0, 0, 0]}
        ),
        paned(6, site="other", clicks=1000, models=whole),
        Sample("touches", as_json(touch(site=SITE, time=NOW * 1000 - 1500)), offset=1),
        Sample("dead-letters", b"x", offset=1, headers=REFUSED_NOW),
    )


def ask(client: Client, memo: Memo | None = None, **question: Any) -> dict[str, Any]:
    asked = Question(**{"site": SITE, "period": "1h", "model": "linear", "currency": "EUR", **question})
    return answer(client, asked, NOW, memo or Memo())


def test_figures_are_those_of_the_views(client: Client, put: Put) -> None:
    """To the number, for a site whose name looks like a statement; other sites and models left out."""
    fill(put)
    found = ask(client)
    values = found["kpis"]["values"]
    assert values == {
        "visits": 23,
        "conversions": 2.500001,
        "cvr": round(2.500001 / 23, 6),
        "revenue": 50.000001,
        "cost": 5.0,
        "cpa": round(5 / 2.500001, 6),
        "roas": 10.0,
        "impressions": 400,
        "clicks": 8,
        "cpc": 0.625,
        "cpm": 12.5,
        "roi": 9.0,
    }
    assert found["kpis"]["others"] == {"revenue": {"USD": 9.0}, "cost": {"USD": 0.25}}
    assert found["kpis"]["pending"] == 0.5
    assert found["before"]["values"]["visits"] == 4
    assert sum(found["kpis"]["series"]["visits"]) == 23
    assert [(row["channel"], row["revenue"], row["visits"]) for row in found["channels"]] == [
        ("Paid Search", 30.0, 10),
        ("Email", 20.000001, 13),
    ]
    assert found["channels"][1]["before"]["conversions"] == 1.5
    assert [found["campaigns"]["rows"][0][name] for name in ("impressions", "clicks", "cost")] == [400, 7, 5.0]
    named = [(row["campaign"], row["visits"], row["conversions"]) for row in found["campaigns"]["rows"]]
    assert named == [("brand", 10, 1.0), ("news", 10, 1.5), ("usd", 1, 1e-06)]
    assert found["campaigns"]["count"] == 3
    assert found["models"]["names"][0] == "last_touch"
    shown = found["models"]["rows"][0]
    assert dict(zip(found["models"]["names"], shown["conversions"], strict=True))["last_touch"] == 2.0
    assert found["newest"] == NOW * 1000 - 1500
    assert [(row["reason"], row["events"], row["detail"]) for row in found["refused"]] == [
        ("malformed", 1, "unexpected end")
    ]


def test_sums_are_those_that_analysts_see(client: Client, put: Put) -> None:
    """What is read of the parts is what the views `traffic` and `kpis` say, also where a stated cost takes a place."""
    fill(put)
    hour = NOW // 3600
    stated = spend(site=SITE, campaign="brand", currency="EUR", time=NOW * 1000, hours=[[hour, 700_000, 3, 1]])
    stated |= {"from": hour * 3_600_000, "to": (hour + 1) * 3_600_000, "cost_micros": 700_000}
    put(Sample("spend", as_json(stated), key=b"k", offset=1))
    found = window("24h", NOW, ZoneInfo("UTC"))
    within = "site = {site:String} AND minute < {end:UInt32}"
    parameters = {"site": SITE, "end": found.end}
    came = client.query(
        "SELECT channel, currency, sum(visits), sum(impressions), sum(clicks), sum(cost) FROM traffic"
        f" WHERE {within} GROUP BY ALL",
        parameters,
    ).result_rows
    ours = summed(
        ((row.channel, row.currency), (row.visits, row.impressions, row.clicks, row.cost))
        for row in queries.traffic(client, SITE, found)
    )
    assert ours == {tuple(row[:2]): tuple(row[2:]) for row in came}
    assert ours["Paid Search", "EUR"][0] == 10
    assert ours["Paid Search", "EUR"][3] == Decimal("0.7")
    credit = client.query(
        "SELECT channel, currency, model, sum(conversions) AS c, sum(revenue), sum(conversions_pending) FROM kpis"
        f" WHERE {within} GROUP BY ALL HAVING c != 0",
        parameters,
    ).result_rows
    earned = summed(
        ((row.channel, row.currency, row.model), (row.conversions, row.revenue, row.pending))
        for row in queries.credit(client, SITE, found)
    )
    assert earned == {tuple(row[:3]): tuple(row[3:]) for row in credit}


def summed(rows: Iterable[tuple[tuple[str, ...], tuple[Any, ...]]]) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """Rows of one key made one."""
    found: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for key, numbers in rows:
        found[key] = tuple(map(sum, zip(found.get(key, (0,) * len(numbers)), numbers, strict=True)))
    return found


def test_another_model_moves_credit_and_leaves_traffic(client: Client, put: Put) -> None:
    """Traffic is the same under every model, also under one that credits nothing."""
    fill(put)
    for model, conversions in (("last_touch", 2.0), ("first_touch", 0.5), ("data_driven", 0.0)):
        values = ask(client, model=model)["kpis"]["values"]
        assert (values["visits"], values["conversions"]) == (23, conversions)


def test_what_is_not_stated_is_the_busiest(client: Client, put: Put) -> None:
    """The site with most visits, and its currency with most conversions; all are offered."""
    fill(put)
    found = ask(client, site="", currency="")
    assert found["question"]["site"] == "other"
    assert found["choices"]["sites"] == ["other", SITE]
    own = ask(client, currency="")
    assert own["question"]["currency"] == "EUR"
    assert own["choices"]["currencies"] == ["EUR", "USD"]


def test_bars_cover_the_period_and_the_one_before(client: Client, put: Put) -> None:
    """Each bar holds its own minutes, in days that begin in the viewer's zone."""
    fill(put)
    for period in ("24h", "7d", "30d"):
        found = ask(client, period=period, zone="Asia/Kathmandu")
        visits = found["kpis"]["series"]["visits"]
        assert len(visits) == len(found["window"]["starts"])
        assert sum(visits) == 27
        assert visits[-1] >= 23


def test_without_any_data_there_is_no_site(client: Client) -> None:
    """And as soon as there is some, there is one."""
    memo = Memo(clock=iter(range(0, 10_000, 5)).__next__)
    found = ask(client, memo, site="")
    assert (found["question"]["site"], found["choices"]["sites"], "kpis" in found) == ("", [], False)


def test_an_unknown_site_has_nothing(client: Client, put: Put) -> None:
    fill(put)
    found = ask(client, site="nowhere")
    assert found["newest"] is None
    assert set(found["kpis"]["values"].values()) == {0, None}
    assert found["channels"] == found["campaigns"]["rows"] == found["models"]["rows"] == []


def test_what_questions_have_in_common_is_asked_once(client: Client, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models of one site share traffic and credit; what is slow is not asked again for a minute."""
    fill(put)
    asked: list[str] = []
    for name in ("traffic", "credit", "campaigns", "choices"):
        real = getattr(queries, name)
        monkeypatch.setattr(queries, name, lambda *given, real=real, name=name: (asked.append(name), real(*given))[1])
    moment = 0.0
    memo = Memo(clock=lambda: moment)
    ask(client, memo)
    assert sorted(asked) == ["campaigns", "choices", "credit", "credit", "traffic", "traffic"]
    asked.clear()
    ask(client, memo, model="last_touch")
    assert asked == ["campaigns"]
    asked.clear()
    moment = 2.0
    ask(client, memo)
    assert sorted(asked) == ["campaigns", "credit", "traffic"]


def test_campaigns_are_bounded(client: Client, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best by revenue come; how many there are is told."""
    monkeypatch.setattr(queries, "MOST_CAMPAIGNS", 2)
    fill(put)
    found = ask(client)["campaigns"]
    assert [row["campaign"] for row in found["rows"]] == ["brand", "news"]
    assert found["count"] == 3
