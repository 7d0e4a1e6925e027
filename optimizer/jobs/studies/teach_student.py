"""Teaches the student among a study's tiers, before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from math import fsum

from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.base.phrasing import count
from optimizer.core.policy.tiers import NO_SECOND_ANSWER, student_fault
from optimizer.core.predictor.student import LearnStudent, rows_within
from optimizer.core.predictor.teaching import MOST_ROWS, StudentAnswer, TeachingRow, teaching_rows
from optimizer.core.search.strategy import proposers_of, searched_tiers
from optimizer.core.statistics.interval import wilson_interval
from optimizer.jobs.calls.student_shelf import is_student
from optimizer.jobs.dataset.build_dataset import teaching_examples
from optimizer.jobs.dataset.weigh_examples import weights_by_chance
from optimizer.jobs.studies.context import StudyRun
from optimizer.ports import Transaction

FINDING = "students"
LEAST_NEWEST, MOST_NEWEST = 20, 0.3  # rows, and share of all rows: more of one moment are no fifth
LEAST_SPAN = timedelta(days=1)  # from the oldest row to these


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentTraining:
    """By tier: the hash of what was taught, or why nothing could be. ``on_newest``: ``judged_on_newest``."""

    students: Mapping[str, str] = field(default_factory=dict)
    untaught: Mapping[str, str] = field(default_factory=dict)
    on_newest: str = ""


def teach_student(run: StudyRun) -> StudentTraining:
    """From released training examples alone; of requests that a student answered only from audited ones, each weighted
    by the inverse of its chance. A study that was killed goes on with the student that it had, if that is
    there: another study of the family, or forgetting, may have deleted it.
    """
    tiers = searched_tiers(proposers_of(run.study.strategy), run.family)
    tier = next((name for name in tiers if is_student(run.models, name)), None)
    if tier is None:
        return StudentTraining()
    before = (run.study.findings or {}).get(FINDING)
    if before is not None and _are_kept(run, before["students"]):
        return StudentTraining(**before)
    try:
        id, on_newest = _taught(run)
        teaching = StudentTraining(students={tier: id}, on_newest=on_newest)
    except DatasetTooSmall as why:
        teaching = StudentTraining(untaught={tier: f"The tier {tier} is left out. {why.detail}"})
    run.keep_finding(FINDING, asdict(teaching))
    return teaching


def _are_kept(run: StudyRun, students: Mapping[str, str]) -> bool:
    with run.store.read() as tx:
        return run.store.students.ids(tx, run.family.name).issuperset(students.values())


def _taught(run: StudyRun) -> tuple[str, str]:
    """The hash of the student, once it is stored, and ``judged_on_newest``.

    Raises DatasetTooSmall with the reason why none can be taught.
    """
    family, store, learn = run.family, run.store, run.job.learn_student
    if (knob := student_fault(run.champion.policy)) is not None:
        raise DatasetTooSmall(f"Its prompt's policy has {knob}, and {NO_SECOND_ANSWER}.")
    if learn is None:
        raise DatasetTooSmall("This process has nothing to teach a student with.")
    with store.read() as tx:
        examples = teaching_examples(family, store, tx, MOST_ROWS)
        weights = weights_by_chance(tx, store, family, examples)
    examples = [example for example in examples if weights.get(example.id, 1.0) > 0]
    rows = list(rows_within(teaching_rows(family, examples, weights)))
    run.tell("call", f"teaching a student from {count(len(rows), 'released training example')}")
    taught = learn(rows, trained_on={"family": family.name})
    at = run.clock.now()
    id = taught.student.hash

    def keep(tx: Transaction) -> None:
        store.students.add(tx, family.name, taught, study=run.study.id, at=at)
        store.students.drop_unnamed(tx, family.name, but=id)  # of studies that proposed nothing with theirs

    store.write(keep, rows=2)
    times = {example.id: example.created_at for example in examples}
    return id, judged_on_newest(rows, times, learn, taught.out_of_fold)


def judged_on_newest(
    rows: Sequence[TeachingRow],
    times: Mapping[str, datetime],
    learn: LearnStudent,
    out_of_fold: Mapping[str, StudentAnswer],
) -> str:
    """A sentence on the newest fifth of the rows, answered by a student that learned from the older ones alone; empty
    where times tell no fifth apart, as of a single import, or the older rows teach none.
    """
    ordered = sorted(times[row.id] for row in rows)
    since = ordered[-max(1, len(rows) // 5)]
    newest = [row for row in rows if times[row.id] >= since]
    groups = {row.group for row in newest}
    older = [row for row in rows if row.group not in groups]
    if not LEAST_NEWEST <= len(newest) <= MOST_NEWEST * len(rows) or since - ordered[0] < LEAST_SPAN:
        return ""
    try:
        student = learn(older, trained_on={}).student
    except DatasetTooSmall:
        return ""

    def share(answers: Sequence[StudentAnswer]) -> float:
        right = fsum(row.weight * (one.label == row.label) for row, one in zip(newest, answers, strict=True))
        return right / fsum(row.weight for row in newest)

    right = share([student.answer({"text": row.text}) for row in newest])
    n = round(fsum(row.weight for row in newest) ** 2 / fsum(row.weight**2 for row in newest))
    interval = wilson_interval(min(n, round(right * n)), n)
    return (
        f"Of the newest {count(len(newest), 'released training example')} (from {since:%Y-%m-%d} on) a student of the"
        f" older ones gets {right:.0%} right ({interval.lower:.0%} to {interval.upper:.0%}), and out of fold, with"
        f" rows of the same time, {share([out_of_fold[row.id] for row in newest]):.0%}."
    )
