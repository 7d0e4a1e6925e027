"""The worker's look at students that serve: from the store's requests to the bypass, its alert and the held rollout,
and back by a person's word.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.core.base.errors import NotFound
from optimizer.core.dataset.examples import make_example
from optimizer.core.family.variant import Variant
from optimizer.core.feedback.events import FeedbackEvent, Interaction, LaterParts
from optimizer.core.models.language import ModelRequest
from optimizer.core.policy.policy import parse_policy
from optimizer.core.policy.steps import draw_of
from optimizer.core.predictor.student import TaughtStudent
from optimizer.core.predictor.teaching import StudentAnswer
from optimizer.core.search.cascade.records import TierRecords
from optimizer.jobs.calls.evaluation_policies import EvaluationPolicies
from optimizer.jobs.calls.shelves import Shelves, StudentShelf
from optimizer.jobs.champions import resume_student as acts, watch_students as job
from optimizer.jobs.champions.watch_students import BYPASSED, SETTLED, SHIFTED, put_bypass, watch_students
from optimizer.jobs.dataset.golden_scenarios import golden_examples, golden_row
from optimizer.jobs.dataset.weigh_examples import weights_by_chance
from optimizer.jobs.request import FamilyRequest
from optimizer.jobs.studies.context import StudyRun
from optimizer.jobs.studies.read_worth import read_worth
from optimizer.ports import TierAnswers
from tests.rows.event_rows import rows_of
from tests.stores import arm, new_database, rollout, study
from tests.worlds.contexts import context_of
from tests.worlds.rollout_world import F, World as RolloutWorld
from tests.worlds.study_world import World, topic_family
from tests.worlds.taught_student import TAUGHT, crown

SHARE = 0.25
ID = TAUGHT.student.hash


class Models:
    """As a source of models, of which one is a student's."""

    def __init__(self) -> None:
        self.revisions = {"strong": "strong-1"}

    def get(self, name: str) -> Any:
        return SimpleNamespace(revision=self.revisions[name])

    def describe(self, name: str) -> Any:
        return SimpleNamespace(student=name == "student")


@dataclass
class Served:
    world: World
    models: Models
    variant: Variant
    n: int = 0

    def crown(self, variant: Variant, *, study: str | None = None) -> None:
        crown(self.world.store, self.world.family.name, variant, at=self.world.clock.now(), study=study)

    def look(self) -> list[str]:
        self.world.clock.at += SETTLED + timedelta(seconds=1)
        families = {self.world.family.name: self.world.family}
        return watch_students(self.world.store, self.world.clock, families, lambda: self.models)

    def serve(self, n: int, *, agrees: float, variant: Variant | None = None, unknown: float | None = None) -> None:
        """So many answers of the student, audited by the id's own draw."""
        rng, interactions, later = random.Random(self.n), [], []
        of = arm(family=self.world.family.name, variant=(variant or self.variant).id, rollout=None)
        for _ in range(n):
            self.n += 1
            id, at = f"in_{self.n:06}", self.world.clock.now()
            own = {"tier": 0, "model": "student", "purpose": "answer", "confidence": 0.9, "taken": True}
            parts = [own if unknown is None else {**own, "unknown": unknown}]
            when = {"occurred_at": at, "received_at": at, "content_hash": id}
            interactions.append(Interaction(id=id, arm=of, output="music", parts=parts, **when))
            if draw_of(id) < SHARE:
                said = "music" if rng.random() < agrees else "physics"
                audit = [{"tier": 1, "model": "strong", "purpose": "audit", "output": said}]
                later.append(LaterParts(family=of.family, interaction=id, parts=audit, cost_usd=0.0, received_at=at))

        def write(tx: Any) -> None:
            self.world.store.events.add_new(tx, rows_of(interactions), rows_of([]))
            for row in later:
                self.world.store.events.add_later_parts(tx, row)

        self.world.store.write(write)

    def alerts(self, kind: str) -> list[str]:
        with self.world.store.read() as tx:
            return [alert.detail for alert in self.world.store.alerts.all(tx, open_only=True, kind=kind)]

    def answers(self, *, serves: bool = True) -> Mapping[str, Any]:
        shelf = StudentShelf(self.world.store, self.models, serves=serves)  # type: ignore[arg-type]
        return shelf.answering(self.world.family.name, parse_policy(self.variant.policy))

    @property
    def context(self) -> Any:
        return context_of(self.world.store, self.world.clock, family=lambda name: self.world.family)

    def standings(self) -> list[Any]:
        return acts.read_students(self.context, FamilyRequest(family="topics")).students

    def bypass(self, reason: str = "", **asked: str) -> acts.StudentChange:
        return acts.bypass_student(self.context, acts.StudentActRequest(family="topics", reason=reason, **asked))

    def resume(self, reason: str = "") -> acts.StudentChange:
        return acts.resume_student(self.context, acts.StudentActRequest(family="topics", reason=reason))

    def tenure(self) -> Any:
        with self.world.store.read() as tx:
            return self.world.store.champions.current(tx, "topics")


