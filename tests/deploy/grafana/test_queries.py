"""What the tests do in Grafana's stead is what Grafana and the plugin do."""

from __future__ import annotations

import pytest

from tests.deploy.grafana.queries import Period, interpolate, promql, sql

PERIOD = Period(1415792726, 1447328726, interval_s=20)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("$__timeFilter(time)", "time >= toDateTime(1415792726) AND time <= toDateTime(1447328726)"),
        ("$__fromTime, $__toTime", "toDateTime(1415792726), toDateTime(1447328726)"),
        ("$__timeInterval(c) AS t", "toStartOfInterval(toDateTime(c), INTERVAL 20 second) AS t"),
        ("INTERVAL $__interval_s second", "INTERVAL 20 second"),
    ],
)
def test_macros_are_the_plugin_s(written, sent):
    """The examples of its documentation."""
    assert sql(written, PERIOD) == sent


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("model = ${model:sqlstring}", "model = 'it''s'"),
        ("site IN (${site:sqlstring})", "site IN ('a','b.c')"),
        ('{site=~"${site:regex}", m="$model"}', '{site=~"(a|b\\\\.c)", m="it\'s"}'),
        ("$__conditionalAll(site IN (${site:sqlstring}), $site) AND $__timeFilter(t)", "1=1 AND $__timeFilter(t)"),
        ("$__conditionalAll(f(x, (y)), $model)", "f(x, (y))"),
    ],
)
def test_variables_are_quoted_as_asked(written, sent):
    """A single value, several, and all of them."""
    values = {"model": "it's", "site": ["a", "b.c"]}
    assert interpolate(written, values, frozenset({"site"})) == sent


def test_nothing_unknown_is_passed_on():
    """A macro or a variable that Grafana does not know would reach the server as it is written."""
    with pytest.raises(KeyError):
        sql("$__timeFliter(time)", PERIOD)
    with pytest.raises(KeyError):
        interpolate("$sight", {"site": "a"})
    assert promql("rate(x[$__rate_interval]) + y[$__range]", PERIOD) == "rate(x[60s]) + y[31536000s]"
