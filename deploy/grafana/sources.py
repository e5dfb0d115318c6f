"""The two data sources, and queries of them.

Rule: the uids are those of `provisioning/datasources`; dashboards name nothing else.
"""

from __future__ import annotations

from textwrap import dedent
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog import builder as cogbuilder
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="headwater-prometheus")
CLICKHOUSE: Final = DataSourceRef(type_val="grafana-clickhouse-datasource", uid="headwater-clickhouse")

PLUGIN_VERSION: Final = "4.20.0"
"""Of the ClickHouse data source whose query model this is (its src/types/sql.ts)."""
_FORMATS: Final = {"timeseries": 0, "table": 1}
"""What the plugin's backend makes of the rows."""


class Query(NamedTuple):
    """A query and whom to ask."""

    builder: cogbuilder.Builder[Any]
    source: DataSourceRef


def promql(expr: str, legend: str = "__auto") -> Query:
    """The course of an expression over the period; `legend` may name labels, ``{{topic}}``."""
    return Query(_promql(expr, legend).range(), PROMETHEUS)


def promql_now(expr: str, legend: str = "__auto", *, rows: bool = False) -> Query:
    """An expression's values at the end of the period; `rows` makes a table's rows of them, a column a label."""
    query = _promql(expr, legend).instant()
    return Query(query.format(PromQueryFormat.TABLE) if rows else query, PROMETHEUS)


def sql_rows(statement: str) -> Query:
    """A table's rows, or a stat's values, a column each."""
    return Query(_Sql(statement, "table"), CLICKHOUSE)


def sql_series(statement: str) -> Query:
    """Lines over time: a time, a name, and one number; in order of time."""
    return Query(_Sql(statement, "timeseries"), CLICKHOUSE)


def _promql(expr: str, legend: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(dedent(expr).strip()).legend_format(legend).datasource(PROMETHEUS)


class SqlQuery(variants.Dataquery):
    """A query in SQL as the ClickHouse plugin keeps it; the SDK has no model of it."""

    def __init__(self, statement: str, kind: str) -> None:
        self.statement = statement
        self.kind = kind
        self.ref_id = ""

    def to_json(self) -> dict[str, object]:
        """The query as it stands in a dashboard."""
        return {
            "datasource": CLICKHOUSE.to_json(),
            "editorType": "sql",
            "format": _FORMATS[self.kind],
            "pluginVersion": PLUGIN_VERSION,
            "queryType": self.kind,
            "rawSql": self.statement,
            "refId": self.ref_id,
        }


class _Sql(cogbuilder.Builder[SqlQuery]):
    def __init__(self, statement: str, kind: str) -> None:
        self._internal = SqlQuery(dedent(statement).strip(), kind)

    def build(self) -> SqlQuery:
        return self._internal
