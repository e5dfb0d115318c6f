"""A real browser for tests: Debian's Chromium, driven by playwright, once a run.

All of it lives in the session's event loop, so a module that uses it says
``pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Request, async_playwright, expect

CHROMIUM = Path("/usr/bin/chromium")
PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
"""What a browser with a window calls itself: one without is a robot to the collector."""
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", f"--user-agent={PERSON}"]
DEADLINE_MS = 15_000
"""How long to wait for what is expected: a cycle of the page on a busy machine, and more."""

expect.set_options(timeout=DEADLINE_MS)


@dataclass
class Tab:
    """A page, and what it did: ``requests`` (addresses), ``errors`` (of the console, uncaught ones, failed loads)."""

    page: Page
    context: BrowserContext
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def _failure(request: Request) -> list[str]:
    """What went wrong, unless the page gave the request up itself."""
    return [] if request.failure == "net::ERR_ABORTED" else [f"{request.url}: {request.failure}"]


OpenTab = Callable[..., Awaitable[Tab]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: install Debian's chromium")
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield found
        await found.close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_tab(browser: Browser) -> AsyncIterator[OpenTab]:
    """Opens an address in a fresh profile; options are those of a playwright context, such as `viewport`."""
    contexts: list[BrowserContext] = []

    async def open_tab(url: str, **options: Any) -> Tab:
        context = await browser.new_context(**{"timezone_id": "Europe/Berlin", "reduced_motion": "reduce", **options})
        context.set_default_timeout(DEADLINE_MS)
        contexts.append(context)
        tab = Tab(await context.new_page(), context)
        tab.page.on("request", lambda request: tab.requests.append(request.url))
        tab.page.on("requestfailed", lambda request: tab.errors.extend(_failure(request)))
        tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
        tab.page.on(
            "console", lambda message: tab.errors.append(message.text) if message.type in {"error", "warning"} else None
        )
        await tab.page.goto(url)
        return tab

    yield open_tab
    for context in contexts:
        await context.close()
