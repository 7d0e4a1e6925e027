"""Watches the students that serve: reads their audited requests on, and bypasses one that lost too much, or whose
models or prompt are other ones than it was measured against, by hand or by the provider.

A bypassed student answers nobody until a person resumes it; the tier behind it answers, and in place of a student that
answers alone the champion before it. Studies and evaluations go on asking it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from math import fsum

import structlog

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import DetentError
from optimizer.core.evaluation.gates import quality_margin
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant, VariantRecord
from optimizer.core.policy.policy import EXAMPLES, Policy, parse_policy
from optimizer.core.rollout.student_watch import (
    NO_BINS,
    Points,
    StudentWatch,
    Teacher,
    accepted_loss,
    counted,
    read_request,
)
from optimizer.core.search.answer_bounds import answers_alone
from optimizer.core.search.study import TAUGHT_STUDENTS
from optimizer.core.serving.champion import current_of, first_beneath, taken_back
from optimizer.core.serving.rollout import Champion
from optimizer.jobs.dataset.build_dataset import cut_as_served
from optimizer.jobs.families.each_family import each_family
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.keep_alerts import keep_alerts
from optimizer.jobs.record_change import ChangeReport, hold_active, tell
from optimizer.jobs.rollouts.change_champion import ChampionRollbackRequest, return_to_earlier
from optimizer.jobs.rollouts.read_candidate import current_holdback
from optimizer.jobs.studies.read_studies import confirming_study
from optimizer.ports import Alert, Bypass, Clock, ModelSource, Store, Transaction, WatchedStudent

BYPASSED, SHIFTED = KINDS = "student_bypassed", "student_shifted"
ACTOR = "student_watch"
SETTLED = timedelta(minutes=2)  # in which an audit's calls have come in
BATCH, MOST_BATCHES = 1000, 20  # requests in one look; the next one goes on
MOST_DEV = 500  # examples
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingStudent:
    """A student that variants name which serve, or are about to."""

    family: Family
    id: str
    tier: str
    policies: Mapping[str, Policy]  # by variant
    teachers: Mapping[str, Teacher]  # of these as they are now
    studies: Mapping[str, str]  # of those that a study made, which measured each beside this student
    gave_way: Champion | None = None  # the tenure that ended when it was bypassed, while the earlier champion serves

    @property
    def passes_on(self) -> Mapping[str, tuple[float, str]]:
        """By variant, the champion's first: the confidence below which it does, and to which tier."""
        places = {
            name: (cascade, cascade.models.index(self.tier))
            for name, policy in self.policies.items()
            if (cascade := policy.cascade) is not None
        }
        return {name: (cascade.accept[at], cascade.models[at + 1]) for name, (cascade, at) in places.items()}

    @property
    def points(self) -> Points:
        return tuple(sorted(set(self.passes_on.values())))


def watch_students(
    store: Store, clock: Clock, families: Mapping[str, Family], models: Callable[[], ModelSource]
) -> list[str]:
    """Reads on what each student that serves was asked, each request once; returns the families of those bypassed now.

    Cursor, sums, bypass, alert and hold are written together, so a look that is killed or repeated changes nothing.
    """

    def look(family: Family) -> str | None:
        with store.read() as tx:
            has_students = bool(store.students.ids(tx, family.name))
            serving = serving_students(tx, store, family, models(), clock=clock) if has_students else []
        bypassed = [_watch(store, clock, student) for student in serving]
        if any(bypassed):  # one that answered alone gave way
            with store.read() as tx:
                serving = serving_students(tx, store, family, None, clock=clock)
        _keep_alerts(store, clock, family, serving)
        return family.name if any(bypassed) else None

    return each_family(families, look)


