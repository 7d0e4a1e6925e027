"""The connections that read: many at a time, and closed all together where SQLite needs that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from optimizer.adapters.store import family_names

PAUSE_S = 1.0  # reads take milliseconds; what takes longer is not worth holding up every other read


class Readers:
    """A pool of reading connections that can be renewed while some are in use.

    A pool that is disposed forgets the connections in use: they would come back to it after it is gone, and stay open
    for as long as Python likes. Each is closed here as soon as its read ends.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._generation = 0
        self._in_use = 0
        self._pausing = False
        self._changed = threading.Condition()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection in its transaction; waits up to PAUSE_S while all are being renewed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pausing, timeout=PAUSE_S)
            self._in_use += 1
            generation = self._generation
        connection: Connection | None = None
        try:
            connection = self._engine.connect()
            with connection.begin():
                family_names.look(connection)
                yield connection
        finally:
            with self._changed:  # between this look at the generation and the return to the pool, no pool may go
                self._in_use -= 1
                self._changed.notify_all()
                if connection is not None:
                    if generation != self._generation:
                        connection.invalidate()
                    connection.close()

    def renew(self) -> None:
        """Later reads get new connections; those in use are closed as their reads end."""
        with self._changed:
            self._generation += 1
            self._engine.dispose()

    def renew_with(self, close_others: Callable[[], object]) -> None:
        """There is a moment without any open connection, these and what ``close_others`` closes.

        New reads wait meanwhile for those in use; reads that last longer than PAUSE_S are not waited for, and the
        caller tries again at its next failure.
        """
        with self._changed:
            self._pausing = True
            try:
                self._changed.wait_for(lambda: not self._in_use, timeout=PAUSE_S)
                close_others()
                self.renew()
            finally:
                self._pausing = False
                self._changed.notify_all()

    def close(self) -> None:
        self._engine.dispose()
