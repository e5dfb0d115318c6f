"""``python -m schemas.documents``: writes the documents, and the JSON Schemas beside them."""

from __future__ import annotations

from schemas import export
from schemas.documents import write

if __name__ == "__main__":
    export.write()
    write()