def serving_students(
    tx: Transaction, store: Store, family: Family, models: ModelSource | None, *, clock: Clock | None = None
) -> list[ServingStudent]:
    """Those that the champion names, or the candidate of a rollout; and those for which the champion before serves.

    Args:
        models: None: their revisions are not asked.
        clock: None: without those that the champion before names alone, which a holdback serves.
    """
    champion, rollout = store.champions.current(tx, family.name), store.rollouts.active(tx, family.name)
    names = [champion.variant if champion is not None else None, rollout.candidate if rollout is not None else None]
    since = {one.student: one.since for one in store.students.bypasses(tx, family.name)}
    gone = None
    if champion is not None and champion.since in since.values():
        gone = taken_back(store.champions.history(tx, family.name))
        names.append(gone.variant if gone is not None else None)
    records = [store.variants.get(tx, family.name, name) for name in names if name is not None]
    by_student: dict[tuple[str, str], dict[str, VariantRecord]] = {}
    for record in filter(None, records):
        for tier, id in (record.variant.policy.get("students") or {}).items():
            by_student.setdefault((id, tier), {})[record.variant.id] = record
    holdback = current_holdback(tx, store, clock, family.name) if clock is not None else None
    held_back = store.variants.get(tx, family.name, holdback.variant) if holdback is not None else None
    if held_back is not None:
        for tier, id in (held_back.variant.policy.get("students") or {}).items():
            by_student.setdefault((id, tier), {held_back.variant.id: held_back})
    return [
        ServingStudent(
            family=family,
            id=id,
            tier=tier,
            policies={name: parse_policy(record.variant.policy) for name, record in named.items()},
            teachers={name: _teacher(record.variant, tier, models) for name, record in named.items()},
            studies={name: record.study for name, record in named.items() if record.study is not None},
            gave_way=gone if champion is not None and since.get(id) == champion.since else None,
        )
        for (id, tier), named in by_student.items()
    ]


def _teacher(variant: Variant, tier: str, models: ModelSource | None) -> Teacher:
    content = variant.content()
    del content["policy"]
    names = list(variant.policy["tiers"])
    behind, revisions = tuple(names[names.index(tier) + 1 :]), {}
    if models is not None:
        for name in behind:
            try:
                revisions[name] = models.get(name).revision
            except DetentError:  # it is not among the models any more, which its calls will say
                log.warning("the revision of a model behind a student is not known", model=name)
    examples = {name: value for name, value in variant.policy.items() if name.split(".")[0] == EXAMPLES.name}
    prompt, shown = (digest(canonical_json(hashed))[:16] for hashed in (content, examples))
    return Teacher(prompt=prompt, revisions=revisions, behind=behind, shown=shown)


def _watch(store: Store, clock: Clock, student: ServingStudent) -> bool:
    """Whether it was bypassed by this look."""
    name = student.family.name
    with store.read() as tx:
        stored = store.students.watch(tx, name, student.id)
        is_bypassed = _is_bypassed(tx, store, student)
        watched = _begun(tx, store, clock, student) if stored is None else _as_served(tx, store, student, stored)
    if watched is None:
        return False
    watched = _read_on(store, clock, student, watched)
    first, teacher = next(iter(student.teachers.values())), watched.watch.teacher
    with store.read() as tx:
        # A candidate may have another prompt than the champion: the student goes on beside the one that it began with.
        teachers = {} if is_bypassed else student.teachers
        changes = [_changed(tx, store, student, variant, teacher) for variant in teachers]
    # A model that came later is known from then on, of a candidate too.
    later = {model: revision for one in student.teachers.values() for model, revision in one.revisions.items()}
    behind = tuple(dict.fromkeys((*teacher.behind, *first.behind)))
    teacher = replace(
        teacher,
        revisions={**later, **teacher.revisions},
        behind=behind,
        shown=teacher.shown or first.shown,
    )
    watched = replace(watched, watch=replace(watched.watch, teacher=teacher))
    watch = watched.watch
    changed = None if None in changes else next(iter(changes), None)
    reason = changed or (watch.reason if watch.decision == "bypass" else None)
    if watched == stored and (reason is None or is_bypassed):
        return False

    def keep(tx: Transaction) -> bool:
        if store.students.watch(tx, name, student.id) != stored:
            return False  # a person resumed it meanwhile: the next look begins anew
        store.students.keep_watch(tx, watched)
        if reason is None or _is_bypassed(tx, store, student):  # by a person meanwhile
            return False
        put_bypass(tx, store, clock, name, student.id, actor=ACTOR, reason=reason)
        return True

    is_new = store.write(keep)
    if is_new:
        log.warning("student bypassed", family=name, student=student.id, reason=reason)
    return is_new


