"""``headwater simulate``: a shop's visitors over some days, as lines in a file or over HTTP to a collector."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def simulate(
    events: Annotated[int, typer.Option(min=1, help="Lines to write or send, the malformed ones included.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Another seed, another shop.")] = 1,
    to: Annotated[Path | None, typer.Option(help="Write to this file; `-` is standard output.")] = None,
    url: Annotated[
        str,
        typer.Option(
            help="Send to the collector at this address instead; costs too where HEADWATER_API_KEYS has a key."
        ),
    ] = "",
    rate: Annotated[float | None, typer.Option(min=0.001, help="With --url: events a second, at most.")] = None,
    end: Annotated[
        str, typer.Option(help="When the simulated days end: ISO 8601 with a zone, or ms; default: now.")
    ] = "",
    registry: Annotated[Path | None, typer.Option(help="Write the shop's registry file (YAML) here.")] = None,
) -> None:
    """Simulate a shop: JSON lines, one event each, in the order in which they arrive.

    The same --events, --seed and --end give the same bytes. Apply the registry file before the events count:
    `headwater campaigns apply FILE`.
    """
    import asyncio
    import sys
    import time

    import yaml

    from schemas.errors import ConfigurationError, Refused
    from schemas.events import read_time
    from schemas.settings import current_settings
    from streams.collector.keys import read_setting
    from streams.simulator import simulate as simulate_shop
    from streams.simulator.click_ids import DEFAULT_KEYS
    from streams.simulator.sender import send

    if (to is not None and url) or not (to or url or registry):
        raise ConfigurationError("say where the events go: either --to FILE or --url COLLECTOR")

    def now() -> int:
        return time.time_ns() // 1_000_000

    try:
        end_ms = read_time(int(end) if end.isdigit() else end, "end") if end else now()
    except Refused as error:
        raise ConfigurationError(f"--end: {error.detail}") from None
    settings = current_settings() if url else None
    keys = settings.click_id_keys.get_secret_value() if settings else ""
    api_keys = read_setting(settings.api_keys.get_secret_value(), "api_keys") if settings else []
    api_key = api_keys[0][1].decode() if api_keys else ""
    simulation = simulate_shop(events, seed, end_ms, keys or DEFAULT_KEYS, costs=bool(api_key or not url))
    if registry is not None:
        registry.write_text(yaml.safe_dump(simulation.registry, sort_keys=False), encoding="utf-8")
    if to is not None:
        lines = b"".join(line.dump() + b"\n" for line in simulation.lines)
        if str(to) == "-":
            sys.stdout.buffer.write(lines)
            sys.stdout.buffer.flush()
        else:
            to.write_bytes(lines)
    elif url:
        sent = asyncio.run(send(simulation, url, now=now, api_key=api_key, rate=rate))
        again = sum(sent.repeated.values())
        typer.echo(f"{sent.lines:,} events sent" + (f", {again:,} of them more than once" if again else ""), err=True)
