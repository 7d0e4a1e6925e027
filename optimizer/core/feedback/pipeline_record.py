"""One item that a content pipeline processed, sums of many, and monitoring.yaml's levels for such figures.

They are not with the pipeline (``optimizer/content``), since the store has one schema, and jobs that know no pipeline
read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import pairwise
from typing import Literal

ProcessingType = Literal["full", "lightweight", "early_exit"]
WIDEST_SAVING = 0.999  # beyond, the time of full processing cannot be told from what was spent


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRecord:
    """``None``: not measured.

    ``exit_checkpoint`` and ``exit_reason`` are "" where the item was not given up early,
    or the pipeline did not say where.
    """

    id: str
    received_at: datetime
    processing_type: ProcessingType
    content_type: str
    quality_score: float | None = None  # from 0 to 1
    processing_time_s: float | None = None
    exit_checkpoint: str = ""
    exit_reason: str = ""
    exit_confidence: float | None = None  # from 0 to 1
    time_saved_share: float | None = None  # of the time of full processing
    config_version: str = ""  # the configuration or variant that dealt with it; "": the pipeline did not say
    satisfaction: float | None = None  # of who used what came of it, from 0 to 1
    failed: bool | None = None

    @property
    def time_saved_s(self) -> float | None:
        """What full processing would have taken beyond what was spent; None where that cannot be told.

        For a time t spent and a saving of p it is t p / (1 - p).
        """
        spent, share = self.processing_time_s, self.time_saved_share
        return None if spent is None or share is None or share > WIDEST_SAVING else spent * share / (1 - share)


@dataclass(slots=True, kw_only=True)
class PipelineSums:
    """Records added up. Beside each sum is the number of records that had the value."""

    n: int = 0
    n_quality: int = 0
    quality_sum: float = 0.0
    n_time: int = 0
    time_sum_s: float = 0.0
    n_saved: int = 0
    saved_share_sum: float = 0.0
    n_saved_time: int = 0
    saved_time_sum_s: float = 0.0
    n_confidence: int = 0
    confidence_sum: float = 0.0

    def __add__(self, other: PipelineSums) -> PipelineSums:
        return PipelineSums(**{name: getattr(self, name) + getattr(other, name) for name in SUMS})


SUMS = tuple(field.name for field in fields(PipelineSums))


def sums_of(record: PipelineRecord) -> PipelineSums:
    """One record as sums."""

    def counted(value: float | None) -> tuple[int, float]:
        return (0, 0.0) if value is None else (1, value)

    sums = PipelineSums(n=1)
    sums.n_quality, sums.quality_sum = counted(record.quality_score)
    sums.n_time, sums.time_sum_s = counted(record.processing_time_s)
    sums.n_saved, sums.saved_share_sum = counted(record.time_saved_share)
    sums.n_saved_time, sums.saved_time_sum_s = counted(record.time_saved_s)
    sums.n_confidence, sums.confidence_sum = counted(record.exit_confidence)
    return sums


LEVELS = ("target", "warning_low", "critical_low", "warning_high")
Colour = Literal["green", "yellow", "red"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Levels of one figure; None: none of that kind. Shares from 0 to 1."""

    target: float | None = None
    warning_low: float | None = None
    critical_low: float | None = None
    warning_high: float | None = None

    def colour(self, value: float) -> Colour:
        """red below critical_low, yellow below warning_low or above warning_high, else green."""
        if self.critical_low is not None and value < self.critical_low:
            return "red"
        too_low = self.warning_low is not None and value < self.warning_low
        too_high = self.warning_high is not None and value > self.warning_high
        return "yellow" if too_low or too_high else "green"

    def fault(self) -> str | None:
        """Why the levels contradict one another; None where they rise."""
        named = [(name, getattr(self, name)) for name in ("critical_low", "warning_low", "target", "warning_high")]
        for (low, a), (high, b) in pairwise([(name, value) for name, value in named if value is not None]):
            if a > b:
                return (
                    f"{low} ({a:g}) lies above {high} ({b:g}); the levels rise from critical_low over warning_low and"
                    " target to warning_high"
                )
        return None


TARGETS: Mapping[str, Target] = {
    "bypass_rate": Target(target=0.60, warning_low=0.50, critical_low=0.40, warning_high=0.80),
    "early_exit_rate": Target(target=0.40, warning_low=0.30, critical_low=0.20, warning_high=0.60),
    "avg_time_savings": Target(target=0.70, warning_low=0.60, critical_low=0.50),
    "quality_score_avg": Target(target=0.75, warning_low=0.70, critical_low=0.65),
}
