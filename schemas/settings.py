"""Settings: one frozen class, read from ``HEADWATER_...`` environment variables.

Rule: nothing else reads the environment. Where an address is not set there, that of a running local stack is taken
from ``DATA_DIR/stack.json``.
"""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that can be set; each field is the environment variable ``HEADWATER_`` + its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="HEADWATER_", frozen=True, extra="ignore")

    app: str = Field("headwater", description="Consumer group of the worker; transactional ids are APP-PARTITION.")
    data_dir: Path = Field(Path(".headwater"), description="Local stack's data; a worker's state is below it too.")
    partitions: int = Field(12, ge=1, le=1024, description="Partitions of every topic but campaigns.")
    replication: int = Field(1, ge=1, le=9, description="Replication factor of topics that are created.")

    kafka: str = Field("127.0.0.1:9092", description="Kafka's bootstrap servers, comma separated.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to Kafka."
    )
    kafka_sasl_mechanism: str = Field("PLAIN", description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.")
    kafka_sasl_username: str = Field("", description="SASL user.")
    kafka_sasl_password: SecretStr = Field(SecretStr(""), description="SASL password.")
    kafka_ssl_cafile: str = Field("", description="CA certificates for Kafka; empty: the system's.")
    kafka_ssl_certfile: str = Field("", description="Client certificate for Kafka.")
    kafka_ssl_keyfile: str = Field("", description="Key of the client certificate.")

    clickhouse_host: str = Field("127.0.0.1", description="ClickHouse's HTTP host.")
    clickhouse_port: int = Field(8123, description="ClickHouse's HTTP port.")
    clickhouse_user: str = Field("default", description="ClickHouse user.")
    clickhouse_password: SecretStr = Field(SecretStr(""), description="ClickHouse password.")
    clickhouse_secure: bool = Field(False, description="Use TLS towards ClickHouse.")
    clickhouse_ca_cert: str = Field("", description="CA certificates for ClickHouse; empty: the system's.")
    clickhouse_database: str = Field("headwater", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$", description="Database.")

    collector_host: str = Field("127.0.0.1", description="Address the collector listens on.")
    collector_port: int = Field(8080, description="Port the collector listens on.")
    worker_host: str = Field("127.0.0.1", description="Address of the worker's metrics and health.")
    worker_metrics_port: int = Field(9101, description="Port of the worker's metrics and health.")
    sink_host: str = Field("127.0.0.1", description="Address of the sink's metrics and health.")
    sink_metrics_port: int = Field(9102, description="Port of the sink's metrics and health.")
    page_host: str = Field("127.0.0.1", description="Address the live page listens on; it asks for no password.")
    page_port: int = Field(8088, description="Port the live page listens on.")
    page_roles: str = Field(
        "",
        description="Roles whose health the page shows, `name=http://host:port`, comma separated; "
        "empty: collector, worker and sink at the addresses set for them.",
    )

    worker_batch_events: int = Field(
        30_000, ge=1, description="Most records in one of the worker's batches; fewer where they take long."
    )
    worker_memory_mb: int = Field(
        512,
        ge=32,
        description="Memory of a worker's stores: a quarter caches reads, the rest buffers writes.",
    )
    worker_state_dir: Path | None = Field(None, description="Worker's RocksDB; empty: DATA_DIR/state.")
    window_campaigns: int = Field(1_000, ge=1, description="Campaigns with window metrics; the rest are `other`.")

    spool_dir: Path | None = Field(
        None,
        description="Where a collector keeps events while Kafka is away, each in its own; empty: DATA_DIR/spool.",
    )
    spool_bytes: int = Field(
        1 << 30, ge=0, description="Most that the spool may take of its disk, in bytes; 0: no spool, 503 without Kafka."
    )
    spool_after_ms: int = Field(
        1_500, ge=100, le=30_000, description="How long an event waits for Kafka before it goes to the spool."
    )
    click_id_keys: SecretStr = Field(
        SecretStr(""), description="Keys of signed click ids, `id:secret,id2:secret2`; the first signs."
    )
    cookie_domain: str = Field("", description="Domain of the visitor cookie; empty: the collector's host.")
    trusted_proxies: str = Field("", description="Addresses or networks whose X-Forwarded-For counts.")
    ip_addresses: Literal["truncated", "hashed", "full", "none"] = Field(
        "truncated", description="What is kept of addresses: the network (/24, /48), a keyed hash, all, or nothing."
    )
    cors_origins: str = Field(
        "", description="Origins whose pages may read answers, besides those of registered domains; `*`: all."
    )
    api_keys: SecretStr = Field(
        SecretStr(""),
        description="Keys of imports, and of servers that send events: `id:secret,id2:secret2`. Where one is set, "
        "costs, verdicts and adjustments are taken with a key alone.",
    )
    postback_keys: SecretStr = Field(
        SecretStr(""), description="Keys that partners sign postbacks with: `partner/id:secret,...`."
    )
    postback_tokens: SecretStr = Field(
        SecretStr(""), description="Tokens of partners that cannot sign: `partner/id:secret,...`."
    )
    postback_networks: str = Field(
        "", description="Where partners send from: `partner=192.0.2.0/24 ...,...`; one not listed: from anywhere."
    )
    postback_sites: str = Field(
        "", description="Sites that partners may tell of: `partner=shop ...,...`; one not listed: of all."
    )
    rate_per_ip: float = Field(100, ge=0, description="Requests a second from one address; 0: no limit.")
    rate_authenticated: float = Field(1_000, ge=0, description="Requests a second with one key or token; 0: no limit.")
    rate_exempt: str = Field("127.0.0.0/8, ::1", description="Networks that `rate_per_ip` does not hold for.")
    metrics_networks: str = Field("", description="Networks that may read the collector's /metrics; empty: all.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")

    @property
    def state_dir(self) -> Path:
        """Where a worker keeps its RocksDB stores."""
        return self.worker_state_dir or self.data_dir / "state"

    @property
    def spool_path(self) -> Path:
        """Where a collector keeps events while Kafka is away."""
        return self.spool_dir or self.data_dir / "spool"


STACK_FILE = "stack.json"


def current_settings(**overrides: Any) -> Settings:
    """The settings in force: `overrides`, then the environment, then a running local stack's addresses, then defaults.

    Raises `pydantic.ValidationError` where a value is of a wrong type or range.
    """
    settings = Settings(**overrides)
    stack = settings.data_dir / STACK_FILE
    if not stack.is_file():
        return settings
    found = json.loads(stack.read_text())
    known = {key: value for key, value in found.items() if key in Settings.model_fields}
    return Settings(**(known | {name: getattr(settings, name) for name in settings.model_fields_set}))


def kafka_client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments common to aiokafka's producer, consumer and admin client."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka,
        "security_protocol": settings.kafka_security_protocol,
    }
    if "SSL" in settings.kafka_security_protocol.split("_"):
        context = ssl.create_default_context(cafile=settings.kafka_ssl_cafile or None)
        if settings.kafka_ssl_certfile:
            context.load_cert_chain(settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile or None)
        options["ssl_context"] = context
    if settings.kafka_security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": settings.kafka_sasl_password.get_secret_value(),
        }
    return options
