"""The local stack: a real Kafka node, a ClickHouse engine and headwater's roles as processes, without Docker."""
