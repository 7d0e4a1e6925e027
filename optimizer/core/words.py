"""How numbers of things, dollars and times are written for people, wherever they read them."""

from __future__ import annotations

from datetime import UTC, datetime
from math import floor, log10


def count(n: int, one: str, many: str | None = None) -> str:
    """``1 block``, ``1,200 blocks``; ``many`` where the plural is not ``one`` and an s."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def dollars(amount: float) -> str:
    """``$1.20``; of less than a cent two digits that count: ``$0.000023``."""
    if amount >= 0.01 or amount <= 0:
        return f"${amount:.4f}".removesuffix("00") if amount < 1 else f"${amount:,.2f}"
    return f"${amount:.{1 - floor(log10(amount))}f}"


def when(at: datetime) -> str:
    """In UTC, to the second; values for programs stay ISO 8601."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(hours: float) -> str:
    """``3.5 days``, ``2.0 hours``, ``1 minute``: as exact as one would say it."""
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours:.1f} hours" if hours >= 1 else count(round(hours * 60), "minute")
