"""Output records: the one definition of what headwater writes (contract, section 1); the views are made of it.

Rule: every record is absolute, the latest under its identity is the truth. Money is integer micros, shares of a
conversion are millionths, times are integer milliseconds since the epoch (UTC). Fields may be added; a reader ignores
those it does not know. Every record also bears a header ``k``, the worker's own.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import Field, StringConstraints, TypeAdapter
from typing_extensions import TypedDict

from schemas.events import Consent  # noqa: TC001 - pydantic reads the annotations
from schemas.reasons import Cause, Model, Reason  # noqa: TC001 - pydantic reads the annotations

TouchType = Literal["click", "impression", "landing"]
Status = Literal["approved", "pending", "rejected", "retracted", "duplicate"]
ConversionId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Fingerprint = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{16}$"), Field(description="Hash of the event's content.")
]
Moment = Annotated[int, Field(ge=0, description="Milliseconds since the epoch.")]
Micros = Annotated[int, Field(description="Millionths of the currency's major unit.")]
Count = Annotated[int, Field(ge=0)]
Millionths = Annotated[int, Field(ge=0, le=1_000_000)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class TouchRecord(TypedDict):
    """``touches``: an accepted touch, classified and judged. Written again when a verdict or consent changes it."""

    site: str
    visitor_id: str
    event_id: str
    type: TouchType
    time: Moment
    received_at: Moment
    fp: Fingerprint
    channel: str
    source: str
    medium: str
    campaign: str
    content: str
    term: str
    valid: bool
    invalid_reasons: list[str]
    internal: Annotated[bool, Field(description="A return from the site itself or a payment or login provider.")]
    cost_micros: Annotated[int, Field(ge=0)]
    currency: Currency
    user_id: NotRequired[str]
    url: NotRequired[str]
    referrer: NotRequired[str]
    ad_group: NotRequired[str]
    ad: NotRequired[str]
    placement: NotRequired[str]
    partner: NotRequired[str]
    sub1: NotRequired[str]
    sub2: NotRequired[str]
    sub3: NotRequired[str]
    sub4: NotRequired[str]
    sub5: NotRequired[str]
    variant: NotRequired[str]
    audience: NotRequired[str]
    country: NotRequired[str]
    device: NotRequired[str]
    click_id: NotRequired[str]
    consent: NotRequired[Consent]
    evidence: NotRequired[Annotated[str, Field(description="Hash of the address's UTM parameters and click ids.")]]
    hw_cid: NotRequired[Annotated[str, Field(description="Our own click id in the address.")]]
    stated: NotRequired[Annotated[bool, Field(description="Address or fields say where the visitor came from.")]]
    quiet: NotRequired[Annotated[bool, Field(description="The referrer is empty, the site's own or a provider's.")]]
    said: NotRequired[Annotated[dict[str, str], Field(description="Explicit fields as they were stated.")]]
    arrived: NotRequired[Annotated[bool, Field(description="It arrived from a click of ours that is forgotten.")]]
    renewed: NotRequired[Annotated[Moment, Field(description="Written again, since it is still needed.")]]
    extra: NotRequired[dict[str, Any]]


class ConsentRecord(TypedDict):
    """``touches``: a consent; state, no touch."""

    site: str
    visitor_id: str
    event_id: str
    type: Literal["consent"]
    time: Moment
    received_at: Moment
    fp: Fingerprint
    consent: Consent
    user_id: NotRequired[str]
    renewed: NotRequired[Annotated[Moment, Field(description="Written again, since it is still needed.")]]
    extra: NotRequired[dict[str, Any]]


class VerdictRecord(TypedDict):
    """``touches``: a verdict; state, no touch."""

    site: str
    visitor_id: str
    event_id: str
    type: Literal["verdict"]
    time: Moment
    received_at: Moment
    fp: Fingerprint
    touch_event_id: str
    valid: bool
    reasons: NotRequired[list[str]]
    consent: NotRequired[Consent]
    user_id: NotRequired[str]
    renewed: NotRequired[Annotated[Moment, Field(description="Written again, since it is still needed.")]]
    extra: NotRequired[dict[str, Any]]


class Fact(TypedDict):
    """What is kept of one event about a conversion."""

    event_id: str
    type: Literal["conversion", "adjustment"]
    time: Moment
    received_at: Moment
    fp: Fingerprint
    visitor_id: NotRequired[str]
    user_id: NotRequired[str]
    click_id: NotRequired[str]
    value_micros: NotRequired[Micros]
    currency: NotRequired[Currency]
    status: NotRequired[Literal["approved", "pending", "rejected"]]
    adjustment: NotRequired[Literal["restate", "retract", "approve", "reject"]]


class Merged(TypedDict):
    """A conversion as its facts tell it; '' where nobody states a visitor, user or click id."""

    time: Moment
    visitor_id: str
    named_at: Annotated[Moment, Field(description="Time of the event that names the visitor; of the first, if none.")]
    user_id: str
    click_id: str
    status: Literal["approved", "pending", "rejected", "retracted"]
    currency: Currency
    value_micros: Annotated[int, Field(description="Micros, before a rejection or retraction takes them away.")]
    revision: Annotated[int, Field(ge=1, description="How many facts are known.")]


class OrderRecord(TypedDict):
    """``orders``: one conversion with all its facts; `merged` is null while only adjustments are known."""

    site: str
    conversion_id: ConversionId
    action: str
    order_id: str
    merged: Merged | None
    facts: list[Fact]


class WholeOrder(Merged):
    """A merged conversion with its identity."""

    site: str
    conversion_id: ConversionId
    action: str
    order_id: str


class OrderByVisitorRecord(TypedDict):
    """``orders-by-visitor``: a merged conversion on its way to its visitor's journey."""

    order: WholeOrder
    gone: Annotated[bool, Field(description="It turned out to be another visitor's.")]
    cause: Cause
    at: Moment


