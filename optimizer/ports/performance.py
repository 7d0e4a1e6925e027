"""Sums of what was reported, by day, minute and hour, and how champions do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from optimizer.core.base.minute_sums import DAY, HOUR, MinuteSums, Stretch
from optimizer.core.evaluation.suite import EvaluationBatch
from optimizer.core.family.settings import Metric
from optimizer.core.feedback.pipeline_record import PipelineRecord, PipelineSums
from optimizer.core.feedback.traffic_sums import TrafficSum
from optimizer.core.rollout.drift import ChampionWatch
from optimizer.core.rollout.switch_watch import ServedOutcome, SwitchWatch
from optimizer.ports.transaction import Transaction

Grouping = Literal["hour", "day", "processing_type", "content_type", "exit_checkpoint", "exit_reason"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySums:
    """Of what was received on one day (YYYY-MM-DD, UTC) of one variant and model, "" where an event names none.

    A mean without any value is None, and so are tokens where no request named them.
    """

    family: str
    variant: str
    model: str
    day: str
    n_interactions: int = 0
    n_errors: int = 0
    mean_latency_ms: float | None = None
    p95_latency_ms: float | None = None
    cost_usd: float = 0.0
    input_tokens: int | None = None
    output_tokens: int | None = None
    n_labelled: int = 0
    n_success: int = 0
    n_scored: int = 0
    mean_score: float | None = None


class Performance(Protocol):
    def add_batch(self, tx: Transaction, batch: EvaluationBatch) -> None: ...
    def batches(self, tx: Transaction, family: str) -> list[EvaluationBatch]:
        """Oldest first."""

    def day_sums(self, tx: Transaction, day: str) -> list[DaySums]:
        """What was received on one day (YYYY-MM-DD, UTC), summed up per family, variant and model.

        Reads every event of that day.
        """

    def days(self, tx: Transaction, families: Sequence[str], first: str, until: str) -> list[DaySums]:
        """The stored sums of the days in [first, until), by day, variant and model."""

    def put_day(self, tx: Transaction, day: str, rows: Sequence[DaySums]) -> None:
        """Keeps a day's sums in the place of earlier ones of that day."""


class MinuteStats(Protocol):
    def oldest(self, tx: Transaction, since: datetime) -> datetime | None:
        """When the first event since then was received; None when there was none."""

    def sums(self, tx: Transaction, start: datetime, until: datetime) -> list[MinuteSums]:
        """The events received in [start, until), summed up from the events themselves; both are full minutes."""

    def late(
        self, tx: Transaction, family: str, start: datetime, until: datetime, before: datetime
    ) -> list[MinuteSums]:
        """As ``sums``, of a family's events that happened before ``before``, as of an import."""

    def put(self, tx: Transaction, rows: Sequence[MinuteSums]) -> None:
        """Keeps each row in the place of an earlier one of the same minute and kind, and adds it to the sums of its
        hour and day, by family and of all.
        """

    def within(
        self,
        tx: Transaction,
        family: str,
        since: datetime,
        until: datetime,
        *,
        lengths: Sequence[int] = (HOUR, DAY),
        source: str | None = None,
    ) -> list[MinuteSums]:
        """Sums of days and hours as far as they lie in that time, and of minutes at its ends; without ``DAY`` among
        the ``lengths`` no longer ones than hours.
        """

    def hours(self, tx: Transaction, families: Sequence[str], since: datetime, until: datetime) -> list[MinuteSums]:
        """As ``within``, of several families and no longer sums than hours."""

    def of_all(
        self, tx: Transaction, families: Collection[str], since: datetime, until: datetime
    ) -> list[MinuteSums] | None:
        """Sums of these families together, from those of all less those of the others: it takes as long as there are
        others. None where minutes would have to be read, of which there are no such sums.
        """

    def days(self, tx: Transaction, since: datetime, until: datetime) -> list[MinuteSums]:
        """The sums of the days that begin in [since, until), of every family; the last one as far as it has come."""

    def n_judged(self, tx: Transaction, since: datetime, until: datetime) -> dict[str, int]:
        """How many scores of judges each family had, by the sums that ``of_all`` reads."""

    def summed(self, tx: Transaction) -> Stretch | None:
        """Hours and days that begin in it are summed up, scores among them; None before the first."""

    def of_family(
        self,
        tx: Transaction,
        family: str,
        since: datetime,
        *,
        until: datetime | None = None,
        variant: str | None = None,
        source: str | None = None,
    ) -> list[MinuteSums]:
        """The stored minutes from that of ``since`` on that begin before ``until``, in order of time.

        Source "": only interactions.
        """

    def counts(
        self, tx: Transaction, family: str, since: datetime, *, variants: Collection[str]
    ) -> tuple[int, int, int]:
        """How many requests of these variants the minutes since then hold, how many with a latency and with a cost."""

    def n_by_minute(self, tx: Transaction, family: str, since: datetime, *, source: str) -> dict[datetime, int]:
        """How many requests (source "") or outcomes of this source came in each minute that had one since then."""

    def asked_by(self, tx: Transaction, model: str, since: datetime) -> set[str]:
        """The families that had a request of this model in a minute since then."""

    def newest_hour(self, tx: Transaction) -> tuple[datetime, int] | None:
        """The last hour with events that are summed up, of any family, and their number so far."""

    def newest(self, tx: Transaction, family: str, since: datetime, *, source: str | None = None) -> datetime | None:
        """The last minute from ``since`` on in which an outcome came, of any source or of this one; with source "" a
        request. None where none did.
        """

    def watermark(self, tx: Transaction, name: str) -> datetime | None:
        """Up to when the job of that name has done its work, as it said itself."""

    def set_watermark(self, tx: Transaction, name: str, at: datetime) -> None: ...


