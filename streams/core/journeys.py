"""Journeys: a visitor's touches in order, which of them are valid, and which are candidates of a conversion.

Rule: everything is decided over the set of touches, consents and verdicts, never over their order of arrival
(contract, section 3, rules 1 to 4).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, Final

from streams.core.events import moment
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

    __slots__ = ("_denied", "_granted", "_grants", "_verdicts")

    def __init__(self, statements: Iterable[dict[str, Any]], verdicts: Iterable[dict[str, Any]]) -> None:
        spoken = sorted((s for s in statements if s["consent"] != "unknown"), key=moment)
        denials = [index for index, statement in enumerate(spoken) if statement["consent"] == "denied"]
        grants = [s["time"] for s in spoken[denials[-1] + 1 if denials else 0 :]]
        self._denied = bool(denials)
        self._granted: int | None = grants[0] if grants else None
        self._verdicts: dict[str, dict[str, Any]] = {}
        for verdict in sorted(verdicts, key=moment):
            self._verdicts[verdict["touch_event_id"]] = verdict

    def reasons(self, touch: Touch, consent_default: str) -> list[str]:
        """Why the touch is invalid; empty where it is valid. A denial reaches back over all earlier touches."""
        reasons = []
        own = touch.get("consent")
        granted = self._granted is not None and touch["time"] >= self._granted
        if own == "denied" or (not granted and (self._denied or (consent_default == "denied" and own != "granted"))):
            reasons.append("no_consent")
        verdict = self._verdicts.get(touch["event_id"]) if self._verdicts else None
        if verdict is not None and not verdict["valid"]:
            reasons.extend(verdict.get("reasons") or ["verdict"])
        return reasons


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

    def candidates(self, conversion_time: int) -> list[Touch]:
        """The candidates of a conversion at that time, in journey order."""
        start = bisect_left(self._moments, conversion_time - MAX_LOOKBACK_MS)
        end = bisect_right(self._moments, conversion_time)
        clicks_and_landings: list[Touch] = []
        impressions: list[tuple[int, Touch]] = []
        direct_only = True
        for index in range(start, end):
            touch = self.touches[index]
            lookback = self._lookback(touch)
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

    def _lookback(self, touch: Touch) -> int:
        kind, time = touch["type"], touch["time"]
        campaign = self._registry.campaign(touch["campaign"], self._site, time) if touch["campaign"] else None
        if campaign is not None and kind in campaign.lookbacks:
            return campaign.lookbacks[kind]
        return self._registry.site(self._site, time).lookbacks[kind]


def roles(touches: Sequence[Touch], site: str, registry: Registry) -> list[str]:
    """For each touch in order: 'internal', 'continuation', 'arrival', or '' where nothing keeps it from being one."""
    clicks = {touch["click_id"] for touch in touches if touch["type"] == "click" and "click_id" in touch}
    found = []
    latest: Touch | None = None
    for touch in touches:
        kind = touch["type"]
        role = ""
        if kind == "landing":
            if touch["internal"]:
                role = "internal"
            elif touch.get("hw_cid") in clicks:
                role = "arrival"
            elif latest is not None and _continues(touch, latest, registry.site(site, touch["time"]).session_ms):
                role = "continuation"
        found.append(role)
        if kind != "impression":
            latest = touch
    return found


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
