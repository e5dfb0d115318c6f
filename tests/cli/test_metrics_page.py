"""docs/metrics.md is what the code says."""

from __future__ import annotations

import subprocess
import sys

from streams.cli import metrics_page


def test_the_page_is_current():
    """`make dashboards` was run after the last change of a metric; in a process in which nothing has counted yet."""
    script = "import sys; from streams.cli import metrics_page; sys.stdout.write(metrics_page.render())"
    rendered = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert metrics_page.PAGE.read_text(encoding="utf-8") == rendered.stdout


def test_every_metric_is_one_of_ours_and_says_something():
    """Names begin alike, counters end in _total, and the help is a sentence."""
    for role, rows in metrics_page.roles().items():
        assert rows, role
        for name, kind, _, text in rows:
            assert name.startswith("headwater_")
            assert name.endswith("_total") == (kind == "counter")
            assert text[0].isupper() or text[0].isdigit()
            assert text.endswith(".")
