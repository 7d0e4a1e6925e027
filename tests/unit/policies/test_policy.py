"""A policy is checked whole, with every fault at its place, and every knob says once what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.files.family_files import parse_family_text
from optimizer.core.base.errors import InvalidFamily, InvalidInput
from optimizer.core.declaration.prompt_kind import policy_faults
from optimizer.core.family.family import Family
from optimizer.core.policy.policy import KNOBS, parse_policy
from optimizer.core.policy.refinement import DEFAULT_PROMPTS
from tests.cases import named

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "policies.md"


def faults(**policy: Any) -> dict[str, str]:
    knobs = {name.replace("__", "."): value for name, value in policy.items()}
    return {fault.pointer: fault.detail for fault in policy_faults(knobs)}


def test_a_cascade_has_one_threshold_for_each_tier_but_the_last() -> None:
    policy = parse_policy({"tiers": ["a", "b", "c", "d"], "accept": 0.9, "accept.3": 0.7})
    cascade = policy.cascade
    assert cascade.accept == (0.9, 0.9, 0.7)
    assert (cascade.refine, cascade.skip, cascade.fall_back, cascade.audit_share) == (None, None, True, 0.02)
    assert policy.signal.kind == "log_probability"


@named(
    "policy",
    {
        "no knob": {},
        "one tier is no cascade": {"tiers": ["a"], "accept": 0.5},
        "a null knob is absent": {"tiers": None, "gate.threshold": None},
    },
)
def test_without_a_knob_that_says_anything_there_is_no_policy(policy: dict[str, Any]) -> None:
    assert parse_policy(policy).is_plain


def test_any_knob_of_the_gate_switches_it_on() -> None:
    gate = parse_policy({"gate.retries": 2}).gate
    assert (gate.threshold, gate.retries, gate.prompts, gate.scorer) == (0.95, 2, DEFAULT_PROMPTS, "confidence")
    assert gate.prompt(7) == DEFAULT_PROMPTS[-1]


def test_all_faults_are_told_at_once_each_at_its_place() -> None:
    found = faults(
        **{"tiers": ["a", "a", 3], "accept": 1.5, "refine": "high", "acept": 0.9, "gate__retries": 6},
        **{"gate__prompts": ["be brief", ""], "gate__scorer": "nobody knows", "votes__models": ["x"]},
        **{"validate": ["emty"], "validate__then": "panic", "confidence": {"kind": "feeling"}},
        **{"deadline_s": 0, "context__tool_results": "yes"},
    )
    places = """/tiers/1 /tiers/2 /accept /refine /acept /gate.retries /gate.prompts/1 /gate.scorer /votes.models
    /validate/0 /validate.then /confidence/kind /deadline_s /context.tool_results"""
    assert set(found) == set(places.split())
    assert found["/acept"] == "there is no knob 'acept'; did you mean 'accept'?"
    assert "known are tiers, accept" in faults(zzz=1)["/zzz"]


@pytest.mark.parametrize(
    ("policy", "pointer"),
    [
        ({"tiers": ["a", "b"], "accept": 0.8, "refine": 0.9}, "/refine"),
        ({"tiers": ["a", "b", "c"], "accept": 0.9, "accept.2": 0.5, "refine": 0.6}, "/refine"),
        ({"tiers": ["a", "b"], "skip": 0.3}, "/skip"),
        ({"tiers": ["a", "b", "c", "d", "e"]}, "/tiers"),
        ({"confidence": {"kind": "agreement", "temperature": 0}}, "/confidence/temperature"),
        ({"confidence": {"kind": "log_probability", "temperature": 1}}, "/confidence/temperature"),
        ({"votes.models": ["a", "b", "a"]}, "/votes.models/2"),
        ({"accept": True}, "/accept"),
        ({"tiers": ["a", "b"], "examples": {"c": 1}}, "/examples/c"),
        ({"tiers": ["a", "b"], "votes.models": ["c", "b"], "examples": {"c": 1, "a": -1}}, "/examples/a"),
        ({"examples": {"a": 1.5}}, "/examples/a"),
        ({"examples": [1, 6]}, "/examples"),
        ({"gate.threshold": float("nan")}, "/gate.threshold"),
    ],
)
def test_knobs_that_contradict_each_other_are_a_fault(policy: dict[str, Any], pointer: str) -> None:
    assert [fault.pointer for fault in policy_faults(policy)] == [pointer]


def test_the_error_carries_the_faults_and_reads_as_a_sentence() -> None:
    with pytest.raises(InvalidInput, match=r"The policy has 2 faults: /accept .*; /refine .*\.") as caught:
        parse_policy({"accept": 2, "refine": -1})
    assert len(caught.value.faults) == 2


def test_every_knob_has_its_own_name_and_one_sentence_of_meaning() -> None:
    assert len({knob.name for knob in KNOBS}) == len(KNOBS)
    assert [knob.name for knob in KNOBS if not knob.meaning.endswith(".")] == []
    assert [
        knob.name for knob in KNOBS if knob.default is not None and knob.kind != "list" and knob.fault(knob.default)
    ] == []


@pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: knob.name)
def test_every_knob_stands_on_the_page_with_its_meaning(knob: Any) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert f"`{knob.name}`" in page
    assert knob.meaning.replace("|", "\\|") in page


FAMILY = """name: topic
inputs: {text: {}}
prompt:
  current: "1"
  versions:
    "1":
      content: [{role: user, content: "{{text}}"}]
      policy:
        gate.threshold: 2
        acept: 0.9
model: {default: a, tiers: [a]}
space: {policy.gate.threshold: {float: [0.5, 0.9]}, policy.gates: {float: [0, 1]}}
"""


def test_a_family_tells_the_faults_of_its_policies_with_file_and_line() -> None:
    with pytest.raises(InvalidFamily) as caught:
        parse_family_text(FAMILY, file="family.yaml")
    assert [(fault.line, fault.pointer) for fault in caught.value.faults] == [
        (9, "/prompt/versions/1/policy/gate.threshold"),
        (10, "/prompt/versions/1/policy/acept"),
        (12, "/space/policy.gates"),
    ]


def family_with(knob: str, tiers: str = "[a]") -> Family:
    """With one knob in the place of the faulty ones."""
    text = FAMILY.replace("gate.threshold: 2", knob).replace("        acept: 0.9\n", "")
    text = text.replace(", policy.gates: {float: [0, 1]}", "").replace("tiers: [a]}", f"tiers: {tiers}}}")
    return parse_family_text(text, file="family.yaml")


def test_a_cascades_knob_without_a_cascade_is_a_fault_of_the_family() -> None:
    with pytest.raises(InvalidFamily, match="belongs to a cascade, and there is none"):
        family_with("accept: 0.9")
    assert family_with("accept: 0.9", "[a, b]").variant().policy == {"tiers": ["a", "b"], "accept": 0.9}


def test_tiers_of_the_policy_come_before_those_of_the_model() -> None:
    assert family_with("tiers: [b, c]", "[a, b]").variant().policy == {"tiers": ["b", "c"]}
