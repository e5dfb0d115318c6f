-- How far this database has what Kafka holds: all records of a partition below `next`. Written after the rows, and only
-- on to what is there already, so the row vouches for all below it. A database that was put back from a backup has the
-- rows and the positions of that moment; the sink sees that Kafka's offsets are ahead of it, and reads again from here.
-- To have a topic read again: stop the sink, ALTER TABLE sink_positions DELETE WHERE topic = '...', start it.
CREATE TABLE IF NOT EXISTS sink_positions
(
    topic LowCardinality(String),
    generation UInt16,
    partition UInt16,
    next UInt64,
    written_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(next)
ORDER BY (topic, generation, partition);
