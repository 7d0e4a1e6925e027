"""What a model is sent, byte for byte as the server renders it: both sides read the same golden file."""

from __future__ import annotations

import json

import pytest

from detent_client import InvalidInput
from detent_client.template import MAX_CHARS, Template

USER = {"role": "user", "content": "Request: {{message}}"}


def test_each_case_of_the_golden_file_is_rendered_as_the_server_renders_it(golden) -> None:
    cases = golden("rendering.jsonl")
    assert len(cases) > 20
    for case in cases:
        template = Template(case["messages"], case["inputs"])
        try:
            rendering = template.fill(case["variables"], case["history"])
            told = {"messages": rendering.messages, "truncated": list(rendering.truncated)}
        except InvalidInput as error:
            told = {"pointers": list(error.pointers)}
        assert json.dumps(told) == json.dumps(case["expected"]), case["case"]


def test_what_was_rendered_may_be_changed_without_changing_the_next(golden) -> None:
    template = Template([{"role": "system", "content": "Be short."}, USER])
    template.fill({"message": "a"}).messages[0]["content"] = "Be long."
    assert template.fill({"message": "a"}).messages[0]["content"] == "Be short."


def test_a_prompt_that_would_not_fit_into_memory_is_refused() -> None:
    template = Template([{"role": "user", "content": "{{a}}" * 100}])
    assert len(template.fill({"a": "x" * (MAX_CHARS // 100 - 5)}).messages[0]["content"]) > MAX_CHARS * 0.99
    with pytest.raises(InvalidInput):
        template.fill({"a": "x" * (MAX_CHARS // 100)})
    with pytest.raises(InvalidInput):
        Template([{"role": "history"}, USER]).fill({"message": ""}, [{"role": "user", "content": "x" * MAX_CHARS}])


def test_a_fallback_is_filled_with_whatever_was_given() -> None:
    template = Template([{"role": "user", "content": "{{a}} {{b}} {{c}}"}])
    turns = [{"role": "user", "content": "Hi"}, "no turn"]
    filled = template.fill_anyhow({"a": 1, "b": object, "other": "x"}, turns)
    assert [message["content"] for message in filled.messages] == ["Hi", "1 \"<class 'object'>\" {{c}}"]
    assert [message["content"] for message in template.fill_anyhow({}, None).messages] == ["{{a}} {{b}} {{c}}"]


@pytest.mark.parametrize("messages", [[{"role": "user"}], [{"role": "examples"}], [{"content": "x"}]])
def test_what_are_no_open_messages_makes_no_template(messages) -> None:
    with pytest.raises(ValueError, match="message"):
        Template(messages)
