"""An ad click: what is recorded of it, and where the visitor goes.

Rule: the destination comes from the registry and from nowhere else; of a request only the campaign's name selects it.
Pure: visitor, event id and time are arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from xxhash import xxh3_64_intdigest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.core.registry import Campaign, Destination

STATED: Final = (
    *("source", "medium", "content", "term", "ad_group", "ad", "placement", "partner"),
    *("sub1", "sub2", "sub3", "sub4", "sub5", "variant", "audience", "country", "device", "cost", "currency"),
)
"""What a click's address may state of it."""
UTM: Final = {
    "utm_source": "source",
    "utm_medium": "medium",
    "utm_content": "content",
    "utm_term": "term",
}
_MAX_TEXT: Final = 256
_MAX_CLICK_ID: Final = 512
_MAX_URL: Final = 8192
_STEPS: Final = 1 << 53
_SAFE: Final = ":/?#[]@!$&'()*+,;=%-._~"


def choose_destination(campaign: Campaign, visitor_id: str) -> Destination | None:
    """The destination of this visitor: by weight, and always the same one while the campaign stays as it is."""
    total = sum(destination.weight for destination in campaign.destinations)
    if total <= 0:
        return None
    point = (xxh3_64_intdigest(f"{campaign.campaign}\n{visitor_id}".encode()) >> 11) / _STEPS * total
    chosen = None
    for destination in campaign.destinations:
        if destination.weight > 0:
            chosen = destination
            point -= destination.weight
            if point < 0:
                break
    return chosen


def location(url: str, click_id: str) -> str:
    """`url` with ``hw_cid`` appended to its parameters (none where `click_id` is ''), in ASCII and without controls."""
    address, hash_mark, fragment = url.partition("#")
    if click_id:
        address += ("&" if urlsplit(address).query else "?" if "?" not in address else "") + f"hw_cid={click_id}"
    return quote(address + hash_mark + fragment, safe=_SAFE)


def click_event(
    campaign: Campaign,
    destination: Destination,
    parameters: Mapping[str, str],
    *,
    event_id: str,
    visitor_id: str,
    click_id: str,
    time: int,
    referrer: str,
) -> dict[str, Any]:
    """The touch of a click at `time` (milliseconds), as a producer would state it."""
    event: dict[str, Any] = {
        "event_id": event_id,
        "type": "click",
        "time": time,
        "site": campaign.site,
        "visitor_id": visitor_id,
        "campaign": campaign.campaign,
    }
    for name, field in UTM.items():
        if parameters.get(name):
            event[field] = parameters[name][:_MAX_TEXT]
    for name in STATED:
        if parameters.get(name):
            event[name] = parameters[name][:_MAX_TEXT]
    if destination.variant:
        event["variant"] = destination.variant
    if campaign.partner and "partner" not in event:
        event["partner"] = campaign.partner
    if click_id and len(click_id) <= _MAX_CLICK_ID:
        event["click_id"] = click_id
    if referrer and len(referrer) <= _MAX_URL:
        event["referrer"] = referrer
    if parameters.get("consent") in {"granted", "denied", "unknown"}:
        event["consent"] = parameters["consent"]
    return event
