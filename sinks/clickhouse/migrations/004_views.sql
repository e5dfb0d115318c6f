-- What analysts read besides 002: how an attribution changed, stated costs, and the same KPIs at the credited touch's time.
-- `traffic` and `kpis` are made anew: where a cost statement covers a campaign, its cost stands in the place of what the
-- campaign's touches stated themselves.

-- Which channels a campaign's touches came by. A state of distinct touches, so that a repeated insert adds nothing.
CREATE TABLE IF NOT EXISTS campaign_traffic
(
    site LowCardinality(String),
    campaign LowCardinality(String),
    source LowCardinality(String),
    medium LowCardinality(String),
    channel LowCardinality(String),
    partner LowCardinality(String),
    touches AggregateFunction(uniqCombined(12), String, String)
)
ENGINE = AggregatingMergeTree
ORDER BY (site, campaign, source, medium, channel, partner);

CREATE MATERIALIZED VIEW IF NOT EXISTS campaign_traffic_feed TO campaign_traffic AS
SELECT site, campaign, source, medium, channel, partner, uniqCombinedState(12)(visitor_id, event_id) AS touches
FROM touches_rows
WHERE campaign != ''
GROUP BY site, campaign, source, medium, channel, partner;

INSERT INTO campaign_traffic
SELECT site, campaign, source, medium, channel, partner, uniqCombinedState(12)(visitor_id, event_id) AS touches
FROM touches_rows
WHERE campaign != ''
GROUP BY site, campaign, source, medium, channel, partner;

-- The models that have ever earned credit, besides the six that are always there.
CREATE TABLE IF NOT EXISTS kpi_models
(
    model LowCardinality(String)
)
ENGINE = ReplacingMergeTree
ORDER BY model;

CREATE MATERIALIZED VIEW IF NOT EXISTS kpi_models_feed TO kpi_models AS
SELECT DISTINCT arrayJoin(models.model) AS model
FROM panes_rows;

INSERT INTO kpi_models
SELECT DISTINCT arrayJoin(models.model) AS model
FROM panes_rows;

-- The registry's sites as they are in force now.
CREATE OR REPLACE VIEW sites AS
SELECT site, argMax(r.currency, r.valid_from) AS currency, argMax(r.timezone, r.valid_from) AS timezone
FROM registry_rows AS r FINAL
WHERE kind = 'site' AND valid_from <= now64(3)
GROUP BY site;

-- The events that tell of conversions, one a row: '' and null where one states nothing.
CREATE OR REPLACE VIEW facts AS
SELECT
    site,
    conversion_id,
    action,
    order_id,
    fact_event_id AS event_id,
    fact_type AS type,
    fact_time AS time,
    fact_received_at AS received_at,
    fact_visitor_id AS visitor_id,
    fact_user_id AS user_id,
    fact_click_id AS click_id,
    if(fact_valued, fact_value, NULL) AS value,
    fact_currency AS currency,
    fact_status AS status,
    fact_adjustment AS adjustment
FROM
(
    SELECT * FROM orders_rows FINAL
)
ARRAY JOIN
    facts.event_id AS fact_event_id,
    facts.type AS fact_type,
    facts.time AS fact_time,
    facts.received_at AS fact_received_at,
    facts.visitor_id AS fact_visitor_id,
    facts.user_id AS fact_user_id,
    facts.click_id AS fact_click_id,
    facts.valued AS fact_valued,
    facts.value AS fact_value,
    facts.currency AS fact_currency,
    facts.status AS fact_status,
    facts.adjustment AS fact_adjustment;

-- Stated costs by hour: an hour's share lies at its first minute that the statement covers. A statement without channel is
-- counted under the campaign's channel in the registry, else under that of most of the campaign's touches (of those with
-- its source and medium, where there are any). Impressions and clicks are what the statement says, and no KPI.
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
            tried -> (f.source = '' OR lower(tried.1) = lower(f.source))
                AND (f.medium = '' OR lower(tried.2) = lower(f.medium)),
            w.ways
        ) AS fitting,
        if(fitting.3 != '', fitting, arrayElement(w.ways, 1)) AS way
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
            WHERE (site, campaign) IN (SELECT site, campaign FROM spend_rows WHERE channel = '')
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

