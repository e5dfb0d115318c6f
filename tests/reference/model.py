"""The reference model: what a set of events comes to, written from the contract and not from the core.

Rule: slow and obvious. It reads the whole set, sorts it, and works every conversion out from scratch; it knows no
batches, no state and no versions. Of the product it uses only what has tests of its own: the shipped channels and what
a touch states, the stable hash of a conversion, the click id's form, the registry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from types import SimpleNamespace
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from streams.core.channels import category_of, classify
from streams.core.data import RULES
from streams.core.ids import conversion_id, read_click_id
from tests.reference.money import micros, shares, weights_of

MODELS = ("last_touch", "last_non_direct", "first_touch", "linear", "time_decay", "position_based")
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOT_CONTENT = {"sent_at", "received_at", "ip", "user_agent", "schema"}
TOUCHES = {"click", "impression", "landing"}
DIRECT = {
    "touch_id": "",
    "type": "",
    "channel": "Direct",
    "source": "(direct)",
    "medium": "(none)",
    "campaign": "",
    "content": "",
    "term": "",
    "ad_group": "",
    "ad": "",
    "partner": "",
    "variant": "",
    "audience": "",
}


@dataclass
class Result:
    """Final rows.

    `conversions` by conversion id; `touches` by (site, visitor, event id); `traffic` and `kpis` by (minute, site,
    channel, campaign, partner, variant, audience, currency), kpis also by model; `spend` by dimensions and period;
    `refused`: (event id, reason) in arrival order; counts of what was read.
    """

    conversions: dict = field(default_factory=dict)
    touches: dict = field(default_factory=dict)
    traffic: dict = field(default_factory=dict)
    kpis: dict = field(default_factory=dict)
    spend: dict = field(default_factory=dict)
    refused: list = field(default_factory=list)
    accepted: int = 0
    duplicates: int = 0


def reference(events, registry):
    """Final rows of a list of events in order of arrival; each bears `received_at`."""
    result = Result()
    accepted = _accepted(events, result)
    for touch in _touches(accepted, registry):
        result.touches[touch["site"], touch["visitor_id"], touch["event_id"]] = touch
    conversions = _conversions(accepted, registry)
    for conversion in conversions:
        mine = [
            touch
            for touch in result.touches.values()
            if (touch["site"], touch["visitor_id"]) == (conversion["site"], conversion["visitor_id"])
        ]
        conversion["candidates"] = _candidates(mine, conversion, registry)
    _judge_duplicates(conversions, registry)
    for conversion in conversions:
        _credit(conversion)
        result.conversions[conversion["conversion_id"]] = conversion
    _count_traffic(result, registry)
    _count_kpis(result)
    _state_spend(accepted, result, registry)
    return result


# ---- section 2: what is accepted


def _ms(time):
    if isinstance(time, str):
        moment = datetime.fromisoformat(time)
        since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - said plainly
        return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
    return time


def _accepted(events, result):
    known = {}
    accepted = []
    for raw in events:
        event = {name: value for name, value in raw.items() if value is not None and value != ""}
        event["time"] = _ms(event["time"])
        received = _ms(event["received_at"])
        content = {name: value for name, value in event.items() if name not in NOT_CONTENT}
        # sender's clock
        sent = _ms(event.get("sent_at", received))
        if abs(received - sent) > 5 * MINUTE:
            event["time"] = event["time"] + received - sent
        reason = _refusal(event, received)
        identity = _identity(event)
        if reason:
            result.refused.append((event["event_id"], reason))
        elif identity not in known:
            known[identity] = content
            accepted.append(event)
            result.accepted += 1
        elif known[identity] == content:
            result.duplicates += 1
        else:
            result.refused.append((event["event_id"], "id_collision"))
    return accepted


def _refusal(event, received):
    if event["time"] - received > 10 * MINUTE:
        return "in_future"
    late = received - event["time"]
    if event["type"] in {"click", "impression", "landing", "consent", "verdict"} and late > 7 * DAY:
        return "too_old"
    if event["type"] in {"conversion", "cost"} and late > 35 * DAY:
        return "too_old"
    return ""


def _conversion_key(event):
    """What names the conversion that an event of topic `conversions` is about."""
    if event.get("order_id"):
        return (event["site"], "order", event["action"], event["order_id"])
    if event["type"] == "adjustment":
        return (event["site"], "event", event["conversion_event_id"])
    return (event["site"], "event", event["event_id"])


def _identity(event):
    if event["type"] in {"conversion", "adjustment"}:
        return ("conversions", _conversion_key(event), event["event_id"])
    if event["type"] == "cost":
        return ("costs", *_words(event), event["event_id"])
    return ("clicks", event["site"], event["visitor_id"], event["event_id"])


def _order(event):
    return (event["time"], event["event_id"].encode())


# ---- section 2 and 3: touches, classified and judged


def _touches(accepted, registry):
    found = []
    for event in sorted(accepted, key=_order):
        if event["type"] not in TOUCHES:
            continue
        classified = classify(event, registry)
        site = registry.site(event["site"], event["time"])
        campaign = registry.campaign(classified.campaign, event["site"], event["time"]) if classified.campaign else None
        touch = {
            "site": event["site"],
            "visitor_id": event["visitor_id"],
            "event_id": event["event_id"],
            "type": event["type"],
            "time": event["time"],
            "channel": _channel(classified, campaign, site),
            "source": classified.source,
            "medium": classified.medium,
            "campaign": classified.campaign,
            "content": classified.content,
            "term": classified.term,
            "partner": event.get("partner") or (campaign.partner if campaign else ""),
            "referrer": event.get("referrer", ""),
            "click_id": event.get("click_id", ""),
            "internal": classified.internal,
            "cost": micros(event.get("cost", "0")),
            "currency": event.get("currency", site.currency),
            "classified": classified,
            "registered": campaign,
        }
        for name in ("ad_group", "ad", "variant", "audience"):
            touch[name] = event.get(name, "")
        touch["reasons"] = sorted(_reasons(event, accepted, site))
        touch["valid"] = not touch["reasons"]
        found.append(touch)
    return found


def _channel(stated, campaign, site):
    """The registry's channel of the campaign, else the first of the site's rules that holds, else the shipped ones."""
    if campaign and campaign.channel:
        return campaign.channel
    category = _category(stated.source.lower(), site)
    default = RULES.channel(category, *(text.lower() for text in (stated.source, stated.medium, stated.campaign)))
    for rule in site.channels:
        asked = {name: getattr(rule, name) for name in ("source", "medium", "campaign", "content", "term")}
        if (
            rule.category in {None, category}
            and rule.default_channel in {None, default}
            and all(
                re.fullmatch(pattern, getattr(stated, name), re.IGNORECASE | re.DOTALL)
                for name, pattern in asked.items()
                if pattern is not None
            )
        ):
            return rule.channel
    return default


def _category(source, site):
    """What the site lists the source as, by its name or the longest ending of its host, else what is shipped."""
    labels = source.split(".")
    for start in range(len(labels)):
        found = site.sources.get(".".join(labels[start:]))
        if found is not None:
            return "" if found == "none" else found
    return category_of(source)


def _reasons(touch, accepted, site):
    mine = [
        event
        for event in sorted(accepted, key=_order)
        if event["type"] not in {"conversion", "adjustment", "cost"}
        and (event["site"], event["visitor_id"]) == (touch["site"], touch["visitor_id"])
    ]
    reasons = set()
    if not _consented(touch, [event for event in mine if event["type"] == "consent"], site):
        reasons.add("no_consent")
    verdicts = [
        event
        for event in mine
        if event["type"] == "verdict"
        and event["touch_event_id"] == touch["event_id"]
        and abs(event["time"] - touch["time"]) <= 118 * DAY
    ]
    if verdicts and not verdicts[-1]["valid"]:
        reasons.update(verdicts[-1].get("reasons") or ["verdict"])
    return reasons


def _consented(touch, statements, site):
    """Whether a touch may be credited; `statements`: the visitor's consent events in order."""
    if touch.get("consent") == "denied":
        return False
    said = [
        event
        for event in statements
        if event["consent"] in {"granted", "denied"} and -118 * DAY <= touch["time"] - event["time"] <= 400 * DAY
    ]
    denials = [event for event in said if event["consent"] == "denied"]
    if denials:
        later_grants = [
            event for event in said if event["consent"] == "granted" and _order(event) > _order(denials[-1])
        ]
        return bool(later_grants) and touch["time"] >= later_grants[0]["time"]
    if site.consent_default == "granted" or touch.get("consent") == "granted":
        return True
    return any(touch["time"] >= event["time"] for event in said)


