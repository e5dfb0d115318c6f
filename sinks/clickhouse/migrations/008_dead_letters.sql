-- A letter of the collector's may lie in Kafka twice, where the answer to the first writing was lost: by its id it is one.

ALTER TABLE dead_letters_rows ADD COLUMN IF NOT EXISTS letter_id String AFTER payload;

CREATE OR REPLACE VIEW dead_letters AS
SELECT time, reason, detail, topic, partition, offset, payload
FROM dead_letters_rows FINAL
LIMIT 1 BY if(letter_id = '', concat(toString(letter_partition), ':', toString(ver)), letter_id);
