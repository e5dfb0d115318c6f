"""``GET`` and ``POST /postback``: a network tells of a conversion, server to server.

Rule: nothing is read of a postback that does not prove whose it is (`streams.collector.partners`). A click id of ours
says all else: it is signed, and names visitor, campaign and site. The same conversion told twice is one: it is named by
``txid``, else by its click (a click converts once for each action, unless ``txid`` tells conversions apart), else by
``event_id``. Without any of these a repeat could not be told from a second sale, and is refused. A signed postback sent
again is the same event: an old word can't be said once more after a newer one, whoever has copied it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import orjson

from schemas.errors import Refused
from streams.collector.desk import refusal_response
from streams.collector.events import too_slow
from streams.collector.intake import (
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    Intake,
    is_deeper,
    refused_value,
    take_event,
    typed_parameters,
)
from streams.collector.messages import BodyTooLarge, BodyTooSlow, Request, Response, error_response, json_response
from streams.collector.parameters import TooMany, read_parameters
from streams.collector.partners import SECRET_PARAMETERS, Unauthorized, check_time
from streams.collector.statuses import meaning_of
from streams.core.ids import verify_click_id

if TYPE_CHECKING:
    from streams.collector.desk import Desk
    from streams.collector.intake import Origin
    from streams.collector.partners import Sender

ALIASES: Final = {
    "txid": "order_id",
    "transaction_id": "order_id",
    "payout": "value",
    "hw_cid": "click_id",
    "clickid": "click_id",
    "cid": "click_id",
}
"""Other names that networks have for our fields; ours wins where both are stated."""
_OURS: Final = "hw1."
_REPEATABLE: Final = "rebill"


async def take_postback(desk: Desk, request: Request) -> Response:
    """Take one conversion, or a word on one."""
    try:
        body = await request.read(MAX_EVENT_BYTES) if request.method == "POST" else b""
        query = read_parameters(request.query)
    except (BodyTooLarge, BodyTooSlow, TooMany) as error:
        desk.gate.charge(request)
        return _unread(error)
    form, unreadable = _read_form(body, request.headers.get("content-type"))
    now = desk.clock()
    try:
        sender = desk.rules.partners.recognise(request, query, form, body)
        check_time(sender, now)
    except Unauthorized as error:
        raise desk.gate.reject(request, str(error)) from None
    desk.gate.admit(f"partner {sender.partner}")
    origin = desk.origin(request)._replace(ip="", user_agent=None, opted_out=False, doubt=None)
    if unreadable is not None:
        await desk.refuse(body, unreadable, origin)
        return refusal_response(400, unreadable)
    stated = {**typed_parameters(query), **form}
    for name in SECRET_PARAMETERS:
        stated.pop(name, None)
    told = orjson.dumps(stated)
    try:
        record = take_event(_event(desk, stated, sender, origin), origin, desk.secret)
    except Refused as refusal:
        await desk.refuse(refused_value(told, stated, origin, desk.secret), refusal, origin)
        return refusal_response(400, refusal)
    await desk.keep(Intake([record], [], [], []))
    return json_response(200, {"accepted": 1, "rejected": []})


def _unread(error: BodyTooLarge | BodyTooSlow | TooMany) -> Response:
    """The answer to what says nothing of who sends it."""
    if isinstance(error, BodyTooLarge):
        return error_response(413, f"a postback has at most {MAX_EVENT_BYTES:,} bytes")
    return too_slow() if isinstance(error, BodyTooSlow) else error_response(400, str(error))


def _read_form(body: bytes, content_type: str | None) -> tuple[dict[str, Any], Refused | None]:
    """What a body states, and why it states nothing: its address may still prove whose it is."""
    try:
        return _read(body, content_type) if body else {}, None
    except Refused as refusal:
        return {}, refusal


def _read(body: bytes, content_type: str | None) -> dict[str, Any]:
    """A form, or a JSON object. Raises `Refused`."""
    if (content_type or "").partition(";")[0].strip().lower().endswith("json") or body.lstrip()[:1] == b"{":
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Refused("malformed", f"not JSON: {error}") from None
        if type(data) is not dict:
            raise Refused("malformed", "not a JSON object")
        if is_deeper(data, MAX_DEPTH):
            raise Refused("schema", f"nested more than {MAX_DEPTH} deep")
        return data
    try:
        return typed_parameters(read_parameters(body.decode()))
    except UnicodeDecodeError:
        raise Refused("malformed", "neither a form in UTF-8 nor a JSON object") from None
    except TooMany as error:
        raise Refused("malformed", str(error)) from None


def _event(desk: Desk, stated: dict[str, Any], sender: Sender, origin: Origin) -> dict[str, Any]:
    """The event that a postback states. Raises `Refused`."""
    event = {name: value for name, value in stated.items() if name not in ALIASES}
    for alias, name in ALIASES.items():
        if stated.get(alias) not in (None, "") and event.get(name) in (None, ""):
            event[name] = stated[alias]
    _name_visitor(desk, event, origin.received_at)
    site = event.get("site")
    if isinstance(site, str) and not desk.rules.partners.may_tell_of(sender.partner, site):
        raise Refused("schema", "site: none of this partner's")
    meaning = meaning_of(_text(event.pop("status", "")), _text(event.get("action", "")))
    event["partner"] = sender.partner
    event["action"] = meaning.action
    if not event.get("order_id"):
        _name_conversion(event, meaning.action)
    if meaning.adjustment:
        event |= {"type": "adjustment", "adjustment": meaning.adjustment}
        if meaning.adjustment != "restate":
            event.pop("value", None)
            event.pop("currency", None)
    else:
        event["type"] = "conversion"
        if meaning.status:
            event["status"] = meaning.status
    _name_event(desk, event, sender, origin.received_at)
    return event


def _name_event(desk: Desk, event: dict[str, Any], sender: Sender, now: int) -> None:
    """State event id and time where the postback does not: those of the first time that it came."""
    repeatable = bool(sender.signed_at or event.get("event_id"))
    if not event.get("event_id"):
        said = [*sender, event] if sender.signed_at else [*sender, event, now]
        digest = hashlib.blake2b(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest_size=16)
        event["event_id"] = f"p-{digest.hexdigest()}"
    if not event.get("time"):
        # Not the signature's time: whose clock is behind would have converted before the click.
        told = f"{sender.partner}\n{event['event_id']}"
        event["time"] = desk.repeats.first(told, now) if repeatable else now


def _name_visitor(desk: Desk, event: dict[str, Any], now: int) -> None:
    """State visitor and site where a click id of ours does. Raises `Refused` where we have not signed it."""
    click_id = event.get("click_id")
    if not isinstance(click_id, str) or not click_id.startswith(_OURS):
        return
    click = verify_click_id(click_id, desk.keys)
    if click is None:
        raise Refused("schema", "click_id: not signed by us")
    site = click.site
    if not site:
        campaign = desk.campaigns.find(click.campaign, _text(event.get("site", "")), now)
        site = campaign.site if campaign is not None else ""
    if site and event.setdefault("site", site) != site:
        raise Refused("schema", "site: not that of the click id")
    if not event.get("visitor_id"):
        event["visitor_id"] = click.visitor_id


def _name_conversion(event: dict[str, Any], action: str) -> None:
    """Name a conversion that states no order id by its click. Raises `Refused`."""
    if event.get("event_id"):
        return
    click_id = event.get("click_id")
    if action == _REPEATABLE or not isinstance(click_id, str):
        raise Refused("schema", "order_id: missing (txid; else click_id, not for a rebill; or event_id)")
    event["order_id"] = f"click-{hashlib.blake2b(click_id.encode(), digest_size=16).hexdigest()}"


def _text(value: object) -> str:
    """A word as text; what is no statement as ''."""
    return value if isinstance(value, str) else "" if value is None else str(value)
