"""Cohorts of a Rollout: units that were assigned in the same stretch of time of one stage,
and when their feedback window is over.

All times here are the rollout clock's. A cohort matures, so that good and bad news have had the same time to come in; a
lapse of the lease within that time means that some of its units were served both variants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from optimizer.core.serving.assignment import HOLDBACK_PERIOD, cohort_minutes, cohort_start
from optimizer.core.serving.rollout import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Units whose tokens carry this stage and ``start``; no outcome that comes after ``closes_at`` counts."""

    stage: int  # index into the ladder
    start: datetime
    closes_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A stretch of a rollout in which every user got the champion, since no worker watched it: real time."""

    since: datetime
    until: datetime


def due(rollout: Rollout, *, closed: Mapping[int, datetime], clock_now: datetime) -> list[Cohort]:
    """The cohorts whose window is over and that are not closed yet, in the order in which they close.

    Args:
        closed: stage -> start of its last closed cohort.
    """
    length = timedelta(minutes=cohort_minutes(rollout.settings))
    open_for = closing_time(rollout)
    cohorts = []
    for stage, (begun, ended) in _spans(rollout).items():
        start = closed[stage] + length if stage in closed else cohort_start(begun, cohort_minutes(rollout.settings))
        last = cohort_start(ended, cohort_minutes(rollout.settings)) if ended is not None else clock_now
        while start <= last and start + open_for <= clock_now:
            cohorts.append(Cohort(stage=stage, start=start, closes_at=start + open_for))
            start += length
    return sorted(cohorts, key=lambda cohort: (cohort.closes_at, cohort.stage))


def closing_time(rollout: Rollout) -> timedelta:
    """How long after its last assignment the last cohort closes at the latest, on the rollout clock."""
    window = timedelta(hours=float(rollout.settings["feedback_window"]["hours"]))
    return timedelta(minutes=cohort_minutes(rollout.settings)) + window


def late_hours(rollout: Rollout) -> float | None:
    """How long after a cohort's window late labels are counted, on the rollout clock; None where it began without."""
    hours = (rollout.settings.get("feedback_window") or {}).get("late_hours")
    return None if hours is None else float(hours)


def gaps(rollout: Rollout) -> list[Gap]:
    """The lapses, oldest first."""
    all_gaps = []
    for before, after in pairwise(rollout.stage_history):
        if before["to"] is not None and before["to"] < after["from"]:
            all_gaps.append(
                Gap(since=datetime.fromisoformat(before["to"]), until=datetime.fromisoformat(after["from"]))
            )
    return all_gaps


def stage_of(ladder: Sequence[float], share: float | None) -> int | None:
    """The index of a token's share; ``len(ladder)`` for the holdback after a promotion, whose tokens carry none.

    None when it is not of this ladder.
    """
    if share is None:
        return len(ladder)
    return next((i for i, step in enumerate(ladder) if abs(step - share) < 1e-9), None)


def served_for(rollout: Rollout, clock_now: datetime, *, share: float | None = None) -> timedelta:
    """How long the candidate has been served, at ``share`` where it is given; a lapse or a freeze is no such time."""
    entries = [s for s in rollout.stage_history if share is None or s["share"] == share]
    return sum(
        (
            (clock_now if s["clock_to"] is None else datetime.fromisoformat(s["clock_to"]))
            - datetime.fromisoformat(s["clock_from"])
            for s in entries
        ),
        start=timedelta(),
    )


def _spans(rollout: Rollout) -> dict[int, tuple[datetime, datetime | None]]:
    """Stage -> from when to when it was served (None: still is)."""
    spans: dict[int, tuple[datetime, datetime | None]] = {}
    for entry in rollout.stage_history:
        stage = stage_of(rollout.ladder, entry["share"])
        if stage is None:
            continue
        begun = spans[stage][0] if stage in spans else datetime.fromisoformat(entry["clock_from"])
        spans[stage] = begun, None if entry["clock_to"] is None else datetime.fromisoformat(entry["clock_to"])
    ended = rollout.stage_history[-1]["clock_to"] if rollout.stage_history else None
    if rollout.outcome == "promoted" and ended is not None:
        promoted = datetime.fromisoformat(ended)
        spans[len(rollout.ladder)] = promoted, promoted + HOLDBACK_PERIOD
    return spans