def with_policy(variant: Variant, **changes: Any) -> Variant:
    return replace(variant, policy={**variant.policy, **changes})


@pytest.fixture
def served(tmp_path: Path) -> Served:
    family = topic_family(model={"default": "strong", "tiers": ["student", "strong"], "max_tokens": 8})
    world = World(tmp_path, family=family)
    policy = {"tiers": ["student", "strong"], "accept": 0.5, "audit_share": SHARE, "students": {"student": ID}}
    variant = replace(family.variant(), policy=policy)
    world.fill()
    world.store.write(lambda tx: world.store.students.add(tx, family.name, TAUGHT, study="st-1", at=world.clock.now()))
    served = Served(world=world, models=Models(), variant=variant)
    served.crown(variant)
    served.look()  # from now on it is watched
    return served


def test_each_request_is_read_once_however_often_one_looks(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "BATCH", 30)
    served.serve(100, agrees=1.0)
    assert served.look() == served.look() == []
    served.serve(50, agrees=1.0)
    served.look()
    (standing,) = served.standings()
    n_drawn = sum(draw_of(f"in_{i:06}") < SHARE for i in range(1, 151))
    assert (standing.n_audited, sum(week.n for week in standing.weeks)) == (n_drawn, 150)
    assert (standing.decision, standing.bypassed_since) == ("cannot_tell", None)
    assert standing.weeks[0].agreement == 1.0


def test_a_student_that_loses_too_much_is_bypassed_with_an_alert_that_says_what_to_do(served: Served) -> None:
    served.serve(300, agrees=1.0)
    assert served.look() == []
    assert "student" in served.answers()
    served.serve(300, agrees=0.3)
    assert served.look() == ["topics"]
    assert served.look() == [], "once"
    (text,) = served.alerts(BYPASSED)
    for words in ("lost agreement with the next tier", "detent student resume topics", "strong"):
        assert words in text
    assert served.answers() == {}, "the gateway passes it over"
    assert "student" in served.answers(serves=False), "studies and evaluations go on asking it"
    with served.world.store.read() as tx:
        (entry,) = served.world.store.audit.of_subject(tx, ID)
    assert (entry["action"], entry["actor"]) == ("student.bypass", "student_watch")


def test_a_person_lets_it_answer_again_and_it_is_watched_anew(served: Served) -> None:
    served.serve(300, agrees=0.3)
    served.look()
    resumed = served.resume("the strong model was ill")
    assert resumed.changed
    assert resumed.undo == "detent student bypass topics"
    assert not served.resume().changed
    assert "student" in served.answers()
    assert served.alerts(BYPASSED) == []
    served.look()
    served.serve(100, agrees=1.0)
    assert served.look() == []
    (standing,) = served.standings()
    assert standing.weeks[0].agreement == 1.0, "what was held against it counts no more"
    with served.world.store.read() as tx:
        (past,) = served.world.store.students.bypasses(tx, "topics", open_only=False)
    assert (past.by, past.ended_by) == ("student_watch", "ann")


def test_another_model_behind_it_bypasses_it_at_once_and_resuming_accepts_that_model(served: Served) -> None:
    served.models.revisions["strong"] = "strong-2"
    assert served.look() == ["topics"]
    assert "the model strong behind it was strong-1 and is strong-2 now" in served.alerts(BYPASSED)[0]
    served.resume()
    assert served.look() == []
    assert served.look() == []


def reworded(variant: Variant, text: str) -> Variant:
    return replace(variant, messages=({"role": "system", "content": text}, *variant.messages))


