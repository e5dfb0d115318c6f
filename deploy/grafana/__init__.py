"""Grafana: dashboards as code, and the files by which Grafana finds them (`provisioning`).

Rule: the JSON below `dashboards` is generated (`make dashboards`) and never edited; a test compares.
"""

import warnings

# The SDK warns, once and when it is imported, that it prefers its second schema; files are read in the classic one.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import grafana_foundation_sdk.builders.dashboard
    import grafana_foundation_sdk.builders.prometheus
    import grafana_foundation_sdk.models.dashboard  # noqa: F401
