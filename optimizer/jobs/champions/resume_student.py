"""What a person sees of a family's students and says of them: bypass one, or let it answer again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from optimizer.core.base.errors import NotFound
from optimizer.core.predictor.teaching import teaching_in_words
from optimizer.core.serving.champion import next_tenure
from optimizer.core.views.student import StudentStanding, StudentsView, weeks_of
from optimizer.jobs.champions.watch_students import BYPASSED, ServingStudent, put_bypass, serving_students
from optimizer.jobs.context import Context
from optimizer.jobs.record_change import Change, Succession, checked_reason, replace_champion, tell
from optimizer.jobs.request import FamilyRequest, Reason
from optimizer.ports import Transaction


class StudentActRequest(FamilyRequest):
    student: Annotated[str | None, Field(max_length=100, description="Its hash; default: the one that serves")] = None
    reason: Reason = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentChange(Change):
    """What was done about a student."""

    family: str
    student: str


def read_students(context: Context, request: FamilyRequest) -> StudentsView:
    """The students that serve, with their agreement with the next tier by week, and whether one is bypassed and why.

    Agreement is no quality: the next tier may be wrong as well.
    """
    family, store = context.family(request.family), context.store
    with store.read() as tx:
        serving = serving_students(tx, store, family, None, clock=context.clock)
        bypasses = {one.student: one for one in store.students.bypasses(tx, family.name)}
        watches = {one.id: store.students.watch(tx, family.name, one.id) for one in serving}
        taught = {one.id: store.students.taught_by(tx, family.name, one.id) for one in serving}
    return StudentsView(
        family=family.name,
        students=[
            StudentStanding(
                student=one.id,
                tier=one.tier,
                taught_by=None if (own := taught[one.id]) is None else teaching_in_words(own),
                variants=sorted(one.policies),
                decision=watched.watch.decision,
                evidence=watched.watch.reason,
                accepted_loss=watched.watch.accepted,
                n_audited=watched.watch.n_audited,
                bypassed_since=bypasses[one.id].since if one.id in bypasses else None,
                bypass_reason=bypasses[one.id].reason if one.id in bypasses else None,
                shifts=watched.watch.shifts,
                weeks=weeks_of(watched.watch),
            )
            for one in serving
            if (watched := watches[one.id]) is not None
        ],
    )


def bypass_student(context: Context, request: StudentActRequest) -> StudentChange:
    """Lets a student answer nobody until it is resumed; the tier behind it answers, and in place of a student that
    answers alone the champion before it, where there is one. Safe to repeat.

    Raises:
        NotFound: no variant that serves names such a student.
    """
    store, clock, family, why = context.store, context.clock, request.family, checked_reason(request.reason)

    def change(tx: Transaction) -> StudentChange:
        student = _student(tx, context, request, is_bypassed=False).id
        undo = f"detent student resume {family}"
        if any(one.student == student for one in store.students.bypasses(tx, family)):
            what = f"the student {student} is bypassed already"
            return StudentChange(family=family, student=student, what=what, why=why, undo=undo, changed=False)
        report = put_bypass(tx, store, clock, family, student, actor=context.actor, reason=why)
        answering = "the tier behind it answers" if report is None else report.what
        what = f"the student {student} is bypassed: {answering}"
        return StudentChange(family=family, student=student, what=what, why=why, undo=undo)

    return store.write(change)


def resume_student(context: Context, request: StudentActRequest) -> StudentChange:
    """Lets a bypassed student answer again, and watches it anew from now on: what was held against it counts no more.
    A champion that gave way to the one before, since its student answered alone, is champion again, recorded as forced;
    a rollout that was started meanwhile ends. A rollout that was held stays held. Safe to repeat.

    Raises:
        NotFound: no variant that serves names such a student.
    """
    store, clock, family, why = context.store, context.clock, request.family, checked_reason(request.reason)

    def change(tx: Transaction) -> StudentChange:
        named, at = _student(tx, context, request, is_bypassed=True), clock.now()
        student, gone, before = named.id, named.gave_way, store.champions.current(tx, family)
        what, undo = f"the student {student} answers again", f"detent student bypass {family}"
        if not store.students.end_bypass(tx, family, student, at=at, by=context.actor):
            what = f"the student {student} is not bypassed"
            return StudentChange(family=family, student=student, what=what, why=why, changed=False)
        store.students.drop_watch(tx, family, student)
        store.alerts.close(tx, BYPASSED, family, student, at)
        tell(tx, store, "student.resume", family, student, {"why": why}, actor=context.actor, at=at)
        if gone is not None and before is not None:
            by = f"its student answers again: {why}"
            tenure = next_tenure(before, variant=gone.variant, at=at, by=context.actor, why=by, forced=True)
            again = Succession(action="champion.set", says="is champion again", undo=undo)
            report = replace_champion(tx, store, clock, tenure, before=before, by=again, why=why)
            what = f"{what}; {report.what}"
        rollout = store.rollouts.active(tx, family)
        return StudentChange(
            family=family,
            student=student,
            what=what,
            why=why,
            undo=undo,
            next=f"detent rollout resume {family}" if rollout is not None and rollout.held else None,
        )

    return store.write(change)


def _student(tx: Transaction, context: Context, request: StudentActRequest, *, is_bypassed: bool) -> ServingStudent:
    """The student that is named, else the first that is bypassed, or is not."""
    family = context.family(request.family)
    serving = serving_students(tx, context.store, family, None, clock=context.clock)
    named = [one for one in serving if request.student in (None, one.id)]
    bypassed = {one.student for one in context.store.students.bypasses(tx, family.name)}
    if not named:
        which = "none" if not serving else f"not {request.student!r}, but {' and '.join(one.id for one in serving)}"
        raise NotFound(
            f"Family {family.name!r} has no such student that serves: its champion and its candidate name {which}."
            f" detent student show {family.name} lists them."
        )
    return next((one for one in named if (one.id in bypassed) is is_bypassed), named[0])
