"""The browser script in a real browser: what it tells, of whom, what it stores, and that nothing is lost."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Route

from streams.collector.script import BUILT
from streams.core.ids import mint_click_id
from tests.browser.conftest import OpenTab
from tests.browser.shop import SNIPPET, Shop, content, judged
from tests.collector.conftest import KEYS

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "browser-script.md").read_text(encoding="utf-8")
HEX = re.compile(r"[0-9a-f]{32}")
CLICK_ID = mint_click_id("visitor-7", "frühling", b"\xff\xfe\xfd\x3f\x3e\x00\x01\x02", KEYS)
"""With bytes that base64 and base64url write differently, and a campaign that is not ASCII."""
ORDER = "hw('conversion', {action: 'purchase', order_id: 'o1', value: 49.9, currency: 'EUR'})"


@pytest_asyncio.fixture(loop_scope="session")
async def shop() -> AsyncIterator[Shop]:
    """A shop and a collector of the test's own."""
    async with Shop() as shop:
        yield shop


async def cookies(context: BrowserContext) -> dict[str, str]:
    """The cookies of the shop's pages, by name."""
    return {cookie["name"]: cookie["value"] for cookie in await context.cookies() if cookie["domain"] == "127.0.0.1"}


def enough(shop: Shop, **wanted: int) -> bool:
    """Whether so many events of each type have arrived."""
    return all(len(shop.of(kind)) >= count for kind, count in wanted.items())


async def kept(page: Page) -> list[dict]:
    """The events that wait in the browser."""
    return json.loads(await page.evaluate("localStorage.hw_queue || '[]'"))


# --- what it tells


async def test_a_page_view_and_what_was_called_before_the_script_came(shop: Shop, open_tab: OpenTab) -> None:
    """One request for all of it; defaults hold for all; the view comes before the order, of one visitor."""
    early = f"<script>{ORDER}; hw('set', {{user_id: 'u1', site: 'outlet'}})</script>"
    tab = await open_tab(shop.page(SNIPPET + early + shop.tag()) + "?utm_source=news&gclid=g1#top")
    await shop.until(lambda: shop.of("conversion"))
    landing, order = shop.events
    assert [request for request in shop.requests if request[1] == "/events"] == [("POST", "/events", "cors")]
    assert (landing["type"], landing["site"], landing["user_id"]) == ("landing", "outlet", "u1")
    assert landing["url"] == f"{shop.home}/?utm_source=news&gclid=g1#top"
    assert landing["referrer"] == ""
    assert order["time"] - 60_000 < landing["time"] <= order["time"] <= order["sent_at"]
    stated = {name: order[name] for name in ("type", "action", "order_id", "value", "currency", "user_id")}
    assert stated == {
        "type": "conversion",
        "action": "purchase",
        "order_id": "o1",
        "value": 49.9,
        "currency": "EUR",
        "user_id": "u1",
    }
    assert landing["visitor_id"] == order["visitor_id"] == (await cookies(tab.context))["hw_id"]
    assert HEX.fullmatch(landing["visitor_id"])
    assert HEX.fullmatch(landing["event_id"])
    assert landing["event_id"] != order["event_id"]
    assert "consent" not in landing
    assert tab.errors == []


async def test_calls_of_every_kind(shop: Shop, open_tab: OpenTab) -> None:
    """Any type of event; the visitor's id for the page; the snippet's function works on after the script has come."""
    tab = await open_tab(shop.page(SNIPPET + "<script>track = window.hw</script>" + shop.tag("data-auto=off")))
    await tab.page.wait_for_function("hw.v")
    visitor = await tab.page.evaluate("new Promise(done => track('visitor', done))")
    await tab.page.evaluate("track('click', {campaign: 'banner', event_id: 'c1'}); hw('impression', {campaign: 'box'})")
    await tab.page.evaluate("hw('landing', {source: 'kiosk'}); hw('adjustment', {adjustment: 'retract'}); hw()")
    await shop.until(lambda: shop.of("landing"))
    assert sorted(event["type"] for event in shop.events) == ["click", "impression", "landing"]
    assert {event["visitor_id"] for event in shop.events} == {visitor}
    assert shop.of("click")[0]["event_id"] == "c1"
    assert shop.of("landing")[0] | {"source": "kiosk", "url": shop.home + "/"} == shop.of("landing")[0]
    assert "url" not in shop.of("click")[0]


