"""What a model is sent, byte for byte.

The golden files are refreshed by DETENT_REFRESH_GOLDEN=1, and their diff is read by a person.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import MAX_ALIKE, InvalidInput
from optimizer.core.dataset.examples import make_example
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.rendering import clip_inputs, few_shot, fill, is_refused, limit_inputs, render, render_open
from optimizer.core.family.variant import FewShot, Message, Variant
from tests.cases import named
from tests.strategies import NOW

GOLDEN = Path(__file__).parents[2] / "golden" / "rendering"
SYSTEM = {"role": "system", "content": "Summarize the document in one sentence."}
USER = {"role": "user", "content": "Document: {{document}}\nSummary:"}
SHOTS = (
    FewShot(id="ex_1", input={"document": "Tides follow the moon."}, output="Tides."),
    FewShot(id="ex_2", input={"document": "Die Bäume blühen.\n“Früh”"}, output="Bäume."),
)
HISTORY: list[Message] = [{"role": "user", "content": "Hi {{document}}"}, {"role": "assistant", "content": "Hello"}]
MODEL = {"name": "embedded", "temperature": 0.0, "max_tokens": 40, "stop": ["\n"]}


def variant(*messages: Message, examples: tuple[FewShot, ...] = SHOTS) -> Variant:
    return Variant(messages=messages, examples=examples, model=MODEL)


def roles_and_starts(messages: list[Message]) -> list[str]:
    return [f"{m['role']}: {m.get('content', '')[:16]}" for m in messages]


CASES: dict[str, tuple[Variant, dict[str, Any], list[Message]]] = {
    "plain": (variant(SYSTEM, USER, examples=()), {"document": "Water is wet."}, []),
    "examples_in_their_slot": (variant({"role": "examples"}, SYSTEM, USER), {"document": "Water is wet."}, []),
    "examples_without_a_slot": (variant(SYSTEM, USER), {"document": "Wasser ist naß. \U0001f4a7"}, []),
    "examples_and_history_in_slots": (
        variant(SYSTEM, {"role": "examples"}, {"role": "history"}, USER),
        {"document": "It."},
        HISTORY,
    ),
    "history_without_a_slot": (variant(SYSTEM, {"role": "examples"}, USER), {"document": "It."}, HISTORY),
    "values_that_look_like_variables": (variant(SYSTEM, USER), {"document": "{{document}} {{other}} \\1 \\g<0>"}, []),
    "values_that_are_no_texts": (
        variant({"role": "user", "content": "{{a}} {{ b }} {{c}} {{a}}"}, examples=()),
        {"a": {"z": 1, "a": [True, None, 0.5]}, "b": 3, "c": "ä"},
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rendered_bytes_are_those_of_the_golden_file(name):
    rendered, variables, history = CASES[name]
    content = canonical_json({"variant": rendered.id, "messages": render(rendered, variables, history)}) + b"\n"
    file = GOLDEN / f"{name}.json"
    if os.environ.get("DETENT_REFRESH_GOLDEN") == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    assert content == file.read_bytes()


def test_examples_are_written_like_the_last_user_message_and_leave_earlier_ones_alone():
    rendered = render(
        variant({"role": "user", "content": "Ready?"}, {"role": "assistant", "content": "Yes."}, USER),
        {"document": "d"},
    )
    assert roles_and_starts(rendered)[:4] == [
        "user: Ready?",
        "assistant: Yes.",
        "user: Document: Tides ",
        "assistant: Tides.",
    ]


def test_rendering_leaves_the_variant_as_it_was():
    rendered = variant(SYSTEM, {"role": "examples"}, USER)
    before = rendered.id
    render_open(rendered)[0]["content"] = "changed"
    assert rendered.id == before


def test_everything_wrong_with_the_values_is_named():
    with pytest.raises(InvalidInput) as error:
        render(variant(SYSTEM, USER), {"doc": "x"}, [{"role": "examples"}, "hello"])
    assert [f.pointer for f in error.value.faults] == [
        *("/variables/document", "/variables/doc", "/history/0", "/history/1"),
    ]


def test_an_example_without_an_input_that_the_prompt_asks_for_is_named():
    with pytest.raises(InvalidInput, match=r"'ex_9' lacks document"):
        render_open(variant(USER, examples=(FewShot(id="ex_9", input={"text": "x"}, output="y"),)))


def test_an_example_that_would_make_a_variable_inside_the_prompt_is_refused():
    shot = FewShot(id="ex_9", input={"document": "{name}"}, output="y")
    with pytest.raises(InvalidInput, match=r"'ex_9' makes a \{\{variable\}\}"):
        render_open(variant({"role": "user", "content": "{{{document}}}"}, examples=(shot,)))


FAMILY = parse_family(
    {
        "name": "summarization",
        "inputs": {"document": {"max_chars": 5}, "n": {"type": "number"}},
        "output": {"field": "summary"},
        "prompt": {"current": "1", "versions": {"1": {"content": [USER]}}},
    }
)


def test_inputs_are_cut_by_characters_and_nothing_else_changes():
    assert clip_inputs(FAMILY, {"document": "äöüßé€", "n": 123456, "other": "stays whole"}) == {
        "document": "äöüßé",
        "n": 123456,
        "other": "stays whole",
    }
    assert clip_inputs(FAMILY, {}) == {}


REFUSING = parse_family(
    {
        "name": "summarization",
        "inputs": {
            "document": {"max_chars": 5, "too_long": "refuse"},
            "title": {"max_chars": 3, "too_long": "refuse"},
            "note": {"max_chars": 2},
        },
        "output": {"field": "summary"},
        "prompt": {"current": "1", "versions": {"1": {"content": [USER]}}},
    }
)


def test_what_a_request_is_answered_with_says_which_inputs_were_cut():
    assert limit_inputs(FAMILY, {"document": "123456", "n": 1}) == ({"document": "12345", "n": 1}, ("document",))
    assert limit_inputs(FAMILY, {"document": "12345"}) == ({"document": "12345"}, ())
    assert limit_inputs(None, {"document": "1" * 9999}) == ({"document": "1" * 9999}, ())
    assert limit_inputs(REFUSING, {"document": "d", "note": "123"}) == ({"document": "d", "note": "12"}, ("note",))


def test_texts_that_are_too_long_for_an_input_that_refuses_them_are_all_named():
    with pytest.raises(InvalidInput, match=r"'document' has 6 characters, and the family takes 5") as error:
        limit_inputs(REFUSING, {"document": "123456", "title": "1234", "note": "123"})
    assert [fault.pointer for fault in error.value.faults] == ["/variables/document", "/variables/title"]


def test_no_text_is_cut_where_serving_refuses_it():
    assert clip_inputs(REFUSING, {"document": "123456", "note": "123"}) == {"document": "123456", "note": "12"}
    assert is_refused(REFUSING, {"document": "123456"})
    assert not is_refused(REFUSING, {"note": "123"})


def test_a_few_shot_example_is_cut_as_in_serving_and_holds_declared_inputs_only():
    example = make_example(
        family="summarization",
        id="ex_1",
        input={"document": "1234567", "source": "web"},
        expected={"summary": " s "},
        origin="curated",
        created_at=NOW,
    )
    assert few_shot(FAMILY, example) == FewShot(id="ex_1", input={"document": "12345"}, output="s")


LONG = "x" * 100_000
ASKED: Message = {"role": "user", "content": "{{text}}"}
OFTEN: Message = {"role": "user", "content": "{{text}}" * 200}
LONG_SHOTS = tuple(FewShot(id=f"e{i}", input={"text": LONG}, output="a") for i in range(2))


@named(
    "ask",
    {
        "a value that stands in the prompt too often": lambda: render(Variant(messages=(OFTEN,)), {"text": LONG}),
        "many messages together": lambda: render(Variant(messages=(ASKED,) * 200), {"text": LONG}),
        "a history in many places": lambda: render(
            Variant(messages=({"role": "history"},) * 200 + (ASKED,)),
            {"text": "x"},
            [{"role": "user", "content": LONG}],
        ),
        "examples, when they are put in": lambda: render_open(Variant(messages=(OFTEN,), examples=LONG_SHOTS)),
    },
)
def test_a_value_that_stands_in_the_prompt_too_often_is_refused_before_it_is_put_there(ask):
    """And so are messages, histories and examples: of some kilobytes and a long value gigabytes would be made."""
    with pytest.raises(InvalidInput, match="16,777,216 characters"):
        ask()


def test_examples_stand_in_the_first_place_that_is_marked_for_them() -> None:
    """A second mark is no message: it has no text, and served it was an error 500."""
    marked: tuple[Message, ...] = (
        {"role": "examples"},
        {"role": "system", "content": "S"},
        {"role": "examples"},
        {"role": "user", "content": "{{a}}"},
    )
    variant = Variant(messages=marked, examples=(FewShot(id="e", input={"a": "1"}, output="2"),))
    assert [m["content"] for m in render(variant, {"a": "x"})] == ["1", "2", "S", "x"]


@pytest.mark.parametrize("declared", [None, {"document": 1}], ids=["unknown inputs", "some declared"])
def test_of_many_unknown_values_and_wrong_turns_some_of_each_are_named_and_the_others_counted(declared):
    variables = {"document": "d", **{f"k{i}": i for i in range(5000)}}
    for messages in ((SYSTEM, USER), ()):
        if not messages and declared is None:
            continue  # a policy whose inputs are not known takes any
        with pytest.raises(InvalidInput, match=r"and 4,990 more .*; and 2,991 more\.") as error:
            fill(messages, variables, ["hello"] * 3000, declared=declared)
        assert len(error.value.faults) == 2 * (MAX_ALIKE + 1)
        assert error.value.faults[MAX_ALIKE].detail.startswith("and 4,990 more ")
        assert error.value.faults[-1].detail == "and 2,990 more turns are no chat messages"
