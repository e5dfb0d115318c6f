"""How panels look: one function a kind, so that all dashboards look alike.

Rule: every panel has a title, a description of what it says and what is normal, and a unit. Colours mean something:
green is well, orange wants a look, red wants someone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from grafana_foundation_sdk.builders import common, dashboard, stat, table, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grafana_foundation_sdk.cog import builder as cogbuilder
    from grafana_foundation_sdk.models.dashboard import Panel

    from deploy.grafana.sources import Query

    PanelBuilder = cogbuilder.Builder[Panel]

GREEN, ORANGE, RED, BLUE, GREY = "green", "orange", "red", "blue", "text"
Steps = tuple[tuple[float, str], ...]
"""(from this value on, colour); below the first the colour is green."""
NOTHING: Final = "-"
"""What stands where there is no number, a quotient of zero."""
Fields = dict[str, dict[str, Any]]
"""Field's name, or a regular expression between slashes -> property -> value."""


def stat_panel(  # noqa: PLR0913  # a panel has many sides
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    *,
    steps: Steps = (),
    below: str = GREEN,
    span: int = 3,
    height: int = 4,
    decimals: float | None = None,
    graph: bool = False,
    names: bool = False,
    fields: Fields | None = None,
) -> PanelBuilder:
    """Large values. `names` shows each field's name above it, side by side; `graph` a line of the past behind it."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .no_value(NOTHING)
        .span(span)
        .height(height)
        .thresholds(_thresholds(steps, below))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA if graph else BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.VALUE_AND_NAME if names else BigValueTextMode.VALUE)
        .orientation(VizOrientation.VERTICAL if names else VizOrientation.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .wide_layout(False)
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    return _ask(_override(panel, fields), queries)


def lines_panel(  # noqa: PLR0913  # a panel has many sides
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    *,
    stacked: bool = False,
    bars: bool = False,
    span: int = 12,
    height: int = 8,
    interval: str = "",
    steps: Steps = (),
    fields: Fields | None = None,
    least: float | None = 0,
) -> PanelBuilder:
    """Lines, areas or bars over time, with a table of latest and highest values beneath."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .span(span)
        .height(height)
        .draw_style(GraphDrawStyle.BARS if bars else GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(70 if bars else 25 if stacked else 8)
        .show_points(VisibilityMode.NEVER)
        .stacking(common.StackingConfig().mode(StackingMode.NORMAL if stacked else StackingMode.NONE).group("A"))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
    )
    if least is not None:
        panel = panel.min(least)
    if steps:
        style = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_thresholds(steps, "transparent")).thresholds_style(style)
    if interval:
        panel = panel.interval(interval)
    return _ask(_override(panel, fields), queries)


def table_panel(  # noqa: PLR0913  # a panel has many sides
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    *,
    fields: Fields | None = None,
    transformations: Sequence[DataTransformerConfig] = (),
    span: int = 24,
    height: int = 9,
    sort: tuple[str, bool] | None = None,
    decimals: float | None = None,
) -> PanelBuilder:
    """Rows; `sort` is a column and whether descending. `unit` is that of the columns that `fields` says nothing of."""
    panel = table.Panel().title(title).description(description).unit(unit).span(span).height(height).show_header(True)
    panel = panel.filterable(True).no_value(NOTHING)
    if decimals is not None:
        panel = panel.decimals(decimals)
    if sort is not None:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort[0]).desc(sort[1])])
    for transformation in transformations:
        panel = panel.with_transformation(transformation)
    return _ask(_override(panel, fields), queries)


def change(*, good_is_less: bool = False) -> dict[str, Any]:
    """A field that is a change against the period before: coloured by whether it went the right way."""
    down, up = (GREEN, RED) if good_is_less else (RED, GREEN)
    steps = [Threshold(value=None, color=down), Threshold(value=-0.001, color=GREY), Threshold(value=0.001, color=up)]
    return {
        "unit": "percentunit",
        "decimals": 0,
        "thresholds": {"mode": "absolute", "steps": [step.to_json() for step in steps]},
        "color": {"mode": "thresholds"},
        "custom.cellOptions": {"type": "color-text"},
    }


def money() -> dict[str, Any]:
    """A field in the chosen currency; Grafana's own currency units cannot follow a variable."""
    return {"unit": "locale", "decimals": 2}


def count() -> dict[str, Any]:
    """A field that counts; credited conversions have fractions."""
    return {"unit": "locale", "decimals": 0}


def share(decimals: int = 2) -> dict[str, Any]:
    """A field that is a part of 1."""
    return {"unit": "percentunit", "decimals": decimals}


def bar_in_cell() -> dict[str, Any]:
    """A column whose numbers bear a bar."""
    return {"custom.cellOptions": {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}}


def dashed() -> dict[str, Any]:
    """A line that only says what to compare with."""
    return {"custom.lineStyle": {"fill": "dash", "dash": [6, 6]}, "custom.fillOpacity": 0}


def coloured(*steps: tuple[float, str]) -> dict[str, Any]:
    """A column whose numbers are green, or of the colour of the highest step that they reach."""
    levels = [Threshold(value=None, color=GREEN), *(Threshold(value=value, color=color) for value, color in steps)]
    return {
        "thresholds": {"mode": "absolute", "steps": [level.to_json() for level in levels]},
        "color": {"mode": "thresholds"},
        "custom.cellOptions": {"type": "color-text"},
    }


def merged(
    rename: Mapping[str, str], hidden: Sequence[str] = ("Time",), numbers: Sequence[str] = ()
) -> list[DataTransformerConfig]:
    """Rows of several queries with the same labels made one; columns renamed, in this order, `hidden` ones left out.

    `numbers` are labels that sort as numbers.
    """
    order = {name: index for index, name in enumerate(rename)}
    conversions = [{"targetField": name, "destinationType": "number"} for name in numbers]
    return [
        DataTransformerConfig(id_val="merge", options={}),
        DataTransformerConfig(id_val="convertFieldType", options={"conversions": conversions, "fields": {}}),
        DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": dict.fromkeys(hidden, True),
                "indexByName": order,
                "renameByName": dict(rename),
            },
        ),
    ]


def _thresholds(steps: Steps, below: str) -> dashboard.ThresholdsConfig:
    found = [Threshold(value=None, color=below), *(Threshold(value=value, color=color) for value, color in steps)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def _override(panel: Any, fields: Fields | None) -> Any:
    for matcher, properties in (fields or {}).items():
        values = [DynamicConfigValue(id_val=name, value=value) for name, value in properties.items()]
        override = panel.override_by_regexp if matcher.startswith("/") else panel.override_by_name
        panel = override(matcher, values)
    return panel


def _ask(panel: Any, queries: Sequence[Query]) -> PanelBuilder:
    """Give `panel` its queries, named A, B, C..., and the data source that all of them share."""
    for name, query in zip("ABCDEFGHIJ", queries, strict=False):
        query.builder.build().ref_id = name
        panel = panel.with_target(query.builder)
    result: PanelBuilder = panel.datasource(queries[0].source)
    return result