-- The spans of minutes that statements cover, by campaign, those that meet made one.
CREATE OR REPLACE VIEW spend_spans AS
SELECT
    site,
    campaign,
    arrayFold(
        (joined, span) -> if(
            empty(joined) OR joined[-1].2 < span.1,
            arrayPushBack(joined, span),
            arrayPushBack(arrayPopBack(joined), (joined[-1].1, greatest(joined[-1].2, span.2)))
        ),
        arraySort(groupUniqArray((toStartOfMinute(toDateTime(from_time, 'UTC')), toStartOfMinute(toDateTime(to_time + INTERVAL 59999 MILLISECOND, 'UTC'))))),
        CAST([] AS Array(Tuple(DateTime('UTC'), DateTime('UTC'))))
    ) AS spans
FROM spend_rows FINAL
GROUP BY site, campaign;

-- A pane's traffic with the cost that counts, and stated costs beside it; not yet summed over partitions.
CREATE OR REPLACE VIEW traffic_parts AS
SELECT
    p.site AS site, p.minute AS minute, p.channel AS channel, p.campaign AS campaign, p.partner AS partner,
    p.variant AS variant, p.audience AS audience, p.currency AS currency,
    p.impressions AS impressions,
    p.clicks AS clicks,
    p.landings AS landings,
    if(p.cost != 0 AND arrayExists(span -> span.1 <= p.minute AND p.minute < span.2, c.spans), toDecimal64(0, 6), p.cost) AS cost,
    p.invalid AS invalid
FROM
(
    SELECT
        site, minute, channel, campaign, partner, variant, audience, currency, impressions, clicks, landings, cost, invalid
    FROM panes_rows FINAL
) AS p
LEFT JOIN spend_spans AS c ON c.site = p.site AND c.campaign = p.campaign
UNION ALL
SELECT
    site, minute, channel, campaign, partner, variant, CAST('' AS LowCardinality(String)) AS audience, currency,
    toInt64(0) AS impressions, toInt64(0) AS clicks, toInt64(0) AS landings, cost, toInt64(0) AS invalid
FROM spend;

CREATE OR REPLACE VIEW traffic AS
SELECT
    site, minute, channel, campaign, partner, variant, audience, currency,
    sum(t.impressions) AS impressions,
    sum(t.clicks) AS clicks,
    sum(t.landings) AS landings,
    sum(t.clicks + t.landings) AS visits,
    toDecimal64(sum(t.cost), 6) AS cost,
    sum(t.invalid) AS invalid
FROM traffic_parts AS t
GROUP BY site, minute, channel, campaign, partner, variant, audience, currency
HAVING impressions != 0 OR clicks != 0 OR landings != 0 OR cost != 0 OR invalid != 0;

-- Traffic is repeated for each model, so ask for one. A filter on the model reaches below both ARRAY JOINs.
CREATE OR REPLACE VIEW kpis AS
SELECT
    site, minute, channel, campaign, partner, variant, audience, currency,
    model,
    sum(k.impressions) AS impressions,
    sum(k.clicks) AS clicks,
    sum(k.landings) AS landings,
    sum(k.clicks + k.landings) AS visits,
    toDecimal64(sum(k.cost), 6) AS cost,
    sum(k.invalid) AS invalid,
    toDecimal64(sum(k.conversions), 6) AS conversions,
    toDecimal64(sum(k.revenue), 6) AS revenue,
    toDecimal64(sum(k.conversions_pending), 6) AS conversions_pending,
    toDecimal64(sum(k.revenue_pending), 6) AS revenue_pending,
    toDecimal64(sum(k.conversions_rejected), 6) AS conversions_rejected,
    toDecimal64(sum(k.revenue_rejected), 6) AS revenue_rejected
