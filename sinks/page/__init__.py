"""The live page: results and the health of tracking, in a browser, while events flow.

Flow: viewers' questions -> `feed` (one cycle for all) -> `answers` (queries over the views, through `source`) and
`roles` (the processes' metrics, judged by `health`) -> server-sent events -> the modules in ``static``.
"""

from __future__ import annotations

from sinks.page.metrics import PageMetrics
from sinks.page.server import PageServer

__all__ = ["PageMetrics", "PageServer"]
