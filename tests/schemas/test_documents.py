"""The documents in docs/: current, valid by their own specifications, and true of the programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator
from openapi_spec_validator import validate
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from schemas.documents import FOLDER, ROOT, asyncapi, settings, write
from schemas.documents.logs import calls
from schemas.documents.openapi import MAX_EVENTS
from schemas.events import KINDS, TOPIC_OF
from schemas.log_events import LOG_EVENTS
from schemas.reasons import REASONS
from schemas.records import OUTPUT_RECORDS
from schemas.settings import Settings
from schemas.topics import INPUTS, OUTPUTS, TOPICS
from streams.cli.doctor.topics import NEEDS
from streams.collector import intake, redirects
from streams.collector.app import Collector
from streams.collector.campaigns import CampaignBook
from streams.collector.metrics import Metrics
from tests.collector.conftest import KEYS, HandlerTransport, MemoryLog

VENDOR = ROOT / "tests" / "vendor"


def document(name: str) -> Any:
    """A document as it lies in the tree."""
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def nodes(value: Any) -> Any:
    """All objects inside of a document."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(part)


def resolve(whole: Any, reference: str) -> Any:
    """What a reference inside of a document refers to; raises `KeyError`."""
    assert reference.startswith("#/")
    for name in reference[2:].split("/"):
        whole = whole[name.replace("~1", "/")]
    return whole


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> dict[str, str]:
    """What `make docs` writes now."""
    folder = tmp_path_factory.mktemp("docs")
    write(folder)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["asyncapi.yaml", "openapi.yaml", "settings.md", "logs.md"])
def test_the_documents_are_current(name, fresh):
    """`make docs` would change nothing; no other file is generated."""
    assert fresh[name] == (FOLDER / name).read_text(encoding="utf-8"), "run `make docs`"
    assert len(fresh) == 4


# Settings


def test_every_setting_is_documented_once():
    """With a line for a person; a secret's default is empty."""
    rows = re.findall(r"^\| `(HEADWATER_[A-Z_]+)` \|.*\| ([^|]+) \|$", settings.text(), re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(settings.variable(name) for name in Settings.model_fields)
    assert all(len(text) > 5 for _, text in rows)
    for name, field in Settings.model_fields.items():
        if field.annotation is SecretStr:
            assert f"| `{settings.variable(name)}` | secret text | empty |" in settings.text()


def test_what_the_page_says_of_values_is_so():
    """Choices, ranges and defaults, as the class has them."""
    page = settings.text()
    assert "| `HEADWATER_PARTITIONS` | 1 to 1,024 | `12` |" in page
    assert "| `HEADWATER_WINDOW_CAMPAIGNS` | 1 or more | `1000` |" in page
    assert "| `HEADWATER_CLICKHOUSE_SECURE` | `true`, `false` | `false` |" in page
    assert "| `HEADWATER_WORKER_STATE_DIR` | a path | empty |" in page
    assert "| `HEADWATER_LOG_LEVEL` | `DEBUG`, `INFO`, `WARNING`, `ERROR` | `INFO` |" in page


# Logs


def test_every_log_call_uses_an_event_that_is_documented():
    """By a plain name; and what is documented is logged somewhere."""
    found = list(calls(ROOT))
    unnamed = [call.where for call in found if not call.event]
    assert not unnamed, f"these log something other than a plain event name: {unnamed}"
    unknown = {call.event: call.where for call in found if call.event not in LOG_EVENTS}
    assert not unknown, f"say what these mean in schemas/log_events.py, then `make docs`: {unknown}"
    assert not LOG_EVENTS.keys() - {call.event for call in found}


def test_event_names_are_of_one_form():
    """Lower case, words joined by underscores; their meaning is a sentence on one line."""
    for name, means in LOG_EVENTS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
        assert re.fullmatch(r"[A-Z].*\.", means), name


def test_calls_are_found_however_they_are_written(tmp_path: Path):
    """By ``log``, by ``self._log``, by ``structlog.get_logger()``; what has no plain name is found too."""
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "module.py").write_text(
        "log.info('one', a=1)\nself._log.exception('two')\nstructlog.get_logger().critical('three', exc_info=True)\n"
        "log.warning(f'{four}')\nlogger.log(level, 'five', b=2)\nmath.log(2)\nledger.info('no')\n"
    )
    assert [(call.event, call.level, call.fields) for call in calls(tmp_path)] == [
        ("one", "info", ("a",)),
        ("two", "error", ("exception",)),
        ("three", "critical", ("exception",)),
        ("", "warning", ()),
        ("five", "any", ("b",)),
    ]


# AsyncAPI


def test_asyncapi_is_valid():
    """By the schema of AsyncAPI 3.0.0, which refuses what is wrong; every reference leads somewhere."""
    told = document("asyncapi.yaml")
    schema = orjson.loads((VENDOR / "asyncapi" / "asyncapi-3.0.0.json").read_bytes())
    check = Draft7Validator(schema)
    assert [error.message for error in check.iter_errors(told)] == []
    for node in nodes(told):
        if "$ref" in node:
            resolve(told, node["$ref"])
    told["operations"]["worker.receive.clicks"]["action"] = "eat"
    assert not check.is_valid(told)


