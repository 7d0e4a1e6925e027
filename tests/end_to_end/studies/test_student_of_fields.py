"""A family whose JSON has closed fields: a study teaches its student > the sealed holdout > the gateway answers with
JSON by it, and asks the model where one field is unsure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ruamel.yaml import YAML

from optimizer.core.base.errors import InvalidFamily
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.rendering import parse_output
from optimizer.jobs.families.check_models import require_known_models
from optimizer.runtime import wiring
from tests.stand_ins.scripted_model import chat_answer
from tests.worlds.study_world import TOPICS
from tests.worlds.topics_home import TopicsHome, price, topics_home

FAMILY = """
name: topics
inputs: {document: {type: text, max_chars: 200}}
output:
  field: topic
  parser: json
  schema:
    type: object
    properties: {name: {enum: [biology, physics, music]}, urgent: {type: boolean}}
    required: [name, urgent]
prompt:
  current: "1"
  versions:
    "1": {created_at: 2026-11-20, description: base, content: [
      {role: system, content: "Name the topic."}, {role: user, content: "Document: {{document}}"}]}
model: {default: strong, tiers: [student, strong], temperature: 0.0, max_tokens: 20}
scorer: {exact_match: 1.0}
space: {}
rollout: {gates: {n: 60, improvement: 0.15}}
"""
SIZES = {"n_train": 200, "n_dev": 40, "n_holdout": 60, "n_settings": 2}


def document(i: int) -> str:
    """Of every third one nothing can be learned about its topic, but all say whether it is urgent."""
    about = f"See file {i}." if i % 3 == (i // 3) % 3 else f"Notes on {TOPICS[i % 3]}, number {i}."
    return f"{about} {'Answer at once' if i % 2 else 'There is time'}."


def value_of(i: int) -> dict[str, Any]:
    return {"urgent": bool(i % 2), "name": TOPICS[i % 3]}


def strong(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    text = str(body["messages"][-1]["content"])
    number = next(int(word.strip(".")) for word in text.split() if word.strip(".").isdigit())
    return 200, {}, json.dumps(chat_answer(json.dumps(value_of(number)))).encode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TopicsHome]:
    rows = ((document(i), value_of(i), {"released": True, "unit_hmac": f"h{i}"}) for i in range(330))
    models = {"strong": {"concurrency": 4, "price": price(20)}}
    with topics_home(tmp_path_factory.mktemp("fields"), FAMILY, strong, models, rows) as home:
        yield home


def test_the_gateway_answers_with_json_of_the_student_and_passes_on_what_one_field_is_unsure_of(
    place: TopicsHome,
) -> None:
    study, record = place.nominated("replay", SIZES, aim="cost", usd=50.0)
    with place.store.read() as tx:
        taught = place.store.students.get(tx, "topics", record.variant.policy["students"]["student"])
    assert taught is not None
    assert [one.field for one in taught.student.classifiers] == ["name", "urgent"]
    by_tier: dict[str, int] = {"student": 0, "strong": 0}
    with place.gateway() as gateway:
        for i in range(900, 930):
            body = {
                "model": "topics",
                "messages": [{"role": "user", "content": document(i)}],
                "detent": {"variant": study.winner},
            }
            answered = gateway.post("/v1/chat/completions", json=body)
            assert answered.status_code == 200, answered.text
            detent, text = answered.json()["detent"], answered.json()["choices"][0]["message"]["content"]
            expected = taught.student.answer({"document": document(i)})
            stands = expected.confidence >= record.variant.policy["accept"]
            assert detent["tiers"] == (["student"] if stands else ["student", "strong"])
            by_tier[detent["tier"]] += 1
            assert parse_output(place.files.families["topics"].output, text).value == value_of(i)
            if stands:
                assert text == json.dumps({name: value_of(i)[name] for name in ("name", "urgent")})
                assert round(detent["confidence"], 6) == round(expected.confidence, 6)
    assert by_tier["student"] >= 15
    assert by_tier["strong"] >= 5


def test_a_file_with_an_open_field_is_refused_by_the_fields_name(place: TopicsHome) -> None:
    text = FAMILY.replace("urgent: {type: boolean}", "urgent: {type: string}")
    with pytest.raises(InvalidFamily, match="the field 'urgent' of the answers may hold any"):
        require_known_models(parse_family(YAML(typ="safe").load(text)), wiring.open_models(place.home))
