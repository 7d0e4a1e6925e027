"""A declared space becomes dimensions, and a point of it a Variant."""

from __future__ import annotations

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.variant import FewShot, Variant
from optimizer.core.search.space import (
    ChoiceDimension,
    FloatRange,
    IntRange,
    apply_point,
    neighbours,
    parse_space,
    point_of,
)
from tests.cases import named


def variant(n_examples: int = 3) -> Variant:
    return Variant(
        messages=({"role": "system", "content": "Be brief."}, {"role": "user", "content": "{{q}}"}),
        examples=tuple(FewShot(id=f"e{i}", input={"q": f"q{i}"}, output=f"a{i}") for i in range(n_examples)),
        model={"name": "m", "temperature": 0.0, "max_tokens": 20},
        policy={"accept": 0.7},
    )


@named(
    ("declared", "dimensions"),
    {
        "float": ({"temperature": {"float": [0, 1]}}, (FloatRange(name="temperature", low=0.0, high=1.0),)),
        "int": ({"max_tokens": {"int": [8, 64]}}, (IntRange(name="max_tokens", low=8, high=64),)),
        "choices": (
            {"policy.accept": {"choices": [0.5, 0.9]}},
            (ChoiceDimension(name="policy.accept", options=(0.5, 0.9)),),
        ),
        "no more examples than there are": ({"examples": {"max": 6}}, (IntRange(name="examples", low=0, high=3),)),
        "instructions are proposed by others": ({"instruction": {"propose": True}}, ()),
        "a list is a dimension where more may be proposed, too": (
            {"instruction": {"choices": ["Do it.", "Think."], "propose": True}},
            (ChoiceDimension(name="instruction", options=("Do it.", "Think.")),),
        ),
        "one value is nothing to search": ({"temperature": {"float": [0.5, 0.5]}}, ()),
        "one option is nothing to choose": ({"model": {"choices": ["m"]}}, ()),
    },
)
def test_each_entry_becomes_its_dimension(declared, dimensions):
    assert parse_space(declared, variant(), max_examples=4) == dimensions


def test_every_entry_that_is_no_range_is_named_at_once():
    with pytest.raises(InvalidInput) as caught:
        parse_space(
            {
                "temperature": {"float": [1, 0]},
                "moon": {"int": [1, 2]},
                "instruction": {"choices": ["Do it."], "propose": "yes"},
                "model": {"choices": ["a", "b"], "propose": True},
            },
            variant(),
            max_examples=4,
        )
    assert {f.pointer for f in caught.value.faults} == {
        "/space/temperature",
        "/space/moon",
        "/space/instruction",
        "/space/model",
    }


INFINITY = float("inf")


@pytest.mark.parametrize(
    "bounds", [[0, INFINITY], [-INFINITY, 1.0], [float("nan"), 1.0], [0, 10**400]], ids=["inf", "-inf", "nan", "huge"]
)
def test_a_bound_that_no_search_can_reach_is_refused_with_what_is_wanted(bounds):
    with pytest.raises(InvalidInput, match=r"/space/policy\.x: float takes two finite numbers \[low, high\], not \["):
        parse_space({"policy.x": {"float": bounds}}, variant(), max_examples=4)


def test_a_point_changes_only_what_it_names():
    changed = apply_point(
        variant(), {"temperature": 0.5, "policy.accept": 0.9, "examples": 1, "instruction": "Be kind."}
    )
    assert changed.model == {"name": "m", "temperature": 0.5, "max_tokens": 20}
    assert changed.policy == {"accept": 0.9}
    assert [e.id for e in changed.examples] == ["e0"]
    assert changed.messages[0]["content"] == "Be kind."
    assert changed.messages[1:] == variant().messages[1:]


def test_a_model_is_chosen_by_name_and_an_order_is_a_permutation():
    start = variant(4)
    assert apply_point(start, {"model": "other"}).model["name"] == "other"
    orders = {tuple(e.id for e in apply_point(start, {"examples.order": order}).examples) for order in range(6)}
    assert tuple(e.id for e in start.examples) in orders
    assert len(orders) > 2
    assert all(sorted(order) == ["e0", "e1", "e2", "e3"] for order in orders)


def test_the_point_of_a_variant_gives_the_variant_back():
    dimensions = parse_space(
        {"temperature": {"float": [0, 1]}, "examples": {"max": 3}, "policy.accept": {"float": [0, 1]}},
        variant(),
        max_examples=4,
    )
    point = point_of(variant(), dimensions)
    assert point == {"temperature": 0.0, "examples": 3, "policy.accept": 0.7}
    assert apply_point(variant(), point) == variant()


def test_a_variant_outside_the_space_has_no_point():
    assert point_of(variant(), (FloatRange(name="temperature", low=0.2, high=1.0),)) is None
    assert point_of(variant(), (FloatRange(name="top_p", low=0.2, high=1.0),)) is None


def test_neighbours_differ_in_one_dimension_and_stay_inside():
    dimensions = parse_space(
        {"temperature": {"float": [0, 1]}, "examples": {"max": 3}, "model": {"choices": ["m", "n"]}},
        variant(),
        max_examples=4,
    )
    point = point_of(variant(), dimensions)
    found = neighbours(point, dimensions)
    assert found == [{**point, "temperature": 0.5}, {**point, "examples": 2}, {**point, "model": "n"}]


def test_a_predictor_that_is_to_be_learned_is_no_dimension():
    """Strategy replay trains it; for any other it is no policy that could be tried."""
    signals = [{"kind": "log_probability"}, {"kind": "predictor"}]
    assert parse_space({"policy.confidence": {"choices": signals}}, variant(), max_examples=4) == ()
    several = [{"kind": "log_probability"}, {"kind": "agreement"}, {"kind": "predictor"}]
    (dimension,) = parse_space({"policy.confidence": {"choices": several}}, variant(), max_examples=4)
    assert dimension.options == tuple(several[:2])