def test_a_new_prompt_that_its_study_tried_beside_the_student_leaves_it_answering(served: Served) -> None:
    """An edit by hand bypasses it, and so does another model, one that came with that prompt among them."""
    tried = reworded(served.variant, "Name the topic.")
    served.models.revisions["stronger"] = "stronger-1"
    served.crown(with_policy(tried, tiers=["student", "stronger"]), study="st-2")
    assert served.look() == served.look() == []
    assert "student" in served.answers()
    served.models.revisions["stronger"] = "stronger-2"
    assert served.look() == ["topics"]
    assert "the model stronger behind it was stronger-1 and is stronger-2 now" in served.alerts(BYPASSED)[0]
    served.resume()
    assert served.look() == []
    served.crown(reworded(served.variant, "Name it as you like."))
    assert served.look() == ["topics"]
    assert "the prompt of the models behind it is another one" in served.alerts(BYPASSED)[0]


def test_a_model_behind_it_that_changed_while_a_candidate_had_it_bypasses_it_once_that_serves(served: Served) -> None:
    store = served.world.store
    candidate = with_policy(served.variant, accept=0.7, tiers=["student", "other"])
    served.models.revisions["other"] = "other-1"
    served.crown(candidate, study="st-2")
    served.crown(served.variant)
    under_way = rollout(family="topics", champion=served.variant.id, candidate=candidate.id, status="deploying")
    store.write(lambda tx: store.rollouts.add(tx, under_way))
    assert served.look() == []
    served.models.revisions["other"] = "other-2"
    assert served.look() == [], "the champion has the same model behind it"
    served.crown(candidate, study="st-2")
    assert served.look() == ["topics"]
    assert "the model other behind it was other-1 and is other-2 now" in served.alerts(BYPASSED)[0]


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"tiers": ["student", "other"]}, "the model other is behind it now, which it was not measured against"),
        ({"examples": {"strong": 1}}, "the prompt of the models behind it is another one"),
    ],
    ids=["a tier swapped", "other examples"],
)
def test_another_policy_of_the_models_behind_it_that_no_study_tried_bypasses_it(
    served: Served, policy: dict[str, Any], says: str
) -> None:
    served.models.revisions["other"] = "other-1"
    served.crown(with_policy(served.variant, accept=0.6, audit_share=0.3))
    assert served.look() == [], "what goes out is no teacher"
    served.crown(with_policy(served.variant, **policy))
    assert served.look() == ["topics"]
    assert says in served.alerts(BYPASSED)[0]
    served.resume()
    assert served.look() == served.look() == []


def test_a_prompt_by_hand_that_a_study_took_to_the_holdout_beside_the_student_leaves_it_answering(
    served: Served,
) -> None:
    mine = reworded(served.variant, "Name the topic.")
    at = served.world.clock.now()
    look = study(family="topics", status="finished", strategy="confirm", winner=mine.id, confirmation={"gates": []})
    served.world.store.write(lambda tx: served.world.store.studies.add(tx, replace(look, finished_at=at)))
    served.crown(mine)
    assert served.look() == served.look() == []
    served.models.revisions["strong"] = "strong-2"
    assert served.look() == ["topics"]


def measured(*, agrees_unsure: float) -> TierAnswers:
    """Of a study in which all answers were right: half of the student's are sure to .97 and agree, half to .7."""
    behind = {"score": 1.0, "confidence": None}
    own = [{"score": 1.0, "confidence": 0.97, "agreement_with": {"strong": 1.0}} for _ in range(200)]
    own += [{"score": 1.0, "confidence": 0.7, "agreement_with": {"strong": agrees_unsure}} for _ in range(200)]
    return TierAnswers(tiers=("student", "strong"), rows=[{"tiers": {"student": one, "strong": behind}} for one in own])


