"""Opaque cursors for paging: where the last page ended, as base64url of JSON.

Their content may change; clients only hand them back.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Select, Table, and_, or_

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.strict_json import is_unicode

T = TypeVar("T")


def encode(*position: datetime | str | int) -> str:
    plain = [p.isoformat() if isinstance(p, datetime) else p for p in position]
    return base64.urlsafe_b64encode(json.dumps(plain, separators=(",", ":")).encode()).decode().rstrip("=")


def decode(cursor: str, *kinds: type) -> list[Any]:
    """The position, one value per kind (datetime, str, int).

    Raises InvalidInput for anything that ``encode`` did not make.
    """
    try:
        plain = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if not isinstance(plain, list) or len(plain) != len(kinds):
            raise ValueError
        return [_read(value, kind) for value, kind in zip(plain, kinds, strict=True)]
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise InvalidInput(
            "This cursor was not made by this server; take next_cursor of the page before, unchanged.",
            [Fault(pointer="/cursor", detail="unknown cursor")],
        ) from None


def newest_first(query: Select[Any], table: Table, cursor: str | None, limit: int) -> Select[Any]:
    """The query in the order of ``created_at`` and ``id``, behind the cursor, with one row more than the page has."""
    c = table.c
    query = query.order_by(c.created_at.desc(), c.id.desc()).limit(limit + 1)
    if cursor is None:
        return query
    at, id = decode(cursor, datetime, str)
    return query.where(or_(c.created_at < at, and_(c.created_at == at, c.id < id)))


def page(
    rows: Sequence[T], limit: int, position: Callable[[T], Sequence[datetime | str | int]]
) -> tuple[list[T], str | None]:
    """Splits ``limit + 1`` rows as queried into the page and the cursor of the next one, None at the end."""
    if len(rows) <= limit:
        return list(rows), None
    shown = list(rows[:limit])
    return shown, encode(*position(shown[-1]))


def _read(value: Any, kind: type) -> Any:
    if kind is datetime:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None or not 1 < at.year < 9999:  # at the ends of the calendar there is no UTC form
            raise ValueError
        return at
    if (
        type(value) is not kind
        or (isinstance(value, int) and abs(value) >= 2**63)
        or (isinstance(value, str) and not is_unicode(value))
    ):
        raise ValueError  # no database takes such a one
    return value
