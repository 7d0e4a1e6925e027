"""What a model's answers teach a student, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.rendering import few_shot
from optimizer.core.predictor.teaching import TeacherAnswers, asked_of_teacher, teaching_in_words, teaching_rows
from tests.cases import named
from tests.worlds.study_world import TOPICS, topic_examples, topic_family

FAMILY = topic_family()
OUTPUT = FAMILY.output
# Of six released training examples the last two have no label.
EXAMPLES = [e if i < 4 else replace(e, expected={}) for i, e in enumerate(topic_examples(6, "train"))]
IDS = [example.id for example in EXAMPLES]


def answers(texts: dict[str, str]) -> TeacherAnswers:
    return TeacherAnswers.read(OUTPUT, "strong", "r1", texts)


@pytest.mark.parametrize(("teach", "expected"), [("answers", IDS[1:]), ("both", IDS[4:])])
def test_a_model_is_asked_about_rows_of_the_study_and_where_labels_count_about_those_without_one(teach, expected):
    assert [e.id for e in asked_of_teacher(OUTPUT, EXAMPLES, set(IDS[1:]), teach)] == expected


def test_an_answer_that_cannot_be_read_teaches_nothing() -> None:
    told = answers({IDS[0]: "It is MUSIC.", IDS[1]: "I would rather not say."})
    assert (told.values, told.n_unreadable) == ({IDS[0]: "music"}, 1)


@named(
    ("teach", "labels"),
    {
        "answers alone": ("answers", {IDS[1]: "music", IDS[4]: "music"}),
        "labels beside them": (
            "both",
            {IDS[0]: TOPICS[0], IDS[1]: "music", IDS[2]: TOPICS[2], IDS[3]: TOPICS[0], IDS[4]: "music"},
        ),
    },
)
def test_a_row_is_taught_with_its_answer_else_where_both_teach_with_its_label(teach, labels):
    told = answers({IDS[1]: "music", IDS[4]: "music"})
    rows = teaching_rows(FAMILY, told.teaching(OUTPUT, EXAMPLES, teach))
    assert {row.id: row.label for row in rows} == labels, "the last one has neither"


def test_equal_values_of_json_are_one_label_in_whichever_order_a_model_wrote_their_keys() -> None:
    family = topic_family(
        output={"field": "topic", "parser": "json", "schema": {"type": "object"}}, scorer={"exact_match": 1.0}
    )
    people = [replace(e, expected={"topic": {"name": "music", "sure": True}}) for e in EXAMPLES]
    told = TeacherAnswers.read(family.output, "strong", "r1", {IDS[0]: '{"sure": true, "name": "music"}'})
    rows = teaching_rows(family, told.teaching(family.output, people, "both"))
    assert len({row.label for row in rows}) == 1


def test_by_labels_a_row_without_one_teaches_nothing() -> None:
    assert [row.id for row in teaching_rows(FAMILY, EXAMPLES)] == IDS[:4]


def test_a_label_that_the_family_has_no_more_is_taught_by_no_row_and_shown_by_none() -> None:
    fewer = topic_family(output={"field": "topic", "parser": "label", "labels": list(TOPICS[1:])})
    assert {row.label for row in teaching_rows(fewer, EXAMPLES)} == set(TOPICS[1:])
    with pytest.raises(InvalidInput, match="shows no label of topics"):
        few_shot(fewer, EXAMPLES[0])
    assert few_shot(fewer, EXAMPLES[1]).output == TOPICS[1]


@named(
    ("texts", "n_rows", "says"),
    {
        "agreement": (
            {IDS[0]: TOPICS[0], IDS[1]: "music", IDS[4]: "music"},
            3,
            "Answers of strong to 3 released training examples taught the student. They agree with 1 of 2 labels of"
            " these.",
        ),
        "labels beside": (
            {IDS[4]: "music", IDS[5]: "?"},
            5,
            "Answers of strong to 1 released training example taught the student, and labels of 4 others. 1 answer"
            " could not be read.",
        ),
        "labels alone": ({}, 4, "Labels alone taught the student, and no answer of strong."),
    },
)
def test_it_is_said_what_taught_and_how_far_that_agrees_with_people(texts, n_rows, says):
    assert answers(texts).in_words(OUTPUT, EXAMPLES, n_rows=n_rows) == says


def test_one_of_several_good_labels_is_agreement() -> None:
    several = [replace(EXAMPLES[0], expected={"topic": ["physics", "music"]})]
    assert "agree with 1 of 1 label" in answers({IDS[0]: "music"}).in_words(OUTPUT, several, n_rows=1)


@named(
    ("taught", "says"),
    {
        "of before": ({}, "labels"),
        "labels": ({"n_rows": 320}, "labels of 320 examples"),
        "answers": (
            {"n_rows": 40, "n_answers": 40, "model": "strong", "revision": "r1"},
            "answers of strong (r1) to 40 examples",
        ),
        "both": (
            {"n_rows": 42, "n_answers": 2, "model": "strong", "revision": "r1"},
            "answers of strong (r1) to 2 examples and labels of 40 others",
        ),
    },
)
def test_a_students_own_record_says_what_taught_it(taught: dict[str, Any], says: str) -> None:
    assert teaching_in_words(taught) == says
