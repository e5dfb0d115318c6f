"""The doctor's look at this machine: Python, packages, settings, clock, directories, limits. Nothing is changed."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from schemas.settings import STACK_FILE
from streams.cli.doctor.findings import Finding, ok, problem, skipped, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from schemas.settings import Settings
    from streams.cli.doctor.findings import Role

AREA: Final = "this machine"
GIB: Final = 1 << 30
LOW_DISK: Final = (GIB, 5 * GIB)
"""Free bytes below which a disk is a problem, or a warning."""
FILES_BESIDE: Final = 256
"""Open files of a process besides those of its stores: sockets, libraries."""
FILES_A_PARTITION: Final = 128
"""Open files that a partition's RocksDB may need: its levels hold files of 64 MiB and more."""
LOCKS: Final = (Path(__file__).parents[3] / "requirements" / "app.txt", Path(sys.prefix) / "requirements.txt")
"""Where the lock file is: in a tree; in the image."""
_LOCKED: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)([^\\]*)", re.MULTILINE)
_UNSYNCHRONISED: Final = 0x40
_LOCAL: Final = re.compile(r"^(localhost|127\.[0-9.]+|\[?::1\]?)$")


def look(settings: Settings, roles: Iterable[Role]) -> list[Finding]:
    """All findings about this machine."""
    wanted = set(roles)
    found = [python(), packages(), clock(), *said(settings, wanted)]
    if "collector" in wanted:
        found += spool(settings)
    if "worker" in wanted:
        found += [*directory("state directory", settings.state_dir), open_files(settings.partitions)]
    return found


