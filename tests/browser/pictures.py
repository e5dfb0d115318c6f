"""Takes the README's pictures of the live page: `python -m tests.browser.pictures` (or `make pictures`).

Runs `headwater demo` in a directory of its own, waits until the shop has been open for a while, and drives the same
Chromium as the tests. Each picture stays below `MOST_BYTES`.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM

DIRECTORY = Path(__file__).parents[2] / "docs" / "pictures"
MOST_BYTES = 200_000
READY_S = 300


class Picture(NamedTuple):
    """One picture: what is asked, in which window and colours, and which part of the page stands at the top."""

    name: str
    question: str
    options: dict[str, Any]
    top: str = ""


PICTURES = (
    Picture(
        "page-light",
        "?period=24h",
        {"viewport": {"width": 1280, "height": 1060}, "color_scheme": "light"},
    ),
    Picture(
        "page-dark",
        "?period=7d&model=linear",
        {"viewport": {"width": 1280, "height": 1000}, "color_scheme": "dark"},
    ),
    Picture(
        "page-models",
        "?period=7d",
        {"viewport": {"width": 1280, "height": 760}, "color_scheme": "light"},
        "#models-title",
    ),
    Picture(
        "page-health",
        "?period=24h",
        {"viewport": {"width": 1280, "height": 760}, "color_scheme": "light"},
        "#health",
    ),
    Picture(
        "page-phone",
        "?period=24h",
        {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5, "is_mobile": True, "has_touch": True},
    ),
)


def take(browser: Browser, url: str, picture: Picture) -> Path:
    """Take one picture; returns its file."""
    context = browser.new_context(timezone_id="Europe/Berlin", reduced_motion="reduce", **picture.options)
    page = context.new_page()
    page.goto(url + picture.question)
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#tracking")).to_have_text("Tracking works")
    expect(page.locator("#outcomes tbody tr").first.locator("td").nth(1)).not_to_have_text("\N{EN DASH}")
    if picture.top:
        page.locator(picture.top).evaluate("element => scrollTo(0, (element.closest('section')).offsetTop - 16)")
    page.mouse.move(0, 0)
    file = DIRECTORY / f"{picture.name}.png"
    page.screenshot(path=file)
    context.close()
    return file


def main() -> None:
    """Run the demo, take all pictures, stop the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", default="20000")
    parser.add_argument("--open-for", type=float, default=90, help="seconds that the shop stays open before")
    chosen = parser.parse_args()
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "streams.cli.main", "demo", "--events", chosen.events]
        demo = subprocess.Popen(
            [*command, "--data-dir", f"{directory}/data"], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            assert demo.stdout is not None
            for line in demo.stdout:
                print(line, end="")
                if line.startswith("Ctrl-C"):
                    break
            stack = json.loads(Path(directory, "data", "stack.json").read_text())
            time.sleep(chosen.open_for)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
                files = [
                    take(browser, f"http://{stack['page_host']}:{stack['page_port']}/", picture) for picture in PICTURES
                ]
                browser.close()
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(30)
    for file in files:
        size = file.stat().st_size
        print(f"{file.relative_to(Path.cwd())} {size:,} bytes")
        if size > MOST_BYTES:
            sys.exit(f"{file.name} is larger than {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