async def test_moves_inside_the_page_are_internal(shop: Shop, open_tab: OpenTab) -> None:
    """The history API and hash routes; what the address states is stated once, new statements are new touches."""
    shop.page(f"<a href='{shop.page(path='/entry')}?utm_medium=email&id=5'>x</a>", path="/other")
    tab = await open_tab(f"{shop.collector}/other")
    await tab.page.click("a")
    await shop.until(lambda: shop.of("landing"))
    views = 1
    for number, (move, told) in enumerate(
        [
            ("history.pushState({a: 1}, '', '/b?utm_medium=email&id=6')", True),
            ("history.replaceState(null, '', '/b?utm_medium=email&id=7')", False),
            ("history.replaceState(null, '', '/c')", True),
            ("history.pushState(null, '', '/c#part')", False),
            ("history.pushState(null, '', '/c#/cart')", True),
            ("location.hash = '#/pay'", True),
            ("history.go(-4)", True),
            ("history.pushState(null, '', '/d?utm_medium=sms')", True),
        ],
        1,
    ):
        views += told
        await tab.page.evaluate(f"{move}; hw('click', {{campaign: 'c'}})")
        await shop.until(partial(enough, shop, click=number, landing=views))
        assert len(shop.of("landing")) == views, move
    found = shop.of("landing")
    assert judged(found) == ["Email", *["internal"] * 5, "SMS"]
    assert found[0]["referrer"] == f"{shop.collector}/"
    assert [event["referrer"].removeprefix(shop.home) for event in found[1:]] == [
        "/entry?utm_medium=email&id=5",
        "/b?utm_medium=email&id=6",
        "/c",
        "/c#/cart",
        "/c#/pay",
        "/entry?utm_medium=email&id=5",
    ]
    assert await tab.page.evaluate("history.state") is None
    assert tab.errors == []


async def test_coming_back_is_internal(shop: Shop, open_tab: OpenTab) -> None:
    """Reload, back and forward, and a page out of the browser's cache bring nobody; a first view by reload does."""
    shop.page(path="/entry")
    shop.page(f"<a href='{shop.home}/entry?utm_medium=email'>x</a>", path="/other")
    tab = await open_tab(f"{shop.collector}/other")
    page = tab.page
    await page.click("a")
    await shop.until(partial(enough, shop, landing=1))
    for number, come_back in enumerate(
        [
            page.reload,
            partial(page.goto, shop.home + "/next"),
            page.go_back,
            page.go_forward,
            partial(page.evaluate, "dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))"),
            partial(page.goto, shop.home + "/?gclid=g2"),
        ],
        2,
    ):
        await come_back()
        await shop.until(partial(enough, shop, landing=number))
    found = judged(shop.of("landing"))
    assert found == ["Email", "internal", "continuation", "internal", "internal", "internal", "Paid Search"]
    await tab.context.clear_cookies()
    await page.reload()
    await shop.until(partial(enough, shop, landing=8))
    assert shop.of("landing")[-1]["url"] == shop.home + "/?gclid=g2"