def python(running: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Python's version."""
    text = ".".join(map(str, running))
    if running < (3, 11):
        return problem(AREA, "Python", f"{text}; headwater needs 3.11 or newer", "install it and run make setup")
    return ok(AREA, "Python", text)


def packages(locks: Iterable[Path] = LOCKS) -> Finding:
    """The packages that are installed against those that are locked."""
    lock = next((file for file in locks if file.is_file()), None)
    if lock is None:
        return skipped(AREA, "packages", "the lock file requirements/app.txt is not here")
    wanted = dict(locked(lock.read_text()))
    wrong = [f"{name} {there or 'missing'} (locked: {wanted[name]})" for name, there in differing(wanted)]
    if not wrong:
        return ok(AREA, "packages", f"all {len(wanted)} are as locked")
    more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
    return warning(
        AREA,
        "packages",
        f"{', '.join(wrong[:4])}{more}",
        "run make setup, or pip install --require-hashes -r requirements/app.txt",
    )


def locked(text: str) -> Iterator[tuple[str, str]]:
    """Names and versions in a lock file that are meant for this Python and system."""
    from packaging.markers import Marker

    for name, number, rest in _LOCKED.findall(text):
        marker = rest.partition(";")[2].strip()
        if not marker or Marker(marker).evaluate():
            yield name, number


def differing(wanted: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Packages of another version than wanted, and which; empty: not installed."""
    for name, number in wanted.items():
        try:
            there = version(name)
        except PackageNotFoundError:
            there = ""
        if there != number:
            yield name, there


def clock() -> Finding:
    """Whether the kernel says that something keeps this machine's clock right."""
    synchronised = clock_is_kept()
    if synchronised is None:
        return skipped(AREA, "clock", "the kernel does not tell whether it is kept right")
    if synchronised:
        return ok(AREA, "clock", "kept right by NTP")
    return warning(
        AREA,
        "clock",
        "nothing keeps it right, as far as the kernel knows",
        "run an NTP service (chrony, systemd-timesyncd); in a container the host's clock counts",
    )


def clock_is_kept() -> bool | None:
    """What ``adjtimex`` says, asked without setting anything; None where there is none."""
    try:
        libc = ctypes.CDLL(None)
        # struct timex: `modes` is the first int, `status` the int after four longs; 208 bytes on 64-bit Linux.
        buffer = ctypes.create_string_buffer(512)
        if libc.adjtimex(buffer) < 0:
            return None
    except (OSError, AttributeError):
        return None
    offset = 5 * ctypes.sizeof(ctypes.c_long)
    status = int.from_bytes(buffer.raw[offset : offset + 4], sys.byteorder)
    return not status & _UNSYNCHRONISED


def said(settings: Settings, roles: set[Role]) -> Iterator[Finding]:
    """What the settings say that a person should think about."""
    # The local stack makes a key itself, and hands it to its roles alone.
    local = (settings.data_dir / STACK_FILE).is_file()
    if "collector" in roles and not local and not settings.click_id_keys.get_secret_value():
        yield warning(
            AREA,
            "click ids",
            "HEADWATER_CLICK_ID_KEYS is not set: each collector signs with a key of its own that ends with it",
            'set it to the same for all collectors: "1:$(openssl rand -hex 32)"',
        )
    host = settings.kafka.partition(",")[0].rpartition(":")[0]
    if settings.kafka_security_protocol == "SASL_PLAINTEXT" and not _LOCAL.match(host):
        yield warning(
            AREA, "Kafka's password", "travels without encryption", "use HEADWATER_KAFKA_SECURITY_PROTOCOL=SASL_SSL"
        )
    secret = settings.clickhouse_password.get_secret_value()
    if secret and not settings.clickhouse_secure and not _LOCAL.match(settings.clickhouse_host):
        yield warning(
            AREA,
            "ClickHouse's password",
            "travels without encryption",
            "set HEADWATER_CLICKHOUSE_SECURE=true and the port of HTTPS, unless the network is private",
        )


def directory(subject: str, path: Path, setting: str = "HEADWATER_WORKER_STATE_DIR") -> Iterator[Finding]:
    """Whether a directory can be written, or made, and has room."""
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    refused = _refused(there)
    if refused:
        yield problem(
            AREA,
            subject,
            f"{path} cannot be {'written' if there == path.absolute() else 'made'}: {there} {refused}",
            f"name another by {setting} or HEADWATER_DATA_DIR, or give this user the right",
        )
        return
    free = shutil.disk_usage(there).free
    text = f"{path} can be {'written' if there == path.absolute() else 'made'}, {free / GIB:,.1f} GiB are free"
    lowest, low = LOW_DISK
    mend = f"make room, or name another place by {setting} or HEADWATER_DATA_DIR"
    if free < lowest:
        yield problem(AREA, subject, text, mend)
    elif free < low:
        yield warning(AREA, subject, text, mend)
    else:
        yield ok(AREA, subject, text)


def spool(settings: Settings) -> Iterator[Finding]:
    """Whether a collector can keep events while Kafka is away: its directory, and room for all it may hold."""
    if not settings.spool_bytes:
        mend = "set HEADWATER_SPOOL_BYTES to what its disk may give"
        yield warning(AREA, "spool", "is switched off: while Kafka is away, events are refused (503)", mend)
        return
    for finding in directory("spool", settings.spool_path, "HEADWATER_SPOOL_DIR"):
        there = next(place for place in settings.spool_path.absolute().parents if place.exists())
        free = shutil.disk_usage(there).free
        if finding.state == "ok" and free < settings.spool_bytes:
            text = f"{finding.text}; it may need {settings.spool_bytes / GIB:,.1f} GiB"
            yield warning(AREA, "spool", text, "make room, or set HEADWATER_SPOOL_BYTES to what there is")
        else:
            yield finding


def _refused(there: Path) -> str:
    """Why nothing can be written in `there`; empty where it can."""
    if not there.is_dir():
        return "is a file"
    if not os.access(there, os.W_OK | os.X_OK):
        return "may not be written by this user"
    try:
        # A file without a name on Linux: it leaves no trace.
        with tempfile.TemporaryFile(dir=there):
            return ""
    except OSError as error:
        return f"refuses: {error.strerror}"


def open_files(partitions: int, limit: int | None = None) -> Finding:
    """Whether the process may open as many files as a worker that has all partitions needs."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
    need = FILES_BESIDE + FILES_A_PARTITION * partitions
    if soft == resource.RLIM_INFINITY or soft >= need:
        return ok(AREA, "open files", f"{'any number' if soft == resource.RLIM_INFINITY else f'{soft:,}'} at once")
    return warning(
        AREA,
        "open files",
        f"{soft:,} at once; a worker with all {partitions} partitions may need {need:,}",
        f"raise the limit: ulimit -n {need}, LimitNOFILE={need} for systemd, ulimits in compose",
    )
