-- A statement of cost is about the campaign that the registry says, so that its row is known by its key alone: what a
-- statement was about before must not stay beside what it is about now.

CREATE TABLE IF NOT EXISTS spend_rows_by_statement
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
ORDER BY (site, statement)
TTL toDateTime(to_time, 'UTC') + INTERVAL 400 DAY;

INSERT INTO spend_rows_by_statement SELECT * FROM spend_rows FINAL;

EXCHANGE TABLES spend_rows_by_statement AND spend_rows;

DROP TABLE spend_rows_by_statement;

-- Stated costs by hour: an hour's share lies at its first minute that the statement covers. A statement whose channel
-- neither it nor the registry nor, by source and medium, a rule says is counted under that of most of the campaign's
-- touches (of those with its source or medium, where there are any). Its partner is the registry's, else that of most of
-- the campaign's touches of its channel. Impressions and clicks are what the statement says, and no KPI.
CREATE OR REPLACE VIEW spend AS
SELECT
    s.site AS site,
    greatest(part.1, toStartOfMinute(toDateTime(s.from_time, 'UTC'))) AS minute,
    CAST(
        multiIf(
            s.channel != '', s.channel,
            registered.2 != '', registered.2,
            way.3 != '', way.3,
            'Unassigned'
        ) AS LowCardinality(String)
    ) AS channel,
    s.campaign AS campaign,
    CAST(if(registered.3 != '', registered.3, way.4) AS LowCardinality(String)) AS partner,
    s.variant AS variant,
    s.source AS source,
    s.medium AS medium,
    s.ad_group AS ad_group,
    s.ad AS ad,
    s.currency AS currency,
    part.2 AS cost,
    part.3 AS impressions,
    part.4 AS clicks,
    s.from_time AS from_time,
    s.to_time AS to_time,
    s.time AS stated_at,
    s.event_id AS event_id
FROM
(
    SELECT
        f.site AS site, f.campaign AS campaign, f.source AS source, f.medium AS medium, f.channel AS channel,
        f.ad_group AS ad_group, f.ad AS ad, f.variant AS variant, f.currency AS currency, f.from_time AS from_time,
        f.to_time AS to_time, f.time AS time, f.event_id AS event_id,
        -- Not the clause ARRAY JOIN: two of them, one within the other, confuse the engine's names.
        arrayJoin(arrayZip(f.hours.hour, f.hours.cost, f.hours.impressions, f.hours.clicks)) AS part,
        arrayLast(entry -> entry.1 <= f.from_time, r.entries) AS registered,
        arrayFirst(
            tried -> (f.channel = '' OR tried.3 = f.channel)
                AND (f.source = '' OR lower(tried.1) = lower(f.source))
                AND (f.medium = '' OR lower(tried.2) = lower(f.medium)),
            w.ways
        ) AS fitting,
        if(fitting.3 != '' OR f.channel != '', fitting, arrayElement(w.ways, 1)) AS way
    FROM
    (
        SELECT * FROM spend_rows FINAL
    ) AS f
    LEFT JOIN
    (
        SELECT site, campaign, arrayMap(ranked -> ranked.2, arrayReverseSort(groupArray((n, (source, medium, channel, partner))))) AS ways
        FROM
        (
            SELECT site, campaign, source, medium, channel, partner, uniqCombinedMerge(12)(touches) AS n
            FROM campaign_traffic
            WHERE (site, campaign) IN (SELECT site, campaign FROM spend_rows)
            GROUP BY site, campaign, source, medium, channel, partner
        )
        GROUP BY site, campaign
    ) AS w ON w.site = f.site AND w.campaign = f.campaign
    LEFT JOIN
    (
        SELECT
            CAST(site AS LowCardinality(String)) AS site,
            CAST(campaign AS LowCardinality(String)) AS campaign,
            arraySort(groupArray((valid_from, channel, partner))) AS entries
        FROM registry_rows FINAL
        WHERE kind = 'campaign'
        GROUP BY site, campaign
    ) AS r ON r.site = f.site AND r.campaign = f.campaign
) AS s;
