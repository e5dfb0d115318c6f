"""Rows of panels, and what a viewer can choose, made into a dashboard.

Rule: panels fill rows from the left, 24 columns wide, in the order in which they are given; every panel's id is its
place, so that a link to one stays good until panels before it change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
)

from deploy.grafana.sources import CLICKHOUSE, PROMETHEUS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grafana_foundation_sdk.cog import builder as cogbuilder
    from grafana_foundation_sdk.models.common import DataSourceRef
    from grafana_foundation_sdk.models.dashboard import VariableModel

    from deploy.grafana.panels import PanelBuilder

TAG: Final = "headwater"


def choice(name: str, label: str, description: str, query: str, source: DataSourceRef) -> dashboard.QueryVariable:
    """A variable whose values `source` knows: in SQL of ClickHouse, or ``label_values`` of Prometheus."""
    asked: str | dict[str, object] = query
    if source is CLICKHOUSE:
        asked = {"refId": name, "queryType": "sql", "rawSql": query}
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(source)
        .query(asked)
        .definition(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    )


def choice_of_many(
    name: str, label: str, description: str, query: str, source: DataSourceRef
) -> dashboard.QueryVariable:
    """As `choice`; several values can be chosen, and all of them are at first."""
    everything = VariableOption(text="All", value="$__all")
    return choice(name, label, description, query, source).multi(True).include_all(True).current(everything)


class Layout(NamedTuple):
    """A titled row and what stands beneath it."""

    title: str
    panels: Sequence[PanelBuilder]


def build(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[cogbuilder.Builder[VariableModel]],
    rows: Sequence[Layout],
    *,
    since: str,
    refresh: str,
    marks: Mapping[str, str] | None = None,
) -> dashboard.Dashboard:
    """A dashboard of `rows`, showing the time from `since` to now; `marks` are annotations: name -> PromQL."""
    result = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .time(since, "now")
        .refresh(refresh)
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .version(1)
        .variables(list(variables))
        .link(
            dashboard.DashboardLink("headwater")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(False)
            .keep_time(True)
            .include_vars(False)
        )
    )
    for name, expr in (marks or {}).items():
        result = result.annotation(
            dashboard.AnnotationQuery()
            .name(name)
            .datasource(PROMETHEUS)
            .enable(True)
            .icon_color("red")
            .expr(expr)
            .step("60s")
            .title_format("{{alertname}}")
            .text_format("{{severity}} {{topic}} {{partition}} {{reason}}")
        )
    for row in rows:
        result = result.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            result = result.with_panel(panel)
    panels: list[Any] = result.build().panels or []
    for number, placed in enumerate(panels, 1):
        placed.id_val = number
    return result