async def test_a_prerendered_page_counts_when_it_is_shown(shop: Shop, browser: Browser) -> None:
    """Nothing before, calls of the page neither; then as any other page."""
    context = await browser.new_context()
    await context.add_init_script("Object.defineProperty(document, 'prerendering', {get: () => !window.shown})")
    page = await context.new_page()
    await page.goto(shop.page(f"{SNIPPET}<script>{ORDER}</script>{shop.tag()}"))
    await page.wait_for_function("hw.v")
    await page.evaluate("hw('landing')")
    shown = await page.evaluate("shown = true; let now = Date.now(); hw.q.push(['click', {}]); now")
    assert [path for _, path, _ in shop.requests] == ["/hw.js"]
    await page.evaluate("document.dispatchEvent(new Event('prerenderingchange'))")
    await shop.until(partial(enough, shop, landing=2, click=1, conversion=1))
    assert min(event["time"] for event in shop.events) >= shown
    await context.close()


# --- of whom


async def test_the_visitor_of_a_click_is_adopted(shop: Shop, open_tab: OpenTab) -> None:
    """From the landing address, before the cookie; the address bar is cleared of it, the landing states it."""
    tab = await open_tab(shop.home)
    await shop.until(partial(enough, shop, landing=1))
    address = f"{shop.home}/?a=1&hw_cid={CLICK_ID}&b=2#part"
    await tab.page.goto(address)
    await shop.until(partial(enough, shop, landing=2))
    await tab.page.goto(shop.home + "/next")
    await shop.until(partial(enough, shop, landing=3))
    before, arrival, after = shop.of("landing")
    assert before["visitor_id"] != "visitor-7"
    assert [arrival["visitor_id"], after["visitor_id"]] == ["visitor-7", "visitor-7"]
    assert arrival["url"] == address
    assert (await cookies(tab.context))["hw_id"] == "visitor-7"
    await tab.page.go_back()
    assert tab.page.url == f"{shop.home}/?a=1&b=2#part"
    await tab.page.goto(f"{shop.home}/?hw_cid={CLICK_ID}")
    await tab.page.wait_for_url(shop.home + "/")


@pytest.mark.parametrize(
    "bad", ["hw1.x.y", "hw1." + "QUFB" * 900 + ".x", "hw1.WyJhO2IiXQ.x", "hw1.WzFd.x", "hw1.e30.x"]
)
async def test_what_is_no_click_id_names_nobody(shop: Shop, open_tab: OpenTab, bad: str) -> None:
    """Not base64, no JSON, an id that no cookie can hold, a number, an object: the visitor is a new one."""
    tab = await open_tab(f"{shop.home}/?hw_cid={bad}")
    await shop.until(partial(enough, shop, landing=1))
    assert HEX.fullmatch(shop.of("landing")[0]["visitor_id"])
    assert tab.errors == []


async def test_a_redirect_click_and_its_landing_meet(shop: Shop, open_tab: OpenTab) -> None:
    """The landing is the click's arrival, of one visitor, whether or not they had been on the pages before."""
    tab = await open_tab(shop.home)
    await tab.page.goto(f"{shop.collector}/c/spring?sub1=x")
    await shop.until(partial(enough, shop, landing=2))
    touches = [shop.of("click")[0], shop.of("landing")[1]]
    assert len({touch["visitor_id"] for touch in touches}) == 1
    assert judged(touches)[1] == "arrival"
    await tab.page.goto(f"{shop.home}/c/spring")
    await shop.until(partial(enough, shop, landing=3))
    assert {touch["visitor_id"] for touch in [*shop.of("click"), *shop.of("landing")[1:]]} == {touches[0]["visitor_id"]}


async def test_cookie_of_the_site(browser: Browser) -> None:
    """On the widest domain that takes one, for 13 months, never in the clear, not sent with others' requests."""
    context = await browser.new_context()

    async def answer(route: Route) -> None:
        if route.request.url.endswith("/hw.js"):
            await route.fulfill(body=BUILT.read_text(), content_type="text/javascript")
        else:
            await route.fulfill(body="<script src=https://t.example/hw.js></script>", content_type="text/html")

    await context.route("**/*", answer)
    page = await context.new_page()
    for host in ("www.shop.co.uk", "pay.shop.co.uk", "shop.example"):
        await page.goto(f"https://{host}/")
        await page.wait_for_function("document.cookie.includes('hw_id=')")
    found = {cookie["domain"]: cookie for cookie in await context.cookies()}
    assert set(found) == {".shop.co.uk", ".shop.example"}
    for cookie in found.values():
        assert (cookie["name"], cookie["path"], cookie["secure"], cookie["sameSite"]) == ("hw_id", "/", True, "Lax")
        assert 392 < (cookie["expires"] - time.time()) / 86_400 < 397
    await context.close()


