-- `changed` has `touches` where any of what is said of them differs, not only their channel and campaign.

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
            cityHash64(
                v.touches.touch_id, v.touches.channel, v.touches.source, v.touches.medium, v.touches.campaign,
                v.touches.content, v.touches.term, v.touches.ad_group, v.touches.ad, v.touches.partner,
                v.touches.variant, v.touches.audience
            ) AS touches_hash,
            cityHash64(
                v.credits.model, arrayMap(place -> v.touches.touch_id[place], v.credits.position), v.credits.weight
            ) AS credits_hash
        FROM attribution_versions AS v FINAL
    )
)
WINDOW one_life AS (PARTITION BY site, conversion_id, generation ORDER BY ver ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);
