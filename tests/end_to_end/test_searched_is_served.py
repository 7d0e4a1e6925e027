"""What is searched is what is served: the bytes that a provider received from a study are the bytes that applications get and send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.gateway import create_gateway
from optimizer import wiring
from optimizer.config import Settings, load_settings
from optimizer.core.dataset import make_example
from optimizer.core.rendering import fill
from optimizer.core.study import Budget
from optimizer.jobs.create_study import create_study
from optimizer.jobs.export_variant import export_variant
from optimizer.jobs.run_study import run_study
from optimizer.jobs.sync_families import sync_families
from tests.scripted_model import chat_answer, provider
from tests.study_world import TOPICS

FAMILY = """
name: topics
inputs: {document: {type: text, max_chars: 60}}
output: {field: topic, parser: label, labels: [biology, physics, music]}
prompt:
  current: "1"
  versions:
    "1": {created_at: 2026-11-20, description: base, content: [
      {role: system, content: "Name the topic – nothing else."}, {role: examples}, {role: user, content: "Document: {{document}}\\nTopic:"}]}
model: {default: remote, temperature: 0.0, max_tokens: 8, stop: ["\\n"]}
scorer: {label_match: 1.0}
space: {examples: {max: 3}}
sample: {balance: topic}
rollout: {gates: {n: 12}}
"""
MODEL_SETTINGS = ("temperature", "max_tokens", "stop", "seed")


def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Knows the topic once it has seen two examples, so that a study has something to find."""
    asked = str(body["messages"][-1]["content"])
    shown = sum(m["role"] == "assistant" for m in body["messages"])
    topic = next(t for t in TOPICS if t in asked)
    return 200, {}, json.dumps(chat_answer(topic if shown >= 2 else "hm")).encode()


def document(i: int) -> str:
    return f"Größe {i}: notes on {TOPICS[i % 3]} – “quoted”, {{{{odd}}}} braces, \U0001f30d, and a tail that is cut off by the limit"


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    (tmp_path / "families" / "topics").mkdir(parents=True)
    (tmp_path / "families" / "topics" / "family.yaml").write_text(FAMILY)
    return load_settings(home=tmp_path)


def as_bytes(messages: Any) -> bytes:
    return json.dumps(messages, ensure_ascii=False, sort_keys=True).encode()


def test_study_prompt_route_render_route_gateway_and_export_agree_byte_for_byte(home: Settings) -> None:
    with provider() as behind:
        behind.answer = answer
        (home.home / "config").mkdir()
        priced = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
        models = {"remote": {"openai_compatible": behind.url, "model": "m", "price": priced, "concurrency": 1}}
        home.models_file.write_text(json.dumps(models))
        wiring.migrate_store(home)
        store, clock, files = wiring.open_store(home), wiring.open_clock(home), wiring.load_families(home)
        sync_families(files.families, store, clock)
        family = files.families["topics"]
        rows = [
            make_example(
                family="topics", input={"document": text}, expected={"topic": TOPICS[i % 3]}, created_at=clock.now(), origin="curated"
            )
            for i in range(150)
            for text in ([document(i)] if i % 5 == 0 else [f"{i} short notes on {TOPICS[i % 3]}"])
        ]
        store.write(lambda tx: store.examples.add(tx, rows))
        opened = wiring.open_models(home)
        definition = {"n_train": 20, "n_dev": 9, "n_holdout": 12, "n_candidates": 2}
        made = create_study(
            family,
            strategy="bootstrap",
            budget=Budget(calls=300),
            definition=definition,
            actor="test",
            store=store,
            clock=clock,
            models=opened,
        )
        study = run_study(
            made.id,
            store=store,
            clock=clock,
            families=files,
            models=opened,
            scorer_for=lambda f: wiring.open_scorer(f, home),
            strategies=wiring.strategy_for,
        )
        assert study.status == "finished", study.error
        assert study.winner is not None
        searched = {as_bytes(body["messages"]): body for body in behind.bodies}

        dev = [row for row in rows if row.id in study.dataset["dev"]]
        assert any("{{odd}}" in str(row.input["document"]) for row in dev), "the texts that are hard to copy must be among those compared"
        with TestClient(create_app(home), base_url="http://localhost", client=("127.0.0.1", 1)) as api:
            put = api.put("/v1/families/topics/overrides/tester", json={"variant": study.winner, "until": "2099-01-01T00:00:00Z"})
            assert put.status_code == 200, put.text
            prompt = api.get("/v1/families/topics/prompt", headers={"X-Detent-Unit": "tester"}).json()
            assert prompt["variant"] == study.winner
            assert prompt["example_ids"]
            for row in dev:
                rendered = api.post("/v1/families/topics/render", json={"unit": "tester", "variables": dict(row.input)}).json()["messages"]
                assert as_bytes(rendered) in searched
                clipped = {"document": str(row.input["document"])[:60]}  # a client that fills in by itself keeps to max_chars
                assert as_bytes(fill(prompt["messages"], clipped)) == as_bytes(rendered)

        with TestClient(create_gateway(home), base_url="http://localhost", client=("127.0.0.1", 1)) as gateway:
            for row in dev:
                n_before = len(behind.bodies)
                body = {"model": "topics", "user": "tester", "messages": [{"role": "user", "content": row.input["document"]}]}
                answered: httpx.Response = gateway.post("/v1/chat/completions", json=body)
                assert answered.status_code == 200, answered.text
                (sent,) = behind.bodies[n_before:]
                same = searched[as_bytes(sent["messages"])]
                assert {k: sent.get(k) for k in MODEL_SETTINGS} == {k: same.get(k) for k in MODEL_SETTINGS}

        with store.read() as tx:
            record = store.variants.get(tx, "topics", study.winner)
        assert record is not None
        exported = json.loads(export_variant(family, record, "messages"))
        assert as_bytes(exported["messages"] if isinstance(exported, dict) else exported) == as_bytes(prompt["messages"])
        store.close()
