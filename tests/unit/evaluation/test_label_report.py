"""Precision, recall, F1 and the confusion of labels, against cases worked out by hand and against scikit-learn."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from optimizer.core.base.values import ExampleResult
from optimizer.core.evaluation.label_report import NO_LABEL, confusions, label_report, read_labels
from optimizer.core.family.settings import Output

LABELS = ("card", "refund", "other")


def test_each_label_has_its_own_figures() -> None:
    report = label_report(LABELS, [("card", "card"), ("card", "refund"), ("refund", "refund"), ("refund", None)])
    card, refund, other = report.figures
    assert (card.precision, card.recall, card.f1) == (1.0, 0.5, pytest.approx(2 / 3))
    assert (refund.precision, refund.recall, refund.f1) == (0.5, 0.5, 0.5)
    assert (other.n_expected, other.n_given, other.precision, other.recall, other.f1) == (0, 0, None, None, None)
    assert report.macro_f1 == pytest.approx((2 / 3 + 0.5) / 2)


def test_an_answer_without_a_label_is_a_mistake_of_its_own() -> None:
    report = label_report(LABELS, [("card", None), ("card", None), ("refund", "card")])
    assert confusions(report.confusion) == [("card", NO_LABEL, 2), ("refund", "card", 1)]
    assert report.figures[0].recall == 0.0


def test_without_examples_nothing_is_known() -> None:
    report = label_report(LABELS, [])
    assert (report.n, report.macro_f1, confusions(report.confusion)) == (0, None, [])


def read(expected: dict[str, dict[str, object]], **answers: str) -> dict[str, dict[str, int]] | None:
    results = [ExampleResult(example=id, score=1.0, output=text) for id, text in answers.items()]
    report = read_labels(Output(field="topic", parser="label", labels=LABELS), expected, results)
    return None if report is None else {label: dict(row) for label, row in report.confusion.items() if row}


def test_of_several_right_labels_the_one_that_was_answered_is_expected_else_the_first() -> None:
    expected = {id: {"topic": ["Refund", "card"]} for id in ("a", "b", "c")}
    assert read(expected, a="card", b="refund", c="other") == {"card": {"card": 1}, "refund": {"refund": 1, "other": 1}}


def test_examples_that_expect_no_label_are_left_out() -> None:
    assert read({"a": {"topic": "card"}, "b": {}}, a="card", b="card") == {"card": {"card": 1}}
    assert read({"a": {}, "b": {"topic": None}}, a="card", b="card") is None


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40))
def test_the_figures_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        *zip(*pairs, strict=True), labels=LABELS, zero_division=0.0
    )
    for n, ours in enumerate(label_report(LABELS, pairs).figures):
        assert (ours.precision or 0.0, ours.recall or 0.0, ours.f1 or 0.0) == pytest.approx(
            (precision[n], recall[n], f1[n])
        )
        assert ours.n_expected == support[n]
