-- What reports and `headwater explain` need: every version of an attribution, the registry, and of a touch all that a
-- journey is judged by.

-- `received_at` tells how late a touch came; it is 1970 on rows that were inserted before these columns were there. From
-- `user_id` on: what the core judges a journey by, and what a person needs to recognise a touch.
ALTER TABLE touches_rows
    ADD COLUMN IF NOT EXISTS received_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)) AFTER internal,
    ADD COLUMN IF NOT EXISTS user_id String CODEC(ZSTD(1)) AFTER received_at,
    ADD COLUMN IF NOT EXISTS url String CODEC(ZSTD(1)) AFTER user_id,
    ADD COLUMN IF NOT EXISTS referrer String CODEC(ZSTD(1)) AFTER url,
    ADD COLUMN IF NOT EXISTS consent LowCardinality(String) AFTER referrer,
    ADD COLUMN IF NOT EXISTS evidence String CODEC(ZSTD(1)) AFTER consent,
    ADD COLUMN IF NOT EXISTS hw_cid String CODEC(ZSTD(1)) AFTER evidence,
    ADD COLUMN IF NOT EXISTS stated Bool AFTER hw_cid,
    ADD COLUMN IF NOT EXISTS quiet Bool AFTER stated;

-- One visitor's touches lie scattered over months; both columns are part of an identity, so FINAL stays right.
ALTER TABLE touches_rows ADD INDEX IF NOT EXISTS visitors visitor_id TYPE bloom_filter(0.01) GRANULARITY 1;

-- Of a rejected conversion the value is 0; its shares of what was reported stand here, credit by credit.
ALTER TABLE attributions_rows
    ADD COLUMN IF NOT EXISTS `credits.rejected` Array(Decimal(18, 6)) AFTER `credits.value`;

ALTER TABLE attributions_rows ADD INDEX IF NOT EXISTS orders order_id TYPE bloom_filter(0.01) GRANULARITY 1;

-- EVERY version of an attribution that the sink saw. `version` counts the records of one visitor; `ver` orders all records
-- of a conversion, those of earlier visitors too (001). The topic is compacted: a sink that starts late, or was away
-- for long, sees only the last record of a key, so earlier versions may be missing here, and their numbers with them.
CREATE TABLE IF NOT EXISTS attribution_versions
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
        value Decimal(18, 6),
        rejected Decimal(18, 6)
    ),
    ver UInt128 CODEC(ZSTD(1)),
    generation UInt16 CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (site, conversion_id, generation, visitor_id, version)
TTL toDateTime(last_changed_at, 'UTC') + INTERVAL 400 DAY;

-- Fed by the same insert, and harmless on retry, since its target replaces.
CREATE MATERIALIZED VIEW IF NOT EXISTS attribution_versions_feed TO attribution_versions AS
SELECT *, toUInt16(bitShiftRight(ver, 96)) AS generation
FROM attributions_rows;

-- What is there already: the versions in force, and earlier ones that no merge has removed yet.
INSERT INTO attribution_versions
SELECT *, toUInt16(bitShiftRight(ver, 96)) AS generation
FROM attributions_rows;

-- Where the versions of a row that was just inserted are not there yet, the row speaks for itself.
CREATE OR REPLACE VIEW conversions AS
SELECT
    site,
    conversion_id,
    t.conversion_time AS time,
    t.action AS action,
    t.order_id AS order_id,
    t.visitor_id AS visitor_id,
    t.value AS value,
    t.value_reported AS value_reported,
    t.currency AS currency,
    t.status AS status,
    if(h.versions = 0, toUInt64(t.version), h.versions) AS version,
    if(h.versions = 0, t.first_reported_at, h.first_reported_at) AS first_reported_at,
    if(h.versions = 0, t.last_changed_at, h.last_changed_at) AS last_changed_at
FROM
(
    SELECT
        site, conversion_id, conversion_time, action, order_id, visitor_id, value, value_reported, currency, status,
        version, first_reported_at, last_changed_at
    FROM attributions_rows FINAL
) AS t
LEFT JOIN
(
    SELECT
        site,
        conversion_id,
        sum(r.version) AS versions,
        min(r.first_reported_at) AS first_reported_at,
        max(r.last_changed_at) AS last_changed_at
    FROM
    (
        SELECT
            v.site AS site,
            v.conversion_id AS conversion_id,
            v.visitor_id AS visitor_id,
            toUInt64(argMax(v.version, v.ver)) AS version,
            argMax(v.first_reported_at, v.ver) AS first_reported_at,
            argMax(v.last_changed_at, v.ver) AS last_changed_at
        FROM attribution_versions AS v
        GROUP BY site, conversion_id, visitor_id
    ) AS r
    GROUP BY site, conversion_id
) AS h USING (site, conversion_id);

-- Its one row a visitor is the last of the versions now. The name becomes a view's (004).
DROP TABLE IF EXISTS attribution_history_feed;

DROP TABLE IF EXISTS attribution_history;

-- The registry as the topic `campaigns` has it, an entry a row; `entry` is the whole of it as JSON.
CREATE TABLE IF NOT EXISTS registry_rows
(
    kind LowCardinality(String),
    site String,
    campaign String,
    valid_from DateTime64(3, 'UTC'),
    currency LowCardinality(String),
    timezone LowCardinality(String),
    source LowCardinality(String),
    medium LowCardinality(String),
    channel LowCardinality(String),
    partner LowCardinality(String),
    entry String CODEC(ZSTD(1)),
    ver UInt64
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (kind, site, campaign, valid_from);

-- What is known of each conversion's events, the topic `orders`. `facts.valued`: whether an event states a value.
CREATE TABLE IF NOT EXISTS orders_rows
(
    site LowCardinality(String),
    conversion_id String CODEC(ZSTD(1)),
    action LowCardinality(String),
    order_id String CODEC(ZSTD(1)),
    facts Nested
    (
        event_id String,
        type LowCardinality(String),
        time DateTime64(3, 'UTC'),
        received_at DateTime64(3, 'UTC'),
        visitor_id String,
        user_id String,
        click_id String,
        valued Bool,
        value Decimal(18, 6),
        currency LowCardinality(String),
        status LowCardinality(String),
        adjustment LowCardinality(String)
    ),
    changed_at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    ver UInt64
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (site, conversion_id)
TTL toDateTime(changed_at, 'UTC') + INTERVAL 400 DAY;
