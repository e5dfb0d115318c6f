"""docker-compose.yml: valid by its specification, and true of the programs, settings and files that it names."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import orjson
import pytest
import yaml
from jsonschema import Draft7Validator

from deploy.docker import health
from deploy.local import java
from schemas.settings import Settings
from streams.cli.main import COMMANDS, ROLES
from streams.core.ids import read_keys

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("headwater:")}
JOBS = {"topics", "migrate", "doctor"}
VARIABLE = re.compile(r"\$\{([A-Z_]+)(:[-?][^}]*)?\}")


def example() -> dict[str, str]:
    """What .env.example states, the lines that are commented out too."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    pairs = (re.fullmatch(r"#?([A-Z_]+)=(.*)", line) for line in lines)
    return {pair[1]: pair[2] for pair in pairs if pair}


def filled(value: str) -> str:
    """A value with each variable replaced, as compose does it for a filled .env."""
    values = {name: text or "secret" for name, text in example().items()}
    values["HEADWATER_CLICK_ID_KEYS"] = "1:secret"
    return VARIABLE.sub(lambda found: values[found[1]], value)


def test_it_is_valid_by_the_compose_specification():
    """Which refuses what is wrong."""
    check = Draft7Validator(orjson.loads((ROOT / "tests/vendor/compose-spec/compose-spec.json").read_bytes()))
    assert [error.message for error in check.iter_errors(COMPOSE)] == []
    assert not check.is_valid({**COMPOSE, "services": {"kafka": {"image": "x", "helthcheck": {}}}})


def test_every_part_is_there():
    """Servers, roles and jobs."""
    assert set(SERVICES) == {"kafka", "clickhouse", "prometheus", "grafana"} | ROLES | JOBS
    assert set(OURS) == ROLES | JOBS


def test_images_are_pinned_to_what_the_tests_run_against():
    """By a version, never `latest`: the same Kafka, the same ClickHouse up to the patch, the image of this version."""
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+(\.\d+)?", service["image"]), name
    assert SERVICES["kafka"]["image"].split(":")[1] == java.KAFKA.rsplit(":", 1)[1]
    engine = version("chdb-core").split(".")[:2]
    assert SERVICES["clickhouse"]["image"].split(":")[1].split(".")[:2] == engine
    assert {service["image"] for service in OURS.values()} == {f"headwater:{version('headwater')}"}


def test_no_secret_is_in_the_file():
    """What is secret comes from .env, and is asked for by name where it is missing."""
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|KEYS|SECRET|TOKEN", name):
                assert re.fullmatch(r"\$\{[A-Z_]+:\?copy \.env\.example to \.env and fill it in\}", value), name
    assert {found[1] for found in VARIABLE.finditer(TEXT)} == example().keys() - {"CLICK_ID_SECRET"}
    assert "\n.env\n" in (ROOT / ".gitignore").read_text()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the command that is documented takes openssl")
