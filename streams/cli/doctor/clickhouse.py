"""The doctor's look at ClickHouse: the way to it, its version and clock, migrations, rights, room."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from schemas.errors import HeadwaterError, Unavailable
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrate import MIGRATIONS
from streams.cli.doctor.findings import Finding, ok, problem, skew, skipped, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from schemas.settings import Settings
    from streams.cli.doctor.findings import Role

AREA: Final = "ClickHouse"
TESTED: Final = (26, 9)
OLDEST: Final = (25, 8)
"""The version that all tests run against, and the oldest that is likely to do: a year before."""
GIB: Final = 1 << 30
ACCOUNT: Final = "schema_versions"
"""Where clickhouse-migrations keeps its account."""


def look(settings: Settings, roles: Iterable[Role]) -> list[Finding]:
    """All findings about ClickHouse."""
    address = f"{settings.clickhouse_host}:{settings.clickhouse_port}"
    found: list[Finding] = []
    try:
        with connect(settings, "") as client:
            began = time.time_ns() / 1e6
            told = _rows(client, "SELECT version(), toUnixTimestamp64Milli(now64(3)), currentUser()")
            ended = time.time_ns() / 1e6
            ((number, now, user),) = told
            how = "HTTPS" if settings.clickhouse_secure else "HTTP"
            found += [ok(AREA, address, f"answers over {how} to {user}"), version(number)]
            found.append(skew(AREA, "ClickHouse", float(now) - (began + ended) / 2, (ended - began) / 2 + 1))
            found += room(client)
            found += migrations(client, settings.clickhouse_database)
            found += rights(client, settings.clickhouse_database, set(roles))
    except HeadwaterError as error:
        found.append(problem(AREA, address, *_why(error, address)))
    return found


def _rows(client: Any, statement: str, **parameters: str) -> list[tuple[Any, ...]]:
    return list(client.query(statement, parameters=parameters).result_rows)


def _why(error: HeadwaterError, address: str) -> tuple[str, str]:
    text = str(error)
    if isinstance(error, Unavailable):
        said = text.partition("does not answer: ")[2] or text
        return f"does not answer: {said}", "start it, or mend HEADWATER_CLICKHOUSE_HOST, _PORT and _SECURE"
    if "Code: 516" in text or "Code: 194" in text:
        return (
            f"does not accept user and password ({address})",
            "mend HEADWATER_CLICKHOUSE_USER and HEADWATER_CLICKHOUSE_PASSWORD",
        )
    return text, "see ClickHouse's message"


def version(number: str) -> Finding:
    """ClickHouse's version."""
    parts = tuple(int(part) for part in number.split(".")[:2])
    if parts < OLDEST:
        text = f"{number}; headwater is tested with {'.'.join(map(str, TESTED))}"
        return warning(AREA, "version", text, "upgrade when you can")
    return ok(AREA, "version", number)


def room(client: Any) -> Iterator[Finding]:
    """Free space on the server's disks."""
    try:
        disks = _rows(client, "SELECT name, free_space, total_space FROM system.disks WHERE total_space > 0")
    except HeadwaterError:
        return
    for name, free, total in disks:
        # An object store tells of no end.
        if free >= 1 << 60:
            continue
        text = f"{free / GIB:,.1f} GiB of {total / GIB:,.0f} are free"
        mend = "make room on ClickHouse's disk, or give it another"
        if free < GIB:
            yield problem(AREA, f"disk {name}", text, mend)
        elif free < 10 * GIB or free < total // 20:
            yield warning(AREA, f"disk {name}", text, mend)
        else:
            yield ok(AREA, f"disk {name}", text)


def migrations(client: Any, database: str, folder: Path = MIGRATIONS) -> Iterator[Finding]:
    """Whether the database is as this version of headwater needs it."""
    subject = f"database {database}"
    here = {int(file.name.partition("_")[0]): file for file in folder.glob("*.sql")}
    statement = "SELECT count() FROM system.tables WHERE database = {db:String} AND name = {t:String}"
    if not _rows(client, statement, db=database, t=ACCOUNT)[0][0]:
        yield problem(AREA, subject, "is not there, or not headwater's", "create it: headwater migrate")
        return
    # The settings allow no name but a plain one.
    applied = dict(_rows(client, f"SELECT version, md5 FROM `{database}`.{ACCOUNT} ORDER BY version"))  # noqa: S608
    missing = sorted(here.keys() - applied.keys())
    if missing:
        names = ", ".join(here[number].stem for number in missing)
        yield problem(AREA, subject, f"lacks {names}", "bring it up to date: headwater migrate")
    if newer := sorted(applied.keys() - here.keys()):
        text = f"has migrations that this version does not know: {', '.join(map(str, newer))}"
        yield problem(AREA, subject, text, "run the version of headwater that made them, or a newer one")
    changed = [
        here[number].stem for number in sorted(here.keys() & applied.keys()) if _md5(here[number]) != applied[number]
    ]
    if changed:
        text = f"was made by another text of {', '.join(changed)}"
        yield problem(AREA, subject, text, "a migration never changes once it is released: take back the change")
    if not missing and not newer and not changed:
        yield ok(AREA, subject, f"is up to date ({here[max(here)].stem})")


def _md5(file: Path) -> str:
    """As clickhouse-migrations has it in its account."""
    return hashlib.md5(file.read_text(encoding="utf-8").encode(), usedforsecurity=False).hexdigest()


def rights(client: Any, database: str, roles: set[Role]) -> Iterator[Finding]:
    """Whether this user may insert and select, asked and not tried."""
    wanted = [("SELECT", f"`{database}`.*")]
    if "sink" in roles:
        wanted.append(("INSERT", f"`{database}`.*"))
    refused = []
    for right, where in wanted:
        try:
            allowed = client.command(f"CHECK GRANT {right} ON {where}")
        except Exception as error:  # noqa: BLE001 - of an older server, which does not know the statement
            yield skipped(AREA, "rights", f"ClickHouse does not tell ({type(error).__name__})")
            return
        if str(allowed) != "1":
            refused.append(f"{right} ON {where}")
    if refused:
        text = f"this user lacks {', '.join(refused)}"
        yield problem(AREA, "rights", text, f"GRANT {', '.join(refused)} TO its name")
    else:
        yield ok(AREA, "rights", f"this user may {' and '.join(right for right, _ in wanted)}")
