"""What a student is taught from, and what it says: without the numerical library that ``student.py`` loads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.core.base.canonical import digest
from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.dataset.examples import Example, text_without_group
from optimizer.core.dataset.near_duplicates import firsts_of, shingles_of
from optimizer.core.evaluation.trivial_baselines import MOST_UNSEEN, NO_LABELS
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import expected_text, input_text

N_FOLDS = 5
LEAST_ROWS = 40
MOST_ROWS = 5000  # of a family's released training examples, the ones whose hash comes first


@dataclass(frozen=True, slots=True, kw_only=True)
class TeachingRow:
    """A released training example. ``unit``: who said it, its group where nobody knows.

    Rows of one ``group`` are never on both sides of a fold. ``weight``: the inverse of the chance with which the
    request came to teach, at least 1.
    """

    id: str
    text: str
    label: str
    group: str
    unit: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentAnswer:
    """``confidence`` in [0, 1]: how likely the label is right, calibrated on rows that taught it nothing.

    ``unknown``: the share of the text's words that it does not know; None where there is no word, or nobody counted.
    """

    label: str
    confidence: float
    unknown: float | None = None


def teaching_rows(
    family: Family, examples: Sequence[Example], weights: Mapping[str, float] | None = None
) -> list[TeachingRow]:
    """``weights``: by example where it is not 1. Raises DatasetTooSmall where their answers are no labels."""
    labels = [expected_text(family.output, example.expected) for example in examples]
    n_single = sum(n == 1 for n in Counter(labels).values())
    if family.output.parser != "label" and n_single > MOST_UNSEEN * len(labels):
        raise DatasetTooSmall(
            f"A student gives answers that it has seen, and {n_single} of {len(labels)} released training examples have"
            f" one of their own: {NO_LABELS}."
        )
    # Near-duplicates that were stored before they shared a group have one each, which no import gave them.
    firsts = firsts_of([shingles_of(example.input) for example in examples])
    groups = [
        example.group if text_without_group(example) is None else examples[first].group
        for example, first in zip(examples, firsts, strict=True)
    ]
    return [
        TeachingRow(
            id=example.id,
            text=input_text(example.input),
            label=label,
            group=group,
            unit=example.unit_hmac or group,
            weight=(weights or {}).get(example.id, 1.0),
        )
        for example, label, group in zip(examples, labels, groups, strict=True)
    ]


def fold_of(groups: Sequence[str]) -> list[int]:
    """The fold of each row: groups in the order of their hash, each into the fold that is smallest so far."""
    size = [0] * N_FOLDS
    n_rows: dict[str, int] = {}
    for group in groups:
        n_rows[group] = n_rows.get(group, 0) + 1
    chosen: dict[str, int] = {}
    for group in sorted(n_rows, key=lambda group: digest(group.encode(errors="surrogatepass"))):
        chosen[group] = size.index(min(size))
        size[chosen[group]] += n_rows[group]
    return [chosen[group] for group in groups]
