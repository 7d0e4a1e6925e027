"""A family from a prompt and a sheet, as people have them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from optimizer.core.base.errors import Conflict, InvalidInput
from optimizer.core.declaration.draft import FamilyDraft, NewFamily, draft_family, messages_of, tell_parser
from optimizer.core.declaration.read import parse_family
from optimizer.jobs.families.create_family import as_yaml, create_family, read_prompt
from tests.cases import named

TODAY = date(2026, 11, 20)
ROWS = [{"Body": f"message {i}", "Team": ("sales", "support")[i % 2], "Date": "x"} for i in range(10)]


def draft(**changes: Any) -> FamilyDraft:
    values = {"name": "triage", "prompt": "Ticket: {{ticket}}\nTeam:", "columns": ("Body", "Team", "Date")}
    return FamilyDraft(**{**values, "rows": ROWS, "inputs": ("ticket=Body",), "output": "Team", **changes})


def from_one(row: dict[str, str]) -> dict[str, Any]:
    """The example of a sheet of one row, whose columns are named as in the prompt."""
    return draft_family(draft(columns=tuple(row), rows=[row], inputs=(), output=None), today=TODAY).examples[0]


def test_the_file_that_is_made_is_a_valid_family_with_its_examples() -> None:
    made = draft_family(draft(), today=TODAY)
    family = parse_family(made.data)
    assert list(family.inputs) == ["ticket"]
    assert family.inputs["ticket"].max_chars is None, "nobody wrote a limit"
    assert (family.output.field, family.output.parser, family.output.labels) == ("team", "label", ("sales", "support"))
    assert family.model.tiers == ("student", "embedded"), "what learns the labels may answer once it is taught"
    assert family.sample.balance == "team"
    assert made.examples[0] == {"input": {"ticket": "message 0"}, "expected": {"team": "sales"}}


def test_paragraphs_before_the_first_placeholder_become_the_system_message() -> None:
    assert messages_of("You sort tickets.\n\nBe brief.\n\nTicket: {{t}}\n\nTeam:", ["t"]) == [
        {"role": "system", "content": "You sort tickets.\n\nBe brief."},
        {"role": "examples"},
        {"role": "user", "content": "Ticket: {{t}}\n\nTeam:"},
    ]


def test_a_prompt_without_placeholders_is_followed_by_its_input() -> None:
    made = draft_family(draft(prompt="You sort tickets.", inputs=("Body",)), today=TODAY)
    messages = parse_family(made.data).variant().messages
    assert [m.get("content") for m in messages] == ["You sort tickets.", None, "{{body}}"]


def test_one_placeholder_and_one_column_need_no_further_word() -> None:
    made = draft_family(draft(inputs=("Body",)), today=TODAY)
    assert made.examples[1]["input"] == {"ticket": "message 1"}


def test_an_input_that_is_no_text_stands_in_an_example_as_it_would_in_a_prompt() -> None:
    rows = [{"Body": {"lines": ["a", None]}, "Team": "sales"}, {"Body": "b", "Team": "support"}]
    made = draft_family(draft(columns=("Body", "Team"), rows=rows), today=TODAY)
    assert [example["input"]["ticket"] for example in made.examples] == ['{"lines": ["a", null]}', "b"]


def test_the_only_column_left_is_the_answer_and_id_and_group_are_kept_as_such() -> None:
    example = {"input": {"ticket": "a"}, "expected": {"team": "b"}}
    assert from_one({"ticket": "a", "team": "b"}) == example
    assert from_one({"id": "7", "group": "g", "ticket": "a", "team": "b"}) == {**example, "id": "7", "group": "g"}


def test_rows_without_an_answer_are_left_out_and_counted() -> None:
    made = draft_family(draft(rows=[*ROWS, {"Body": "x", "Team": " ", "Date": ""}]), today=TODAY)
    assert (len(made.examples), made.skipped) == (10, [10])


@named(
    ("changes", "says"),
    {
        "no column of the placeholder's name": ({"inputs": ()}, "--input ticket=COLUMN"),
        "several columns could be the answer": ({"output": None}, "--output COLUMN"),
        "misspelt column": ({"output": "Teem"}, "no column 'Teem'"),
        "an input that the prompt does not have": ({"inputs": ("ticket=Body", "colour=Date")}, "no {{colour}}"),
        "nothing goes in": ({"prompt": "Sort it.", "inputs": ()}, "no {{placeholder}}"),
        "unknown parser": ({"parser": "xml"}, "no parser 'xml'"),
        "an empty sheet": ({"rows": []}, "no row"),
    },
)
def test_what_does_not_fit_is_refused_with_the_option_that_helps(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        draft_family(draft(**changes), today=TODAY)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("outputs", "parser"),
    [
        (["a", "b"] * 3, "label"),
        (["one", "two", "three"], "text"),
        (["a long answer that is different " + str(i) for i in range(9)], "text"),
        (['{"a": 1}', '{"a": 2}'], "json"),
        (['["a"]', "[]"], "list"),
        (['["a"]', "b", "b", "b"], "label"),
    ],
)
def test_the_parser_is_told_by_the_answers(outputs: list[str], parser: str) -> None:
    assert tell_parser(outputs) == parser


def test_the_file_writes_a_line_break_as_one_that_people_recognise() -> None:
    data = {"stop": ["\n"], "content": "Name the topic.\nTopic:"}
    text = as_yaml(data)
    assert '- "\\n"' in text
    assert "content: |-\n  Name the topic.\n  Topic:" in text
    assert YAML(typ="safe").load(text) == data


def test_an_existing_folder_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "triage").mkdir()
    with pytest.raises(Conflict, match="already"):
        create_family(draft(), families_dir=tmp_path, today=TODAY)
    assert list((tmp_path / "triage").iterdir()) == []


def test_what_a_check_of_the_draft_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    seen = []

    def check(made: NewFamily) -> None:
        seen.append(made.data["name"])
        raise InvalidInput("a slip")

    with pytest.raises(InvalidInput, match="a slip"):
        create_family(draft(), families_dir=tmp_path, today=TODAY, check=check)
    assert (seen, list(tmp_path.iterdir())) == (["triage"], [])


def test_a_name_that_is_no_family_name_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="small letter"):
        create_family(draft(name="Triage"), families_dir=tmp_path, today=TODAY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("character", ["\0", "\ud83d"])
def test_a_text_that_no_family_file_can_hold_leaves_nothing_behind(tmp_path: Path, character: str) -> None:
    with pytest.raises(InvalidInput, match="no family file can hold"):
        create_family(draft(description=f"a{character}b"), families_dir=tmp_path, today=TODAY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("content", "says"), [(None, "no prompt file"), (b"", "empty"), (b"\xff\xfe\x00", "UTF-8")])
def test_a_prompt_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "prompt.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=says):
        read_prompt(path)


@pytest.mark.parametrize(("output", "field"), [(None, "answer"), ("reply", "reply")])
def test_with_a_judge_inputs_alone_make_a_family(output: str | None, field: str) -> None:
    rows = [{"message": f"Where is parcel {i}?", "id": str(i)} for i in range(3)]
    by_judge = draft(columns=["id", "message"], rows=rows, inputs=("ticket=message",), output=output, judge="large")
    made = draft_family(by_judge, today=TODAY)
    family = parse_family(made.data)
    assert (family.output.field, family.output.parser, dict(family.metrics)) == (field, "text", {"judge": 1.0})
    assert family.judge.members == ("large",)
    assert [one["expected"] for one in made.examples] == [{}] * 3
    assert "examples" not in family.space


def test_with_a_judge_a_column_of_outputs_is_a_reference() -> None:
    made = draft_family(draft(judge="large"), today=TODAY)
    assert made.data["scorer"] == {"judge": 1.0}
    assert all(one["expected"] for one in made.examples)


@named(
    ("answers", "limit"),
    {
        "short": (["a", "b"] * 2, 8),
        "no words": (["7f3a9c1e-22b4-4d0e-9a51-c3f08b6e1d27", "0b9d6f52-8e1c-47a3-b6f0-5d2e9c7a1f48"], 40),
        "three bytes a character": (["您的订单已经发货。", "退款将在五天内退回。"], 34),
        "long": (["x" * 3000, "y"], 3004),
    },
)
def test_no_right_answer_of_the_sheet_is_cut_off(answers: list[str], limit: int) -> None:
    new = draft_family(draft(rows=[{"Body": "x", "Team": answer} for answer in answers]), today=TODAY)
    assert (new.data["model"]["max_tokens"], new.why_cut) == (limit, None)


def test_answers_that_may_be_cut_off_are_told() -> None:
    new = draft_family(draft(rows=[{"Body": "x", "Team": "y" * n} for n in (10, 4000, 5000)]), today=TODAY)
    assert "1 answer may need more than the 4,096 tokens of model.max_tokens" in (new.why_cut or "")
