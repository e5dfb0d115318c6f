"""The story of a conversion: every reason and version, as text and as JSON; stored rows stand in for ClickHouse.

The rows are the core's own output records; what ClickHouse makes of them is compared in tests/sinks.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from schemas.errors import ConfigurationError
from schemas.reasons import MODELS
from schemas.registry import CampaignEntry, SiteEntry
from sinks.clickhouse import conversions
from sinks.clickhouse import registry as stored_registry
from sinks.clickhouse.conversions import Named
from streams.cli.explain import record, tables
from streams.cli.explain.history import history
from streams.cli.explain.story import Story, read_story
from streams.core.explain import NO_CANDIDATE, NO_CREDIT
from streams.core.ids import mint_click_id
from streams.core.registry import Registry
from tests.reference.cluster import Cluster
from tests.reference.events import DAY, HOUR, MINUTE, T0
from tests.reference.shop import SITE, adjustment, click, impression, landing, purchase, verdict

CLICK_ID = mint_click_id("v", "spring", b"1", [("k", b"secret")])
BERLIN = SiteEntry(site=SITE, timezone="Europe/Berlin", currency="EUR")


class Rows:
    """The output records of some events, as `sinks.clickhouse.conversions` would read them."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *events: dict[str, Any], entries: Any = (BERLIN,), late: Any = ()
    ) -> None:
        cluster = Cluster(Registry(entries), chaos=False, most=1)
        for event in events:
            cluster.send(event)
            cluster.run()
        cluster.run(entries=late)
        entries = (*entries, *late)
        self.records: dict[str, list[dict[str, Any]]] = {"touches": [], "attributions": [], "orders": []}
        for (topic, _), log in cluster.logs.items():
            if topic in self.records:
                self.records[topic] += [orjson.loads(written.value) for written in log]
        monkeypatch.setattr(stored_registry, "entries", lambda _: list(entries))
        for name in ("find", "attribution", "versions", "facts", "touches"):
            monkeypatch.setattr(conversions, name, getattr(self, name))

    def find(self, _: object, name: str, site: str, action: str) -> list[Named]:
        found = {
            one["conversion_id"]: Named(one["site"], one["conversion_id"], one["action"], one["order_id"], True)
            for one in self.records["attributions"]
        }
        return [
            one for one in found.values() if name in {one.conversion_id, one.order_id} and action in {"", one.action}
        ]

    def versions(self, _: object, named: Named) -> list[dict[str, Any]]:
        found = [one for one in self.records["attributions"] if one["conversion_id"] == named.conversion_id]
        # As `ver` orders them: of one revision the withdrawn record comes first.
        return [
            one | {"generation": 1} for one in sorted(found, key=lambda one: (one["revision"], not one["withdrawn"]))
        ]

    def attribution(self, _: object, named: Named) -> dict[str, Any] | None:
        found = self.versions(_, named)
        return found[-1] if found else None

    def facts(self, _: object, named: Named) -> list[dict[str, Any]]:
        found = [one for one in self.records["orders"] if one["conversion_id"] == named.conversion_id]
        return sorted(found[-1]["facts"], key=lambda fact: fact["time"])

    def touches(self, _: object, site: str, visitor: str) -> list[dict[str, Any]]:
        found = {
            one["event_id"]: one for one in self.records["touches"] if one["type"] in {"click", "impression", "landing"}
        }
        return sorted(found.values(), key=lambda touch: (touch["time"], touch["event_id"].encode()))


def text(story: Story, *, most: int = 40, width: int = 100) -> str:
    """What a person sees."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    tables.print_story(story, console, most=most)
    return console.file.getvalue()  # type: ignore[attr-defined]


def plain(story: Story) -> str:
    """The same on one line, so that no fold of a cell matters."""
    return " ".join(text(story, width=400).replace("\N{NO-BREAK SPACE}", " ").split())


def as_json(story: Story) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(record.dumps(record.of_story(story)))
    return found


EVERY_REASON = [
    click("beyond", T0 - 29 * DAY - HOUR),
    click("ours", T0 - HOUR, click_id=CLICK_ID, campaign="spring"),
    landing("arrived", T0 - HOUR + MINUTE, url=f"https://{SITE}/?hw_cid={CLICK_ID}"),
    landing("goes-on", T0 - HOUR + 2 * MINUTE, url=f"https://{SITE}/basket"),
    landing("returns", T0 - HOUR + 3 * MINUTE, url=f"https://{SITE}/thanks", referrer=f"https://{SITE}/pay"),
    landing("direct", T0),
    click("bot", T0 + 4 * MINUTE),
    verdict("said", "bot", T0 + HOUR, reasons=["flood"]),
    impression("beside", T0 + 5 * MINUTE),
    purchase(time=T0 + DAY),
    click("after", T0 + DAY + 1),
]


def test_every_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a touch that is no candidate, and for a candidate that a model gives nothing."""
    rows = Rows(monkeypatch, *EVERY_REASON)
    story = read_story(None, "o")  # type: ignore[arg-type]
    assert story.agrees
    found = {touch["event_id"]: touch for touch in as_json(story)["touches"]}
    assert {name: [one["reason"] for one in touch["reasons"]] for name, touch in found.items()} == {
        "beyond": ["lookback"],
        "ours": [],
        "arrived": ["arrival"],
        "goes-on": ["continuation"],
        "returns": ["internal"],
        "direct": [],
        "bot": ["invalid"],
        "beside": ["impression_beside_click"],
        "after": ["after_conversion"],
    }
    assert {name: touch["candidate"] for name, touch in found.items() if touch["candidate"]} == {"ours": 1, "direct": 2}
    assert {model: credit.get("reason") for model, credit in found["direct"]["credits"].items()} == {
        "last_touch": None,
        "last_non_direct": "direct_passed_over",
        "first_touch": "not_first",
        "linear": None,
        "time_decay": None,
        "position_based": None,
    }
    assert found["ours"]["credits"]["last_touch"] == {"weight": 0, "value": 0, "reason": "not_last"}
    assert found["ours"]["credits"]["linear"] == {"weight": 0.5, "value": 50}
    told = plain(story)
    for said in (
        "older than its lookback of 30 d",
        "arrival of click 2, which counts instead",
        "continuation of the visit of 3",
        "internal, a return from the site itself or a payment or login provider",
        "invalid (flood)",
        "an impression beside clicks or landings",
        "after the conversion",
        "candidate 2 of 2",
        "passed over",
        "not first",
        "not last",
    ):
        assert said in told, said
    assert rows.records["attributions"][-1]["touches"][0]["touch_id"] == "ours"


