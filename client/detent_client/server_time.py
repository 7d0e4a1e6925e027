"""The server's clock, as far as an answer of its own told it. This machine's clock may be wrong by an hour: it has no
say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

BEHIND_S = 2.0  # a Date has whole seconds, and servers write it once a second: so far it may lie behind


@dataclass(frozen=True, slots=True)
class ServerTime:
    """``date``: what an answer said, in seconds since 1970; ``sent_at``: when it was asked for, monotonic."""

    date: float
    sent_at: float

    def latest(self, monotonic_s: float) -> float:
        """The latest that the server's clock may show at a moment of the monotonic clock; it never shows more."""
        return self.date + BEHIND_S + (monotonic_s - self.sent_at)


def server_time_of(headers: Mapping[str, str], sent_at: float) -> ServerTime | None:
    """None where the answer has no Date."""
    try:
        return ServerTime(parsedate_to_datetime(headers["date"]).timestamp(), sent_at)
    except (KeyError, TypeError, ValueError):
        return None


def time_text(seconds: float) -> str:
    # At most the last second that a datetime holds: a Date may say anything.
    return datetime.fromtimestamp(min(seconds, 253_402_300_799), timezone.utc).isoformat().replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    """Since 1970, of a time with its zone. Raises ValueError."""
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if at.tzinfo is None:
        raise ValueError("a time needs its zone")
    return at.timestamp()