def test_another_point_of_the_front_is_judged_by_what_the_study_measured_there(served: Served) -> None:
    """The bold one disagrees with the model half as often as it answers unsure, as it did in the study."""
    store, bold = served.world.store, served.variant
    safe = with_policy(bold, accept=0.9)
    store.write(lambda tx: store.studies.put_tier_answers(tx, "st-1", measured(agrees_unsure=0.5)))

    def standing() -> tuple[float, int]:
        assert served.look() == []
        (one,) = served.standings()
        assert sum(week.n for week in one.weeks) == served.n, "the weeks stay"
        return round(one.accepted_loss, 2), one.n_audited

    served.crown(safe)
    assert standing() == (0.05, 0)
    served.crown(bold)
    accepted, _ = standing()
    assert 0.28 < accepted < 0.34
    served.serve(1500, agrees=0.76)
    assert standing()[1] > 300
    under_way = rollout(family="topics", champion=bold.id, candidate=safe.id, status="deploying")
    store.write(lambda tx: store.rollouts.add(tx, under_way))
    assert standing() == (accepted, 0), "the larger loss, while both serve"
    ended = replace(under_way, version=under_way.version + 1, status="ended", ended_at=served.world.clock.now())
    store.write(lambda tx: store.rollouts.save(tx, ended, None))
    served.crown(safe)
    assert standing() == (0.05, 0)


def test_of_two_studies_that_taught_it_the_one_that_made_the_variant_says_what_is_accepted(served: Served) -> None:
    """Equal rows teach the same student, which the store has of the first one."""
    store, bold = served.world.store, served.variant
    second = study("st-2", family="topics", status="finished", findings={"students": {"students": {"student": ID}}})
    other = study("st-3", family="topics", status="finished", findings={"students": {"students": {"student": "st_x"}}})
    for one in (second, other):
        store.write(lambda tx, one=one: store.studies.add(tx, one))
    for id, agrees in (("st-1", 1.0), ("st-2", 0.5), ("st-3", 0.0)):
        answers = measured(agrees_unsure=agrees)
        store.write(lambda tx, id=id, answers=answers: store.studies.put_tier_answers(tx, id, answers))
    for accept, made_by, least, most in ((0.6, "st-2", 0.28, 0.34), (0.65, "st-3", 0.05, 0.05)):
        served.crown(with_policy(bold, accept=accept), study=made_by)
        served.look()
        (standing,) = served.standings()
        assert least <= round(standing.accepted_loss, 2) <= most


def test_a_watch_without_points_goes_on_at_those_of_now(served: Served) -> None:
    """As the release before stores it."""
    store = served.world.store
    served.serve(200, agrees=1.0)
    served.look()
    with store.read() as tx:
        watched = store.students.watch(tx, "topics", ID)
    assert watched is not None
    earlier = replace(watched, watch=replace(watched.watch, points=()))
    store.write(lambda tx: store.students.keep_watch(tx, earlier))
    served.look()
    with store.read() as tx:
        assert store.students.watch(tx, "topics", ID) == watched
    assert watched.watch.points == ((0.5, "strong"),)


def test_a_golden_scenario_of_an_example_that_taught_it_is_answered_out_of_fold(served: Served) -> None:
    family, store = served.world.family, served.world.store
    example = make_example(
        id="row-1",
        family=family.name,
        input={"document": "notes on music"},
        expected={"topic": "music"},
        origin="curated",
        created_at=served.world.clock.now(),
    )
    unseen = TaughtStudent(
        student=TAUGHT.student, out_of_fold={"row-1": StudentAnswer(label="physics", confidence=0.4)}
    )
    store.write(lambda tx: store.personal.remove(tx, "students", [(family.name, ID)]))
    store.write(lambda tx: store.students.add(tx, family.name, unseen, study="st-1", at=served.world.clock.now()))
    nothing: Any = None
    policies = EvaluationPolicies(family, nothing, nothing, nothing, shelves=Shelves.of(store, served.models))  # type: ignore[arg-type]
    (scenario,) = golden_examples(family, [golden_row(family, "notes", example)])
    policy = parse_policy(served.variant.policy)
    rendered = ModelRequest(model="strong", revision="", messages=[], params={})
    for asked in (example, scenario):
        answer = policies.wanted(served.variant, asked, policy, rendered).students["student"](asked.input)
        assert answer.label == "physics", "the student itself has seen that it is music"