FROM
(
    SELECT
        site, minute, channel, campaign, partner, variant, audience, currency, model,
        impressions, clicks, landings, cost, invalid,
        toDecimal64(0, 6) AS conversions, toDecimal64(0, 6) AS revenue,
        toDecimal64(0, 6) AS conversions_pending, toDecimal64(0, 6) AS revenue_pending,
        toDecimal64(0, 6) AS conversions_rejected, toDecimal64(0, 6) AS revenue_rejected
    FROM traffic_parts
    ARRAY JOIN
        (
            SELECT arrayUnion(
                ['last_touch', 'last_non_direct', 'first_touch', 'linear', 'time_decay', 'position_based'],
                groupUniqArray(CAST(model, 'String'))
            )
            FROM kpi_models
        ) AS model
    WHERE impressions != 0 OR clicks != 0 OR landings != 0 OR cost != 0 OR invalid != 0
    UNION ALL
    SELECT
        site, minute, channel, campaign, partner, variant, audience, currency, CAST(credit_model, 'String') AS model,
        toInt64(0), toInt64(0), toInt64(0), toDecimal64(0, 6), toInt64(0),
        credit_conversions, credit_revenue, credit_conversions_pending, credit_revenue_pending,
        credit_conversions_rejected, credit_revenue_rejected
    FROM panes_rows FINAL
    ARRAY JOIN
        models.model AS credit_model,
        models.conversions AS credit_conversions,
        models.revenue AS credit_revenue,
        models.conversions_pending AS credit_conversions_pending,
        models.revenue_pending AS credit_revenue_pending,
        models.conversions_rejected AS credit_conversions_rejected,
        models.revenue_rejected AS credit_revenue_rejected
) AS k
GROUP BY site, minute, channel, campaign, partner, variant, audience, currency, model
HAVING impressions != 0 OR clicks != 0 OR landings != 0 OR cost != 0 OR invalid != 0
    OR conversions != 0 OR revenue != 0 OR conversions_pending != 0 OR revenue_pending != 0
    OR conversions_rejected != 0 OR revenue_rejected != 0;

-- As `kpis`, a conversion's credits lying at the minute of the touch that earned them: what became of the traffic of a
-- period, whenever that was. A credit without a touch lies at its conversion's minute.
CREATE OR REPLACE VIEW kpis_by_touch_time AS
SELECT
    site, minute, channel, campaign, partner, variant, audience, currency,
    model,
    sum(k.impressions) AS impressions,
    sum(k.clicks) AS clicks,
    sum(k.landings) AS landings,
    sum(k.clicks + k.landings) AS visits,
    toDecimal64(sum(k.cost), 6) AS cost,
    sum(k.invalid) AS invalid,
    toDecimal64(sum(k.conversions), 6) AS conversions,
    toDecimal64(sum(k.revenue), 6) AS revenue,
    toDecimal64(sum(k.conversions_pending), 6) AS conversions_pending,
    toDecimal64(sum(k.revenue_pending), 6) AS revenue_pending,
    toDecimal64(sum(k.conversions_rejected), 6) AS conversions_rejected,
    toDecimal64(sum(k.revenue_rejected), 6) AS revenue_rejected
