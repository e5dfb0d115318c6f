"""User agents: crawlers, previews, programs and people."""

from __future__ import annotations

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA, is_crawler
from hypothesis import given
from hypothesis import strategies as st

from streams.collector.agents import _PEOPLE, MAX_LENGTH, _judge, judge_agent

PEOPLE = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"
        " Safari/537.36 Edg/140.0.0.0"
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0"
        " Safari/605.1.15"
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0"
        " Mobile/15E148 Safari/604.1"
    ),
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    (
        "Mozilla/5.0 (Linux; Android 14; CUBOT X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0 Mobile"
        " Safari/537.36"
    ),
    (
        "Mozilla/5.0 (Linux; Android 16; Pixel 10 Pro XL; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0"
        " Chrome/146.0 Mobile Safari/537.36 MetaIAB Facebook"
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
        " [FBAN/FBIOS;FBAV/470.0;FBBV/1;FBDV/iPhone15,2]"
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
        " Instagram 340.0.0"
    ),
    "",
]


@pytest.mark.parametrize("user_agent", PEOPLE)
def test_people(user_agent: str) -> None:
    """Browsers on desks and phones, inside of apps too; who states nothing proves nothing."""
    assert judge_agent(user_agent) == "browser"


@pytest.mark.parametrize(
    ("user_agent", "agent"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot"),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0 Safari/537.36",
            "bot",
        ),
        (
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
            "bot",
        ),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "preview"),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "preview"),
        ("WhatsApp/2.23.20.0", "preview"),
        ("curl/8.5.0", "program"),
        ("python-requests/2.32.3", "program"),
        ("Go-http-client/1.1", "program"),
    ],
)
def test_others(user_agent: str, agent: str) -> None:
    """Each is called what it is."""
    assert judge_agent(user_agent) == agent


def test_the_whole_list() -> None:
    """The library says the same of all of its own examples, but for those that we know to be people."""
    for entry in CRAWLER_USER_AGENTS_DATA:
        for user_agent in entry["instances"]:
            if len(user_agent) <= MAX_LENGTH and entry["pattern"] not in _PEOPLE:
                assert judge_agent(user_agent) != "browser", user_agent


@given(st.text(max_size=80))
def test_as_the_library(user_agent: str) -> None:
    """Another engine, the same answer; only that of the library is asked a hundred times more slowly."""
    assert (judge_agent(user_agent) != "browser") == (is_crawler(user_agent) and user_agent != "")


def test_what_is_remembered_is_bounded() -> None:
    """However many user agents come, and however long they are."""
    for number in range(20_000):
        judge_agent(f"{number} " + "x" * 4000)
    info = _judge.cache_info()
    assert info.maxsize is not None
    assert info.currsize <= info.maxsize <= 20_000
