"""An installation with something behind every route: a rollout, a study, events, a review, an alert,
freezes, keys of every role.
"""

from __future__ import annotations

from typing import Any

from optimizer.core.base.values import Budget
from optimizer.core.search.study import Study, Trial
from optimizer.core.serving.access import ROLES
from tests.api_world import World

SECRET_WORD = "zanzibar"  # stands in every text that a person could write into this installation


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
    rollout = world.start(world.candidate(f"{SECRET_WORD}? "))
    world.post(f"/v1/rollouts/{rollout['id']}/approve", {"reason": f"go {SECRET_WORD}"})
    world.tick()
    world.post(f"/v1/rollouts/{rollout['id']}/hold", {"reason": f"wait {SECRET_WORD}"})
    world.post(
        "/v1/feedback",
        {
            "id": "in_1",
            "family": "triage",
            "unit": "u",
            "input": {"text": SECRET_WORD},
            "output": SECRET_WORD,
            "error": SECRET_WORD,
            "label": SECRET_WORD,
            "tags": {"t": SECRET_WORD},
            "conversation": SECRET_WORD,
            "expected": {"topic": "billing"},
            "latency_ms": 4.0,
            "parts": [{"tier": 0, "model": "m", "purpose": "answer", "output": SECRET_WORD}],
        },
    )
    world.client.put(
        "/v1/families/triage/schedule", json={"cron": None, "reason": SECRET_WORD}, headers={"If-Match": "*"}
    )
    world.post("/v1/freeze", {"family": "triage", "reason": SECRET_WORD})
    world.post(
        "/api/performance/record",
        {
            "processing_type": "early_exit",
            "content_type": "note",
            "exit_checkpoint": "start",
            "exit_reason": SECRET_WORD,
        },
    )
    world.shared.store.write(lambda tx: _add_study(world, tx))
    for role in ROLES:
        world.add_key(f"key-{role}", role, secret=f"secret-{role}")
        if role != "admin":
            world.add_key(f"elsewhere-{role}", role, secret=f"elsewhere-{role}", families=["another-family"])
    world.client.headers["Authorization"] = "Bearer secret-admin"
    return world


def _add_study(world: World, tx: Any) -> None:
    now = world.shared.clock.now()
    champion = world.shared.serving.now_served.family("triage").champion.variant
    study = Study(
        id="st_1",
        family="triage",
        strategy="bootstrap",
        aim="quality",
        status="failed",
        seed=0,
        budget=Budget(calls=1),
        created_at=now,
        definition={"space": {"instruction": SECRET_WORD}},
        champion=champion,
        created_by="anna",
        error=SECRET_WORD,
        findings={"words": [SECRET_WORD]},
    )
    world.shared.store.studies.add(tx, study)
    trial = Trial(
        study="st_1",
        number=0,
        variant=champion,
        proposer="champion",
        params={"instruction": SECRET_WORD},
        status="complete",
    )
    world.shared.store.studies.put_trial(tx, trial)
