"""Creates the database and brings its tables and views up to date.

Rule: migrations are SQL files, numbered, never changed once released, applied in order and once (clickhouse-migrations
keeps the account in the table ``schema_versions``); running it again does nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_migrations.clickhouse_cluster import ClickhouseCluster
from clickhouse_migrations.exceptions import MigrationException

from schemas.errors import ConfigurationError
from sinks.clickhouse.connection import mapped

if TYPE_CHECKING:
    from schemas.settings import Settings

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def migrate(settings: Settings) -> list[str]:
    """Apply what is missing and return the names of what was applied.

    Raises `Unavailable`, `QueryFailed`, or `ConfigurationError` where the account does not fit the files.
    """
    cluster = ClickhouseCluster(
        db_host=settings.clickhouse_host,
        db_port=str(settings.clickhouse_port),
        db_user=settings.clickhouse_user,
        db_password=settings.clickhouse_password.get_secret_value(),
        secure=settings.clickhouse_secure,
        ca_cert=settings.clickhouse_ca_cert or None,
        driver="clickhouse-connect",
        connect_timeout=5,
    )
    try:
        applied = cluster.migrate(settings.clickhouse_database, MIGRATIONS, create_db_if_no_exists=True)
    except MigrationException as error:
        raise ConfigurationError(f"migrations: {error}") from error
    except (ClickHouseError, OSError) as error:
        raise mapped(error, f"{settings.clickhouse_host}:{settings.clickhouse_port}") from error
    names = {int(file.name.partition("_")[0]): file.stem for file in MIGRATIONS.glob("*.sql")}
    return [names[migration.version] for migration in applied]
