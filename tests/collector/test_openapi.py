"""The collector asked all that its OpenAPI document says, and much that it doesn't (schemathesis)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS

from schemas.documents import FOLDER
from schemas.registry import CampaignEntry
from streams.collector.campaigns import CampaignBook
from streams.collector.keys import Keys
from streams.collector.partners import Partners
from streams.collector.rules import Rules
from tests.collector.door import Door, open_door

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import Case, SerializationContext

DOCUMENT = yaml.safe_load((FOLDER / "openapi.yaml").read_text(encoding="utf-8"))
for _methods in DOCUMENT["paths"].values():
    for _operation in _methods.values():
        _operation.pop("security", None)  # else keys are made up, beside the real one
TOLD = schemathesis.openapi.from_dict(DOCUMENT)
# Every value of every field one after another takes half a minute for `/events` alone.
TOLD.config.phases.coverage.enabled = False
HELD = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "allow_header_conformance",
    ]
)
"""Not that wrong data are refused as a whole: each event, and each line, is judged by itself."""


@schemathesis.serializer("application/x-ndjson")
def lines(_context: SerializationContext, value: Any) -> dict[str, Any]:
    """A file as it is."""
    return {"data": value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    """With an API key, a partner and a campaign; unlimited."""
    rules = Rules(
        api_keys=Keys("a:api-key", "api_keys"),
        partners=Partners("acme:acme-secret", "netw:netw-token"),
        rate_authenticated=0,
    )
    campaign = CampaignEntry(campaign="0", site="shop", destinations=["https://shop.example/{sub1}"])
    with open_door(CampaignBook([campaign], ready=True), rules) as door:
        yield door


@pytest.mark.parametrize("proven", [False, True], ids=["stranger", "known"])
@TOLD.parametrize()
@settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_as_the_document_says(door: Door, case: Case, *, proven: bool) -> None:
    """No failure of ours, and no answer that is not told of: its status, its type, its headers, its form."""
    headers, query = {}, {}
    if proven and case.path == "/postback":
        query = {"token": "netw-token", "sig": ""}
    elif proven:
        headers = {"Authorization": "Bearer api-key"}
    answer = case.call_and_validate(base_url=door.url, checks=HELD, timeout=60, headers=headers, params=query)
    if case.path.startswith(("/import", "/postback")) and answer.status_code != 400:
        assert (answer.status_code == 401) is not proven
    assert len(answer.content) < 1_000_000
