"""OpenAPI 3.1 for the collector's HTTP (contract, section 6).

Rule: events are the definitions that the collector checks by. Which routes there are and what they answer stands here;
a test compares it with the collector's own table and with what it really answers.
"""

from __future__ import annotations

from typing import Any, Final

from schemas.documents import openapi_partners
from schemas.documents.form import LICENSE, dump, release, sample, schemas
from schemas.documents.openapi_partners import slow, too_many, unauthorized, unavailable
from schemas.events import KINDS
from schemas.reasons import REASON_TEXTS, REASONS
from schemas.registry import MACROS
from schemas.settings import Settings

MAX_EVENTS: Final = 500
_STORY: Final = ("impression", "click", "landing", "consent", "verdict", "conversion", "adjustment", "cost")
_PIXEL: Final = ("click", "impression", "landing", "consent", "verdict", "conversion", "adjustment")
_STATED_BY_CLICKS: Final = (
    *(name for name in MACROS if name not in {"click_id", "campaign", "site"}),
    *("cost", "currency", "utm_source", "utm_medium", "utm_content", "utm_term"),
)
_TEXT: Final = {"text/plain": {"schema": {"type": "string"}}}
_ERROR: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}


def text() -> str:
    """The document."""
    return dump(document())


def document() -> dict[str, Any]:
    """The document as data."""
    forms = {kind: KINDS[kind] for kind in _STORY}
    told, components = schemas(forms)
    names = {kind: schema["$ref"].rpartition("/")[2] for kind, schema in told.items()}
    host, port = (Settings.model_fields[name].default for name in ("collector_host", "collector_port"))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "headwater: collector",
            "version": release(),
            "description": (
                "Takes clicks, impressions, landings, conversions and what is said about them later. An event is"
                " acknowledged only when Kafka has it on all replicas in sync, or the collector's disk has it. Send it"
                " again, with the same event_id, when no answer comes: a repeated event counts once."
            ),
            "license": LICENSE,
        },
        "servers": [{"url": f"http://{host}:{port}", "description": "Where a collector listens by default."}],
        "tags": [
            {"name": "events", "description": "Events in."},
            {"name": "partners", "description": "What networks and the shop's own systems tell, each with a key."},
            {"name": "operations", "description": "Health and metrics."},
        ],
        "paths": _paths(names),
        "components": {
            "schemas": components | _answers(names) | openapi_partners.answers(),
            "securitySchemes": openapi_partners.schemes(),
        },
    }


def _answers(names: dict[str, str]) -> dict[str, Any]:
    reasons = "; ".join(f"{reason}: {means}" for reason, means in REASON_TEXTS.items())
    return {
        "Event": {
            "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in dict.fromkeys(names.values())],
            "description": "What it is stands in `type`.",
        },
        "Reason": {"type": "string", "enum": list(REASONS), "description": f"{reasons}."},
        "Accepted": {
            "type": "object",
            "required": ["accepted", "rejected"],
            "additionalProperties": False,
            "properties": {
                "accepted": {"type": "integer", "minimum": 0, "description": "How many events are kept."},
                "rejected": {"type": "array", "items": {"$ref": "#/components/schemas/Rejection"}},
            },
        },
        "Rejection": {
            "type": "object",
            "required": ["index", "reason", "detail"],
            "additionalProperties": False,
            "properties": {
                "index": {"type": "integer", "minimum": 0, "description": "Its place in the request, from 0."},
                "reason": {"$ref": "#/components/schemas/Reason"},
                "detail": {"type": "string", "description": "One line for a person."},
            },
        },
        "Error": {
            "type": "object",
            "required": ["error"],
            "additionalProperties": False,
            "properties": {
                "error": {"type": "string", "description": "One line for a person."},
                "reason": {"$ref": "#/components/schemas/Reason"},
            },
        },
    }


