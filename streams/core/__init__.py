"""The pure core: events and a view of the state in, an outcome out.

Rule: no clock, no Kafka, no disk, no randomness. Time comes from the events (``received_at``), state through
`streams.core.view.View`, configuration through `streams.core.registry.Registry`.
"""
