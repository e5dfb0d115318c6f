"""What the peers need, fetched on first use: Quix Streams in an environment of its own, jars, a compiler.

Rule: everything is pinned by hash in ``tests/benchmarks/peers``, as our own dependencies are. Quix Streams has an
environment to itself, since it asks for older releases of packages that headwater uses. The Java runtime of the local
stack has no compiler, so Eclipse's, which is one jar, compiles the one source file.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path
from typing import Final, NamedTuple

from schemas.errors import ConfigurationError, Unavailable

SOURCES: Final = Path(__file__).parents[3] / "tests" / "benchmarks" / "peers"
ENVIRONMENT: Final = Path(sys.prefix).with_name(Path(sys.prefix).name + "-peers")
KAFKA_STREAMS: Final = "org.apache.kafka:kafka-streams:4.3.1+org.slf4j:slf4j-simple:1.7.36"
COMPILER: Final = "org.eclipse.jdt:ecj:3.44.0"
_RELEASE: Final = "21"


class Tools(NamedTuple):
    """What runs the peers: Quix Streams' Python, Java's class path; empty where it is not needed."""

    python: str = ""
    classpath: str = ""


async def set_up(*, quix: bool, java: bool) -> Tools:
    """Fetch and build what is needed and not there yet. Raises `ConfigurationError`, `Unavailable`."""
    if not SOURCES.is_dir():
        raise ConfigurationError(f"the peers' sources are not there ({SOURCES}): run this from a checkout")
    tools = Tools()
    if quix:
        tools = tools._replace(python=str(await _environment()))
    if java:
        jars = await asyncio.to_thread(_jars, KAFKA_STREAMS)
        tools = tools._replace(classpath=":".join([str(await _compile(jars)), *jars]))
    return tools


async def _environment() -> Path:
    lock = SOURCES / "requirements.txt"
    python, stamp = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "locked"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return python
    uv = str(Path(sys.executable).with_name("uv"))
    await _run(uv, "venv", "-q", "--clear", "--python", sys.executable, str(ENVIRONMENT))
    await _run(uv, "pip", "sync", "-q", "--python", str(python), "--require-hashes", str(lock))
    stamp.write_text(digest)
    return python


def _jars(coordinates: str) -> list[str]:
    import jgo

    sums = dict(line.split()[::-1] for line in (SOURCES / "jars.sha256").read_text().splitlines())
    try:
        jars = [Path(str(jar)) for jar in jgo.build(coordinates).all_jars]
    except Exception as error:  # jgo raises whatever its HTTP and XML libraries do
        raise Unavailable(f"the peers' jars cannot be fetched by jgo: {error}") from error
    for jar in jars:
        if sums.get(jar.name) != hashlib.sha256(jar.read_bytes()).hexdigest():
            raise ConfigurationError(f"{jar} is not the jar listed in jars.sha256: remove it and try again")
    return [str(jar) for jar in jars]


async def _compile(jars: list[str]) -> Path:
    from deploy.local.java import java

    source = SOURCES / "KafkaStreamsPeer.java"
    classes = ENVIRONMENT / "classes"
    compiled = classes / "KafkaStreamsPeer.class"
    if not compiled.is_file() or compiled.stat().st_mtime < source.stat().st_mtime:
        (compiler,) = await asyncio.to_thread(_jars, COMPILER)
        await _run(
            *(java(), "-jar", compiler, "-source", _RELEASE, "-target", _RELEASE, "-proc:none", "-nowarn"),
            *("-cp", ":".join(jars), "-d", str(classes), str(source)),
        )
    return classes


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        lines = output.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise Unavailable(f"{Path(command[0]).name} failed: {' '.join(lines[:6])}")