def test_asyncapi_has_every_topic_with_its_settings_and_messages():
    """As `schemas.topics` has them; each message lies in one topic alone."""
    told = document("asyncapi.yaml")
    assert list(told["channels"]) == list(TOPICS)
    messages = [name for channel in told["channels"].values() for name in channel["messages"]]
    assert (
        sorted(messages)
        == sorted({*KINDS, "site", "campaign", *OUTPUT_RECORDS})
        == sorted(told["components"]["messages"])
    )
    for name, channel in told["channels"].items():
        kafka = channel["bindings"]["kafka"]
        assert kafka["partitions"] == (1 if TOPICS[name].single else Settings.model_fields["partitions"].default)
        config = {
            key: ",".join(value) if isinstance(value, list) else str(value)
            for key, value in kafka["topicConfiguration"].items()
        }
        assert config == TOPICS[name].config
    assert all(kind in told["channels"][topic]["messages"] for kind, topic in TOPIC_OF.items())


def test_asyncapi_says_who_reads_and_writes_as_the_doctor_asks_for():
    """The same rights, role by role."""
    for role, needs in NEEDS.items():
        acts = asyncapi.USERS.get(role, {})
        assert set(needs.get("READ", ())) == set(acts.get("receive", ()))
        assert set(needs.get("WRITE", ())) == set(acts.get("send", ()))
    assert set(asyncapi.USERS["worker"]["receive"]) > set(INPUTS)
    assert set(asyncapi.USERS["sink"]["receive"]) > set(OUTPUTS)


def test_asyncapi_examples_are_the_samples_and_validate():
    """By the document's own schemas, read as JSON Schemas of draft 7; what is wrong does not."""
    told = document("asyncapi.yaml")
    for name, message in told["components"]["messages"].items():
        part = "headers" if name == "dead-letters" else "payload"
        check = Draft7Validator({**message[part], "components": told["components"]})
        (example,) = message["examples"]
        sample = orjson.loads((ROOT / "schemas" / "samples" / f"{name}.json").read_bytes())
        if name in asyncapi.REGISTRY:
            sample = asyncapi.REGISTRY[name](**sample).model_dump(mode="json")
        assert example[part] == sample
        assert [error.message for error in check.iter_errors(example[part])] == [], name
        assert not check.is_valid({"type": "tick"})


# OpenAPI


def collector() -> Collector:
    """A collector just after the samples' story has happened."""
    times = [orjson.loads(path.read_bytes()).get("time", 0) for path in (ROOT / "schemas" / "samples").glob("*.json")]
    now = max(time for time in times if isinstance(time, int))
    return Collector(MemoryLog(), CampaignBook(ready=True), Metrics(CollectorRegistry()), keys=KEYS, clock=lambda: now)


def test_openapi_is_valid():
    """By the specification of OpenAPI 3.1."""
    validate(document("openapi.yaml"))


def test_openapi_has_the_collectors_routes():
    """Each with its methods, no more and no less."""
    taking = collector()
    routes = {route.name: route for route in (*taking._routes.values(), taking._click)}
    served = {name: {method.lower() for method in route.handlers} for name, route in routes.items()}
    told = {path: set(methods) for path, methods in document("openapi.yaml")["paths"].items()}
    assert told == served, "say what the route takes and answers in schemas/documents/openapi.py, then `make docs`"


def schema_at(told: Any, *path: str) -> Draft202012Validator:
    """The check of a schema inside of the document."""
    found = told
    for name in path:
        found = found[name]
    return Draft202012Validator({**found["schema"], "components": told["components"]})


async def test_openapi_examples_are_taken_by_the_collector_and_answered_as_it_says():
    """Each event of the document's examples is accepted; so is the answer by the document's schema."""
    told = document("openapi.yaml")
    takes = schema_at(told, "paths", "/events", "post", "requestBody", "content", "application/json")
    answers = schema_at(told, "paths", "/events", "post", "responses", "202", "content", "application/json")
    examples = told["paths"]["/events"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert set(examples) == {*KINDS, "several"}
    transport = HandlerTransport(collector())
    async with httpx.AsyncClient(transport=transport, base_url="http://t.example") as client:
        for name, example in examples.items():
            assert takes.is_valid(example["value"]), name
            response = await client.post("/events", json=example["value"])
            assert response.status_code == 202
            assert answers.is_valid(response.json())
            assert response.json()["rejected"] == [], name
        refused = await client.post("/events", content=b'[{"type":"click"},7]')
        assert answers.is_valid(refused.json())
        assert len(refused.json()["rejected"]) == 2
        for body, status in ((b"{", 400), (b"7", 400), (orjson.dumps([{}] * (MAX_EVENTS + 1)), 413)):
            response = await client.post("/events", content=body)
            assert response.status_code == status
            told_as = ("responses", str(status), "content", "application/json")
            assert schema_at(told, "paths", "/events", "post", *told_as).is_valid(response.json())


def test_openapi_states_what_a_click_may():
    """All that the redirect takes, and no more."""
    told = {each["name"] for each in document("openapi.yaml")["paths"]["/c/{campaign}"]["get"]["parameters"]}
    assert told == {"campaign", "site", "consent", *redirects.STATED, *redirects.UTM}


def test_openapi_states_the_collectors_limits():
    """Events of a request, bytes of a body, reasons of a refusal."""
    told = document("openapi.yaml")
    assert MAX_EVENTS == intake.MAX_EVENTS
    assert f"{intake.MAX_VALUES:,} values" in told["paths"]["/events"]["post"]["responses"]["413"]["description"]
    assert f"{intake.MAX_BODY_BYTES:,} bytes" in told["paths"]["/events"]["post"]["responses"]["413"]["description"]
    assert told["components"]["schemas"]["Reason"]["enum"] == list(REASONS)
