"""The live page in a real browser, over a real engine: right figures, that move, for everyone."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.async_api import Page, expect
from prometheus_client import CollectorRegistry, Counter, Gauge

from schemas.settings import Settings
from sinks.page import PageMetrics, PageServer, feed
from sinks.prometheus import MetricsServer
from tests.browser.conftest import OpenTab, Tab
from tests.sinks.conftest import EngineProcess, engine, put, settings  # noqa: F401 - fixtures
from tests.sinks.samples import LETTER_HEADERS, Sample, as_json, pane, touch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.integration,
    pytest.mark.asyncio(loop_scope="session"),
]

DASH = "\N{EN DASH}"
PHONE = {"width": 390, "height": 844}
HARMFUL = "<img src=x onerror=alert(1)>"
NOW = int(time.time())


class Shown(NamedTuple):
    """The page over a database of the test's own; ``insert(*samples)`` puts records into it."""

    url: str
    insert: Callable[..., Any]
    restart: Callable[[], Any]


def paned(offset: int, minutes_ago: int = 0, **fields: Any) -> Sample:
    return Sample(
        "panes", as_json(pane(**{"minute": NOW // 60 - minutes_ago, "currency": "EUR", **fields})), offset=offset
    )


def credited(conversions: float, revenue: float) -> list[int]:
    return [round(conversions * 1e6), round(revenue * 1e6), 0, 0, 0, 0]


KNOWN = [
    paned(
        1,
        1,
        impressions=4000,
        clicks=30,
        landings=10,
        cost_micros=20_000_000,
        models={"last_non_direct": credited(4, 200.5), "linear": credited(3.25, 150)},
    ),
    paned(
        2,
        1,
        channel="Email",
        campaign=HARMFUL,
        clicks=0,
        landings=60,
        cost_micros=0,
        models={"last_non_direct": credited(1, 49.5), "linear": credited(1.75, 100)},
    ),
    paned(3, 1, channel="Affiliates", campaign="partners", clicks=5, cost_micros=8_000_000, currency="USD"),
    paned(
        4, 26 * 60, channel="Email", clicks=0, landings=50, cost_micros=0, models={"last_non_direct": credited(2, 125)}
    ),
    Sample("touches", as_json(touch(time=NOW * 1000 - 30_000)), offset=1),
    Sample(
        "dead-letters",
        b"{",
        offset=1,
        headers=tuple((n, str(NOW * 1000).encode() if n == "time" else v) for n, v in LETTER_HEADERS),
    ),
]
"""100 visits and 5 conversions worth 250 EUR for 20 EUR; a day before, 50 and 2 and 125; 5 visits for USD besides."""


@pytest_asyncio.fixture(loop_scope="session")
async def shown(
    settings: Settings,  # noqa: F811
    put: Callable[..., None],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Shown]:
    """The page's server, and a worker that tells its figures; cycles follow each other more quickly than usual."""
    monkeypatch.setattr(feed, "REST", 1.0)
    registry = CollectorRegistry()
    events = Counter("headwater_events", "", ["topic", "outcome"], registry=registry)
    events.labels("clicks", "accepted").inc(105)
    Gauge("headwater_consumer_lag", "", ["topic", "partition"], registry=registry).labels("clicks", "0").set(17)
    Gauge("headwater_commit_age_seconds", "", ["partition"], registry=registry).labels("0").set(0)
    worker = MetricsServer("127.0.0.1", 0, lambda: (True, ""), registry)
    await worker.start()
    chosen = {"page_port": 0, "page_roles": f"worker-1=http://127.0.0.1:{worker.port}"}
    server = PageServer(settings.model_copy(update=chosen), PageMetrics(CollectorRegistry()))
    await server.start()

    async def insert(*samples: Sample) -> None:
        await asyncio.to_thread(put, *samples)

    async def restart() -> None:
        nonlocal server
        port = server.port
        await server.stop()
        server = PageServer(settings.model_copy(update=chosen | {"page_port": port}), PageMetrics(CollectorRegistry()))
        await server.start()

    yield Shown(f"http://127.0.0.1:{server.port}/", insert, restart)
    await server.stop()
    await worker.stop()


def card(page: Page, name: str) -> Any:
    return page.locator(f'[data-kpi="{name}"]')


async def row(page: Page, table: str, name: str) -> list[str]:
    """The cells of a table's row, spaces evened."""
    found = page.locator(f"#{table} tr", has=page.get_by_role("rowheader", name=name, exact=True))
    return [re.sub(r"\s+", " ", text).strip() for text in await found.locator("th, td").all_inner_texts()]


async def no_scroll(page: Page) -> bool:
    """Whether nothing is wider than the page, once all have taken their places."""
    await page.wait_for_function("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    return True


async def check(tab: Tab) -> None:
    """No rule of axe is broken, nothing came from elsewhere, and the console is silent."""
    await tab.page.evaluate(AXE_FILE_PATH.read_text())
    found = await tab.page.evaluate("axe.run()")
    broken = [(rule["id"], [node["html"][:160] for node in rule["nodes"]]) for rule in found["violations"]]
    assert broken == []
    assert {url.split("/")[2] for url in tab.requests} == {tab.page.url.split("/")[2]}
    assert tab.errors == []


async def test_the_figures_are_right_and_move(shown: Shown, open_tab: OpenTab) -> None:
    """Known records, to the last digit; an event that arrives is seen without loading anew; a restart is survived."""
    await shown.insert(*KNOWN)
    tab = await open_tab(shown.url)
    page = tab.page
    await expect(page.locator("#live")).to_have_text("Live")
    await expect(card(page, "visits").locator(".value")).to_have_text("105")
    values = {
        name: await card(page, name).locator(".value").inner_text()
        for name in ("conversions", "cvr", "revenue", "cost", "cpa", "roas")
    }
    assert values == {
        "conversions": "5",
        "cvr": "4.76 %",
        "revenue": "250.00",
        "cost": "20.00",
        "cpa": "4.00",
        "roas": "12.50",
    }
    assert await card(page, "visits").locator(".change").inner_text() == "▲ 110.0 %"
    assert await card(page, "revenue").locator(".change").inner_text() == "▲ 100.0 %"
    assert await card(page, "cost").locator(".change").inner_text() == DASH
    assert await card(page, "cost").locator(".also").inner_text() == "besides 8.00 USD"
    assert await row(page, "channels", "Paid Search") == [
        "Paid Search",
        "",
        "40",
        "4",
        "10.00 %",
        "200.50",
        DASH,
        "20.00",
        "5.00",
        "10.03",
    ]
    assert (await row(page, "channels", "Affiliates"))[-3:] == ["0.00 + 8.00 USD", DASH, DASH]
    assert await row(page, "campaigns", HARMFUL) == [
        HARMFUL,
        "Email",
        "60",
        "1",
        "1.67 %",
        "49.50",
        "0.00",
        "0.00",
        DASH,
    ]
    spent = ["20.00", "4,000", "5.00", "30", "0.67", "4", "5.00", "200.50", "10.03", "903 %"]
    assert await row(page, "costs", "Paid Search") == ["Paid Search", *spent]
    assert (await row(page, "costs", "Affiliates"))[1:6] == ["0.00 + 8.00 USD", "0", DASH, "5", DASH]
    assert await row(page, "costs", "Email") == []
    await page.locator('label:has(input[name="costs-of"][value="campaigns"])').click()
    assert (await row(page, "costs", "partners"))[1:3] == ["Affiliates", "0.00 + 8.00 USD"]
    assert (await row(page, "models", "Email"))[1:5] == ["0.00", "1.00", "0.00", "1.75"]
    assert (await row(page, "refused", "malformed"))[1] == "1"
    await expect(page.locator("#vitals")).to_contain_text("17")
    await expect(page.locator("#tracking")).to_have_text("Tracking works")
    assert await page.locator("#chart canvas").count() == 1

    await shown.insert(
        paned(8, 1, clicks=31, landings=10, cost_micros=20_000_000, models={"last_non_direct": credited(5, 300.5)})
    )
    await expect(card(page, "visits").locator(".value")).to_have_text("106")
    await expect(card(page, "revenue").locator(".value")).to_have_text("350.00")
    await check(tab)

    await shown.restart()
    await shown.insert(paned(9, 1, channel="SMS", clicks=4, cost_micros=0))
    await expect(card(page, "visits").locator(".value")).to_have_text("110")
    await expect(page.locator("#live")).to_have_text("Live")


async def test_by_keyboard_alone(shown: Shown, open_tab: OpenTab) -> None:
    """In the order of the page, each stop visible, none a trap; period, chart, sorting and tables can be worked."""
    await shown.insert(*KNOWN)
    tab = await open_tab(shown.url)
    page, keys = tab.page, tab.page.keyboard
    await expect(card(page, "visits").locator(".value")).to_have_text("105")

    stops = []
    for _ in range(90):
        await keys.press("Tab")
        stop = await page.evaluate(
            """() => {
              const e = document.activeElement, shown = e.matches("input[type=radio]") ? e.nextElementSibling : e;
              const style = getComputedStyle(shown), box = shown.getBoundingClientRect();
              const name = e.id || e.name || e.dataset.kpi || e.textContent.trim() || e.ariaLabel;
              return e === document.body ? null : [name,
                parseFloat(style.outlineWidth) >= 2 && style.outlineStyle !== "none" && box.width > 0];
            }"""
        )
        if stop is None:
            break
        stops.append(stop)
    assert stop is None, "the last stop leads out of the page"
    names = [name for name, _ in stops]
    assert [name for name, visible in stops if not visible] == []
    order = ["Skip to the results", "tracking", "theme", "site", "period", "model", "currency", "visits", "roas"]
    assert [name for name in names if name in order] == order

    await page.locator('input[value="24h"]').focus()
    await keys.press("ArrowRight")
    await expect(page.locator("#window")).to_contain_text("the 7 days before")
    await expect(card(page, "visits").locator(".value")).to_have_text("155")
    assert "period=7d" in page.url
    await card(page, "revenue").focus()
    await keys.press("Enter")
    await expect(page.locator("#chart-title")).to_have_text("Revenue in EUR every 3 hours")
    await page.locator("#chart-table summary").focus()
    await keys.press("Space")
    await expect(page.locator("#chart-table-body tbody tr")).to_have_count(56)
    await page.locator("#channels").get_by_role("button", name="Visits").focus()
    await keys.press("Enter")
    await expect(page.locator("#channels tbody th").first).to_have_text("Email")
    await expect(page.locator("#channels").get_by_role("columnheader", name="Visits")).to_have_attribute(
        "aria-sort", "descending"
    )
    await check(tab)
    await page.go_back()
    await expect(card(page, "visits").locator(".value")).to_have_text("105")


async def test_on_a_phone_in_the_dark(shown: Shown, open_tab: OpenTab) -> None:
    """No sideways scrolling at 360 to 420 px; dark by the system, light by the switch, which is remembered."""
    await shown.insert(*KNOWN)
    tab = await open_tab(shown.url, viewport=PHONE, color_scheme="dark", is_mobile=True, has_touch=True)
    page = tab.page
    await expect(card(page, "visits").locator(".value")).to_have_text("105")
    for width in (360, 390, 420):
        await page.set_viewport_size({"width": width, "height": 844})
        assert await no_scroll(page), width

    async def ground() -> str:
        return await page.evaluate("getComputedStyle(document.body).backgroundColor")

    dark = await ground()
    await check(tab)
    await page.locator("#theme").tap()
    await expect(page.locator("#theme")).to_have_attribute("aria-label", "Colours: light")
    assert await ground() != dark
    await page.reload()
    await expect(page.locator("#theme")).to_have_attribute("aria-label", "Colours: light")
    assert await ground() != dark


async def test_before_the_first_event_and_in_a_quiet_hour(shown: Shown, open_tab: OpenTab) -> None:
    """It says what to do, and shows the first event by itself; a period with nothing leads to one with something."""
    tab = await open_tab(f"{shown.url}?period=1h")
    page = tab.page
    await expect(page.locator("#empty-title")).to_have_text("No events yet")
    await expect(page.locator("#content")).to_be_hidden()
    await check(tab)
    await shown.insert(paned(1, 5 * 60))
    await expect(page.locator("#notice")).to_contain_text("Nothing happened on shop in the last hour.")
    await expect(card(page, "cvr").locator(".value")).to_have_text(DASH)
    await page.locator("#notice").get_by_role("button", name="Show the last 24 hours").click()
    await expect(card(page, "visits").locator(".value")).to_have_text("1")
    await expect(page.locator("#notice")).to_be_hidden()


async def test_clickhouse_away_is_said_and_mends_itself(
    shown: Shown,
    open_tab: OpenTab,
    engine: EngineProcess,  # noqa: F811
) -> None:
    """The last figures stay, marked as stale; the page goes on by itself."""
    await shown.insert(*KNOWN)
    tab = await open_tab(shown.url)
    page = tab.page
    await expect(page.locator("#live")).to_have_text("Live")
    await asyncio.to_thread(engine.kill)
    try:
        await expect(page.locator("#live")).to_have_text("Stale")
        await expect(page.locator("#notice")).to_contain_text("does not answer")
        await expect(card(page, "visits").locator(".value")).to_have_text("105")
        await expect(page.locator("#tracking")).to_have_text("Tracking is troubled")
    finally:
        await asyncio.to_thread(engine.start)
    await expect(page.locator("#live")).to_have_text("Live")
    await expect(page.locator("#notice")).to_be_hidden()