# --- and only with consent


async def test_denied_consent(shop: Shop, open_tab: OpenTab) -> None:
    """The denial names whom it is about; from then on nobody is known: no id, nothing kept, on any page."""
    shop.page(SNIPPET + shop.tag())
    tab = await open_tab(f"{shop.home}/?hw_cid={CLICK_ID}")
    await shop.until(partial(enough, shop, landing=1))
    await tab.page.evaluate("hw('consent', 'denied'); hw('consent', 'denied'); hw('set', {user_id: 'u1'})")
    await tab.page.evaluate(ORDER.replace("{", "{click_id: 'c1', visitor_id: 'v1', "))
    await shop.until(partial(enough, shop, consent=1, conversion=1))
    await tab.page.goto(f"{shop.home}/?utm_source=x&hw_cid={CLICK_ID}")
    await shop.until(partial(enough, shop, landing=2))
    assert await tab.page.evaluate("new Promise(done => hw('visitor', done))") == ""
    assert await cookies(tab.context) == {"hw_consent": "denied"}
    assert await tab.page.evaluate("localStorage.length + sessionStorage.length") == 0
    [denial], [order], [first, second] = shop.of("consent"), shop.of("conversion"), shop.of("landing")
    assert (denial["consent"], denial["visitor_id"], first["visitor_id"]) == ("denied", "visitor-7", "visitor-7")
    for event in (order, second):
        assert event["consent"] == "denied"
        assert not event.get("click_id")
        assert not event.get("user_id")
        assert "hw_cid=hw1" not in str(event)
    assert len({"visitor-7", "v1", order["visitor_id"], second["visitor_id"]}) == 4


async def test_denied_until_granted(shop: Shop, open_tab: OpenTab) -> None:
    """Where the page says so nothing is kept before the choice; then the arrival is told again, of someone."""
    shop.page(SNIPPET + shop.tag("data-consent=denied"))
    tab = await open_tab(f"{shop.home}/?hw_cid={CLICK_ID}")
    await shop.until(partial(enough, shop, landing=1))
    assert await cookies(tab.context) == {}
    assert shop.of("landing")[0]["consent"] == "denied"
    await tab.page.evaluate("history.pushState(null, '', '/next')")
    await tab.page.evaluate("hw('consent', 'granted'); hw('consent', 'granted')")
    await shop.until(partial(enough, shop, landing=3, consent=1))
    assert await cookies(tab.context) == {"hw_consent": "granted", "hw_id": "visitor-7"}
    again = shop.of("landing")[-1]
    assert (again["url"], again["visitor_id"], again["consent"]) == (
        f"{shop.home}/?hw_cid={CLICK_ID}",
        "visitor-7",
        "granted",
    )
    await tab.page.goto(shop.home + "/other")
    await shop.until(partial(enough, shop, landing=4))
    assert shop.of("landing")[-1]["visitor_id"] == "visitor-7"
    assert len(shop.of("consent")) == 1


async def test_a_choice_made_before_the_first_view(shop: Shop, open_tab: OpenTab) -> None:
    """Called before the script came, it holds for the first view as well; who is not known has nothing to withdraw."""
    for choice, stored in [("denied", {"hw_consent"}), ("granted", {"hw_consent", "hw_id"})]:
        tab = await open_tab(shop.page(f"{SNIPPET}<script>hw('consent', '{choice}')</script>{shop.tag()}"))
        await shop.until(lambda choice=choice: [e for e in shop.of("landing") if e["consent"] == choice])
        assert set(await cookies(tab.context)) == stored
    assert [event["consent"] for event in shop.of("consent")] == ["granted"]


