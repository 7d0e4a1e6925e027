"""Counts what each sender has under way: requests, and bytes of bodies that have arrived.

Counted as received, never as announced.

A body that is announced and does not come costs its sender a connection for a while (``api.http.connections``), and
costs others nothing.
"""

from __future__ import annotations

from collections import Counter

from optimizer.core.base.errors import Busy, TooMany
from optimizer.host.config import ServerLimits


class InFlight:
    """The counts of one process, against its share of the limits. Used on the event loop only, so it needs no lock."""

    def __init__(self, limits: ServerLimits, workers: int = 1) -> None:
        self.limits, self.share_text = limits.share(workers), share_text(workers)
        self.n_bytes = 0
        self.requests_of: Counter[str] = Counter()
        self.bytes_of: Counter[str] = Counter()


class Passage:
    """One request from its first byte to the last byte of its answer."""

    __slots__ = ("_all", "_n_bytes", "_sender")

    def __init__(self, in_flight: InFlight) -> None:
        self._all, self._sender, self._n_bytes = in_flight, "", 0

    def admit(self, sender: str) -> None:
        """Counts the request for a key, or an address that has none.

        Raises TooMany where that has as many in work as it may.
        """
        most = self._all.limits.requests_at_once
        n_in_work = self._all.requests_of.get(sender, 0)
        if n_in_work >= most:
            raise TooMany(
                f"{most:,} requests of this sender are in work already. Send this one again when others have been"
                f" answered; limits.requests_at_once is a setting{self._all.share_text}.",
                limit=most,
                retry_after_s=1,
            )
        self._all.requests_of[sender] = n_in_work + 1
        self._sender = sender

    def take(self, n_bytes: int) -> None:
        """Counts bytes of the body. One body always fits, however small the limits.

        Raises:
            TooMany: this sender's bodies together hold too much.
            Busy: those of all senders do.
        """
        if not n_bytes:
            return  # an entry of 0 would stay
        limits, others = self._all.limits, self._all.bytes_of[self._sender] - self._n_bytes
        mine = self._n_bytes + n_bytes
        if others and others + mine > limits.held_bytes_per_sender:
            raise TooMany(
                f"Other bodies of this sender that are being read or kept hold {others:,} bytes, and"
                f" {limits.held_bytes_per_sender:,} is the most at once. Send this one again when they have been"
                f" answered; limits.held_bytes_per_sender is a setting{self._all.share_text}.",
                limit_bytes=limits.held_bytes_per_sender,
                retry_after_s=1,
            )
        others = self._all.n_bytes - self._n_bytes
        if others and others + mine > limits.held_bytes:
            raise Busy(
                "Bodies arrive faster than they are kept, so this one was not read. Send it again in a second.",
                retry_after_s=1,
            )
        self._n_bytes = mine
        self._all.n_bytes += n_bytes
        self._all.bytes_of[self._sender] += n_bytes

    def end(self) -> None:
        """Gives back what the request held."""
        _give_back(self._all.requests_of, self._sender, 1)
        if self._n_bytes:
            _give_back(self._all.bytes_of, self._sender, self._n_bytes)
            self._all.n_bytes -= self._n_bytes


def share_text(workers: int) -> str:
    """Ends a sentence about a limit that several processes share; "" for one process."""
    return f", of which each of the API's {workers} processes has its share" if workers > 1 else ""


def _give_back(counts: Counter[str], sender: str, n: int) -> None:
    n_left = counts.get(sender, 0) - n
    if n_left > 0:
        counts[sender] = n_left
    else:
        counts.pop(sender, None)
