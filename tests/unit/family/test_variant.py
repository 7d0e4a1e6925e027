from __future__ import annotations

import hashlib

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.variant import FewShot, Variant
from tests.cases import named

USER = {"role": "user", "content": "{{b}} {{ a }} {{b}}"}


def test_the_id_is_the_hash_of_the_canonical_content():
    variant = Variant(
        messages=({"role": "user", "content": "Hé"},), model={"temperature": 0.30000004, "name": "embedded"}
    )
    canonical = (
        '{"examples":[],"messages":[{"content":"Hé","role":"user"}],"model":{"name":"embedded","temperature":0.3},'
        '"policy":{},"response_format":null,"tools":null}'
    )
    assert variant.id == "v_" + hashlib.sha256(canonical.encode()).hexdigest()[:12]


def test_one_id_is_one_content():
    fine, coarse = (
        Variant(
            messages=(USER,),
            examples=(FewShot(id="ex_1", input={"a": [x]}, output="x"),),
            model={"temperature": x},
            policy={"accept": {"at": x}},
            tools=({"n": x},),
        )
        for x in (0.30000004, 0.3)
    )
    assert fine.id == coarse.id
    assert fine == coarse
    assert fine.content() == coarse.content()
    assert Variant.from_content(fine.content()) == fine


def test_variables_come_in_the_order_in_which_they_first_appear():
    assert Variant(messages=(USER,)).variables == ("b", "a")


def test_the_ids_of_examples_are_part_of_the_content():
    one, other = (
        Variant(messages=(USER,), examples=(FewShot(id=i, input={"a": 1}, output="x"),)) for i in ("ex_1", "ex_2")
    )
    assert one.id != other.id


@pytest.mark.parametrize(
    ("messages", "pointer"),
    [
        pytest.param([{"role": "system", "content": "x"}], "/messages", id="no user message"),
        pytest.param([USER, {"role": "bot", "content": "x"}], "/messages/1/role", id="an unknown role"),
        pytest.param([USER, {"role": "system"}], "/messages/1/content", id="no content"),
    ],
)
def test_what_cannot_be_served_is_no_variant(messages, pointer):
    with pytest.raises(InvalidInput) as error:
        Variant(messages=tuple(messages))
    assert [f.pointer for f in error.value.faults] == [pointer]


@named(
    "shot",
    {
        "in the input": FewShot(id="ex_1", input={"a": "{{b}}"}, output="x"),
        "deep inside": FewShot(id="ex_1", input={"a": ["x", {"k": "{{ b }}"}]}, output="x"),
        "in a key": FewShot(id="ex_1", input={"a": {"{{b}}": 1}}, output="x"),
        "in the output": FewShot(id="ex_1", input={"a": 1}, output="{{b}}"),
    },
)
def test_an_example_with_a_variable_is_refused_because_a_client_would_fill_it_in(shot):
    with pytest.raises(InvalidInput, match="ex_1"):
        Variant(messages=(USER,), examples=(shot,))