def test_one_that_answers_alone_gives_way_to_the_champion_before_it_until_it_is_resumed(served: Served) -> None:
    store, before = served.world.store, served.variant
    plain = replace(before, policy={})
    served.crown(plain)
    alone = with_policy(before, refuse=True)
    served.crown(alone, study="st-1")
    served.look()
    served.serve(300, agrees=0.3, variant=alone)
    assert served.look() == ["topics"]
    (text,) = served.alerts(BYPASSED)
    assert f"{alone.id} gave way to the champion before it" in text
    assert f"detent student resume topics, which makes {alone.id} champion again" in text
    assert served.look() == []
    assert served.alerts(BYPASSED) == [text], "as long as it is so"
    tenure = served.tenure()
    with store.read() as tx:
        entries = store.audit.of_subject(tx, plain.id)
    assert (tenure.variant, tenure.by, tenure.forced) == (plain.id, "student_watch", False)
    assert f"champion rollback: its student {ID} is bypassed (undo: detent student resume topics)" in tenure.why
    assert "champion.rollback" in [entry["action"] for entry in entries]
    (standing,) = served.standings()
    assert (standing.variants, standing.bypassed_since) == ([alone.id], tenure.since)

    resumed = served.resume("the strong model was ill")
    assert f"the student {ID} answers again; {alone.id}" in resumed.what
    assert f"is champion again, instead of {plain.id}" in resumed.what
    assert "student" in served.answers()
    assert served.look() == []
    bypassed = served.bypass("night")
    assert f"{plain.id} (model strong) is champion again, instead of {alone.id}" in bypassed.what
    assert not served.bypass().changed
    tenure = served.tenure()
    assert (tenure.variant, tenure.by) == (plain.id, "ann")


def test_one_that_answers_alone_passes_over_an_earlier_champion_with_the_same_student_alone(served: Served) -> None:
    """Where none is left, the default model answers in its place."""
    store, before = served.world.store, served.variant
    alone, surer = (with_policy(before, refuse=True, accept=accept) for accept in (0.5, 0.9))
    served.crown(alone)
    served.crown(surer)
    for variant in (before, served.world.family.variant()):
        store.write(lambda tx, variant=variant: store.personal.remove(tx, "variants", [("topics", variant.id)]))
    bypassed = served.bypass("night")
    assert "the tier behind it answers" in bypassed.what
    assert served.tenure().variant == surer.id
    served.look()
    assert "The tier strong answers in its place" in served.alerts(BYPASSED)[0]
    served.resume()
    served.crown(before)
    served.crown(alone)
    served.crown(surer)
    bypassed = served.bypass("night")
    assert f"{before.id} (model strong and student) is champion again" in bypassed.what


def test_one_that_answers_taught_is_bypassed_where_their_model_changed_before_it_served(served: Served) -> None:
    """Until a person resumes it, which accepts the model as it is now."""
    by_answers = {"n_rows": 50, "teach": "answers", "model": "strong", "revision": "strong-0", "n_answers": 50}
    taught = replace(TAUGHT, student=replace(TAUGHT.student, taught=by_answers))
    store, at = served.world.store, served.world.clock.now()
    store.write(lambda tx: store.students.add(tx, "topics", taught, study="st-2", at=at))
    served.crown(with_policy(served.variant, students={"student": taught.student.hash}))
    assert served.look() == ["topics"]
    assert "the model strong behind it was strong-0 and is strong-1 now" in served.alerts(BYPASSED)[0]
    (standing,) = served.standings()
    assert standing.taught_by == "answers of strong (strong-0) to 50 examples"
    served.resume()
    assert served.look() == served.look() == []


def test_requests_with_other_words_open_an_alert_and_leave_it_answering(served: Served) -> None:
    served.serve(400, agrees=1.0, unknown=0.95)
    served.look()
    (text,) = served.alerts(SHIFTED)
    assert "words are unknown to it" in text
    assert "student" in served.answers()


def test_a_person_bypasses_it_and_repeats_that_without_harm(served: Served) -> None:
    assert served.bypass("a new product is out").changed
    assert not served.bypass("a new product is out").changed
    assert served.answers() == {}
    served.look()
    assert "a new product is out" in served.alerts(BYPASSED)[0]


def test_of_two_students_the_one_that_answers_is_bypassed_where_none_is_named(served: Served) -> None:
    named = {"tiers": ["student", "second", "strong"], "accept.2": 0.5, "students": {"student": ID, "second": "0" * 64}}
    served.crown(with_policy(served.variant, **named))
    changes = [served.bypass() for _ in range(3)]
    assert [change.changed for change in changes] == [True, True, False]
    assert {change.student for change in changes} == {ID, "0" * 64}
    assert served.resume().changed


