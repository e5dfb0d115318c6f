"""The simulated shop: its site, its campaigns, and every way by which a visitor can come to it.

Rule: a way states what it means (channel, source, medium, campaign), and addresses and fields are made from that
intent; nothing here reads an address back. First step of the simulator: shop -> journeys -> orders -> spending and
faults -> truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

SITE: Final = "garden-shop"
HOST: Final = "www.garden-shop.example"
CURRENCY: Final = "EUR"
TIMEZONE: Final = "Europe/Berlin"
REGISTERED_BEFORE_MS: Final = 45 * 86_400_000
"""The registry holds from this long before the end of the simulated time: earlier than any event."""
OWN_REFERRERS: Final = (
    f"https://{HOST}/basket",
    "https://blog.garden-shop.example/roses",
    "https://www.gardenshop-checkout.example/done",
)
PROVIDER_REFERRERS: Final = (
    "https://www.paypal.com/checkoutnow",
    "https://checkout.stripe.com/pay",
    "https://pay.local-bank.example/return",
)
"""Payment providers: two that are widely known, and one that the site's registry entry adds."""
PAGES: Final = ("/", "/roses", "/tools/spade", "/p/1042", "/p/77", "/sale", "/guide/autumn?page=2", "/p/5?colour=red")


@dataclass(frozen=True, slots=True)
class Way:
    """A way to the shop: what it means, and what an event that comes this way states.

    `form`: ``landing`` (an address with parameters), ``click`` (a recorded click, mostly with its arrival),
    ``referrer`` or ``direct``. `registered`: the registry tells source and medium, events name the campaign only.
    `click_param`: the click id that the ad platform appends. `cost` is what a click costs at most, `view_cost` an
    impression, in `currency`.
    """

    name: str
    channel: str
    weight: int
    form: str
    source: str = ""
    medium: str = ""
    campaign: str = ""
    click_param: str = ""
    utm: tuple[str, ...] = ("source", "medium", "campaign")
    referrers: tuple[str, ...] = ("",)
    registered: bool = False
    registry_channel: bool = False
    partner: str = ""
    cost: float = 0.0
    view_cost: float = 0.0
    views: int = 0
    view_lookback_days: int = 1
    currency: str = CURRENCY

    def url(self, page: str, click_value: str = "") -> str:
        """The landing address of this way on `page`, with `click_value` in the platform's click id parameter."""
        query = {f"utm_{name}": getattr(self, name) for name in self.utm if getattr(self, name)}
        if self.registered or self.form in {"referrer", "direct"}:
            query = {}
        if self.click_param and click_value:
            query[self.click_param] = click_value
        return shop_url(page, query)


def shop_url(page: str, query: dict[str, str] | None = None) -> str:
    """An address of the shop."""
    if not query:
        return f"https://{HOST}{page}"
    return f"https://{HOST}{page}{'&' if '?' in page else '?'}{urlencode(query, quote_via=quote)}"


GOOGLE: Final = ("https://www.google.com/", "https://www.google.de/", "")

