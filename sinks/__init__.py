"""Where the results end: ClickHouse for analysts, Prometheus for operators.

Rule: sinks read committed output topics and may be stopped, started and repeated at will; nothing upstream waits for
them. They import `schemas` and nothing else of ours.
"""
