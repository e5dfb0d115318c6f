"""Dead letters without Kafka: what sends one again, what a file may mend, what a person sees."""

from __future__ import annotations

import base64
from itertools import islice

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigurationError, Refused
from streams.cli.dead_letters.letters import Choice, Letter, place_of
from streams.cli.dead_letters.mended import content, describe, mended_values, read_lines
from streams.cli.dead_letters.plans import Rules, plan
from streams.cli.dead_letters.shown import bytes_as_text, harmless, hex_lines
from streams.core.events import accept
from streams.core.ids import partition_of

DAY = 86_400_000
THEN = 1_790_000_000_000
"""When the letters' events were received."""
RULES = Rules(partitions=4, secret=b"secret")


def click(**fields):
    """A click that was on time."""
    return {"event_id": "e", "type": "click", "time": THEN - 1000, "site": "shop", "visitor_id": "v", **fields}


def letter(value, reason="schema", topic="clicks", **fields):
    """A letter of an event, or of bytes."""
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    place = {"partition": None, "offset": None} if topic == "http" else {"partition": 2, "offset": 7}
    known = {"place": (1, 5), "topic_id": "t", "key": b"old key", "detail": "", "time": THEN, **place}
    return Letter(value=raw, reason=reason, topic=topic, **(known | fields))


def sent(made):
    """The one record of a plan, and its event."""
    (record,) = made.records
    return record, orjson.loads(record.value)


# What is sent


def test_an_event_goes_where_it_belongs_with_its_own_key_and_partition():
    """Whatever key it had, and on whatever topic it lay."""
    conversion = {"event_id": "e", "type": "conversion", "time": THEN, "site": "s", "action": "buy", "order_id": "o-1"}
    record, _ = sent(plan(letter(conversion), RULES))
    assert record[:3] == ("conversions", partition_of("o-1", 4), b"o-1")
    assert record.headers == [("dead_letter", b"1:5")]
    for fields in ({"campaign": "spring"}, {"campaign": "spring", "type": "cost"}):
        cost = {"event_id": "e", "time": THEN, "site": "s", "date": "2026-01-01", "cost": 1, **fields}
        record, _ = sent(plan(letter(cost, topic="costs"), RULES))
        assert record[:3] == ("costs", partition_of("spring", 4), b"spring")


def test_an_event_is_as_old_as_it_was_when_it_was_received():
    """A month later it is judged as then; its other bytes stay as they are, spaces and all."""
    raw = b' { "event_id": "e", "type": "click", "time": %d, "site": "s", "visitor_id": "v"}' % (THEN - 6 * DAY)
    record, _ = sent(plan(letter(raw), RULES))
    assert record.value == raw.replace(b"{", b'{"received_at":%d,' % THEN)
    assert accept(record.value, THEN + 30 * DAY, "clicks")["received_at"] == THEN
    stated = click(received_at=THEN - 5)
    assert sent(plan(letter(stated), RULES))[0].value == orjson.dumps(stated)
    for nothing in (None, ""):
        assert sent(plan(letter(click(received_at=nothing)), RULES))[1]["received_at"] == THEN


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (click(time=THEN - 8 * DAY), "too_old"),
        (click(time=THEN + DAY), "in_future"),
        (click(type="tick"), "schema"),
        (b"\xff{", "malformed"),
        (click(), "id_collision"),
        (click(pad="x" * 70_000), "too_large"),
    ],
)
@pytest.mark.parametrize("topic", ["clicks", "http"])
def test_what_would_be_refused_again_stays(value, reason, topic):
    """Unless it is sent anyway, as it lay."""
    if topic == "http" and reason == "id_collision":
        return
    original = letter(value, reason, topic)
    made = plan(original, RULES)
    assert (made.records, [refusal.reason for refusal in made.refused]) == ([], [reason])
    anyway = plan(original, Rules(partitions=4, anyway=True))
    assert [(r.topic, r.partition, r.key, r.value) for r in anyway.records] == (
        [] if topic == "http" else [("clicks", 2, b"old key", original.value)]
    )


