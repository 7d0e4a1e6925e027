"""Exports: every format is the same prompt that is served."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from ruamel.yaml import YAML

from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.rendering import render, render_open
from optimizer.core.family.variant import FewShot, Variant, VariantRecord
from optimizer.jobs.families.export_variant import export_variant
from tests.worlds.study_world import topic_family

INPUT = {"document": 'On quarks {and} braces: 50 % "quoted"\nand a second line.'}


def record(**model) -> VariantRecord:
    base = topic_family().variant()
    shots = (FewShot(id="e1", input={"document": "Cells {x} divide.\nOften."}, output="biology"),)
    variant = Variant(messages=base.messages, examples=shots, model={**base.model, "temperature": 0.25, **model})
    at = datetime(2026, 11, 20, tzinfo=UTC)
    return VariantRecord(
        family="topics", variant=variant, source="study", study="st_1", created_at=at, created_by="study:st_1"
    )


def exported(format: str, **model) -> str:
    return export_variant(topic_family(), record(**model), format)


def test_messages_are_those_the_serving_route_gives():
    assert json.loads(exported("messages"))["messages"] == render_open(record().variant)


def test_the_yaml_block_merged_into_the_family_serves_the_same_messages():
    block = YAML(typ="safe").load(exported("yaml"))
    family = topic_family(prompt=block["prompt"], model={**block["model"], "tiers": ["fake"]})
    assert render(family.variant(), INPUT) == render(record().variant, INPUT)
    assert family.variant().model["temperature"] == 0.25


def test_settings_that_a_family_file_cannot_hold_are_named_in_the_yaml_instead_of_breaking_it():
    text = exported("yaml", top_p=0.5)
    assert "top_p" in text.splitlines()[1]
    assert "top_p" not in YAML(typ="safe").load(text)["model"]


def test_langchains_template_filled_in_says_what_is_served():
    pairs = json.loads(exported("langchain"))["messages"]
    roles = {"system": "system", "human": "user", "ai": "assistant"}
    assert [{"role": roles[r], "content": t.format(**INPUT)} for r, t in pairs] == render(record().variant, INPUT)


def test_mlflows_template_is_the_open_messages_with_its_own_syntax():
    values = json.loads(exported("mlflow"))
    assert values["template"] == render_open(record().variant)
    assert values["name"] == "detent-topics"
    assert values["model_config"]["model_name"] == "fake"


def test_dspy_loads_the_state_with_instructions_and_examples():
    import dspy

    state = json.loads(exported("dspy"))
    assert [field["prefix"] for field in state["signature"]["fields"]] == ["Document:", "Topic:"]
    program = dspy.Predict("document -> topic")
    program.load_state(state)
    assert program.signature.instructions == "Name the topic."
    assert [dict(d) for d in program.demos] == [{"document": "Cells {x} divide.\nOften.", "topic": "biology"}]


def test_an_unknown_format_names_those_that_exist():
    with pytest.raises(InvalidInput, match="langchain"):
        exported("docx")


def test_a_number_of_examples_by_model_is_named_in_the_yaml_since_its_messages_hold_them_all():
    policy = {"tiers": ["a", "b"], "accept": 0.9, "examples": {"a": 0}}
    made = replace(record(), variant=replace(record().variant, policy=policy))
    text = export_variant(topic_family(), made, "yaml")
    assert "'policy.examples': {'a': 0}" in text.splitlines()[1]
    (version,) = YAML(typ="safe").load(text)["prompt"]["versions"].values()
    assert version["policy"] == {"tiers": ["a", "b"], "accept": 0.9}
    tags = json.loads(export_variant(topic_family(), made, "mlflow"))["tags"]
    assert json.loads(tags["detent.policy"])["examples"] == {"a": 0}


@pytest.mark.parametrize("format", ["messages", "langchain", "dspy", "mlflow"])
def test_fixed_examples_in_place_of_nearest_ones_name_their_list_and_who_has_to_render(format):
    policy = {"examples": {"nearest": 4}, "examples.index": "xi_1"}
    made = replace(record(), variant=replace(record().variant, policy=policy))
    exports = [json.loads(export_variant(topic_family(), one, format)) for one in (made, record())]
    assert "Cells" in json.dumps(exports[0]), "the fixed example"
    own, plain = (one.get("metadata", one.get("tags", one)) for one in exports)
    assert own.get("render", own.get("detent.render")) == "required"
    assert "xi_1" in json.dumps(own)
    assert not {"render", "detent.render"} & plain.keys()


@pytest.mark.parametrize("format", ["dspy", "mlflow", "langchain"])
def test_a_policy_without_a_prompt_is_not_exported_as_an_empty_one(format):
    alone = replace(record(), variant=Variant(messages=(), policy={"filter.threshold": 0.5}))
    with pytest.raises(InvalidInput, match="only a policy"):
        export_variant(topic_family(), alone, format)
    assert json.loads(export_variant(topic_family(), alone, "messages"))["policy"] == {"filter.threshold": 0.5}


@pytest.mark.parametrize("fails", [(), ("small",), ("small", "middle")], ids=str)
def test_litellms_router_asks_the_tiers_in_turn_by_the_familys_name_and_what_has_no_place_is_named(fails):
    base = record().variant
    policy = {"tiers": ["small", "middle", "large"], "accept": 0.9, "fall_back": False}
    cascade = replace(record(), variant=Variant(messages=base.messages, model=base.model, policy=policy))
    text = export_variant(topic_family(), cascade, "litellm")
    assert '"accept": 0.9' in text
    assert '"temperature": 0.25' in text
    from litellm import Router

    def tier(name: str) -> dict:
        mocked = {"mock_response": Exception("down") if name in fails else name}
        called = {"model": f"openai/{name}", "api_key": "none", "max_retries": 0}
        return {"model_name": name, "litellm_params": {**called, **mocked}}

    settings = YAML(typ="safe").load(text)["router_settings"]
    router = Router(model_list=[tier(name) for name in policy["tiers"]], num_retries=0, **settings)
    answer = router.completion(model="topics", messages=[{"role": "user", "content": "x"}])
    assert answer.choices[0].message.content == policy["tiers"][len(fails)]


def test_one_model_is_an_alias_without_fallbacks():
    settings = YAML(typ="safe").load(exported("litellm"))["router_settings"]
    assert settings == {"model_group_alias": {"topics": record().variant.model["name"]}}
