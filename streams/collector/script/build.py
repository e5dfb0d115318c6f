"""Builds ``hw.min.js`` of ``hw.js`` by esbuild: `make script`.

Rule: the build is committed with what it was made of (``build.json``: hashes of source and build, esbuild's version),
so nobody needs esbuild to run headwater, and a test sees a source that was changed without building. esbuild is one
pinned release of its package on npm, checked by its hash, kept in the environment's ``share``; npm only fetches it, and
no Node is needed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from schemas.errors import ConfigurationError, HeadwaterError, Unavailable
from streams.collector.script import BUILT, MAX_GZIPPED, compressed

SOURCE: Final = BUILT.with_name("hw.js")
RECORD: Final = BUILT.with_name("build.json")
ESBUILD: Final = "0.28.2"
SHA512: Final = {
    ("Linux", "x86_64"): (
        "linux-x64",
        "4xTZr1FUmSoQW4XIWmit3tzQrUTZM+N3P0XV8xROKYF50XfI7xeO90+1bZvNwxIufQ9hDQVRJH5YhgPVF8A/HQ==",
    ),
    ("Linux", "aarch64"): (
        "linux-arm64",
        "pW4AC0P3it8c7do9MVM4p51FzHzdM/TZrerurgRcHJ2WTa1VQ1CIq18xncfpBJw4ojkiZZrKW2yIBWBP92j6Ug==",
    ),
    ("Darwin", "arm64"): (
        "darwin-arm64",
        "n4KqkOQrraxHJcgjM1RvwbigfQKIKJVpM7xp+KsxiyUSrRdIXnt73VhrPAx0fV44hgfmIVKjxMN9J1t5jySVkw==",
    ),
}
"""System and processor -> esbuild's package for it, and the hash of its archive on npm, as npm states it."""
OPTIONS: Final = ("--loader=js", "--minify", "--target=es2018", "--charset=utf8", "--legal-comments=none")
"""es2018: browsers of 2020 and younger."""


def esbuild() -> Path:
    """The pinned esbuild, fetched where it is not here yet.

    Raises `ConfigurationError` where there is none for this machine, `Unavailable` where npm does not bring it.
    """
    program = Path(sys.prefix) / "share" / "headwater" / f"esbuild-{ESBUILD}"
    if program.is_file():
        return program
    package, sha512 = SHA512.get((platform.system(), platform.machine()), ("", ""))
    npm = shutil.which("npm")
    if not package:
        raise ConfigurationError(f"no esbuild is pinned for {platform.system()} on {platform.machine()}")
    if npm is None:
        raise ConfigurationError(f"esbuild {ESBUILD} is fetched by npm, which is not here")
    with tempfile.TemporaryDirectory() as directory:
        named = f"@esbuild/{package}@{ESBUILD}"
        fetched = subprocess.run(
            [npm, "pack", "--silent", named], cwd=directory, capture_output=True, text=True, check=False
        )
        archive = next(Path(directory).glob("*.tgz"), None)
        if fetched.returncode or archive is None:
            raise Unavailable(f"npm did not bring {named}: {' '.join(fetched.stderr.split()) or 'it says no reason'}")
        if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != sha512:
            raise ConfigurationError(f"{named} is not the one that is pinned")
        with tarfile.open(archive) as content:
            content.extract("package/bin/esbuild", directory, filter="data")
        fresh = Path(directory) / "package" / "bin" / "esbuild"
        program.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(fresh, program)
    return program


def minified(source: bytes) -> bytes:
    """`source` minified. Raises as `esbuild` does, and `ConfigurationError` where the source is not right."""
    done = subprocess.run([str(esbuild()), *OPTIONS], input=source, capture_output=True, check=False)
    if done.returncode:
        raise ConfigurationError(done.stderr.decode().strip())
    return done.stdout


def record(source: bytes, built: bytes) -> dict[str, str]:
    """What says that `built` was made of `source`."""
    return {
        "esbuild": ESBUILD,
        "options": " ".join(OPTIONS),
        "source_sha256": hashlib.sha256(source).hexdigest(),
        "built_sha256": hashlib.sha256(built).hexdigest(),
    }


def main() -> None:
    """Build, and say how large it is."""
    try:
        source = SOURCE.read_bytes()
        built = minified(source)
    except HeadwaterError as error:
        sys.exit(str(error))
    size = len(compressed(built))
    if size > MAX_GZIPPED:
        sys.exit(f"{BUILT.name} would be {size:,} bytes gzipped; at most {MAX_GZIPPED:,}")
    BUILT.write_bytes(built)
    RECORD.write_text(json.dumps(record(source, built), indent=1) + "\n")
    sys.stdout.write(f"{BUILT.name}: {len(built):,} bytes, {size:,} gzipped of at most {MAX_GZIPPED:,}\n")


if __name__ == "__main__":
    main()
