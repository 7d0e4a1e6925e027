"""What ``detent status`` and GET /v1/status tell of a family beside what serves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from optimizer.core.scheduling.schedule import ScheduleInForce
from optimizer.core.serving.assignment import holdback_of
from optimizer.core.serving.rollout import Champion
from optimizer.core.views.champion_watch import watch_in_words
from optimizer.ports import CallerRecord, Clock, Store, Transaction, TruncatedInput


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleBrief:
    on: bool
    holdout: bool
    cron: str | None
    source: Literal["file", "store"]
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation:
    """An input that was ever cut, with the requests in which it was."""

    input: str
    n_requests: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCaller:
    """A program that was refused, or came without a key, in the last day."""

    name: str
    n_requests: int
    last_at: datetime


def schedule_brief(schedule: ScheduleInForce) -> ScheduleBrief:
    return ScheduleBrief(
        on=schedule.on, holdout=schedule.holdout, cron=schedule.cron, source=schedule.source, by=schedule.by
    )


def truncated_of(found: Iterable[TruncatedInput], family: str) -> list[Truncation]:
    return [
        Truncation(input=one.input, n_requests=one.n_requests, last_at=one.last_at)
        for one in found
        if one.family == family
    ]


def seen_of(callers: Iterable[CallerRecord], kind: Literal["refused", "keyless"]) -> list[SeenCaller]:
    return [
        SeenCaller(name=one.name, n_requests=one.n_requests, last_at=one.last_at) for one in callers if one.kind == kind
    ]


def watched(tx: Transaction, store: Store, clock: Clock, champion: Champion) -> str | None:
    """What the champion is compared with, and until when, as a sentence; None where with nothing."""
    switch = store.switch_watches.get(tx, champion.family)
    return watch_in_words(
        champion,
        holdback=holdback_of(champion, store.rollouts.latest(tx, champion.family), clock.scale),
        switch=switch.watch if switch is not None and switch.reign == champion.seq else None,
        now=clock.now(),
    )
