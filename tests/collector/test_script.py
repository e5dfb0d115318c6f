"""`GET /hw.js`: how it is served and built; and what the collector does for pages that carry it, or only its image."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from schemas.errors import HeadwaterError
from streams.collector.script import BUILT, MAX_GZIPPED, accepts_gzip, build, compressed, is_among
from streams.core.ids import mint_click_id, verify_click_id

if TYPE_CHECKING:
    from tests.collector.conftest import MemoryLog

KEYS = [("new", b"new secret"), ("old", b"old secret")]
VIEW = {"type": "landing", "site": "shop"}
PAGE = "https://shop.example/?utm_source=x&hw_cid="


async def test_the_script_fits() -> None:
    """At most 2,048 bytes gzipped, as it is sent."""
    assert MAX_GZIPPED == 2048
    assert len(compressed(BUILT.read_bytes())) <= MAX_GZIPPED


def test_the_build_belongs_to_the_source() -> None:
    """`make script` was run after the last change of the source or of esbuild's version and options."""
    made = build.record(build.SOURCE.read_bytes(), BUILT.read_bytes())
    assert json.loads(build.RECORD.read_text()) == made


def test_the_build_can_be_repeated() -> None:
    """The pinned esbuild makes the same bytes of the source, wherever it can be had."""
    try:
        built = build.minified(build.SOURCE.read_bytes())
    except HeadwaterError as error:
        pytest.skip(str(error))
    assert built == BUILT.read_bytes()


async def test_how_it_is_served(client: httpx.AsyncClient) -> None:
    """To any page, kept by caches for an hour, smaller where the client takes that, and never of any other type."""
    plain = await client.get("/hw.js", headers={"accept-encoding": "identity"})
    small = await client.get("/hw.js", headers={"accept-encoding": "br, gzip"})
    assert plain.content == small.content == BUILT.read_bytes()
    assert ("content-encoding" in plain.headers, small.headers["content-encoding"]) == (False, "gzip")
    assert plain.headers["etag"] != small.headers["etag"]
    for answer in (plain, small):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["cache-control"].startswith("public, max-age=3600,")
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers
    head = await client.head("/hw.js")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", small.headers["etag"])


async def test_who_has_it_already(client: httpx.AsyncClient) -> None:
    """Gets 304 and no body, until there is another one."""
    etag = (await client.get("/hw.js")).headers["etag"]
    for known in (etag, f'"a", W/{etag}', "*"):
        answer = await client.get("/hw.js", headers={"if-none-match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
        assert "max-age=3600" in answer.headers["cache-control"]
    assert (await client.get("/hw.js", headers={"if-none-match": '"a"'})).status_code == 200


@pytest.mark.parametrize(
    ("accepted", "small"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("br", False),
        ("", False),
        (None, False),
    ],
)
def test_accepts_gzip(accepted: str | None, small: bool) -> None:
    """A weight of 0 is a no, and what is named beats the star."""
    assert accepts_gzip(accepted) is small


def test_is_among() -> None:
    """Whole tags are compared, not parts of them."""
    assert is_among('"ab"', ' "x" , "ab"')
    assert not is_among('"ab"', '"abc"')
    assert not is_among('"ab"', "")


def test_compressed() -> None:
    """The same bytes every time, and the script in them."""
    assert compressed(b"script") == compressed(b"script")
    assert gzip.decompress(compressed(b"script")) == b"script"


# --- the image of pages without scripts


def touches(events: MemoryLog) -> list[dict[str, Any]]:
    """The touches that were kept, without what the collector itself thinks of them."""
    found = [json.loads(record.value) for record in events.of("clicks")]
    return [event for event in found if event["type"] != "verdict"]


async def test_image_states_its_page(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """A landing that states no address came to the page that has the image; other events did not."""
    await client.get("/pixel.gif", params=VIEW, headers={"referer": "https://shop.example/a?utm_source=x"})
    await client.get(
        "/pixel.gif", params=VIEW | {"url": "https://o.example/"}, headers={"referer": "https://b.example/"}
    )
    await client.get("/pixel.gif", params=VIEW, headers={"referer": "https://shop.example/" + "a" * 8192})
    await client.get("/pixel.gif", params=VIEW | {"type": "click"}, headers={"referer": "https://shop.example/"})
    stated = [touch.get("url") for touch in touches(events)]
    assert stated == ["https://shop.example/a?utm_source=x", "https://o.example/", None, None]


async def test_image_names_the_visitor_of_the_click(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """Before any cookie, as the script does; but only where we have signed the click id."""
    ours = mint_click_id("v-click", "spring", b"12345678", KEYS)
    forged = mint_click_id("v-forged", "spring", b"12345678", [("new", b"guess")])
    for click_id in (ours, forged, "junk"):
        headers = {"referer": PAGE + click_id, "cookie": "hw_vid=v-cookie"}
        answer = await client.get("/pixel.gif", params=VIEW, headers=headers)
    assert [touch["visitor_id"] for touch in touches(events)] == ["v-click", "v-cookie", "v-cookie"]
    assert answer.headers["set-cookie"].startswith("hw_vid=v-cookie;")


@pytest.mark.parametrize("declined", [{"sec-gpc": "1"}, {"cookie": "hw_vid=v1; hw_consent=denied; hw_id=v2"}])
async def test_image_and_redirect_of_who_declines(
    client: httpx.AsyncClient, events: MemoryLog, declined: dict[str, str]
) -> None:
    """Global Privacy Control, or a denial that the script keeps, is a denial where the address states nothing else."""
    page = {"referer": PAGE + mint_click_id("v3", "spring", b"12345678", KEYS)}
    pixel = await client.get("/pixel.gif", params=VIEW, headers=declined | page)
    click = await client.get("/c/spring", headers=declined)
    for answer, touch in zip((pixel, click), touches(events), strict=True):
        assert (touch["consent"], touch["visitor_id"] in {"v1", "v2", "v3"}) == ("denied", False)
        assert "hw_cid" not in str(touch)
        assert "set-cookie" not in answer.headers
    assert "hw_cid" not in click.headers["location"]


async def test_the_script_s_cookie_comes_first(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """Where collector and pages share a domain, a click is of the visitor whom the pages know."""
    cookies = {"cookie": "hw_vid=old; hw_id=known"}
    answer = await client.get("/c/spring", headers=cookies)
    await client.get("/pixel.gif", params=VIEW, headers=cookies)
    assert [touch["visitor_id"] for touch in touches(events)] == ["known", "known"]
    click = verify_click_id(answer.headers["location"].partition("hw_cid=")[2].partition("#")[0], KEYS)
    assert click is not None
    assert click.visitor_id == "known"


async def test_an_image_says_by_its_width_whether_it_was_kept(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """A script that loads it sees no status: 1 pixel wide is a yes, 2 are a no; both are GIFs of 43 bytes."""
    yes = (await client.get("/pixel.gif", params=VIEW)).content
    events.down = True
    no = (await client.get("/pixel.gif", params=VIEW)).content
    width = slice(6, 8)
    assert (len(yes), len(no)) == (43, 43)
    assert (yes[width], no[width]) == (b"\x01\x00", b"\x02\x00")
    assert yes[:6] + yes[8:] == no[:6] + no[8:]


async def test_a_page_elsewhere_can_read_that_nothing_was_kept(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """503 is as readable to a page of another origin as 202, so that it knows that trying again may help."""
    events.down = True
    event = VIEW | {"event_id": "e1", "time": 1_790_000_000_000, "visitor_id": "v1"}
    answer = await client.post("/events", json=event, headers={"origin": "https://shop.example"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