# ---- section 3, rules 1 to 4: candidates


def _touch_order(touch):
    return (touch["time"], touch["event_id"].encode())


def _lookback(touch, registry):
    """Lookback of the touch's kind, by its campaign, else its site, as in force at its time; 0: none."""
    if touch["registered"] and touch["type"] in touch["registered"].lookbacks:
        return touch["registered"].lookbacks[touch["type"]]
    return registry.site(touch["site"], touch["time"]).lookbacks[touch["type"]]


def _is_continuation(touch, all_touches, registry):
    if touch["type"] != "landing":
        return False
    before = [
        other
        for other in sorted(all_touches, key=_touch_order)
        if other["type"] in {"click", "landing"} and _touch_order(other) < _touch_order(touch)
    ]
    if not before:
        return False
    latest = before[-1]
    if touch["time"] - latest["time"] > registry.site(touch["site"], touch["time"]).session_ms:
        return False
    says_nothing = not touch["classified"].stated and touch["classified"].quiet
    evidence = (touch["classified"].evidence, touch["referrer"])
    reload = evidence == (latest["classified"].evidence, latest["referrer"])
    if evidence == ("", ""):  # nothing in them that could be repeated: the touches' own fields must be the same
        reload = reload and all(touch[name] == latest[name] for name in ("source", "medium", "campaign"))
    return says_nothing or reload


