from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.rendering import fill, render, render_open, value_text
from optimizer.core.family.variant import VARIABLE, Variant
from tests.strategies import histories, variables_for, variants


@given(variants(), st.data())
def test_what_is_served_open_and_filled_in_by_a_client_is_what_the_server_renders(variant, data):
    variables, history = data.draw(variables_for(variant)), data.draw(histories)
    assert render(variant, variables, history) == fill(render_open(variant), variables, history)


@given(variants(), st.data())
def test_every_value_arrives_as_it_was_sent_even_when_it_looks_like_a_variable(variant, data):
    variables = data.draw(variables_for(variant))
    rendered = render(variant, variables)
    spoken = [m for m in render_open(variant) if m["role"] != "history"]
    for open_message, message in zip(spoken, rendered, strict=True):
        pieces = VARIABLE.split(open_message["content"])  # text, name, text, name, …, text
        assert message["content"] == "".join(value_text(variables[p]) if i % 2 else p for i, p in enumerate(pieces))


@given(variants(), st.data())
def test_examples_stand_as_pairs_in_their_slot_or_before_the_last_user_message(variant, data):
    opened = render_open(variant)
    pairs = [(opened[i], opened[i + 1]) for i in range(len(opened) - 1)]
    slots = [m["role"] for m in variant.messages]
    if "examples" in slots:
        start = slots.index("examples")
    else:
        start = max(i for i, role in enumerate(slots) if role == "user")
        start -= start > 0 and slots[start - 1] == "history"
    for n, example in enumerate(variant.examples):
        question, answer = pairs[start + 2 * n]
        assert question["role"] == "user"
        assert answer == {"role": "assistant", "content": example.output}
    without = Variant(messages=variant.messages, model=variant.model, policy=variant.policy)
    assert opened[:start] + opened[start + 2 * len(variant.examples) :] == render_open(without)


@given(variants(), st.data())
def test_the_history_stands_in_its_slot_or_right_before_the_last_user_message(variant, data):
    variables, history = data.draw(variables_for(variant)), data.draw(histories)
    opened = render_open(variant)
    roles = [m["role"] for m in opened]
    at = roles.index("history") if "history" in roles else max(i for i, role in enumerate(roles) if role == "user")
    rendered = render(variant, variables, history)
    assert rendered[at : at + len(history)] == history
    assert rendered[:at] + rendered[at + len(history) :] == render(variant, variables)


@given(variants(), st.data())
def test_every_missing_and_every_unknown_variable_is_named_at_once(variant, data):
    variables = data.draw(variables_for(variant))
    left_out = data.draw(st.sets(st.sampled_from(variant.variables))) if variant.variables else set()
    given_ = {name: value for name, value in variables.items() if name not in left_out} | {"not asked for": "x"}
    with pytest.raises(InvalidInput) as error:
        render(variant, given_)
    assert {f.pointer for f in error.value.faults} == {f"/variables/{name}" for name in left_out} | {
        "/variables/not asked for"
    }


@given(variants(), st.data())
def test_a_declared_input_that_this_variant_does_not_use_may_be_given(variant, data):
    variables = data.draw(variables_for(variant))
    assert render(variant, {**variables, "Other": "x"}, declared=["Other"]) == render(variant, variables)


@given(variants())
def test_a_variant_read_back_from_its_content_is_the_same_variant(variant):
    again = Variant.from_content(variant.content())
    assert again == variant
    assert again.id == variant.id
