"""What a student is taught from, and what it says: without the numerical library that ``student.py`` loads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.core.base.canonical import digest

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
