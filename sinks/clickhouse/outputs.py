"""The two most frequent output records, touches and panes, as the sink reads them: from bytes to values by column.

Rule: fields are named as in `schemas.records`, checked for their type, and read in one pass into objects that the
garbage collector need not follow; it takes half the time of dicts. Other records are few, and read as dicts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence


class Touch(msgspec.Struct, gc=False):
    """A touch as the worker writes it; what need not be stated is empty."""

    site: str
    time: int
    event_id: str
    visitor_id: str
    type: Literal["click", "impression", "landing"]
    channel: str
    source: str
    medium: str
    campaign: str
    content: str
    term: str
    cost_micros: int
    currency: str
    valid: bool
    invalid_reasons: list[str]
    internal: bool
    received_at: int
    ad_group: str = ""
    ad: str = ""
    placement: str = ""
    partner: str = ""
    sub1: str = ""
    sub2: str = ""
    sub3: str = ""
    sub4: str = ""
    sub5: str = ""
    variant: str = ""
    audience: str = ""
    country: str = ""
    device: str = ""
    click_id: str = ""
    user_id: str = ""
    url: str = ""
    referrer: str = ""
    evidence: str = ""
    hw_cid: str = ""
    consent: str = ""
    stated: bool = False
    quiet: bool = False


read_touch: Final = msgspec.json.Decoder(Touch).decode


class Pane(msgspec.Struct, gc=False):
    """A pane as the worker writes it; of each model its six measures in order."""

    minute: int
    site: str
    channel: str
    campaign: str
    partner: str
    variant: str
    audience: str
    currency: str
    impressions: int
    clicks: int
    landings: int
    invalid: int
    cost_micros: int
    models: dict[str, tuple[int, int, int, int, int, int]]


read_pane: Final = msgspec.json.Decoder(Pane).decode


def columns_of(kind: type[msgspec.Struct], rows: Sequence[msgspec.Struct]) -> dict[str, tuple[Any, ...]]:
    """The fields of `rows`, of which there is at least one, by name: of each all values."""
    return dict(zip(kind.__struct_fields__, zip(*map(msgspec.structs.astuple, rows), strict=True), strict=True))