def _is_arrival(touch, all_touches):
    carried = touch["classified"].hw_cid
    if touch["type"] != "landing" or not carried:
        return False
    return any(
        other["type"] == "click" and other["click_id"] == carried and abs(other["time"] - touch["time"]) <= 90 * DAY
        for other in all_touches
    )


def _candidates(all_touches, conversion, registry):
    """A conversion's candidates in order; `all_touches`: all of its visitor's."""
    candidates = []
    for touch in sorted(all_touches, key=_touch_order):
        lookback = _lookback(touch, registry)
        if not touch["valid"] or touch["time"] > conversion["time"]:
            continue
        if lookback == 0 or conversion["time"] - touch["time"] > lookback:
            continue
        if conversion["named_at"] - touch["time"] > 90 * DAY:
            continue
        if touch["internal"] or _is_continuation(touch, all_touches, registry) or _is_arrival(touch, all_touches):
            continue
        candidates.append(touch)
    if any(
        touch["type"] == "click" or (touch["type"] == "landing" and touch["channel"] != "Direct")
        for touch in candidates
    ):
        candidates = [touch for touch in candidates if touch["type"] != "impression"]
    if len(candidates) > 500:
        candidates = [candidates[0], *candidates[-499:]]
    return candidates


# ---- section 3, rules 6 to 8: conversions


def _visitor_named(event):
    if event.get("visitor_id"):
        return event["visitor_id"]
    click = read_click_id(event["click_id"]) if event.get("click_id") else None
    return click.visitor_id if click else ""


def _conversions(accepted, registry):
    by_key = {}
    for event in sorted(accepted, key=_order):
        if event["type"] in {"conversion", "adjustment"}:
            by_key.setdefault(_conversion_key(event), []).append(event)
    found = []
    for events in by_key.values():
        facts = [event for event in events if event["type"] == "conversion"]
        if facts:
            found.append(_merged(facts, events, registry))
    return found


def _in_time(event, first):
    """Whether what is said of a conversion is within 180 days of it."""
    return event["time"] - first["time"] <= 180 * DAY and abs(_ms(event["received_at"]) - first["time"]) <= 180 * DAY


