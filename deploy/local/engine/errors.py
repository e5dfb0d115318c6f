"""ClickHouse's errors as its HTTP protocol tells them: a code, a name, a text, and a status that follows it.

Rule: chDB's own texts pass through; the front's own refusals bear the code and name that a ClickHouse server gives.
"""

from __future__ import annotations

import re
from typing import Final

_CODE: Final = re.compile(r"Code: (\d+)\. ")
_VERSION: Final = re.compile(r"\(version [^)]*(?:\([^)]*\))?\)\s*$")

BAD_ARGUMENTS: Final = (36, "BAD_ARGUMENTS")
CHECKSUM_DOESNT_MATCH: Final = (40, "CHECKSUM_DOESNT_MATCH")
NOT_IMPLEMENTED: Final = (48, "NOT_IMPLEMENTED")
SYNTAX_ERROR: Final = (62, "SYNTAX_ERROR")
UNKNOWN_TYPE_OF_QUERY: Final = (78, "UNKNOWN_TYPE_OF_QUERY")
UNKNOWN_COMPRESSION_METHOD: Final = (89, "UNKNOWN_COMPRESSION_METHOD")
UNKNOWN_SETTING: Final = (115, "UNKNOWN_SETTING")
READONLY: Final = (164, "READONLY")
CANNOT_DECOMPRESS: Final = (271, "CANNOT_DECOMPRESS")
INTO_OUTFILE_NOT_ALLOWED: Final = (358, "INTO_OUTFILE_NOT_ALLOWED")
SESSION_NOT_FOUND: Final = (372, "SESSION_NOT_FOUND")
SESSION_IS_LOCKED: Final = (373, "SESSION_IS_LOCKED")
INVALID_SESSION_TIMEOUT: Final = (374, "INVALID_SESSION_TIMEOUT")
QUERY_WAS_CANCELLED: Final = (394, "QUERY_WAS_CANCELLED")
AUTHENTICATION_FAILED: Final = (516, "AUTHENTICATION_FAILED")
STD_EXCEPTION: Final = (1001, "STD_EXCEPTION")

_BAD_REQUEST = (
    6,
    8,
    15,
    25,
    26,
    27,
    36,
    37,
    38,
    41,
    44,
    53,
    62,
    72,
    117,
    123,
    167,
    168,
    223,
    321,
    376,
    427,
    441,
    675,
    676,
)
_NOT_FOUND = (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511)

#: HTTP status by error code; 500 for all others (ClickHouse: src/Server/HTTP/exceptionCodeToHTTPStatus.cpp).
HTTP_STATUS: Final[dict[int, int]] = {
    **dict.fromkeys(_BAD_REQUEST, 400),
    **dict.fromkeys(_NOT_FOUND, 404),
    **dict.fromkeys((192, 193, 497, 512, 516), 403),
    48: 501,
    76: 503,
    159: 408,
    194: 401,
    209: 503,
    229: 413,
    381: 411,
    439: 503,
    779: 415,
}


class EngineError(Exception):
    """A statement or a request failed; ``code`` is ClickHouse's, ``text`` begins with ``Code: N. DB::Exception:``."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def status(self) -> int:
        """The HTTP status a ClickHouse server answers this code with."""
        return HTTP_STATUS.get(self.code, 500)

    def body(self, version: str) -> str:
        """The response body: the text with the server's version behind it, one line feed at the end."""
        if _VERSION.search(self.text):
            return f"{self.text}\n"
        return f"{self.text} (version {version} (official build))\n"


def refused(kind: tuple[int, str], text: str) -> EngineError:
    """An error of the front's own, for example ``refused(READONLY, "...")``."""
    code, name = kind
    return EngineError(code, f"Code: {code}. DB::Exception: {text} ({name})")


def from_engine(error: BaseException) -> EngineError:
    """What chDB raised, as an `EngineError`.

    chDB raises RuntimeError with the exception's text; where that text quotes bytes that are no UTF-8, the
    UnicodeDecodeError of its binding comes instead and holds the text.
    """
    if isinstance(error, EngineError):
        return error
    text = error.object.decode("utf-8", "replace") if isinstance(error, UnicodeDecodeError) else str(error)
    found = _CODE.search(text)
    if found is None:
        return refused(STD_EXCEPTION, text.strip() or type(error).__name__)
    return EngineError(int(found[1]), text[found.start() :].strip())
