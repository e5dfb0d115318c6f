"""The views: right at every moment, whatever was written again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from clickhouse_connect.driver.client import Client

from tests.sinks.conftest import Put
from tests.sinks.samples import LETTER_HEADERS, NOW_MS, Sample, as_json, attribution, candidate, pane, spend, touch

VIEWS = {
    "touches": "site, time, event_id, visitor_id, type, channel, source, medium, campaign, content, term, ad_group, ad,"
    " placement, partner, sub1, sub2, sub3, sub4, sub5, variant, audience, country, device, click_id, cost, currency,"
    " valid, invalid_reasons, internal",
    "conversions": "site, conversion_id, time, action, order_id, visitor_id, value, value_reported, currency, status,"
    " version, first_reported_at, last_changed_at",
    "credits": "site, conversion_id, conversion_time, action, order_id, visitor_id, status, model, position, touch_id,"
    " touch_type, touch_time, channel, source, medium, campaign, content, term, ad_group, ad, partner, variant,"
    " audience, weight, conversions, value, currency",
    "traffic": "site, minute, channel, campaign, partner, variant, audience, currency, impressions, clicks, landings,"
    " visits, cost, invalid",
    "kpis": "site, minute, channel, campaign, partner, variant, audience, currency, model, impressions, clicks,"
    " landings, visits, cost, invalid, conversions, revenue, conversions_pending, revenue_pending,"
    " conversions_rejected, revenue_rejected",
    "dead_letters": "time, reason, detail, topic, partition, offset, payload",
}


def rows(client: Client, statement: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(statement).result_rows]


def attributed(offset: int = 0, partition: int = 0, **fields: Any) -> Sample:
    return Sample("attributions", as_json(attribution(**fields)), offset=offset, partition=partition)


def paned(offset: int = 0, partition: int = 0, **fields: Any) -> Sample:
    return Sample("panes", as_json(pane(**fields)), offset=offset, partition=partition)


def touched(offset: int = 0, **fields: Any) -> Sample:
    return Sample("touches", as_json(touch(**fields)), offset=offset)


def test_views_have_the_promised_columns(client: Client) -> None:
    """Names and order as in the contract; money Decimal(18, 6), times UTC."""
    for view, names in VIEWS.items():
        found = rows(client, f"DESCRIBE TABLE {view}")
        assert [row[0] for row in found] == names.split(", "), view
        for name, kind in ((row[0], row[1]) for row in found):
            if name in ("cost", "value", "value_reported") or name.startswith("revenue"):
                assert kind == "Decimal(18, 6)", (view, name)
            if "time" in name or name.endswith("_at"):
                assert kind in ("DateTime64(3, 'UTC')", "LowCardinality(String)"), (view, name)
        assert rows(client, f"SELECT * FROM {view}") == []


def test_a_touch_with_all_its_fields(client: Client, put: Put) -> None:
    """Stated fields arrive as they are, others empty; money exact."""
    put(touched(event_id="e-ü", cost_micros=1, sub3="x" * 200, click_id="é" * 70, invalid_reasons=["bot", "prefetch"]))
    found = client.query("SELECT * FROM touches").first_item
    assert found is not None
    assert found["event_id"] == "e-ü"
    assert found["cost"] == Decimal("0.000001")
    assert found["sub3"] == "x" * 200
    assert found["click_id"] == "é" * 70
    assert found["invalid_reasons"] == ["bot", "prefetch"]
    assert found["ad_group"] == ""
    assert int(found["time"].timestamp() * 1000) == NOW_MS


def test_a_touch_judged_again_is_one_touch(client: Client, put: Put) -> None:
    """The later offset holds, also where it came first."""
    put(touched(5, valid=False))
    put(touched(3, valid=True))
    put(touched(5, valid=False))
    assert rows(client, "SELECT valid FROM touches") == [(False,)]


def test_consent_and_verdict_records_are_no_touches(client: Client, put: Put) -> None:
    """They are the worker's state."""
    state = as_json({"type": "consent", "site": "shop", "visitor_id": "v1"})
    put(touched(1), Sample("touches", state, offset=2), Sample("touches", None, offset=3))
    assert rows(client, "SELECT count() FROM touches") == [(1,)]


def test_a_later_generation_wins_over_a_higher_offset(client: Client, put: Put) -> None:
    """A topic created again starts at offset 0 and still comes later."""
    put(touched(1_000_000, campaign="old"), generation=1)
    put(touched(0, campaign="new"), generation=2)
    assert rows(client, "SELECT campaign FROM touches") == [("new",)]


