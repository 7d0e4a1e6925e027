"""The whole way of a learned confidence: answers in doubt > a person > examples > a study trains > the sealed holdout >
the gateway executes it.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from math import log
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.reports.study_report import study_page
from optimizer.cli.variant.commands import reading
from optimizer.core.views.variant import variant_view
from optimizer.jobs.feedback.collect_reviews import collect_reviews
from optimizer.jobs.feedback.label_interaction import label_interaction
from optimizer.jobs.studies.report_study import report_study
from tests.clock import Clock, until
from tests.stand_ins.scripted_model import chat_answer
from tests.worlds.study_world import TOPICS
from tests.worlds.topics_home import TOPICS_FAMILY, price, topics_home

FAMILY = (
    TOPICS_FAMILY
    + """model: {default: strong, tiers: [cheap, strong], temperature: 0.0, max_tokens: 8}
space: {policy.confidence: {choices: [{kind: log_probability}, {kind: predictor}]}}
rollout: {gates: {n: 60, improvement: 0.15}}
review: {per_day: 5}
"""
)
HARD = "Why is it so?"
SIZES = {"n_train": 140, "n_dev": 30, "n_holdout": 60, "n_settings": 2}


def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """The cheap model is wrong where somebody asks why, and says nothing of it by its log-probabilities."""
    text = str(body["messages"][-1]["content"])
    topic = next(t for t in TOPICS if t in text)
    luck, noise = (byte / 256 for byte in hashlib.sha256(f"{body['model']}{text}".encode()).digest()[:2])
    is_right = luck < (0.3 if HARD in text and body["model"] == "cheap" else 0.99)
    value = chat_answer(topic if is_right else TOPICS[(TOPICS.index(topic) + 1) % 3])
    value["choices"][0]["logprobs"] = {"content": [{"token": "t", "logprob": log(0.6 + 0.35 * noise)}]}
    return 200, {}, json.dumps(value).encode()


def document(i: int) -> str:
    return f"Notes on {TOPICS[i % 3]}, number {i}." + (f" {HARD}" if i % 5 < 2 else "")


@pytest.mark.long
def test_a_learned_cascade_is_found_confirmed_and_executed_and_says_what_it_was_trained_on(tmp_path: Path) -> None:
    models = {name: {"concurrency": 1, "price": price(usd)} for name, usd in {"cheap": 1, "strong": 20}.items()}
    rows = ((document(i), TOPICS[i % 3], {}) for i in range(330))
    with topics_home(tmp_path, FAMILY, answer, models, rows) as place:
        store, clock, family = place.store, place.clock, place.family

        # production: five units report a bad answer; a person says what they should have been
        with place.api() as api:
            for i in range(1000, 1005):
                event = {
                    "id": f"e{i}",
                    "family": "topics",
                    "unit": f"u{i}",
                    "input": {"document": document(i)},
                    "output": "music",
                }
                sent = api.post("/v1/feedback", json={**event, "success": False}, headers={"Idempotency-Key": f"k{i}"})
                assert sent.status_code in (200, 201), sent.text
            picked = until(lambda: _collect(family, store, clock), patience_s=5)
            assert {one.doubt for one in picked} == {"low"}
            listed = api.get("/v1/reviews?family=topics&status=open").json()["items"]
            assert len(listed) == 5
        for review in listed:
            topic = TOPICS[int(review["subject"][1:]) % 3]
            label_interaction(place.context(), review["id"], "release", family=family, expected={"topic": topic})

        study, record = place.nominated("replay", SIZES, aim="cost", usd=50.0)
        predictor = record.variant.policy["confidence"]["after"]["cheap"]
        in_train = [row for row in _released(store) if row.id in study.dataset["train"]]
        assert predictor["trained_on"]["study"] == study.id
        assert predictor["trained_on"]["from_production"] == len(in_train)

        shown = reading(variant_view(record))
        assert predictor["hash"] in shown
        assert f'"from_production": {len(in_train)}' in shown
        assert len(shown) < 2000  # and none of its numbers

        page = study_page(report_study(study, family=family, store=store, clock=clock))
        assert "How good the confidences are" in page
        assert "Reliability" in page
        assert predictor["hash"] in page  # in the diff, where a reader sees what changed

        with place.api() as api:
            place.serve(api, "tester", study.winner)
        with place.gateway() as gateway:
            asked = {}
            for name, text in (
                ("easy", "Notes on music, number 2002."),
                ("hard", f"Notes on music, number 2003. {HARD}"),
            ):
                body = {"model": "topics", "user": "tester", "messages": [{"role": "user", "content": text}]}
                answered = gateway.post("/v1/chat/completions", json=body)
                assert answered.status_code == 200, answered.text
                asked[name] = answered.json()["detent"]
        assert asked["easy"]["tiers"] == ["cheap"]
        assert asked["hard"]["tiers"] == ["cheap", "strong"]
        assert asked["easy"]["confidence"] >= record.variant.policy["accept"]


def _collect(family: Any, store: Any, clock: Any) -> Any:
    at = Clock(clock.now() + timedelta(minutes=2))  # the last minute is not looked at yet
    return collect_reviews(family, store=store, clock=at).items


def _released(store: Any) -> list[Any]:
    with store.read() as tx:
        return [row for row in store.examples.of_split(tx, "topics", split="train") if row.origin == "interaction"]
