"""Compiles the ``*.pyx`` of schemas, core and sink in place, in a tree (`python -m deploy.extension`) and for a wheel.

Rule: headwater runs without it, only slower; where there is no C compiler or no ``Python.h``, one line says so. A
worker logs which of the two it runs on.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    *(ROOT / "streams" / "core" / f"{name}.pyx" for name in ("_plain", "_bulk")),
    ROOT / "streams" / "worker" / "_packing.pyx",
    *(ROOT / "schemas" / f"{name}.pyx" for name in ("_batches", "_fetched")),
    *(ROOT / "sinks" / "clickhouse" / f"{name}.pyx" for name in ("_touches", "_panes")),
)
FLAGS = ("-O2", "-g0", "-fPIC", "-shared", "-fno-strict-aliasing", "-w")


def target(source: Path) -> Path:
    """Where the compiled module of a source is: beside it."""
    return source.with_name(source.stem + str(sysconfig.get_config_var("EXT_SUFFIX")))


def missing() -> str:
    """What is missing for compiling here; empty where nothing is."""
    if not compiler():
        return "a C compiler (gcc)"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        return "Python's C headers (python3-dev)"
    return ""


def compiler() -> list[str]:
    """The C compiler's command: what ``CC`` names, else the first there is; empty where there is none."""
    named = shlex.split(os.environ.get("CC", ""))
    if named:
        return named
    found = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    return [found] if found else []


def build() -> list[Path]:
    """Compile; returns the modules' files. Raises `subprocess.CalledProcessError` where the compiler refuses."""
    return [_build(source) for source in SOURCES]


def _build(pyx: Path) -> Path:
    module = target(pyx)
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / f"{pyx.stem}.c"
        cython = [sys.executable, "-m", "cython", "-3", "-I", str(ROOT), str(pyx), "-o", str(source)]
        subprocess.run(cython, check=True, cwd=ROOT)
        fresh = Path(directory) / module.name
        include = sysconfig.get_paths()["include"]
        subprocess.run([*compiler(), *FLAGS, f"-I{include}", str(source), "-o", str(fresh)], check=True)
        # Moved into place as a whole, so that a process that starts now finds the old one or the new one.
        beside = module.with_suffix(f".{os.getpid()}")
        shutil.copyfile(fresh, beside)
        beside.replace(module)
    return module


def main() -> None:
    """Compile, or say why not."""
    lacking = missing()
    if lacking:
        print(f"setup: no compiled core for want of {lacking}: the worker is slower without", file=sys.stderr)
        for source in SOURCES:
            target(source).unlink(missing_ok=True)
        return
    build()


if __name__ == "__main__":
    main()