def _paths(names: dict[str, str]) -> dict[str, Any]:
    return {
        "/events": {"post": _post_events(), "options": _preflight()},
        "/pixel.gif": {"get": _pixel(names)},
        "/c/{campaign}": {"get": _redirect(), "head": _redirect(head=True)},
        "/postback": {"get": openapi_partners.postback("get"), "post": openapi_partners.postback("post")},
        "/import/costs": {"post": openapi_partners.importing("costs", "cost")},
        "/import/conversions": {"post": openapi_partners.importing("conversions", "conversion")},
        "/hw.js": {"get": _script(), "head": _script(head=True)},
        "/healthz": _health("Liveness: the process answers.", {"200": {"description": "It lives.", "content": _TEXT}}),
        "/readyz": _health(
            "Readiness: Kafka or the disk takes events, and the registry is read.",
            {
                "200": {"description": "It is ready.", "content": _TEXT},
                "503": {"description": "Not yet, or not now; why, in one line.", "content": _TEXT},
            },
        ),
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Metrics for Prometheus.",
                "tags": ["operations"],
                "responses": {
                    "200": {"description": "In Prometheus' text format.", "content": _TEXT},
                    "404": {"description": "Not from one of `HEADWATER_METRICS_NETWORKS`.", "content": _ERROR},
                    "429": too_many(),
                },
            }
        },
    }


def _script(*, head: bool = False) -> dict[str, Any]:
    content = {} if head else {"content": {"text/javascript": {"schema": {"type": "string"}}}}
    return {
        "operationId": "headScript" if head else "script",
        "summary": "The browser script, without its body." if head else "The browser script.",
        "description": "The same for everyone, gzipped where the client takes that; any cache may keep it.",
        "tags": ["events"],
        "responses": {
            "200": {"description": "The script.", **content},
            "304": {"description": "The client has it already (`If-None-Match`)."},
        },
    }


def _post_events() -> dict[str, Any]:
    one_or_many = {
        "anyOf": [
            {"$ref": "#/components/schemas/Event"},
            {"type": "array", "maxItems": MAX_EVENTS, "items": {"$ref": "#/components/schemas/Event"}},
        ]
    }
    examples = {kind: {"value": sample(kind)} for kind in _STORY}
    examples["several"] = {"value": [sample("click"), sample("conversion")]}
    return {
        "operationId": "sendEvents",
        "summary": f"Send one event, or up to {MAX_EVENTS} of any kinds.",
        "description": (
            "Each event is judged by itself: what is refused is named in the answer and kept in `dead-letters`; its"
            " neighbours count. Sent from another origin the answer allows it, credentials included. Where API keys are"
            " set, costs, verdicts and adjustments are taken with one alone."
        ),
        "tags": ["events"],
        "requestBody": {
            "required": True,
            "description": "JSON, whatever the content type says: `text/plain` is what sendBeacon sends.",
            "content": {
                "application/json": {"schema": one_or_many, "examples": examples},
                "text/plain": {"schema": one_or_many},
            },
        },
        "responses": {
            "202": {
                "description": "All that was accepted is kept.",
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/Accepted"},
                        "examples": {
                            "all": {"value": {"accepted": 2, "rejected": []}},
                            "some": {
                                "value": {
                                    "accepted": 1,
                                    "rejected": [{"index": 1, "reason": "schema", "detail": "site: Field required"}],
                                }
                            },
                        },
                    }
                },
            },
            "400": {"description": "Not JSON, or neither an object nor an array.", "content": _ERROR},
            "401": unauthorized(),
            "408": slow(),
            "413": {
                "description": f"More than 8,000,000 bytes, {MAX_EVENTS} events or 200,000 values.",
                "content": _ERROR,
            },
            "429": too_many(),
            "503": unavailable(),
        },
    }


def _preflight() -> dict[str, Any]:
    return {
        "operationId": "preflight",
        "summary": "What a browser asks before it posts from another origin.",
        "tags": ["events"],
        "responses": {"204": {"description": "Posting is allowed."}},
    }


