"""Pages of lists: {"items", "next_cursor"}. Cursors are opaque; most are made by the store, some here."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query

from optimizer.core.base.errors import Fault, InvalidInput

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=1000, description="How many items a page has at most")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before, unchanged")]


def page(items: Sequence[Any], next_cursor: str | None = None) -> dict[str, Any]:
    return {"items": list(items), "next_cursor": next_cursor}


def slice_of(items: Sequence[T], cursor: str | None, limit: int) -> tuple[Sequence[T], str | None]:
    """One page of a list that is there whole, and the cursor of the next one.

    Raises InvalidInput for a cursor not made here.
    """
    start = _offset(cursor) if cursor is not None else 0
    end = start + limit
    return items[start:end], _cursor(end) if end < len(items) else None


def _cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(f"offset:{offset}".encode()).decode().rstrip("=")


def _offset(cursor: str) -> int:
    try:
        word, _, number = (
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode().partition(":")
        )
        if word == "offset" and number.isascii() and number.isdigit() and len(number) < 12:
            return int(number)
    except (ValueError, binascii.Error):
        pass
    raise InvalidInput(
        "This cursor was not made by this server; take next_cursor of the page before, unchanged.",
        [Fault(pointer="/cursor", detail="unknown cursor")],
    )