class CreditedTouch(TypedDict):
    """A candidate as an attribution lists it; all '' but `channel`, `source` and `medium` where there was none."""

    touch_id: str
    type: TouchType | Literal[""]
    time: Moment
    channel: str
    source: str
    medium: str
    campaign: str
    content: str
    term: str
    ad_group: str
    ad: str
    partner: str
    variant: str
    audience: str


Credit = tuple[Annotated[int, Field(ge=0, description="Index into touches.")], Millionths, Micros]


class AttributionRecord(TypedDict):
    """``attributions``: a conversion, its candidates in order, its credits under every model."""

    site: str
    conversion_id: ConversionId
    visitor_id: Annotated[str, Field(description="'' while unmatched.")]
    conversion_time: Moment
    action: str
    order_id: str
    status: Status
    currency: Currency
    value_micros: Micros
    value_reported_micros: Micros
    counted: Annotated[bool, Field(description="Approved or pending.")]
    touches: Annotated[list[CreditedTouch], Field(min_length=1, max_length=500)]
    credits: dict[Model, list[Credit]]
    rejected_micros: NotRequired[
        Annotated[dict[Model, list[Micros]], Field(description="Shares of a rejected value, credit by credit.")]
    ]
    revision: Annotated[int, Field(ge=1)]
    withdrawn: Annotated[bool, Field(description="The conversion moved; its last credits stay listed.")]
    version: Annotated[int, Field(ge=1)]
    cause: Cause
    first_reported_at: Moment
    last_changed_at: Moment
    order: WholeOrder


Kpis = tuple[int, int, int, int, int, int]
"""conversions (millionths), revenue (micros), and the same pending, and rejected."""


