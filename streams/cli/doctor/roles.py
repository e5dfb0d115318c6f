"""The doctor's look at the roles: does each answer where the settings say, and is it ready."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp

from streams.cli.doctor.findings import Finding, ok, problem, skipped, warning

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.settings import Settings
    from streams.cli.doctor.findings import Role

AREA: Final = "roles"
PLACES: Final[dict[Role, tuple[str, str]]] = {
    "collector": ("collector_host", "collector_port"),
    "worker": ("worker_host", "worker_metrics_port"),
    "sink": ("sink_host", "sink_metrics_port"),
    "page": ("page_host", "page_port"),
}
"""Role -> the settings that say where it listens."""
EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


async def look(settings: Settings, roles: Iterable[Role]) -> list[Finding]:
    """A finding a role."""
    timeout = aiohttp.ClientTimeout(total=5.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        return list(await asyncio.gather(*(_role(session, settings, role) for role in roles)))


async def _role(session: aiohttp.ClientSession, settings: Settings, role: Role) -> Finding:
    host_name, port_name = PLACES[role]
    stated = {host_name, port_name} & settings.model_fields_set
    variable = f"HEADWATER_{port_name.upper()}"
    if not stated:
        return skipped(AREA, role, f"not looked for: neither HEADWATER_{host_name.upper()} nor {variable} is set")
    host = EVERYWHERE.get(getattr(settings, host_name), getattr(settings, host_name))
    address = f"http://{f'[{host}]' if ':' in host else host}:{getattr(settings, port_name)}"
    try:
        async with session.get(f"{address}/readyz") as response:
            said = " ".join((await response.text())[:300].split())
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        cause = error.__cause__ or error
        text = f"does not answer at {address}: {getattr(cause, 'strerror', '') or str(cause) or type(cause).__name__}"
        return problem(AREA, role, text, f"start it: headwater {role}; or mend {variable}")
    if response.status == 200 and said.startswith("ready: "):
        return warning(AREA, role, f"at {address} is {said}", "see its log, and docs/runbook.md")
    if response.status == 200:
        return ok(AREA, role, f"ready at {address}")
    return problem(AREA, role, f"at {address} is not ready: {said or response.status}", "see its log, and the above")