def test_what_was_in_the_future_is_taken_when_it_is_past():
    """Judged by now; a clock that was wrong is set right by as much as it was."""
    early = click(time=THEN + DAY)
    now = Rules(partitions=4, received=THEN + 2 * DAY)
    for topic in ("clicks", "http"):
        _, event = sent(plan(letter(early, "in_future", topic), now))
        assert (event["time"], event["received_at"]) == (THEN + DAY, THEN + 2 * DAY)
        shifted = click(time=THEN - 3 * DAY, sent_at=THEN - DAY)
        first = accept(orjson.dumps(shifted), THEN, "clicks")
        record, _ = sent(plan(letter(shifted, topic=topic), now))
        assert accept(record.value, 0, "clicks")["time"] == first["time"] == THEN - 2 * DAY


def test_a_mended_event_has_the_key_that_it_says_now():
    """And bytes of its own; a collision ends with an id of its own."""
    mended = orjson.dumps(click(visitor_id="another", event_id="another"))
    record, event = sent(plan(letter(click(), "id_collision"), RULES, [mended]))
    assert (record.key, record.partition, event["received_at"]) == (b"another", partition_of("another", 4), THEN)


def test_a_letter_of_several_events_is_sent_whole_or_not_at_all():
    """One that is wrong holds up the others of its letter."""
    events = [orjson.dumps(click(event_id=name)) for name in "ab"]
    assert len(plan(letter(b"[", "malformed", "http"), RULES, events).records) == 2
    made = plan(letter(b"[", "malformed", "http"), RULES, [*events, b"{}"])
    assert (made.records, len(made.refused)) == ([], 1)


def test_what_the_collector_refused_goes_through_its_own_check():
    """Consent that was denied unlinks the visitor; a bot's touch is followed by a verdict."""
    _, event = sent(plan(letter(click(consent="denied", click_id="c"), topic="http"), RULES))
    assert event["visitor_id"] != "v"
    assert "click_id" not in event
    made = plan(letter(click(user_agent="Googlebot/2.1 (+http://www.google.com/bot.html)"), topic="http"), RULES)
    assert [orjson.loads(record.value)["type"] for record in made.records] == ["click", "verdict"]


def test_what_only_workers_read_goes_back_as_it_lay():
    """An order on its way is no event; what came from nowhere goes nowhere."""
    made = plan(letter(b"{}", "malformed", "orders-by-visitor"), RULES)
    assert [(r.topic, r.partition, r.key, r.value) for r in made.records] == [
        ("orders-by-visitor", 2, b"old key", b"{}")
    ]
    assert plan(letter(b"{}", topic="elsewhere"), RULES).refused[0].reason == "malformed"


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(str).map(str.encode))
def test_no_bytes_break_a_plan(value):
    """Of whatever kind, from wherever: records or a refusal."""
    for topic in ("clicks", "costs", "http", ""):
        for rules in (RULES, Rules(partitions=4, received=THEN, anyway=True)):
            made = plan(letter(value, topic=topic), rules)
            assert bool(made.records) != bool(made.refused)


# Files


@pytest.mark.parametrize(
    ("value", "form"),
    [(b'{"a":1}', "event"), (b'[{"a":1}]', "events"), (b"[1]", "text"), (b"", "text"), (b"\xff", "base64")],
)
def test_a_letter_becomes_a_line_and_the_line_stands_for_the_letter(value, form):
    """In the form that is easiest to edit; left as it is it means the letter's own bytes."""
    original = letter(value)
    line = describe(original, None)
    assert [name for name in ("event", "events", "text", "base64") if name in line] == [form]
    (read,) = read_lines([orjson.dumps(line)], "f").values()
    assert (read.place, read.topic_id, read.content) == ((1, 5), "t", content(value))
    assert mended_values(read, original) is None


def test_what_is_edited_is_sent():
    """Whatever form it has then."""
    head = {"letter": "1:5", "topic_id": "t"}
    cases = {
        "event": ({"b": 2}, [b'{"b":2}']),
        "events": ([{"b": 2}, {"c": 3}], [b'{"b":2}', b'{"c":3}']),
        "text": ("x", [b"x"]),
        "base64": (base64.b64encode(b"\xfe").decode(), [b"\xfe"]),
    }
    for form, (said, values) in cases.items():
        (line,) = read_lines([b"\n", orjson.dumps({**head, form: said})], "f").values()
        assert line.number == 2
        assert mended_values(line, letter(b'{"a":1}')) == values