def _is_bypassed(tx: Transaction, store: Store, student: ServingStudent) -> bool:
    return any(one.student == student.id for one in store.students.bypasses(tx, student.family.name))


def _changed(tx: Transaction, store: Store, student: ServingStudent, variant: str, teacher: Teacher) -> str | None:
    """What is another one behind it in this variant; models alone, where a study has measured the variant."""
    now, name = student.teachers[variant], student.family.name
    changed = teacher.changed(now)
    if changed is None or not (
        variant in student.studies
        or confirming_study(tx, store, name, variant) is not None
        or store.studies.last_measured(tx, name, variant) is not None
    ):
        return changed
    return teacher.changed(replace(teacher, revisions=now.revisions))


def put_bypass(
    tx: Transaction, store: Store, clock: Clock, family: str, student: str, *, actor: str, reason: str
) -> ChangeReport | None:
    """From the commit on it answers nobody. Where it answered alone, the champion before serves again, which ends a
    rollout under way; returns that change. Else a rollout is held, since one of its variants names the student.
    """
    at, history, change = clock.now(), store.champions.history(tx, family), None
    bypassed = {student, *(one.student for one in store.students.bypasses(tx, family))}

    def answers(variant: str) -> bool:
        record = store.variants.get(tx, family, variant)
        return record is not None and not (
            answers_alone(record.variant) and bypassed.intersection(record.variant.policy["students"].values())
        )

    if history and not answers(current := current_of(history).variant) and (to := first_beneath(history, answers)):
        why = f"its student {student} is bypassed (undo: detent student resume {family}): {reason}"[:2000]
        request = ChampionRollbackRequest(family=family, reason=why, expect=current, to=to.variant)
        change = return_to_earlier(request, actor=actor, store=store, clock=clock, tx=tx)
        assert change.champion is not None
        at = change.champion.since  # by which the tenure is known as this bypass's
    store.students.bypass(tx, Bypass(family=family, student=student, since=at, reason=reason, by=actor))
    hold_active(tx, store, clock, family, actor=actor, reason=f"the student {student} is bypassed: {reason}"[:2000])
    tell(tx, store, "student.bypass", family, student, {"why": reason}, actor=actor, at=at)
    return change


def _begun(tx: Transaction, store: Store, clock: Clock, student: ServingStudent) -> WatchedStudent | None:
    """From now on; None where the store no longer has the student."""
    name = student.family.name
    taught = store.students.get(tx, name, student.id)
    if taught is None:
        return None
    # By tenths its confidences and shares of unknown words on examples that did not teach it.
    confidences = unknown = NO_BINS
    for example in store.examples.of_split(tx, student.family.name, split="dev")[:MOST_DEV]:
        answer = taught.answer(cut_as_served(student.family, example).input)
        confidences, unknown = counted(confidences, answer.confidence), counted(unknown, answer.unknown)
    teacher, own = next(iter(student.teachers.values())), taught.student.taught
    # What answers taught goes by the model that gave them, unless a person resumed it since.
    is_resumed = any(one.student == student.id for one in store.students.bypasses(tx, name, open_only=False))
    if "revision" in own and not is_resumed:
        teacher = replace(teacher, revisions={**teacher.revisions, own["model"]: own["revision"]})
    watch = StudentWatch.begin(
        student=student.id,
        tier=student.tier,
        accepted=_accepted(tx, store, student),
        teacher=teacher,
        dev_confidences=confidences,
        dev_unknown=unknown,
        points=student.points,
    )
    return WatchedStudent(family=name, watch=watch, read_until=clock.now())


def _as_served(tx: Transaction, store: Store, student: ServingStudent, watched: WatchedStudent) -> WatchedStudent:
    """Begun anew where the variants that serve answer from another confidence on, or pass on to another tier."""
    watch, points = watched.watch, student.points
    if watch.tier != student.tier or watch.points == points:
        return watched
    if not watch.points:  # stored before: its points are taken to be those of now
        return replace(watched, watch=replace(watch, points=points))
    return replace(watched, watch=watch.anew(points, _accepted(tx, store, student)))


