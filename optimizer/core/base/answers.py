"""What answers are made of: a page of a list, JSON that a stranger wrote, entity tags as RFC 9110 compares them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any, Generic, TypeVar

from optimizer.core.base.errors import Fault, InvalidInput, PreconditionFailed

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


def etag_of(content: bytes) -> str:
    """A strong tag of these bytes, quotes included."""
    return f'"{sha256(content).hexdigest()[:32]}"'


def is_listed(etag: str, header: str | None) -> bool:
    """Whether an If-Match or If-None-Match header names this tag (``*`` names every tag).

    Weak tags compare by their text.
    """
    if header is None:
        return False
    if header.strip() == "*":
        return True
    wanted = etag.removeprefix("W/")
    return any(tag.strip().removeprefix("W/") == wanted for tag in header.split(","))


def check_preconditions(current: str | None, *, if_match: str | None, if_none_match: str | None) -> None:
    """Raises PreconditionFailed when the resource is not in the state that the sender of a PUT saw;
    None means it does not exist.
    """
    if if_match is not None and (current is None or not is_listed(current, if_match)):
        raise PreconditionFailed(
            f"If-Match asked for {if_match}, and the resource has {current or 'never been written'}. Read it again and"
            " decide anew.",
            current=current,
        )
    if if_none_match is not None and current is not None and is_listed(current, if_none_match):
        raise PreconditionFailed(
            f"If-None-Match asked for a resource that is not {if_none_match}, and it is {current}.",
            current=current,
        )
