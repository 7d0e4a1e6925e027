"""Features of requests, answers and content: what is found in a text, and that every text has them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from optimizer.content.core.policy import learned_knob
from optimizer.content.core.policy.learned_knob import text_statistics
from optimizer.core.predictor import answer_features as answers, request_features as requests
from optimizer.core.predictor.answer_features import agreement, answer_features
from optimizer.core.predictor.parts import count_pieces
from optimizer.core.predictor.request_features import request_features

texts = st.text(max_size=300)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param("How do I change a tyre?", "request.how", id="how"),
        pytest.param("Tell me why leaves fall", "request.why", id="why"),
        pytest.param("Who wrote Faust?", "request.fact", id="fact"),
        pytest.param("Is water wet?", "request.yes_or_no", id="yes or no"),
        pytest.param("Explain entropy.", "request.command", id="command"),
        pytest.param("Mend this: def f(x): return x", "request.code", id="code"),
        pytest.param("3 + 4 = ?", "request.mathematics", id="mathematics"),
        pytest.param("Take 12 of 40", "request.log_numbers", id="numbers"),
        pytest.param("Choose:\nA. one\nB. two", "request.log_choices", id="choices"),
        pytest.param("do it with that thing", "request.ambiguity", id="ambiguity"),
        pytest.param("in the Treaty of Westphalia", "request.specificity", id="specificity"),
        pytest.param("which is not true", "request.negation", id="negation"),
        pytest.param("Größe", "request.other_letters", id="other letters"),
    ],
)
def test_a_request_s_feature_is_found_where_it_is_and_not_in_plain_words(text, name):
    assert request_features(text)[name] > 0
    assert request_features("people walked home")[name] == 0


@given(texts)
def test_every_request_has_every_feature_and_all_are_finite(text):
    found = request_features(text)
    assert tuple(found) == tuple(requests.FEATURES)
    assert all(math.isfinite(value) for value in found.values())


@given(texts, st.none() | st.floats(-50, 0), st.none() | texts, st.none() | st.floats(0, 1))
def test_every_answer_has_every_feature_finite_or_not_measured(text, log_probability, second, confidence):
    found = answer_features(text, log_probability=log_probability, second=second, confidence=confidence)
    assert tuple(found) == tuple(answers.FEATURES)
    assert all(value is None or math.isfinite(value) for value in found.values())


def test_what_a_provider_did_not_give_is_not_measured_rather_than_zero():
    found = answer_features("Paris.")
    assert [
        found[f"answer.{name}"]
        for name in ("log_probability_mean", "log_probability_min", "confidence_logit", "agreement")
    ] == [None] * 4
    assert found["answer.confidence_given"] == 0


def test_an_issue_that_was_looked_for_and_not_found_is_zero_and_one_not_looked_for_is_absent():
    found = answer_features("Paris.", issues={"factual_errors": True, "incomplete_coverage": False})
    assert (found["issue.factual_errors"], found["issue.incomplete_coverage"]) == (1.0, 0.0)
    assert "issue.tool_results_ignored" not in found


@pytest.mark.parametrize(
    "text",
    [
        "I couldn’t find it.",
        "I do not know.",
        "Sorry, no results were found",
        "As an AI I must decline",
        "I'm not able to answer",
    ],
)
def test_a_refusal_is_recognised(text):
    assert answer_features(text)["answer.refusal"] == 1
    assert answer_features("The lake is found in Peru.")["answer.refusal"] == 0


def test_agreement_counts_words_and_numbers_that_both_say():
    assert agreement("It is 42", "it is 42!") == 1
    assert agreement("It is 42", "it is 43") == pytest.approx(2 / 3)
    assert agreement("yes", "no") == 0
    assert agreement("", "") == 1


@given(texts, texts)
def test_agreement_takes_no_side(one, other):
    assert agreement(one, other) == agreement(other, one)
    assert 0 <= agreement(one, other) <= 1


@given(texts, texts)
def test_text_statistics_have_the_same_names_for_every_text_and_are_finite(text, title):
    found = text_statistics(text, title)
    assert found.keys() == text_statistics("").keys()
    assert all(math.isfinite(value) for value in found.values())


def test_a_title_that_the_text_keeps_to_is_covered():
    found = text_statistics("Old beer washes hair.", "Uses for old beer?")
    assert found["title.covered"] == pytest.approx(2 / 3)  # uses, old, beer
    assert text_statistics("Nothing of the kind.", "Uses for old beer?")["title.covered"] == 0


@pytest.mark.parametrize("text", ["." * 200_000 + "x", "\n" * 200_000, "a'" * 100_000, "def " * 50_000, "“" * 200_000])
def test_a_long_text_costs_no_more_than_its_beginning(text):
    longer = {"request.log_words", "request.log_chars"}
    found, of_beginning = request_features(text), request_features(text[: requests.READ_CHARS])
    assert {name: value for name, value in found.items() if name not in longer} == {
        name: value for name, value in of_beginning.items() if name not in longer
    }
    assert answer_features(text)["answer.log_words"] == answer_features(text[: answers.READ_CHARS])["answer.log_words"]
    assert text_statistics(text)["text.log_words"] == text_statistics(text[: learned_knob.READ_CHARS])["text.log_words"]


def test_runs_of_characters_are_cut_as_scikit_learn_cuts_them():
    assert count_pieces("Ab  a", "char", 1, 2, True) == {"a": 2, "b": 1, " ": 1, "ab": 1, "b ": 1, " a": 1}
    words = ("so", "we", "go", "on", "so we", "we go", "go on")
    assert count_pieces("so we go on", "word", 1, 2, False) == dict.fromkeys(words, 1)
    assert count_pieces("high school", "value", 1, 1, True) == {"high school": 1}