def _merged(facts, events, registry):
    """One conversion of its facts (events of type conversion) and all `events` about it, both in order."""
    first = facts[0]
    facts = [event for event in facts if _in_time(event, first)]
    events = [event for event in events if _in_time(event, first)]
    naming = [event for event in facts if _visitor_named(event)]
    valued = [event for event in facts if "value" in event]
    amount = micros(valued[0]["value"]) if valued else 0
    money = valued[0] if valued else next((event for event in facts if "currency" in event), first)
    currency = money.get("currency") or registry.site(money["site"], money["time"]).currency
    stating = [event for event in facts if "status" in event]
    status = stating[0]["status"] if stating else "approved"
    for event in events:
        if status == "retracted":
            break
        if event["type"] == "conversion":
            if event in stating[1:]:
                status = event["status"]
        elif event["adjustment"] == "restate":
            amount = micros(event["value"])
        else:
            status = {"retract": "retracted", "approve": "approved", "reject": "rejected"}[event["adjustment"]]
    return {
        "site": first["site"],
        "conversion_id": conversion_id(first["site"], first["action"], first.get("order_id") or "", first["event_id"]),
        "time": first["time"],
        "action": first["action"],
        "order_id": first.get("order_id") or "",
        "visitor_id": _visitor_named(naming[0]) if naming else "",
        "named_at": naming[0]["time"] if naming else first["time"],
        "status": status,
        "currency": currency,
        "value_reported": amount,
    }


def _judge_duplicates(conversions, registry):
    """Rule 8: of the conversions that fall together the earliest stays; 180 days after one, the next is another's."""
    seen = {}
    for conversion in sorted(conversions, key=lambda item: (item["time"], item["conversion_id"])):
        policy = registry.site(conversion["site"], conversion["time"]).policy(conversion["action"])
        group = None
        if policy == "once_per_visitor" and conversion["visitor_id"]:
            group = (conversion["site"], conversion["action"], conversion["visitor_id"])
        if policy == "once_per_click" and conversion["visitor_id"]:
            clicks = [touch for touch in conversion["candidates"] if touch["type"] != "impression"]
            if clicks:
                group = (conversion["site"], conversion["action"], conversion["visitor_id"], clicks[-1]["event_id"])
        if group is not None and group in seen and conversion["time"] - seen[group] <= 180 * DAY:
            conversion["status"] = "duplicate"
        if group is not None:
            seen[group] = conversion["time"]
        counted = conversion["status"] in {"approved", "pending"}
        conversion["value"] = conversion["value_reported"] if counted else 0


# ---- section 3, rules 4 and 5: credits


def _credit(conversion):
    """Credits of all models: lists of (touch id, millionths, value, share of the reported value)."""
    candidates = conversion["candidates"]
    if not candidates:
        candidates = [{**DIRECT, "event_id": "", "time": conversion["time"]}]
    conversion["credited"] = candidates
    conversion["credits"] = {}
    for model in MODELS:
        weights = weights_of(model, candidates, conversion["time"])
        listed = [index for index in range(len(candidates)) if weights[index] > 0]
        weights = [weights[index] for index in listed]
        rows = zip(
            listed,
            shares(1_000_000, weights),
            shares(conversion["value"], weights),
            shares(conversion["value_reported"], weights),
            strict=True,
        )
        conversion["credits"][model] = [
            (candidates[index]["event_id"], millionths, value, reported) for index, millionths, value, reported in rows
        ]


# ---- section 2: stated costs


def _named(event, name):
    """A name as touches have it: trimmed and percent-decoded."""
    return unquote(event.get(name, "")).strip()


def _words(event):
    """What a statement says that it is about: dimensions, and a day or a span of time."""
    names = [_named(event, name) for name in ("campaign", "source", "medium", "channel")]
    return (
        event["site"],
        *names,
        *(event.get(name, "") for name in ("ad_group", "ad", "variant")),
        event.get("date", ""),
        event.get("from", 0),
        event.get("to", 0),
    )