FROM
(
    SELECT
        site, minute, channel, campaign, partner, variant, audience, currency, model,
        impressions, clicks, landings, cost, invalid,
        toDecimal64(0, 6) AS conversions, toDecimal64(0, 6) AS revenue,
        toDecimal64(0, 6) AS conversions_pending, toDecimal64(0, 6) AS revenue_pending,
        toDecimal64(0, 6) AS conversions_rejected, toDecimal64(0, 6) AS revenue_rejected
    FROM traffic_parts
    ARRAY JOIN
        (
            SELECT arrayUnion(
                ['last_touch', 'last_non_direct', 'first_touch', 'linear', 'time_decay', 'position_based'],
                groupUniqArray(CAST(model, 'String'))
            )
            FROM kpi_models
        ) AS model
    WHERE impressions != 0 OR clicks != 0 OR landings != 0 OR cost != 0 OR invalid != 0
    UNION ALL
    SELECT
        site,
        toStartOfMinute(toDateTime(touches.time[credit_position], 'UTC')) AS minute,
        CAST(touches.channel[credit_position] AS LowCardinality(String)) AS channel,
        CAST(touches.campaign[credit_position] AS LowCardinality(String)) AS campaign,
        CAST(touches.partner[credit_position] AS LowCardinality(String)) AS partner,
        CAST(touches.variant[credit_position] AS LowCardinality(String)) AS variant,
        CAST(touches.audience[credit_position] AS LowCardinality(String)) AS audience,
        currency,
        CAST(credit_model, 'String') AS model,
        toInt64(0), toInt64(0), toInt64(0), toDecimal64(0, 6), toInt64(0),
        if(counted, credit_weight, toDecimal64(0, 6)),
        if(counted, credit_value, toDecimal64(0, 6)),
        if(status = 'pending', credit_weight, toDecimal64(0, 6)),
        if(status = 'pending', credit_value, toDecimal64(0, 6)),
        if(status = 'rejected', credit_weight, toDecimal64(0, 6)),
        if(status = 'rejected', credit_rejected, toDecimal64(0, 6))
    FROM
    (
        SELECT * EXCEPT (value) FROM attributions_rows FINAL
    )
    ARRAY JOIN
        credits.model AS credit_model,
        credits.position AS credit_position,
        credits.weight AS credit_weight,
        credits.value AS credit_value,
        credits.rejected AS credit_rejected
    WHERE NOT withdrawn AND (counted OR status = 'rejected')
) AS k
GROUP BY site, minute, channel, campaign, partner, variant, audience, currency, model
HAVING impressions != 0 OR clicks != 0 OR landings != 0 OR cost != 0 OR invalid != 0
    OR conversions != 0 OR revenue != 0 OR conversions_pending != 0 OR revenue_pending != 0
    OR conversions_rejected != 0 OR revenue_rejected != 0;

-- Every version of a conversion's attribution, one after the other; `version` counts as in `conversions`. `changed` names
-- what differs from the row before: visitor, time, status, value, currency, touches, credits. `unseen`: how many versions
-- before this one the sink did not see (the topic keeps only the last of a key, see 003).
CREATE OR REPLACE VIEW attribution_history AS
SELECT
    site,
    conversion_id,
    action,
    order_id,
    sum(step) OVER one_life AS version,
    cause,
    reported_at,
    visitor_id,
    withdrawn,
    conversion_time,
    status,
    value,
    value_reported,
    currency,
    touches,
    if(
        number = 1,
        CAST([] AS Array(String)),
        arrayFilter(
            name -> name != '',
            [
                if(visitor_id != before.1 OR withdrawn, 'visitor', ''),
                if(conversion_time != before.2, 'time', ''),
                if(status != before.3, 'status', ''),
                if((value, value_reported) != (before.4, before.5), 'value', ''),
                if(currency != before.6, 'currency', ''),
                if(touches_hash != before.7, 'touches', ''),
                if(credits_hash != before.8, 'credits', '')
            ]
        )
    ) AS changed,
    step - 1 AS unseen
