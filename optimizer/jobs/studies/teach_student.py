"""Teaches the student among a study's tiers: from labels before anything is asked, from answers of the strongest tier
at the turn of the thresholds, which ask for the same answers. Freezes the list from which strategy ``nearest`` shows
examples, before anything is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from math import fsum
from typing import Any

from optimizer.core.base.errors import DatasetTooSmall, InvalidInput
from optimizer.core.base.phrasing import count
from optimizer.core.dataset.examples import Example
from optimizer.core.family.family import Teach
from optimizer.core.family.rendering import few_shot
from optimizer.core.family.variant import Variant
from optimizer.core.policy.nearest import NEAREST
from optimizer.core.policy.tiers import NO_SECOND_ANSWER, student_fault
from optimizer.core.predictor.student import LearnStudent, rows_within
from optimizer.core.predictor.teaching import (
    LEAST_ROWS,
    MOST_ROWS,
    StudentAnswer,
    TeacherAnswers,
    TeachingRow,
    asked_of_teacher,
    teaching_rows,
)
from optimizer.core.search.strategy import proposers_of, searched_tiers
from optimizer.core.search.study import TAUGHT_STUDENTS
from optimizer.core.statistics.interval import wilson_interval
from optimizer.jobs.calls.shelves import is_student
from optimizer.jobs.dataset.build_dataset import teaching_examples
from optimizer.jobs.dataset.weigh_examples import weights_by_chance
from optimizer.jobs.families.check_models import teaching_fault
from optimizer.jobs.studies.context import StudyRun
from optimizer.ports import Transaction

INDEXED = "example_index"
LEAST_NEWEST, MOST_NEWEST = 20, 0.3  # rows, and share of all rows: more of one moment are no fifth
LEAST_SPAN = timedelta(days=1)  # from the oldest row to these


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentTraining:
    """By tier: the hash of what was taught, or why nothing could be. ``on_newest``: ``judged_on_newest``.

    ``taught_by``: a sentence on the answers that taught it; empty where labels did.
    """

    students: Mapping[str, str] = field(default_factory=dict)
    untaught: Mapping[str, str] = field(default_factory=dict)
    on_newest: str = ""
    taught_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentTeacher:
    """The strongest tier with the prompt that is to stand behind the student, ``variant``'s.

    ``ask`` gives its answers by example; what it did not answer is missing.
    """

    model: str
    variant: Variant
    ask: Callable[[Sequence[Example]], Mapping[str, str]]


def teach_student(run: StudyRun, teacher: StudentTeacher | None = None) -> StudentTraining:
    """From released training examples alone; of requests that a student answered only from audited ones, each weighted
    by the inverse of its chance. A study that was killed goes on with the student that it had, if that is
    there: another study of the family, or forgetting, may have deleted it.

    Args:
        teacher: None before the turn of the thresholds; a student that learns from answers is then not taught yet.
    Raises:
        InvalidInput: the teacher's answers may not teach.
    """
    tiers = searched_tiers(proposers_of(run.study.strategy), run.family)
    tier = next((name for name in tiers if is_student(run.models, name)), None)
    if tier is None:
        return StudentTraining()
    before = (run.study.findings or {}).get(TAUGHT_STUDENTS)
    if before is not None:
        with run.store.read() as tx:
            stored = run.store.students.ids(tx, run.family.name)
        if stored.issuperset(before["students"].values()):
            return StudentTraining(**before)
    if teacher is None and run.models.describe(tier).teach != "labels":
        return StudentTraining()
    try:
        teaching = _taught(run, tier, teacher)
    except DatasetTooSmall as why:
        teaching = StudentTraining(untaught={tier: f"The tier {tier} is left out. {why.detail}"})
    run.keep_finding(TAUGHT_STUDENTS, asdict(teaching))
    return teaching


def _taught(run: StudyRun, tier: str, teacher: StudentTeacher | None) -> StudentTraining:
    """Of this tier, once its student is stored.

    Raises DatasetTooSmall with the reason why none can be taught.
    """
    family, store, learn = run.family, run.store, run.job.learn_student
    start = run.champion if teacher is None else teacher.variant
    if (knob := student_fault(start.policy)) is not None:
        raise DatasetTooSmall(f"Its prompt's policy has {knob}, and {NO_SECOND_ANSWER}.")
    if start.tools:  # so that no search counts answers that no chat is given
        raise DatasetTooSmall("Its prompt has tools, which a student calls none of.")
    if learn is None:
        raise DatasetTooSmall("This process has nothing to teach a student with.")
    with store.read() as tx:
        examples = teaching_examples(family, store, tx, MOST_ROWS)
        weights = weights_by_chance(tx, store, family, examples)
    examples = [example for example in examples if weights.get(example.id, 1.0) > 0]
    answers, teach = None, run.models.describe(tier).teach
    if teacher is not None and teach != "labels":
        answers = _answers(run, teach, tier, teacher, examples)
    teaching = examples if answers is None else answers.teaching(family.output, examples, teach)
    rows = list(rows_within(teaching_rows(family, teaching, weights)))
    trained_on: dict[str, Any] = {"family": family.name}
    if answers is not None and (n_answers := sum(row.id in answers.values for row in rows)):
        trained_on |= {"teach": teach, "model": answers.model, "revision": answers.revision, "n_answers": n_answers}
    taught = learn(rows, trained_on=trained_on)
    at = run.clock.now()
    id = taught.student.hash

    def keep(tx: Transaction) -> None:
        store.students.add(tx, family.name, taught, study=run.study.id, at=at)
        store.students.drop_unnamed(tx, family.name, but=id)  # of studies that proposed nothing with theirs

    store.write(keep, rows=2)
    times = {example.id: example.created_at for example in examples}
    on_newest = judged_on_newest(rows, times, learn, taught.out_of_fold, are_labels="n_answers" not in trained_on)
    taught_by = "" if answers is None else answers.in_words(family.output, examples, n_rows=len(rows))
    return StudentTraining(students={tier: id}, on_newest=on_newest, taught_by=taught_by)


def _answers(
    run: StudyRun, teach: Teach, tier: str, teacher: StudentTeacher, examples: Sequence[Example]
) -> TeacherAnswers:
    """To the examples that the thresholds ask about, too: none is asked about for this alone, and none that the prompt
    shows, whose answer it says.

    Raises:
        InvalidInput: they may not teach.
        DatasetTooSmall: nothing but answers is to teach, and there are too few.
    """
    output = run.family.output
    if (fault := teaching_fault(tier, teacher.model, run.models)) is not None:
        raise InvalidInput(f"{fault[0].upper()}{fault[1:]}.")
    of_study = {example.id for example in run.train} - {shot.id for shot in teacher.variant.examples}
    teaching = asked_of_teacher(output, examples, of_study, teach)
    revision = run.models.get(teacher.model).revision
    answers = TeacherAnswers.read(output, teacher.model, revision, teacher.ask(teaching) if teaching else {})
    if teach == "answers" and len(answers.values) < LEAST_ROWS:
        raise DatasetTooSmall(
            f"A student cannot be taught by answers of {teacher.model}: {count(len(answers.values), 'answer')} to"
            f" {count(len(teaching), 'released training example')} of this study could be read, and it takes"
            f" {LEAST_ROWS}. Release or import more, or ask for more in the study's definition (n_train)."
        )
    return answers


def judged_on_newest(
    rows: Sequence[TeachingRow],
    times: Mapping[str, datetime],
    learn: LearnStudent,
    out_of_fold: Mapping[str, StudentAnswer],
    *,
    are_labels: bool = True,
) -> str:
    """A sentence on the newest fifth of the rows, answered by a student that learned from the older ones alone; empty
    where times tell no fifth apart, as of a single import, or the older rows teach none.

    Args:
        are_labels: whether people said what is right; else it is agreement.
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
    verdict = f"gets {right:.0%} right" if are_labels else f"agrees with what taught it on {right:.0%}"
    return (
        f"Of the newest {count(len(newest), 'released training example')} (from {since:%Y-%m-%d} on) a student of the"
        f" older ones {verdict} ({interval.lower:.0%} to {interval.upper:.0%}), and out of fold, with"
        f" rows of the same time, {share([out_of_fold[row.id] for row in newest]):.0%}."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexing:
    """The hash of the list, or why there is none."""

    index: str | None = None
    unindexed: str = ""


def index_examples(run: StudyRun) -> Indexing:
    """Released training examples alone. A study that was killed goes on with the list that it had, if that is there."""
    if NEAREST not in proposers_of(run.study.strategy) or not run.definition.max_examples:
        return Indexing()
    from optimizer.core.predictor.example_index import MOST_EXAMPLES, ExampleIndex, IndexedExample  # it needs numpy

    store, name = run.store, run.family.name
    before = (run.study.findings or {}).get(INDEXED)
    with store.read() as tx:
        if before is not None and before["index"] in store.example_indexes.ids(tx, name):
            return Indexing(index=before["index"])
        released = teaching_examples(run.family, store, tx, MOST_EXAMPLES)
    examples: list[IndexedExample] = []
    for example in released:
        try:
            shot = few_shot(run.family, example)
            Variant(messages=run.champion.messages, examples=(shot,))
        except InvalidInput:  # it has no answer to show, or a {{variable}} that a client would fill in
            continue
        examples.append(IndexedExample(group=example.group, shot=shot))
    if not examples:
        return Indexing(
            unindexed=(
                "Strategy nearest proposes nothing: no training example is released that a prompt may show. Import"
                f" curated rows, or release some: detent review list --family {name}."
            )
        )
    index = ExampleIndex.of(examples)
    at = run.clock.now()

    def keep(tx: Transaction) -> None:
        store.example_indexes.add(tx, name, index, study=run.study.id, at=at)
        store.example_indexes.drop_unnamed(tx, name, but=index.hash)  # of studies that proposed nothing with theirs

    store.write(keep, rows=2)
    run.keep_finding(INDEXED, {"index": index.hash, "n_examples": len(index.examples)})
    return Indexing(index=index.hash)
