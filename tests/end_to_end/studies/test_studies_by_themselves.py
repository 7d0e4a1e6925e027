"""From users who are served worse answers to a rollout of something better, with nobody at the keyboard."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from optimizer.core.feedback.events import Arm, FeedbackEvent, Interaction
from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from tests.clock import Clock, until
from tests.stand_ins.running_server import make_home, started
from tests.stand_ins.scripted_model import chat_answer, provider
from tests.stores import keep_events
from tests.worlds.study_world import TOPIC_FAMILY, TOPICS, topic_examples
from tests.worlds.triggered_world import EASY_ROLLOUT, TriggeredWorld, switched_on


def degraded(folder: Path, **family: Any) -> TriggeredWorld:
    """A day of good answers, then an hour of bad ones."""
    world = TriggeredWorld(folder, **family)
    world.users(200, score=0.9, success=True, over_hours=24)
    assert world.check() == []
    world.clock.pass_hours(6)
    world.users(80, score=0.3, success=False)
    return world


def test_a_degradation_starts_a_study_whose_candidate_goes_into_a_rollout(tmp_path: Path) -> None:
    """One that waits for a person; of approval by itself the server below has the whole way."""
    world = degraded(tmp_path, rollout={**EASY_ROLLOUT, "approve": "person"})
    (study,) = world.check()
    assert study.trigger is not None
    assert study.trigger.kind == "degradation"
    assert "success by user 1.000 > 0.000" in study.trigger.reason
    assert "score by user 0.900 > 0.300" in study.trigger.reason
    assert study.created_by == "system:degradation"
    assert (study.budget.usd, study.budget.minutes) == (0.0, 30.0)
    assert study.trigger.reason in world.alerts()["study_started"]

    ended = world.run(study)
    assert ended.outcome == "nominated", ended.error or ended.confirmation
    (started,) = world.hand_on()
    rollout = started
    assert (rollout.candidate, rollout.study, rollout.status, rollout.forced) == (
        ended.winner,
        study.id,
        "validating",
        False,
    )
    assert "approval_wanted" in world.alerts()
    assert world.hand_on() == []
    assert world.check() == []  # the rollout decides first
    assert "study_started" not in world.alerts()


# --- with processes, files and a model behind HTTP --------------------------------------------------------------------


FAMILY: dict[str, Any] = {
    **TOPIC_FAMILY,
    "model": {"default": "embedded", "max_tokens": 8},
    "space": {"examples": {"max": 2}},
    "schedule": {"cron": None},
    "rollout": {**EASY_ROLLOUT, "approve": "auto"},
}


def topic_of(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Knows the topic once it has been shown two examples."""
    shown = sum(message["role"] == "assistant" for message in body["messages"])
    asked = body["messages"][-1]["content"]
    text = next(topic for topic in TOPICS if topic in asked) if shown >= 2 else "I would rather not say."
    return 200, {}, json.dumps(chat_answer(text)).encode()


def with_a_bad_hour(home: Path) -> None:
    """What a month of production leaves in the store: good answers last week, bad ones in the last hour."""
    (home / "families" / "topics").mkdir(parents=True)
    (home / "families" / "topics" / "family.yaml").write_text(json.dumps(FAMILY), encoding="utf-8")
    settings, now = load_settings(home=home), datetime.now(UTC)
    store = wiring.open_store(settings)
    families, clock = wiring.load_families(settings), Clock(now - timedelta(days=10))
    wiring.sync_families(settings, families, store, clock)
    switched_on(families.families["topics"], store=store, clock=clock)
    examples = [e for split, n in (("train", 9), ("dev", 6), ("holdout", 20)) for e in topic_examples(n, split)]
    interactions, feedback = [], []
    with store.read() as tx:
        champion = store.champions.current(tx, "topics")
    assert champion is not None
    for i in range(300):
        good = i < 200
        at = now - (
            timedelta(hours=30, minutes=i) if good else timedelta(minutes=50) - timedelta(seconds=20 * (i - 200))
        )
        arm = Arm(family="topics", variant=champion.variant, unit_hmac=f"u{i}")
        usual = {"arm": arm, "occurred_at": at, "received_at": at}
        interactions.append(Interaction(id=f"in_{i}", content_hash=f"i{i}", latency_ms=40.0, cost_usd=0.0, **usual))
        score = 0.9 if good else 0.3
        feedback.append(
            FeedbackEvent(id=f"fb_{i}", content_hash=f"f{i}", source="user", score=score, success=good, **usual)
        )

    store.write(lambda tx: store.examples.add(tx, examples))
    keep_events(store, [*interactions, *feedback])
    store.close()


@pytest.mark.timeout(600)
@pytest.mark.long
def test_a_server_that_finds_its_champion_degraded_serves_a_better_candidate_by_itself(tmp_path: Path) -> None:
    with provider() as model:
        model.answer = topic_of
        home = make_home(tmp_path / "home", model.url)
        with_a_bad_hour(home)
        with started(home) as server:
            client = httpx.Client(base_url=server.url, timeout=30)
            (study,) = until(lambda: client.get("/v1/studies").json()["items"], "a study", 120)
            assert (study["created_by"], study["trigger"]["kind"]) == ("system:degradation", "degradation")

            def candidate() -> Any:
                if client.get("/v1/families/topics/rollout").status_code == 404:
                    return None
                # a tenth of the users are served it
                served = (client.get("/v1/families/topics/prompt", params={"unit": f"n{i}"}).json() for i in range(200))
                return next((one for one in served if one["role"] == "candidate"), None)

            served = until(candidate, "a candidate", 400)
            ended = client.get(f"/v1/studies/{study['id']}").json()
            assert (ended["outcome"], ended["winner"]) == ("nominated", served["variant"])
            assert len(served["example_ids"]) == 2
            shown = server.detent("study", "show", "topics")
            assert "By itself degradation: degradation" in shown.out, shown
            family = server.detent("family", "show", "topics")
            assert "and decides first" in family.out, family
            assert (
                "By itself   topics: on, by the file's triggers alone; such studies may look at the sealed holdout"
                in server.told
            )
            assert f"Study {study['id']} of topics started by itself (degradation)" in server.told
            until(
                lambda: f"Study {study['id']} of topics, which started by itself, ended: nominated" in server.told,
                "its end",
                30,
            )
            told = {alert["kind"] for alert in client.get("/v1/alerts").json()["items"]}
            assert not told & {"candidate_waits", "study_not_started", "worker_duty_failed"}
