"""What decides which Variant is served: champions, overrides, freezes, names, and rollouts with what a tick reads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from optimizer.core.family.settings import Metric
from optimizer.core.rollout.blocks import ArmName, ReportedRequest, StoredBlock
from optimizer.core.rollout.cohorts import Cohort
from optimizer.core.serving.assignment import Override
from optimizer.core.serving.rollout import Champion, Decision, Freeze, Rollout
from optimizer.ports.transaction import Transaction


class Champions(Protocol):
    def current(self, tx: Transaction, family: str) -> Champion | None: ...
    def all_current(self, tx: Transaction) -> list[Champion]:
        """The current champion of every family, by family."""

    def history(self, tx: Transaction, family: str) -> list[Champion]: ...
    def put(self, tx: Transaction, champion: Champion) -> None:
        """Ends the current tenure at ``champion.since`` and starts this one."""

    def end(self, tx: Transaction, family: str, at: datetime) -> None:
        """Ends the current tenure, and none follows."""

    def resume(self, tx: Transaction, family: str) -> Champion | None:
        """Lets the last tenure go on as if it had not ended; None where there never was one."""


class Overrides(Protocol):
    def put(self, tx: Transaction, family: str, unit_hmac: str, override: Override, by: str, at: datetime) -> None: ...
    def active(self, tx: Transaction, now: datetime) -> list[tuple[str, str, Override]]:
        """(family, unit_hmac, override)."""


class Freezes(Protocol):
    """``scope``: a family, or "" for all."""

    def put(self, tx: Transaction, scope: str, reason: str, by: str, at: datetime) -> None: ...
    def remove(self, tx: Transaction, scope: str) -> bool:
        """False when there was none."""

    def all(self, tx: Transaction) -> list[Freeze]: ...


class ServingVersion(Protocol):
    def bump(self, tx: Transaction) -> None: ...
    def read(self, tx: Transaction) -> tuple[int, datetime | None]:
        """(version, last tick)."""

    def mark(self, tx: Transaction) -> object:
        """Equal to an earlier one only where nothing at all was committed between the two transactions."""

    def ticked(self, tx: Transaction, at: datetime) -> None: ...


class FamilyNames(Protocol):
    """What families are called.

    A name that is none of these is its family's only one. Every other part of the store takes present and former names,
    and gives the present one.
    """

    def former(self, tx: Transaction) -> dict[str, str]:
        """The present name by each former one, those of retired families included."""

    def names_of(self, tx: Transaction, name: str) -> set[str]:
        """Every name that the family of this one has or had."""

    def retired(self, tx: Transaction, name: str) -> str | None:
        """The present name, such as ``triage~1``, of the family that was last retired under this one."""

    def since(self, tx: Transaction, name: str) -> datetime | None:
        """Since when the name, which may be a former one, has meant its present family; None: always."""

    def rename(self, tx: Transaction, old: str, new: str, at: datetime) -> None:
        """Keys for the old name are for the new one too, and what is sealed for either is sealed for ``new``.

        Open alerts whose subject is the old name are about the new one.

        Raises Conflict where the family has opened rows that are sealed for ``new``.
        """

    def next_retired(self, tx: Transaction, name: str) -> str:
        """The name that ``retire`` would give it."""

    def retire(self, tx: Transaction, name: str, at: datetime) -> str:
        """Frees the name, and keeps its holdout sealed for who takes it; the name that the family has from now on."""

    def restore(self, tx: Transaction, retired: str, name: str, at: datetime) -> None:
        """Gives a retired family its name back, which nobody has. Looks of other families of that name count for it."""

    def claim(self, tx: Transaction, name: str, at: datetime) -> str | None:
        """Lets a new family have this name, under which nothing of a retired one is found any more.

        Returns the family that has it as a former name, and keeps it; None: the name may be used.
        """

    def n_sealed(self, tx: Transaction, name: str) -> int:
        """Inputs that stay sealed for a family of this name, since they were in the holdout of a retired one."""


class Rollouts(Protocol):
    def add(self, tx: Transaction, rollout: Rollout) -> None:
        """Raises Conflict when the family has an active rollout."""

    def get(self, tx: Transaction, id: str) -> Rollout | None: ...
    def active(self, tx: Transaction, family: str) -> Rollout | None: ...
    def latest(self, tx: Transaction, family: str, *, before: datetime | None = None) -> Rollout | None:
        """The newest one; of those that were made before a time, where one is named."""

    def last_against(self, tx: Transaction, family: str, *, candidate: str, champion: str) -> Rollout | None:
        """The newest rollout of this candidate against this champion."""

    def all_active(self, tx: Transaction) -> list[Rollout]: ...
    def all_latest(self, tx: Transaction) -> dict[str, Rollout]:
        """The newest rollout of every family that had one, by family."""

    def page(
        self, tx: Transaction, *, family: str | None, cursor: str | None, limit: int
    ) -> tuple[list[Rollout], str | None]:
        """Newest first, and the cursor of the next page."""

    def following(self, tx: Transaction, rollout: Rollout) -> Rollout | None:
        """The family's next rollout, made after this one."""

    def save(self, tx: Transaction, rollout: Rollout, decision: Decision | None) -> None:
        """Writes the rollout where its stored version is ``rollout.version - 1``, and appends the decision.

        Raises StaleVersion otherwise.
        """

    def renew_lease(self, tx: Transaction, id: str, until: datetime) -> None:
        """No decision and no new version: a lease is a heartbeat."""

    def decision_counts(self, tx: Transaction) -> dict[tuple[str, str], int]:
        """How many there are by family and kind."""

    def decisions(self, tx: Transaction, rollout: str) -> list[Decision]: ...
    def last_decision(self, tx: Transaction, rollout: str) -> Decision | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    """What the tick knows of a rollout after ``n_blocks`` blocks, as text."""

    n_blocks: int
    state: str
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCount:
    """What a unit has been counted for in one stage; ``cohort_start`` None until its first cohort is closed."""

    cohort_start: datetime | None = None
    n_values: int = 0  # in guardrail blocks
    last_minute: int | None = None  # minutes since 1970 of the last of them