def test_of_requests_that_it_answered_only_audited_ones_teach_the_next_student(served: Served) -> None:
    served.serve(40, agrees=1.0)
    ids = [f"in_{i:06}" for i in range(1, 41)]
    usual: dict[str, Any] = {"family": "topics", "created_at": served.world.clock.now(), "origin": "correction"}
    examples = [
        make_example(id=f"co_{id}", input={"document": id}, expected={"topic": "music"}, interaction=id, **usual)
        for id in (*ids, "in_pruned")
    ]
    with served.world.store.read() as tx:
        weights = weights_by_chance(tx, served.world.store, served.world.family, examples)
    assert weights == {
        **{f"co_{id}": 1 / SHARE if draw_of(id) < SHARE else 0.0 for id in ids},
        "co_in_pruned": 0.0,
    }
    assert 0 < sum(weight > 0 for weight in weights.values()) < 40
    rows = [{"tiers": {}} for _ in examples]
    evaluator: Any = SimpleNamespace(tier_rows=lambda variant, examples: rows)
    run: Any = SimpleNamespace(store=served.world.store, family=served.world.family, study=SimpleNamespace(id="st-2"))
    replayed = StudyRun.tier_rows(run, evaluator, served.variant, examples)
    records = TierRecords.from_rows(replayed, served.variant.policy["tiers"])
    assert records.weight.tolist() == list(weights.values()), "so are thresholds found"


def test_a_pair_that_leaves_out_the_tier_between_is_judged_by_the_tier_behind_it(served: Served) -> None:
    """The student says what the large model says, and the small one another thing, which is no better."""
    said = {"large": "music", "small": "physics", "student": "music"}
    measured = {"cost_usd": 0.0, "own_usd": 0.0, "latency_ms": 1.0, "confidence": 0.9}
    row = {tier: {**measured, "text": text, "score": 0.0} for tier, text in said.items()}
    evaluator: Any = SimpleNamespace(tier_rows=lambda variant, examples: [{"tiers": row} for _ in examples])
    store = served.world.store
    run: Any = SimpleNamespace(store=store, family=served.world.family, study=SimpleNamespace(id="st-1"))
    usual: dict[str, Any] = {"family": "topics", "created_at": served.world.clock.now(), "origin": "curated"}
    examples = [make_example(id=f"row-{i}", input={"document": str(i)}, expected={}, **usual) for i in range(50)]
    three = with_policy(served.variant, tiers=["student", "small", "large"])
    served.models.revisions = {"small": "small-1", "large": "large-1"}
    StudyRun.tier_rows(run, evaluator, three, examples)
    accepted = []
    for tiers in (["student", "large"], ["student", "small", "large"]):
        store.write(lambda tx: store.students.drop_watch(tx, "topics", ID))
        served.crown(with_policy(three, tiers=tiers))
        served.look()
        (standing,) = served.standings()
        accepted.append(standing.accepted_loss)
    assert accepted[0] < 0.1 < accepted[1]


def test_what_a_forgotten_student_may_have_answered_teaches_nothing(served: Served) -> None:
    served.serve(20, agrees=1.0)
    store, at = served.world.store, served.world.clock.now()
    gone, when = arm(family="topics", variant="v_gone", rollout=None), {"occurred_at": at, "received_at": at}
    plain = Interaction(id="in_plain", arm=gone, content_hash="p", **when)
    store.write(lambda tx: store.events.add_new(tx, rows_of([plain]), []))
    store.write(lambda tx: store.personal.remove(tx, "students", [("topics", ID)]))
    store.write(lambda tx: store.personal.remove(tx, "variants", [("topics", served.variant.id)]))
    ids = ["in_pruned", *(f"in_{i:06}" for i in range(1, 21)), "in_plain"]
    usual: dict[str, Any] = {"family": "topics", "created_at": at, "origin": "interaction"}
    examples = [
        make_example(id=f"ia_{id}", input={"document": id}, expected={"topic": "music"}, interaction=id, **usual)
        for id in ids
    ]
    with store.read() as tx:
        weights = weights_by_chance(tx, store, served.world.family, examples)
    assert weights == {f"ia_{id}": 0.0 for id in ids[:-1]}, "one call of one model was no student's"