def test_credits_are_flattened(client: Client, put: Put) -> None:
    """One row a credit, with its touch beside it."""
    credited = {
        "first_touch": [[0, 1_000_000, 10_000_000]],
        "linear": [[0, 500_000, 5_000_001], [1, 500_000, 4_999_999]],
    }
    journey = [candidate("a"), candidate("b", channel="Email", campaign="news")]
    put(attributed(touches=journey, credits=credited))
    found = rows(
        client,
        "SELECT model, position, touch_id, channel, campaign, weight, conversions, value FROM credits"
        " ORDER BY model, position",
    )
    assert found == [
        ("first_touch", 1, "a", "Paid Search", "brand", Decimal(1), Decimal(1), Decimal(10)),
        ("linear", 1, "a", "Paid Search", "brand", Decimal("0.5"), Decimal("0.5"), Decimal("5.000001")),
        ("linear", 2, "b", "Email", "news", Decimal("0.5"), Decimal("0.5"), Decimal("4.999999")),
    ]


def test_an_attribution_again_leaves_no_old_credit(client: Client, put: Put) -> None:
    """A version with fewer credits replaces all of the earlier one's."""
    put(attributed(1, credits={"linear": [[0, 500_000, 5_000_000]] * 2, "data_driven": [[0, 1_000_000, 10_000_000]]}))
    put(attributed(2, version=2, credits={"linear": [[0, 1_000_000, 10_000_000]]}))
    put(attributed(1, credits={"linear": [[0, 500_000, 5_000_000]] * 2, "data_driven": [[0, 1_000_000, 10_000_000]]}))
    assert rows(client, "SELECT model, position, value FROM credits") == [("linear", 1, Decimal(10))]
    assert rows(client, "SELECT version FROM conversions") == [(2,)]


def test_what_does_not_count_weighs_but_converts_nothing(client: Client, put: Put) -> None:
    """A rejected conversion's credits stay listed with value 0."""
    credited = {"linear": [[0, 1_000_000, 0]]}
    put(attributed(status="rejected", counted=False, value_micros=0, value_reported_micros=7_000_000, credits=credited))
    assert rows(client, "SELECT weight, conversions, value FROM credits") == [(Decimal(1), Decimal(0), Decimal(0))]
    found = rows(client, "SELECT status, value, value_reported FROM conversions")
    assert found == [("rejected", Decimal(0), Decimal(7))]


def test_a_moved_conversion_is_one(client: Client, put: Put) -> None:
    """Of the visitors' records the highest revision that is not withdrawn holds, in whatever order they come."""
    first = attributed(10, partition=1, visitor_id="a")
    withdrawn = attributed(11, partition=1, visitor_id="a", revision=2, version=2, withdrawn=True)
    moved = attributed(2, partition=0, visitor_id="b", revision=2, version=1)
    put(first)
    put(withdrawn)
    assert rows(client, "SELECT visitor_id FROM conversions") == [("a",)]
    put(moved)
    put(withdrawn)
    assert rows(client, "SELECT visitor_id, version FROM conversions") == [("b", 3)]
    assert rows(client, "SELECT DISTINCT visitor_id FROM credits") == [("b",)]


def test_a_move_seen_before_the_withdrawal(client: Client, put: Put) -> None:
    """Partitions are read at different speeds; the conversion still counts once."""
    put(attributed(2, partition=0, visitor_id="b", revision=2, version=1))
    put(attributed(10, partition=1, visitor_id="a"))
    assert rows(client, "SELECT visitor_id, version FROM conversions") == [("b", 2)]
    assert rows(client, "SELECT sum(conversions) FROM credits WHERE model = 'linear'") == [(Decimal(1),)]


def test_history_spans_the_visitors(client: Client, put: Put) -> None:
    """First report and last change are those of all records of the conversion."""
    put(attributed(1, visitor_id="a", first_reported_at=NOW_MS - 5000, last_changed_at=NOW_MS + 7000, withdrawn=True))
    put(attributed(2, visitor_id="b", revision=2, first_reported_at=NOW_MS, last_changed_at=NOW_MS + 1000))
    found = client.query("SELECT first_reported_at, last_changed_at FROM conversions").result_rows[0]
    assert [int(moment.timestamp() * 1000) for moment in found] == [NOW_MS - 5000, NOW_MS + 7000]


def test_panes_of_partitions_add_up(client: Client, put: Put) -> None:
    """The same dimensions in two partitions are summed; a later total of one partition replaces the earlier."""
    put(paned(1, partition=0), paned(1, partition=1))
    put(paned(2, partition=1, clicks=3, landings=1, cost_micros=750_001))
    found = rows(client, "SELECT impressions, clicks, landings, visits, cost FROM traffic")
    assert found == [(0, 4, 1, 5, Decimal("1.000001"))]


