"""Files of costs and conversions, line by line."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.collector.import_lines import BATCH, MAX_LISTED, Reader, Tally, form_of, take_lines
from streams.collector.intake import Intake, Origin, Unacceptable
from streams.collector.networks import ip_keeper
from tests.collector.conftest import NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from streams.collector.import_lines import Line

ORIGIN = Origin(NOW, "", None, keep_ip=ip_keeper("truncated", b""))
COSTS = "site,campaign,date,cost,currency\nshop,spring,2026-09-20,12.50,EUR\nshop,summer,2026-09-20,3,EUR\n"


def read(data: bytes, *, pieces: int = 1 << 30, **options: Any) -> list[Line]:
    """The lines of a file that comes in pieces of so many bytes."""
    reader = Reader(options.pop("kind", "cost"), options.pop("form", None), **{"time": NOW - 1000} | options)
    lines = [line for start in range(0, len(data), pieces) for line in reader.feed(data[start : start + pieces])]
    return [*lines, *reader.end()]


async def take(data: bytes, kind: Any = "cost", **options: Any) -> tuple[list[Intake], dict[str, Any]]:
    """What a file comes to, and what is answered."""
    kept: list[Intake] = []

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 10_000):
            yield data[start : start + 10_000]

    async def keep(intake: Intake) -> None:
        kept.append(intake)

    tally = Tally()
    await take_lines(Reader(kind, time=NOW - 1000, **options), chunks(), keep, ORIGIN, b"s", tally)
    return kept, tally.answer()


def values(kept: Iterable[Intake]) -> list[dict[str, Any]]:
    return [json.loads(record.value) for intake in kept for record in intake.records]


async def test_costs_as_csv() -> None:
    """Columns are fields by their names; the file's time is that of lines without one."""
    kept, answer = await take(COSTS.encode())
    assert answer == {"accepted": 2, "rejected_total": 0, "rejected": []}
    first, second = values(kept)
    stated = {"type": "cost", "site": "shop", "campaign": "spring", "date": "2026-09-20", "cost": "12.50"}
    assert stated.items() <= first.items()
    assert (first["time"], first["received_at"], first["currency"]) == (NOW - 1000, NOW, "EUR")
    assert first["event_id"] != second["event_id"]
    assert [record.key for record in kept[0].records] == ["spring", "summer"]


async def test_conversions_as_json_lines() -> None:
    """With adjustments among them, which are told by what they state."""
    order = {"site": "shop", "time": NOW - 5000, "order_id": "o1", "action": "purchase", "value": 5}
    lines = [order, {**order, "adjustment": "retract"}, {**order, "type": "consent", "consent": "denied"}]
    kept, answer = await take("\n".join(map(json.dumps, lines)).encode(), "conversion")
    assert [(value["type"], value["order_id"]) for value in values(kept)] == [
        ("conversion", "o1"),
        ("adjustment", "o1"),
    ]
    assert answer["rejected"] == [
        {"line": 3, "reason": "schema", "detail": "type: 'consent' does not belong in a file of conversions"}
    ]


async def test_a_wrong_line_costs_its_neighbours_nothing() -> None:
    """It is named by its number in the file, empty lines and header counted, and kept."""
    data = COSTS + "\nshop,spring,2026-09-21\nshop,spring,yesterday,1,EUR\nshop,autumn,2026-09-20,1,EUR\n"
    kept, answer = await take(data.encode())
    assert (answer["accepted"], answer["rejected_total"]) == (3, 2)
    assert [(refused["line"], refused["reason"]) for refused in answer["rejected"]] == [(5, "malformed"), (6, "schema")]
    letters = [record.value for intake in kept for record in intake.dead_letters]
    assert letters[0] == b"shop,spring,2026-09-21"
    assert json.loads(letters[1])["date"] == "yesterday"


@given(st.integers(1, 60), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_it_does_not_matter_in_which_pieces_a_file_comes(pieces: int, end: str, last: bool) -> None:
    """Nor how its lines end, nor whether the last one does."""
    text = COSTS.replace("shop,summer", 'shop,"sümmer, hot"')
    data = b"\xef\xbb\xbf" + (text if last else text[:-1]).replace("\n", end).encode()
    assert read(data, pieces=pieces) == read(text.encode()) != []


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1), min_size=1, max_size=5))
def test_cells_are_as_csv_has_them(texts: list[str]) -> None:
    """Whatever a spreadsheet wrote, quoted where need be."""
    texts = [text.strip() for text in texts if text.strip()]
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(
        [["site", "campaign", "cost"], *(["shop", text, "1"] for text in texts)]
    )
    # `str.strip` knows more spaces than `bytes.strip`, which takes a line's ends off.
    assert [line.data.get("campaign") for line in read(written.getvalue().encode())] == texts


