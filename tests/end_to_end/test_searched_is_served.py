"""What is searched is what is served: the bytes that a provider received from a study are the bytes
that applications get and send.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.gateway.app import create_gateway
from optimizer.adapters.files.family_files import FamilyFiles
from optimizer.core.base.values import Budget
from optimizer.core.dataset.examples import Example, make_example
from optimizer.core.family.rendering import clip_inputs, few_shot, fill
from optimizer.host.config import Settings, load_settings
from optimizer.jobs.calls.call_book import Account
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.families.export_variant import export_variant
from optimizer.jobs.families.sync_families import sync_families
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
from optimizer.jobs.studies.evaluation import Evaluator
from optimizer.ports import Clock, Store
from optimizer.runtime import wiring
from tests.contexts import study_context
from tests.scripted_model import chat_answer, provider
from tests.stores import migrate_store
from tests.study_world import TOPICS, run_here

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
"""  # noqa: E501
MODEL_SETTINGS = ("temperature", "max_tokens", "stop", "seed")


def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Knows the topic once it has seen two examples, so that a study has something to find."""
    asked = str(body["messages"][-1]["content"])
    shown = sum(m["role"] == "assistant" for m in body["messages"])
    topic = next(t for t in TOPICS if t in asked)
    return 200, {}, json.dumps(chat_answer(topic if shown >= 2 else "hm")).encode()


def document(i: int) -> str:
    return (
        f"Größe {i}: notes on {TOPICS[i % 3]} – “quoted”, {{{{odd}}}} braces, \U0001f30d, and a tail that is cut off by"
        " the limit"
    )


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    (tmp_path / "families" / "topics").mkdir(parents=True)
    (tmp_path / "families" / "topics" / "family.yaml").write_text(FAMILY)
    return load_settings(home=tmp_path)


def filled(home: Settings) -> tuple[Store, Clock, FamilyFiles, list[Example]]:
    """The home's store with its family and 150 examples of it."""
    migrate_store(home)
    store, clock, files = wiring.open_store(home), wiring.open_clock(home), wiring.load_families(home)
    sync_families(files.families, store, clock)
    rows = [
        make_example(
            family="topics",
            input={"document": document(i) if i % 5 == 0 else f"{i} short notes on {TOPICS[i % 3]}"},
            expected={"topic": TOPICS[i % 3]},
            created_at=clock.now(),
            origin="curated",
        )
        for i in range(150)
    ]
    store.write(lambda tx: store.examples.add(tx, rows))
    return store, clock, files, rows


def as_bytes(messages: Any) -> bytes:
    return json.dumps(messages, ensure_ascii=False, sort_keys=True).encode()


def test_study_prompt_route_render_route_gateway_and_export_agree_byte_for_byte(home: Settings) -> None:
    with provider() as behind:
        behind.answer = answer
        (home.home / "config").mkdir()
        priced = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
        models = {"remote": {"openai_compatible": behind.url, "model": "m", "price": priced, "concurrency": 1}}
        home.models_file.write_text(json.dumps(models))
        store, clock, files, rows = filled(home)
        family = files.families["topics"]
        opened = wiring.open_models(home)
        definition = {"n_train": 20, "n_dev": 9, "n_holdout": 12, "n_candidates": 2}
        made = create_study(
            study_context(store, clock, family, opened),
            StudyRequest(family="topics", strategy="bootstrap", budget=BudgetBody(calls=300), definition=definition),
        )
        study = run_here(made.id, home, store, clock, files, opened)
        assert study.status == "finished", study.error
        assert study.winner is not None
        searched = {as_bytes(body["messages"]): body for body in behind.bodies}

        dev = [row for row in rows if row.id in study.dataset["dev"]]
        assert any("{{odd}}" in str(row.input["document"]) for row in dev), (
            "the texts that are hard to copy must be among those compared"
        )
        with TestClient(create_app(home), base_url="http://localhost", client=("127.0.0.1", 1)) as api:
            put = api.put(
                "/v1/families/topics/overrides/tester", json={"variant": study.winner, "until": "2099-01-01T00:00:00Z"}
            )
            assert put.status_code == 200, put.text
            prompt = api.get("/v1/families/topics/prompt", headers={"X-Detent-Unit": "tester"}).json()
            assert prompt["variant"] == study.winner
            assert prompt["example_ids"]
            for row in dev:
                rendered = api.post(
                    "/v1/families/topics/render", json={"unit": "tester", "variables": dict(row.input)}
                ).json()["messages"]
                assert as_bytes(rendered) in searched
                clipped = {
                    "document": str(row.input["document"])[:60]
                }  # a client that fills in by itself keeps to max_chars
                assert as_bytes(fill(prompt["messages"], clipped)) == as_bytes(rendered)

        with TestClient(create_gateway(home), base_url="http://localhost", client=("127.0.0.1", 1)) as gateway:
            for row in dev:
                n_before = len(behind.bodies)
                body = {
                    "model": "topics",
                    "user": "tester",
                    "messages": [{"role": "user", "content": row.input["document"]}],
                }
                answered: httpx.Response = gateway.post("/v1/chat/completions", json=body)
                assert answered.status_code == 200, answered.text
                (sent,) = behind.bodies[n_before:]
                same = searched[as_bytes(sent["messages"])]
                assert {k: sent.get(k) for k in MODEL_SETTINGS} == {k: same.get(k) for k in MODEL_SETTINGS}

        with store.read() as tx:
            record = store.variants.get(tx, "topics", study.winner)
        assert record is not None
        exported = json.loads(export_variant(family, record, "messages"))
        assert as_bytes(exported["messages"] if isinstance(exported, dict) else exported) == as_bytes(
            prompt["messages"]
        )
        store.close()


