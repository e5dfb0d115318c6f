"""Event sets for the property tests: small pools, so that events meet, tie, repeat and contradict each other.

Rule: no two events of a set have the same identity and other content (arrival decides those; they have a property of
their own).
"""

from __future__ import annotations

from urllib.parse import unquote

from hypothesis import strategies as st

from schemas.registry import CampaignEntry, SiteEntry
from streams.core.ids import mint_click_id
from streams.core.registry import Registry

T0 = 1_760_000_000_000
SECOND = 1_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
SITES = ("shop.example",) * 5 + ("plain.example",)
VISITORS = ("ann", "ann", "ann", "ann", "bob", "cyd")
KEYS = [("k1", b"secret")]
CLICK_IDS = tuple(
    mint_click_id(visitor, campaign, bytes([n]), KEYS)
    for n, (visitor, campaign) in enumerate([("ann", "spring"), ("bob", "spring"), ("ann", "unheard-of")])
)
URLS = (
    "https://www.shop.example/",
    "https://www.shop.example/?utm_source=news&utm_medium=email&utm_campaign=may",
    "https://www.shop.example/?gclid=abc",
    "https://www.shop.example/?gclid=xyz",
    *(f"https://www.shop.example/?hw_cid={click_id}" for click_id in CLICK_IDS),
)
REFERRERS = (
    "https://www.google.com/",
    "https://www.shop.example/cart",
    "https://pay.own.example/done",
    "https://www.paypal.com/checkout",
    "https://blog.example.org/post",
)
EVENT_IDS = tuple(f"{prefix}{number}" for number in range(8) for prefix in ("a", "Z", "é", "\U0001d4b3"))

# Edges of the rules: session 30 min, impressions 1 d, clicks 30 d, half-life 7 d; each exactly and 1 ms more or less.
_OFFSETS = (
    0,
    0,
    1,
    5 * SECOND,
    MINUTE,
    29 * MINUTE,
    30 * MINUTE,
    30 * MINUTE + 1,
    HOUR,
    DAY,
    DAY + 1,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    30 * DAY,
    30 * DAY + 1,
    33 * DAY,
)
times = st.builds(lambda a, b: T0 + a + b, st.sampled_from(_OFFSETS), st.sampled_from((0, 0, 0, 1, MINUTE, HOUR, DAY)))
amounts = st.sampled_from(
    ["10", "0", "19.99", "-5.55", "0.000001", "-0.000002", "0.0000005", "0.0000015", "1234567.891"]
)
currencies = st.sampled_from(["EUR", "USD", "JPY"])


late_times = st.builds(
    lambda a, b: T0 + a + b, st.sampled_from(_OFFSETS[6:]), st.sampled_from((0, 0, 0, 1, MINUTE, HOUR, DAY))
)


def _maybe(**strategies):
    return st.fixed_dictionaries({}, optional=strategies)


def _received(draw, event, latest):
    """Receipt and clock: mostly at once, sometimes late, to the edge, or beyond it; sometimes by a wrong clock."""
    kind = draw(st.sampled_from(["now"] * 6 + ["late", "edge", "beyond", "early", "too early", "clock", "clock"]))
    time = event["time"]
    event["received_at"] = {
        "late": time + 3 * DAY,
        "edge": time + latest,
        "beyond": time + latest + 1,
        "early": time - 10 * MINUTE,
        "too early": time - 10 * MINUTE - 1,
    }.get(kind, time)
    if kind == "clock":
        skew = draw(st.sampled_from([5 * MINUTE, 5 * MINUTE + 1, -5 * MINUTE - 1, DAY, -40 * DAY]))
        event["time"] = time - skew
        event["sent_at"] = event["received_at"] - skew
    return event


@st.composite
def touches(draw):
    """A click, impression or landing."""
    event = draw(
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["click", "impression", "landing", "landing"]),
                "event_id": st.sampled_from(EVENT_IDS),
                "site": st.sampled_from(SITES),
                "visitor_id": st.sampled_from(VISITORS),
                "time": times,
            },
            optional={
                "url": st.sampled_from(URLS),
                "referrer": st.sampled_from(REFERRERS),
                "campaign": st.sampled_from(["spring", "short", "unheard-of"]),
                "source": st.sampled_from(["google", "partner"]),
                "medium": st.sampled_from(["cpc", "email"]),
            },
        )
    )
    event |= draw(
        _maybe(
            click_id=st.sampled_from(CLICK_IDS),
            cost=st.sampled_from(["0.10", "0.000001", "2"]),
            currency=currencies,
            consent=st.sampled_from(["granted", "denied", "unknown"]),
        )
    )
    event |= draw(_maybe(partner=st.just("acme"), variant=st.just("b"), audience=st.just("new"), ad=st.just("x1")))
    return _received(draw, event, 7 * DAY)


@st.composite
def statements(draw):
    """A consent or a verdict."""
    event = draw(
        st.fixed_dictionaries(
            {
                "event_id": st.sampled_from(EVENT_IDS),
                "site": st.sampled_from(SITES),
                "visitor_id": st.sampled_from(VISITORS),
                "time": times,
            }
        )
    )
    if draw(st.booleans()):
        event |= {"type": "consent", "consent": draw(st.sampled_from(["granted", "denied", "unknown"]))}
    else:
        event |= {
            "type": "verdict",
            "touch_event_id": draw(st.sampled_from(EVENT_IDS)),
            "valid": draw(st.booleans()),
        } | draw(_maybe(reasons=st.sampled_from([[], ["flood"], ["bot", "datacentre"]])))
    return _received(draw, event, 7 * DAY)


