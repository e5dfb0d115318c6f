"""The parts of the collector's OpenAPI that ask for a key: postbacks of partners, and imports.

Rule: as in `schemas.documents.openapi`, of which this is a part.
"""

from __future__ import annotations

from typing import Any, Final

from schemas.documents.form import sample

_ERROR: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_PARTNER: Final[list[dict[str, list[str]]]] = [{"signature": []}, {"token": []}, {"bearer": []}]
_FIELDS: Final = {
    "click_id": "A click id of ours: names visitor, campaign and site. Also `cid`, `clickid`, `hw_cid`.",
    "txid": "The network's number of the conversion; `order_id` likewise. Without one the click names it.",
    "payout": "The amount in major units; `value` likewise.",
    "currency": "ISO 4217; the site's where none is stated.",
    "status": "`sale` (where none is stated), `lead`, `rebill`, `pending`, `approved`, `rejected`, `refund`, ...",
    "action": "What was converted to, where it does not follow from `status`.",
    "site": "The site, where the click id does not name it.",
    "visitor_id": "The visitor, where no click id names it.",
    "event_id": "Names the message; made of its content where none is stated.",
    "time": "When it happened: ms since the epoch, or ISO 8601 with a zone; where none is stated, when it came first.",
}


def schemes() -> dict[str, Any]:
    """How senders prove who they are."""
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a partner's token."},
        "token": {"type": "apiKey", "in": "query", "name": "token", "description": "A partner's token."},
        "signature": {
            "type": "apiKey",
            "in": "query",
            "name": "sig",
            "description": (
                "HMAC-SHA256 in hex, with the key that `key` names, of four lines joined by line feeds: the time stamp"
                " `ts` (seconds since the epoch, within 300 s of now), the method, the query string as sent without"
                " `sig`, and the body as sent. The three may also be headers: `X-Headwater-Key`, `X-Headwater-Time`,"
                " `X-Headwater-Signature`."
            ),
        },
    }


def answers() -> dict[str, Any]:
    """What these routes answer, beside what the others do."""
    return {
        "Imported": {
            "type": "object",
            "required": ["accepted", "rejected_total", "rejected"],
            "properties": {
                "accepted": {"type": "integer", "minimum": 0, "description": "How many lines are kept."},
                "rejected_total": {"type": "integer", "minimum": 0, "description": "How many are refused."},
                "rejected": {
                    "type": "array",
                    "maxItems": 1000,
                    "description": "The first of them.",
                    "items": {
                        "type": "object",
                        "required": ["line", "reason", "detail"],
                        "additionalProperties": False,
                        "properties": {
                            "line": {"type": "integer", "minimum": 1, "description": "From 1, the header included."},
                            "reason": {"$ref": "#/components/schemas/Reason"},
                            "detail": {"type": "string", "description": "One line for a person."},
                        },
                    },
                },
                "error": {"type": "string", "description": "Why the file was not taken to its end."},
            },
            "additionalProperties": False,
        }
    }


def postback(method: str) -> dict[str, Any]:
    """``/postback``."""
    told: dict[str, Any] = {
        "operationId": f"{method}Postback",
        "summary": "A network tells of a conversion, or of what became of one.",
        "description": (
            "Signed with a partner's key, or with a token of the partner's. `GET` states the fields in the address,"
            " `POST` there or in its body. The same conversion told twice counts once."
        ),
        "tags": ["partners"],
        "security": _PARTNER,
        "parameters": [
            {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
            for name, text in {**_FIELDS, "key": "The signing key's id.", "ts": "The signature's time stamp."}.items()
        ],
        "responses": {
            "200": {
                "description": "It is kept.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}},
            },
            "400": {"description": "It can't be read, or states something wrong.", "content": _ERROR},
            "401": unauthorized(),
            **(
                {"408": slow(), "413": {"description": "More than 65,536 bytes.", "content": _ERROR}}
                if method == "post"
                else {}
            ),
            "429": too_many(),
            "503": unavailable(),
        },
    }
    if method == "post":
        fields = {"type": "object", "properties": {name: {"type": "string"} for name in _FIELDS}}
        told["requestBody"] = {
            "content": {
                "application/x-www-form-urlencoded": {"schema": fields},
                "application/json": {"schema": {"type": "object"}},
            }
        }
    return told


def importing(what: str, kind: str) -> dict[str, Any]:
    """``/import/costs`` and ``/import/conversions``."""
    example = sample(kind)
    table = "\n".join([",".join(example), ",".join(str(value) for value in example.values())])
    time = "When the file was written: the time of lines that state none." if kind == "cost" else "Not used here."
    return {
        "operationId": f"import{what.title()}",
        "summary": f"A file of {what}, as CSV or JSON lines, of any length up to 1 GiB.",
        "description": (
            "Read as it arrives. Each line is judged by itself; what is refused is named by its number and kept in"
            " `dead-letters`. A line without `event_id` gets one by file, line and content: a file sent twice counts"
            " once. CSV: the fields' names as header, UTF-8, comma, dot."
        ),
        "tags": ["partners"],
        "security": [{"bearer": []}],
        "parameters": [
            {"name": "file", "in": "query", "description": "The file's name.", "schema": {"type": "string"}},
            {"name": "time", "in": "query", "description": time, "schema": {"type": "string"}},
        ],
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {"schema": {"type": "string"}, "example": table},
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "200": {"description": "The file was read to its end.", "content": _imported()},
            "400": {"description": "The header, or a parameter, is wrong.", "content": _ERROR},
            "401": unauthorized(),
            "408": {**slow(), "content": _imported()},
            "413": {"description": "More than 1 GiB.", "content": _imported()},
            "415": {"description": "The file is encoded (compressed).", "content": _ERROR},
            "429": too_many(),
            "503": {**unavailable(), "content": _imported()},
        },
    }


def _imported() -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": "#/components/schemas/Imported"}}}


def unauthorized() -> dict[str, Any]:
    """401."""
    return {
        "description": "The key, the token or the signature is missing or wrong.",
        "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
        "content": _ERROR,
    }


def slow() -> dict[str, Any]:
    """408."""
    return {"description": "The body did not arrive whole, or not in time.", "content": _ERROR}


def too_many(content: dict[str, Any] | None = None) -> dict[str, Any]:
    """429."""
    return {
        "description": "Too many requests from one address, or with one key.",
        "headers": {"Retry-After": {"schema": {"type": "integer"}}},
        "content": _ERROR if content is None else content,
    }


def unavailable() -> dict[str, Any]:
    """503."""
    return {
        "description": "Neither Kafka nor the disk can take it now. Send it again.",
        "headers": {"Retry-After": {"schema": {"type": "integer"}}},
        "content": _ERROR,
    }
