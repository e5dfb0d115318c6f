"""From a browser to the credit: pages with the browser script, the whole local stack, and what ClickHouse says then."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
import pytest_asyncio
from clickhouse_connect.driver.client import Client

from deploy.local.probe import until
from deploy.local.stack import LocalStack
from schemas.reasons import MODELS
from schemas.registry import CampaignEntry
from schemas.settings import Settings
from sinks.clickhouse.connection import connect
from streams.cli.campaigns import write_registry
from tests.browser.conftest import OpenTab
from tests.browser.shop import SNIPPET, Shop

pytestmark = [
    pytest.mark.browser,
    pytest.mark.integration,
    pytest.mark.asyncio(loop_scope="session"),
]

BUY = "hw('conversion', {action: 'purchase', order_id: '%s', value: '49.90', currency: 'EUR'})"


@dataclass
class Street:
    """A shop whose pages are on 127.0.0.1, and the stack with its collector as `localhost`: to a browser, two sites."""

    shop: Shop
    stack: LocalStack
    clickhouse: Client

    async def rows(self, query: str, count: int = 1) -> list[dict[str, Any]]:
        """What a query gives once it gives so many rows."""
        found: list[dict[str, Any]] = []

        async def enough() -> bool:
            answer = await asyncio.to_thread(self.clickhouse.query, query)
            found[:] = answer.named_results()
            return len(found) >= count

        assert await until(enough, 20), [*map(str, found)]
        return found

    async def credits(self, order: str) -> list[tuple[str, str, str, float]]:
        """Touch type, channel, campaign and value of an order's credits, each as often as there are models."""
        query = "SELECT model, touch_type, channel, campaign, toFloat64(value) AS value FROM credits WHERE order_id = "
        found = await self.rows(f"{query}'{order}' ORDER BY model", len(MODELS))
        assert [row["model"] for row in found] == sorted(MODELS)
        return [(row["touch_type"], row["channel"], row["campaign"], row["value"]) for row in found]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def street(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Street]:
    """Once for the module; the campaign `spring` leads to the shop."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("street"))
    async with Shop() as shop, LocalStack(settings) as stack:
        shop.collector = f"http://localhost:{stack.settings.collector_port}"
        entry = CampaignEntry(
            campaign="spring",
            site="shop",
            source="magazine",
            medium="cpc",
            destinations=[{"url": f"{shop.home}/shoes?size=42"}],
        )
        await write_registry(stack.settings, [entry])
        async with httpx.AsyncClient() as http:

            async def known() -> bool:
                return (await http.head(f"{shop.collector}/c/spring")).status_code == 302

            assert await until(known, 15)
        with connect(stack.settings) as clickhouse:
            yield Street(shop, stack, clickhouse)


async def test_who_comes_by_an_ad_and_buys(street: Street, open_tab: OpenTab) -> None:
    """The campaign of the redirect click has the credit alone: its arrival, the way through the shop are no touches."""
    shop = street.shop
    button = f'<body><button onclick="{BUY % "ad-1"}">Buy</button>'
    shop.page(shop.tag() + button, "/shoes")
    shop.page(f"<a href={shop.collector}/c/spring?sub1=cover>Shoes!</a>", "/magazine")
    tab = await open_tab(f"http://localhost:{shop.port}/magazine")
    await tab.page.click("a")
    await tab.page.wait_for_url(f"{shop.home}/shoes?size=42")
    await tab.page.evaluate("history.pushState(null, '', '/cart')")
    await tab.page.reload()
    await tab.page.goto(f"{shop.home}/shoes")
    await tab.page.click("button")
    assert await street.credits("ad-1") == [("click", "Paid Other", "spring", 49.9)] * len(MODELS)
    touches = await street.rows(
        "SELECT type, internal, visitor_id, sub1, campaign, valid FROM touches ORDER BY time", 5
    )
    assert [row["type"] for row in touches] == ["click", *["landing"] * 4]
    assert len({row["visitor_id"] for row in touches}) == 1
    assert (touches[0]["sub1"], touches[1]["campaign"]) == ("cover", "spring")
    assert [bool(row["internal"]) for row in touches] == [False, False, True, True, False]
    assert tab.errors == []


async def test_an_order_before_the_script_has_come(street: Street, open_tab: OpenTab) -> None:
    """It waits for the view before it, whose address has the credit."""
    shop = street.shop
    shop.page(f"{SNIPPET}<script>{BUY % 'early-1'}</script>{shop.tag()}", "/thanks")
    await open_tab(f"{shop.home}/thanks?utm_source=letter&utm_medium=email&utm_campaign=may")
    assert await street.credits("early-1") == [("landing", "Email", "may", 49.9)] * len(MODELS)


async def test_the_collector_is_killed(street: Street, open_tab: OpenTab) -> None:
    """What happens meanwhile is told when it is back, with the time at which it happened, once."""
    shop = street.shop
    tab = await open_tab(shop.page(shop.tag(), "/away") + "?utm_source=kiosk&utm_medium=social&utm_campaign=june")
    await street.rows("SELECT 1 FROM touches WHERE campaign = 'june'")
    os.kill(street.stack.pids["collector"], signal.SIGKILL)
    await tab.page.evaluate(f"{BUY % 'away-1'}; history.pushState(null, '', '/away/2')")
    happened = await tab.page.evaluate("Date.now()")
    await tab.page.wait_for_function("JSON.parse(localStorage.hw_queue).length == 2")
    assert await street.credits("away-1") == [("landing", "Organic Social", "june", 49.9)] * len(MODELS)
    await tab.page.wait_for_function("!localStorage.hw_queue")
    [order] = await street.rows(
        "SELECT toUnixTimestamp64Milli(time) AS time, version FROM conversions WHERE order_id = 'away-1'"
    )
    assert happened - 5_000 < order["time"] <= happened
    assert order["version"] == 1


async def test_without_consent(street: Street, open_tab: OpenTab) -> None:
    """The view is seen and invalid, the order counts as Direct, and the two have nothing in common."""
    shop = street.shop
    denial = f"{SNIPPET}<script>hw('consent', 'denied'); {BUY % 'denied-1'}</script>"
    await open_tab(shop.page(denial + shop.tag(), "/denied") + "?utm_source=x&utm_medium=email&utm_campaign=secret")
    assert await street.credits("denied-1") == [("", "Direct", "", 49.9)] * len(MODELS)
    [touch] = await street.rows("SELECT valid, invalid_reasons, visitor_id FROM touches WHERE campaign = 'secret'")
    assert (bool(touch["valid"]), list(touch["invalid_reasons"])) == (False, ["no_consent"])
    [order] = await street.rows("SELECT visitor_id FROM conversions WHERE order_id = 'denied-1'")
    assert order["visitor_id"] != touch["visitor_id"]


async def test_without_scripts(street: Street, open_tab: OpenTab) -> None:
    """The `noscript` image tells the landing, of the visitor who clicked; a page of the collector's site buys too."""
    shop = street.shop
    image = (
        '<noscript><img referrerpolicy="no-referrer-when-downgrade" src="{}/pixel.gif?type={}&site=shop"></noscript>'
    )
    shop.page(shop.tag() + "<body>" + image.format(shop.collector, "landing"), "/shoes")
    own = f"http://127.0.0.1:{street.stack.settings.collector_port}"
    order = "conversion&action=purchase&order_id=plain-1&value=49.90&currency=EUR"
    shop.page("<body>" + image.format(own, order), "/bought")
    tab = await open_tab(f"{own}/c/spring?sub1=plain", java_script_enabled=False)
    await tab.page.goto(f"{shop.home}/bought")
    assert await street.credits("plain-1") == [("click", "Paid Other", "spring", 49.9)] * len(MODELS)
    [click] = await street.rows("SELECT visitor_id FROM touches WHERE sub1 = 'plain'")
    found = await street.rows(f"SELECT type FROM touches WHERE visitor_id = '{click['visitor_id']}' ORDER BY time", 2)
    assert [row["type"] for row in found] == ["click", "landing"]


async def test_nothing_was_refused(street: Street) -> None:
    """All that the pages told is what the collector takes."""
    refused = partial(street.clickhouse.query, "SELECT reason, detail FROM dead_letters")
    assert (await asyncio.to_thread(refused)).result_rows == []
