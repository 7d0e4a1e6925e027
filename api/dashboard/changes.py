"""What changed in the store, told to every page that is open: one look a second for all of them, and none while no page
is open. A page that hears of a change asks for itself again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import structlog

from api.services import Services
from optimizer.jobs.feedback.roll_up_minutes import MINUTES
from optimizer.jobs.upkeep.read_status import TICKS_MISSED
from optimizer.ports import Transaction

LOOK_S = 1.0
ASK_S = 2.0  # between two questions whether a stream goes on; an ending server waits three seconds for it
ALIVE_S = 20.0  # between two signs of life, by which a proxy keeps the connection and a page that has gone is seen
# As pages name them in data-live: what somebody or the worker decided; how far runs and studies are; sums by minute.
Topic = Literal["acts", "work", "figures"]

log = structlog.get_logger("api.dashboard")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreGlance:
    """What differs as soon as a topic has changed. ``summed_until``: the end of the last minute with events that is
    summed up, or that of the look before.
    """

    acts: Any
    work: Any
    summed_until: datetime | None

    def changes_since(self, before: StoreGlance) -> set[Topic]:
        topics: dict[Topic, bool] = {
            "acts": self.acts != before.acts,
            "work": self.work != before.work,
            "figures": self.summed_until != before.summed_until,
        }
        return {topic for topic, has_changed in topics.items() if has_changed}


_AWAY = StoreGlance(acts="away", work=None, summed_until=None)


@dataclass(slots=True)
class _Listener:
    """One open page. ``topics``: what changed since it was told last."""

    topics: set[Topic] = field(default_factory=set)
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Changes:
    """Used on the event loop only; the looks themselves run in a thread."""

    def __init__(self) -> None:
        self._listeners: list[_Listener] = []
        self._watch: asyncio.Task[None] | None = None
        self._has_looked = asyncio.Event()

    async def events(self, shared: Services, goes_on: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Server-sent events, each naming the topics that changed, until ``goes_on`` says no."""
        listener = _Listener()
        self._listeners.append(listener)
        if self._watch is None or self._watch.done():
            self._has_looked.clear()
            self._watch = asyncio.create_task(self._look_on(shared))
        try:
            await self._has_looked.wait()  # from the first byte on no change is missed
            yield b"retry: 3000\n\n"
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
                listener.woken.clear()
                topics, listener.topics, quiet_s = listener.topics, set(), 0.0
                yield f"data: {' '.join(sorted(topics))}\n\n".encode()
        finally:
            self._listeners.remove(listener)

    async def _look_on(self, shared: Services) -> None:
        before: StoreGlance | None = None
        while self._listeners:
            try:
                glance = await asyncio.to_thread(_glance, shared, before)
            except Exception as error:  # whatever keeps the store from being read: the pages say what it is
                if before is not _AWAY:  # once until it is back
                    log.warning("the store could not be looked at for open pages", error=type(error).__name__)
                glance = _AWAY
            for topic in glance.changes_since(before) if before is not None else ():
                for listener in self._listeners:
                    listener.topics.add(topic)
                    listener.woken.set()
            before = glance
            self._has_looked.set()
            await asyncio.sleep(LOOK_S)


def _glance(shared: Services, before: StoreGlance | None) -> StoreGlance:
    with shared.store.read() as tx:
        return StoreGlance(
            acts=_acts(tx, shared),
            work=_work(tx, shared),
            summed_until=_summed_until(tx, shared, before.summed_until if before is not None else None),
        )


def _acts(tx: Transaction, shared: Services) -> Any:
    store = shared.store
    version, ticked_at = store.serving_version.read(tx)
    age_s = (shared.clock.now() - ticked_at).total_seconds() if ticked_at is not None else None
    return (
        version,
        age_s is not None and age_s < TICKS_MISSED * shared.settings.tick_seconds,  # whether a worker watches
        [entry["seq"] for entry in store.audit.page(tx, None, 1)[0]],
        [(alert.id, alert.detail) for alert in store.alerts.all(tx, open_only=True)],
    )


def _work(tx: Transaction, shared: Services) -> Any:
    store = shared.store
    return (
        [(run.id, run.status, run.n_done, run.stop_requested) for run in store.runs.unfinished(tx)],
        [
            (study.id, study.status, study.stop_requested, store.journal.spend(tx, study.id))
            for study in store.studies.unfinished(tx)
        ],
    )


def _summed_until(tx: Transaction, shared: Services, before: datetime | None) -> datetime | None:
    """Minutes without events are summed up, too, and change no page."""
    stats = shared.store.minute_stats
    until = stats.watermark(tx, MINUTES)
    if before is None or until is None or until == before:
        return until
    first = stats.oldest(tx, before)
    return until if first is not None and first < until else before
