"""Prometheus: configuration, recording and alerting rules, and their tests (promtool)."""