@pytest.mark.parametrize(
    "wrong",
    [
        b"{",
        b"[]",
        b'{"letter":"1:5","event":{}}',
        b'{"letter":"1-5","topic_id":"t","event":{}}',
        b'{"letter":"1:5","topic_id":"t"}',
        b'{"letter":"1:5","topic_id":"t","event":{},"text":""}',
        b'{"letter":"1:5","topic_id":"t","event":[]}',
        b'{"letter":"1:5","topic_id":"t","events":[]}',
        b'{"letter":"1:5","topic_id":"t","base64":"?"}',
    ],
)
def test_a_wrong_line_is_named(wrong):
    """By file and number; nothing of the file is used."""
    right = orjson.dumps(describe(letter(b"{}", place=(0, 0)), None))
    with pytest.raises(ConfigurationError, match=r"^f:2: "):
        read_lines([right, wrong], "f")


def test_a_letter_stands_in_a_file_once():
    """Else it would not be clear what is meant."""
    line = orjson.dumps(describe(letter(b"{}"), None))
    with pytest.raises(ConfigurationError, match="f:3: the letter stands in line 1 already"):
        read_lines([line, b"", line], "f")


# Which letters


def test_letters_are_chosen_by_reason_topic_time_and_name():
    """All that is asked for must be so; `until` is excluded."""
    one = letter(b"", "schema", "clicks")
    assert Choice().takes(one)
    assert not Choice()
    for choice, takes in (
        (Choice(reasons=("schema", "malformed")), True),
        (Choice(reasons=("malformed",)), False),
        (Choice(topics=("http",)), False),
        (Choice(since=THEN, until=THEN + 1), True),
        (Choice(until=THEN), False),
        (Choice(since=THEN + 1), False),
        (Choice(places={(1, 5)}), True),
        (Choice(places={(1, 6)}), False),
    ):
        assert choice
        assert choice.takes(one) is takes
    assert [place_of(text) for text in ("1:5", "1:", "a:5", "1:5:6", "-1:5", "²:1")] == [(1, 5), *[None] * 5]


# What a person sees


def test_nothing_that_acts_on_a_terminal_is_shown():
    """Escapes, deletions, other directions of writing, and what nobody sees."""
    assert harmless("a\x1b[31m\r\x9b\u202e\u200b\u2028é漢") == "a\\x1b[31m\\x0d\\x9b\\u202e\\u200b\\u2028é漢"
    assert bytes_as_text(b"\xff\x00ok") == "\\xff\\x00ok"


@given(st.text())
def test_harmless_text_is_printable(text):
    """Whatever it was."""
    assert all(char.isprintable() or char == "\u3000" or char.isspace() for char in harmless(text))
    assert not set(harmless(text)) & set(map(chr, (*range(0x20), *range(0x7F, 0xA0))))


def test_bytes_are_shown_in_hexadecimal():
    """Sixteen a line, with their ASCII."""
    assert list(hex_lines(b"headwater\n\x00\xff012345")) == [
        "00000000  68 65 61 64 77 61 74 65  72 0a 00 ff 30 31 32 33  |headwater...0123|",
        "00000010  34 35                                             |45|",
    ]


def test_a_refusal_can_be_told_for_each():
    """A plan says why, in the words of the check."""
    (refusal,) = islice(plan(letter(click(site=None)), RULES).refused, 1)
    assert isinstance(refusal, Refused)
    assert refusal.detail == "site: missing"


def test_copies_of_a_letter_have_one_mark():
    """So that what lies in the topic twice is sent again once."""
    one = letter(b"{", topic="http", letter_id="a1")
    assert one.mark == letter(b"{", topic="http", letter_id="a1", place=(3, 9)).mark
    assert one.mark != letter(b"{", topic="http", letter_id="a2").mark
    assert letter(b"{", place=(1, 2)).mark != letter(b"{", place=(1, 3)).mark