@st.composite
def conversions(draw):
    """One telling of a conversion; few orders, so that several tell of one."""
    event = draw(
        st.fixed_dictionaries(
            {
                "type": st.just("conversion"),
                "event_id": st.sampled_from(EVENT_IDS),
                "site": st.sampled_from(SITES),
                "action": st.sampled_from(["purchase", "purchase", "lead"]),
                "time": late_times,
            },
            optional={"order_id": st.sampled_from(["o1", "o2"]), "visitor_id": st.sampled_from(VISITORS)},
        )
    )
    event |= draw(
        _maybe(
            value=amounts,
            currency=currencies,
            status=st.sampled_from(["approved", "pending", "rejected"]),
            click_id=st.sampled_from([*CLICK_IDS, "somebody-else's"]),
        )
    )
    return _received(draw, event, 35 * DAY)


@st.composite
def adjustments(draw):
    """A later word on an order, or on a conversion without order id; it may find none."""
    event = draw(
        st.fixed_dictionaries(
            {
                "type": st.just("adjustment"),
                "event_id": st.sampled_from(EVENT_IDS),
                "site": st.sampled_from(SITES),
                "adjustment": st.sampled_from(["restate", "restate", "approve", "reject", "retract"]),
                "time": times,
            }
        )
    )
    if draw(st.booleans()):
        event |= {
            "action": draw(st.sampled_from(["purchase", "purchase", "lead"])),
            "order_id": draw(st.sampled_from(["o1", "o2"])),
        }
    else:
        event |= {"conversion_event_id": draw(st.sampled_from(EVENT_IDS))} | draw(_maybe(action=st.just("other")))
    if event["adjustment"] == "restate":
        event["value"] = draw(amounts)
    event["received_at"] = event["time"] + draw(st.sampled_from([0, 0, 10 * DAY, -10 * MINUTE]))
    return event


def identity(event):
    """What makes two events the same (contract, identity)."""
    if event["type"] in {"conversion", "adjustment"}:
        if "order_id" in event:
            return ("order", event["site"], event["action"], event["order_id"], event["event_id"])
        about = event.get("conversion_event_id", event["event_id"])
        return ("conversion", event["site"], about, event["event_id"])
    if event["type"] == "cost":
        names = [unquote(event.get(name, "")).strip() for name in ("campaign", "source", "medium", "channel")]
        period = [event.get(name) for name in ("ad", "date", "from", "to")]
        return ("cost", event["site"], *names, *period, event["event_id"])
    return ("touch", event["site"], event["visitor_id"], event["event_id"])


@st.composite
def event_sets(draw, min_size=1, max_size=30):
    """Events of distinct identities, some of them repeated with the same content, in an order of arrival."""
    one = st.one_of(touches(), touches(), touches(), conversions(), conversions(), adjustments(), statements())
    events = list(
        {identity(event): event for event in draw(st.lists(one, min_size=min_size, max_size=max_size))}.values()
    )
    if draw(st.booleans()):
        again = draw(st.lists(st.sampled_from(events), max_size=4))
        events += [{**event, "ip": "192.0.2.7", "user_agent": "retry", "schema": 1} for event in again]
    return events


@st.composite
def registries(draw):
    """Registry entries: a site with policy, lookbacks and consent default; campaigns with lookbacks of their own."""
    entries = []
    if draw(st.booleans()):
        policy = st.sampled_from(["once_per_order", "once_per_visitor", "once_per_click"])
        entries.append(
            SiteEntry(
                site="shop.example",
                domains=("own.example",),
                currency=draw(st.sampled_from(["EUR", "USD"])),
                lookbacks=draw(
                    st.sampled_from(
                        [{}, {"click": 7}, {"impression": 0}, {"landing": 90, "impression": 30}, {"click": 0}]
                    )
                ),
                session_minutes=draw(st.sampled_from([30, 30, 0, 1440])),
                consent_default=draw(st.sampled_from(["granted", "granted", "denied"])),
                duplicate_policy=draw(
                    st.one_of(st.fixed_dictionaries({"purchase": policy}), st.fixed_dictionaries({"*": policy}))
                ),
            )
        )
        if draw(st.booleans()):
            entries.append(SiteEntry(site="shop.example", currency="JPY", valid_from=T0 + DAY))
    if draw(st.booleans()):
        entries.append(
            CampaignEntry(
                campaign="spring",
                site="shop.example",
                source="google",
                medium="cpc",
                partner=draw(st.sampled_from(["", "agency"])),
                channel=draw(st.sampled_from(["", "Affiliates", "Direct"])),
                valid_from=draw(st.sampled_from([0, T0 + 1, T0 + DAY])),
            )
        )
        entries.append(
            CampaignEntry(campaign="short", site="shop.example", lookbacks={"click": 1, "landing": 0, "impression": 2})
        )
    return entries


def registry_of(entries):
    """The registry of some entries."""
    return Registry(entries)