def test_the_same_line_is_the_same_event() -> None:
    """By file, line and what it says; where a line has an event id, that is it."""

    def ids(data: str, **options: Any) -> list[str]:
        return [line.data["event_id"] for line in read(data.encode(), **{"file": "a.csv"} | options)]

    again = ids(COSTS)
    assert ids(COSTS) == again
    assert not set(again) & set(ids(COSTS, file="b.csv"))
    assert not set(again) & set(ids(COSTS.replace("EUR\n", "USD\n")))
    assert not set(again) & set(ids(COSTS.replace("currency\n", "currency\n\n")))
    assert ids(COSTS.replace("currency", "event_id"), file="x") == ["EUR", "EUR"]
    same = "site,campaign,date,cost\n" + "shop,spring,2026-09-20,1\n" * 2
    assert len(set(ids(same))) == 2


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"campaign,date,cost\n1,2,3\n", "lacks site"),
        (b"site;campaign;cost\n", "separated by commas"),
        (b"site,campaign,cost,Cost\n", "there twice"),
        (b"site,campaign,cost," + b",".join(b"c%d" % number for number in range(300)), "more than 200 columns"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b'site,"campaign\n', "not CSV"),
        (b"x" * 70_000, "more than 65,536 bytes"),
    ],
)
def test_wrong_header(data: bytes, detail: str) -> None:
    """Every line would be refused, so the file is."""
    with pytest.raises(Unacceptable, match=detail) as caught:
        read(data, form="csv")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'shop,"spring,2026-09-20,1,EUR', "malformed"),
        (b"shop,\xff\xfe,2026-09-20,1,EUR", "malformed"),
        (b"shop,spring,2026-09-20,1,EUR,more", "malformed"),
        (b"shop," + b"x" * 70_000 + b",2026-09-20,1,EUR", "too_large"),
        (b"shop," + b"x" * 700_000 + b",2026-09-20,1,EUR", "too_large"),
    ],
)
def test_wrong_lines(line: bytes, reason: str) -> None:
    """Each stands alone, however long it is; those that follow keep their numbers."""
    data = COSTS.encode() + line + b"\n" + COSTS.splitlines()[1].encode() + b"\n"
    for pieces in (10_000, 1 << 30):
        lines = read(data, pieces=pieces)
        assert [line.number for line in lines] == [2, 3, 4, 5]
        assert [line.refusal.reason if line.refusal else None for line in lines] == [None, None, reason, None]
        assert max(len(line.raw) for line in lines) < 720_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1]", "malformed"),
        (b"{", "malformed"),
        (b'{"a": NaN}', "malformed"),
        (b'{"a":"\xff"}', "malformed"),
        (b'{"a":' + b"[" * 100_0 + b"]" * 100_0 + b"}", "schema"),
        (b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "malformed"),
    ],
)
def test_wrong_json_lines(line: bytes, reason: str) -> None:
    """One object a line, of bounded depth."""
    [found] = read(line, form="jsonl")
    assert found.refusal is not None
    assert found.refusal.reason == reason


async def test_lines_are_kept_as_they_come() -> None:
    """Some hundred at a time, refused ones too, so that memory does not grow with the file."""
    data = b"site,campaign,date,cost\n" + b"shop,c,2026-09-20,1\nshop,c,x,1\n" * (2 * BATCH)
    kept, answer = await take(data)
    assert (answer["accepted"], answer["rejected_total"], len(answer["rejected"])) == (1000, 1000, MAX_LISTED)
    assert [len(intake.records) + len(intake.dead_letters) for intake in kept] == [BATCH] * 4


async def test_addresses_of_people() -> None:
    """As the setting lets through, also where a line is refused."""
    order = {"site": "shop", "time": NOW - 5000, "order_id": "o1", "action": "purchase", "ip": "192.0.2.99"}
    lines = [order, {**order, "status": "odd"}]
    kept, _ = await take("\n".join(map(json.dumps, lines)).encode(), "conversion")
    assert values(kept)[0]["ip"] == json.loads(kept[0].dead_letters[0].value)["ip"] == "192.0.2.0"


async def test_cost_without_any_time() -> None:
    """A statement replaces an earlier one by its time, so one is needed: of the line, or of the file."""
    [line, _] = read(COSTS.encode(), time=None)
    assert line.refusal is not None
    assert line.refusal.detail == "time: missing (or state `time` for the whole file)"


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("text/csv; charset=utf-8", "csv"),
        ("application/x-ndjson", "jsonl"),
        ("Application/JSON", "jsonl"),
        ("application/octet-stream", None),
        ("json", None),
        (None, None),
    ],
)
def test_content_types(content_type: str | None, form: str | None) -> None:
    """Where none says it, the first byte does."""
    assert form_of(content_type) == form
    assert read(b'{"site":"shop","campaign":"c","cost":1,"date":"2026-09-20"}', form=None)[0].refusal is None
