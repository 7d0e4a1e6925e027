"""A family's students as people see them: how far each agrees with the model behind it, week by week."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from optimizer.core.base.answers import Text
from optimizer.core.rollout.student_watch import StudentWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementWeek:
    """A week of receipt from Monday on, UTC. ``n``: requests that the student read; ``n_own`` it answered.

    ``agreement`` with the next tier, of all that it answered, estimated from ``n_compared`` audited ones, with its 95 %
    interval; None where none was compared. ``unknown_share`` is the mean share of a request's words that it does not
    know.
    """

    monday: date
    n: int
    n_own: int
    n_compared: int
    agreement: float | None
    low: float | None
    high: float | None
    confidence: float | None
    unknown_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentStanding:
    """One student that serves, or served. ``taught_by``: what it learned from, with the model and its revision where
    that gave the answers; None where the student is gone.

    ``accepted_loss``: the share of all requests that may lose agreement. ``decision``: of the audited requests alone,
    as ``evidence`` says. ``shifts``: what of its requests is other than what it was taught on.
    """

    student: str
    tier: str
    taught_by: str | None
    variants: Sequence[str]  # that serve and name it
    decision: Literal["keep", "bypass", "cannot_tell"]
    evidence: str
    accepted_loss: float
    n_audited: int
    bypassed_since: datetime | None
    bypass_reason: Text[str | None]
    shifts: Sequence[str]
    weeks: Sequence[AgreementWeek]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentsView:
    family: str
    students: Sequence[StudentStanding]


def weeks_of(watch: StudentWatch) -> list[AgreementWeek]:
    """The newest first."""
    return [
        AgreementWeek(
            monday=week.monday,
            n=week.n,
            n_own=week.n_own,
            n_compared=week.n_compared,
            agreement=week.agreement,
            low=None if week.interval is None else week.interval.lower,
            high=None if week.interval is None else week.interval.upper,
            confidence=week.confidence,
            unknown_share=week.unknown_share,
        )
        for week in reversed(watch.weeks)
    ]
