"""``python -m deploy.local.engine --path DIR --port PORT``: the engine as a process of the local stack.

Rule: it prints one line to stderr when it answers, and ends within 3 s of SIGTERM or SIGINT. It survives ``kill -9``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import structlog
import uvloop
from aiohttp import web

from deploy.local.engine.connections import WORKERS, Connections
from deploy.local.engine.server import Front

_READ_BYTES = 1 << 20
_LINE_BYTES = 1 << 20


async def serve(path: Path, host: str, port: int, workers: int, password: str) -> None:
    """Serves the data in ``path`` until SIGTERM or SIGINT; port 0 takes a free one."""
    stopped = asyncio.Event()
    async with Connections(path, workers) as connections:
        runner = web.AppRunner(
            Front(connections, password).application(),
            access_log=None,
            handler_cancellation=True,
            auto_decompress=False,
            read_bufsize=_READ_BYTES,
            max_line_size=_LINE_BYTES,
            shutdown_timeout=0.5,
        )
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stopped.set)
        address = runner.addresses[0]
        print(
            f"clickhouse engine {connections.version} ready on http://{address[0]}:{address[1]}",
            file=sys.stderr,
            flush=True,
        )
        await stopped.wait()
        await runner.cleanup()


def main() -> int:
    """Parses the arguments and serves; 1 if the directory or the port is not free."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.engine",
        description="ClickHouse's engine (chDB) behind ClickHouse's HTTP protocol, for the local stack.",
        epilog="HEADWATER_CLICKHOUSE_PASSWORD sets the password of user default (none if it is not set).",
    )
    parser.add_argument("--path", type=Path, required=True, help="directory of the data; made if it is not there")
    parser.add_argument("--port", type=int, required=True, help="port to listen on; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=WORKERS, help="statements at the same time (default: %(default)s)"
    )
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    # A server's time zone is UTC; the engine takes the process's.
    os.environ["TZ"] = "UTC"
    time.tzset()
    password = os.environ.get("HEADWATER_CLICKHOUSE_PASSWORD", "")
    try:
        uvloop.run(serve(given.path, given.host, given.port, given.workers, password))
    except (OSError, RuntimeError) as error:
        print(f"clickhouse engine cannot start: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # Not sys.exit: a statement that cannot be stopped must not keep the process.
    os._exit(status)
