"""What is searched is what is served: the bytes that a provider received from a study are the bytes
that applications get and send.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from optimizer.core.base.values import Budget
from optimizer.core.family.rendering import clip_inputs, few_shot, fill
from optimizer.jobs.calls.call_book import Account
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.families.export_variant import export_variant
from optimizer.jobs.studies.evaluation import Evaluator
from optimizer.runtime import wiring
from tests.stand_ins.scripted_model import chat_answer
from tests.worlds.study_world import TOPICS
from tests.worlds.topics_home import price, topics_home

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


def rows() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for i in range(150):
        yield document(i) if i % 5 == 0 else f"{i} short notes on {TOPICS[i % 3]}", TOPICS[i % 3], {}


def as_bytes(messages: Any) -> bytes:
    return json.dumps(messages, ensure_ascii=False, sort_keys=True).encode()


def test_study_prompt_route_render_route_gateway_and_export_agree_byte_for_byte(tmp_path: Path) -> None:
    served = {"price": price(0), "concurrency": 1}
    with topics_home(tmp_path, FAMILY, answer, {"remote": served}, rows()) as place:
        family, behind = place.family, place.behind
        definition = {"n_train": 20, "n_dev": 9, "n_holdout": 12, "n_candidates": 2}
        study = place.run_study("bootstrap", definition, calls=300)
        assert study.status == "finished", study.error
        assert study.winner is not None
        searched = {as_bytes(body["messages"]): body for body in behind.bodies}

        dev = [row for row in place.rows if row.id in study.dataset["dev"]]
        assert any("{{odd}}" in str(row.input["document"]) for row in dev), (
            "the texts that are hard to copy must be among those compared"
        )
        with place.api() as api:
            place.serve(api, "tester", study.winner)
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

        with place.gateway() as gateway:
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

        exported = json.loads(export_variant(family, place.record(study.winner), "messages"))
        assert as_bytes(exported["messages"] if isinstance(exported, dict) else exported) == as_bytes(
            prompt["messages"]
        )


def test_what_a_study_asks_each_tier_of_a_cascade_is_what_the_gateway_asks_it(tmp_path: Path) -> None:
    cascade = FAMILY.replace("{default: remote,", "{default: long, tiers: [short, long],").replace(
        "description: base, content", "description: base, policy: {tiers: null, examples: {short: 1}}, content"
    )
    same = {"price": price(1), "concurrency": 1}
    with topics_home(tmp_path, cascade, answer, {"short": same, "long": same}, rows()) as place:
        home, store, clock, family, behind = place.home, place.store, place.clock, place.family, place.behind
        with store.read() as tx:
            train = store.examples.of_split(tx, "topics", split="train", released_only=True)
        plain = [example for example in train if "short" in str(example.input["document"])]
        examples = [few_shot(family, example) for example in plain[:3]]
        with place.api() as api:
            body = {
                "from": api.get("/v1/families/topics").json()["champion"]["variant"],
                "examples": [{"id": e.id, "input": dict(e.input), "output": e.output} for e in examples],
                "policy": {"tiers": ["short", "long"], "accept": 0.9, "audit_share": 0},
            }
            made = api.post("/v1/families/topics/variants", json=body)
            assert made.status_code == 201, made.text
        variant_id = made.json()["variant"]
        record = place.record(variant_id)
        opened = wiring.open_models(home)

        def open_model(name: str) -> JournaledModel:
            model = opened.get(name)
            return JournaledModel(
                model,
                Account(study=None, family="topics", purpose="search", budget=Budget(calls=300)),
                store=store,
                clock=clock,
            )

        asked = [row for row in place.rows if row.split == "dev"][:8]
        evaluator = Evaluator(family, wiring.open_scorer(family, home), open_model)
        evaluator.tier_rows(record.variant, [replace(row, input=clip_inputs(family, row.input)) for row in asked])
        searched = [(as_bytes(sent["messages"]), sent.get("logprobs")) for sent in behind.bodies]
        assert {sum(m["role"] == "assistant" for m in sent["messages"]) for sent in behind.bodies} == {1, 3}

        with place.gateway() as gateway:
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
        with place.gateway() as gateway:
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
