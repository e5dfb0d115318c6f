"""Rules, their unit tests, and the runbook: each alert is in all three, and every name in an expression exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from streams.cli import metrics_page

ROOT = Path("deploy/prometheus")
RULES = [
    rule
    for file in sorted(ROOT.glob("rules/*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
CASES = [
    (file.name, case)
    for file in sorted(ROOT.glob("tests/*.yml"))
    for test in yaml.safe_load(file.read_text())["tests"]
    for case in test.get("alert_rule_test", ())
]
RUNBOOK = Path("docs/runbook.md").read_text(encoding="utf-8")


def promtool(*arguments):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: package prometheus)")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_configuration():
    """The one for docker-compose.yml; the rules are found from where it lies."""
    assert "2 rule files found" in promtool("check", "config", str(ROOT / "prometheus.yml"))


def test_the_rules_do_what_their_tests_say():
    """Each alert, firing and silent, with the words that someone is woken by."""
    files = sorted(map(str, ROOT.glob("tests/*.yml")))
    assert promtool("test", "rules", *files).count("SUCCESS") == len(files)


def test_alerts_tests_and_runbook_agree():
    """An alert that is not tried both ways, or that nobody says what to do about, is worse than none."""
    firing = {case["alertname"] for _, case in CASES if case["exp_alerts"]}
    silent = {case["alertname"] for _, case in CASES if not case["exp_alerts"]}
    paragraphs = re.findall(r"^### (\w+)\n\n(.+?)(?=\n\n|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert firing == ALERTS.keys()
    assert silent == ALERTS.keys()
    assert [name for name, _ in paragraphs] == list(dict.fromkeys(name for name, _ in paragraphs))
    assert {name for name, _ in paragraphs} == ALERTS.keys()
    assert min(len(text) for _, text in paragraphs) > 300


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(name):
    """Severity, one line, what it means with the value, and the runbook's paragraph."""
    alert = ALERTS[name]
    assert alert["labels"] == {"severity": alert["labels"]["severity"]}
    assert alert["labels"]["severity"] in {"critical", "warning"}
    notes = alert["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url"}
    assert "$labels" in notes["summary"] + notes["description"] or "$value" in notes["summary"]
    assert "\n" not in notes["summary"]
    assert notes["runbook_url"] == f"docs/runbook.md#{name.lower()}"


def test_every_name_in_an_expression_exists():
    """Metrics are those in the code, recorded names those of the rules; one mistyped would be silent for ever."""
    known = metrics_page.names() | {"up"}
    histograms = {row[0] for rows in metrics_page.roles().values() for row in rows if row[1] == "histogram"}
    known |= {f"{name}_{part}" for name in histograms for part in ("bucket", "count", "sum")}
    for rule in RULES:
        expr = re.sub(r'"[^"]*"', '""', rule["expr"])
        assert set(re.findall(r"headwater:[\w:]+", expr)) <= RECORDED.keys(), rule
        assert set(re.findall(r"\bheadwater_\w+", expr)) <= known, rule


def test_every_recorded_series_is_asked_for():
    """By an alert, a dashboard, or another rule."""
    texts = [rule["expr"] + str(rule.get("annotations", "")) for rule in RULES]
    texts += [file.read_text(encoding="utf-8") for file in Path("deploy/grafana/dashboards").glob("*.json")]
    for name in RECORDED:
        asked = re.compile(re.escape(name) + r"(?![\w:])")
        assert any(asked.search(text) for text in texts), name
