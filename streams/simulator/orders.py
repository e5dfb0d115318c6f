"""Orders of the simulated shop: what pixel, server and back office say of one, and how it ends.

Rule: every story is a function that writes its events and states by hand what becomes of the order; nothing derives
that from the events. Third step of the simulator: journeys -> orders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streams.simulator.journeys import DAY, HOUR, MINUTE, SECOND, Event, Visitor
from streams.simulator.shop import CURRENCY, HOST, SITE
from streams.simulator.truth import KnownConversion

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


class Order:
    """One order while being made.

    `cents`: what it is worth at first; `currency`: empty where events leave it to the site; `visitor` writes the
    events; `visitor_id` is whose it is, as far as anybody can know ("" = unmatched).
    """

    def __init__(self, visitor: Visitor, time: int) -> None:
        """An order that `visitor` places at `time`."""
        rng = visitor.rng
        self.rng: Random = rng
        self.visitor = visitor
        self.visitor_id = visitor.visitor_id
        self.time = time
        self.action = "purchase"
        self.order_id = f"o-{rng.getrandbits(48):012x}"
        self.cents = int(rng.lognormvariate(4.2, 0.9) * 100) + 95
        self.currency = rng.choices(("", "EUR", "USD", "GBP"), (40, 50, 6, 4))[0]
        self.status = "approved"

    def state(self, mark: str, time: int, *, who: bool, cents: int | None = None, **fields: Any) -> Event:
        """A conversion event. `who`: it names the visitor; `cents`: its value, if it states one."""
        event: Event = {"event_id": self.visitor.new_id(mark), "type": "conversion", "time": time, "site": SITE}
        event["action"] = self.action
        if self.order_id:
            event["order_id"] = self.order_id
        if who:
            event["visitor_id"] = self.visitor.visitor_id
        if cents is not None:
            event["value"] = cents / 100 if self.rng.random() < 0.8 else f"{cents // 100}.{cents % 100:02d}"
            if self.currency:
                event["currency"] = self.currency
        event |= fields
        self.visitor.events.append(event)
        return event

    def pixel(self, time: int, cents: int | None = None, **fields: Any) -> Event:
        """What the thank-you page says."""
        return self.state("pix", time, who=True, cents=cents, url=f"https://{HOST}/thanks", **fields)

    def server(self, time: int, cents: int | None = None, *, who: bool, **fields: Any) -> Event:
        """What the shop's server says."""
        return self.state("srv", time, who=who, cents=cents, **fields)

    def adjust(self, adjustment: str, time: int, cents: int | None = None, mark: str = "adj", **fields: Any) -> int:
        """What the back office says later, at `time` or as late as the simulation goes; returns when."""
        time = min(time, self.visitor.end - 1)
        event: Event = {"event_id": self.visitor.new_id(mark), "type": "adjustment", "time": time, "site": SITE}
        event["adjustment"] = adjustment
        if self.order_id:
            event |= {"action": self.action, "order_id": self.order_id}
        if cents is not None:
            event["value"] = cents / 100
        event |= fields
        self.visitor.events.append(event)
        return time

    def later(self, least: int = HOUR, most: int = 2 * DAY) -> int:
        """Some time after the order."""
        return self.time + self.rng.randint(least, most)

    def known(self) -> KnownConversion:
        """How it ends."""
        return KnownConversion(
            self.visitor_id,
            self.time,
            self.action,
            self.order_id,
            self.cents * 10_000,
            self.currency or CURRENCY,
            self.status,
        )


def _pixel_then_server(order: Order) -> None:
    """The usual case: both say the same; the pixel was earlier."""
    order.pixel(order.time, order.cents)
    order.server(order.time + order.rng.randint(200, 90 * SECOND), order.cents, who=order.rng.random() < 0.6)


def _server_then_pixel(order: Order) -> None:
    """The server was earlier and knows no visitor; its value holds, the pixel names the visitor."""
    order.server(order.time, order.cents, who=False)
    other = order.cents + order.rng.choice((0, 0, 0, 495))
    order.pixel(order.time + order.rng.randint(200, 20 * SECOND), other)


def _pixel_only(order: Order) -> None:
    order.pixel(order.time, order.cents)


def _server_only(order: Order) -> None:
    order.server(order.time, order.cents, who=True)


def _server_with_click_id(order: Order) -> None:
    """Nobody names the visitor but the click id that the order kept."""
    clicks = order.visitor.click_ids
    if clicks:
        order.server(order.time, order.cents, who=False, click_id=clicks[-1])
    else:
        order.server(order.time, order.cents, who=True)


def _unmatched(order: Order) -> None:
    """Nobody ever says whose it is."""
    order.server(order.time, order.cents, who=False)
    order.visitor_id = ""


def _matched_later(order: Order) -> None:
    """Whose it is comes to light later."""
    order.server(order.time, order.cents, who=False)
    order.state("crm", min(order.later(), order.visitor.end - 1), who=True)


def _pixel_without_value(order: Order) -> None:
    """The pixel was earlier but knows no value; the server's holds."""
    order.pixel(order.time)
    order.server(order.time + order.rng.randint(200, 90 * SECOND), order.cents, who=False)


def _two_values(order: Order) -> None:
    """Pixel and server differ; the earlier holds."""
    order.pixel(order.time, order.cents)
    order.server(order.time + order.rng.randint(200, 90 * SECOND), order.cents + 495, who=True)


