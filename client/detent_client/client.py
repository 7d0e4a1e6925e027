"""The client of an application whose calls block."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import httpx

from detent_client.assignment import Assignment
from detent_client.background import EXIT_S, Background
from detent_client.choice import Choice
from detent_client.connection import Connection
from detent_client.fallback import Fallback, FallbackSource
from detent_client.outbox import MAX_EVENTS
from detent_client.prompt import Prompt
from detent_client.session import DAY_S, Session
from detent_client.status import Status
from detent_client.template import History, Variables


class BaseClient:
    """What both clients share: neither ``decide`` nor ``feedback`` ever waits for a server that answered once.

    Args:
        url: of the server.
        key: one of role feedback; None where the server asks for none.
        fallback: served where the server cannot say: a file that holds an answer of `GET /v1/snapshot`, such an answer
            as a dictionary, texts or messages by family, or a function of family and unit. With it nothing raises for
            what server or network do.
        max_stale: seconds, or a timedelta; an older snapshot is served no more, so that a withdrawn prompt does not
            live for ever.
        timeout: seconds that the first call waits for the first snapshot, at most.
        refresh: seconds between two looks at the server.
        families: that this application asks for; by default all that the key is for. Of others no texts are sent, since
            what they may keep is not known.
        max_events: that wait to be sent; where there are more the oldest is dropped and counted.
        transport: of httpx, for tests and unusual networks.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        fallback: Fallback | None = None,
        max_stale: float | timedelta = DAY_S,
        timeout: float = 2.0,
        refresh: float = 1.0,
        families: Sequence[str] | None = None,
        max_events: int = MAX_EVENTS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        connect = partial(Connection, url, key, transport, families)
        background = Background(connect, refresh_s=refresh, max_events=max_events)
        self._session = Session(
            background,
            fallback=FallbackSource(fallback) if fallback is not None else None,
            max_stale_s=max_stale.total_seconds() if isinstance(max_stale, timedelta) else float(max_stale),
            timeout_s=timeout,
        )
        # The threads know the background, and nothing of the client. How a program ends is in background.py. Garbage is
        # collected in any thread, whatever lock that holds, so this takes none.
        weakref.finalize(self, setattr, background, "is_forgotten", True).atexit = False

    def feedback(
        self,
        of: Prompt | Assignment | str,
        *,
        success: bool | None = None,
        score: float | None = None,
        label: str | None = None,
        expected: Mapping[str, Any] | None = None,
        source: str | None = None,
        occurred_at: datetime | None = None,
        tags: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> bool:
        """An outcome of a prompt, or of its ``assignment`` that was kept; now or in three days. It waits in memory and
        is sent within seconds.

        Args:
            score: in [0, 1].
            expected: the corrected output.
            source: user, person, judge or system.
            occurred_at: with its zone; by default now.
            id: your own name of it: sent again it counts once.
        Returns:
            False where it was dropped.
        Raises:
            ValueError: it says nothing. Where a fallback was given this is told in the log instead.
        """
        facts = {"success": success, "score": score, "label": label, "expected": expected, "source": source}
        facts["tags"] = tags
        at = occurred_at.isoformat() if isinstance(occurred_at, datetime) else occurred_at
        return self._session.feedback(of, facts, id=id, occurred_at=at)

    def status(self) -> Status:
        return self._session.status()

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """Of a FastAPI or Starlette application: sends what waits when it ends. Their servers end by a signal, at which
        Python runs no exit handlers.
        """
        try:
            yield
        finally:
            await asyncio.to_thread(self._session.background.close, EXIT_S)


class Client(BaseClient):
    """Decides in process which prompt a unit gets. Threads may share one.

    The first call starts a thread, which fetches the snapshot and sends what waits.
    """

    def decide(self, family: str, unit: str | None = None, *, count: bool = True) -> Choice:
        """The variant of a unit, with its messages open. ``count``: as an exposure."""
        return self._session.decide(family, unit, count=count)

    def prompt(
        self,
        family: str,
        /,
        *,
        unit: str | None = None,
        history: History = (),
        variables: Variables | None = None,
        **more: Any,
    ) -> Prompt:
        """The prompt of a unit, filled in; counted as an exposure. Variables come by name, or in ``variables``.

        Raises:
            DetentError: where no fallback was given, or none for this family.
        """
        return self._session.prompt(family, unit, {**(variables or {}), **more}, history)

    def flush(self, timeout: float = 5.0) -> bool:
        """Sends what waits, now. True where nothing is left."""
        return self._session.background.flush(timeout)

    def close(self, timeout: float = EXIT_S) -> None:
        """Sends what waits and ends the thread. A program that ends does so by itself."""
        self._session.background.close(timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