def test_kpis_repeat_traffic_for_each_model(client: Client, put: Put) -> None:
    """Dimensions with traffic alone, with conversions alone, and with both appear once a model."""
    both = {"last_touch": [1_000_000, 9_000_000, 0, 0, 0, 0], "linear": [500_000, 4_500_000, 1, 2, 3, 4]}
    put(
        paned(1, campaign="traffic"),
        paned(2, campaign="both", models=both),
        paned(3, partition=1, campaign="both", clicks=2, models={"linear": [250_000, 1, 0, 0, 0, 0]}),
        paned(4, campaign="late", clicks=0, cost_micros=0, models={"linear": [1_000_000, 5_000_000, 0, 0, 0, 0]}),
    )
    found = rows(
        client, "SELECT campaign, clicks, conversions, revenue FROM kpis WHERE model = 'linear' ORDER BY campaign"
    )
    assert found == [
        ("both", 3, Decimal("0.75"), Decimal("4.500001")),
        ("late", 0, Decimal(1), Decimal(5)),
        ("traffic", 1, Decimal(0), Decimal(0)),
    ]
    assert rows(client, "SELECT count(), uniq(model) FROM kpis WHERE campaign = 'traffic'") == [(6, 6)]
    assert rows(client, "SELECT model FROM kpis WHERE campaign = 'late'") == [("linear",)]
    rejected = rows(
        client, "SELECT conversions_rejected, revenue_rejected FROM kpis WHERE campaign='both' AND model='linear'"
    )
    assert rejected == [(Decimal("0.000003"), Decimal("0.000004"))]


def test_data_driven_is_there_where_it_has_credit(client: Client, put: Put) -> None:
    """A seventh model appears beside the six, with all of the traffic of its dimensions."""
    put(paned(1, models={"data_driven": [1, 2, 0, 0, 0, 0]}), paned(1, partition=1))
    assert rows(client, "SELECT clicks, conversions FROM kpis WHERE model = 'data_driven'") == [
        (2, Decimal("0.000001"))
    ]


def test_a_pane_corrected_to_nothing_is_gone(client: Client, put: Put) -> None:
    """Zero rows are left out."""
    put(paned(1, models={"linear": [1_000_000, 1_000_000, 0, 0, 0, 0]}))
    put(paned(2, clicks=0, cost_micros=0, models={"linear": [0, 0, 0, 0, 0, 0]}))
    assert rows(client, "SELECT * FROM traffic") == []
    assert rows(client, "SELECT * FROM kpis") == []


def test_dead_letters_keep_their_bytes(client: Client, put: Put) -> None:
    """The payload is what was received, byte for byte; one from HTTP has no partition."""
    raw = bytes(range(256)) * 100
    put(Sample("dead-letters", raw, offset=1, headers=LETTER_HEADERS))
    put(Sample("dead-letters", raw, offset=1, headers=LETTER_HEADERS))
    put(Sample("dead-letters", b"{", offset=2, headers=(("reason", b"schema"), ("topic", b"http"))))
    found = rows(client, 'SELECT reason, topic, partition, "offset", hex(payload) FROM dead_letters ORDER BY reason')
    assert found == [("malformed", "clicks", 2, 77, raw.hex().upper()), ("schema", "http", -1, -1, "7B")]


def test_a_letter_that_was_written_twice_is_one(client: Client, put: Put) -> None:
    """By the id that the collector gave it, wherever it lies."""
    headers = (("reason", b"schema"), ("topic", b"http"))
    put(Sample("dead-letters", b"{", offset=1, headers=(*headers, ("id", b"a1"))))
    put(Sample("dead-letters", b"{", offset=9, partition=1, headers=(*headers, ("id", b"a1"))))
    put(Sample("dead-letters", b"{", offset=3, headers=(*headers, ("id", b"a2"))))
    assert rows(client, "SELECT count() FROM dead_letters") == [(2,)]


def test_spend_is_kept_by_statement(client: Client, put: Put) -> None:
    """A restated statement replaces the earlier one."""
    put(Sample("spend", as_json(spend()), key=b'["shop","brand"]', offset=1))
    put(Sample("spend", as_json(spend(cost_micros=3, hours=[[1, 3, 0, 0]])), key=b'["shop","brand"]', offset=2))
    assert rows(client, "SELECT cost, hours.cost FROM spend_rows FINAL") == [
        (Decimal("0.000003"), [Decimal("0.000003")])
    ]


def test_filters_reach_the_primary_key(client: Client, put: Put) -> None:
    """A query for one site and an hour reads that part of the table only."""
    put(touched(1), paned(2), attributed(3))
    for view, column in (("touches", "time"), ("traffic", "minute"), ("kpis", "minute")):
        plan = client.query(f"EXPLAIN indexes = 1 SELECT * FROM {view} WHERE site = 'shop' AND {column} > now() - 3600")
        text = "\n".join(row[0] for row in plan.result_rows)
        condition = next(line for line in text.splitlines() if "Condition" in line and "site in" in line)
        assert column in condition, text
    for view in ("conversions", "credits"):
        plan = client.query(f"EXPLAIN indexes = 1 SELECT * FROM {view} WHERE site = 'shop'")
        assert "site in ['shop', 'shop']" in "\n".join(row[0] for row in plan.result_rows)