class PaneRecord(TypedDict):
    """``panes``: a minute of KPIs for one set of dimensions, absolute totals of the partition it lies in."""

    minute: Annotated[int, Field(ge=0, description="Minutes since the epoch.")]
    site: str
    channel: str
    campaign: str
    partner: str
    variant: str
    audience: str
    currency: Currency
    impressions: Count
    clicks: Count
    landings: Count
    invalid: Count
    cost_micros: Count
    models: dict[Model, Kpis]


Said = TypedDict(
    "Said",
    {
        "campaign": str,
        "source": NotRequired[str],
        "medium": NotRequired[str],
        "channel": NotRequired[str],
        "ad_group": NotRequired[str],
        "ad": NotRequired[str],
        "variant": NotRequired[str],
        "date": NotRequired[str],
        "from": NotRequired[Moment],
        "to": NotRequired[Moment],
        "currency": NotRequired[Currency],
        "cost_micros": Count,
        "impressions": NotRequired[Count],
        "clicks": NotRequired[Count],
    },
)
Said.__doc__ = "What a statement of cost stated itself; names trimmed and decoded."

SpendRecord = TypedDict(
    "SpendRecord",
    {
        "site": str,
        "campaign": str,
        "source": str,
        "medium": str,
        "channel": Annotated[str, Field(description="'': that of the campaign's traffic.")],
        "ad_group": str,
        "ad": str,
        "variant": str,
        "from": Moment,
        "to": Moment,
        "currency": Currency,
        "cost_micros": Count,
        "impressions": Count,
        "clicks": Count,
        "time": Moment,
        "event_id": str,
        "hours": list[tuple[int, Count, Count, Count]],
        "replaced": bool,
        "events": dict[str, Fingerprint],
        "said": Said,
    },
)
SpendRecord.__doc__ = (
    "``spend``: the latest statement of cost of its words and period, and what it comes to. `hours`: hour since the "
    "epoch, micros, impressions, clicks. `replaced`: a later statement in other words is about the same dimensions and "
    "period, so that this one counts nothing. `events`: all statements taken, by event id. `said`: as it was stated."
)


class DeadLetterHeaders(TypedDict):
    """``dead-letters``: the headers, all text; key and value are the refused record's own bytes."""

    reason: Reason
    detail: str
    topic: Annotated[str, Field(description="`http` where the collector refused it.")]
    partition: str
    offset: str
    time: Annotated[str, Field(description="When it was received: milliseconds since the epoch.")]
    id: NotRequired[Annotated[str, Field(description="Of the collector's: one that lies there twice counts once.")]]


class ReplayRecord(TypedDict):
    """``replays``: a dead letter was sent again, in the transaction that this record is part of; never twice."""

    letter: Annotated[str, Field(description="Partition and offset in `dead-letters`: `3:1204`.")]
    topic_id: Annotated[str, Field(description="Which life of `dead-letters` the offset is of.")]
    time: Annotated[Moment, Field(description="When it was sent again.")]
    run: Annotated[str, Field(description="The run of `headwater dead-letters replay` that sent it.")]
    mended: Annotated[bool, Field(description="Its event was edited first.")]
    records: Annotated[dict[str, Count], Field(description="Input topic -> records that it became.")]


OUTPUT_RECORDS: Final[dict[str, Any]] = {
    "touches": TouchRecord | ConsentRecord | VerdictRecord,
    "orders": OrderRecord,
    "orders-by-visitor": OrderByVisitorRecord,
    "attributions": AttributionRecord,
    "spend": SpendRecord,
    "panes": PaneRecord,
    "dead-letters": DeadLetterHeaders,
    "replays": ReplayRecord,
}
"""Topic -> its records' values (for ``dead-letters``: headers)."""

ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {topic: TypeAdapter(form) for topic, form in OUTPUT_RECORDS.items()}


def read_record(topic: str, raw: bytes) -> Any:
    """The value of an output record of `topic`, without unknown fields; raises `pydantic.ValidationError`."""
    return ADAPTERS[topic].validate_json(raw, strict=True)
