"""``GET /c/{campaign}``: an ad click is recorded, then the visitor is led on.

Rule: where to is the registry's word alone (`streams.collector.redirects`). A click that can't be kept is not led on;
one that is stated wrongly is, since whoever clicked is not to blame for the ad's address.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from uuid_utils import uuid7

from schemas.errors import Refused, Unavailable
from streams.collector.desk import refusal_response
from streams.collector.messages import NO_STORE, NOSNIFF, Request, Response, text_response
from streams.collector.parameters import TooMany, read_parameters, without_address
from streams.collector.redirects import choose_destination, choose_variant, click_event, location, macros
from streams.collector.visitors import may_set, new_visitor, stated_consent, visitor_of_cookie
from streams.core.ids import mint_click_id

if TYPE_CHECKING:
    from streams.collector.desk import Desk

PREFIX = "/c/"


async def lead_on(desk: Desk, request: Request) -> Response:
    """Record the click and answer with the destination; HEAD only says where a click would go."""
    if not desk.campaigns.ready:
        raise Unavailable("the campaigns are not read yet")
    origin = desk.origin(request)
    now = origin.received_at
    try:
        parameters = read_parameters(request.query)
    except TooMany as error:
        refusal = Refused("malformed", str(error))
        if request.method != "HEAD":
            await desk.refuse(without_address(request.query), refusal, origin)
        return refusal_response(400, refusal)
    campaign = desk.campaigns.find(request.path[len(PREFIX) :], parameters.get("site", ""), now)
    consent = stated_consent(parameters.get("consent"), request.headers)
    if consent is not None:
        parameters["consent"] = consent
    cookie = None if consent == "denied" else visitor_of_cookie(request.headers)
    visitor_id = cookie or new_visitor()
    destination = choose_destination(campaign, visitor_id) if campaign is not None else None
    if campaign is None or destination is None:
        return text_response(404, "There is no such campaign.\n")
    allowed = may_set(consent, desk.campaigns.site(campaign.site, now).consent_default)
    variant = choose_variant(campaign, destination, visitor_id)
    click_id = ""
    if request.method != "HEAD" and (allowed or cookie is not None):
        click_id = mint_click_id(visitor_id, campaign.campaign, os.urandom(12), desk.keys, campaign.site)
    goal = location(destination.url, click_id, macros(campaign, variant, click_id, parameters))
    headers = [("location", goal), NO_STORE, NOSNIFF]
    if request.method == "HEAD":
        return Response(302, b"", headers)
    data = click_event(
        campaign,
        variant,
        parameters,
        event_id=str(uuid7()),
        visitor_id=visitor_id,
        click_id=click_id,
        time=now,
        referrer=request.headers.get("referer") or "",
    )
    await desk.keep_event(data, origin, named=False)
    if allowed:
        headers.append(desk.remember(visitor_id, request))
    return Response(302, b"", headers)
