"""Calibrations of judges that hold answers back: read from the store now and then, not at every request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

import structlog

from optimizer.core.evaluation.judging.calibration import Calibration, judge_identity
from optimizer.core.family.family import Family

FRESH_S = 30.0
log = structlog.get_logger("gateway")


class CalibrationCache:
    """By judge. Where the store is away the last one that was read holds; before the first there is none, and the judge
    does not decide. Used in one event loop.
    """

    def __init__(self, read: Callable[[Family], Calibration | None], now: Callable[[], float] = monotonic) -> None:
        self._read, self._now = read, now
        self._known: dict[tuple[str, str], tuple[float, Calibration | None]] = {}

    async def of(self, family: Family) -> Calibration | None:
        key = (family.name, judge_identity(family))
        read_at, known = self._known.get(key, (-FRESH_S, None))
        if self._now() - read_at < FRESH_S and key in self._known:
            return known
        try:
            known = await asyncio.to_thread(self._read, family)
        except Exception as error:  # whatever is wrong with the store: an answer does not wait for it
            log.error("calibration of a judge not read; the last one holds", family=family.name, error=str(error))
        self._known[key] = (self._now(), known)
        return known
