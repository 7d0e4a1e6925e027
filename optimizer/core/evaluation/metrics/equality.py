"""Whether an answer is the expected one, or a list has the expected items."""

from __future__ import annotations

from collections import Counter
from typing import Any

from optimizer.core.base.canonical import canonical_json
from optimizer.core.evaluation.metrics.words import answers_of
from optimizer.core.family.metrics import metric
from optimizer.core.family.parsers import fold_label


@metric(sees="answers", parsers=("label",), usual_for="label")
def label_match(wanted: Any, value: Any) -> float:
    """1 when the label is one of the expected ones, upper and lower case alike."""
    return float(fold_label(str(value)) in {fold_label(str(answer)) for answer in answers_of(wanted)})


@metric(sees="answers", usual_for="json")
def exact_match(wanted: Any, value: Any) -> float:
    """1 for equal content: texts without regard to case and white space, anything else as canonical JSON."""
    if isinstance(value, str):
        return float(fold_label(str(value)) in {fold_label(str(answer)) for answer in answers_of(wanted)})
    return float(canonical_json(value) == canonical_json(wanted))


@metric(sees="answers", parsers=("list",), usual_for="list")
def list_f1(wanted: Any, value: Any) -> float:
    """F1 of two lists as multisets, without regard to order, case and white space; two empty lists agree."""
    expected, answered = Counter(map(_item, answers_of(wanted))), Counter(map(_item, answers_of(value)))
    if not expected and not answered:
        return 1.0
    return 2 * (expected & answered).total() / (expected.total() + answered.total())


@metric(sees="answers", parsers=("json",))
def json_valid(wanted: Any, value: Any) -> float:
    """1 for every readable answer: an unreadable one has scored 0 before."""
    return 1.0


def _item(value: Any) -> str:
    return fold_label(value) if isinstance(value, str) else canonical_json(value).decode()
