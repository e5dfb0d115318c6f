"""`GET` and `POST /postback`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from prometheus_client import CollectorRegistry

from streams.collector.app import Collector
from streams.collector.keys import Keys
from streams.collector.metrics import Metrics
from streams.collector.partners import Partners
from streams.collector.rules import Rules
from streams.core.ids import mint_click_id
from tests.collector.conftest import KEYS, NOW, browser
from tests.collector.test_partners import sign

if TYPE_CHECKING:
    import httpx

    from streams.collector.campaigns import CampaignBook
    from tests.collector.conftest import MemoryLog

PARTNERS = Partners("acme/1:acme-secret, other/1:other-secret", "netw:netw-token", sites="other=blog")
CLICK = mint_click_id("v1", "spring", b"n" * 12, KEYS, "shop")


class Network:
    """An affiliate network that tells a collector of conversions; `now` is our clock, in ms."""

    def __init__(self, events: MemoryLog, book: CampaignBook, **rules: Any) -> None:
        self.now = NOW
        self.events = events
        self.collector = self.another(book, **rules)

    def another(self, book: CampaignBook, **rules: Any) -> Collector:
        """A collector over the same log."""
        rules = {"partners": PARTNERS, "keep_ip": str, **rules}
        metrics = Metrics(CollectorRegistry())
        return Collector(self.events, book, metrics, keys=KEYS, rules=Rules(**rules), clock=lambda: self.now)

    def signed(self, secret: str = "acme-secret", key: str = "acme/1", at: int | None = None, **fields: Any) -> str:
        """A signed query string."""
        stamp = str((self.now if at is None else at) // 1000)
        query = urlencode(fields | {"key": key, "ts": stamp})
        return f"{query}&sig={sign(secret, 'GET', query, stamp=stamp)}"

    async def get(self, query: str, collector: Collector | None = None, **headers: str) -> httpx.Response:
        async with browser(collector or self.collector, agent="Network/1") as client:
            return await client.get(f"/postback?{query}", headers=headers)

    async def post(self, query: str = "", **body: Any) -> httpx.Response:
        async with browser(self.collector, agent="Network/1") as client:
            return await client.post(f"/postback?{query}", **body)

    async def tell(self, **fields: Any) -> dict[str, Any]:
        """What is kept of a signed postback that is taken."""
        return await self.value(await self.get(self.signed(**fields)))

    async def value(self, answer: httpx.Response) -> dict[str, Any]:
        """The event that was kept last."""
        assert (answer.status_code, answer.json()) == (200, {"accepted": 1, "rejected": []})
        found: dict[str, Any] = json.loads(self.events.records[-1].value)
        return found


@pytest.fixture
def network(events: MemoryLog, book: CampaignBook) -> Network:
    """The network, at NOW."""
    return Network(events, book)


async def test_a_click_id_says_all(network: Network) -> None:
    """It is signed, and names visitor and site: nothing else is needed."""
    value = await network.tell(click_id=CLICK)
    assert (value["visitor_id"], value["site"], value["action"]) == ("v1", "shop", "purchase")
    assert "status" not in value
    assert (value["type"], value["time"], value["click_id"], value["partner"]) == ("conversion", NOW, CLICK, "acme")
    assert network.events.records[-1].topic == "conversions"
    assert network.events.records[-1].key == value["order_id"]


async def test_their_names_for_our_fields(network: Network) -> None:
    """`txid` is the order, `payout` the value; ours holds where both are stated."""
    value = await network.tell(cid=CLICK, txid="o1", payout="12.50", currency="EUR")
    assert (value["order_id"], value["value"], value["currency"]) == ("o1", "12.50", "EUR")
    assert not {"txid", "payout", "cid", "key", "ts", "sig", "token"} & value.keys()
    assert (await network.tell(hw_cid=CLICK, order_id="mine", txid="theirs"))["order_id"] == "mine"


async def test_the_servers_address_is_not_the_visitors(network: Network) -> None:
    """Neither are its user agent and its headers; what the network states of the visitor is kept."""
    value = await network.value(await network.get(network.signed(click_id=CLICK), **{"sec-gpc": "1"}))
    assert not {"ip", "user_agent", "consent"} & value.keys()
    assert (await network.tell(click_id=CLICK, ip="198.51.100.4"))["ip"] == "198.51.100.4"


@pytest.mark.parametrize("form", ["query", "form", "json"])
async def test_token(network: Network, form: str) -> None:
    """In the address, a form, or JSON; it is no part of what is kept."""
    fields = {"token": "netw-token", "click_id": CLICK, "txid": "o1", "payout": "3"}
    sent: dict[str, dict[str, Any]] = {"query": {}, "form": {"data": fields}, "json": {"json": fields}}
    value = await network.value(await network.post(urlencode(fields) if form == "query" else "", **sent[form]))
    assert (value["order_id"], value["visitor_id"], value["partner"]) == ("o1", "v1", "netw")
    assert b"netw-token" not in network.events.records[-1].value


async def test_signed_body(network: Network) -> None:
    """What is in the body is signed too."""
    body = json.dumps({"click_id": CLICK, "value": 5}).encode()
    query = f"key=acme/1&ts={NOW // 1000}"
    query += f"&sig={sign('acme-secret', 'POST', query, body, str(NOW // 1000))}"
    assert (await network.value(await network.post(query, content=body)))["value"] == 5
    assert (await network.post(query, content=body.replace(b"5", b"6"))).status_code == 401


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("sale", {"type": "conversion", "action": "purchase", "status": "approved", "value": "9"}),
        ("lead", {"type": "conversion", "action": "lead", "status": "approved", "value": "9"}),
        ("pending", {"type": "conversion", "action": "purchase", "status": "pending", "value": "9"}),
        ("rejected", {"type": "conversion", "action": "purchase", "status": "rejected", "value": "9"}),
        ("refund", {"type": "adjustment", "action": "purchase", "adjustment": "retract"}),
        ("restate", {"type": "adjustment", "action": "purchase", "adjustment": "restate", "value": "9"}),
    ],
)
async def test_statuses(network: Network, status: str, expected: dict[str, str]) -> None:
    """A later word on the same click is about the same conversion."""
    first = await network.tell(click_id=CLICK, payout="9")
    value = await network.tell(click_id=CLICK, payout="9", currency="EUR", status=status)
    assert expected.items() <= value.items()
    assert ("value" in value) == ("value" in expected)
    assert value["order_id"] == first["order_id"]


async def test_a_click_converts_once_for_each_action(network: Network) -> None:
    """Told twice it is the same conversion, a lead is another one, and `txid` tells several sales apart."""
    told = [{}, {"status": "approved"}, {"txid": "a"}, {"txid": "b"}, {"event_id": "e"}]
    values = [await network.tell(click_id=CLICK, **fields) for fields in told]
    assert values[0]["order_id"] == values[1]["order_id"]
    assert [value.get("order_id") for value in values[2:]] == ["a", "b", None]
    other = mint_click_id("v1", "spring", b"m" * 12, KEYS, "shop")
    assert (await network.tell(click_id=other))["order_id"] != values[0]["order_id"]


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"site": "shop", "payout": "1"}, "order_id: missing"),
        ({"click_id": CLICK, "status": "rebill"}, "order_id: missing"),
        ({"click_id": CLICK[:-1] + ("A" if CLICK[-1] != "A" else "B")}, "click_id: not signed by us"),
        ({"click_id": CLICK + "="}, "click_id: not signed by us"),
        ({"click_id": "hw1.a.b"}, "click_id: not signed by us"),
        ({"click_id": CLICK, "site": "other"}, "site: not that of the click id"),
        ({"click_id": "theirs", "txid": "1"}, "site: missing"),
        ({"click_id": CLICK, "status": "nonsense"}, "status: 'nonsense' is none of"),
        ({"click_id": CLICK, "payout": "free"}, "value"),
        ({"click_id": CLICK, "status": "restate"}, "value: missing"),
    ],
)
async def test_refused(network: Network, fields: dict[str, str], detail: str) -> None:
    """400 that says why; it is kept, without what is secret, to be replayed when the cause is gone."""
    answer = await network.get(network.signed(**fields))
    assert (answer.status_code, answer.json()["reason"]) == (400, "schema")
    assert answer.json()["error"].startswith(detail)
    [record] = network.events.records
    assert record.topic == "dead-letters"
    assert json.loads(record.value) == fields


async def test_a_foreign_click_id(network: Network) -> None:
    """A network's own: kept, without a visitor."""
    value = await network.tell(click_id="theirs-7", site="shop")
    assert (value["click_id"], value["site"], "visitor_id" in value) == ("theirs-7", "shop", False)


