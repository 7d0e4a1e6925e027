"""Sums of what was reported, by day and minute, and how champions do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from optimizer.core.base.minute_sums import MinuteSums
from optimizer.core.family.settings import Metric
from optimizer.core.rollout.drift import ChampionWatch
from optimizer.ports.transaction import Transaction


class Performance(Protocol):
    def add_batch(self, tx: Transaction, batch: Mapping[str, Any]) -> None: ...
    def batches(self, tx: Transaction, family: str) -> list[dict[str, Any]]: ...
    def day_sums(self, tx: Transaction, day: str) -> list[dict[str, Any]]:
        """What was received on one day (YYYY-MM-DD, UTC), summed up per family, variant and model.

        Reads every event of that day.
        """

    def put_day(self, tx: Transaction, day: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keeps a day's sums in the place of earlier ones of that day."""

    def daily(self, tx: Transaction, family: str) -> list[dict[str, Any]]: ...


class MinuteStats(Protocol):
    def oldest(self, tx: Transaction, since: datetime) -> datetime | None:
        """When the first event since then was received; None when there was none."""

    def sums(self, tx: Transaction, start: datetime, until: datetime) -> list[MinuteSums]:
        """The events received in [start, until), summed up from the events themselves; both are full minutes."""

    def put(self, tx: Transaction, rows: Sequence[MinuteSums]) -> None:
        """Keeps each row in the place of an earlier one of the same minute and kind."""

    def of_family(
        self, tx: Transaction, family: str, since: datetime, *, variant: str | None = None, source: str | None = None
    ) -> list[MinuteSums]:
        """What was kept from the minute of ``since`` on, in order of time; source "" for interactions alone."""

    def watermark(self, tx: Transaction, name: str) -> datetime | None:
        """Up to when the job of that name has done its work, as it said itself."""

    def set_watermark(self, tx: Transaction, name: str, at: datetime) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedReign:
    """How a family's champion is doing, as far as its outcomes have been read."""

    family: str
    reign: int  # seq of the champion
    watch: ChampionWatch
    read_until: datetime  # everything received before is in ``watch``


class DriftDetectors(Protocol):
    def get(self, tx: Transaction, family: str) -> WatchedReign | None: ...
    def put(self, tx: Transaction, row: WatchedReign) -> None:
        """In the place of the family's earlier one."""

    def outcomes(
        self, tx: Transaction, family: str, variant: str, metric: Metric, start: datetime, until: datetime
    ) -> list[tuple[datetime, str, float]]:
        """(received at, unit, value in [0, 1]) of what was received in [start, until), in order of receipt.

        An outcome that names no unit stands for one of its own.
        """
