"""``headwater import``: files become events, every line is accounted for, and a file read twice counts once."""

from __future__ import annotations

import gzip
import json
import os
import re
import time
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from schemas.errors import ConfigurationError
from schemas.registry import SiteEntry
from streams.cli import import_files, registry_topic
from streams.cli.imports import imports

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
COSTS = "site,campaign,date,cost,currency\nshop,spring,2026-10-01,12.50,EUR\nshop,autumn,2026-10-01,7,EUR\n"


class KeptLog:
    """Kafka's place: keeps what is appended."""

    ready = True

    def __init__(self):
        self.records = []

    async def append(self, records):
        self.records += records

    def events(self, topic: str) -> list[dict]:
        return [orjson.loads(record.value) for record in self.records if record.topic == topic]


@pytest.fixture
def kafka(monkeypatch, tmp_path):
    """What commands would write to Kafka."""
    log = KeptLog()

    @asynccontextmanager
    async def connect(_settings):
        yield log

    async def read(_settings):
        entry = SiteEntry(site="shop", domains=["shop.example"])
        return {entry.key: entry}

    monkeypatch.setattr(import_files, "kafka", connect)
    monkeypatch.setattr(registry_topic, "read_registry", read)
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("HEADWATER_CLICK_ID_KEYS", "k:secret")
    return log


def run(*arguments: object):
    return CliRunner().invoke(imports, [str(argument) for argument in arguments])


def written(path, text: str):
    path.write_text(text, encoding="utf-8")
    return path


def access_line(target: str = "/", agent: str = FIREFOX, ago: int = 3600) -> str:
    moment = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(time.time() - ago))
    return f'203.0.113.7 - - [{moment}] "GET {target} HTTP/1.1" 200 512 "-" "{agent}"\n'


def test_costs_are_statements_of_when_the_file_was_last_changed(kafka, tmp_path):
    """Unless a line says when it was made; each has an id of its file and line."""
    path = written(tmp_path / "costs.csv", COSTS)
    os.utime(path, (1_795_000_000, 1_795_000_000))
    result = run("costs", path)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{path}: 2 accepted, 0 refused\n"
    (spring, autumn) = kafka.events("costs")
    assert (spring["time"], spring["cost"], spring["type"]) == (1_795_000_000_000, "12.50", "cost")
    assert spring["event_id"] != autumn["event_id"]


def test_a_file_read_twice_states_the_same_events(kafka, tmp_path):
    """Gzipped or not."""
    path = written(tmp_path / "costs.csv", COSTS)
    packed = tmp_path / "costs.csv.gz"
    packed.write_bytes(gzip.compress(COSTS.encode()))
    os.utime(packed, ns=(path.stat().st_mtime_ns, path.stat().st_mtime_ns))
    assert run("costs", path, path, packed).exit_code == 0
    ids = [event["event_id"] for event in kafka.events("costs")]
    assert (len(ids), len(set(ids))) == (6, 2)


def test_refused_lines_are_told_by_their_number(kafka, tmp_path):
    """And kept as dead letters; their neighbours count."""
    path = written(tmp_path / "costs.csv", COSTS + 'shop,spring,2026-10-02,"1,5",EUR\nshop,spring\n')
    result = run("costs", path)
    assert (result.exit_code, result.stdout) == (0, f"{path}: 2 accepted, 2 refused\n")
    told = result.stderr.splitlines()
    assert told[0].startswith(f"{path}:4: schema: cost: '1,5' is not a decimal amount")
    assert told[1].startswith(f"{path}:5: malformed: 2 cells")
    assert len(kafka.events("costs")) == 2
    assert [record.topic for record in kafka.records].count("dead-letters") == 2
    figures = json.loads(run("costs", path, "--json").stdout)
    assert (figures["accepted"], figures["rejected_total"], figures["rejected"][0]["line"]) == (2, 2, 4)


def test_lines_that_replace_each_other_are_told(kafka, tmp_path):
    """A report that is broken down further than statements are would lose money silently."""
    text = "site,campaign,date,cost,device,time\nshop,spring,2026-10-01,1,mobile,\nshop,spring,2026-10-01,2,desktop,\n"
    text += f"shop,spring,2026-10-01,3,,{int(time.time() * 1000)}\n"
    path = written(tmp_path / "costs.csv", text)
    result = run("costs", path)
    assert result.stdout == f"{path}: 3 accepted, 0 refused\n"
    assert result.stderr == f"{path}:3: states the same campaign and period as line 2: one of them counts\n"


def test_a_file_of_which_nothing_is_accepted_is_a_failure(kafka, tmp_path):
    """For scripts."""
    assert run("costs", written(tmp_path / "c.jsonl", '{"campaign": "spring"}\n')).exit_code == 1
    assert run("costs", written(tmp_path / "empty.csv", "")).exit_code == 0


def test_a_wrong_header_is_one_line(kafka, tmp_path):
    """Nothing is read then."""
    path = written(tmp_path / "costs.csv", "site;campaign;cost\nshop;spring;1\n")
    result = run("costs", path)
    assert isinstance(result.exception, ConfigurationError)
    assert "columns are separated by commas" in str(result.exception)
    assert isinstance(run("costs", tmp_path / "nowhere.csv").exception, ConfigurationError)
    assert not kafka.records