def test_reasons_are_documented() -> None:
    """Each by its name in docs/reports.md."""
    told = Path("docs/reports.md").read_text()
    assert all(f"`{reason}`" in told for reason in (*NO_CANDIDATE, *NO_CREDIT))


def test_what_comes_from_outside_is_only_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """No escape sequence reaches the terminal, no markup is obeyed, nothing hides."""
    order = "[red]\x1b[31m\u202e"
    Rows(monkeypatch, click("e\x1b]0;x\x07", T0, campaign="[bold]\x9b"), purchase(time=T0 + HOUR, order_id=order))
    shown = text(read_story(None, order))  # type: ignore[arg-type]
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)
    assert "[red]" in shown
    assert "[bold]" in shown


def test_credits_are_those_that_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Per model they sum to the value and to one; times are the site's."""
    Rows(
        monkeypatch,
        click("a", T0),
        click("b", T0 + HOUR),
        click("c", T0 + 2 * HOUR),
        purchase(time=T0 + DAY, value="0.01"),
    )
    story = read_story(None, "o")  # type: ignore[arg-type]
    for model in MODELS:
        credits_ = [touch["credits"][model] for touch in as_json(story)["touches"]]
        assert sum(round(credit["value"] * 10**6) for credit in credits_) == 10_000
        assert sum(round(credit["weight"] * 10**6) for credit in credits_) == 1_000_000
    assert "(Europe/Berlin)" in text(story)
    assert "(Asia/Tokyo)" in text(read_story(None, "o", timezone="Asia/Tokyo"))  # type: ignore[arg-type]


def test_history_tells_what_changed_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """From nobody's to a visitor's, a late touch, a restatement, a rejection: first and now side by side."""
    Rows(
        monkeypatch,
        purchase(time=T0 + HOUR, visitor_id=None),
        click("a", T0),
        purchase("named", T0 + HOUR + 1, value=None, currency=None),
        click("late", T0 + MINUTE, source="news", medium="email"),
        adjustment("less", "restate", T0 + 4 * HOUR, value="60"),
        adjustment("no", "reject", T0 + 5 * HOUR, received_at=T0 + 9 * HOUR),
    )
    story = read_story(None, "o")  # type: ignore[arg-type]
    found = as_json(story)
    assert [
        (one["version"], one["cause"], [change["what"] for change in one["changes"]]) for one in found["history"]
    ] == [
        (1, "first", []),
        (2, "moved", ["withdrawn"]),
        (3, "moved", ["visitor_id", "touches", "credits"]),
        (4, "late_touch", ["touches", "credits"]),
        (5, "adjustment", ["value", "value_reported"]),
        (6, "adjustment", ["status", "value"]),
    ]
    first, now = found["as_first_reported"], found["as_now_known"]
    assert (first["known"], first["value"], first["credit"]["last_touch"]) == (True, 100, {"Direct": 1})
    assert (now["status"], now["value"], now["value_reported"], now["credit"]["last_touch"]) == (
        "rejected",
        0,
        60,
        {"Email": 1},
    )
    assert found["conversion"]["version"] == 6
    told = plain(story)
    for said in (
        "value 100.00 EUR to 60.00 EUR",
        "status approved to rejected",
        "withdrawn from visitor (none)",
        "candidates 1 to 2",
        "it is rejected: it counts 0 and is worth 0",
        "no 2025-10-09 15:53:20 4 h later reject",
        "last_touch Direct Email",
    ):
        assert said in told, said