def _state_spend(accepted, result, registry):
    """A statement replaces the earlier one in the same words, then the one that comes to the same period."""
    costs = sorted((event for event in accepted if event["type"] == "cost"), key=_order)
    latest = {_words(event): event for event in costs}
    for event in sorted(latest.values(), key=_order):
        site = registry.site(event["site"], event["time"])
        start, end = event.get("from"), event.get("to")
        if "date" in event:
            start, end = (_midnight(event["date"], days, site.timezone) for days in (0, 1))
        name, source, medium, channel = (_named(event, name) for name in ("campaign", "source", "medium", "channel"))
        campaign = registry.campaign(name, event["site"], start) or next(
            filter(None, (registry.campaign(other, event["site"], start) for other in _other_letters(name))), None
        )
        stated = list(_words(event)[2:8])
        if channel.lower() in {"display", "paid search"}:  # those that the events use
            stated[2] = {"display": "Display", "paid search": "Paid Search"}[channel.lower()]
        touch = SimpleNamespace(
            source=source or (campaign.source if campaign else ""),
            medium=medium or (campaign.medium if campaign else ""),
            campaign=campaign.campaign if campaign else name,
            content="",
            term="",
        )
        found = stated[2] or (campaign.channel if campaign else "")
        if not found and touch.source and touch.medium:
            found = _channel(touch, campaign, registry.site(event["site"], start))
        result.spend[event["site"], touch.campaign, *stated, start, end] = {
            "event_id": event["event_id"],
            "channel": found,
            "source": touch.source,
            "medium": touch.medium,
            "currency": event.get("currency", site.currency),
            "cost": _by_hour(micros(event["cost"]), start, end),
            "clicks": _by_hour(event.get("clicks", 0), start, end),
        }


def _other_letters(name):
    return [other for other in ("Spring", "short", "spring", "unheard-of") if other.lower() == name.lower()]


def _midnight(day, later, zone):
    moment = datetime.combine(date.fromisoformat(day) + timedelta(days=later), time(), ZoneInfo(zone))
    return round(moment.timestamp() * 1000)


def _by_hour(amount, start, end):
    """Hour -> its share, in proportion to what of it the period covers."""
    hours = range(start // HOUR, -(-end // HOUR))
    covered = [min(end, (hour + 1) * HOUR) - max(start, hour * HOUR) for hour in hours]
    return {hour: share for hour, share in zip(hours, shares(amount, covered), strict=True) if share}


# ---- section 4: traffic and kpis, recounted


def _dimensions(minute, site, touch, currency):
    return (
        minute,
        site,
        touch["channel"],
        touch["campaign"],
        touch["partner"],
        touch["variant"],
        touch["audience"],
        currency,
    )


def _add(table, key, **amounts):
    row = table.setdefault(key, {})
    for name, amount in amounts.items():
        row[name] = row.get(name, 0) + amount


def _count_traffic(result, registry):
    for touch in result.touches.values():
        key = _dimensions(touch["time"] // MINUTE, touch["site"], touch, touch["currency"])
        if touch["reasons"] not in ([], ["no_consent"]):
            _add(result.traffic, key, invalid=1)
        elif not (touch["type"] == "landing" and touch["internal"]):
            _add(result.traffic, key, **{touch["type"] + "s": 1})
        _add(result.traffic, key, cost=touch["cost"])
    _drop_zeros(result.traffic)


def _count_kpis(result):
    for conversion in result.conversions.values():
        touches = {touch["event_id"]: touch for touch in conversion["credited"]}
        for model, listed in conversion["credits"].items():
            for touch_id, millionths, value, reported in listed:
                key = (
                    model,
                    *_dimensions(
                        conversion["time"] // MINUTE, conversion["site"], touches[touch_id], conversion["currency"]
                    ),
                )
                if conversion["status"] in {"approved", "pending"}:
                    _add(result.kpis, key, conversions=millionths, revenue=value)
                if conversion["status"] == "pending":
                    _add(result.kpis, key, conversions_pending=millionths, revenue_pending=value)
                if conversion["status"] == "rejected":
                    _add(result.kpis, key, conversions_rejected=millionths, revenue_rejected=reported)
    _drop_zeros(result.kpis)


def _drop_zeros(table):
    """Rows and figures of zero say nothing: leave them out, so that tables compare."""
    for key in list(table):
        table[key] = {name: amount for name, amount in table[key].items() if amount != 0}
        if not table[key]:
            del table[key]
