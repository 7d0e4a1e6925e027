"""The two sources of evidence that a look at a rollout may read, each as of one moment.

``StoreEvidence`` is the store, ``RecordedEvidence`` a recording that a self-test replays. ``stage`` is an index into
the ladder. Every time is real time, except ``cohort_start``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from optimizer.core.base.minute_sums import MinuteSums
from optimizer.core.family.settings import Metric
from optimizer.core.forecast.selftest import RecordedRollout
from optimizer.core.rollout.blocks import ArmName, ReportedRequest
from optimizer.core.rollout.cohorts import Cohort
from optimizer.core.rollout.evidence_state import StoredEvidence, as_text
from optimizer.core.serving.rollout import Rollout
from optimizer.ports import EvidenceRow, Fetches, Store, Transaction, UnitCount, UnitOutcomes


@dataclass(frozen=True, slots=True)
class StoreEvidence:
    """What was served and reported, as one transaction sees it."""

    store: Store
    tx: Transaction

    def state(self, rollout: str) -> EvidenceRow | None:
        """What earlier looks stored of the rollout; None before the first look."""
        return self.store.blocks.state(self.tx, rollout)

    def unit_counts(self, rollout: str, stage: int, units: Collection[str]) -> Mapping[str, UnitCount]:
        return self.store.unit_counts.get(self.tx, rollout, stage, units)

    def minute_sums(self, family: str, variant: str, since: datetime) -> list[MinuteSums]:
        """The variant's requests from the minute of ``since`` on, in order of time."""
        return self.store.minute_stats.of_family(self.tx, family, since, variant=variant, source="")

    def requests(self, rollout: Rollout, since: datetime, until: datetime) -> list[ReportedRequest]:
        return self.store.observations.requests(self.tx, rollout, since, until)

    def fetches(self, rollout: Rollout, since: datetime, until: datetime) -> list[Fetches]:
        return self.store.observations.fetches(self.tx, rollout, since, until)

    def cohort_units(
        self, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> Mapping[str, ArmName]:
        return self.store.observations.cohort_units(self.tx, rollout, stage, cohort_start, received_until)

    def recomputed_units(
        self, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> Mapping[str, Collection[str]]:
        return self.store.observations.recomputed_units(self.tx, rollout, stage, cohort_start, received_until)

    def exposures(self, rollout: str) -> Mapping[tuple[str, str, float | None], int]:
        """(key, variant, share) -> exposures that clients reported."""
        return self.store.exposures.reported(self.tx, rollout)

    def outcomes(self, rollout: Rollout, cohort: Cohort, units: Collection[str], **which: Any) -> UnitOutcomes:
        return self.store.observations.outcomes(self.tx, rollout, cohort, units, **which)

    def outside(self, family: str, since: datetime, until: datetime) -> set[str]:
        return self.store.observations.outside(self.tx, family, since, until)


@dataclass(slots=True, kw_only=True)
class RecordedEvidence:
    """A recording whose units are dealt to the arms anew.

    What looks close stays in memory. ``usual`` holds the champion's sums by minute.
    """

    replay: RecordedRollout
    usual: MinuteSums
    row: EvidenceRow | None = None
    counted: dict[tuple[int, str], UnitCount] = field(default_factory=dict)
    quality_labelled: int = 0

    def keep(self, known: StoredEvidence, units: Mapping[tuple[int, str], UnitCount], at: datetime) -> None:
        """Stores what a look has closed, for the next look."""
        state = known.state
        self.row = EvidenceRow(n_blocks=state.n_blocks, state=as_text(known), updated_at=at)
        self.counted.update(units)
        self.quality_labelled = state.quality.labelled

    def state(self, rollout: str) -> EvidenceRow | None:
        return self.row

    def unit_counts(self, rollout: str, stage: int, units: Collection[str]) -> Mapping[str, UnitCount]:
        return {unit: self.counted[stage, unit] for unit in units if (stage, unit) in self.counted}

    def minute_sums(self, family: str, variant: str, since: datetime) -> list[MinuteSums]:
        """The whole record, as the champion served it."""
        return [self.usual]

    def requests(self, rollout: Rollout, since: datetime, until: datetime) -> list[ReportedRequest]:
        return self.replay.requests(rollout, since, until)

    def fetches(self, rollout: Rollout, since: datetime, until: datetime) -> list[Fetches]:
        """No fetches: a unit that fetched and reported nothing is not in the recording."""
        return []

    def cohort_units(
        self, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> Mapping[str, ArmName]:
        return self.replay.cohort_units(rollout, stage, cohort_start, received_until)

    def recomputed_units(
        self, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> Mapping[str, Collection[str]]:
        """No units: every unit of the recording was really served, so each has a token."""
        return {}

    def exposures(self, rollout: str) -> Mapping[tuple[str, str, float | None], int]:
        return {}

    def outcomes(
        self,
        rollout: Rollout,
        cohort: Cohort,
        units: Collection[str],
        *,
        received_since: datetime,
        received_until: datetime,
        **_: Metric,
    ) -> UnitOutcomes:
        """The outcomes of the one field and source that the recording holds."""
        outcomes = self.replay.outcomes(rollout, cohort.stage, units, received_since, received_until)
        return UnitOutcomes(
            means={unit: mean for unit, (mean, _) in outcomes.items()},
            first_at={unit: at for unit, (_, at) in outcomes.items()},
        )

    def outside(self, family: str, since: datetime, until: datetime) -> set[str]:
        """No units: a replay is served without a gap."""
        return set()


EvidenceSource = StoreEvidence | RecordedEvidence