async def test_old_click_ids(network: Network) -> None:
    """One that an older key signed is as good; one without a site has that of its campaign."""
    value = await network.tell(click_id=mint_click_id("v2", "spring", b"n" * 12, KEYS[1:]))
    assert (value["visitor_id"], value["site"]) == ("v2", "shop")


async def test_replayed(network: Network, book: CampaignBook) -> None:
    """A signed message is one event however often it comes: whoever has copied it can't bring an old state back."""
    sale = network.signed(click_id=CLICK, payout="9")
    first = await network.value(await network.get(sale))
    network.now += 60_000
    await network.tell(click_id=CLICK, status="rejected")
    network.now += 60_000
    assert await network.value(await network.get(sale)) == first | {"received_at": network.now}
    # Another collector has not seen it: then the same id has another time, and is refused downstream.
    elsewhere = await network.value(await network.get(sale, network.another(book)))
    assert (elsewhere["event_id"], elsewhere["time"] == first["time"]) == (first["event_id"], False)
    network.now += 181_000
    assert (await network.get(sale)).status_code == 401


async def test_partners_do_not_share_event_ids_times(network: Network) -> None:
    """The same event id of two partners are two events, each of its own time."""
    await network.tell(click_id=CLICK, event_id="e1")
    network.now += 1000
    answer = await network.get(urlencode({"token": "netw-token", "click_id": CLICK, "event_id": "e1"}))
    assert (await network.value(answer))["time"] == network.now