def _pending(order: Order) -> None:
    order.server(order.time, order.cents, who=True, status="pending")
    order.status = "pending"


def _pending_approved(order: Order) -> None:
    order.pixel(order.time, order.cents, status="pending")
    order.adjust("approve", order.later())


def _pending_rejected(order: Order) -> None:
    order.pixel(order.time, order.cents, status="pending")
    order.server(order.time + 700, order.cents, who=False)
    order.adjust("reject", order.later())
    order.status = "rejected"


def _status_stated_later(order: Order) -> None:
    """A later event of the order states another status: as good as an adjustment."""
    order.pixel(order.time, order.cents, status="pending")
    order.server(min(order.later(MINUTE, HOUR), order.visitor.end - 1), who=False, status="approved")


def _rejected(order: Order) -> None:
    order.server(order.time, order.cents, who=True, status="rejected")
    order.status = "rejected"


def _rejected_restated_approved(order: Order) -> None:
    """A rejected order is corrected and let through after all."""
    order.pixel(order.time, order.cents, status="pending")
    first = order.adjust("reject", order.later(MINUTE, HOUR))
    order.cents //= 2
    second = order.adjust("restate", first + 1, order.cents)
    order.adjust("approve", second + 1, mark="adk")


def _refunded(order: Order) -> None:
    _pixel_then_server(order)
    order.adjust("retract", order.later())
    order.status = "retracted"


def _refunded_for_good(order: Order) -> None:
    """After a refund nothing applies."""
    order.pixel(order.time, order.cents)
    at = order.adjust("retract", order.later(MINUTE, HOUR))
    order.adjust(order.rng.choice(("approve", "reject")), at + 1000)
    order.adjust("restate", at + 2000, 1)
    order.status = "retracted"


def _restated(order: Order) -> None:
    """A part is sent back."""
    _pixel_then_server(order)
    order.cents -= order.rng.randint(1, order.cents)
    order.adjust("restate", order.later(), order.cents)


def _restated_twice(order: Order) -> None:
    """Two restatements at one time: the event id decides which is the later."""
    order.server(order.time, order.cents, who=True)
    at = min(order.later(), order.visitor.end - 1)
    order.adjust("restate", at, order.cents + 100, mark="adj-b")
    order.cents += 777
    order.adjust("restate", at, order.cents, mark="adj-c")
    order.adjust("restate", at, 3, mark="adj-a")


def _lead(order: Order) -> None:
    """A lead has no order id; most are worth nothing, and some are judged later."""
    order.action, order.order_id = "lead", ""
    if order.rng.random() < 0.6:
        order.cents, order.currency = 0, ""
    stated = order.cents or None
    event = order.pixel(order.time, stated, status="pending")
    order.status = "pending"
    if order.rng.random() < 0.7:
        verb, order.status = order.rng.choice(
            (("approve", "approved"), ("reject", "rejected"), ("retract", "retracted"))
        )
        order.adjust(verb, order.later(), conversion_event_id=event["event_id"])


def _signups(order: Order) -> None:
    """The site counts one sign-up a visitor: the earliest stays, others are duplicates. One such story a visitor."""
    if any(conversion.action == "signup" for conversion in order.visitor.known.conversions):
        _pixel_only(order)
        return
    order.action = "signup"
    order.pixel(order.time, order.cents)
    if order.rng.random() < 0.5:
        again = Order(order.visitor, min(order.later(), order.visitor.end - 1))
        again.action, again.status = "signup", "duplicate"
        again.server(again.time, again.cents, who=True)
        order.visitor.known.conversions.append(again.known())


class Story(NamedTuple):
    """What can become of an order, and how often."""

    weight: int
    write: Callable[[Order], None]


STORIES: Final = (
    Story(30, _pixel_then_server),
    Story(10, _server_then_pixel),
    Story(12, _pixel_only),
    Story(8, _server_only),
    Story(5, _server_with_click_id),
    Story(8, _unmatched),
    Story(5, _matched_later),
    Story(4, _pixel_without_value),
    Story(4, _two_values),
    Story(4, _pending),
    Story(5, _pending_approved),
    Story(3, _pending_rejected),
    Story(2, _status_stated_later),
    Story(1, _rejected),
    Story(1, _rejected_restated_approved),
    Story(4, _refunded),
    Story(1, _refunded_for_good),
    Story(4, _restated),
    Story(2, _restated_twice),
    Story(7, _lead),
    Story(4, _signups),
)
_WEIGHTS: Final = [story.weight for story in STORIES]


def place_orders(visitor: Visitor) -> None:
    """Let `visitor` order once or more: soon after a touch or with a lag, now and then before any touch at all."""
    rng = visitor.rng
    for _ in range(rng.choice((1, 1, 1, 1, 1, 2, 3))):
        touch = rng.choice(visitor.known.touches)
        chance = rng.random()
        if chance < 0.6:
            time = touch.time + rng.randint(MINUTE, 25 * MINUTE)
        elif chance < 0.95:
            time = touch.time + rng.randint(HOUR, 3 * DAY)
        else:
            time = visitor.end - rng.randint(8 * DAY, 30 * DAY)
        order = Order(visitor, min(time, visitor.end - MINUTE))
        rng.choices(STORIES, _WEIGHTS)[0].write(order)
        visitor.known.conversions.append(order.known())
    if rng.random() < 0.4:
        visitor.back_from_payment(
            max(visitor.latest, visitor.known.touches[-1].time) + rng.randint(MINUTE, 10 * MINUTE)
        )
