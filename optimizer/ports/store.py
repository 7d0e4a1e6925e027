"""Everything that is kept, behind one door."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol, TypeVar

from optimizer.ports.alerts import Alerts, Audit
from optimizer.ports.api_keys import ApiKeys, KeyUsage
from optimizer.ports.deletion import PersonalData, RetainedRows
from optimizer.ports.events import Events, Exposures, Traffic
from optimizer.ports.examples import ExampleIndexes, Examples, Graphs, Reviews, Students
from optimizer.ports.judging import Calibrations, Runs
from optimizer.ports.outbox import Outbox
from optimizer.ports.performance import (
    DriftDetectors,
    MinuteStats,
    Performance,
    PipelineStats,
    SwitchWatches,
    TrafficSums,
)
from optimizer.ports.serving import (
    Blocks,
    Champions,
    FamilyNames,
    Freezes,
    Observations,
    Overrides,
    Rollouts,
    ServingVersion,
    UnitCounts,
)
from optimizer.ports.studies import Journal, Schedules, Studies
from optimizer.ports.transaction import Transaction
from optimizer.ports.variants import Playbooks, Variants


class Tables(Protocol):
    """Rows as values of JSON, under the keys of families in the place of their names; times as ISO 8601 in UTC."""

    def names(self) -> Sequence[str]:
        """Tables without secrets and without momentary state, in the order in which rows are to be added."""

    def revision(self) -> str:
        """The revision of the tables' columns."""

    def later_revision(self, tx: Transaction) -> str | None:
        """That of a store which a later version made, and which may hold what is not known here; else None."""

    def each(self, tx: Transaction, table: str) -> Iterator[Mapping[str, Any]]:
        """The rows by primary key, with few in memory at a time."""

    def add(self, tx: Transaction, table: str, rows: Sequence[Mapping[str, Any]]) -> int:
        """Adds the rows whose key is not there yet; returns how many. Raises ValueError for what is no row of the
        table.
        """

    def look_at_holdout(self, tx: Transaction, look: str, at: datetime) -> int:
        """Records a look, under this name, at every sealed example there is; returns how many there are."""


T = TypeVar("T")


class Store(Protocol):
    """Everything that is kept.

    ``write`` runs ``fn`` in the process's one writing transaction, grouped with what waits beside it.
    """

    events: Events
    exposures: Exposures
    traffic: Traffic
    examples: Examples
    reviews: Reviews
    graphs: Graphs
    calibrations: Calibrations
    students: Students
    example_indexes: ExampleIndexes
    runs: Runs
    variants: Variants
    playbooks: Playbooks
    performance: Performance
    minute_stats: MinuteStats
    traffic_sums: TrafficSums
    pipeline_stats: PipelineStats
    drift_detectors: DriftDetectors
    switch_watches: SwitchWatches
    studies: Studies
    journal: Journal
    rollouts: Rollouts
    blocks: Blocks
    unit_counts: UnitCounts
    observations: Observations
    champions: Champions
    family_names: FamilyNames
    overrides: Overrides
    freezes: Freezes
    schedules: Schedules
    retained: RetainedRows
    personal: PersonalData
    outbox: Outbox
    alerts: Alerts
    api_keys: ApiKeys
    key_usage: KeyUsage
    audit: Audit
    serving_version: ServingVersion
    tables: Tables

    def read(self) -> AbstractContextManager[Transaction]: ...
    def write(self, fn: Callable[[Transaction], T], *, rows: int = 1) -> T:
        """Returns after the commit is on disk. What ``fn`` raises undoes its own changes only, and is raised here.

        ``rows`` is about how many rows ``fn`` writes; too many waiting rows raise Busy. ``fn.together``, where there is
        one, takes the transaction and several such functions that share a commit, and gives the result of each; should
        it raise, each is called alone.
        """

    async def awrite(self, fn: Callable[[Transaction], T], *, rows: int = 1) -> T: ...

    @property
    def fault(self) -> str | None:
        """Why the last write of this process failed, or that the file was found damaged; None where all is well."""

    @property
    def lock_held(self) -> str | None:
        """The sentence that another process kept the last write waiting too long; None where it did not. It is no
        fault.
        """

    def look_again(self, *, reads_file: bool = True) -> None:
        """Whether what ``fault`` and ``lock_held`` say is over; nothing where they say nothing. May take seconds.

        ``reads_file``: whether a damaged file may be read again, which is done ever more seldom.
        """

    def compact(self) -> None:
        """Writes the whole file anew, without what was deleted: neither file nor log hold a byte of it afterwards.

        Other writers wait meanwhile; raises Busy where they or readers left no moment for it.
        """

    def damage(self) -> list[str]:
        """What is wrong with the file on disk, all of which is read; empty where it is sound."""

    def damage_by_tables(self) -> Iterator[list[str]]:
        """The same in parts, between which the caller may rest; ``fault`` takes what is found."""

    def close(self) -> None: ...


class Clock(Protocol):
    scale: float  # how much faster rollout_now runs than now; 1.0 = both are real time

    def now(self) -> datetime:
        """Real time, UTC: leases, ticks, timeouts, tokens."""

    def rollout_now(self) -> datetime:
        """The clock of rollout durations: real time, or scaled under profile demo."""
