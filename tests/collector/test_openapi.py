"""What the OpenAPI document says of the collector, asked of a real one with everything that fits it, and much that doesn't."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
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

    from schemathesis import Case

TOLD = schemathesis.openapi.from_path(FOLDER / "openapi.yaml")
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
@settings(
    max_examples=12,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_as_the_document_says(door: Door, case: Case, *, proven: bool) -> None:
    """No failure of ours, and no answer that is not told of: its status, its type, its headers, its form."""
    if proven:
        case.headers = {**(case.headers or {}), "authorization": "Bearer api-key"}
        if case.path == "/postback":
            case.query = {**(case.query or {}), "token": "netw-token"}
            case.headers.pop("authorization")
    case.call_and_validate(base_url=door.url, checks=HELD, timeout=60)
    assert time.time() > 0
