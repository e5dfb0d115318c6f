"""What a viewer asks: a site, a period, a model, a currency, and the zone in which days begin.

Rule: a `Question` that exists is valid, and it is all that an answer depends on besides the time: viewers with equal
questions share one answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from schemas.errors import HeadwaterError
from schemas.reasons import MODELS
from sinks.page.periods import PERIODS, Period

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_MODEL: Final = "last_non_direct"
DEFAULT_PERIOD: Final[Period] = "24h"
KNOWN_MODELS: Final = tuple(dict.fromkeys((*MODELS, "data_driven")))
"""All models that can be asked for; the last is in the data only where weights have been learnt."""

_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_MOST: Final = 64
"""Characters of a site's or a zone's name."""


class BadQuestion(HeadwaterError):  # noqa: N818  # named as the rest of the tree
    """A parameter of the page's address means nothing."""


@dataclass(frozen=True, slots=True)
class Question:
    """`site` and `currency` may be empty: then the site with the most visits, the currency with the most orders."""

    site: str = ""
    period: Period = DEFAULT_PERIOD
    model: str = DEFAULT_MODEL
    currency: str = ""
    zone: str = "UTC"


def read_question(parameters: Mapping[str, str]) -> Question:
    """The question that the parameters of an address ask; what is not stated is as in `Question`.

    A zone that this machine does not know is UTC, which the answer says. Raises `BadQuestion`.
    """
    site = parameters.get("site", "")
    period = parameters.get("period") or DEFAULT_PERIOD
    model = parameters.get("model") or DEFAULT_MODEL
    currency = parameters.get("currency", "")
    if len(site) > _MOST:
        raise BadQuestion(f"site: at most {_MOST} characters")
    if period not in PERIODS:
        raise BadQuestion(f"period: one of {', '.join(PERIODS)}")
    if model not in KNOWN_MODELS:
        raise BadQuestion(f"model: one of {', '.join(KNOWN_MODELS)}")
    if currency and not _CURRENCY.fullmatch(currency):
        raise BadQuestion("currency: three capital letters")
    return Question(site, period, model, currency, _known_zone(parameters.get("zone", "")))


def _known_zone(name: str) -> str:
    if not name or len(name) > _MOST:
        return "UTC"
    try:
        return ZoneInfo(name).key
    except (ValueError, OSError, KeyError):
        return "UTC"
