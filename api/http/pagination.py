"""Pages of lists: {"items", "next_cursor"}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query

from optimizer.core.base.answers import page_of

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=1000, description="How many items a page has at most")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before, unchanged")]


def page(items: Sequence[Any], next_cursor: str | None = None) -> dict[str, Any]:
    return {"items": list(items), "next_cursor": next_cursor}


def slice_of(items: Sequence[T], cursor: str | None, limit: int) -> tuple[Sequence[T], str | None]:
    found = page_of(items, cursor, limit)
    return found.items, found.next_cursor
