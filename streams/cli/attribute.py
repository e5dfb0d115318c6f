"""``headwater attribute FILE``: the pure core over a file of events, without Kafka (contract, section 7)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer


def attribute(
    file: Annotated[Path, typer.Argument(help="Events, one JSON object a line; `-` is standard input.")],
    *,
    touches: Annotated[bool, typer.Option("--touches", help="Print the classified touches instead.")] = False,
    campaigns: Annotated[Path | None, typer.Option(help="Registry file of sites and campaigns (YAML).")] = None,
) -> None:
    """Credit the conversions in FILE: one JSON line a conversion, in conversion-time order; refusals on stderr."""
    from schemas.errors import ConfigurationError
    from streams.cli.registry_file import read_registry_file
    from streams.core.registry import Registry
    from streams.core.replay import Replay

    replay = Replay(Registry(read_registry_file(campaigns) if campaigns else ()))
    try:
        stream = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    with stream:
        for number, refused in replay.read(stream):
            typer.echo(f"line {number}: {refused.reason}: {refused.detail}", err=True)
    out = sys.stdout.buffer
    for record in replay.touches() if touches else replay.attributions():
        out.write(orjson.dumps(touch_line(record) if touches else conversion_line(record)) + b"\n")
    out.flush()


def conversion_line(attribution: dict[str, Any]) -> dict[str, Any]:
    """A conversion as `headwater attribute` prints it; money and weights as exact JSON numbers."""
    shown = attribution["touches"]
    return {
        "site": attribution["site"],
        "conversion_id": attribution["conversion_id"],
        "conversion_time": attribution["conversion_time"],
        "version": attribution["version"],
        "status": attribution["status"],
        "value": decimal(attribution["value_micros"]),
        "currency": attribution["currency"],
        "credits": [
            {
                "model": model,
                "touch_id": shown[index]["touch_id"],
                "channel": shown[index]["channel"],
                "campaign": shown[index]["campaign"],
                "weight": decimal(weight),
                "value": decimal(value),
            }
            for model, credits_ in attribution["credits"].items()
            for index, weight, value in credits_
        ],
    }


def touch_line(touch: dict[str, Any]) -> dict[str, Any]:
    """A touch as `headwater attribute --touches` prints it: the record, its cost as an exact JSON number."""
    line = {name: value for name, value in touch.items() if name not in {"fp", "evidence", "stated", "quiet"}}
    line["cost"] = decimal(line.pop("cost_micros"))
    return line


def decimal(micros: int) -> orjson.Fragment:
    """Micros (or millionths) as an exact JSON number without trailing zeros: ``12.5``."""
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), 1_000_000)
    text = f"{sign}{whole}.{rest:06d}".rstrip("0").rstrip(".") if rest else f"{sign}{whole}"
    return orjson.Fragment(text)
