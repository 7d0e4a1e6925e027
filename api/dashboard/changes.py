"""What changed in the store, told to every page that is open: one look a second for all of them, and none while no page
is open. A page that hears of a change asks for itself again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from api.services import Services
from optimizer.jobs.upkeep.glance_at_store import AWAY, StoreGlance, Topic, glance_at_store
from optimizer.jobs.upkeep.read_status import TICKS_MISSED

LOOK_S = 1.0
ASK_S = 2.0  # between two questions whether a stream goes on; an ending server waits three seconds for it
APART_S = 0.05  # between pages told of one change: fifty that ask at the same moment would hold up prompts
ALIVE_S = 20.0  # between two signs of life, by which a proxy keeps the connection and a page that has gone is seen
log = structlog.get_logger("api.dashboard")


@dataclass(slots=True)
class _Listener:
    """One open page. ``topics``: what changed since it was told last, as pages name it in `topics`."""

    topics: set[Topic] = field(default_factory=set)
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Changes:
    """Used on the event loop only; the looks themselves run in a thread."""

    def __init__(self) -> None:
        self._listeners: list[_Listener] = []
        self._watch: asyncio.Task[None] | None = None
        self._next_look = asyncio.Event()  # of a look that has not begun

    async def events(self, shared: Services, goes_on: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Server-sent events, each named for a topic that changed, until ``goes_on`` says no."""
        listener = _Listener()
        self._listeners.append(listener)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look_on(shared))
        try:
            # A page asks when the stream begins. From a look on that is younger than the page it misses no change, not
            # even what began and ended between two looks.
            await self._next_look.wait()
            yield b"retry: 3000\nevent: begin\ndata: now\n\n"
            quiet_s = 0.0
            while goes_on():
                try:
                    await asyncio.wait_for(listener.woken.wait(), ASK_S)
                except TimeoutError:
                    quiet_s += ASK_S
                    if quiet_s >= ALIVE_S:
                        quiet_s = 0.0
                        yield b":\n\n"
                    continue
                await asyncio.sleep(min(ASK_S, APART_S * self._listeners.index(listener)))
                listener.woken.clear()
                topics, listener.topics, quiet_s = listener.topics, set(), 0.0
                yield "".join(f"event: {topic}\ndata: changed\n\n" for topic in sorted(topics)).encode()
        finally:
            self._listeners.remove(listener)

    async def _look_on(self, shared: Services) -> None:
        before: StoreGlance | None = None
        while self._listeners:
            look, self._next_look = self._next_look, asyncio.Event()
            try:
                glance = await asyncio.to_thread(_glance, shared)
            except Exception as error:  # whatever keeps the store from being read: the pages say what it is
                if before is not AWAY:  # once until it is back
                    log.warning("the store could not be looked at for open pages", error=type(error).__name__)
                glance = AWAY
            for topic in glance.changes_since(before) if before is not None else ():
                for listener in self._listeners:
                    listener.topics.add(topic)
                    listener.woken.set()
            before = glance
            look.set()
            await asyncio.sleep(LOOK_S)


def _glance(shared: Services) -> StoreGlance:
    watched_within = timedelta(seconds=TICKS_MISSED * shared.settings.tick_seconds)
    return glance_at_store(shared.store, shared.clock, watched_within=watched_within)