async def test_global_privacy_control(shop: Shop, open_tab: OpenTab) -> None:
    """As denied, whatever the page says, and nothing is stored at all; the id of before is taken away."""
    page = shop.page(SNIPPET + shop.tag())
    tab = await open_tab(page)
    await shop.until(partial(enough, shop, landing=1))
    await tab.context.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")
    await tab.page.goto(f"{page}?hw_cid={CLICK_ID}")
    await tab.page.evaluate("hw('consent', 'granted')")
    await tab.page.evaluate(ORDER)
    await shop.until(partial(enough, shop, landing=2, conversion=1))
    known, view, order = shop.of("landing") + shop.of("conversion")
    assert len({"visitor-7", known["visitor_id"], view["visitor_id"], order["visitor_id"]}) == 4
    assert (view["consent"], order["consent"]) == ("denied", "denied")
    assert "hw_id" not in await cookies(tab.context)
    assert await tab.page.evaluate("localStorage.length") == 0
    assert shop.of("consent") == []


# --- how it gets there


async def test_an_order_in_the_moment_of_leaving(shop: Shop, open_tab: OpenTab) -> None:
    """A page that is left, closed or hidden sends what it has at once, as a beacon that needs no preflight."""
    tab = await open_tab(shop.page(SNIPPET + shop.tag()))
    await shop.until(partial(enough, shop, landing=1))
    await tab.page.evaluate(f"{ORDER}; location.href = '/bye'")
    await shop.until(partial(enough, shop, conversion=1))
    await tab.page.wait_for_url("**/bye")
    await shop.until(partial(enough, shop, landing=2))
    await tab.page.evaluate(f"addEventListener('pagehide', () => {ORDER.replace('o1', 'o2')})")
    await tab.page.close()
    await shop.until(partial(enough, shop, conversion=2))
    modes = [mode for _, path, mode in shop.requests if path == "/events"]
    assert modes.count("no-cors") >= 2, "beacons go without asking whether they may"
    assert "OPTIONS" not in {method for method, _, _ in shop.requests}
    assert len({event["event_id"] for event in shop.of("conversion")}) == 2


@pytest.mark.parametrize("outage", ["503", "before", "after"])
async def test_the_collector_is_away(shop: Shop, open_tab: OpenTab, outage: str) -> None:
    """What can't be sent, or whose answer is lost, waits over pages and goes in the end: each event counts once."""
    tab = await open_tab(shop.page(SNIPPET + shop.tag()))
    await shop.until(partial(enough, shop, landing=1))
    await tab.page.wait_for_function("!localStorage.hw_queue")
    if outage == "503":
        shop.log.down = True
    else:
        shop.away = outage
    await tab.page.evaluate(ORDER)
    await tab.page.evaluate("history.pushState(null, '', '/next')")
    await tab.page.goto(shop.home + "/later")
    await tab.page.wait_for_function("hw.v && JSON.parse(localStorage.hw_queue).length == 3")
    if outage != "after":
        assert len(shop.events) == 1
    shop.log.down, shop.away = False, ""
    await shop.until(partial(enough, shop, landing=3, conversion=1))
    await tab.page.wait_for_function("!localStorage.hw_queue")
    contents = {content(event) for event in shop.events}
    assert len(contents) == 4
    assert len({event["visitor_id"] for event in shop.events}) == 1


