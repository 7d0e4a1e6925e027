"""A home whose store has rows in every table: the product's own acts, one after the other, at a clock that is moved by
hand. What users do is drawn from a seed.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np

from optimizer.content.jobs.watch_pipeline import watch_pipeline
from optimizer.core.family.variant import FewShot
from optimizer.core.feedback.pipeline_record import TARGETS
from optimizer.core.predictor.example_index import ExampleIndex, IndexedExample
from optimizer.core.predictor.parts import Platt
from optimizer.core.predictor.student import Classifier, Student, TaughtStudent, Vocabulary
from optimizer.core.predictor.teaching import StudentAnswer
from optimizer.core.rollout.student_watch import StudentWatch, Teacher
from optimizer.host.config import Settings, load_settings
from optimizer.jobs.champions.watch_champion import watch_champion
from optimizer.jobs.champions.watch_switch import SwitchWatcher
from optimizer.jobs.context import JobContext
from optimizer.jobs.families.create_family import as_yaml
from optimizer.jobs.families.create_variant import VariantRequest, store_draft
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes, roll_up_performance, roll_up_traffic
from optimizer.jobs.runs.carry_out_run import carry_out_run
from optimizer.ports import AlertSilence, Transaction
from optimizer.ports.examples import Bypass, WatchedStudent
from optimizer.runtime import wiring
from tests.clock import T0, Clock
from tests.recordings.fixed import api_of, source
from tests.rows.cascade_traffic import Traffic, cascade_variant, drawn
from tests.rows.evaluations import evaluated
from tests.rows.rollout_acts import set_champion
from tests.stand_ins.playbook_model import Learner
from tests.stores import EMBEDDED_ONLY, migrate_store, new_database
from tests.unit.cascades.test_cascade_studies import two_tiers
from tests.worlds import graph_world, rated_world
from tests.worlds.api_world import FAMILY as TRIAGE, World as Api
from tests.worlds.judged_world import judge_model
from tests.worlds.rollout_world import Behaviour, World as Rollouts
from tests.worlds.study_world import TOPIC_FAMILY, World as Studies, topic_examples, topic_family

MODELS = ("fake", "cheap", "strong", "embedded")
CASCADE = {"model": {"default": "strong", "tiers": ["cheap", "strong"], "max_tokens": 8}, "space": {}}
LESSONS = {"space": {"instruction": {"propose": True}}}
ROLLOUT = {
    "ladder": [0.25, 0.5],
    "min_labelled_per_stage": 60,
    "min_duration_hours": 0,
    "whole_days": False,
    "cohort_minutes": 5.0,
    "feedback_window": {"hours": 0.1},
    "margin": 0.2,
}
SUMMARIZATION = {
    "name": "summarization",
    "inputs": {"document": {"type": "text"}},
    "prompt": {"current": "1", "versions": {"1": {"content": [{"role": "user", "content": "{{document}}"}]}}},
    "rollout": ROLLOUT,
}
KEYS = {
    "reader": ["read"],
    "texts": ["read-texts"],
    "operator": ["operate"],
    "application": ["feedback"],
    "server": ["serve"],
    "gone": ["serve"],
    "boss": ["admin"],
}


def make_home(home: Path) -> Settings:
    """Folders and files; the store is migrated and empty."""
    topics: dict[str, dict[str, Any]] = {"topics": {}, "cascades": CASCADE, "lessons": LESSONS, "old": {}, "gone": {}}
    families: dict[str, str] = {
        **{name: as_yaml({**TOPIC_FAMILY, "name": name, **changes}) for name, changes in topics.items()},
        "summarization": as_yaml(SUMMARIZATION),
        "triage": TRIAGE,
        graph_world.F: graph_world.FAMILY.replace("PRIVACY", ""),
        rated_world.F: rated_world.YAML,
    }
    for name, text in families.items():
        (home / "families" / name).mkdir(parents=True)
        (home / "families" / name / "family.yaml").write_text(text, encoding="utf-8")
    (home / "config").mkdir()
    price = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
    model = {"openai_compatible": "http://127.0.0.1:9/v1", "model": "m", "max_output_tokens": 16, "price": price}
    (home / "config" / "models.yaml").write_text(json.dumps(dict.fromkeys(MODELS, model)), encoding="utf-8")
    settings = load_settings("dev", home)
    migrate_store(settings)
    return settings


def build(home: Path, clock: Clock) -> Settings:
    """``clock``: the one that the process has (``fixed``)."""
    settings = make_home(home)
    with api_of(settings, clock) as api:  # syncs the families: each has its first champion
        triage_is_used(api)
    studies_are_run(settings.var(), clock)
    rollouts_are_moved(settings.var(), clock)
    with api_of(settings, clock) as api:
        judges_are_asked(api, clock)
        graphs_are_repaired(api)
        families_come_and_go(api)
        the_pipeline_reports(api, clock)
        things_are_summed_up(api, clock)
        keys_are_made(api)
    return settings


def sent(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, f"{answer.request.method} {answer.request.url}: {answer.text}"
    return answer.json()


def triage_is_used(api: Api) -> None:
    """Prompts, events with corrections, long inputs, overrides, freezes, a schedule; a rollout that waits."""
    api.add_examples(20)
    shown = sent(api.get("/v1/families/triage/prompt?unit=u1"))
    sent(api.post("/v1/families/triage/render", {"unit": "u2", "variables": {"text": "long " * 50}}))
    events = [
        {
            "id": "in_1",
            "assignment": shown["assignment"],
            "input": {"text": "an invoice"},
            "output": "billing",
            "latency_ms": 12.0,
            "cost_usd": 0.001,
            "confidence": 0.4,
        },
        {
            "id": "in_2",
            "family": "triage",
            "unit": "u2",
            "input": {"text": "a cable"},
            "output": "billing",
            "error": "upstream failed",
            "latency_ms": 900.0,
            "cost_usd": 0.002,
        },
        {"id": "fb_1", "interaction": "in_1", "success": True, "score": 0.9},
        {"id": "fb_2", "interaction": "in_2", "success": False, "expected": {"topic": "technical"}, "source": "person"},
    ]
    sent(api.post("/v1/feedback", events, headers={"Idempotency-Key": "first"}))
    window = {"family": "triage", "variant": api.champion(), "rollout": None, "stage": None, "exposed": 7}
    times = {"from": T0.isoformat(), "to": (T0 + timedelta(minutes=1)).isoformat()}
    sent(api.post("/v1/exposures", {"client": "shop", "windows": [{**window, **times}]}))
    variant = api.candidate()
    sent(api.client.put("/v1/families/triage/overrides/u9", json={"variant": variant}))
    schedule = {"cron": "0 3 * * *", "reason": "nightly"}
    sent(api.client.put("/v1/families/triage/schedule", json=schedule, headers={"If-Match": "*"}))
    sent(api.post("/v1/freeze", {"family": "gone", "reason": "holidays"}))
    reviews = sent(api.get("/v1/reviews?family=triage"))["items"]
    assert reviews, "a correction asks for its release"
    rollout = api.start(api.candidate("Which of the two?"))
    sent(api.post(f"/v1/rollouts/{rollout['id']}/reject", {"reason": "not yet"}))
    released = api.shared.read(
        lambda tx: api.shared.store.examples.of_split(tx, "triage", split="train", released_only=True)
    )[0]
    sent(
        api.post("/v1/families/triage/golden", {"example": released.id, "scenario": "an invoice", "reason": "typical"})
    )


def studies_are_run(var: Path, clock: Clock) -> None:
    """A search, a playbook, a cascade, and an evaluation beside them."""
    topics = Studies(var, clock=clock)
    topics.model.concurrency = 1
    topics.store.write(lambda tx: topics.store.examples.add(tx, of_topics("topics")))
    topics.run(topics.create(strategy="bootstrap"))
    evaluated(
        topics.family,
        topics.family.variant(),
        n=6,
        actor="ann",
        store=topics.store,
        clock=clock,
        models=topics,
        scorer_for=lambda family: topics.scorer,
        classify=wiring.classify,
    )
    topics.store.close()

    lessons = Studies(var, clock=clock, model=Learner(), family=topic_family(name="lessons", **LESSONS))
    lessons.store.write(lambda tx: lessons.store.examples.add(tx, of_topics("lessons")))
    lessons.run(lessons.create(strategy="playbook"))
    lessons.store.close()

    family = topic_family(name="cascades", **CASCADE)
    cascades, tiers = Studies(var, clock=clock, family=family), two_tiers()
    cascades.store.write(lambda tx: cascades.store.examples.add(tx, of_topics("cascades", n=(60, 30, 40))))
    sizes = {"n_train": 60, "n_dev": 30, "n_holdout": 40, "n_settings": 3}
    cascades.run(cascades.create(models=tiers, definition=sizes, strategy="replay", aim="cost"), models=tiers)
    traffic = Traffic(cascades, cascade_variant(family, 0.5, audit_share=0.5), Random(5))
    traffic.serve([drawn(traffic.rng) for _ in range(40)])
    cascades.store.close()


def of_topics(family: str, n: tuple[int, int, int] = (30, 12, 24)) -> list[Any]:
    return [
        one
        for split, k in zip(("train", "dev", "holdout"), n, strict=True)
        for one in topic_examples(k, split, family=family)
    ]


def rollouts_are_moved(var: Path, clock: Clock) -> None:
    """One is promoted, taken back by a person, whose switch is watched; another is rolled back as worse."""
    world = Rollouts(store=new_database(var), clock=clock, rollout_settings=ROLLOUT)
    family, first = {world.family.name: world.family}, world.champion
    world.behaviours = {first: Behaviour(success=0.6), world.candidate: Behaviour(success=0.95)}
    world.history(600, n_labelled=200)
    world.start()
    world.climb(60, per_minute=30)
    assert world.rollout.outcome == "promoted", world.moves()

    set_champion(
        world.family.name,
        first,
        actor="ann",
        reason="shorter",
        confirm=world.family.name,
        store=world.store,
        clock=clock,
        models=EMBEDDED_ONLY,
        loaded=None,
    )
    watcher = SwitchWatcher(world.store, clock)
    for _ in range(5):
        world.labels(20)
        watcher.look(family)
    watch_champion(world.store, clock, family)

    draft = VariantRequest(
        family=world.family.name, messages=[{"role": "user", "content": "Guess: {{document}}"}], note="quick"
    )
    world.candidate = store_draft(world.family, draft, actor="ann", store=world.store, clock=clock).variant
    world.champion = first
    world.behaviours[world.candidate] = Behaviour(success=0.1)
    world.start()
    world.climb(60, per_minute=30)
    assert world.rollout.outcome in ("worse", "guardrail"), world.moves()
    world.store.close()


def judges_are_asked(api: Api, clock: Clock) -> None:
    """Answers are scored and rated, the judge is calibrated and asked in the background."""
    family = api.shared.family(rated_world.F)
    rated_world.judge_answers(api.shared.store, family, 60, clock.now() - timedelta(hours=1))  # type: ignore[arg-type]
    rated_world.add_unjudged(api, 6)
    path = f"/v1/families/{rated_world.F}"
    sent(api.post(f"{path}/rating-draws", {"n": 30}), 201)
    rated_world.rate_all(api, 25)
    with patch("api.services.fit_judge_apart", wiring.fit_judge):  # in a process of its own it takes six seconds
        sent(api.post(f"{path}/judge/calibrations"), 201)
    run = sent(api.post(f"{path}/judge/scores", {"n": 4}), 202)
    shared = api.shared
    carry_out_run(
        run["id"],
        JobContext(
            store=shared.store,
            clock=clock,
            families=shared.families,
            models=source(judge_model(name="embedded", concurrency=1)),
            scorer_for=wiring.scorers(api.settings),
        ),
        intake_of=lambda actor: shared.intake(actor),
        classify=wiring.classify,
    )


def graphs_are_repaired(api: Api) -> None:
    graph = graph_world.propose(api)
    first, second, *_ = graph["repairs"]
    sent(api.post(f"/v1/repairs/{first['id']}/approve", {"reason": "the same person"}))
    sent(api.post(f"/v1/repairs/{second['id']}/reject", {"reason": "it is there"}))


def families_come_and_go(api: Api) -> None:
    api.shared.store.write(lambda tx: api.shared.store.examples.add(tx, of_topics("gone")))
    sent(api.client.delete("/v1/families/gone", params={"confirm": "gone", "reason": "of no use"}))
    sent(api.post("/v1/families/old/rename", {"name": "new", "confirm": "old"}))


def the_pipeline_reports(api: Api, clock: Clock) -> None:
    record = {"processing_type": "full", "content_type": "talk", "quality_score": 0.8, "processing_time": 125}
    early = {
        "processing_type": "early_exit",
        "content_type": "news",
        "exit_checkpoint": "post_download",
        "exit_reason": "short",
        "exit_confidence": 0.9,
        "time_saved_pct": 0.9,
        "processing_time": 3,
    }
    for one in (record, early, record):
        sent(api.post("/api/performance/record", one))
    watch_pipeline(api.shared.store, clock, TARGETS)


def things_are_summed_up(api: Api, clock: Clock) -> None:
    shared = api.shared
    clock.pass_seconds(180)
    roll_up_minutes(shared.store, clock)
    roll_up_traffic(shared.store, clock)
    roll_up_performance(store=shared.store, clock=clock)
    watch_champion(shared.store, clock, shared.families.families)
    api.deploying()
    roll_up_minutes(shared.store, clock)


def keys_are_made(api: Api) -> None:
    """The last act: from here on every request needs one. Their secrets are their names."""
    sent(api.get("/v1/families", headers={"User-Agent": "shop/1.0"}))
    shared = api.shared
    shared.callers.flush(shared.store, shared.clock.now())
    for name, roles in KEYS.items():
        api.add_key(name, *roles, secret=f"secret-{name}", limits={"requests_per_minute": 1_000_000})
    api.client.headers["Authorization"] = "Bearer secret-boss"
    sent(api.post("/v1/keys/gone/revoke"))
    sent(api.get("/v1/status"))
    shared.exposures.flush(shared.store)
    at = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    silence = AlertSilence(rule="errors", family="triage", until=at, reason="over", by="ann", since=at)
    shared.store.write(lambda tx: shared.store.alerts.silence(tx, silence))
    words = Vocabulary(words=("invoice", "parcel"), letters=(), n_holding=(3, 3), n_texts=6)
    calibration = Platt(slope=1.0, intercept=0.0)
    classifier = Classifier(method="complement_naive_bayes", labels=("billing", "delivery"), calibration=calibration)
    student = Student(
        classifiers=[classifier],
        vocabulary=words,
        weights=np.array([[2, 0], [0, 2]], dtype=np.int16),
        scale=np.ones(2),
        intercept=np.zeros(2),
    )
    taught = TaughtStudent(student=student, out_of_fold={"taught-1": StudentAnswer(label="billing", confidence=0.75)})
    shared.store.write(lambda tx: shared.store.students.add(tx, "triage", taught, study="st-1", at=at))
    teacher = Teacher(prompt="p", revisions={"strong": "r1"})
    watch = StudentWatch.begin(accepted=0.05, student=student.hash, tier="student", teacher=teacher)
    shot = FewShot(id="shown-1", input={"text": "an invoice"}, output="billing")
    index = ExampleIndex(examples=(IndexedExample(group="shown-1", shot=shot),))

    def write(tx: Transaction) -> None:
        students = shared.store.students
        students.keep_watch(tx, WatchedStudent(family="triage", watch=watch, read_until=at))
        students.bypass(tx, Bypass(family="triage", student=student.hash, since=at, reason="lost", by="ann"))
        shared.store.example_indexes.add(tx, "triage", index, study="st-1", at=at)
        shared.store.exposures.add_nearest(tx, {("triage", "v_1"): 2})

    shared.store.write(write)
