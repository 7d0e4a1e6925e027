from __future__ import annotations

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.rendering import expected_text, parse_output, with_own_labels
from optimizer.core.family.settings import Output
from tests.cases import named

TOPICS = Output(
    field="topic", parser="label", labels=("physics", "astrophysics", "machine learning", "learning", "C++", "C")
)
ENTITIES = Output(
    field="entities", parser="json", json_schema={"type": "array", "items": {"type": "object", "required": ["text"]}}
)
ITEMS = Output(field="items", parser="list")
SUMMARY = Output(field="summary", parser="text")


@named(
    ("text", "label"),
    {
        "exactly": ("physics", "physics"),
        "case and punctuation": ("  Physics.\n", "physics"),
        "after empty lines": ("\n\nphysics", "physics"),
        "inside the first line": ("Topic: physics", "physics"),
        "the second line does not count": ("physics\nmachine learning", "physics"),
        "a label inside a longer word does not count": ("It is astrophysics", "astrophysics"),
        "a label inside a longer label does not count": ("machine learning, I think", "machine learning"),
        "a hyphen for a space": ("Machine-Learning", "machine learning"),
        "signs tell labels apart": ("c++", "C++"),
        "the label without signs": ("C", "C"),
        "the same one twice": ("physics physics", "physics"),
    },
)
def test_a_label_is_read(text, label):
    assert parse_output(TOPICS, text).value == label


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param("biology", "no label", id="another word"),
        pytest.param("", "no label: empty output", id="nothing"),
        pytest.param("physics or learning", "no label: learning, physics all stand in the first line", id="two labels"),
        pytest.param("biology\nphysics", "no label", id="only in the second line"),
    ],
)
def test_no_label_has_its_reason(text, error):
    parsed = parse_output(TOPICS, text)
    assert (parsed.value, parsed.error) == (None, error)


@named(
    ("value", "kept"),
    {
        "as the family spells it": ("C++", "C++"),
        "another case": ("Physics", "physics"),
        "white space around": (" physics ", "physics"),
        "in a sentence": ("It is no physics.", "It is no physics."),
        "several lines": ("physics\nC", "physics\nC"),
        "no label": ("biology", "biology"),
        "nothing": ("", ""),
        "several good answers": (["Physics", "biology", " c "], ["physics", "biology", "C"]),
    },
)
def test_a_label_of_an_example_is_written_as_the_family_spells_it(value, kept):
    expected = {"topic": value, "note": " Physics"}
    assert with_own_labels(TOPICS, expected) == {"topic": kept, "note": " Physics"}
    assert with_own_labels(SUMMARY, {"summary": " Physics "}) == {"summary": " Physics "}


@pytest.mark.parametrize(
    "text",
    ['[{"text": "Bonn"}]', 'Here:\n```json\n[{"text": "Bonn"}]\n```\nDone.', 'I found [{"text": "Bonn"}] in it'],
    ids=["bare", "in a fence", "inside a sentence"],
)
def test_json_is_found(text):
    assert parse_output(ENTITIES, text).value == [{"text": "Bonn"}]


@named(
    ("text", "error"),
    {
        "nothing": ("", "no JSON: empty output"),
        "prose": ("none", "no JSON: there is no object or array in it"),
        "cut off": ('[{"text": ', "no JSON: "),
        "NaN": ("[NaN]", "no JSON: NaN is no JSON value"),
        "a number that no float holds": ("[1e999]", "no JSON: it holds a number that is too large"),
        "half of a surrogate pair": ('["\\ud800"]', "no JSON: it holds half of a surrogate pair"),
        "65 levels": ("[" * 65 + "]" * 65, "no JSON: it is nested more than 64 levels deep"),
        "1,500 opening brackets": ("[" * 1500, "no JSON: "),
        "a hundred thousand levels": ("[" * 100_000 + "]" * 100_000, "no JSON: it is nested more than 64 levels deep"),
        "1,500 opening braces": ('{"a":' * 1500, "no JSON: "),
        "another form": ('[{"name": "Bonn"}]', "JSON against the schema at /0: 'text' is a required property"),
    },
)
def test_unreadable_json_has_its_reason(text, error):
    parsed = parse_output(ENTITIES, text)
    assert parsed.value is None
    assert parsed.error.startswith(error)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        pytest.param("a\n\nb", ["a", "b"], id="lines"),
        pytest.param("- a\n* b\n3. c\n4) d", ["a", "b", "c", "d"], id="bullets and numbers"),
        pytest.param('["a", "b"]', ["a", "b"], id="a JSON array"),
        pytest.param("[a] or b", ["[a] or b"], id="a bracket that opens no array"),
        pytest.param("", [], id="nothing is an empty list"),
    ],
)
def test_a_list_is_read(text, items):
    assert parse_output(ITEMS, text).value == items


def test_a_text_is_stripped_and_an_empty_one_is_an_error():
    assert parse_output(SUMMARY, "  one\ntwo ").value == "one\ntwo"
    assert parse_output(SUMMARY, " \n").error == "empty output"


@pytest.mark.parametrize(
    ("output", "value", "text"),
    [
        pytest.param(SUMMARY, " A summary. ", "A summary.", id="text"),
        pytest.param(SUMMARY, ["first", "second"], "first", id="the first of several good texts"),
        pytest.param(TOPICS, "physics", "physics", id="label"),
        pytest.param(ENTITIES, [{"text": "Köln", "a": 1}], '[{"text": "Köln", "a": 1}]', id="json"),
        pytest.param(ITEMS, ["a", "b"], "a\nb", id="list"),
        pytest.param(ITEMS, ["- a", "b"], '["- a", "b"]', id="a list whose lines would read differently"),
    ],
)
def test_an_expected_output_is_written_as_the_model_should_write_it(output, value, text):
    assert expected_text(output, {output.field: value}) == text


def test_an_example_without_the_field_is_refused_with_the_fields_it_has():
    with pytest.raises(InvalidInput, match=r"no 'summary', only topic"):
        expected_text(SUMMARY, {"topic": "x"})


@pytest.mark.parametrize("output", [TOPICS, ITEMS, SUMMARY], ids=lambda output: output.parser)
def test_opening_brackets_without_end_are_text_where_no_json_is_asked_for(output):
    parsed = parse_output(output, "[" * 1500)
    assert parsed.error == "no label" or parsed.value in ("[" * 1500, ["[" * 1500])


def test_sixty_four_levels_are_read():
    assert parse_output(Output(field="a", parser="json", json_schema={}), "[" * 64 + "]" * 64).error is None
