"""What hostile inputs are tried on: each target draws inputs and says what must hold for a batch of them.

Rule: a check raises where a promise is broken, and nothing else may come out of the code but what it documents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.hostile import collector, core, files

SEEDS = st.integers(0, 2**40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
BYTES = st.binary(max_size=40)


class Target(NamedTuple):
    """`inputs` draws one input; `check` takes a batch of them."""

    rule: str
    inputs: st.SearchStrategy[Any]
    check: Callable[[list[Any]], None]


TARGETS: dict[str, Target] = {
    "accept": Target(
        "an event is accepted or refused for a reason of the closed set",
        st.tuples(st.sampled_from(core.TOPICS), SEEDS | BYTES | JSON),
        core.check_accept,
    ),
    "apply": Target(
        "a batch of records is accounted for, its good records count, refused bytes are kept",
        st.tuples(st.sampled_from(core.TOPICS), SEEDS | BYTES | JSON),
        core.check_apply,
    ),
    "orders-by-visitor": Target(
        "records of the topic between the units are taken or refused one by one", SEEDS | BYTES, core.check_orders
    ),
    "addresses": Target("any text has a host or none, and parameters or none", SEEDS | st.text(), core.check_addresses),
    "channels": Target("any touch has a channel", SEEDS, core.check_channels),
    "click-ids": Target("nothing but what we signed is ours", SEEDS | st.text(), core.check_click_ids),
    "campaigns": Target(
        "a record of the registry is an entry or passed over; no entry leads off its host",
        SEEDS | BYTES | JSON,
        core.check_campaigns,
    ),
    "files": Target(
        "a line is an event or refused by its number, however the file is cut into pieces",
        SEEDS | BYTES | st.text(max_size=40),
        files.check_files,
    ),
    "access-logs": Target("a line is a page view or it is none", SEEDS | st.text(max_size=80), files.check_logs),
    "spool": Target("bytes of the spool are events or damage", SEEDS | BYTES, files.check_spool),
    "events": Target(
        "POST /events answers for each event, keeps the good ones and the bytes of the others",
        SEEDS | JSON,
        collector.check_events,
    ),
    "bodies": Target("POST /events answers any body", SEEDS | BYTES, collector.check_bodies),
    "requests": Target(
        "any request has an answer, and no answer has a header of the sender's", SEEDS, collector.check_requests
    ),
    "postbacks": Target("a postback is an event or refused and kept", SEEDS, collector.check_postbacks),
    "imports": Target("POST /import answers any file", SEEDS | BYTES, collector.check_imports),
}