def test_a_correction_that_names_no_request_teaches_nothing_where_a_student_may_have_answered_it(
    served: Served,
) -> None:
    store, at = served.world.store, served.world.clock.now()
    other = replace(served.variant, policy={})
    served.crown(other)
    events = [
        FeedbackEvent(
            id=id,
            arm=arm(family="topics", variant=variant.id, rollout=None),
            source="user",
            expected={"topic": "music"},
            occurred_at=at,
            received_at=at,
            content_hash=id,
        )
        for id, variant in (("fb_student", served.variant), ("fb_other", other))
    ]
    store.write(lambda tx: store.events.add_new(tx, [], rows_of(events)))
    usual: dict[str, Any] = {"family": "topics", "created_at": at, "expected": {"topic": "music"}}
    examples = [
        make_example(id=f"co_{id}", input={"document": id}, origin="correction", **usual)
        for id in ("fb_student", "fb_other", "fb_pruned")
    ]
    examples.append(make_example(id="row-1", input={"document": "a row"}, origin="curated", **usual))
    with store.read() as tx:
        weights = weights_by_chance(tx, store, served.world.family, examples)
    assert weights == {"co_fb_student": 0.0, "co_fb_pruned": 0.0}
    ports = {"family": lambda _: served.world.family, "scorer_for": lambda _: served.world.scorer}
    context = context_of(store, served.world.clock, **ports, learn_student=lambda rows, trained_on: TAUGHT)
    n_known = read_worth(context, FamilyRequest(family="topics")).n_known
    store.write(lambda tx: store.examples.add(tx, [replace(one, split="train", released=True) for one in examples]))
    more = read_worth(context, FamilyRequest(family="topics")).n_known - n_known
    assert more == 2, "nor does it tell what a student is worth"


def test_a_rollout_under_way_is_held_until_a_person_resumes_it(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    world = RolloutWorld(store=database)
    world.history()
    world.start()
    database.write(
        lambda tx: put_bypass(tx, database, world.clock, F, ID, actor="student_watch", reason="it lost too much")
    )
    assert (world.rollout.held, world.rollout.held_by) == (True, "student_watch")
    world.tick()
    assert world.rollout.held, "the tick takes back only its own hold"
    assert world.operate("resume").changed
    assert not world.verified().problems
    database.close()


def test_a_rollout_under_way_ends_where_the_champion_gives_way(tmp_path: Path) -> None:
    """It compared the candidate with that champion."""
    database = new_database(tmp_path)
    world = RolloutWorld(store=database)
    plain = world.family.variant()
    policy = {"tiers": ["student", "m"], "accept": 0.5, "refuse": True, "students": {"student": ID}}
    crown(database, F, replace(plain, policy=policy), at=world.clock.now())
    world.champion = replace(plain, policy=policy).id
    world.behaviours[world.champion] = world.behaviours[plain.id]
    world.history()
    world.start()
    report = database.write(
        lambda tx: put_bypass(tx, database, world.clock, F, ID, actor="student_watch", reason="it lost too much")
    )
    assert report is not None
    assert (report.instead_of, report.champion and report.champion.variant) == (world.champion, plain.id)
    assert (world.rollout.outcome, world.rollout.held) == ("champion_changed", False)
    assert not world.verified().problems
    database.close()


def test_one_that_only_a_holdback_serves_is_watched_on(served: Served) -> None:
    """A twentieth of the users keep the champion before for a week."""
    store, at, plain = served.world.store, served.world.clock.now(), replace(served.variant, policy={})
    served.crown(plain)
    assert served.standings() == []
    promoted = rollout(family="topics", champion=served.variant.id, candidate=plain.id, status="ended", ended_at=at)
    store.write(lambda tx: store.rollouts.add(tx, replace(promoted, outcome="promoted")))
    tenure = served.tenure()
    store.write(lambda tx: store.champions.put(tx, replace(tenure, seq=tenure.seq + 1, rollout=promoted.id)))
    served.serve(300, agrees=0.3)
    assert served.look() == ["topics"]
    assert served.answers() == {}
    assert "lost agreement with the next tier" in served.alerts(BYPASSED)[0]
    served.resume()
    assert "student" in served.answers()


def test_a_student_that_does_not_serve_is_refused_by_name(served: Served) -> None:
    with pytest.raises(NotFound, match=f"but {ID}"):
        served.bypass(student="st_other")
