"""Reports as tables on a terminal, within its width; 100 columns where there is no terminal.

Rule: numbers stand to the right, what is no number is a dash, a change shows its sign and colour only repeats it.
Money in further currencies stands on lines of its own below, so that no currency is added to another. Where the width
does not do, the columns that matter least are left out (`frame.fit`); JSON and CSV have all.
"""

from streams.cli.report.tables.frame import WIDTH
from streams.cli.report.tables.lag import lag_tables
from streams.cli.report.tables.models import models_tables
from streams.cli.report.tables.paths import paths_tables
from streams.cli.report.tables.results import results_tables

__all__ = ["WIDTH", "lag_tables", "models_tables", "paths_tables", "results_tables"]
