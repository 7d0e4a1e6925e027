"""How long events from production are stored, and what keeps them longer: sums not made yet, evidence still in use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

KEY_DAYS = 30  # an Idempotency-Key is kept no longer than a token is valid


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionNeed:
    """Something that still needs what was received from ``since`` on."""

    since: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionLimit:
    """Everything from before ``before`` goes.

    ``held_by`` says what keeps rows that are older than their days; "" where nothing does.
    """

    before: datetime
    held_by: str = ""


def cut(now: datetime, days: int, holds: Iterable[RetentionNeed] = ()) -> RetentionLimit:
    """The start of the day (UTC) ``days`` days ago, or earlier where something holds what is older.

    Whole days: the sums of a day are made again until the day after it has ended, and must not shrink.

    Args:
        days: at least 1.
    """
    before = (now - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
    first = min(holds, key=lambda hold: hold.since, default=None)
    return (
        RetentionLimit(before=before)
        if first is None or first.since >= before
        else RetentionLimit(before=first.since, held_by=first.why)
    )
