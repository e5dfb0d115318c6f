"""Dashboards are what the generator makes, and such that Grafana shows them as they are meant."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.generate import DASHBOARDS, DIRECTORY, render
from schemas.reasons import MODELS
from streams.cli import metrics_page
from tests.deploy.grafana.queries import is_sql

PROVISIONING = Path("deploy/grafana/provisioning")
FILES = {name: json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8")) for name in DASHBOARDS}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, dashboard in FILES.items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_files_are_current(name):
    """`make dashboards` was run after the last change, and there is no other file."""
    assert (DIRECTORY / f"{name}.json").read_text(encoding="utf-8") == render(name)
    assert {file.stem for file in DIRECTORY.glob("*.json")} == DASHBOARDS.keys()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_grafana_s_own_model_takes_all_of_it(name):
    """Read by the SDK's classes and written again, nothing is gone: no field is misnamed or misplaced."""
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(FILES[name]), cls=JSONEncoder))
    assert again == FILES[name]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_panel_lies_on_another(name):
    """All within 24 columns, each with an id of its own."""
    panels = FILES[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["w"] >= 1
        assert place["h"] >= 1
        assert 0 <= place["x"] <= 24 - place["w"]
    for one, other in combinations(panels, 2):
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, (one["title"], other["title"])


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows(panel):
    """Title, a description in sentences, a unit, queries under different names."""
    assert panel["title"]
    assert len(panel["description"]) > 10
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    names = [target["refId"] for target in panel["targets"]]
    assert names == list("ABCDEFGHIJ"[: len(names)])


def test_dashboards_can_be_told_apart_and_found():
    """By uid, title and tag; each leads to the others."""
    assert len({dashboard["uid"] for dashboard in FILES.values()}) == len(FILES)
    assert len({dashboard["title"] for dashboard in FILES.values()}) == len(FILES)
    for dashboard in FILES.values():
        assert dashboard["tags"] == ["headwater"]
        assert [link["tags"] for link in dashboard["links"]] == [["headwater"]]
        assert dashboard["description"]


def sources(node):
    """All references to data sources below `node`."""
    if isinstance(node, dict):
        if "datasource" in node:
            yield node["datasource"]
        for value in node.values():
            yield from sources(value)
    elif isinstance(node, list):
        for value in node:
            yield from sources(value)


def test_every_data_source_is_provisioned():
    """By uid and type, on each panel, query and variable."""
    file = yaml.safe_load((PROVISIONING / "datasources/headwater.yaml").read_text())
    known = {(source["uid"], source["type"]) for source in file["datasources"]}
    for dashboard in FILES.values():
        asked = {(source["uid"], source["type"]) for source in sources(dashboard)}
        assert asked <= known
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                assert [target["datasource"] for target in panel["targets"]] == [panel["datasource"]] * len(
                    panel["targets"]
                )


def test_provisioning_fits_docker_compose():
    """Grafana mounts what the provider reads, and its environment has what the data sources name."""
    grafana = yaml.safe_load(Path("docker-compose.yml").read_text())["services"]["grafana"]
    provider = yaml.safe_load((PROVISIONING / "dashboards/headwater.yaml").read_text())["providers"][0]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    text = (PROVISIONING / "datasources/headwater.yaml").read_text()
    assert set(re.findall(r"\$(\w+)", re.sub(r"#.*", "", text))) <= grafana["environment"].keys()
    versions = {
        target["pluginVersion"]
        for dashboard in FILES.values()
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        if is_sql(target)
    }
    assert f"grafana-clickhouse-datasource@{versions.pop()}" in grafana["environment"].values()
    assert not versions


def test_prometheus_scrapes_what_docker_compose_runs():
    """Each role under its service's name, at the port it listens on there."""
    services = yaml.safe_load(Path("docker-compose.yml").read_text())["services"]
    jobs = yaml.safe_load(Path("deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    found = {job["job_name"]: job["dns_sd_configs"][0] for job in jobs if "dns_sd_configs" in job}
    ports = {"collector": 8080, "worker": 9101, "sink": 9102, "page": 8088}
    assert {name: (job["names"], job["port"]) for name, job in found.items()} == {
        f"headwater-{role}": ([role], port) for role, port in ports.items()
    }
    assert ports.keys() <= services.keys()


def test_expressions_name_metrics_that_exist():
    """Those in the code, and the standard ones."""
    known = metrics_page.names()
    histograms = {row[0] for rows in metrics_page.roles().values() for row in rows if row[1] == "histogram"}
    known |= {f"{name}_{part}" for name in histograms for part in ("bucket", "count", "sum")}
    for dashboard in FILES.values():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                expr = re.sub(r'"[^"]*"', '""', target.get("expr", ""))
                assert set(re.findall(r"\bheadwater_\w+", expr)) <= known, panel["title"]


def test_the_business_dashboard_filters_by_what_it_says():
    """Site, currency, model, channel; money is never summed without its currency, credit never without its model."""
    variables = {variable["name"]: variable for variable in FILES["business"]["templating"]["list"]}
    assert list(variables) == ["site", "currency", "model", "channel"]
    assert [option["value"] for option in variables["model"]["options"]] == list(MODELS)
    assert not variables["currency"].get("multi")
    assert not variables["model"].get("multi")
    for panel in FILES["business"]["panels"]:
        for target in panel.get("targets", ()):
            sql = target.get("rawSql", "")
            if re.search(r"\b(revenue|cost|value)\b", sql):
                assert "currency = ${currency:sqlstring}" in sql, panel["title"]
            if "FROM kpis" in sql:
                assert "model = ${model:sqlstring}" in sql or all(f"model = '{name}'" in sql for name in MODELS)
