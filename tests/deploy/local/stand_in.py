"""Stands in for a role: answers `/readyz` on a port until SIGTERM; run by the tests as a program of its own.

Usage: `stand_in.py PORT [--stubborn] [--child FILE] [--farewell FILE NAME]`
"""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
from pathlib import Path


class Answer(http.server.BaseHTTPRequestHandler):
    """200 to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def main() -> None:
    arguments = sys.argv[1:]

    def end(*_: object) -> None:
        if "--farewell" in arguments:
            at = arguments.index("--farewell")
            with Path(arguments[at + 1]).open("a") as file:
                file.write(arguments[at + 2] + "\n")
        os._exit(0)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if "--stubborn" in arguments else end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "--child" in arguments:
        child = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"])
        Path(arguments[arguments.index("--child") + 1]).write_text(str(child.pid))
    print("listening", flush=True)
    http.server.ThreadingHTTPServer(("127.0.0.1", int(arguments[0])), Answer).serve_forever()


if __name__ == "__main__":
    main()
