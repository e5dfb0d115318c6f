"""ClickHouse: tables and views (migrations), the sink that fills them, the queries that read them.

Rule: a row is keyed by identity and versioned by topic generation and offset, so an insert may be repeated at will; the
Kafka offset is committed after the insert. Flow: `consumer` fetches, `decoders` turn records into columns in `native`
format, `writer` inserts them through `server`.
"""
