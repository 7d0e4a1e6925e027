"""The ``judge`` block of a family file: who judges, by which rubric, and what is wrong with a block."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from optimizer.adapters.text_metrics import build_scorer
from optimizer.core.base.errors import InvalidFamily, NotFound
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.jobs.families.check_models import require_known_models

SMALL = {
    "name": "letters",
    "inputs": {"question": {}},
    "prompt": {"current": "1", "versions": {"1": {"content": [{"role": "user", "content": "{{question}}"}]}}},
}


def changed(**keys):
    return {**SMALL, **keys}


def faults(data):
    with pytest.raises(InvalidFamily) as error:
        parse_family(data)
    return {fault.pointer: fault.detail for fault in error.value.faults}


def judge(**block):
    return parse_family(changed(judge=block)).judge


def test_the_usual_rubric_has_six_dimensions_whose_weights_add_up_to_one():
    usual = judge(model="large")
    names = ("accuracy", "relevance", "completeness", "safety", "coherence", "conciseness")
    weights = dict(zip(names, (0.25, 0.25, 0.20, 0.15, 0.10, 0.05), strict=True))
    assert usual.weight_of == pytest.approx(weights)
    assert all(usual.dimensions.values())


def test_known_dimensions_keep_their_weights_to_one_another():
    two = judge(model="large", dimensions=["accuracy", "safety"])
    assert two.weight_of == pytest.approx({"accuracy": 0.25 / 0.40, "safety": 0.15 / 0.40})


def test_dimensions_of_ones_own_weigh_the_same_until_weights_are_given():
    dimensions = {"tone": "It is friendly.", "form": "It is a letter."}
    assert judge(model="large", dimensions=dimensions).weight_of == {"tone": 0.5, "form": 0.5}
    weighted = judge(model="large", dimensions=dimensions, weights={"tone": 3.0, "form": 1.0})
    assert weighted.weight_of == {"tone": 0.75, "form": 0.25}


def test_a_committee_may_name_the_model_again_and_each_member_judges_once():
    assert judge(model="a", committee=["a", "b"]).members == ("a", "b")
    assert judge(committee=["b", "c"]).members == ("b", "c")


@pytest.mark.parametrize(
    ("block", "pointer", "part"),
    [
        ({}, "/judge/model", "no model judges"),
        ({"committee": ["a"]}, "/judge/committee", "a committee of one is a judge"),
        ({"committee": ["a", "a"]}, "/judge/committee", "named twice"),
        ({"model": "z", "committee": list("abcdefgh")}, "/judge/committee", "at most 8 models judge together"),
        ({"model": "a", "dimensions": ["accuracy", "charm"]}, "/judge/dimensions", "'charm' has no description"),
        ({"model": "a", "dimensions": {"charm": " "}}, "/judge/dimensions/charm", "say in a sentence"),
        ({"model": "a", "dimensions": {}}, "/judge/dimensions", "no dimension"),
        ({"model": "a", "dimensions": ["safety"], "weights": {"charm": 1.0}}, "/judge/weights/charm", "safety"),
        ({"model": "a", "dimensions": ["safety"], "weights": {"charm": 1.0}}, "/judge/weights", "has no weight"),
        ({"model": "a", "temperature": 0.5}, "/judge/temperature", "unknown key"),
        ({"model": "a", "reference": "yes"}, "/judge/reference", "yes"),
    ],
)
def test_each_fault_of_the_block_says_where_it_stands_and_what_to_do(block, pointer, part):
    assert part in faults(changed(judge=block))[pointer]


def test_a_judge_that_config_does_not_name_is_a_fault_of_the_file():
    def describe(name):
        if name not in ("embedded", "a"):
            raise NotFound(f"There is no model {name!r}.")
        return SimpleNamespace(student=False)

    family = parse_family(changed(judge={"model": "a", "committee": ["b"]}))
    with pytest.raises(InvalidFamily, match="/judge/committee/0"):
        require_known_models(family, SimpleNamespace(describe=describe))


def test_the_metric_judge_needs_the_block():
    assert "name one: judge: {model: ...}" in faults(changed(scorer={"judge": 1.0}))["/scorer/judge"]
    judged = parse_family(changed(scorer={"judge": 1.0}, judge={"model": "a"}))
    assert (judged.metrics, judged.needs_expected) == ({"judge": 1.0}, False)
    both = parse_family(changed(scorer={"judge": 1.0, "rouge_l": 1.0}, judge={"model": "a"}))
    assert both.needs_expected


def identity(description="", **block):
    return judge_identity(parse_family(changed(judge=block, description=description)))


def test_another_model_rubric_or_weight_is_another_judge_and_another_order_is_not():
    one = identity(committee=["a", "b"])
    assert identity(committee=["b", "a"]) == identity(committee=["a", "b"], passes=0.5) == one
    others = [
        identity(committee=["a", "c"]),
        identity(committee=["a", "b"], reference=False),
        identity(committee=["a", "b"], dimensions=["accuracy"]),
        identity(committee=["a", "b"], dimensions={"accuracy": "It is true."}),
        identity(committee=["a", "b"], dimensions=["accuracy", "safety"], weights={"accuracy": 1.0, "safety": 1.0}),
        identity("Letters.", committee=["a", "b"]),
    ]
    assert len({one, *others}) == 7


def test_another_judge_is_another_version_of_the_scorer():
    def version(model):
        return build_scorer(parse_family(changed(scorer={"judge": 1.0}, judge={"model": model}))).version

    assert version("a") != version("b")
    assert version("a") == version("a")
