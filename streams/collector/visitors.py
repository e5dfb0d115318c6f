"""Who the visitor of a request is, and what may be kept in the browser of one.

Rule: where consent is denied nobody is followed: no cookie is read for an event or set by it, and no click id is given.
Global Privacy Control is a denial of everything, whatever an event says of consent: only a statement of consent itself
stands, as it is the visitor's own word. Where a site's default is denial, nothing is set before consent is granted; a
cookie that is there was granted once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from uuid_utils import uuid4

from streams.collector.messages import read_cookie, write_cookie
from streams.core.addresses import read_query
from streams.core.ids import verify_click_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.collector.messages import RequestHeaders

COOKIE: Final = "hw_vid"
SCRIPT_COOKIE: Final = "hw_id"
"""The browser script's cookie, seen where the collector shares the site's domain: the visitor as the pages know it."""
CONSENT_COOKIE: Final = "hw_consent"
"""The browser script's cookie with the visitor's choice."""
COOKIE_AGE_S: Final = 400 * 86_400
"""As long as browsers keep a cookie at most (RFC 6265bis, 5.5)."""


def opted_out(headers: RequestHeaders) -> bool:
    """Whether the browser sends Global Privacy Control (https://w3c.github.io/gpc/: the header is `1` or not there)."""
    return headers.get("sec-gpc") == "1"


def stated_consent(stated: object, headers: RequestHeaders) -> str | None:
    """The consent that an event's parameters and its request come to, None where nothing is said of it."""
    if opted_out(headers):
        return "denied"
    if stated:
        return str(stated)
    return "denied" if read_cookie(headers.get("cookie"), CONSENT_COOKIE) == "denied" else None


def may_set(consent: str | None, default: str) -> bool:
    """Whether something may be kept in the browser: by the `consent` stated, else by the site's `default`."""
    return consent != "denied" and (consent == "granted" or default != "denied")


def visitor_of_cookie(headers: RequestHeaders) -> str | None:
    """The visitor that the browser's cookies name: the pages' own cookie first."""
    cookies = headers.get("cookie")
    return read_cookie(cookies, SCRIPT_COOKIE) or read_cookie(cookies, COOKIE)


def visitor_of_click(url: object, keys: Sequence[tuple[str, bytes]]) -> str | None:
    """The visitor that a click id of ours in `url` names, if one of `keys` signed it."""
    click = verify_click_id(read_query(url).hw_cid, keys) if isinstance(url, str) else None
    return read_cookie(f"{COOKIE}={click.visitor_id}", COOKIE) if click is not None else None


def new_visitor() -> str:
    """An id that nobody has."""
    return uuid4().hex


def visitor_cookie(visitor_id: str, *, domain: str, secure: bool) -> tuple[str, str]:
    """The header that has the browser remember a visitor."""
    return write_cookie(COOKIE, visitor_id, max_age=COOKIE_AGE_S, domain=domain, secure=secure)


def no_cookie(*, domain: str, secure: bool) -> tuple[str, str]:
    """The header that has the browser forget the visitor."""
    return write_cookie(COOKIE, "", max_age=0, domain=domain, secure=secure)
