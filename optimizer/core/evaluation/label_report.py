"""How good a family of labels is, label by label: precision, recall, F1, and which label is taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.values import ExampleResult
from optimizer.core.family.rendering import parse_output, right_labels
from optimizer.core.family.settings import Output

NO_LABEL = "(no label)"  # the answer held none of the family's labels
N_CONFUSED = 5
LABELS = "labels"  # a finding of a study: variant -> LabelReport on dev


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFigures:
    """The figures of one label: shares in [0, 1], None where the label was never given or never expected."""

    label: str
    n_expected: int
    n_given: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReport:
    """``confusion``: expected label > given label > number of examples;
    a wrong answer without a label counts under ``NO_LABEL``.
    """

    figures: Sequence[LabelFigures]
    confusion: Mapping[str, Mapping[str, int]]
    macro_f1: float | None  # mean F1 over labels that were expected
    n: int


def confusions(confusion: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, int]]:
    """(expected, given, number) of the most frequent mistakes, the most frequent first."""
    wrong = [
        (expected, answer, n) for expected, row in confusion.items() for answer, n in row.items() if expected != answer
    ]
    return sorted(wrong, key=lambda pair: (-pair[2], pair[0], pair[1]))[:N_CONFUSED]


def read_labels(
    output: Output, expected: Mapping[str, Mapping[str, Any]], results: Iterable[ExampleResult]
) -> LabelReport | None:
    """The labels of the examples that were answered; None where none of them expects a label.

    Of several right labels the one that was answered is expected, else the first.

    Args:
        expected: example -> its expected output, which examples that a judge scores may lack.
    """
    if output.parser != "label":
        return None
    pairs: list[tuple[str, str | None]] = []
    for result in results:
        right = right_labels(output, expected.get(result.example, {}))
        if right and result.output is not None:
            answer = parse_output(output, result.output).value
            pairs.append((str(answer if answer in right else right[0]), answer))
    return label_report(output.labels or (), pairs) if pairs else None


def label_report(labels: Sequence[str], pairs: Iterable[tuple[str, str | None]]) -> LabelReport:
    """Counts (expected, given) pairs; given is None where the answer held no label.

    Precision = right / given, recall = right / expected, F1 = 2 right / (given + expected): van Rijsbergen (1979),
    Information Retrieval, ch. 7.
    """
    confusion: dict[str, Counter[str]] = {label: Counter() for label in labels}
    for expected, answer in pairs:
        confusion.setdefault(expected, Counter())[answer if answer is not None else NO_LABEL] += 1
    given_in_all = Counter[str]()
    for row in confusion.values():
        given_in_all.update(row)
    figures = [
        (
            LabelFigures(
                label=label,
                n_expected=row.total(),
                n_given=given_in_all[label],
                precision=row[label] / given_in_all[label] if given_in_all[label] else None,
                recall=row[label] / row.total() if row.total() else None,
                f1=2 * row[label] / (given_in_all[label] + row.total()) if given_in_all[label] + row.total() else None,
            )
        )
        for label, row in confusion.items()
    ]
    expected_ones = [f.f1 for f in figures if f.n_expected and f.f1 is not None]
    return LabelReport(
        figures=figures,
        confusion={label: dict(row) for label, row in confusion.items()},
        macro_f1=sum(expected_ones) / len(expected_ones) if expected_ones else None,
        n=sum(row.total() for row in confusion.values()),
    )
