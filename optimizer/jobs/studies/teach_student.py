"""Teaches the student among a study's tiers, before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.base.phrasing import count
from optimizer.core.policy.tiers import NO_SECOND_ANSWER, student_fault
from optimizer.core.predictor.student import rows_within
from optimizer.core.predictor.teaching import MOST_ROWS, teaching_rows
from optimizer.core.search.strategy import proposers_of, searched_tiers
from optimizer.jobs.calls.student_shelf import is_student
from optimizer.jobs.dataset.build_dataset import teaching_examples
from optimizer.jobs.dataset.weigh_examples import weights_by_chance
from optimizer.jobs.studies.context import StudyRun
from optimizer.ports import Transaction

FINDING = "students"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentTraining:
    """By tier: the hash of what was taught, or why nothing could be."""

    students: Mapping[str, str] = field(default_factory=dict)
    untaught: Mapping[str, str] = field(default_factory=dict)


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
        return StudentTraining(students=before["students"], untaught=before["untaught"])
    try:
        teaching = StudentTraining(students={tier: _taught(run)})
    except DatasetTooSmall as why:
        teaching = StudentTraining(untaught={tier: f"The tier {tier} is left out. {why.detail}"})
    run.keep_finding(FINDING, {"students": dict(teaching.students), "untaught": dict(teaching.untaught)})
    return teaching


def _are_kept(run: StudyRun, students: Mapping[str, str]) -> bool:
    with run.store.read() as tx:
        return run.store.students.ids(tx, run.family.name).issuperset(students.values())


def _taught(run: StudyRun) -> str:
    """The hash of the student, once it is stored. Raises DatasetTooSmall with the reason why none can be taught."""
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
    return id
