"""How numbers of things and times are written for people, wherever they read them."""

from __future__ import annotations

from datetime import UTC, datetime


def count(n: int, one: str, many: str | None = None) -> str:
    """``1 block``, ``1,200 blocks``; ``many`` where the plural is not ``one`` and an s."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def when(at: datetime) -> str:
    """In UTC, to the second; values for programs stay ISO 8601."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
