"""The worker: a Faust application around the pure core, one unit a partition, one Kafka transaction a batch.

Rule: the shell holds all that is impure (Kafka, disk, clock); what a batch means is decided in `streams.core`.
"""
