"""Cohorts of a Rollout: units that were assigned in the same stretch of time of one stage.

All times here are the rollout clock's. A cohort matures for the feedback window, so that good and bad news have had the
same time to arrive. Where the lease lapses within that time, some of its units were served both variants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from optimizer.core.serving.assignment import cohort_length, cohort_minutes, cohort_start
from optimizer.core.serving.rollout import Gap, Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Units whose tokens carry this stage and ``start``. Outcomes after ``closes_at`` do not count."""

    stage: int  # index into the ladder
    start: datetime
    closes_at: datetime


def due_cohorts(
    rollout: Rollout, *, closed: Mapping[int, datetime], clock_now: datetime, held_back_until: datetime | None = None
) -> list[Cohort]:
    """The cohorts that are not closed yet and whose window is over, in the order in which they close.

    Args:
        closed: stage -> start of its last closed cohort.
        held_back_until: the end of its holdback; None without one.
    """
    minutes = cohort_minutes(rollout.settings)
    length = cohort_length(minutes)
    open_for = closing_time(rollout)
    cohorts = []
    # Stage > from when to when it was served; None where it still is.
    spans: dict[int, tuple[datetime, datetime | None]] = {}
    for entry in rollout.stage_history:
        stage = stage_of(rollout.ladder, entry["share"])
        if stage is None:
            continue
        begun = spans[stage][0] if stage in spans else datetime.fromisoformat(entry["clock_from"])
        spans[stage] = begun, None if entry["clock_to"] is None else datetime.fromisoformat(entry["clock_to"])
    promoted_at = rollout.stage_history[-1]["clock_to"] if rollout.stage_history else None
    if held_back_until is not None and promoted_at is not None:
        spans[len(rollout.ladder)] = datetime.fromisoformat(promoted_at), held_back_until
    for stage, (begun, ended) in spans.items():
        # older looks closed cohorts of fractions of a second, which no unit was in
        start = cohort_start(closed[stage], minutes) + length if stage in closed else cohort_start(begun, minutes)
        last = cohort_start(ended, minutes) if ended is not None else clock_now
        while start <= last and start + open_for <= clock_now:
            cohorts.append(Cohort(stage=stage, start=start, closes_at=start + open_for))
            start += length
    return sorted(cohorts, key=lambda cohort: (cohort.closes_at, cohort.stage))


def closing_time(rollout: Rollout) -> timedelta:
    """The longest time between an assignment and the end of its cohort, on the rollout clock."""
    window = timedelta(hours=float(rollout.settings["feedback_window"]["hours"]))
    return cohort_length(cohort_minutes(rollout.settings)) + window


def late_hours(rollout: Rollout) -> float | None:
    """How long after a cohort's window late labels count, on the rollout clock; None where the rollout
    lacks that rule.
    """
    hours = (rollout.settings.get("feedback_window") or {}).get("late_hours")
    return None if hours is None else float(hours)


def gaps(rollout: Rollout) -> list[Gap]:
    """The rollout's lapses, oldest first."""
    all_gaps = []
    for before, after in pairwise(rollout.stage_history):
        if before["to"] is not None and before["to"] < after["from"]:
            all_gaps.append(
                Gap(since=datetime.fromisoformat(before["to"]), until=datetime.fromisoformat(after["from"]))
            )
    return all_gaps


def stage_of(ladder: Sequence[float], share: float | None) -> int | None:
    """The index of a token's share in the ladder; None where the ladder does not have it.

    Tokens of the holdback after a promotion carry no share; their index is ``len(ladder)``.
    """
    if share is None:
        return len(ladder)
    return next((i for i, step in enumerate(ladder) if abs(step - share) < 1e-9), None)


def served_for(rollout: Rollout, clock_now: datetime, *, share: float | None = None) -> timedelta:
    """How long the candidate has been served, at ``share`` where that is given. Lapses and freezes do not count."""
    entries = [s for s in rollout.stage_history if share is None or s["share"] == share]
    return sum(
        (
            (clock_now if s["clock_to"] is None else datetime.fromisoformat(s["clock_to"]))
            - datetime.fromisoformat(s["clock_from"])
            for s in entries
        ),
        start=timedelta(),
    )


def running_time(rollout: Rollout, clock_now: datetime) -> timedelta:
    """What ``max_days`` limits: the time served; where no ``max_days_served`` is fixed, also lapses and freezes."""
    if rollout.settings.get("max_days_served") or not rollout.stage_history:
        return served_for(rollout, clock_now)
    return clock_now - datetime.fromisoformat(rollout.stage_history[0]["clock_from"])
