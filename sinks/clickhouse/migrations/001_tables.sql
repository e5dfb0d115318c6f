-- Tables are ours, views are the analysts' (002). Every table is a ReplacingMergeTree keyed by identity, so that a
-- record inserted twice is there once, and of two versions the later one holds. `ver` orders versions: the topic's
-- generation (sink_generations) in the high 16 bits, the offset in the low 48.

CREATE TABLE IF NOT EXISTS sink_generations
(
    topic LowCardinality(String),
    incarnation String,
    generation UInt16,
    first_seen DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
ORDER BY (topic, incarnation);

-- An event's time never changes once it is accepted, so it may stand in the key, where it serves filters by time.
CREATE TABLE IF NOT EXISTS touches_rows
(
    site LowCardinality(String),
    time DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    event_id String CODEC(ZSTD(1)),
    visitor_id String CODEC(ZSTD(1)),
    type LowCardinality(String),
    channel LowCardinality(String),
    source LowCardinality(String),
    medium LowCardinality(String),
    campaign LowCardinality(String),
    content LowCardinality(String),
    term LowCardinality(String),
    ad_group LowCardinality(String),
    ad LowCardinality(String),
    placement LowCardinality(String),
    partner LowCardinality(String),
    sub1 LowCardinality(String),
    sub2 LowCardinality(String),
    sub3 LowCardinality(String),
    sub4 LowCardinality(String),
    sub5 LowCardinality(String),
    variant LowCardinality(String),
    audience LowCardinality(String),
    country LowCardinality(String),
    device LowCardinality(String),
    click_id String CODEC(ZSTD(1)),
    cost Decimal(18, 6) CODEC(ZSTD(1)),
    currency LowCardinality(String),
    valid Bool,
    invalid_reasons Array(LowCardinality(String)),
    internal Bool,
    ver UInt64 CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(ver)
PARTITION BY toMonday(time)
PRIMARY KEY (site, time)
ORDER BY (site, time, visitor_id, event_id)
TTL toDateTime(time, 'UTC') + INTERVAL 132 DAY
SETTINGS ttl_only_drop_parts = 1;

-- ONE row a conversion: the truth. A conversion that moved to another visitor has a record for each of them; the one
-- of the highest revision holds, and of one revision the one that is not withdrawn. `ver` (128 bits) orders just so:
-- generation (16), revision (32), not withdrawn (1), offset (48). Credits are nested, so no stale one can stay behind.
-- Time is not in the key: an event that comes late may move a conversion's time.
CREATE TABLE IF NOT EXISTS attributions_rows
(
    site LowCardinality(String),
    conversion_id String CODEC(ZSTD(1)),
    conversion_time DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    action LowCardinality(String),
    order_id String CODEC(ZSTD(1)),
    visitor_id String CODEC(ZSTD(1)),
    status LowCardinality(String),
    counted Bool,
    withdrawn Bool,
    cause LowCardinality(String),
    currency LowCardinality(String),
    value Decimal(18, 6) CODEC(ZSTD(1)),
    value_reported Decimal(18, 6) CODEC(ZSTD(1)),
    revision UInt32,
    version UInt32,
    first_reported_at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    last_changed_at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    touches Nested
    (
        touch_id String,
        type LowCardinality(String),
        time DateTime64(3, 'UTC'),
        channel LowCardinality(String),
        source LowCardinality(String),
        medium LowCardinality(String),
        campaign LowCardinality(String),
        content LowCardinality(String),
        term LowCardinality(String),
        ad_group LowCardinality(String),
        ad LowCardinality(String),
        partner LowCardinality(String),
        variant LowCardinality(String),
        audience LowCardinality(String)
    ),
    credits Nested
    (
        model LowCardinality(String),
        position UInt16,
        weight Decimal(18, 6),
        value Decimal(18, 6)
    ),
    ver UInt128 CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (site, conversion_id)
TTL toDateTime(last_changed_at, 'UTC') + INTERVAL 400 DAY;

-- What each visitor's record of a conversion adds to its history: `version` of the view is their sum.
CREATE TABLE IF NOT EXISTS attribution_history
(
    site LowCardinality(String),
    conversion_id String CODEC(ZSTD(1)),
    visitor_id String CODEC(ZSTD(1)),
    version UInt32,
    first_reported_at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    last_changed_at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    ver UInt64 CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (site, conversion_id, visitor_id)
TTL toDateTime(last_changed_at, 'UTC') + INTERVAL 400 DAY;

-- Fed by the same insert, and harmless on retry, since its target replaces.
CREATE MATERIALIZED VIEW IF NOT EXISTS attribution_history_feed TO attribution_history AS
SELECT
    site,
    conversion_id,
    visitor_id,
    version,
    first_reported_at,
    last_changed_at,
    toUInt64(bitOr(bitShiftLeft(bitShiftRight(ver, 96), 48), bitAnd(ver, toUInt128(281474976710655)))) AS ver
FROM attributions_rows;

-- Absolute totals of ONE partition; the views sum over partitions. Nested, as the credits are.
CREATE TABLE IF NOT EXISTS panes_rows
(
    site LowCardinality(String),
    minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    channel LowCardinality(String),
    campaign LowCardinality(String),
    partner LowCardinality(String),
    variant LowCardinality(String),
    audience LowCardinality(String),
    currency LowCardinality(String),
    partition UInt16,
    impressions Int64 CODEC(ZSTD(1)),
    clicks Int64 CODEC(ZSTD(1)),
    landings Int64 CODEC(ZSTD(1)),
    invalid Int64 CODEC(ZSTD(1)),
    cost Decimal(18, 6) CODEC(ZSTD(1)),
    models Nested
    (
        model LowCardinality(String),
        conversions Decimal(18, 6),
        revenue Decimal(18, 6),
        conversions_pending Decimal(18, 6),
        revenue_pending Decimal(18, 6),
        conversions_rejected Decimal(18, 6),
        revenue_rejected Decimal(18, 6)
    ),
    ver UInt64 CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(ver)
PARTITION BY toYYYYMM(minute)
PRIMARY KEY (site, minute)
ORDER BY (site, minute, channel, campaign, partner, variant, audience, currency, partition)
TTL minute + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1;

-- Accepted statements of cost, by the record's key; hours say how one is spread.
CREATE TABLE IF NOT EXISTS spend_rows
(
    site LowCardinality(String),
    campaign LowCardinality(String),
    statement String CODEC(ZSTD(1)),
    source LowCardinality(String),
    medium LowCardinality(String),
    channel LowCardinality(String),
    ad_group LowCardinality(String),
    ad LowCardinality(String),
    variant LowCardinality(String),
    from_time DateTime64(3, 'UTC'),
    to_time DateTime64(3, 'UTC'),
    currency LowCardinality(String),
    cost Decimal(18, 6),
    impressions Int64,
    clicks Int64,
    time DateTime64(3, 'UTC'),
    event_id String,
    hours Nested
    (
        hour DateTime('UTC'),
        cost Decimal(18, 6),
        impressions Int64,
        clicks Int64
    ),
    ver UInt64
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (site, campaign, statement)
TTL toDateTime(to_time, 'UTC') + INTERVAL 400 DAY;

CREATE TABLE IF NOT EXISTS dead_letters_rows
(
    time DateTime64(3, 'UTC'),
    reason LowCardinality(String),
    detail String CODEC(ZSTD(1)),
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    payload String CODEC(ZSTD(1)),
    letter_partition UInt16,
    ver UInt64
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(time)
ORDER BY (time, letter_partition, ver)
TTL toDateTime(time, 'UTC') + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1;

-- Output records that the sink could not read: kept with their bytes, so that nothing is lost when a decoder is mended.
CREATE TABLE IF NOT EXISTS sink_rejects
(
    time DateTime64(3, 'UTC'),
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    error String CODEC(ZSTD(1)),
    key String CODEC(ZSTD(1)),
    value String CODEC(ZSTD(1)),
    ver UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, ver);
