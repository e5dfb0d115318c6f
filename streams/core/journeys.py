"""Journeys: a visitor's touches in order, which of them are valid, and which are candidates of a conversion.

Rule: everything is decided over the set of touches, consents and verdicts, never over their order of arrival
(contract, section 3, rules 1 to 4).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, Final

from streams.core.events import moment
from streams.core.horizon import ARRIVAL_MS, CONSENT_MS, REACH_MS
from streams.core.registry import MAX_LOOKBACK_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.core.registry import Registry

Touch = dict[str, Any]
MAX_CANDIDATES: Final = 500
"""Of more, the first and the latest 499 count (rule 4)."""
DIRECT: Final = "Direct"


class Validity:
    """What consents and verdicts say of a visitor's touches."""

    __slots__ = ("_spoken", "_verdicts", "_whole")

    def __init__(self, statements: Iterable[dict[str, Any]], verdicts: Iterable[dict[str, Any]]) -> None:
        self._spoken = sorted((s for s in statements if s["consent"] != "unknown"), key=moment)
        self._whole = _consent(self._spoken)
        self._verdicts: dict[str, list[dict[str, Any]]] = {}
        for verdict in sorted(verdicts, key=moment):
            self._verdicts.setdefault(verdict["touch_event_id"], []).append(verdict)

    def reasons(self, touch: Touch, consent_default: str) -> list[str]:
        """Why the touch is invalid; empty where it is valid. A denial reaches back over earlier touches."""
        reasons = []
        time = touch["time"]
        own = touch.get("consent")
        denied, granted_at = self._consent_at(time)
        granted = granted_at is not None and time >= granted_at
        if own == "denied" or (not granted and (denied or (consent_default == "denied" and own != "granted"))):
            reasons.append("no_consent")
        if self._verdicts:
            verdicts = self._verdicts.get(touch["event_id"], ())
            verdict = next((v for v in reversed(verdicts) if abs(v["time"] - time) <= REACH_MS), None)
            if verdict is not None and not verdict["valid"]:
                reasons.extend(verdict.get("reasons") or ["verdict"])
        return reasons

    def _consent_at(self, time: int) -> tuple[bool, int | None]:
        """What the consents say that reach a touch at that time."""
        spoken = self._spoken
        since, until = time - CONSENT_MS, time + REACH_MS
        if not spoken or (since <= spoken[0]["time"] and spoken[-1]["time"] <= until):
            return self._whole
        return _consent([s for s in spoken if since <= s["time"] <= until])


def _consent(spoken: Sequence[dict[str, Any]]) -> tuple[bool, int | None]:
    """Whether consents in their order deny, and since when they grant."""
    denials = [index for index, statement in enumerate(spoken) if statement["consent"] == "denied"]
    grants = [s["time"] for s in spoken[denials[-1] + 1 if denials else 0 :]]
    return bool(denials), grants[0] if grants else None


NO_STATEMENTS: Final = Validity((), ())


class Journey:
    """A visitor's touches at one site, in order, with those that can never be candidates marked by a role."""

    __slots__ = ("_moments", "_registry", "_site", "roles", "touches")

    def __init__(self, site: str, touches: Iterable[Touch], registry: Registry) -> None:
        self._site = site
        self._registry = registry
        self.touches: list[Touch] = sorted(touches, key=moment)
        self._moments = [touch["time"] for touch in self.touches]
        self.roles = roles(self.touches, site, registry)

    def candidates(self, conversion_time: int, named_at: int = 0) -> list[Touch]:
        """The candidates of a conversion at that time, in journey order.

        `named_at` is the time (ms) of the event that names its visitor: however late it comes, what it can reach is
        still known.
        """
        start = bisect_left(self._moments, max(conversion_time, named_at) - MAX_LOOKBACK_MS)
        end = bisect_right(self._moments, conversion_time)
        clicks_and_landings: list[Touch] = []
        impressions: list[tuple[int, Touch]] = []
        direct_only = True
        for index in range(start, end):
            touch = self.touches[index]
            lookback = self.lookback(touch)
            # A lookback of 0 switches the kind off, even for a touch of the same millisecond.
            if self.roles[index] or not touch["valid"] or not lookback or conversion_time - touch["time"] > lookback:
                continue
            if touch["type"] == "impression":
                impressions.append((len(clicks_and_landings), touch))
            else:
                clicks_and_landings.append(touch)
                direct_only = direct_only and touch["type"] == "landing" and touch["channel"] == DIRECT
        found = clicks_and_landings
        if direct_only and impressions:
            found = sorted([*clicks_and_landings, *(touch for _, touch in impressions)], key=moment)
        if len(found) > MAX_CANDIDATES:
            found = [found[0], *found[-(MAX_CANDIDATES - 1) :]]
        return found

    def lookback(self, touch: Touch) -> int:
        """For how long (ms) a touch stays a candidate: of its kind, by its campaign, else its site; 0: never one."""
        kind, time = touch["type"], touch["time"]
        campaign = self._registry.campaign(touch["campaign"], self._site, time) if touch["campaign"] else None
        if campaign is not None and kind in campaign.lookbacks:
            return campaign.lookbacks[kind]
        return self._registry.site(self._site, time).lookbacks[kind]


def roles(touches: Sequence[Touch], site: str, registry: Registry) -> list[str]:
    """For each touch in order: 'internal', 'continuation', 'arrival', or '' where nothing keeps it from being one."""
    clicks: dict[str, list[int]] = {}
    for touch in touches:
        if touch["type"] == "click" and "click_id" in touch:
            clicks.setdefault(touch["click_id"], []).append(touch["time"])
    found = []
    latest: Touch | None = None
    for touch in touches:
        kind = touch["type"]
        role = ""
        if kind == "landing":
            if touch["internal"]:
                role = "internal"
            elif "hw_cid" in touch and arrived(touch, clicks.get(touch["hw_cid"], ())):
                role = "arrival"
            elif latest is not None and _continues(touch, latest, registry.site(site, touch["time"]).session_ms):
                role = "continuation"
        found.append(role)
        if kind != "impression":
            latest = touch
    return found


def arrived(landing: Touch, clicks: Iterable[int]) -> bool:
    """Whether a landing arrives from one of the `clicks` (ms) that its address names, or has from a forgotten one."""
    return "arrived" in landing or any(abs(landing["time"] - time) <= ARRIVAL_MS for time in clicks)


def _continues(landing: Touch, latest: Touch, session_ms: int) -> bool:
    if landing["time"] - latest["time"] > session_ms:
        return False
    if not landing.get("stated") and landing.get("quiet"):
        return True
    if any(landing.get(name) != latest.get(name) for name in ("evidence", "referrer")):
        return False
    # Where address and referrer say nothing, a reload says the same in its own fields.
    spoke = "evidence" in landing or "referrer" in landing
    return spoke or all(landing[name] == latest[name] for name in ("source", "medium", "campaign"))