@pytest.mark.parametrize("offset", [-301_000, 301_000])
async def test_stale(network: Network, offset: int) -> None:
    """Signed too long ago, or too far ahead."""
    answer = await network.get(network.signed(at=NOW + offset, click_id=CLICK))
    assert (answer.status_code, network.events.records) == (401, [])


@pytest.mark.parametrize("query", ["", "click_id=x", "token=wrong", "key=acme/1&ts=1790000000&sig=" + "0" * 64])
async def test_unproven(network: Network, query: str) -> None:
    """401, and nothing is kept: anyone could fill the log."""
    answer = await network.get(query)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert not network.events.records


async def test_sites(network: Network) -> None:
    """A partner tells of its sites alone, whatever its clicks say."""
    answer = await network.get(network.signed("other-secret", "other/1", click_id=CLICK))
    assert (answer.status_code, answer.json()["error"]) == (400, "site: none of this partner's")
    query = network.signed("other-secret", "other/1", site="blog", txid="1")
    assert (await network.value(await network.get(query)))["site"] == "blog"


async def test_partner_is_who_signed(network: Network) -> None:
    """Not whom the message names."""
    assert (await network.tell(click_id=CLICK, partner="rival"))["partner"] == "acme"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 401),
        (b"[1]", 401),
        (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", 401),
        (b"\xff=1", 401),
        (b"x" * 70_000, 413),
    ],
)
async def test_odd_bodies_of_strangers(network: Network, body: bytes, status: int) -> None:
    """Are not kept; who sends many without proving anything has to wait."""
    assert (await network.post(content=body)).status_code == status
    network.collector = network.another(network.collector._desk.campaigns, rate_per_ip=1)
    assert (await network.post(content=body)).status_code == status
    answers = [await network.post(content=body) for _ in range(12)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) > 0
    assert not network.events.records


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "malformed"),
        (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "schema"),
        (b"\xff=1", "malformed"),
        (b"&".join(b"a%d=1" % number for number in range(200)), "malformed"),
    ],
)
async def test_odd_bodies_of_partners(network: Network, body: bytes, reason: str) -> None:
    """Are kept as they came, and the partner is told."""
    answer = await network.post("token=netw-token", content=body)
    assert (answer.status_code, answer.json()["reason"]) == (400, reason)
    assert [(record.topic, record.value) for record in network.events.records] == [("dead-letters", body)]


async def test_nothing_stated_is_no_statement(network: Network) -> None:
    """Null and empty texts, as networks send macros that they could not fill."""
    body = {"token": "netw-token", "click_id": CLICK, "status": None, "action": None, "payout": "", "txid": None}
    value = await network.value(await network.post(json=body))
    assert (value["action"], "status" in value) == ("purchase", False)
    assert value["order_id"].startswith("click-")


async def test_not_kept(network: Network) -> None:
    """503: the network sends it again, and then it is the same event."""
    query = network.signed(click_id=CLICK)
    network.events.down = True
    assert (await network.get(query)).status_code == 503
    network.events.down = False
    network.now += 5000
    assert (await network.value(await network.get(query)))["time"] == NOW


async def test_fast_partners(events: MemoryLog, book: CampaignBook) -> None:
    """Limited by key, not by address."""
    network = Network(events, book, rate_authenticated=0.1, rate_per_ip=0.1)
    answers = [await network.get(network.signed(click_id=CLICK)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["retry-after"] == "10"
    assert (await network.get(f"token=netw-token&click_id={CLICK}")).status_code == 200


async def test_an_api_key_is_no_partners(events: MemoryLog, book: CampaignBook) -> None:
    """Nor is a partner's token an API key."""
    network = Network(events, book, api_keys=Keys("a:api-key", "api_keys"))
    assert (await network.get(f"click_id={CLICK}", authorization="Bearer api-key")).status_code == 401
    async with browser(network.collector) as client:
        answer = await client.post("/import/costs", headers={"authorization": "Bearer netw-token"})
    assert answer.status_code == 401
