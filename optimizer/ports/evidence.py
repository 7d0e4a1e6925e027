"""Where a look at a rollout reads its evidence: what was served and reported, or a recording that is dealt anew."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from optimizer.core.base.minute_sums import MinuteSums
from optimizer.core.family.settings import Metric
from optimizer.core.rollout.blocks import ArmName, ReportedRequest
from optimizer.core.rollout.cohorts import Cohort
from optimizer.core.serving.rollout import Rollout
from optimizer.ports.rollouts import EvidenceRow, Fetches, UnitCount, UnitOutcomes


class EvidenceSource(Protocol):
    """What one look reads, all as of one moment.

    Each method answers as the store's of the same name (``rollouts.py``) does.

    ``stage`` is an index into the ladder. Every time is real time, but ``cohort_start``.
    """

    def state(self, rollout: str) -> EvidenceRow | None:
        """What earlier looks have kept of the rollout; None before the first."""

    def unit_counts(self, rollout: str, stage: int, units: Collection[str]) -> Mapping[str, UnitCount]: ...
    def minute_sums(self, family: str, variant: str, since: datetime) -> list[MinuteSums]:
        """Requests of the variant from the minute of ``since`` on, in order of time."""

    def requests(self, rollout: Rollout, since: datetime, until: datetime) -> list[ReportedRequest]: ...
    def fetches(self, rollout: Rollout, since: datetime, until: datetime) -> list[Fetches]: ...
    def cohort_units(
        self, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> Mapping[str, ArmName]: ...
    def recomputed_units(
        self, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> Mapping[str, Collection[str]]: ...
    def exposures(self, rollout: str) -> Mapping[tuple[str, str, float | None], int]:
        """(key, variant, share) -> exposures that clients reported."""

    def outcomes(
        self,
        rollout: Rollout,
        cohort: Cohort,
        units: Collection[str],
        *,
        metric: Metric,
        received_since: datetime,
        received_until: datetime,
    ) -> UnitOutcomes: ...
    def outside(self, family: str, since: datetime, until: datetime) -> set[str]: ...