def _accepted(tx: Transaction, store: Store, student: ServingStudent) -> float:
    """The largest of what its variants may lose, since their requests are counted together."""
    losses = []
    for variant, (accept, behind) in student.passes_on.items():
        study = _study_of(tx, store, student, variant)
        answers = store.studies.tier_answers(tx, study) if study is not None else None
        rows, tiers = (answers.rows, answers.tiers) if answers is not None else ((), ("",))
        strongest = [row["tiers"][tiers[-1]]["score"] for row in rows if tiers[-1] in row["tiers"]]
        margin = quality_margin(fsum(strongest) / len(strongest) if strongest else 0.0, student.family.rollout.margin)
        loss = accepted_loss(rows, student=student.tier, behind=behind, accept=accept, margin=margin, tiers=tiers)
        losses.append(loss)
    return max(losses)


def _study_of(tx: Transaction, store: Store, student: ServingStudent, variant: str) -> str | None:
    """The one that measured it in this variant, else the first that taught it: equal rows teach the same student."""
    own = student.studies.get(variant)
    study = store.studies.get(tx, own) if own is not None else None
    taught = (study.findings or {}).get(TAUGHT_STUDENTS) or {} if study is not None else {}
    if taught.get("students", {}).get(student.tier) == student.id:
        return own
    return store.students.study_of(tx, student.family.name, student.id)


def _read_on(store: Store, clock: Clock, student: ServingStudent, watched: WatchedStudent) -> WatchedStudent:
    name, until = student.family.name, clock.now() - SETTLED
    for _ in range(MOST_BATCHES):
        place = watched.read_until, watched.last_id
        with store.read() as tx:
            batch = store.events.next_made_of_parts(
                tx, name, student.policies.keys(), after=place, until=until, limit=BATCH
            )
            later = store.events.later_parts(tx, name, [one.id for one in batch])
        watch = watched.watch
        for one in batch:
            parts = later[one.id].parts if one.id in later else ()
            policy = student.policies[str(one.arm.variant)]
            request = read_request(one, parts, policy, student.tier, student.family.output)
            watch = watch if request is None else watch.after(request)
        if batch:
            watched = replace(watched, watch=watch, read_until=batch[-1].received_at, last_id=batch[-1].id)
        if len(batch) < BATCH:
            break
    return watched


def _keep_alerts(store: Store, clock: Clock, family: Family, serving: Sequence[ServingStudent]) -> None:
    """One alert open for each student that would serve and is bypassed, and for each that is asked other things."""
    name, at = family.name, clock.now()
    behind = {
        student.id: (f"The tier {next(iter(student.passes_on.values()))[1]} answers in its place, at its own price", "")
        if (gone := student.gave_way) is None
        else (
            f"It answered alone: {gone.variant} gave way to the champion before it",
            f", which makes {gone.variant} champion again",
        )
        for student in serving
    }
    with store.read() as tx:
        bypassed = {one.student: one.reason for one in store.students.bypasses(tx, name) if one.student in behind}
        watches = {id: watched.watch for id in behind if (watched := store.students.watch(tx, name, id)) is not None}
        open_alerts = {kind: store.alerts.all(tx, open_only=True, kind=kind, family=name) for kind in KINDS}
    look, teach = f"Look: detent student show {name}.", f"detent study run {name} --strategy replay --aim cost"
    texts = {
        BYPASSED: {
            id: (
                f"The student {id} of {name} is bypassed: {reason}. {behind[id][0]}. {look} To let it answer again:"
                f" detent student resume {name}{behind[id][1]}; to teach another: {teach}."
            )
            for id, reason in bypassed.items()
        },
        SHIFTED: {
            id: (
                f"The student {id} of {name} is asked other things than it was taught on: {'; '.join(watch.shifts)}. It"
                f" still answers. {look} To teach another: {teach}."
            )
            for id, watch in watches.items()
            if watch.shifts and id not in bypassed
        },
    }
    for kind in KINDS:
        alerts = [
            Alert(id=new_id("al"), kind=kind, level="warning", family=name, subject=id, opened_at=at, detail=text)
            for id, text in texts[kind].items()
        ]
        if alerts or open_alerts[kind]:
            store.write(partial(keep_alerts, store=store, kind=kind, wanted=alerts, at=at, family=name))
