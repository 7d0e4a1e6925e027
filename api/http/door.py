"""Limits the number of connections, says whose turn it is, and ends those whose time is over."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from time import thread_time
from typing import Protocol

from optimizer.core.base.errors import Busy
from optimizer.host.config import ServerLimits
from optimizer.host.ports_in_use import network_of

REST = 3  # times the processor time of the turn before: requests behind others have a quarter of what there is
LOOK_EVERY_S = 0.5  # for connections whose other side has had its time
LONGEST_TURN_S = 0.02  # an answer that takes longer waits for a model or the store, and holds up no turn


class Connection(Protocol):
    """What takes turns, and ends."""

    loop: asyncio.AbstractEventLoop

    def read_on(self) -> None: ...

    def has_request_in_work(self) -> bool: ...

    def end_if_late(self, now: float) -> None: ...


class Door:
    """The connections of one server, which take turns. Used on the event loop only.

    Args:
        limits: this process's share of the settings.
        per_address: most connections of one address that ``is_proxy`` does not know; None: no bound.
        share_text: what the refusal adds about the share.
    """

    def __init__(
        self, limits: ServerLimits, *, per_address: int | None, is_proxy: Callable[[str], bool], share_text: str = ""
    ) -> None:
        self.limits = limits
        self._per_address, self._is_proxy, self._share = per_address, is_proxy, share_text
        self._of: Counter[str] = Counter()
        self._open: dict[Connection, str] = {}  # with its network
        self._look: asyncio.TimerHandle | None = None
        self._line: dict[Connection, None] = {}  # those of which more has come, in the order of their turns
        self._turn_of: Connection | None = None
        self._turn_began = 0.0  # in processor time of this thread
        self._next: asyncio.TimerHandle | None = None  # the next turn, or the end of one that takes too long

    def enter(self, connection: Connection, address: str) -> Busy | None:
        """Counts a connection; the error says that there are too many. Each ``enter`` has its ``leave``."""
        network = self._open[connection] = network_of(address)
        self._of[network] += 1
        if self._look is None:
            self._look = connection.loop.call_later(LOOK_EVERY_S, self._end_late, connection.loop)
        if len(self._open) > self.limits.connections:
            return Busy(
                f"This server has {self.limits.connections:,} connections open, its most{self._share}. Connect again in"
                " a second."
            )
        if self._per_address is not None and self._of[network] > self._per_address and not self._is_proxy(address):
            return Busy(
                f"Your address has {self._per_address:,} connections open here, its most{self._share}. Use those, or"
                " close some; limits.connections_per_address is a setting, and a proxy belongs into"
                " api.trusted_proxies."
            )
        return None

    def leave(self, connection: Connection) -> None:
        network = self._open.pop(connection)
        self._of[network] -= 1
        if not self._of[network]:
            del self._of[network]

    def _end_late(self, loop: asyncio.AbstractEventLoop) -> None:
        for connection in list(self._open):
            connection.end_if_late(loop.time())
        self._look = loop.call_later(LOOK_EVERY_S, self._end_late, loop) if self._open else None

    def wait_for_turn(self, connection: Connection) -> None:
        """Connections read on one after the other, with a pause between them for those that came alone."""
        self._line[connection] = None
        if self._next is None:
            self._next = connection.loop.call_later(0, self._begin_turn)

    def _begin_turn(self) -> None:
        self._next = None
        if not self._line:
            return
        connection = next(iter(self._line))
        del self._line[connection]
        self._turn_of, self._turn_began = connection, thread_time()
        self._next = connection.loop.call_later(LONGEST_TURN_S, self.end_turn, connection)
        connection.read_on()
        if not connection.has_request_in_work():
            self.end_turn(connection)

    def end_turn(self, connection: Connection) -> None:
        """When its request is answered or has taken too long; does nothing without a turn."""
        if self._turn_of is not connection or self._next is None:
            return
        self._turn_of = None
        self._next.cancel()
        self._next = connection.loop.call_later(REST * (thread_time() - self._turn_began), self._begin_turn)
