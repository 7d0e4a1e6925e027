"""An installation with something behind every route: a rollout, a study, runs, events, a review, an alert,
freezes, keys of every role.
"""

from __future__ import annotations

from typing import Any

from optimizer.core.base.values import Budget
from optimizer.core.dataset.examples import make_example
from optimizer.core.evaluation.judging.run import JudgeRun
from optimizer.core.evaluation.label_report import label_report
from optimizer.core.evaluation.run import ComparisonRun
from optimizer.core.search.study import Trial
from optimizer.core.serving.access import ROLES
from optimizer.core.views.evaluation import EvaluationQuery, EvaluationRun, SuitesReport
from tests.rows.evaluations import report_of
from tests.stores import study
from tests.worlds.api_world import World

SECRET_WORD = "zanzibar"  # stands in every text that a person could write into this installation
SEALED_WORD = "quagga"  # stands in sealed examples alone


def seeded(world: World) -> World:
    """A family with a rollout, a study, interactions, feedback, a review, an alert, freezes and champions:
    every text says the secret word.
    """
    file = world.settings.families_dir / "triage" / "family.yaml"
    file.write_text(
        file.read_text()
        .replace("Is it billing", f"{SECRET_WORD}: is it billing")
        .replace("Topic of", f"{SECRET_WORD} topic of")
    )
    world.shared.serving.refresh()
    world.add_examples(10)
    world.shared.store.write(lambda tx: add_sealed(world, tx))
    rollout = world.start(world.candidate(f"{SECRET_WORD}? "))
    world.post(f"/v1/rollouts/{rollout['id']}/approve", {"reason": f"go {SECRET_WORD}"})
    world.tick()
    world.post(f"/v1/rollouts/{rollout['id']}/hold", {"reason": f"wait {SECRET_WORD}"})
    texts = dict.fromkeys(("output", "error", "label", "conversation"), SECRET_WORD)
    part = {"tier": 0, "model": "m", "purpose": "answer", "output": SECRET_WORD}
    told = {"input": {"text": SECRET_WORD}, "tags": {"t": SECRET_WORD}, "expected": {"topic": "billing"}}
    of = {"id": "in_1", "family": "triage", "unit": "u", "latency_ms": 4.0}
    world.post("/v1/feedback", {**of, **texts, **told, "parts": [part]})
    world.client.put(
        "/v1/families/triage/schedule", json={"cron": None, "reason": SECRET_WORD}, headers={"If-Match": "*"}
    )
    world.post("/v1/freeze", {"family": "triage", "reason": SECRET_WORD})
    ended = {"exit_checkpoint": "start", "exit_reason": SECRET_WORD}
    world.post("/api/performance/record", {"processing_type": "early_exit", "content_type": "note", **ended})
    world.shared.store.write(lambda tx: add_study(world, tx))
    world.shared.store.write(lambda tx: add_runs(world, tx))
    for role in ROLES:
        world.add_key(f"key-{role}", role, secret=f"secret-{role}")
        if role != "admin":
            world.add_key(f"elsewhere-{role}", role, secret=f"elsewhere-{role}", families=["another-family"])
    world.client.headers["Authorization"] = "Bearer secret-admin"
    return world


def add_sealed(world: World, tx: Any) -> None:
    row = {"family": "triage", "expected": {"topic": "billing"}, "created_at": world.shared.clock.now()}
    inputs = [{"text": f"{SEALED_WORD} number {n}"} for n in range(30)]
    examples = [make_example(input=one, origin="curated", **row) for one in inputs]
    world.shared.store.examples.add(tx, [example for example in examples if example.split == "holdout"])


def add_study(world: World, tx: Any, text: str = SECRET_WORD) -> None:
    """A study that failed, with one trial; ``text`` wherever a text of an example may stand."""
    champion = world.shared.serving.now_served.family("triage").champion.variant
    words = {"definition": {"space": {"instruction": text}}, "findings": {"words": [text]}}
    of = {"family": "triage", "champion": champion, "created_at": world.shared.clock.now(), "created_by": "anna"}
    world.shared.store.studies.add(tx, study("st_1", status="failed", error=text, **words, **of))
    trial = {"study": "st_1", "number": 0, "variant": champion, "proposer": "champion", "status": "complete"}
    world.shared.store.studies.put_trial(tx, Trial(params={"instruction": text}, **trial))


def add_runs(world: World, tx: Any, text: str = SECRET_WORD) -> None:
    """An evaluation that came to its end, and a comparison and a check of a judge that wait."""
    now, runs = world.shared.clock.now(), world.shared.store.runs
    champion = world.shared.serving.now_served.family("triage").champion.variant
    common: dict[str, Any] = {"family": "triage", "budget": Budget(calls=9), "created_by": "anna", "created_at": now}
    asked = EvaluationQuery(variant=champion, suite=None, split="dev", n=2, bare=False)
    labels = label_report(["billing", text], [("billing", "billing"), (text, "billing")])
    of = {"family": "triage", "variant": champion}
    suite = report_of(**of, n=2, created_at=now, labels=labels, commonest_error=text)
    rest: dict[str, Any] = {"verdict": None, "not_measured": [], "family_suites": {}}
    report = SuitesReport(champion=champion, suites=[suite], **of, **rest)
    runs.add(tx, EvaluationRun(id="ev_1", request=asked, status="running", n=2, n_done=2, **common))
    runs.update(tx, "ev_1", status="finished", finished_at=now, result=report, error=text)
    pair = {"variants": [champion, champion], "example_ids": [], "is_priced": True}
    runs.add(tx, ComparisonRun(id="cp_1", request=pair, status="queued", n=4, **common))  # type: ignore[arg-type]
    check = {"n": 2, "beside": None}
    runs.add(tx, JudgeRun(id="jr_1", kind="check", judge="j", request=check, status="queued", n=4, **common))  # type: ignore[arg-type]