def _pixel(names: dict[str, str]) -> dict[str, Any]:
    """The same event as query parameters: all fields of the kinds that fit."""
    fields: dict[str, None] = {}
    for kind in _PIXEL:
        for name in KINDS[kind].__annotations__:
            fields[name] = None
    set_by_us = {"received_at", "ip", "user_agent"}
    kinds = ", ".join(f"`{kind}`" for kind in _PIXEL)
    where = ", ".join(dict.fromkeys(names[kind] for kind in _PIXEL))
    parameters = [
        {"name": "type", "in": "query", "required": True, "schema": {"type": "string", "enum": list(_PIXEL)}},
        {"name": "site", "in": "query", "required": True, "schema": {"type": "string", "maxLength": 64}},
        *(
            {"name": name, "in": "query", "schema": {"type": "string"}}
            for name in fields
            if name not in {"type", "site"} | set_by_us
        ),
    ]
    return {
        "operationId": "pixel",
        "summary": "Send one event as query parameters; the answer is an image of one pixel.",
        "description": (
            f"Any of {kinds}, with the fields of {where}. Where it states none, `event_id` and `time` are set here, a"
            " landing's `url` is the page that has the image (its `Referer`), and a touch's visitor is that of our"
            " click id in the `url`, else the cookie's, else a new one; with `Sec-GPC: 1` consent is denied. What is"
            " refused goes to `dead-letters`; a page never sees an error for it."
        ),
        "tags": ["events"],
        "parameters": parameters,
        "responses": {
            "200": {"description": "The image, whether the event was accepted or refused.", "content": _gif()},
            "401": {"description": "The image, 2 pixels wide; a key that is not known.", "content": _gif()},
            "429": too_many(_gif()),
            "503": {"description": "The image, 2 pixels wide; the event could not be kept.", "content": _gif()},
        },
    }


def _gif() -> dict[str, Any]:
    return {"image/gif": {"schema": {"type": "string", "contentMediaType": "image/gif", "contentEncoding": "binary"}}}


def _redirect(*, head: bool = False) -> dict[str, Any]:
    location = {
        "description": "The destination, with `hw_cid` appended: signed, and carrying the visitor id.",
        "schema": {"type": "string", "format": "uri"},
    }
    return {
        "operationId": "lookUpClick" if head else "click",
        "summary": "Where an ad click would go; nothing is recorded."
        if head
        else "An ad click: recorded, then sent on.",
        "description": (
            "The destination comes from the registry alone. UTM parameters and the fields of a touch may stand in the"
            " address; `site` chooses among sites with a campaign of the same name. Macros such as `{click_id}`"
            " and `{sub1}` in the destination are filled in. With `consent=denied`, or `Sec-GPC: 1`, no click id and no"
            " cookie is given."
        ),
        "tags": ["events"],
        "parameters": [
            {"name": "campaign", "in": "path", "required": True, "schema": {"type": "string"}},
            {"name": "site", "in": "query", "schema": {"type": "string"}},
            {"name": "consent", "in": "query", "schema": {"type": "string", "enum": ["granted", "denied", "unknown"]}},
            *({"name": name, "in": "query", "schema": {"type": "string"}} for name in _STATED_BY_CLICKS),
        ],
        "responses": {
            "302": {"description": "To the destination.", "headers": {"Location": location}},
            "400": {"description": "Too many parameters."} | ({} if head else {"content": _ERROR}),
            "404": {"description": "There is no such campaign, or it has no destination."}
            | ({} if head else {"content": _TEXT}),
            "401": {"description": "A key that is not known."} | ({} if head else {"content": _ERROR}),
            "429": too_many({}) if head else too_many(),
            "503": {"description": "The registry is not read yet, or the click could not be kept."}
            | ({} if head else {"content": _ERROR}),
        },
    }


def _health(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    name = summary.partition(":")[0].lower()
    without = {status: {"description": answer["description"]} for status, answer in responses.items()}
    return {
        "get": {"operationId": name, "summary": summary, "tags": ["operations"], "responses": responses},
        "head": {"operationId": f"{name}Head", "summary": summary, "tags": ["operations"], "responses": without},
    }
