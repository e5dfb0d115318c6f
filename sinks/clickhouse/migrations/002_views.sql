-- What analysts read (names and columns are promises). FINAL stands inside, so each is right at every moment; measured
-- on a million rows it costs less than argMax, and filters by site and time reach the primary key through it.

CREATE OR REPLACE VIEW touches AS
SELECT
    site, time, event_id, visitor_id, type, channel, source, medium, campaign, content, term, ad_group, ad, placement,
    partner, sub1, sub2, sub3, sub4, sub5, variant, audience, country, device, click_id, cost, currency, valid,
    invalid_reasons, internal
FROM touches_rows FINAL;

-- Where the history of a row that was just inserted is not there yet, the row speaks for itself.
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
    FROM attribution_history AS r FINAL
    GROUP BY site, conversion_id
) AS h USING (site, conversion_id);

CREATE OR REPLACE VIEW credits AS
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
    SELECT * EXCEPT (value) FROM attributions_rows FINAL
)
ARRAY JOIN
    credits.model AS credit_model,
    credits.position AS credit_position,
    credits.weight AS credit_weight,
    credits.value AS credit_value;

CREATE OR REPLACE VIEW traffic AS
SELECT
    site, minute, channel, campaign, partner, variant, audience, currency,
    sum(p.impressions) AS impressions,
    sum(p.clicks) AS clicks,
    sum(p.landings) AS landings,
    sum(p.clicks + p.landings) AS visits,
    toDecimal64(sum(p.cost), 6) AS cost,
    sum(p.invalid) AS invalid
FROM panes_rows AS p FINAL
GROUP BY site, minute, channel, campaign, partner, variant, audience, currency
HAVING impressions != 0 OR clicks != 0 OR landings != 0 OR cost != 0 OR invalid != 0;

-- Traffic is summed over partitions before it is repeated for each model, so that a model which is present in one
-- partition only still gets all of it.
CREATE OR REPLACE VIEW kpis AS
SELECT
    site, minute, channel, campaign, partner, variant, audience, currency,
    model,
    total_impressions AS impressions,
    total_clicks AS clicks,
    total_landings AS landings,
    total_clicks + total_landings AS visits,
    toDecimal64(total_cost, 6) AS cost,
    total_invalid AS invalid,
    toDecimal64(map_conversions[model], 6) AS conversions,
    toDecimal64(map_revenue[model], 6) AS revenue,
    toDecimal64(map_conversions_pending[model], 6) AS conversions_pending,
    toDecimal64(map_revenue_pending[model], 6) AS revenue_pending,
    toDecimal64(map_conversions_rejected[model], 6) AS conversions_rejected,
    toDecimal64(map_revenue_rejected[model], 6) AS revenue_rejected
FROM
(
    SELECT
        site, minute, channel, campaign, partner, variant, audience, currency,
        sum(p.impressions) AS total_impressions,
        sum(p.clicks) AS total_clicks,
        sum(p.landings) AS total_landings,
        sum(p.cost) AS total_cost,
        sum(p.invalid) AS total_invalid,
        arrayUnion(
            ['last_touch', 'last_non_direct', 'first_touch', 'linear', 'time_decay', 'position_based'],
            groupUniqArrayArray(CAST(p.models.model, 'Array(String)'))
        ) AS all_models,
        sumMap(mapFromArrays(CAST(p.models.model, 'Array(String)'), p.models.conversions)) AS map_conversions,
        sumMap(mapFromArrays(CAST(p.models.model, 'Array(String)'), p.models.revenue)) AS map_revenue,
        sumMap(mapFromArrays(CAST(p.models.model, 'Array(String)'), p.models.conversions_pending)) AS map_conversions_pending,
        sumMap(mapFromArrays(CAST(p.models.model, 'Array(String)'), p.models.revenue_pending)) AS map_revenue_pending,
        sumMap(mapFromArrays(CAST(p.models.model, 'Array(String)'), p.models.conversions_rejected)) AS map_conversions_rejected,
        sumMap(mapFromArrays(CAST(p.models.model, 'Array(String)'), p.models.revenue_rejected)) AS map_revenue_rejected
    FROM panes_rows AS p FINAL
    GROUP BY site, minute, channel, campaign, partner, variant, audience, currency
)
ARRAY JOIN all_models AS model
WHERE total_impressions != 0 OR total_clicks != 0 OR total_landings != 0 OR total_cost != 0 OR total_invalid != 0
    OR map_conversions[model] != 0 OR map_revenue[model] != 0
    OR map_conversions_pending[model] != 0 OR map_revenue_pending[model] != 0
    OR map_conversions_rejected[model] != 0 OR map_revenue_rejected[model] != 0;

CREATE OR REPLACE VIEW dead_letters AS
SELECT time, reason, detail, topic, partition, offset, payload
FROM dead_letters_rows FINAL;