async def test_what_waits_is_bounded(shop: Shop, open_tab: OpenTab) -> None:
    """The latest 100 events; what is too old to be taken is not kept any longer."""
    shop.log.down = True
    tab = await open_tab(shop.page(SNIPPET + shop.tag()))
    await tab.page.wait_for_function("hw.v")
    await tab.page.evaluate("for (let i = 1; i <= 120; i++) hw('click', {campaign: 'c' + i})")
    waiting = await kept(tab.page)
    assert [event["campaign"] for event in waiting] == [f"c{number}" for number in range(21, 121)]
    day = 86_400_000
    for event, days in zip(waiting, (8, 8, 40, 6), strict=False):
        event["time"] -= days * day
    waiting[1] |= {"type": "conversion", "action": "lead"}
    waiting[2] |= {"type": "conversion", "action": "lead"}
    await tab.page.evaluate("text => { localStorage.hw_queue = text }", json.dumps(waiting[:4]))
    await tab.page.goto(shop.home)
    await tab.page.wait_for_function("JSON.parse(localStorage.hw_queue).length == 3")
    assert [event.get("campaign") for event in await kept(tab.page)] == ["c22", "c24", None]


async def test_two_pages_at_once(shop: Shop, open_tab: OpenTab) -> None:
    """Pages of one browser share what waits, and none takes away what another has not sent yet."""
    shop.log.down = True
    tab = await open_tab(shop.page(SNIPPET + shop.tag()))
    other = await tab.context.new_page()
    await other.goto(shop.home)
    for page in (tab.page, other):
        await page.wait_for_function("hw.v")
        await page.evaluate(ORDER)
    assert len(await kept(other)) == 4
    await tab.page.close()
    shop.log.down = False
    await other.goto(shop.home + "/next")
    await shop.until(partial(enough, shop, landing=3, conversion=2))


async def test_only_images_get_through(shop: Shop, open_tab: OpenTab) -> None:
    """Where a page's policy lets no request but an image's out, events are images; one that is not kept comes again."""
    policy = "connect-src 'none'"
    shop.log.down = True
    tab = await open_tab(shop.page(SNIPPET + shop.tag(), **{"content-security-policy": policy}))
    await tab.page.evaluate("hw('conversion', {action: 'lead', order_id: 'ö & 1', value: 0.5})")
    await shop.until(lambda: ("GET", "/pixel.gif", "no-cors") in shop.requests)
    assert shop.events == []
    shop.log.down = False
    await shop.until(partial(enough, shop, landing=1, conversion=1))
    await tab.page.wait_for_function("!localStorage.hw_queue")
    order = shop.of("conversion")[0]
    assert (order["order_id"], order["value"], type(order["time"])) == ("ö & 1", "0.5", int)
    assert {path for _, path, _ in shop.requests} == {"/hw.js", "/pixel.gif"}


async def test_what_is_refused_does_not_come_again(shop: Shop, open_tab: OpenTab) -> None:
    """A wrong event goes to ``dead-letters`` once, and its neighbours count."""
    tab = await open_tab(shop.page(SNIPPET + f"<script>hw('conversion', {{}}); {ORDER}</script>" + shop.tag()))
    await shop.until(partial(enough, shop, conversion=1, landing=1))
    await tab.page.wait_for_function("!localStorage.hw_queue")
    assert len(shop.log.of("dead-letters")) == 1


# --- and the page comes first

HOSTILE = {
    "no localStorage": "Object.defineProperty(window, 'localStorage', {get() { throw new Error('denied') }})",
    "full localStorage": "Storage.prototype.setItem = () => { throw 1 }; localStorage.x = 'x'.repeat(5242878)",
    "odd localStorage": "localStorage.hw_queue = '[null, 1, {}]'",
    "no cookies": "Object.defineProperty(document, 'cookie', {get() { throw 1 }, set() { throw 1 }})",
    "no crypto": "Object.defineProperty(window, 'crypto', {value: undefined})",
    "no fetch": "delete window.fetch; delete Navigator.prototype.sendBeacon",
    "odd fetch": "window.fetch = () => 1; navigator.sendBeacon = () => { throw 1 }",
    "frozen history": "Object.freeze(history)",
    "no performance": "Object.defineProperty(window, 'performance', {value: undefined})",
    "an element of that name": "window.hw = document.createElement('form')",
    "old Prototype": "Array.prototype.toJSON = function () { return this.join() }",
}


