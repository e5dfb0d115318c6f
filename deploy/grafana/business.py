"""The dashboard for whoever spends the money: what each channel, campaign and model is worth, and what changed.

Rule: figures are those of the views that analysts read, defined as in the reports: nothing divided by zero is a
number, and currencies are never added. Counts are of all currencies, money is of the one that is chosen.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import VariableOption

from deploy.grafana.business_sql import ASSISTS, LARGE, MODEL, OURS, STATUSES, by, models_compared, over_time, totals
from deploy.grafana.layout import Layout, build, choice, choice_of_many
from deploy.grafana.panels import Fields, bar_in_cell, change, count, lines_panel, money, share, stat_panel, table_panel
from deploy.grafana.sources import CLICKHOUSE, promql, promql_now, sql_rows, sql_series
from schemas.reasons import MODELS

UID: Final = "headwater-business"

_LOOKS: Final[Fields] = {
    "Visits": count(),
    "Conversions": {"unit": units.LocaleFormat, "decimals": 1},
    "CVR": share(),
    "Revenue": money(),
    "AOV": money(),
    "EPC": money(),
    "Cost": money(),
    "CPC": money(),
    "CPA": money(),
    "ROAS": {"unit": units.NoUnit, "decimals": 2},
    "ROI": share(0),
}


def business() -> dashboard.Dashboard:
    """The dashboard *headwater: channels and campaigns*."""
    recent = "minute >= now() - INTERVAL 60 DAY"
    ours = "model = 'last_touch' AND site IN (${site:sqlstring})"
    site = choice_of_many(
        "site",
        "Site",
        "Sites with traffic in the last 60 days.",
        f"SELECT DISTINCT site FROM traffic WHERE {recent} ORDER BY site",
        CLICKHOUSE,
    )
    currency = choice(
        "currency",
        "Currency",
        "Money is shown in one currency, the one with most revenue first; currencies are never added.",
        f"SELECT currency FROM kpis WHERE {ours} AND {recent} GROUP BY currency ORDER BY sum(revenue) DESC, currency",
        CLICKHOUSE,
    )
    model = (
        dashboard.CustomVariable("model")
        .label("Model")
        .description("How a conversion's credit is shared among the touches before it.")
        .values(",".join(MODELS))
        .current(VariableOption(selected=True, text="last_non_direct", value="last_non_direct"))
        .options([VariableOption(selected=name == "last_non_direct", text=name, value=name) for name in MODELS])
    )
    channel = choice_of_many(
        "channel",
        "Channel",
        "Channels with traffic or conversions in the last 60 days.",
        f"SELECT DISTINCT channel FROM kpis WHERE {ours} AND {recent} ORDER BY channel",
        CLICKHOUSE,
    )
    return build(
        UID,
        "headwater: channels and campaigns",
        "What each channel, campaign and variant is worth under the chosen model, and what changed against the period "
        "before, of the same length. Counts are of all currencies, money of the chosen one.",
        [site, currency, model, channel],
        [_overview(), _channels(), _campaigns(), _models(), _journeys(), _live()],
        since="now-7d",
        refresh="1m",
    )


def _overview() -> Layout:
    return Layout(
        "This period, under $model, money in $currency",
        [
            stat_panel(
                "This period",
                "Visits are clicks and landings that are valid and not internal. CVR: conversions per visit. AOV: "
                "revenue per conversion in this currency. CPA: cost per conversion. ROAS: revenue per cost. A dash: "
                "nothing to divide by.",
                [sql_rows(totals(changes=False))],
                units.LocaleFormat,
                below="text",
                names=True,
                span=24,
                fields={name: _LOOKS[name] for name in LARGE},
            ),
            stat_panel(
                "Change against the period before",
                "The same figures against the period of the same length just before: green went the right way, red the "
                "wrong way. A dash: there was nothing before.",
                [sql_rows(totals(changes=True))],
                units.PercentUnit,
                names=True,
                span=24,
                height=3,
                fields={name: change(good_is_less=name in {"Cost", "CPA"}) for name in LARGE},
            ),
            lines_panel(
                "Revenue by channel",
                "Revenue credited under the chosen model, at the time of the conversion.",
                [sql_series(over_time("revenue", where=f"{MODEL} AND {OURS}"))],
                units.LocaleFormat,
                bars=True,
                stacked=True,
                interval="1m",
                least=None,
            ),
            lines_panel(
                "Conversions by channel",
                "Conversions credited under the chosen model, at the time of the conversion; shares of one where "
                "several touches earn.",
                [sql_series(over_time("conversions", where=MODEL))],
                units.LocaleFormat,
                bars=True,
                stacked=True,
                interval="1m",
                least=None,
            ),
            lines_panel(
                "Visits by channel",
                "Clicks and landings, valid and not internal.",
                [sql_series(over_time("visits", among="traffic"))],
                units.LocaleFormat,
                bars=True,
                stacked=True,
                interval="1m",
            ),
            lines_panel(
                "Cost by channel",
                "What touches cost, and stated ad spend where there is any for the campaign and hour.",
                [sql_series(over_time("cost", among="traffic", where=OURS))],
                units.LocaleFormat,
                bars=True,
                stacked=True,
                interval="1m",
            ),
        ],
    )


def _kpi_fields() -> Fields:
    bars: Fields = {"Revenue": money() | bar_in_cell() | {"custom.width": 150}}
    changes: Fields = {f"{name} ±": change() for name in ("Conversions", "Revenue")}
    return _LOOKS | bars | changes


def _channels() -> Layout:
    return Layout(
        "Channels",
        [
            table_panel(
                "Channels",
                "All KPIs by channel under the chosen model; ± is the change against the period before.",
                [sql_rows(by("channel"))],
                units.LocaleFormat,
                fields=_kpi_fields() | {"Channel": {"custom.width": 170}},
                height=11,
            ),
        ],
    )


def _campaigns() -> Layout:
    return Layout(
        "Campaigns and variants",
        [
            table_panel(
                "Campaigns",
                "All KPIs by campaign under the chosen model, a hundred at most; an empty name is traffic without one.",
                [sql_rows(by("channel", "campaign"))],
                units.LocaleFormat,
                fields=_kpi_fields() | {"Channel": {"custom.width": 140}, "Campaign": {"custom.width": 170}},
                height=11,
            ),
            table_panel(
                "Variants",
                "All KPIs by campaign and variant (of an ad or a destination), to tell which one works.",
                [sql_rows(by("campaign", "variant"))],
                units.LocaleFormat,
                fields=_kpi_fields() | {"Campaign": {"custom.width": 170}, "Variant": {"custom.width": 140}},
                height=9,
            ),
        ],
    )


def _models() -> Layout:
    looks: Fields = {model: money() for model in MODELS}
    return Layout(
        "Models compared",
        [
            table_panel(
                "Revenue by channel, under every model",
                "The same revenue, shared out by each model: a channel that starts journeys shows under first_touch, "
                "one that ends them under last_touch. Every column has the same sum.",
                [sql_rows(models_compared("channel"))],
                units.LocaleFormat,
                fields=looks,
                span=12,
                height=11,
            ),
            table_panel(
                "Revenue by campaign, under every model",
                "As beside, for the fifty campaigns with most revenue under last_non_direct.",
                [sql_rows(models_compared("channel", "campaign", where="campaign != ''"))],
                units.LocaleFormat,
                fields=looks,
                span=12,
                height=11,
            ),
        ],
    )


def _journeys() -> Layout:
    return Layout(
        "Journeys and conversions",
        [
            table_panel(
                "Channels on the way",
                "In how many conversions of the period a channel took part with at least one candidate touch, in how "
                "many as the last or first one, and how long before the conversion its touches lie on average.",
                [sql_rows(ASSISTS)],
                units.LocaleFormat,
                span=14,
                height=10,
                fields={"Days before the conversion": {"unit": units.NoUnit, "decimals": 1}},
            ),
            table_panel(
                "Conversions by status",
                "Pending ones count; rejected, retracted and duplicate ones are worth 0, and keep what was reported. "
                "Credited again: something came late, and the credit was corrected.",
                [sql_rows(STATUSES)],
                units.LocaleFormat,
                span=10,
                height=10,
                fields={"Value": money(), "Value as reported": money()},
            ),
        ],
    )


def _live() -> Layout:
    where = 'site=~"${site:regex}", channel=~"${channel:regex}"'
    return Layout(
        "Right now, from the workers themselves (rolling windows)",
        [
            stat_panel(
                "Visits, last 5 minutes",
                "Clicks and landings by event time, up to this minute; before they are in ClickHouse.",
                [promql_now(f'sum(headwater_window_visits{{window="5m", {where}}}) or vector(0)')],
                units.LocaleFormat,
                decimals=0,
                below="text",
                span=6,
            ),
            stat_panel(
                "Visits, last hour",
                "Clicks and landings by event time, up to this minute.",
                [promql_now(f'sum(headwater_window_visits{{window="1h", {where}}}) or vector(0)')],
                units.LocaleFormat,
                decimals=0,
                below="text",
                span=6,
            ),
            stat_panel(
                "Conversions, last 24 hours",
                "Conversions credited under the chosen model, up to this minute.",
                [
                    promql_now(
                        f'sum(headwater_window_conversions{{window="24h", model="$model", {where}}}) or vector(0)',
                    )
                ],
                units.LocaleFormat,
                decimals=1,
                below="text",
                span=6,
            ),
            stat_panel(
                "Revenue, last 24 hours",
                "Revenue credited under the chosen model in the chosen currency, up to this minute.",
                [
                    promql_now(
                        "sum(headwater_window_revenue"
                        f'{{window="24h", model="$model", currency="$currency", {where}}}) or vector(0)',
                    )
                ],
                units.LocaleFormat,
                decimals=2,
                below="text",
                span=6,
            ),
            lines_panel(
                "Visits in the hour before, by channel",
                "The rolling window of one hour, as it was at each moment.",
                [promql(f'sum by (channel) (headwater_window_visits{{window="1h", {where}}})', "{{channel}}")],
                units.LocaleFormat,
                stacked=True,
            ),
            lines_panel(
                "Conversions in the 24 hours before, by channel",
                "The rolling window of a day under the chosen model, as it was at each moment.",
                [
                    promql(
                        f'sum by (channel) (headwater_window_conversions{{window="24h", model="$model", {where}}})',
                        "{{channel}}",
                    )
                ],
                units.LocaleFormat,
                stacked=True,
            ),
        ],
    )