WAYS: Final = (
    # Paid search: by UTM and click id, by click id alone, and written as people write it.
    Way(
        "brand search",
        "Paid Search",
        9,
        "landing",
        "google",
        "cpc",
        "brand-search",
        "gclid",
        referrers=GOOGLE,
        cost=0.4,
    ),
    Way(
        "generic search",
        "Paid Search",
        8,
        "landing",
        "google",
        "cpc",
        "generic-search",
        "gclid",
        ("campaign",),
        GOOGLE,
        cost=1.9,
    ),
    Way("bing search", "Paid Search", 3, "landing", "bing", "cpc", "bing-search", "msclkid", ("campaign",), cost=0.8),
    Way("shouting search", "Paid Search", 1, "landing", "Google", "CPC", "brand-search", referrers=GOOGLE),
    Way(
        "shopping feed",
        "Paid Shopping",
        4,
        "landing",
        "google",
        "cpc",
        "shopping-feed",
        "gclid",
        referrers=GOOGLE,
        cost=0.6,
    ),
    Way("performance max", "Cross-network", 3, "landing", "google", "cpc", "cross-network-max", "gclid", cost=0.9),
    # Paid social and video.
    Way(
        "facebook ads",
        "Paid Social",
        6,
        "landing",
        "facebook",
        "paid_social",
        "fb-prospecting",
        "fbclid",
        referrers=("https://l.facebook.com/", ""),
        cost=0.7,
        views=2,
        view_cost=0.008,
    ),
    Way(
        "tiktok ads",
        "Paid Social",
        3,
        "landing",
        "tiktok",
        "paid_social",
        "tiktok-spring",
        "ttclid",
        ("campaign",),
        cost=0.3,
    ),
    Way(
        "linkedin ads",
        "Paid Social",
        1,
        "landing",
        "linkedin",
        "paid_social",
        "b2b-nurseries",
        "li_fat_id",
        ("campaign",),
        cost=4.2,
        currency="USD",
    ),
    Way("video ads", "Paid Video", 2, "landing", "youtube", "cpv", "video-how-to", cost=0.2, views=2, view_cost=0.02),
    # Clicks through our own redirect, registered or not.
    Way(
        "banners",
        "Display",
        4,
        "click",
        "adnet",
        "display",
        "banner-spring",
        registered=True,
        cost=0.5,
        views=6,
        view_cost=0.0042,
    ),
    Way(
        "retargeting",
        "Display",
        3,
        "click",
        "adnet",
        "banner",
        "banner-retargeting",
        registered=True,
        cost=0.8,
        views=4,
        view_cost=0.0061,
        view_lookback_days=2,
    ),
    Way(
        "affiliates",
        "Affiliates",
        5,
        "click",
        "plant-partners",
        "affiliate",
        "partner-program",
        registered=True,
        partner="partner-17",
        cost=1.25,
        currency="USD",
    ),
    Way("price comparison", "Paid Other", 2, "click", "price-check", "cpc", "price-check", cost=0.35),
    Way(
        "podcast",
        "Audio",
        1,
        "click",
        "garden-talk",
        "sponsorship",
        "podcast-autumn",
        registered=True,
        registry_channel=True,
    ),
    Way("flyer", "Unassigned", 1, "click", campaign="flyer-unknown"),
    # Email, text messages, push.
    Way("newsletter", "Email", 6, "landing", "newsletter", "email", "newsletter-47"),
    Way("mailing tool", "Email", 2, "landing", "mailchimp", "email", "autumn sale", "mc_cid", ("campaign",)),
    Way("sale by email", "Email", 1, "landing", "newsletter", "email", "banner-spring"),
    Way("text message", "SMS", 1, "landing", "sms", "sms", "club-offer"),
    Way("push", "Mobile Push Notifications", 1, "landing", "app", "web-push", "club-offer"),
    # What costs nothing.
    Way(
        "google",
        "Organic Search",
        12,
        "referrer",
        referrers=("https://www.google.com/", "https://www.google.fr/search"),
    ),
    Way(
        "other search",
        "Organic Search",
        3,
        "referrer",
        referrers=("https://duckduckgo.com/", "https://www.bing.com/search"),
    ),
    Way(
        "social",
        "Organic Social",
        4,
        "referrer",
        referrers=("https://www.instagram.com/", "https://www.reddit.com/r/g/"),
    ),
    Way("shared on facebook", "Organic Social", 2, "landing", "facebook", "referral", "", "fbclid", ()),
    Way("videos", "Organic Video", 2, "referrer", referrers=("https://www.youtube.com/watch",)),
    Way(
        "assistants", "AI Assistant", 3, "referrer", referrers=("https://chatgpt.com/", "https://gemini.google.com/app")
    ),
    Way("blogs", "Referral", 4, "referrer", referrers=("https://roses.example/best-of", "https://news.example/a?id=3")),
    Way("direct", "Direct", 12, "direct"),
)
DIRECT: Final = WAYS[-1]
VIEWED: Final = tuple(way for way in WAYS if way.views)


def registry(end_ms: int) -> dict[str, list[dict[str, Any]]]:
    """What ``headwater campaigns apply`` is given for the shop: ``sites`` and ``campaigns``.

    All of it holds from `REGISTERED_BEFORE_MS` before `end_ms`, which is earlier than the first event.
    """
    valid_from = datetime.fromtimestamp((end_ms - REGISTERED_BEFORE_MS) // 1000, UTC).isoformat()
    site = {
        "site": SITE,
        "domains": [HOST, "gardenshop-checkout.example"],
        "providers": {"added": ["pay.local-bank.example"]},
        "currency": CURRENCY,
        "timezone": TIMEZONE,
        "duplicate_policy": {"signup": "once_per_visitor"},
        "valid_from": valid_from,
    }
    campaigns = []
    for way in WAYS:
        if not way.registered:
            continue
        campaign: dict[str, Any] = {
            "campaign": way.campaign,
            "site": SITE,
            "source": way.source,
            "medium": way.medium,
            "destinations": [{"url": shop_url("/sale")}],
            "valid_from": valid_from,
        }
        if way.registry_channel:
            campaign["channel"] = way.channel
        if way.partner:
            campaign["partner"] = way.partner
        if way.view_lookback_days != 1:
            campaign["lookbacks"] = {"impression": way.view_lookback_days}
        campaigns.append(campaign)
    return {"sites": [site], "campaigns": campaigns}
