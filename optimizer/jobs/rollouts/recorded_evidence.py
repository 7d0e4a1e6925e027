"""A recording as a self-test replays it, in the place of the store that a look at a rollout reads.

``stage`` is an index into the ladder. Every time is real time, except ``cohort_start``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import cast

from optimizer.core.base.minute_sums import MinuteSums
from optimizer.core.family.settings import Metric
from optimizer.core.forecast.selftest import RecordedRollout
from optimizer.core.rollout.blocks import ArmName, ReportedRequest
from optimizer.core.rollout.cohorts import Cohort
from optimizer.core.rollout.evidence_state import StoredEvidence, as_text
from optimizer.core.serving.rollout import Rollout
from optimizer.ports import EvidenceRow, Fetches, Store, Transaction, UnitCount, UnitOutcomes


@dataclass(slots=True, kw_only=True)
class RecordedEvidence:
    """A recording whose units are dealt to the arms anew, with what a look reads of a store's parts.

    What looks close stays in memory. ``usual`` holds the champion's sums by minute.
    """

    replay: RecordedRollout
    usual: MinuteSums
    row: EvidenceRow | None = None
    counted: dict[tuple[int, str], UnitCount] = field(default_factory=dict)
    quality_labelled: int = 0

    def as_store(self) -> Store:
        """A store of the parts that a look reads, each of which is this."""
        parts = ("blocks", "unit_counts", "minute_stats", "observations", "exposures")
        return cast("Store", SimpleNamespace(**dict.fromkeys(parts, self)))

    def keep(self, known: StoredEvidence, units: Mapping[tuple[int, str], UnitCount], at: datetime) -> None:
        """Stores what a look has closed, for the next look."""
        state = known.state
        self.row = EvidenceRow(n_blocks=state.n_blocks, state=as_text(known), updated_at=at)
        self.counted.update(units)
        self.quality_labelled = state.quality.labelled

    def state(self, tx: Transaction, rollout: str) -> EvidenceRow | None:
        """Of ``blocks``: what earlier looks stored; None before the first look."""
        return self.row

    def get(self, tx: Transaction, rollout: str, stage: int, units: Collection[str]) -> Mapping[str, UnitCount]:
        """Of ``unit_counts``."""
        return {unit: self.counted[stage, unit] for unit in units if (stage, unit) in self.counted}

    def of_family(self, tx: Transaction, family: str, since: datetime, **which: str) -> list[MinuteSums]:
        """Of ``minute_stats``: the whole record, as the champion served it."""
        return [self.usual]

    def reported(self, tx: Transaction, rollout: str) -> Mapping[tuple[str, str, float | None], int]:
        """Of ``exposures``."""
        return {}

    def requests(self, tx: Transaction, rollout: Rollout, since: datetime, until: datetime) -> list[ReportedRequest]:
        """Of ``observations``, as all that follow."""
        return self.replay.requests(rollout, since, until)

    def fetches(self, tx: Transaction, rollout: Rollout, since: datetime, until: datetime) -> list[Fetches]:
        """No fetches: a unit that fetched and reported nothing is not in the recording."""
        return []

    def cohort_units(
        self, tx: Transaction, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> Mapping[str, ArmName]:
        return self.replay.cohort_units(rollout, stage, cohort_start, received_until)

    def recomputed_units(
        self, tx: Transaction, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> Mapping[str, Collection[str]]:
        """No units: every unit of the recording was really served, so each has a token."""
        return {}

    def outcomes(
        self,
        tx: Transaction,
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

    def outside(self, tx: Transaction, family: str, since: datetime, until: datetime) -> set[str]:
        """No units: a replay is served without a gap."""
        return set()