def test_a_registry_that_came_late_is_a_cause_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it changed is told: a currency, how touches are classified, and so the channels' credit."""
    Rows(
        monkeypatch,
        click("a", T0, campaign="spring"),
        click("b", T0 + HOUR, campaign="autumn"),
        purchase(time=T0 + DAY, currency=None),
        entries=(),
        late=[
            BERLIN,
            CampaignEntry(campaign="spring", site=SITE, channel="Audio"),
            CampaignEntry(campaign="autumn", site=SITE, partner="agency"),
        ],
    )
    story = read_story(None, "o")  # type: ignore[arg-type]
    found = as_json(story)["history"]
    assert [(one["cause"], [change["what"] for change in one["changes"]]) for one in found] == [
        ("first", []),
        ("registry", ["currency"]),
        ("registry", ["classification", "credits"]),
        ("registry", ["classification"]),
    ]
    assert found[2]["changes"][0]["now"] == {"a": {"channel": "Audio"}}
    told = plain(story)
    for said in (
        "currency USD to EUR",
        "candidates classified again: 1 of Paid Search to Audio, credit under first_touch",
        "candidates classified again: 1 with other partner",
    ):
        assert said in told, said


def test_versions_that_were_never_seen_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that started late knows the last of a key only; numbers go on as they are."""
    rows = Rows(monkeypatch, purchase(time=T0 + HOUR), *(click(f"{n}", T0 + n) for n in range(3)))
    seen = [one for one in rows.versions(None, rows.find(None, "o", "", "")[0]) if one["version"] in {2, 4}]
    assert [(one.number, one.unseen) for one in history(seen)] == [(2, 1), (4, 1)]
    monkeypatch.setattr(conversions, "versions", lambda *_: seen)
    story = read_story(None, "o")  # type: ignore[arg-type]
    assert as_json(story)["as_first_reported"]["known"] is False
    assert "Its 4 versions, 2 of them never seen by the sink" in plain(story)
    assert "first known (version 2)" in plain(story)


@pytest.mark.parametrize(
    ("events", "note"),
    [
        ([purchase(visitor_id=None)], "no event names its visitor yet"),
        ([purchase()], "no touch of its visitor is a candidate"),
        ([purchase(status="pending")], "it is pending: it counts"),
        ([purchase(), adjustment("x", "retract", T0 + 1)], "it is retracted"),
        (
            [purchase("e", T0 - 1, order_id="before"), purchase()],
            "an earlier conversion stands for it (once_per_visitor)",
        ),
    ],
)
def test_what_is_special_is_noted(monkeypatch: pytest.MonkeyPatch, events: list[dict[str, Any]], note: str) -> None:
    """In a line each."""
    Rows(monkeypatch, *events, entries=[SiteEntry(site=SITE, duplicate_policy={"*": "once_per_visitor"})])
    story = read_story(None, "o")  # type: ignore[arg-type]
    assert any(said.startswith(note) for said in story.notes), story.notes
    assert note in plain(story)


def test_where_stored_rows_and_credits_disagree_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another registry, or touches that are no longer kept: credits stay those that were given."""
    rows = Rows(monkeypatch, click("a", T0), click("b", T0 + HOUR), purchase(time=T0 + DAY))
    monkeypatch.setattr(stored_registry, "entries", lambda _: [SiteEntry(site=SITE, lookbacks={"click": 0.97})])
    story = read_story(None, "o")  # type: ignore[arg-type]
    assert not story.agrees
    assert "other registry settings" in plain(story)
    kept = rows.records["touches"]
    rows.records["touches"] = [touch for touch in kept if touch["event_id"] != "a"]
    story = read_story(None, "o")  # type: ignore[arg-type]
    assert "1 credited touches are older than touches are kept" in plain(story)
    assert [(told.number, told.kept, bool(told.credits)) for told in story.touches] == [
        (1, False, True),
        (2, True, True),
    ]


def test_many_touches_are_cut_in_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and the last stay; JSON has all; nothing is wider than asked for."""
    Rows(monkeypatch, *(click(f"c{n}", T0 + n * MINUTE) for n in range(60)), purchase(time=T0 + DAY))
    story = read_story(None, "o")  # type: ignore[arg-type]
    shown = text(story, most=8)
    assert "52 touches between them are left out; --all shows them" in shown
    assert max(map(len, shown.splitlines())) <= 100
    assert "c30" in text(story, most=0)
    assert len(as_json(story)["touches"]) == 60


def test_one_name_must_mean_one_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    """None, several, and what only adjustments tell of end as one line."""
    rows = Rows(monkeypatch, purchase(), purchase("d", action="lead"))
    for name, line in (("nobody's", "there is no conversion of id or order id"), ("o", "2 conversions are named 'o'")):
        with pytest.raises(ConfigurationError, match=line):
            read_story(None, name)  # type: ignore[arg-type]
    assert read_story(None, "o", action="lead").named.action == "lead"  # type: ignore[arg-type]
    rows.records["attributions"] = rows.records["attributions"][:1]
    monkeypatch.setattr(conversions, "attribution", lambda *_: None)
    with pytest.raises(ConfigurationError, match="only adjustments are known"):
        read_story(None, "o")  # type: ignore[arg-type]
