"""The core's door: a batch in, an outcome out, and nothing else (design, section 4)."""

from __future__ import annotations

import orjson
import pytest

from streams.core import clicks
from streams.core.apply import STEPS, apply, apply_without_poison
from streams.core.outcome import Scope
from streams.core.registry import Registry
from streams.core.state import MemoryView
from tests.reference.cluster import INPUTS, Record
from tests.reference.events import T0
from tests.reference.shop import click, purchase

SCOPE = Scope(0, 1, Registry())


def records(*events):
    """Events, or bytes, as input records."""
    return [
        Record(b"key", event if isinstance(event, bytes) else orjson.dumps(event), offset, T0)
        for offset, event in enumerate(events)
    ]


def test_every_input_has_its_step():
    """`campaigns` is the registry and is read by itself."""
    assert set(STEPS) == set(INPUTS)


@pytest.mark.parametrize("topic", INPUTS)
def test_an_empty_batch_changes_nothing(topic):
    """No outputs, no state, nothing counted."""
    outcome = apply(topic, [], MemoryView(), SCOPE)
    assert (outcome.read, outcome.outputs, outcome.puts) == (0, {}, {})


def test_apply_is_pure():
    """The view is only read; the same again comes to the same."""
    view = MemoryView()
    batch = records(click("a"), click("a"), click("b"), b"{")
    first, second = apply("clicks", batch, view, SCOPE), apply("clicks", batch, view, SCOPE)
    assert view.scan(b"") == []
    assert (first.outputs, first.puts) == (second.outputs, second.puts)


def test_every_state_entry_is_in_an_output_record():
    """The state is nothing but the output topics, indexed: `k` is the key, `m` a mark beside it (design, section 3)."""
    view = MemoryView()
    for topic, batch in (
        ("clicks", records(click("a"))),
        ("conversions", records(purchase())),
    ):
        outcome = apply(topic, batch, view, SCOPE)
        stated = {
            dict(headers)["k"]: value
            for outputs in outcome.outputs.values()
            for _, value, headers, _ in outputs
            if "k" in dict(headers)
        }
        assert {key: value for key, value in outcome.puts.items() if value} == stated


def test_a_dead_letter_says_where_it_came_from():
    """Headers `reason`, `detail`, `topic`, `partition`, `offset`, `time`; key and bytes as they were."""
    outcome = apply("clicks", records(click("a"), b"\xff{"), MemoryView(), Scope(0, 1, Registry()))
    ((key, value, stated, _),) = outcome.outputs["dead-letters", 0]
    headers = dict(stated)
    assert (key, value) == (b"key", b"\xff{")
    assert set(headers) == {"reason", "detail", "topic", "partition", "offset", "time"}
    assert headers["detail"]
    del headers["detail"]
    assert headers == {
        "reason": b"malformed",
        "topic": b"clicks",
        "partition": b"0",
        "offset": b"1",
        "time": str(T0).encode(),
    }


def test_a_record_that_a_step_cannot_handle_is_refused_by_itself(monkeypatch):
    """Its neighbours count, and every record is counted once."""
    classify = clicks.classify

    def fails_on_b(event, registry):
        if event["event_id"] == "b":
            raise ZeroDivisionError("b")
        return classify(event, registry)

    monkeypatch.setattr(clicks, "compiled", None)  # which asks once for touches that are alike
    monkeypatch.setattr(clicks, "classify", fails_on_b)
    batch = records(click("a"), click("b"), click("c"))
    outcome, problems = apply_without_poison("clicks", batch, MemoryView(), SCOPE)
    assert (outcome.read, outcome.accepted, outcome.dead_letter) == (3, 2, 1)
    assert problems == ["offset 1: ZeroDivisionError: b"]
    assert [dict(headers)["reason"] for _, _, headers, _ in outcome.outputs["dead-letters", 0]] == [b"malformed"]


def test_a_foreign_record_between_the_steps_is_refused_by_itself():
    """It has the fields but not their form."""
    batch = records(b'{"order":1,"gone":false,"cause":"first","at":1}')
    outcome, _ = apply_without_poison("orders-by-visitor", batch, MemoryView(), SCOPE)
    assert (outcome.read, outcome.dead_letter) == (1, 1)


def test_a_failure_that_no_record_is_to_blame_for_is_raised():
    """A view that cannot be read is not the records' fault."""

    class Broken(MemoryView):
        def get_many(self, keys):
            if len(keys) > 2:
                raise OSError("disk")
            return super().get_many(keys)

    with pytest.raises(OSError, match="disk"):
        apply_without_poison("clicks", records(click("a"), click("b")), Broken(), SCOPE)