def test_conversions_and_adjustments_come_in_one_file(kafka, tmp_path):
    """A line with an adjustment is one."""
    text = "site,time,action,order_id,value,currency,adjustment\n"
    now = int(time.time() * 1000)
    text += f"shop,{now},purchase,o-1,49.90,EUR,\nshop,{now},purchase,o-1,39.90,,restate\n"
    assert run("conversions", written(tmp_path / "orders.csv", text)).exit_code == 0
    (order, change) = kafka.events("conversions")
    assert (order["type"], order["value"]) == ("conversion", "49.90")
    assert (change["type"], change["adjustment"]) == ("adjustment", "restate")


def test_sending_to_a_collector_needs_a_key(kafka, tmp_path, monkeypatch):
    """Said before anything is sent."""
    monkeypatch.delenv("HEADWATER_API_KEYS", raising=False)
    result = run("costs", written(tmp_path / "costs.csv", COSTS), "--collector", "http://127.0.0.1:1")
    assert isinstance(result.exception, ConfigurationError)
    assert "HEADWATER_API_KEYS" in str(result.exception)


def test_a_log_becomes_landings(kafka, tmp_path):
    """Pages count, assets do not, bots are marked by a verdict; what is refused is told by its line."""
    text = access_line() + access_line("/a.css") + access_line("/b", agent="Googlebot/2.1") + "garbage\n"
    text += access_line("/old", ago=8 * 86_400)
    path = written(tmp_path / "access.log", text)
    result = run("logs", path, "--site", "shop")
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"{path}: 2 page views, 1 of them of bots, marked as such; "
        "besides 1 that are no page views, 1 unreadable, 1 too old\n"
    )
    told = result.stderr.splitlines()
    assert told[0] == f"{path}:4: unreadable: 'garbage'"
    assert told[1].startswith(f"{path}:5: too_old: ")
    assert "--history" in told[2]
    (page, of_bot, verdict) = kafka.events("clicks")
    assert (page["url"], page["ip"], verdict["reasons"]) == ("https://shop.example/", "203.0.113.0", ["bot"])
    assert verdict["touch_event_id"] == of_bot["event_id"]


def test_a_log_read_twice_says_the_same(kafka, tmp_path):
    """Gzipped, or with other lines around."""
    lines = [access_line(f"/{number}") for number in range(5)]
    path = written(tmp_path / "access.log", "".join(lines))
    rotated = tmp_path / "access.log.1.gz"
    rotated.write_bytes(gzip.compress("".join(lines[2:]).encode()) + gzip.compress(access_line("/more").encode()))
    figures = json.loads(run("logs", path, "--site", "shop", "--json").stdout)
    assert figures == {"file": str(path), "accepted": 5}
    assert run("logs", rotated, "--site", "shop").exit_code == 0
    events = kafka.events("clicks")
    content = {(e["event_id"], e["visitor_id"], e["time"], e["url"]) for e in events}
    assert (len(events), len(content)) == (9, 6)


def test_bots_can_be_left_out_and_history_taken(kafka, tmp_path):
    """As the options say."""
    path = written(tmp_path / "a.log", access_line(agent="Googlebot/2.1") + access_line("/old", ago=40 * 86_400))
    result = run("logs", path, "--site", "shop", "--no-bots", "--history", "--url", "https://other.example/")
    assert result.stdout == f"{path}: 1 page view; besides 1 of bots\n"
    (page,) = kafka.events("clicks")
    assert (page["url"], page["received_at"]) == ("https://other.example/old", page["time"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--site", "elsewhere"), "no domain in the registry"),
        (("--site", "shop", "--url", "shop.example"), "not written https://host"),
    ],
)
def test_what_a_log_needs_to_be_known_of_its_site(kafka, tmp_path, arguments, says):
    """In one line."""
    result = run("logs", written(tmp_path / "a.log", access_line()), *arguments)
    assert isinstance(result.exception, ConfigurationError)
    assert says in str(result.exception)


def test_the_examples_of_the_page_about_imports_are_accepted(kafka, tmp_path):
    """As long as they are young enough."""
    page = (Path(__file__).parents[2] / "docs" / "imports.md").read_text(encoding="utf-8")
    costs, orders = re.findall(r"```csv\n(.*?)```", page, re.DOTALL)
    path = written(tmp_path / "costs.csv", costs)
    assert run("costs", path).stdout == f"{path}: 2 accepted, 0 refused\n"
    today = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    path = written(tmp_path / "orders.csv", re.sub(r"2026-\d\d-\d\d", today, orders))
    assert run("conversions", path).stdout == f"{path}: 2 accepted, 0 refused\n"


def test_a_broken_archive_is_one_line(kafka, tmp_path):
    """Whatever is wrong with it; what was read before stays read."""
    whole = gzip.compress(access_line().encode() * 1000)
    for broken in (whole[: len(whole) // 2], whole[:40] + b"\xff" * 40 + whole[80:]):
        path = tmp_path / "access.log.gz"
        path.write_bytes(broken)
        result = run("logs", path, "--site", "shop")
        assert isinstance(result.exception, ConfigurationError), result.exception
        assert str(result.exception).startswith(f"{path}: ")