FROM
(
    SELECT
        *,
        toInt64(own_version) - lagInFrame(toInt64(own_version), 1, toInt64(0)) OVER (
            PARTITION BY site, conversion_id, generation, visitor_id ORDER BY ver
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS step,
        row_number() OVER (PARTITION BY site, conversion_id ORDER BY ver) AS number,
        lagInFrame((visitor_id, conversion_time, status, value, value_reported, currency, touches_hash, credits_hash)) OVER (
            PARTITION BY site, conversion_id ORDER BY ver ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS before
    FROM
    (
        SELECT
            site, conversion_id, action, order_id, generation, ver,
            v.version AS own_version,
            v.last_changed_at AS reported_at,
            cause, visitor_id, withdrawn, conversion_time, status, value, value_reported, currency,
            countEqual(arrayMap(id -> id != '', v.touches.touch_id), true) AS touches,
            cityHash64(v.touches.touch_id, v.touches.channel, v.touches.campaign) AS touches_hash,
            cityHash64(
                v.credits.model, arrayMap(place -> v.touches.touch_id[place], v.credits.position), v.credits.weight
            ) AS credits_hash
        FROM attribution_versions AS v FINAL
    )
)
WINDOW one_life AS (PARTITION BY site, conversion_id, generation ORDER BY ver ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);

-- As `conversions`, each as it stood in the first version that is known; `known`: whether that was the first there was.
CREATE OR REPLACE VIEW conversions_as_first_reported AS
SELECT
    site,
    conversion_id,
    first.1 AS time,
    first.2 AS action,
    first.3 AS order_id,
    first.4 AS visitor_id,
    first.5 AS value,
    first.6 AS value_reported,
    first.7 AS currency,
    first.8 AS status,
    first.9 AS reported_at,
    first.10 = 1 AS known
FROM
(
    SELECT
        site,
        conversion_id,
        argMin(
            (
                v.conversion_time, v.action, v.order_id, v.visitor_id, v.value, v.value_reported, v.currency, v.status,
                v.last_changed_at, v.version
            ),
            v.ver
        ) AS first
    FROM attribution_versions AS v
    GROUP BY site, conversion_id
);

-- As `credits`, of the first version that is known.
CREATE OR REPLACE VIEW credits_as_first_reported AS
SELECT
    site,
    conversion_id,
    conversion_time,
    action,
    order_id,
    visitor_id,
    status,
    credit_model AS model,
    credit_position AS position,
    touches.touch_id[credit_position] AS touch_id,
    touches.type[credit_position] AS touch_type,
    touches.time[credit_position] AS touch_time,
    touches.channel[credit_position] AS channel,
    touches.source[credit_position] AS source,
    touches.medium[credit_position] AS medium,
    touches.campaign[credit_position] AS campaign,
    touches.content[credit_position] AS content,
    touches.term[credit_position] AS term,
    touches.ad_group[credit_position] AS ad_group,
    touches.ad[credit_position] AS ad,
    touches.partner[credit_position] AS partner,
    touches.variant[credit_position] AS variant,
    touches.audience[credit_position] AS audience,
    credit_weight AS weight,
    if(counted, credit_weight, toDecimal64(0, 6)) AS conversions,
    credit_value AS value,
    currency
FROM
(
    SELECT * EXCEPT (value)
    FROM attribution_versions FINAL
    WHERE (site, conversion_id, ver) IN
    (
        SELECT site, conversion_id, min(ver) FROM attribution_versions GROUP BY site, conversion_id
    )
)
ARRAY JOIN
    credits.model AS credit_model,
    credits.position AS credit_position,
    credits.weight AS credit_weight,
    credits.value AS credit_value;

-- Conversions that were attributed more than once: as first reported, as now known, and why.
CREATE OR REPLACE VIEW conversion_changes AS
SELECT
    site,
    conversion_id,
    n.action AS action,
    n.order_id AS order_id,
    f.time AS first_time,
    n.time AS time,
    f.visitor_id AS first_visitor_id,
    n.visitor_id AS visitor_id,
    f.status AS first_status,
    n.status AS status,
    f.value AS first_value,
    n.value AS value,
    f.currency AS first_currency,
    n.currency AS currency,
    n.version AS versions,
    h.causes AS causes,
    n.first_reported_at AS first_reported_at,
    n.last_changed_at AS last_changed_at,
    f.known AS known
FROM conversions AS n
INNER JOIN conversions_as_first_reported AS f USING (site, conversion_id)
INNER JOIN
(
    SELECT site, conversion_id, arrayMap(pair -> pair.2, arraySort(groupArray((ver, toString(cause))))) AS causes
    FROM attribution_versions FINAL
    GROUP BY site, conversion_id
) AS h USING (site, conversion_id)
WHERE n.version > 1;