def test_what_a_study_asks_each_tier_of_a_cascade_is_what_the_gateway_asks_it(home: Settings) -> None:
    cascade = FAMILY.replace("{default: remote,", "{default: long, tiers: [short, long],").replace(
        "description: base, content", "description: base, policy: {tiers: null, examples: {short: 1}}, content"
    )
    (home.families_dir / "topics" / "family.yaml").write_text(cascade)
    with provider() as behind:
        behind.answer = answer
        (home.home / "config").mkdir()
        priced = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
        same = {"openai_compatible": behind.url, "model": "m", "price": priced, "concurrency": 1}
        home.models_file.write_text(json.dumps({"short": same, "long": same}))
        store, clock, files, rows = filled(home)
        family = files.families["topics"]
        with store.read() as tx:
            train = store.examples.of_split(tx, "topics", split="train", released_only=True)
        plain = [example for example in train if "short" in str(example.input["document"])]
        examples = [few_shot(family, example) for example in plain[:3]]
        with TestClient(create_app(home), base_url="http://localhost", client=("127.0.0.1", 1)) as api:
            body = {
                "from": api.get("/v1/families/topics").json()["champion"]["variant"],
                "examples": [{"id": e.id, "input": dict(e.input), "output": e.output} for e in examples],
                "policy": {"tiers": ["short", "long"], "accept": 0.9, "audit_share": 0},
            }
            made = api.post("/v1/families/topics/variants", json=body)
            assert made.status_code == 201, made.text
        variant_id = made.json()["variant"]
        with store.read() as tx:
            record = store.variants.get(tx, "topics", variant_id)
        assert record is not None
        opened = wiring.open_models(home)

        def open_model(name: str) -> JournaledModel:
            model = opened.get(name)
            return JournaledModel(
                model,
                Account(study=None, family="topics", purpose="search", budget=Budget(calls=300)),
                store=store,
                clock=clock,
                concurrency=1,
            )

        asked = [row for row in rows if row.split == "dev"][:8]
        evaluator = Evaluator(family, wiring.open_scorer(family, home), open_model)
        evaluator.tier_rows(record.variant, [replace(row, input=clip_inputs(family, row.input)) for row in asked])
        searched = [(as_bytes(sent["messages"]), sent.get("logprobs")) for sent in behind.bodies]
        assert {sum(m["role"] == "assistant" for m in sent["messages"]) for sent in behind.bodies} == {1, 3}

        with TestClient(create_gateway(home), base_url="http://localhost", client=("127.0.0.1", 1)) as gateway:
            for row in asked:
                n_before = len(behind.bodies)
                chat = {
                    "model": "topics",
                    "messages": [],
                    "detent": {"variables": dict(row.input), "variant": variant_id},
                }
                answered = gateway.post("/v1/chat/completions", json=chat)
                assert answered.status_code == 200, answered.text
                assert answered.json()["detent"]["tiers"] == ["short", "long"]
                sent = behind.bodies[n_before:]
                assert [sum(m["role"] == "assistant" for m in one["messages"]) for one in sent] == [1, 3]
                assert {(as_bytes(one["messages"]), one.get("logprobs")) for one in sent} <= set(searched)

        (home.families_dir / "topics" / "family.yaml").write_text(
            cascade + "limits: {usd_per_hour: 0.000001, above: cheapest}\n"
        )
        with TestClient(create_gateway(home), base_url="http://localhost", client=("127.0.0.1", 1)) as gateway:
            n_before = len(behind.bodies)
            chat = {
                "model": "topics",
                "messages": [],
                "detent": {"variables": dict(asked[0].input), "variant": variant_id},
            }
            assert gateway.post("/v1/chat/completions", json=chat).json()["detent"]["tiers"] == ["short"]
            (sent_alone,) = behind.bodies[n_before:]
            assert as_bytes(sent_alone["messages"]) in {messages for messages, _ in searched}, (
                "the cheapest tier is shown no more when it is alone"
            )
            assert sum(m["role"] == "assistant" for m in sent_alone["messages"]) == 1
        store.close()