def test_the_command_in_env_example_fills_in_every_secret(tmp_path: Path):
    """Each another one; what has a value keeps it; the keys of click ids are keys."""
    shutil.copy(ROOT / ".env.example", tmp_path)
    (command,) = re.findall(r"^#     (while .*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=30)
    told = dict(re.findall(r"^([A-Z_]+)=(.*)$", (tmp_path / ".env").read_text(), re.MULTILINE))
    secrets = [told[name] for name, value in example().items() if not value]
    assert len(set(secrets)) == len(secrets) == 4
    assert all(re.fullmatch(r"[0-9a-f]{48}", secret) for secret in secrets)
    assert told["HEADWATER_PARTITIONS"] == "12"
    keys = told["HEADWATER_CLICK_ID_KEYS"].replace("${CLICK_ID_SECRET}", told["CLICK_ID_SECRET"])
    assert read_keys(keys) == [("1", told["CLICK_ID_SECRET"].encode())]


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_runs_a_command_with_settings_that_are_known(name):
    """Of the right types and ranges; with no right but to write into its volume."""
    service = OURS[name]
    assert service["command"] == [name]
    assert name in COMMANDS
    stated = service["environment"]
    assert all(key.startswith("HEADWATER_") for key in stated)
    fields = {key.removeprefix("HEADWATER_").lower(): filled(value) for key, value in stated.items()}
    assert fields.keys() <= Settings.model_fields.keys()
    Settings(**fields)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_each_role_has_what_it_needs_and_no_more():
    """Kafka's address, ClickHouse's password, the keys of click ids: only where they are used."""
    has = {name: set(service["environment"]) for name, service in OURS.items()}
    assert {name for name in has if "HEADWATER_KAFKA" in has[name]} == {
        "topics",
        "collector",
        "worker",
        "sink",
        "doctor",
    }
    with_password = {name for name in has if "HEADWATER_CLICKHOUSE_PASSWORD" in has[name]}
    assert with_password == {"migrate", "sink", "page", "doctor"}
    assert {name for name in has if "HEADWATER_CLICK_ID_KEYS" in has[name]} == {"collector", "doctor"}


def test_what_listens_is_published_on_this_machine_alone():
    """At the ports that settings and servers have by default."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    ports = {"clickhouse": 8123, "kafka": 9094, "prometheus": 9090, "grafana": 3000}
    for name in ("collector", "page"):
        ports[name] = Settings.model_fields[f"{name}_port"].default
    assert published == {name: [f"127.0.0.1:{port}:{port}"] for name, port in ports.items()}


def test_every_service_that_goes_on_is_watched_and_bounded():
    """Health check, restart, memory, processors, size of the log; a job is none of them but bounded."""
    for name, service in SERVICES.items():
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory"} <= limits.keys(), name
        assert service["logging"]["options"]["max-size"] == "10m"
        if name in JOBS:
            assert service["healthcheck"] == {"disable": True}
            assert service["restart"] in {"on-failure:3", "no"}
        else:
            assert service["healthcheck"]["test"][0] == "CMD"
            assert service["restart"] == "unless-stopped"
    assert SERVICES["doctor"]["profiles"] == ["tools"]


def test_the_health_of_a_role_is_asked_where_it_listens():
    """The script's ports are those of the settings."""
    for role, (variable, port) in health.PORTS.items():
        assert SERVICES[role]["healthcheck"]["test"][1:] == ["python", "-I", "/opt/headwater/health.py", role]
        assert Settings.model_fields[variable.removeprefix("HEADWATER_").lower()].default == port
    assert health.PORTS.keys() == ROLES


def test_who_waits_for_whom():
    """For servers until they are healthy, for jobs until they are done; all of them can be."""
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            done = "service_completed_successfully" if name in JOBS else "service_healthy"
            assert wait == {"condition": done}
    needs = {name: set(service.get("depends_on", {})) for name, service in OURS.items()}
    assert needs == {
        "topics": {"kafka"},
        "migrate": {"clickhouse"},
        "collector": {"topics"},
        "worker": {"topics"},
        "sink": {"topics", "migrate"},
        "page": {"migrate"},
        "doctor": set(),
    }


def test_volumes_are_declared_and_files_are_there():
    """What is mounted from the tree is read alone. A worker's volume has no name, so that each has its own.

    The collector's has one: what waits in it for Kafka is nowhere else.
    """
    named = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, _, target = volume.partition(":")
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert target.endswith(":ro")
            elif target:
                named.add(source)
    assert named == COMPOSE["volumes"].keys()
    assert SERVICES["worker"]["volumes"] == ["/var/lib/headwater"]
    assert SERVICES["collector"]["volumes"] == ["collector-spool:/var/lib/headwater"]


def test_kafka_is_found_by_the_roles_and_by_programs_on_this_machine():
    """Each by the listener that is advertised for it."""
    environment = SERVICES["kafka"]["environment"]
    advertised = dict(part.split("://") for part in environment["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listening = dict(part.split("://") for part in environment["KAFKA_LISTENERS"].split(","))
    assert advertised["INTERNAL"] == OURS["worker"]["environment"]["HEADWATER_KAFKA"]
    assert advertised["LOCAL"] == "127.0.0.1:9094"
    assert all(address.split(":")[1] == listening[name].split(":")[1] for name, address in advertised.items())
    protocols = dict(part.split(":") for part in environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert protocols.keys() == listening.keys()


def test_the_page_and_prometheus_ask_the_roles_where_they_listen():
    """By the names of the services, at the ports of the settings."""
    asked = dict(part.split("=") for part in OURS["page"]["environment"]["HEADWATER_PAGE_ROLES"].split(","))
    assert asked == {role: f"http://{role}:{health.PORTS[role][1]}" for role in ROLES - {"page"}}
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    found = {
        name: config["port"]
        for job in scraped["scrape_configs"]
        for config in job.get("dns_sd_configs", [])
        for name in config["names"]
    }
    assert found == {role: health.PORTS[role][1] for role in ROLES}
    assert scraped["rule_files"] == ["rules/*.yml"]
    assert "./deploy/prometheus/rules:/etc/prometheus/rules:ro" in SERVICES["prometheus"]["volumes"]


def test_clickhouses_users_are_those_that_are_named():
    """Roles come as one that may write, Grafana as one that may not; both files are XML."""
    folder = ROOT / "deploy/docker/clickhouse"
    assert ET.parse(folder / "config.d/headwater.xml").getroot().tag == "clickhouse"
    users = ET.parse(folder / "users.d/analyst.xml").getroot()
    password = users.find("users/analyst/password")
    assert password is not None
    assert password.get("from_env") in SERVICES["clickhouse"]["environment"]
    database = Settings.model_fields["clickhouse_database"].default
    assert users.findtext("users/analyst/grants/query") == f"GRANT SELECT ON {database}.*"
    assert users.findtext("profiles/analyst/readonly") == "2"
    environment = SERVICES["clickhouse"]["environment"]
    ours = OURS["sink"]["environment"]
    assert environment["CLICKHOUSE_USER"] == ours["HEADWATER_CLICKHOUSE_USER"]
    assert environment["CLICKHOUSE_PASSWORD"] == ours["HEADWATER_CLICKHOUSE_PASSWORD"]


def test_grafana_finds_its_sources_and_dashboards():
    """Its plugin is that of the data source, its variables are given, its folder is the one that is mounted."""
    provisioning = ROOT / "deploy/grafana/provisioning"
    (sources,) = [yaml.safe_load(file.read_text()) for file in (provisioning / "datasources").glob("*.y*ml")]
    environment = SERVICES["grafana"]["environment"]
    (clickhouse,) = [each for each in sources["datasources"] if each["type"] != "prometheus"]
    plugin, _, number = environment["GF_PLUGINS_PREINSTALL_SYNC"].partition("@")
    assert (plugin, number) == (clickhouse["type"], clickhouse["jsonData"]["version"])
    assert clickhouse["secureJsonData"]["password"].lstrip("$") in environment
    assert (clickhouse["jsonData"]["host"], clickhouse["jsonData"]["port"]) == ("clickhouse", 8123)
    assert clickhouse["jsonData"]["username"] == "analyst"
    (providers,) = [yaml.safe_load(file.read_text()) for file in (provisioning / "dashboards").glob("*.y*ml")]
    mounted = {volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]}
    assert {provider["options"]["path"] for provider in providers["providers"]} <= mounted
