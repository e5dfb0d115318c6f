"""`GET /c/{campaign}`: consent, macros and hostile addresses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.registry import MACROS, CampaignEntry, Destination, SiteEntry
from streams.collector.campaigns import CampaignBook
from streams.collector.redirects import choose_variant, location
from streams.core.ids import verify_click_id
from streams.core.registry import Campaign
from streams.core.registry import Destination as Goal
from tests.collector.conftest import KEYS

if TYPE_CHECKING:
    import httpx

    from tests.collector.conftest import MemoryLog

EVIL = st.text(st.sampled_from("/\\.:@?#&=%{}<>\"' \t\r\n\x00éa2eE1"), max_size=12) | st.text(max_size=12)


@pytest.fixture
def book() -> CampaignBook:
    """`spring` with macros all over its address; `careful` of a site whose default is denial."""
    return CampaignBook(
        [
            CampaignEntry(
                campaign="spring",
                site="shop",
                source="google",
                partner="acme",
                variants=["red", "blue"],
                destinations=["https://shop.example/{sub1}/x?id={click_id}&v={variant}&s={source}&t={term}#{sub2}"],
            ),
            CampaignEntry(campaign="careful", site="eu", destinations=["https://eu.example/"]),
            SiteEntry(site="eu", consent_default="denied"),
        ],
        ready=True,
    )


async def go(client: httpx.AsyncClient, path: str, **headers: str) -> httpx.Response:
    answer = await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert answer.status_code == 302
    return answer


async def test_macros(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """Filled with what the click states, else with what the registry does; what nobody states is empty."""
    answer = await go(client, "/c/spring?sub1=a%2Fb%20c&sub2=%23top&utm_term=shoes%26x%3D1")
    value = json.loads(events.records[0].value)
    goal = urlsplit(answer.headers["location"])
    assert (goal.netloc, goal.path, goal.fragment) == ("shop.example", "/a%2Fb%20c/x", "%23top")
    query = parse_qs(goal.query)
    assert query["id"] == query["hw_cid"] == [value["click_id"]]
    assert (query["v"], query["s"], query["t"]) == ([value["variant"]], ["google"], ["shoes&x=1"])
    bare = urlsplit((await go(client, "/c/spring?source=bing")).headers["location"])
    assert (bare.path, bare.fragment, parse_qs(bare.query)["s"]) == ("//x", "", ["bing"])


@given(st.dictionaries(st.sampled_from(MACROS), EVIL, max_size=6), st.sampled_from(["", "c1"]))
def test_no_value_leads_elsewhere(values: dict[str, str], click_id: str) -> None:
    """Whatever a click states: the same host, the same parameters, the same depth, one line of ASCII."""
    url = "https://shop.example:8443/a/{sub1}{sub2}/{sub3}/b?x={source}{medium}&y={term}#{content}"
    goal = location(url, click_id, values)
    assert goal.isascii()
    assert goal.isprintable()
    assert " " not in goal
    parts = urlsplit(goal)
    assert (parts.scheme, parts.netloc) == ("https", "shop.example:8443")
    assert list(parse_qs(parts.query, keep_blank_values=True)) == ["x", "y", *(["hw_cid"] if click_id else [])]
    assert len(parts.path.split("/")) == 5
    # Dots climb however browsers find them encoded.
    assert all(unquote(segment) not in {".", ".."} for segment in parts.path.split("/"))


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example/",
        "/relative",
        "evil.example",
        "ftp://shop.example/",
        "https://{sub1}/",
        "https://shop.example{sub1}/",
        "https://{site}.example/",
        "https://shop.example:{sub1}/",
        "https://user:pass@shop.example/",
        "https://shop.example@evil.example/",
        "https:///evil.example",
        "https://\\evil.example/",
        "https://shop.example\\@evil.example/",
        "https://shop.example/\r\nset-cookie: a=b",
        "https://shop.example/ x",
        "https://shop.example/\x00",
        "https://shop.example:0/",
        "https://shop.example:99999/",
        "https://shop.example/{nonsense}",
        "https://[::1/",
        "",
    ],
)
def test_hostile_destinations(url: str) -> None:
    """A registry entry that leads somewhere odd is none, whoever wrote it to Kafka."""
    with pytest.raises(ValidationError):
        Destination(url=url)
    book = CampaignBook(ready=True)
    book.take(
        [
            (
                b"campaign/x/shop/0",
                json.dumps({"kind": "campaign", "campaign": "x", "site": "shop"} | {"destinations": [url]}).encode(),
            )
        ]
    )
    assert book.find("x", "shop", 1) is None


@pytest.mark.parametrize(
    "query",
    [
        "sub1=//evil.example&sub2=//evil.example",
        "hw_cid=hw1.forged.id&click_id=forged",
        "campaign=other&site=shop&destination=https://evil.example",
        "variant=https://evil.example",
        "utm_source=x%0d%0aset-cookie:%20a=b",
        "sub1=%00&sub2=%ff",
        "%73ite=shop&redirect_uri=https://evil.example",
    ],
)
async def test_hostile_parameters(client: httpx.AsyncClient, events: MemoryLog, query: str) -> None:
    """The same host, and an id that we made."""
    answer = await go(client, f"/c/spring?{query}")
    goal = urlsplit(answer.headers["location"])
    assert goal.netloc == "shop.example"
    click = verify_click_id(parse_qs(goal.query)["hw_cid"][-1], KEYS)
    assert click is not None
    assert (click.campaign, click.visitor_id) == ("spring", events.records[0].key)
    assert set(answer.headers) == {"location", "cache-control", "x-content-type-options", "set-cookie"}


async def test_too_many_parameters(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """Are not read, but kept."""
    answer = await client.get("/c/spring?" + "&".join(f"p{number}=1" for number in range(101)))
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")
    assert [record.topic for record in events.records] == ["dead-letters"]


async def test_long_parameters(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """A text is cut where a field ends; an address that long leads on all the same."""
    await go(client, f"/c/spring?sub1={'x' * 20_000}", referer="https://news.example/" + "y" * 9_000)
    value = json.loads(events.records[0].value)
    assert (len(value["sub1"]), "referrer" in value) == (256, False)


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?consent=denied", {}),
        ("", {"sec_gpc": "1"}),
        ("?consent=granted", {"sec_gpc": "1"}),
        ("", {"cookie": "hw_vid=v1; hw_consent=denied"}),
    ],
)
async def test_denial(client: httpx.AsyncClient, events: MemoryLog, query: str, headers: dict[str, str]) -> None:
    """However it is said: the click is counted, of nobody, without id, cookie or address."""
    answer = await go(client, f"/c/spring{query}", **{"cookie": "hw_vid=v1", **headers})
    value = json.loads(events.records[0].value)
    assert value["consent"] == "denied"
    assert "v1" not in json.dumps(value)
    assert not {"click_id", "ip"} & value.keys()
    assert "set-cookie" not in answer.headers
    assert "hw_cid" not in answer.headers["location"]
    assert "id=&" in answer.headers["location"]


@pytest.mark.parametrize(
    ("query", "headers", "remembered"),
    [("", {}, False), ("?consent=granted", {}, True), ("?consent=unknown", {}, False)],
)
async def test_where_denial_is_the_default(
    client: httpx.AsyncClient, query: str, headers: dict[str, str], *, remembered: bool
) -> None:
    """Nothing is set, and no id given, before consent is granted; a cookie that is there was granted once."""
    answer = await go(client, f"/c/careful{query}", **headers)
    assert ("set-cookie" in answer.headers) is remembered
    assert ("hw_cid" in answer.headers["location"]) is remembered
    assert "hw_cid" in (await go(client, "/c/careful", cookie="hw_vid=v1")).headers["location"]


@pytest.mark.parametrize("value", ["0", "", "yes", "true", "11"])
async def test_other_values_of_gpc(client: httpx.AsyncClient, events: MemoryLog, value: str) -> None:
    """It is `1` or it says nothing."""
    await go(client, "/c/spring", sec_gpc=value)
    assert "consent" not in json.loads(events.records[0].value)


async def test_cookie(client: httpx.AsyncClient, proxied: httpx.AsyncClient) -> None:
    """Out of reach of scripts and of other sites' forms, and of plain http where the browser spoke https."""
    plain = (await go(client, "/c/spring")).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(plain.split("; "))
    for secure in (
        await go(proxied, "/c/spring", x_forwarded_proto="https"),
        await go(client, "/c/spring", sec_fetch_site="none"),
    ):
        assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(secure.headers["set-cookie"].split("; "))


def test_variants() -> None:
    """Of the destination, else one of the campaign's, all equally often, and always the same for a visitor."""
    campaign = Campaign("c", "shop", variants=("red", "blue"), destinations=(Goal("a", 1, "own"), Goal("b")))
    assert choose_variant(campaign, campaign.destinations[0], "v") == "own"
    chosen = [choose_variant(campaign, campaign.destinations[1], f"v{number}") for number in range(2000)]
    assert 900 < chosen.count("red") < 1100
    assert chosen == [choose_variant(campaign, campaign.destinations[1], f"v{number}") for number in range(2000)]


async def test_click_ids_are_unguessable(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """The same visitor, campaign and moment: another id each time; who changes one has none."""
    ids = set()
    for _ in range(20):
        await go(client, "/c/spring", cookie="hw_vid=v1")
        ids.add(json.loads(events.records[-1].value)["click_id"])
    assert len(ids) == 20
    some: Any = ids.pop()
    for position in range(4, len(some)):
        forged = some[:position] + ("A" if some[position] != "A" else "B") + some[position + 1 :]
        assert verify_click_id(forged, KEYS) is None
