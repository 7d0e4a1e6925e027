"""What policies may call and what may be learned from: bounds that a study's money and its data rest on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from optimizer.content.core.declared import item_fault
from optimizer.content.core.search.score import processed_quality
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import NONE, Spread
from optimizer.core.family.variant import Variant
from optimizer.core.policy.refinement import DEFAULT_RETRIES
from optimizer.core.search.answer_bounds import (
    answers_alone,
    asks_again,
    calls_per_answer,
    models_of,
    require_countable,
)
from optimizer.core.search.cost_estimate import estimate_evaluation
from optimizer.core.search.strategy import check_kind
from optimizer.core.search.study import MOST, Definition
from optimizer.jobs.studies.create_study import parse_definition
from tests.cases import named
from tests.unit.policies.test_policy_studies import pipeline_family
from tests.worlds.study_world import topic_examples, topic_family


def champion(**policy: Any) -> Variant:
    return Variant(messages=({"role": "user", "content": "{{x}}"},), model={"name": "large"}, policy=policy)


@named(
    ("policy", "space", "tiers", "most"),
    {
        "no policy": ({}, {}, (), 1),
        "a cascade to be searched": ({}, {"policy.accept": {"float": [0.5, 0.99]}}, ("small", "large"), 2),
        "the champion's tiers are more": ({"tiers": ["a", "b", "c"]}, {}, ("a", "b"), 3),
        "choices that fall": ({}, {"policy.gate.retries": {"choices": [3, 0]}}, (), 4),
        "votes or none": ({}, {"policy.votes.models": {"choices": [["a", "b", "c"], None]}}, (), 4),
        "refined or not": ({"tiers": ["a", "b"], "accept": 0.6}, {"policy.refine": {"choices": [0.5, None]}}, (), 3),
    },
)
def test_the_most_calls_of_one_example_are_those_of_the_dearest_variant(policy, space, tiers, most):
    assert calls_per_answer(champion(**policy), space, tiers) == most


def test_a_space_of_too_many_policies_is_refused_before_they_are_looked_at() -> None:
    numbers = {"choices": [n / 1000 for n in range(1000)]}
    space = {"policy.refine": numbers, "policy.gate.threshold": numbers, "policy.tiers": {"choices": [["a", "b"]]}}
    assert calls_per_answer(champion(), space) == 3 + DEFAULT_RETRIES, "of numbers the largest alone counts"
    names = {"choices": [["a", f"m{n}"] for n in range(101)]}
    many = {"policy.tiers": names, "policy.votes.models": names}
    with pytest.raises(InvalidInput, match="make 10,201 policies"):
        require_countable(many)
    assert calls_per_answer(champion(), many) == 3, "a study that was accepted before this bound goes on"


@pytest.mark.parametrize(
    ("policy", "space", "tiers"),
    [
        pytest.param({"tiers": ["student", "strong"]}, {}, (), id="the champion's file names it"),
        pytest.param({"tiers": ["student", "strong"]}, {}, ("strong",), id="and the search"),
        pytest.param({}, {"policy.tiers": {"choices": [None, ["student", "strong"]]}}, (), id="the space names it"),
    ],
)
def test_a_student_is_no_call(policy: Any, space: Any, tiers: Any) -> None:
    assert calls_per_answer(champion(**policy), space, tiers, students={"student"}) == 1


def test_one_that_refuses_the_rest_is_no_call_either_unless_a_model_may_answer_before_it() -> None:
    alone = {"tiers": ["student", "strong"], "students": {"student": "st_1"}, "refuse": True}
    rows, family = topic_examples(3, "dev"), topic_family()

    def estimated(**policy: Any) -> Any:
        variant = replace(family.variant(), policy=policy)
        return estimate_evaluation([variant], rows, family, lambda name: None, students={"student"})

    assert answers_alone(champion(**alone))
    assert estimated(**alone) == (NONE, NONE), "no price is needed where nothing is asked"
    assert estimated(**{**alone, "refuse": False}) == (Spread(low=0, expected=3, high=3), None)
    assert not answers_alone(champion(**{**alone, "skip": 0.5}))
    assert not answers_alone(champion(**{**alone, "tiers": ["small", "student", "strong"]}))
    assert not answers_alone(champion(**{**alone, "refuse": False}))


def test_the_models_of_a_space_are_those_of_its_lists_too() -> None:
    space = {
        "policy.tiers": {"choices": [["small", "large"], ["judge"]]},
        "policy.votes.models": {"choices": [["vote"]]},
        "model": {"choices": ["other"]},
    }
    assert models_of(champion(), space) == ["large", "other", "small", "judge", "vote"]


def test_a_candidate_that_refuses_nothing_may_call_what_the_champion_refuses() -> None:
    tiers = {"tiers": ["student", "a", "b"], "students": {"student": "st_1"}, "accept": 0.9}
    bounds = [calls_per_answer(champion(**tiers, **more), {}, students={"student"}) for more in ({}, {"refuse": True})]
    assert bounds == [2, 2]


def test_only_policies_that_ask_again_make_longer_requests() -> None:
    assert not asks_again(champion(tiers=["a", "b"]), {"policy.accept": {"float": [0.5, 0.99]}})
    assert asks_again(champion(), {"policy.gate.retries": {"int": [0, 3]}})
    assert asks_again(champion(**{"validate": ["empty"]}), {})


GOOD = {"quality": 0.9}


@named(
    ("input", "expected", "says"),
    {
        "what was not measured is left out": ({"word_count": 900, "coherence_score": None}, GOOD, None),
        "nothing measured": ({"word_count": None, "content_type": ""}, GOOD, "nothing was measured"),
        "an unknown value": ({"words": 9}, GOOD, "no input 'words'"),
        "a text for a number": ({"word_count": "SECRET"}, GOOD, "of another kind than declared: word_count"),
        "a misspelt input": ({"word_cuont": 9}, GOOD, "no input 'word_cuont'; did you mean 'word_count'?"),
        "percent for a share": ({"coherence_score": 71}, GOOD, "out of range: coherence_score lies from 0 to 1"),
        "less than nothing": ({"word_count": -1}, GOOD, "out of range: word_count lies at least 0"),
        "more than a float holds": ({"word_count": 10**400}, GOOD, "out of range: word_count"),
        "all that is wrong": (
            {"content_type": 3, "word_count": -1, "coherence_score": 71},
            GOOD,
            "of another kind than declared: content_type; out of range: word_count lies at least 0, coherence_score"
            " lies from 0 to 1",
        ),
        "a worth out of range": ({"word_count": 9}, {"quality": 7}, "no 'quality' from 0 to 1"),
        "a worth in words": ({"word_count": 9}, {"quality": "good"}, "no 'quality' from 0 to 1"),
        "no worth": ({"word_count": 9}, {}, "no 'quality' from 0 to 1"),
    },
)
def test_an_item_can_be_learned_from_or_it_is_said_why_not_without_quoting_it(input, expected, says):
    fault = item_fault(input, expected, known=("word_count", "content_type", "coherence_score"), worth="quality")
    assert (fault is None) == (says is None)
    assert says is None or says in str(fault)
    assert "SECRET" not in str(fault)


def test_an_item_whose_worth_nobody_knows_has_no_score_whatever_is_done_with_it() -> None:
    with pytest.raises(InvalidInput, match=r"expected\.quality"):
        processed_quality({"expected": {"quality": None}}, {"processing_type": "lightweight"})
    assert processed_quality({"expected": GOOD}, {"processing_type": "lightweight"}) == 0.5


def test_a_policy_has_no_latency_to_compare() -> None:
    with pytest.raises(InvalidInput, match="Use aim cost"):
        check_kind(("replay",), pipeline_family(), "latency")


@pytest.mark.parametrize(("name", "most"), MOST.items())
def test_a_study_has_an_end(name: str, most: int) -> None:
    family = topic_family(space={"instruction": {"choices": ["Answer."]}})
    assert getattr(parse_definition(family, {name: most}), name) == most
    with pytest.raises(InvalidInput, match=f"/definition/{name} needs at most {most:,}, got"):
        parse_definition(family, {name: 10**9})
    assert getattr(Definition.parse({name: 10**9}), name) == 10**9, "a stored study goes on as it was accepted"
