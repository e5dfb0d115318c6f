"""Lines of access logs: which are page views, of whom, and what they say."""

from __future__ import annotations

import pytest

from streams.cli.access_log import Reading, read_line, read_time, unescape
from streams.core.ids import mint_click_id

KEYS = [("new", b"new secret"), ("old", b"old secret")]
READING = Reading("shop", "https://shop.example", KEYS)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
NOON = 1_791_547_200_000
"""2026-10-09T12:00:00Z"""


def line(
    target: str = "/roses?utm_source=google",
    *,
    before: str = "203.0.113.7 - -",
    time: str = "09/Oct/2026:12:00:00 +0000",
    method: str = "GET",
    status: int = 200,
    referrer: str = "-",
    agent: str = FIREFOX,
    after: str = "",
) -> str:
    return f'{before} [{time}] "{method} {target} HTTP/1.1" {status} 5120 "{referrer}" "{agent}"{after}'


def read(text: str, reading: Reading = READING):
    return read_line(text, reading, lambda agent: "bot" not in agent.lower())


def visitor(text: str, **reading: object) -> str:
    found = read(text, READING._replace(**reading))
    assert isinstance(found, dict), found
    return found["visitor_id"]


def test_a_line_of_nginx_becomes_a_landing():
    """With address, referrer, user agent and time as the server saw them."""
    found = read(line(referrer="https://www.google.com/", time="09/Oct/2026:14:00:00 +0200"))
    assert found.pop("event_id").startswith("l-")
    assert len(found.pop("visitor_id")) == 32
    assert found == {
        "type": "landing",
        "time": NOON,
        "site": "shop",
        "url": "https://shop.example/roses?utm_source=google",
        "ip": "203.0.113.7",
        "referrer": "https://www.google.com/",
        "user_agent": FIREFOX,
    }


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (line("/a", before="203.0.113.7 - anna"), "https://shop.example/a"),
        (line("/a", before="2001:db8::1 - -"), "https://shop.example/a"),
        (line("/a", before="www.shop.example:443 203.0.113.7 - -"), "https://www.shop.example/a"),
        (line("/a", before="www.shop.example 203.0.113.7 - -"), "https://www.shop.example/a"),
        (line("/a", after=' "-" 0.012'), "https://shop.example/a"),
        (line("/a").partition(' "-"')[0], "https://shop.example/a"),
        (line("/a").replace(" HTTP/1.1", ""), "https://shop.example/a"),
        (line(r"/s?q=\x22roses\x22"), 'https://shop.example/s?q="roses"'),
    ],
)
def test_the_forms_that_servers_write(text, url):
    """A user, IPv6, a virtual host with its port or without, fields after it, the common format, escapes."""
    assert read(text)["url"] == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "unreadable"),
        ("hello", "unreadable"),
        (line(time="31/Feb/2026:12:00:00 +0000"), "unreadable"),
        (line(time="09/Okt/2026:12:00:00 +0000"), "unreadable"),
        (line(method="POST"), "not_a_page"),
        (line(method="HEAD"), "not_a_page"),
        (line(status=301), "not_a_page"),
        (line(status=404), "not_a_page"),
        (line("/style.css"), "not_a_page"),
        (line("/a/b/LOGO.PNG?v=3"), "not_a_page"),
        (line("/robots.txt"), "not_a_page"),
        (line("/.well-known/security"), "not_a_page"),
        (line("http://evil.example/"), "not_a_page"),
        (line(agent="Googlebot/2.1"), "bot"),
    ],
)
def test_what_is_no_page_view(text, reason):
    """Each for its reason."""
    assert read(text) == reason


@pytest.mark.parametrize("text", [line("/a.css/b"), line("/p?file=x.css"), line(status=304), line(status=206)])
def test_what_only_looks_as_if_it_were_none(text):
    """The end of the path decides, and what is in the browser's cache was seen."""
    assert read(text)["type"] == "landing"


def test_the_same_line_is_the_same_event():
    """Whichever file it is in; another second, page or address is another one."""
    lines = [line(), line("/b"), line(time="09/Oct/2026:12:00:01 +0000"), line(before="203.0.113.8 - -")]
    assert len({read(one)["event_id"] for one in (*lines, line())}) == 4


def test_visitors_are_told_apart_by_network_user_agent_and_day():
    """Of an address its /24 or /48 is enough; nobody is followed into the next day, or to another site."""
    same = visitor(line())
    assert visitor(line("/other", before="203.0.113.99 - -")) == same
    assert visitor(line(before="2001:db8:1:2::3 - -")) == visitor(line(before="2001:db8:1:ffff::9 - -"))
    others = [
        visitor(line(before="203.0.114.7 - -")),
        visitor(line(agent=FIREFOX + "1")),
        visitor(line(time="10/Oct/2026:12:00:00 +0000")),
        visitor(line(), site="other"),
        visitor(line(), keys=[("x", b"another secret")]),
    ]
    assert len({same, *others}) == 6


def test_a_click_id_of_ours_names_the_visitor():
    """Where one of the keys signed it; a forged one is like any other parameter."""
    click = mint_click_id("v-1", "spring", b"0123456789ab", KEYS[1:])
    assert visitor(line(f"/?hw_cid={click}")) == "v-1"
    forged = mint_click_id("v-1", "spring", b"0123456789ab", [("new", b"a guess")])
    assert visitor(line(f"/?hw_cid={forged}")) == visitor(line())


def test_parameter_field_and_cookie_name_the_visitor():
    """In this order; what is no id names nobody."""
    fields = ' "hw_vid=c-2; hw_id=c-1; x=1" "f-1"'
    assert visitor(line(after=fields)) == "c-1"
    assert visitor(line(after=' "a=1; hw_vid=c-2"')) == "c-2"
    assert visitor(line(after=fields), visitor_field=2) == "f-1"
    assert visitor(line("/?uid=p-1", after=fields), visitor_field=2, visitor_parameter="uid") == "p-1"
    for odd in (' "-"', ' ""', ' "two words"', ' "' + "x" * 129 + '"', ' "not_hw_id=c-9"', ""):
        assert visitor(line(after=odd), visitor_field=1) == visitor(line())


def test_a_denial_in_the_cookie_is_stated():
    """As the browser script keeps it."""
    assert read(line(after=' "hw_consent=denied; hw_id=c-1"'))["consent"] == "denied"
    assert "consent" not in read(line(after=' "hw_consent=granted"'))


def test_times_have_their_zone():
    """East and west of Greenwich, to the half hour."""
    assert read_time("09/Oct/2026:17:30:00 +0530") == NOON
    assert read_time("09/Oct/2026:08:30:00 -0330") == NOON
    assert read_time("yesterday at noon, or so") is None


@pytest.mark.parametrize(
    ("text", "plain"),
    [(r"a\x22b", 'a"b'), (r"a\"b", 'a"b'), (r"\xc3\xa4", "ä"), (r"a\\x22", r"a\x22"), ("plain", "plain")],
)
def test_escapes_are_undone(text, plain):
    """As nginx and Apache write them."""
    assert unescape(text) == plain