class TrafficSums(Protocol):
    """What triggers, forecasts and settings read in the place of events."""

    def stretch(self, tx: Transaction) -> Stretch | None:
        """The stretch of which there are sums, in whole minutes; None before the first."""

    def of_minutes(self, tx: Transaction, start: datetime, until: datetime) -> list[TrafficSum]:
        """The events received in [start, until), summed up by minute from the events themselves; both are
        full minutes.
        """

    def put(self, tx: Transaction, rows: Sequence[TrafficSum], start: datetime, until: datetime) -> None:
        """Stores the sums of all minutes of [start, until), and those of the hours and days that have ended.

        Each replaces an earlier one, and everything counts as summed up until then. Nothing may have been received
        between the end of the stored sums and ``start``.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedTenure:
    """How a family's champion is doing by one metric, as far as its outcomes have been read."""

    family: str
    tenure: int  # seq of the champion
    watch: ChampionWatch
    read_until: datetime  # everything received before is in ``watch``


class DriftDetectors(Protocol):
    def get(self, tx: Transaction, family: str) -> list[WatchedTenure]:
        """One per metric, in the order in which they were put; none where nothing is known of the family yet."""

    def put(self, tx: Transaction, rows: Sequence[WatchedTenure]) -> None:
        """Stores all detectors of one tenure; they replace the family's earlier ones."""

    def outcomes(
        self,
        tx: Transaction,
        family: str,
        variant: str,
        metric: Metric,
        start: datetime,
        until: datetime,
        *,
        judge: str | None = None,
    ) -> Iterator[tuple[datetime, str, float]]:
        """(received at, unit, value in [0, 1]) of outcomes received in [start, until), in order of receipt, as they
        are asked for in the same transaction.

        An outcome without a unit counts as a unit of its own. ``judge``: only outcomes with this identity in their
        tags.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedSwitch:
    """What is known of a family's last switch that no evidence spoke for, as far as its outcomes have been read."""

    family: str
    tenure: int  # seq of the champion
    watch: SwitchWatch
    read_until: datetime  # everything received before, and as long before each moment of the reference, is in ``watch``


class SwitchWatches(Protocol):
    def get(self, tx: Transaction, family: str) -> WatchedSwitch | None: ...
    def all(self, tx: Transaction) -> dict[str, WatchedSwitch]:
        """The watches by family."""

    def put(self, tx: Transaction, row: WatchedSwitch) -> None:
        """Stores the watch; it replaces the family's earlier one."""

    def outcomes(
        self, tx: Transaction, family: str, metric: Metric, start: datetime, until: datetime, *, judge: str | None
    ) -> list[ServedOutcome]:
        """Outcomes received in [start, until), of all variants, in order of receipt.

        An outcome without a unit counts as a unit of its own.
        """

    def first_outcome(
        self, tx: Transaction, family: str, variant: str, metric: Metric, since: datetime
    ) -> datetime | None:
        """When the variant's first outcome since then was received; None: there is none."""


class PipelineStats(Protocol):
    def add(self, tx: Transaction, records: Sequence[PipelineRecord]) -> None:
        """Keeps records, whose ids are new, and adds them to the sums of their hours."""

    def sums(self, tx: Transaction, since: datetime, by: Sequence[Grouping]) -> dict[tuple[Any, ...], PipelineSums]:
        """Sums of the hours that begin at ``since`` or later, by their values of ``by``, in that order.

        Reads no record.
        """

    def records(self, tx: Transaction, since: datetime, limit: int) -> list[PipelineRecord]:
        """The last ``limit`` records received at ``since`` or later, oldest first."""
