"""A family that answers with JSON of closed fields has a student with a classifier for each: what it learns, how its
answer is written and how sure it is, and which schemas it is refused for.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from optimizer.adapters.predictors import student_learning
from optimizer.adapters.predictors.student_learning import counted_texts, features_of, learn_student
from optimizer.core.base.errors import DatasetTooSmall, InvalidInput
from optimizer.core.dataset.examples import Example
from optimizer.core.family.closed_fields import declared_fields, open_field
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import parse_output
from optimizer.core.predictor.student import Student, TaughtStudent, signs_of, sureness
from optimizer.core.predictor.teaching import TeacherAnswers, teaching_rows
from tests.cases import named
from tests.worlds.study_world import topic_examples, topic_family

WORDS = {"billing": "invoice refund charge", "delivery": "parcel courier late", "login": "password account locked"}
PROPERTIES: dict[str, Any] = {
    "route": {"enum": list(WORDS)},
    "urgent": {"type": "boolean"},
    "plan": {"type": "string", "enum": ["free", "größer"]},
}
SCHEMA = {"type": "object", "properties": PROPERTIES, "required": ["route", "urgent"], "additionalProperties": False}


def family(**schema: Any) -> Family:
    output = {"field": "topic", "parser": "json", "schema": {**SCHEMA, **schema}}
    return topic_family(output=output, scorer={"exact_match": 1.0})


def example(i: int) -> Example:
    draw = random.Random(i)
    route = list(WORDS)[i % 3]
    value: dict[str, Any] = {"urgent": i % 2 == 0, "route": route}
    words = [*draw.choices(WORDS[route].split(), k=3), *(["hurry", "now"] if i % 2 == 0 else ["whenever", "please"])]
    if i % 5 == 0:
        value["plan"] = "größer"
        words += ["premium", "customer"]
    draw.shuffle(words)
    base = replace(topic_examples(1, "train")[0], id=f"r{i:03}", group=f"g{i}")
    return replace(base, input={"document": " ".join(words)}, expected={"topic": value})


EXAMPLES = [example(i) for i in range(150)]


@pytest.fixture(scope="module")
def taught() -> TaughtStudent:
    """Its sureness rests on all signs, as that of many rows; one row in ten has another's answer."""
    examples = [one if i % 10 else replace(one, expected=EXAMPLES[i - 1].expected) for i, one in enumerate(EXAMPLES)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(student_learning, "LEAST_SIGNED", 150)
        return learn_student(teaching_rows(family(), examples), trained_on={})


def test_each_field_is_learned_and_the_answer_is_the_familys_json(taught: TaughtStudent) -> None:
    n_right = 0
    for i in range(200, 260):
        text = taught.student.answer(example(i).input).label
        parsed = parse_output(family().output, text)
        assert parsed.error is None
        assert text == json.dumps(parsed.value, ensure_ascii=False)
        assert list(parsed.value) == [name for name in PROPERTIES if name in parsed.value], "in the schema's order"
        n_right += parsed.value == example(i).expected["topic"]
    assert n_right >= 50
    answers = [taught.out_of_fold[one.id].label for one in EXAMPLES]
    assert len(set(answers)) > 6, "answers are put together of the fields"
    assert taught.student.taught["right_out_of_fold"] == pytest.approx(0.9, abs=0.05)


SAID = st.sampled_from([*" ".join(WORDS.values()).split(), "hurry", "now", "whenever", "premium", "customer", "zzz"])


@settings(max_examples=60, deadline=None)
@given(text=st.lists(SAID, max_size=12).map(" ".join) | st.text(max_size=60))
def test_it_is_as_sure_as_its_least_sure_field_where_it_serves_and_where_it_was_learned(
    taught: TaughtStudent, text: str
) -> None:
    student = taught.student
    assert student.seen is not None
    features = features_of(student.vocabulary, counted_texts([text], least=1))
    odds = ((features @ student.weights) * student.scale + student.intercept)[0]
    seen = (features @ np.asarray(student.seen, dtype=float))[0]
    sure, value, at = [], dict[str, Any](), 0
    for one in student.classifiers:
        own = slice(at, at := at + len(one.labels))
        label, signs = signs_of(odds[own], seen[own])
        sure.append(sureness(one.calibration, float(signs @ one.sign_weights)) if features.nnz else 0.0)
        if one.labels[label]:
            value[str(one.field)] = json.loads(one.labels[label])
    read = Student.from_data(json.loads(json.dumps(student.to_data())))
    answer = read.answer({"document": text})
    assert json.loads(answer.label) == value
    assert round(answer.confidence, 6) == round(min(sure), 6)
    assert read.hash == student.hash


def test_a_field_that_always_says_the_same_is_learned_and_hides_no_other() -> None:
    same = [replace(one, expected={"topic": {**one.expected["topic"], "plan": "free"}}) for one in EXAMPLES]
    student = learn_student(teaching_rows(family(), same), trained_on={}).student
    answer = student.answer(same[1].input)
    assert json.loads(answer.label) == same[1].expected["topic"]
    assert answer.confidence > 0.8
    assert student.answer({"document": "ζωή"}).confidence == 0.0


def test_answers_of_a_model_teach_whatever_the_order_of_their_keys() -> None:
    texts = {one.id: json.dumps(one.expected["topic"], sort_keys=True, indent=1) for one in EXAMPLES}
    told = TeacherAnswers.read(family().output, "strong", "r1", texts)
    rows = teaching_rows(family(), told.teaching(family().output, EXAMPLES, "answers"))
    assert rows == teaching_rows(family(), EXAMPLES)
    assert rows[1].fields == {"route": '"delivery"', "urgent": "false", "plan": ""}


def test_an_example_of_a_schema_of_before_teaches_nothing() -> None:
    older = replace(EXAMPLES[0], expected={"topic": {"route": "phone", "urgent": True}})
    assert [row.id for row in teaching_rows(family(), [older, *EXAMPLES[1:]])] == [one.id for one in EXAMPLES[1:]]


@named(
    ("properties", "examples", "says"),
    {
        "open": ({"note": {"type": "string"}}, EXAMPLES, "the field 'note' of the answers may hold any"),
        "undeclared": (
            {},
            [replace(one, expected={"topic": {**one.expected["topic"], "why": "so"}}) for one in EXAMPLES],
            "the field 'why' of the answers may hold any: declare it in output.schema with an enum",
        ),
        "lists of one's own": (
            {"tags": {"type": "array", "items": {"enum": [0, 1]}}},
            [
                replace(one, expected={"topic": {**one.expected["topic"], "tags": [int(bit) for bit in f"{i:b}"]}})
                for i, one in enumerate(EXAMPLES)
            ],
            "150 of 150 released training examples have one of their own in the field 'tags'",
        ),
    },
)
def test_what_is_not_closed_is_refused_by_its_name(
    properties: dict[str, Any], examples: list[Example], says: str
) -> None:
    declared = family(properties={**PROPERTIES, **properties}, additionalProperties=True)
    with pytest.raises(DatasetTooSmall, match=says):
        teaching_rows(declared, examples)


@named(
    ("declared", "is_closed"),
    {
        "enum": ({"enum": ["a", 1, None]}, True),
        "constant": ({"const": "a"}, True),
        "boolean or null": ({"type": ["boolean", "null"]}, True),
        "list of labels": ({"type": "array", "items": {"enum": ["a"]}}, True),
        "optional label, as pydantic writes it": ({"anyOf": [{"$ref": "#/$defs/Topic"}, {"type": "null"}]}, True),
        "label with a default, as pydantic writes it": ({"allOf": [{"$ref": "#/$defs/Topic"}], "default": "a"}, True),
        "text": ({"type": "string"}, False),
        "number": ({"type": "integer", "minimum": 1, "maximum": 5}, False),
        "anything": (True, False),
        "label or text": ({"anyOf": [{"enum": ["a"]}, {"type": "string"}]}, False),
        "list": ({"type": "array"}, False),
        "reference that leads nowhere": ({"$ref": "#/$defs/Other"}, False),
        "reference to itself": ({"$ref": "#/properties/field"}, False),
    },
)
def test_a_field_is_closed_where_its_schema_names_its_values(declared: Any, is_closed: bool) -> None:
    schema = {"type": "object", "$defs": {"Topic": {"enum": ["a", "b"]}}, "properties": {"field": declared}}
    output = family().output.model_copy(update={"json_schema": schema})
    assert open_field(output) == (None if is_closed else "field")


@named(
    "schema",
    {
        "fields that depend on one another": {"if": {"required": ["plan"]}, "then": {"required": ["route"]}},
        "no fields": {"properties": {}, "additionalProperties": True},
        "no object": {"type": ["object", "null"]},
    },
)
def test_of_other_json_whole_answers_are_learned(schema: dict[str, Any]) -> None:
    declared = family(**schema)
    assert declared_fields(declared.output) == ()
    rows = teaching_rows(topic_family(**{"output": declared.output, "scorer": {"exact_match": 1.0}}), EXAMPLES[:40])
    assert not any(row.fields for row in rows)
    student = learn_student(rows, trained_on={}).student
    assert student.to_data()["format"] == "detent-student-1"
    assert {one.field for one in student.classifiers} == {None}


def test_data_that_gives_a_field_two_classifiers_is_no_student(taught: TaughtStudent) -> None:
    data = taught.student.to_data()
    assert data["format"] == "detent-student-2"
    twice = [data["fields"][0], *({**one, "field": "route"} for one in data["fields"][1:])]
    for broken in ({**data, "fields": twice}, {**data, "fields": data["fields"][:1]}, {**data, "fields": []}):
        with pytest.raises(InvalidInput, match="This is no student"):
            Student.from_data(broken)