class Blocks(Protocol):
    def state(self, tx: Transaction, rollout: str) -> EvidenceRow | None: ...
    def states_of_active(self, tx: Transaction) -> dict[str, EvidenceRow]:
        """What is known of each active rollout that the tick has looked at, by its id."""

    def put_state(self, tx: Transaction, rollout: str, row: EvidenceRow) -> None: ...
    def add(self, tx: Transaction, blocks: Sequence[StoredBlock]) -> None: ...
    def of_rollout(self, tx: Transaction, rollout: str, *, kind: str | None = None) -> list[StoredBlock]:
        """The blocks in the order of their numbers; all of them, or those of one kind."""

    def each(self, tx: Transaction, rollout: str) -> Iterator[StoredBlock]:
        """All blocks in that order, a few in memory at a time. Raises ValueError where one cannot be read."""


class UnitCounts(Protocol):
    """What the units of rollouts were counted for, by rollout."""

    def get(self, tx: Transaction, rollout: str, stage: int, units: Collection[str]) -> dict[str, UnitCount]:
        """The counts of those units (HMACs) that have been counted for anything."""

    def put(self, tx: Transaction, rollout: str, n_blocks: int, counts: Mapping[tuple[int, str], UnitCount]) -> None:
        """What a look has counted (stage, unit) for; ``n_blocks``: of the rollout, those of the look included."""

    def sums(self, tx: Transaction, rollout: str) -> tuple[int, int]:
        """(units in a closed cohort, values that units gave to guardrail blocks), over all stages, as stored.

        Raises ValueError where that cannot be read.
        """

    def forget_idle(self) -> None:
        """Frees the memory of rollouts that no look asks about any more."""

    def forget_all(self) -> None:
        """Everything leaves the memory; asked again, it is read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetches:
    arm: ArmName
    stage: int
    window_start: datetime
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOutcomes:
    """``means``: unit -> mean of its outcomes, in [0, 1]; ``first_at``: unit -> when the first of them was received;
    ``by_key``: key -> labelled units that it brought (``labelled_by_key``).
    """

    means: Mapping[str, float]
    first_at: Mapping[str, datetime]
    by_key: Mapping[str, float] = field(default_factory=dict)


class Observations(Protocol):
    """What a tick reads; ``stage`` is an index into the ladder. Every time is real time, but ``cohort_start``."""

    def requests(self, tx: Transaction, rollout: Rollout, since: datetime, until: datetime) -> list[ReportedRequest]:
        """Interactions of both arms that count in [since, until) (``counted_at``), in the order of their starts."""

    def fetches(self, tx: Transaction, rollout: Rollout, since: datetime, until: datetime) -> list[Fetches]: ...
    def cohort_units(
        self, tx: Transaction, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> dict[str, ArmName]:
        """Units (HMACs) with a report of any kind of this stage and cohort that was received until then."""

    def recomputed_units(
        self, tx: Transaction, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> Mapping[str, Collection[str]]:
        """The cohort's units of which no report came with a token -> the keys that sent them."""

    def outcomes(
        self,
        tx: Transaction,
        rollout: Rollout,
        cohort: Cohort,
        units: Collection[str],
        *,
        metric: Metric,
        received_since: datetime,
        received_until: datetime,
    ) -> UnitOutcomes:
        """Unit -> the mean of its outcomes of the cohort's stage, for units that have some.

        Of judges' feedback only that of the judge whose identity the rollout's settings name under ``judge``, where
        they do. Outcomes of earlier cohorts came too late for theirs and are left out. ``received_since`` and
        ``received_until`` are when the cohort started and closes.
        """

    def outside(self, tx: Transaction, family: str, since: datetime, until: datetime) -> set[str]:
        """Units that were served outside a rollout, by reports received in [since, until]."""

    def reporters(self, tx: Transaction, family: str, since: datetime, limit: int) -> tuple[int, int]:
        """Of the newest ``limit`` interactions of the family since then: how many there are, and how many of them
        applications reported, which had called the model themselves.
        """

    def delays_s(self, tx: Transaction, family: str, variant: str, since: datetime, limit: int) -> list[float]:
        """Seconds between interaction and outcome, of the newest ``limit`` outcomes that name their interaction."""

    def late_feedback(
        self,
        tx: Transaction,
        rollout: Rollout,
        since: datetime,
        until: datetime,
        closed_at: Callable[[datetime], datetime],
    ) -> dict[ArmName, tuple[int, int]]:
        """Arm -> (feedback received after its cohort closed, all feedback), of the cohorts that started in [since,
        until].

        ``closed_at``: start of a cohort -> the real time at which it closed.
        """
