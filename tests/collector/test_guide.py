"""docs/collector.md: its examples run, its tables are the code's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from schemas.documents import FOLDER
from schemas.registry import MACROS, CampaignEntry
from schemas.settings import Settings
from streams.collector import (
    bodies,
    gate,
    import_lines,
    imports,
    intake,
    limits,
    parameters,
    partners,
    postback,
    server,
)
from streams.collector.campaigns import CampaignBook
from streams.collector.keys import Keys
from streams.collector.partners import Partners
from streams.collector.rules import Rules
from streams.collector.statuses import STATUSES
from tests.collector.door import Door, open_door

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (FOLDER / "collector.md").read_text(encoding="utf-8")
SECRETS = {"token": "netw-token", "secret": "acme-secret", "api_key": "shop-key"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    """Set up as the page says."""
    rules = Rules(
        api_keys=Keys(f"shop:{SECRETS['api_key']}", "api_keys"),
        partners=Partners(f"acme/1:{SECRETS['secret']}", f"netw/1:{SECRETS['token']}"),
    )
    campaign = CampaignEntry(campaign="spring", site="shop", destinations=["https://shop.example/{sub1}?t={term}"])
    with open_door(CampaignBook([campaign], ready=True), rules) as door:
        yield door


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="needs curl and openssl")
def test_the_shell_examples(door: Door) -> None:
    """In their order, as they stand: each is answered as the page says, and kept."""
    script = "\n".join(blocks("bash")).replace("http://127.0.0.1:8080", door.url)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={"PATH": os.environ["PATH"], **SECRETS},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(blocks("json")[0].strip())
    assert done.stdout.count('{"accepted":1,"rejected":[]}') == 2
    assert done.stdout.endswith('{"accepted":1,"rejected_total":0,"rejected":[]}')
    kept = [json.loads(record.value) for record in door.events.records if record.topic != "dead-letters"]
    kinds = ["landing", "conversion", "click", "conversion", "conversion", "cost"]
    assert [value["type"] for value in kept] == kinds
    click = kept[2]
    assert (click["sub1"], click["term"]) == ("banner-7", "shoes")
    assert [value["visitor_id"] for value in kept[3:5]] == [click["visitor_id"]] * 2
    assert [(value["order_id"], value["value"]) for value in kept[3:5]] == [("A-1000", "12.50"), ("A-1001", "19.90")]


def test_the_python_example(door: Door) -> None:
    """A signed POST is taken."""
    [code] = blocks("python")
    found: dict[str, object] = {}
    exec(code, found)
    told = found["postback"]
    assert callable(told)
    answer = told(door.url, "acme/1", SECRETS["secret"], site="shop", txid="A-1002", payout="5", status="lead")
    assert answer == {"accepted": 1, "rejected": []}
    value = json.loads(door.events.records[-1].value)
    assert (value["order_id"], value["action"], value["partner"]) == ("A-1002", "lead", "acme")


def test_macros_and_statuses() -> None:
    """All of them, and no others."""
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `{")]
    assert sorted(re.findall(r"`\{(\w+)\}`", "".join(rows))) == sorted(MACROS)
    [table] = re.findall(r"^\| `status` \| what.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    actions = {}
    for row in table.strip().splitlines()[2:]:
        words, _, action = (cell.strip() for cell in row.strip("|").split("|"))
        actions |= dict.fromkeys(re.findall(r"`(\w+)`", words), action.strip("`"))
    assert actions == {word: meaning.action for word, meaning in STATUSES.items()}
    for alias, name in postback.ALIASES.items():
        assert f"`{alias}`" in PAGE
        assert f"`{name}`" in PAGE


def test_limits() -> None:
    """As the code has them."""
    rate = Settings.model_fields["rate_per_ip"].default
    stated = [
        f"| events in a request | {intake.MAX_EVENTS} |",
        f"| one event | {intake.MAX_EVENT_BYTES // 1024} KiB |",
        f"{intake.MAX_BODY_BYTES:,} bytes, {intake.MAX_VALUES:,} values",
        f"| depth of an event's own fields | {intake.MAX_DEPTH} |",
        f"{imports.MAX_BYTES >> 30} GiB; a line {intake.MAX_EVENT_BYTES // 1024} KiB, {import_lines.MAX_COLUMNS} col",
        f"| parameters of an address | {parameters.MAX_PARAMETERS} |",
        f"{server.MAX_HEADER_BYTES // 1024} KiB, 100 of them",
        f"between requests | {server.HEADERS_S:.0f} s |",
        f"a file {bodies.BODY_S:.0f} s without a byte, or {bodies.LEAST_BYTES_PER_S // 1024} KiB/s over all",
        f"unread | {server.UNREAD_S:.0f} s |",
        f"{rate}/s, and ten seconds' worth",
        f"{Settings.model_fields['rate_authenticated'].default:,}/s",
        f"{rate * limits.BURST_S / gate.FINE:.0f} at once, then {rate / gate.FINE:.0f}/s",
        f"| connections | {server.CONNECTIONS:,} |",
        f"for {partners.WINDOW_S} s either way",
    ]
    assert [text for text in stated if text not in PAGE] == []
