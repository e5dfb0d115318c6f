r"""An ad click: what is recorded of it, and where the visitor goes.

Rule: the destination comes from the registry and from nowhere else; of a request only the campaign's name selects it.
Macros (``{click_id}``, ``{sub1}``...) stand in its path, query and fragment alone, which the registry checks, and what
is put there is percent-encoded whole: no value can change the host, end a header or add a parameter.
Who goes where: xxh3_64 of "CAMPAIGN\nVISITOR", its upper 53 bits as a share of 1, falls into the weights as they are
listed; of "CAMPAIGN\nvariant\nVISITOR" likewise into the campaign's variants. So a visitor always goes the same way
while the campaign stays as it is. Pure: visitor, event id and time are arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from xxhash import xxh3_64_intdigest

from schemas.registry import MACRO

if TYPE_CHECKING:
    import re
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
_MAX_CLICK_ID: Final = 2048
_MAX_URL: Final = 8192
_STEPS: Final = 1 << 53
_DOTS: Final = (".", "..")
"""Parts of a path that climb, however they are encoded."""
_SAFE: Final = ":/?#[]@!$&'()*+,;=%-._~"


def choose_destination(campaign: Campaign, visitor_id: str) -> Destination | None:
    """The destination of this visitor: by weight, and always the same one while the campaign stays as it is."""
    total = sum(destination.weight for destination in campaign.destinations)
    if total <= 0:
        return None
    point = _share(f"{campaign.campaign}\n{visitor_id}") * total
    chosen = None
    for destination in campaign.destinations:
        if destination.weight > 0:
            chosen = destination
            point -= destination.weight
            if point < 0:
                break
    return chosen


def choose_variant(campaign: Campaign, destination: Destination, visitor_id: str) -> str:
    """The variant that this visitor sees: the destination's own, else one of the campaign's, all equally often."""
    if destination.variant or not campaign.variants:
        return destination.variant
    return campaign.variants[int(_share(f"{campaign.campaign}\nvariant\n{visitor_id}") * len(campaign.variants))]


def macros(campaign: Campaign, variant: str, click_id: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """What the macros of a destination stand for: of the campaign, and what the click's address states."""
    stated = {name: parameters[name][:_MAX_TEXT] for name in STATED if parameters.get(name)}
    for name, field in UTM.items():
        if parameters.get(name):
            stated.setdefault(field, parameters[name][:_MAX_TEXT])
    registered = {"source": campaign.source, "medium": campaign.medium, "partner": campaign.partner}
    ours = {"click_id": click_id, "campaign": campaign.campaign, "site": campaign.site, "variant": variant}
    return registered | stated | ours


def location(url: str, click_id: str, values: Mapping[str, str] | None = None) -> str:
    """`url` with its macros replaced by `values`, percent-encoded, and ``hw_cid`` appended to its parameters.

    Without `click_id` nothing is appended. In ASCII, and without controls.
    """

    def value(macro: re.Match[str]) -> str:
        return quote((values or {}).get(macro[1], ""), safe="")

    address, hash_mark, fragment = url.partition("#")
    address, query_mark, query = address.partition("?")
    # Segment by segment: two macros side by side may each be a dot.
    filled = [(part, MACRO.sub(value, part)) for part in address.split("/")]
    path = "/".join("" if new != part and _plain(new) in _DOTS else new for part, new in filled)
    address = path + query_mark + MACRO.sub(value, query)
    address, fragment = quote(address, safe=_SAFE), quote(MACRO.sub(value, fragment), safe=_SAFE)
    if click_id:
        address += ("&" if urlsplit(address).query else "?" if "?" not in address else "") + f"hw_cid={click_id}"
    return address + hash_mark + fragment


def click_event(
    campaign: Campaign,
    variant: str,
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
    if variant:
        event["variant"] = variant
    if campaign.partner and "partner" not in event:
        event["partner"] = campaign.partner
    if click_id and len(click_id) <= _MAX_CLICK_ID:
        event["click_id"] = click_id
    if referrer and len(referrer) <= _MAX_URL:
        event["referrer"] = referrer
    if parameters.get("consent") in {"granted", "denied", "unknown"}:
        event["consent"] = parameters["consent"]
    return event


def _plain(segment: str) -> str:
    """A part of a path as browsers read it, as far as dots go."""
    return segment.replace("%2e", ".").replace("%2E", ".")


def _share(text: str) -> float:
    """A number from 0 to below 1 that `text` always has."""
    return (xxh3_64_intdigest(text.encode()) >> 11) / _STEPS
