"""Reports: figures of a period, compared with another, each by queries over the views and the attributions.

Rule: a report is data (frozen dataclasses of integers and exact decimals); how it looks is the command line's business.
Every sum in it equals the sum of the views over the same period (`periods`) and filters (`question`). Counts are counts
whatever the currency beside them; money is kept by currency and never added across currencies (`figures`).
"""

from sinks.clickhouse.reports.figures import Figures, Money
from sinks.clickhouse.reports.lag import Lag, lag
from sinks.clickhouse.reports.models import Models, models
from sinks.clickhouse.reports.paths import Paths, paths
from sinks.clickhouse.reports.periods import Asked, Span, spans
from sinks.clickhouse.reports.question import Filters, Question
from sinks.clickhouse.reports.results import Results, Row, results

__all__ = [
    "Asked",
    "Figures",
    "Filters",
    "Lag",
    "Models",
    "Money",
    "Paths",
    "Question",
    "Results",
    "Row",
    "Span",
    "lag",
    "models",
    "paths",
    "results",
    "spans",
]
