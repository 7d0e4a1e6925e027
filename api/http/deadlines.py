"""Deadlines for what a connection sends and reads, in each of its states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from api.http.problems import HeadersTooLarge, TooSlow
from optimizer.core.base.errors import DetentError
from optimizer.host.config import ServerLimits

MAX_HEADER_BYTES = 64 * 1024  # of a head, and of a body's parts without content: trailers, extensions of a chunk
# an answer stays readable for so long while what is still sent is thrown away; closing at once would take it back
LINGER_S = 5.0


@dataclass(slots=True)
class Deadlines:
    """The deadlines of one connection. Times are seconds of the event loop's clock."""

    limits: ServerLimits
    reading: Literal["headers", "body"] | None = None
    since: float = 0.0  # when it began to wait for what it reads
    n_header_bytes: int = 0  # since the request began, or since its last content
    n_unused_bytes: int = 0  # of a body, since its answer was complete
    unread_since: float | None = None  # the other side does not take what is written to it
    closing_since: float | None = None
    refused_at: float | None = None
    idle_since: float | None = None  # the last answer is sent, and nothing more has come

    def begin(self, what: Literal["headers", "body"], now: float) -> None:
        self.reading, self.since, self.idle_since = what, now, None
        self.n_header_bytes = self.n_unused_bytes = 0

    @property
    def reads_body(self) -> bool:
        return self.reading == "body" and self.refused_at is None

    def too_much(self) -> DetentError | None:
        """What refuses more of a head, or of what is no content of a body."""
        if self.n_header_bytes <= MAX_HEADER_BYTES:
            return None
        what = "headers" if self.reading == "headers" else "trailers of the body"
        return HeadersTooLarge(f"The {what} are larger than {MAX_HEADER_BYTES:,} bytes. Send fewer or shorter ones.")

    def unused(self, n_bytes: int) -> bool:
        """Whether too much of a body came behind its answer."""
        self.n_unused_bytes += n_bytes
        return self.n_unused_bytes > self.limits.body_bytes

    def late(
        self, now: float, *, is_closing: bool, is_paused: bool, is_held: bool = False
    ) -> Literal["end"] | DetentError | None:
        """What becomes of the connection; an error is its answer.

        ``is_paused``: the server itself reads nothing. ``is_held``: the connection has more than one turn reads, which
        has its time like any other.
        """
        if self.refused_at is not None:
            return "end" if now - self.refused_at > LINGER_S else None
        if is_closing:
            self.closing_since = self.closing_since or now
        waits_since = self.closing_since if is_closing else self.unread_since
        if waits_since is not None:  # what was written is not taken
            return "end" if now - waits_since > self.limits.stalled_seconds else None
        if self.reading is None:
            is_over = self.idle_since is not None and now - self.idle_since > self.limits.idle_seconds
            return "end" if is_over else None
        if is_paused:
            self.since = now  # here the server is the slow one
        most = self.limits.header_seconds if self.reading == "headers" else self.limits.body_seconds
        if now - self.since <= most:
            return None
        if is_held and self.reading == "body":
            return TooSlow(
                f"The request's body came in more pieces than could be read in turns within {most:g} s, so the"
                " connection is closed and nothing was kept. Send it with Content-Length, which makes it one piece;"
                " limits.body_seconds is a setting."
            )
        return TooSlow(
            f"The request's {self.reading} did not arrive within {most:g} s, so the connection is closed and nothing"
            f" was kept. Send it again at once; limits.{self.reading.removesuffix('s')}_seconds is a setting."
        )
