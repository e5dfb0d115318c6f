"""What travels, exported: current schemas, samples that validate, a core that writes what the schemas say."""

from __future__ import annotations

import orjson
import pytest
from pydantic import TypeAdapter

from schemas.events import KINDS, TOPIC_OF, read_event
from schemas.export import EXPORTED, FOLDER, json_schemas, write
from schemas.records import OUTPUT_RECORDS, read_record
from schemas.registry import CampaignEntry, SiteEntry
from schemas.topics import INPUTS, OUTPUTS
from streams.core.registry import Registry
from tests.reference.cluster import Cluster
from tests.reference.crowds import Crowd
from tests.reference.shop import run

SAMPLES = FOLDER.parent / "samples"
OF_THE_CORE = [topic for topic in OUTPUT_RECORDS if topic != "replays"]
REGISTRY = {"site": SiteEntry, "campaign": CampaignEntry}
STORY = ("consent", "impression", "click", "landing", "conversion", "verdict", "adjustment", "cost")
"""The samples of input events tell one visitor's story, in this order."""


def sample(name):
    """A sample as it is in the tree."""
    return orjson.loads((SAMPLES / f"{name}.json").read_bytes())


@pytest.fixture(scope="module")
def told():
    """What the core makes of the story and of a dead letter, under the registry of the samples."""
    cluster = Cluster(Registry(form(**sample(name)) for name, form in REGISTRY.items()), chaos=False, most=1)
    for name in STORY:
        cluster.run([sample(name)])
    cluster.put("clicks", 0, b'{"type":"tick"}', b"v-1", sample("click")["time"])
    return cluster.run()


def latest(cluster, topic):
    """The latest record of a topic: its value, or headers."""
    output = cluster.logs[topic, 0][-1]
    if topic == "dead-letters":
        return {name: value.decode() for name, value in output.headers}
    return orjson.loads(output.value)


def test_the_exported_files_are_current():
    """`python -m schemas.export` would change nothing."""
    files = {path.name: path.read_bytes() for path in FOLDER.glob("*")}
    assert files == json_schemas()


def test_the_export_is_the_same_every_time(tmp_path):
    """And takes away what is no more."""
    (tmp_path / "gone.json").write_text("{}")
    write(tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first == json_schemas()


def test_every_kind_of_record_is_exported_and_has_a_sample():
    """Each input event's type, each registry kind, each output topic."""
    assert {id(form) for form in KINDS.values()} <= {id(form) for form in EXPORTED.values()}
    assert {path.stem for path in SAMPLES.iterdir()} == set(KINDS) | set(REGISTRY) | set(OUTPUT_RECORDS)
    assert set(EXPORTED) == {*KINDS, "touch", *REGISTRY, *OUTPUT_RECORDS} - {"click", "impression", "landing"}


@pytest.mark.parametrize("kind", KINDS)
def test_samples_of_input_events_are_read(kind):
    """By the check that collector and worker make."""
    event = read_event(sample(kind), TOPIC_OF[kind])
    assert event["type"] == kind
    assert "extra" not in event


@pytest.mark.parametrize("kind", REGISTRY)
def test_samples_of_registry_entries_are_read(kind):
    """All of their fields."""
    entry = REGISTRY[kind](**sample(kind))
    assert set(sample(kind)) == set(type(entry).model_fields)


@pytest.mark.parametrize("topic", OF_THE_CORE)
def test_samples_of_output_records_are_what_the_core_makes_of_the_story(told, topic):
    """To the last field."""
    assert sample(topic) == latest(told, topic)


@pytest.mark.parametrize("topic", OUTPUT_RECORDS)
def test_samples_of_output_records_validate(topic):
    """With no field that the schema does not name."""
    raw = orjson.dumps(sample(topic))
    assert orjson.loads(orjson.dumps(read_record(topic, raw))) == sample(topic)


def test_what_the_core_writes_is_what_the_schemas_say():
    """Every output of dense sets, costs and dead letters among them; no field that is not documented."""
    seen = set()
    for seed in range(12):
        crowd = Crowd(seed, 60)
        cluster = Cluster(Registry(crowd.entries), 2, seed)
        cluster.run([*crowd.events, sample("cost")])
        for (topic, _), outputs in cluster.logs.items():
            if topic in INPUTS and topic not in OUTPUT_RECORDS:
                continue
            seen.add(topic)
            for output in outputs:
                raw = output.value
                if topic == "dead-letters":
                    raw = orjson.dumps({name: value.decode() for name, value in output.headers})
                assert orjson.loads(orjson.dumps(read_record(topic, raw))) == orjson.loads(raw)
    assert seen == set(OF_THE_CORE)
    assert {topic for topic in OUTPUTS if topic not in seen} == set()


def test_unknown_fields_travel_with_a_touch():
    """Kept and ignored, under `extra`."""
    cluster = run(sample("landing") | {"colour": "red", "nested": {"a": [1]}})
    (record,) = [orjson.dumps(record) for _, record, _ in cluster.outputs("touches")]
    assert read_record("touches", record)["extra"] == {"colour": "red", "nested": {"a": [1]}}


def test_schemas_are_json_schemas():
    """Objects of draft 2020-12, or a choice of them."""
    for name, content in json_schemas().items():
        schema = orjson.loads(content)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema", name
        assert schema.get("type") == "object" or schema["anyOf"], name
    assert TypeAdapter(EXPORTED["touch"]).json_schema()["required"]
