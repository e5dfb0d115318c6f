// The two jobs of `headwater bench peers` in Kafka Streams.
//
// Arguments: JOB (yahoo | deduplicate), NAME, GUARANTEE (exactly_once_v2 | at_least_once), KAFKA, STATE_DIR, ADS_FILE.
// Counts go to the topic NAME-counts as "campaign|start" -> number, absolute, with the partition where they are those of
// one partition alone; what passes the duplicate filter to NAME-events. Apart from what the jobs ask for, settings are Kafka Streams' own defaults.
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

public class KafkaStreamsPeer {
    static final ObjectMapper JSON = new ObjectMapper();
    static final Duration FLUSH = Duration.ofSeconds(1);

    public static void main(String[] arguments) throws Exception {
        String job = arguments[0];
        String name = arguments[1];
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, name);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, arguments[2]);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[3]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        settings.put(ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4");
        if (arguments[2].equals("at_least_once")) {
            settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, FLUSH.toMillis());
        }
        Topology topology = job.equals("yahoo") ? yahoo(name, arguments[5]) : deduplicate(name);
        KafkaStreams streams = new KafkaStreams(topology, settings);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.start();
    }

    static JsonNode read(byte[] value) {
        try {
            return JSON.readTree(value);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** When the event happened, as the benchmark defines it. */
    static class EventTime implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
            return ((JsonNode) record.value()).get("event_time").asLong();
        }
    }

    /** Views, joined to their campaign, counted in windows of 10 s of event time. */
    static Topology yahoo(String name, String adsFile) throws IOException {
        Map<String, String> campaigns = new HashMap<>();
        JSON.readTree(new File(adsFile)).properties().forEach(ad -> campaigns.put(ad.getKey(), ad.getValue().asText()));
        var events = Serdes.serdeFrom((topic, node) -> node.toString().getBytes(), (topic, bytes) -> read(bytes));
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream("clicks", Consumed.with(Serdes.String(), events).withTimestampExtractor(new EventTime()))
            .filter((user, event) -> event.get("event_type").asText().equals("view"))
            .map((user, event) -> KeyValue.pair(campaigns.get(event.get("ad_id").asText()), ""))
            .groupByKey(Grouped.with(Serdes.String(), Serdes.String()))
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), Duration.ofDays(1)))
            .count(Materialized.as("counts"))
            .toStream()
            .map((window, count) -> KeyValue.pair(window.key() + "|" + window.window().start(), count.toString()))
            .to(name + "-counts", Produced.with(Serdes.String(), Serdes.String()));
        return builder.build();
    }

    /** Events that were not seen before are passed on, and counted by minute and campaign. */
    static Topology deduplicate(String name) {
        Set<String> stores = Set.of("seen", "panes");
        Topology topology = new Topology();
        topology.addSource("clicks", Serdes.String().deserializer(), Serdes.ByteArray().deserializer(), "clicks");
        topology.addProcessor("deduplicate", Deduplicate::new, "clicks");
        topology.addStateStore(
            Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("seen"), Serdes.String(), Serdes.ByteArray()),
            "deduplicate");
        topology.addStateStore(
            Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("panes"), Serdes.String(), Serdes.Long())
                .withCachingEnabled(),
            "deduplicate");
        for (String sink : Set.of("events", "counts")) {
            topology.addSink(
                sink, name + "-" + sink, Serdes.String().serializer(), Serdes.ByteArray().serializer(), "deduplicate");
        }
        return topology;
    }

    static class Deduplicate implements Processor<String, byte[], String, byte[]> {
        private static final byte[] NOTHING = new byte[0];
        private final Set<String> changed = new HashSet<>();
        private ProcessorContext<String, byte[]> context;
        private KeyValueStore<String, byte[]> seen;
        private KeyValueStore<String, Long> panes;

        @Override
        public void init(ProcessorContext<String, byte[]> context) {
            this.context = context;
            seen = context.getStateStore("seen");
            panes = context.getStateStore("panes");
            context.schedule(FLUSH, PunctuationType.WALL_CLOCK_TIME, this::flush);
        }

        @Override
        public void process(Record<String, byte[]> record) {
            JsonNode event = read(record.value());
            String id = event.get("event_id").asText();
            if (seen.putIfAbsent(event.get("visitor_id").asText() + "|" + id, NOTHING) != null) {
                return;
            }
            long time = event.get("time").asLong();
            String campaign = campaign(event);
            String pane = campaign + "|" + time / 60_000 * 60_000;
            Long before = panes.get(pane);
            panes.put(pane, before == null ? 1 : before + 1);
            changed.add(pane);
            byte[] value = JSON.createArrayNode().add(id).add(time).add(campaign).toString().getBytes();
            context.forward(record.withValue(value), "events");
        }

        private void flush(long now) {
            for (String pane : changed) {
                String key = pane + "|" + context.taskId().partition();
                context.forward(new Record<>(key, panes.get(pane).toString().getBytes(), now), "counts");
            }
            changed.clear();
        }

        private static String campaign(JsonNode event) {
            if (event.has("campaign")) {
                return event.get("campaign").asText();
            }
            String[] parts = event.has("url") ? event.get("url").asText().split("utm_campaign=", 2) : new String[0];
            return parts.length < 2 ? "" : parts[1].split("&", 2)[0];
        }
    }
}