@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_page(shop: Shop, browser: Browser, script: str) -> None:
    """Whatever the browser or the page denies, nothing is thrown into the page, and the view and the order arrive."""
    context = await browser.new_context()
    await context.add_init_script(script)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(shop.page(shop.tag().replace("async", "")))
    await page.evaluate(f"{ORDER}; history.pushState(null, '', '/next')")
    await shop.until(partial(enough, shop, landing=1, conversion=1))
    assert len({event["visitor_id"] for event in shop.events}) == 1
    assert await page.evaluate("location.pathname") == "/next"
    assert errors == []
    await context.close()


async def test_broken_json_and_odd_calls(shop: Shop, open_tab: OpenTab) -> None:
    """What can't be told is left out, and the page does not notice; history works as it did."""
    tab = await open_tab(shop.page(SNIPPET + shop.tag()))
    await shop.until(partial(enough, shop, landing=1))
    thrown = await tab.page.evaluate("""() => {
        const loop = {}; loop.loop = loop;
        hw(); hw(null); hw('click', loop); hw('click', {value: 1n}); hw('visitor'); hw('set', 7); hw('consent', {});
        hw('visitor', () => { throw new Error('of the page') });
        const stringify = JSON.stringify;
        JSON.stringify = () => { throw new Error('patched') };
        hw('click', {campaign: 'lost'}); history.pushState(null, '', '/x');
        JSON.stringify = stringify;
        try { history.pushState(null, '', 'https://elsewhere.example/') } catch (error) { return error.name }
    }""")
    assert thrown == "SecurityError"
    await tab.page.evaluate("hw('click', {campaign: 'told'})")
    await shop.until(partial(enough, shop, click=1))
    assert [event["campaign"] for event in shop.of("click")] == ["told"]
    assert tab.errors == []


@pytest.mark.parametrize("how", ["twice", "defer", "module", "injected"])
async def test_any_way_to_include_it(shop: Shop, open_tab: OpenTab, how: str) -> None:
    """One view, however often and in which way it is loaded."""
    tag = shop.tag()
    ways = {
        "twice": tag + tag.replace("async", ""),
        "defer": tag.replace("async", "defer"),
        "module": tag.replace("async", "type=module"),
        "injected": f"<script>addEventListener('DOMContentLoaded', () => document.head.append("
        f"Object.assign(document.createElement('script'), {{src: '{shop.collector}/hw.js?v=/2'}})))</script>",
    }
    tab = await open_tab(shop.page(ways[how]))
    await tab.page.wait_for_function("window.hw && hw.v")
    await tab.page.wait_for_load_state("load")
    await tab.page.evaluate(ORDER)
    await shop.until(partial(enough, shop, landing=1, conversion=1))
    assert len(shop.events) == 2
    assert shop.events[0]["site"] == ("127.0.0.1" if how == "injected" else "shop")
    assert tab.errors == []


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "noscript"])
async def test_the_documented_tags(shop: Shop, open_tab: OpenTab, scripts: bool) -> None:
    """Word for word from the page: one view, of the click's visitor, with the address that has the campaign."""
    found = re.search(r"```html\n(.*?)```", DOCUMENTED, re.DOTALL)
    assert found is not None
    tags = found[1].replace("https://collect.shop.example", shop.collector)
    address = shop.page("<body>" + tags) + f"?utm_source=x&hw_cid={CLICK_ID}"
    tab = await open_tab(address, java_script_enabled=scripts)
    await shop.until(partial(enough, shop, landing=1))
    if scripts:
        await tab.page.evaluate(ORDER)
        await shop.until(partial(enough, shop, conversion=1))
    [landing] = shop.of("landing")
    assert (landing["site"], landing["url"], landing["visitor_id"]) == ("shop", address, "visitor-7")
    assert tab.errors == []
