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
from fastapi.testclient import TestClient

from api.app import create_app
from api.gateway.app import create_gateway
from optimizer.adapters.reports.study_report import study_page
from optimizer.cli.variant.commands import reading
from optimizer.core.dataset.examples import make_example
from optimizer.core.views.variant import variant_view
from optimizer.host.config import Settings, load_settings
from optimizer.jobs.families.sync_families import sync_families
from optimizer.jobs.feedback.collect_reviews import collect_reviews
from optimizer.jobs.feedback.label_interaction import label_interaction
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
from optimizer.jobs.studies.report_study import report_study
from optimizer.runtime import wiring
from tests.clock import Clock, until
from tests.contexts import context_of, study_context
from tests.scripted_model import chat_answer, provider
from tests.stores import migrate_store
from tests.study_world import TOPICS, run_here

FAMILY = """
name: topics
inputs: {document: {type: text, max_chars: 200}}
output: {field: topic, parser: label, labels: [biology, physics, music]}
prompt:
  current: "1"
  versions:
    "1": {created_at: 2026-11-20, description: base, content: [
      {role: system, content: "Name the topic."}, {role: user, content: "Document: {{document}}"}]}
model: {default: strong, tiers: [cheap, strong], temperature: 0.0, max_tokens: 8}
scorer: {label_match: 1.0}
space: {policy.confidence: {choices: [{kind: log_probability}, {kind: predictor}]}}
rollout: {gates: {n: 60, improvement: 0.15}}
review: {per_day: 5}
"""
HARD = "Why is it so?"
SIZES = {"n_train": 200, "n_dev": 40, "n_holdout": 60, "n_settings": 2}


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


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    (tmp_path / "families" / "topics").mkdir(parents=True)
    (tmp_path / "families" / "topics" / "family.yaml").write_text(FAMILY)
    return load_settings(home=tmp_path)


def test_a_learned_cascade_is_found_confirmed_and_executed_and_says_what_it_was_trained_on(home: Settings) -> None:
    with provider() as behind:
        behind.answer = answer
        (home.home / "config").mkdir()
        prices = {"cheap": 1, "strong": 20}
        models = {
            name: {
                "openai_compatible": behind.url,
                "model": name,
                "concurrency": 1,
                "price": {"input_usd_per_mtok": usd, "output_usd_per_mtok": usd},
            }
            for name, usd in prices.items()
        }
        home.models_file.write_text(json.dumps(models))
        migrate_store(home)
        store, clock, files = wiring.open_store(home), wiring.open_clock(home), wiring.load_families(home)
        sync_families(files.families, store, clock)
        family = files.families["topics"]
        given = {"family": "topics", "created_at": clock.now(), "origin": "curated"}
        rows = [
            make_example(input={"document": document(i)}, expected={"topic": TOPICS[i % 3]}, **given)  # type: ignore[arg-type]
            for i in range(330)
        ]
        store.write(lambda tx: store.examples.add(tx, rows))
        client = {"base_url": "http://localhost", "client": ("127.0.0.1", 1)}

        # production: five units report a bad answer; a person says what they should have been
        with TestClient(create_app(home), **client) as api:  # type: ignore[arg-type]
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
            clock_later = wiring.open_clock(home)
            picked = until(lambda: _collect(family, store, clock_later), patience_s=5)
            assert {one.doubt for one in picked} == {"low"}
            listed = api.get("/v1/reviews?family=topics&status=open").json()["items"]
            assert len(listed) == 5
        for review in listed:
            topic = TOPICS[int(review["subject"][1:]) % 3]
            context = context_of(store, clock, "anna")
            label_interaction(context, review["id"], "release", family=family, expected={"topic": topic})

        opened = wiring.open_models(home)
        made = create_study(
            study_context(store, clock, family, opened),
            StudyRequest(
                family=family.name,
                strategy="replay",
                aim="cost",
                budget=BudgetBody(calls=3000, usd=50.0),
                definition=SIZES,
            ),
        )
        study = run_here(made.id, home, store, clock, files, opened)
        assert study.outcome == "nominated", study.error or study.spend.remark or study.confirmation
        with store.read() as tx:
            record = store.variants.get(tx, "topics", study.winner)
        assert record is not None
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

        with TestClient(create_app(home), **client) as api:  # type: ignore[arg-type]
            put = api.put(
                "/v1/families/topics/overrides/tester", json={"variant": study.winner, "until": "2099-01-01T00:00:00Z"}
            )
            assert put.status_code == 200, put.text
        with TestClient(create_gateway(home), **client) as gateway:  # type: ignore[arg-type]
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
        store.close()


def _collect(family: Any, store: Any, clock: Any) -> Any:
    at = Clock(clock.now() + timedelta(minutes=2))  # the last minute is not looked at yet
    return collect_reviews(family, store=store, clock=at).items


def _released(store: Any) -> list[Any]:
    with store.read() as tx:
        return [row for row in store.examples.of_split(tx, "topics", split="train") if row.origin == "interaction"]
