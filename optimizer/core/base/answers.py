"""What answers are made of: a page of a list, and JSON that a stranger wrote."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from optimizer.core.base.errors import Fault, InvalidInput

# Inputs, outputs and metadata of users, models and packages that are not ours: members that nobody here can name.
Json = Any
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """``next_cursor`` is opaque; None on the last page. Most are made by the store, some here."""

    items: Sequence[T]
    next_cursor: str | None = None


def members_of(value: Any) -> dict[str, Any]:
    """The members of a dataclass by name, as they are: ``asdict`` makes dicts of those inside."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def page_of(items: Sequence[T], cursor: str | None, limit: int) -> Page[T]:
    """One page of a list that is there whole; raises InvalidInput for a cursor not made here."""
    start = _offset(cursor) if cursor is not None else 0
    end = start + limit
    return Page(items=items[start:end], next_cursor=_cursor(end) if end < len(items) else None)


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
