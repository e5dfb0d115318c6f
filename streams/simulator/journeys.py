"""Visitors of the simulated shop: their visits over some days, as events and as what they mean.

Rule: each touch is made from an intent (way and role) and noted with it. Visits lie more than half an hour apart, so
what continues a visit and what opens one is never left to chance. Second step of the simulator: shop -> journeys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from streams.simulator.click_ids import mint
from streams.simulator.shop import DIRECT, OWN_REFERRERS, PAGES, PROVIDER_REFERRERS, SITE, VIEWED, WAYS, Way, shop_url
from streams.simulator.truth import Knowledge, KnownTouch

if TYPE_CHECKING:
    from random import Random

Event = dict[str, Any]

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
VISIT_GAP: Final = 31 * MINUTE
"""Least time between two visits; a visit goes on for 30 min after its latest page."""

_WEIGHTS: Final = [way.weight for way in WAYS]
_COUNTRIES: Final = ("DE", "DE", "DE", "AT", "CH", "FR", "NL")
_DEVICES: Final = ("mobile", "mobile", "desktop", "tablet")


@dataclass(slots=True)
class Visitor:
    """One visitor while being made: what was sent, and what is known. Times are milliseconds since the epoch.

    `pages`: the latest page's event, to reload; `free`: touches that nothing follows within a visit, so that a verdict
    on them changes nothing but themselves; `click_ids`: the visitor's clicks through our redirect.
    """

    rng: Random
    visitor_id: str
    end: int
    keys: str
    latest: int = 0
    page: Event | None = None
    page_means: KnownTouch | None = None
    events: list[Event] = field(default_factory=list)
    known: Knowledge = field(default_factory=Knowledge)
    free: list[KnownTouch] = field(default_factory=list)
    click_ids: list[str] = field(default_factory=list)

    def new_id(self, mark: str) -> str:
        """An event id."""
        return f"{mark}-{self.rng.getrandbits(64):016x}"

    def event(self, kind: str, time: int, **fields: object) -> Event:
        """Write an event about this visitor."""
        event: Event = {"event_id": self.new_id(kind[:3]), "type": kind, "time": time, "site": SITE}
        event["visitor_id"] = self.visitor_id
        event |= fields
        self.events.append(event)
        return event

    def touch(self, kind: str, time: int, way: Way, role: str = "touch", cost: float = 0.0, **fields: object) -> Event:
        """Write a touch that came by `way`, and note what it means. `cost`: the most it may cost, in major units."""
        micros = 0
        if cost:
            micros = self.rng.randint(1, int(cost * 10_000)) * 100
            fields["cost"] = (
                f"{micros // 1_000_000}.{micros % 1_000_000:06d}" if self.rng.random() < 0.2 else micros / 1e6
            )
            if way.currency != "EUR" or self.rng.random() < 0.3:
                fields["currency"] = way.currency
        event = self.event(kind, time, **fields)
        lookback = way.view_lookback_days if kind == "impression" else 30
        self.known.touches.append(
            KnownTouch(
                self.visitor_id,
                event["event_id"],
                time,
                kind,
                way.channel,
                way.campaign,
                role,
                micros,
                way.currency if micros else "",
                lookback,
            )
        )
        if kind != "impression":
            self.latest = time
        return event

    def impression(self, time: int, way: Way) -> None:
        """An ad is seen."""
        names = {} if way.registered else {"source": way.source, "medium": way.medium}
        self.touch("impression", time, way, cost=way.view_cost, campaign=way.campaign, **names, ad=f"ad-{time % 3}")
        self.free.append(self.known.touches[-1])

    def enter(self, time: int, way: Way) -> None:
        """A visit begins, or another ad brings the visitor back within one."""
        if way.form == "click":
            self._click(time, way)
        else:
            referrer = self.rng.choice(way.referrers)
            value = f"{self.rng.getrandbits(80):020x}" if way.click_param and self.rng.random() < 0.9 else ""
            if way.click_param and not {"source", "medium"} <= set(way.utm):
                value = value or f"{self.rng.getrandbits(80):020x}"
            self._land(time, way, way.url(self.rng.choice(PAGES), value), referrer, cost=way.cost)

    def _land(self, time: int, way: Way, url: str, referrer: str, role: str = "touch", cost: float = 0.0) -> None:
        rng = self.rng
        fields: Event = {"url": url}
        if referrer:
            fields["referrer"] = referrer
        if rng.random() < 0.5:
            fields |= {"device": rng.choice(_DEVICES), "country": rng.choice(_COUNTRIES)}
        if rng.random() < 0.1:
            fields["page_title"] = "Roses & more"
        if rng.random() < 0.05:
            fields["consent"] = "granted"
        self.page = self.touch("landing", time, way, role, cost, **fields)
        self.page_means = self.known.touches[-1]

    def _click(self, time: int, way: Way) -> None:
        rng = self.rng
        chance = rng.random()
        click_id = mint(self.visitor_id, way.campaign, rng.randbytes(12), self.keys)
        names = (
            {} if way.registered else {name: getattr(way, name) for name in ("source", "medium") if getattr(way, name)}
        )
        if way.partner:
            names |= {"partner": way.partner, "sub1": f"s{rng.randrange(4)}"}
        if chance < 0.05 and way.registered:
            # The click itself was lost on its way: its arrival stands in for it.
            self._land(time, way, shop_url("/sale", {"hw_cid": click_id}), "")
            return
        self.touch("click", time, way, cost=way.cost, campaign=way.campaign, click_id=click_id, **names, ad_group="a")
        self.click_ids.append(click_id)
        self.page = None
        if chance < 0.75:
            url = way.url(rng.choice(PAGES))
            url = f"{url}{'&' if '?' in url else '?'}hw_cid={click_id}"
            self._land(time + rng.randint(300, 4000), way, url, "", "arrival")
        elif chance < 0.9:
            self.read_on(time + rng.randint(300, 9000), reload=False)

    def read_on(self, time: int, *, reload: bool) -> None:
        """The visit goes on: another page without evidence of its own, or the same one loaded again."""
        rng = self.rng
        if reload and self.page is not None and self.page_means is not None:
            means = self.page_means
            role = means.role if means.role in {"internal", "arrival"} else "continuation"
            way = Way("reload", means.channel, 0, "landing", campaign=means.campaign)
            self._land(time, way, self.page["url"], self.page.get("referrer", ""), role)
        elif rng.random() < 0.5:
            self._land(time, DIRECT, shop_url(rng.choice(PAGES)), "", "continuation")
        else:
            self._land(time, DIRECT, shop_url(rng.choice(PAGES)), rng.choice(OWN_REFERRERS), "internal")

    def back_from_payment(self, time: int) -> None:
        """The payment provider sends the visitor back: no visit of its own, however long it took."""
        self._land(time, DIRECT, shop_url("/thanks"), self.rng.choice(PROVIDER_REFERRERS), "internal")

    def visit(self, time: int, way: Way, pages: int) -> None:
        """A visit of one touch and up to `pages` more pages; sometimes a second way brings them within it."""
        rng = self.rng
        count = len(self.known.touches)
        self.enter(time, way)
        for _ in range(pages):
            at = self.latest + rng.randint(20 * SECOND, 20 * MINUTE)
            if at >= self.end:
                break
            other = rng.choice(WAYS)
            if (
                rng.random() < 0.1
                and other.form != "direct"
                and other.campaign != way.campaign
                and other.form != way.form
            ):
                way = other
                self.enter(at, way)
            else:
                self.read_on(at, reload=rng.random() < 0.25)
        if len(self.known.touches) == count + 1:
            self.free.append(self.known.touches[-1])

    def judge(self, touch: KnownTouch) -> None:
        """A verdict finds `touch` invalid; now and then a later one takes that back."""
        rng = self.rng
        time = min(touch.time + rng.randint(MINUTE, DAY), self.end - 2)
        reasons = [rng.choice(("bot", "datacentre", "click_flood"))]
        self.event("verdict", time, touch_event_id=touch.event_id, valid=False, reasons=reasons)
        if rng.random() < 0.2:
            self.event("verdict", time + 1, touch_event_id=touch.event_id, valid=True)
        else:
            self.known.invalid.add(touch.event_id)

    def deny(self) -> None:
        """The visitor denies consent: what came before loses its right to credit too."""
        first = min(touch.time for touch in self.known.touches)
        for event in self.events:
            event.pop("consent", None)
        if self.rng.random() < 0.5:
            self.event("consent", first, consent="granted")
        self.event("consent", self.rng.randint(first + 1, self.end), consent="denied")
        self.known.denied.add(self.visitor_id)


def pick_way(rng: Random) -> Way:
    """A way, by weight."""
    return rng.choices(WAYS, _WEIGHTS)[0]


def make_visitor(rng: Random, start: int, end: int, keys: str, *, buyer: bool) -> Visitor:
    """A visitor with one or more visits between `start` and `end`; buyers come more often than others."""
    visitor = Visitor(rng, f"v{rng.getrandbits(64):016x}", end, keys)
    looks = rng.random() < (0.3 if buyer else 0.35)
    visits = (
        rng.choice((1, 1, 2, 2, 3, 4, 6))
        if buyer
        else rng.choice((0, 1, 1, 1, 1, 2, 3) if looks else (1, 1, 1, 1, 2, 3))
    )
    if looks:
        for _ in range(rng.randint(1, 3)):
            way = rng.choice(VIEWED)
            time = rng.randint(start, end - MINUTE)
            for _ in range(rng.randint(1, way.views)):
                visitor.impression(time, way)
                # Two ads on one page are seen in the same millisecond.
                time = min(time + rng.choice((0, 5 * SECOND, HOUR, 7 * HOUR)), end - 1)
    time = rng.randint(start, end - 2 * HOUR)
    for _ in range(visits):
        visitor.visit(time, pick_way(rng), rng.choice((0, 0, 0, 1, 2, 3)))
        time = visitor.latest + VISIT_GAP + int(rng.expovariate(1 / (20 * HOUR)))
        if time > end - HOUR:
            break
    if not visitor.known.touches:
        visitor.visit(time, pick_way(rng), 0)
    return visitor
