"""Variants side by side on the same examples: every answer, its score and its cost,
and how each does against the first.

Values in, a grid out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.values import ExampleResult, Interval, mean_score, p95_ms
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.comparison import TIE, Comparison, bootstrap_interval, compare_scores
from optimizer.core.family.variant import Variant

SEED = 0
LETTERS = "ABCDEFGHIJ"
MOST_VARIANTS = len(LETTERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class GridColumn:
    """One variant.

    Scores in [0, 1], dollars per answer, milliseconds; None where nothing was measured, and of the first beside itself.
    """

    letter: str
    variant: Variant
    n_scored: int
    n_errors: int
    score: float | None
    interval: Interval | None  # 95 %, of the score
    usd_per_answer: float
    p95_ms: float | None  # of fresh calls
    beside: Comparison | None = None  # against the first, on examples where both were scored


@dataclass(frozen=True, slots=True, kw_only=True)
class GridRow:
    """One example with an answer per column.

    ``is_shown`` False: a person has not released its text, so only scores may be seen.
    """

    example: str
    input: Mapping[str, Any]
    expected: Mapping[str, Any]
    results: Sequence[ExampleResult]
    is_shown: bool

    def shown(self, text: str | None) -> str | None:
        """An answer or an error, which may quote one."""
        return text if self.is_shown else None

    @property
    def spread(self) -> float:
        """Between the best and the worst score; an answer without one counts as 0 beside one that has one."""
        scores = [r.score or 0.0 for r in self.results]
        return max(scores) - min(scores)

    @property
    def differs(self) -> bool:
        return self.spread > TIE or len({r.output for r in self.results}) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantGrid:
    """``rows``: where scores differ most first, else in the order of the examples.

    ``n_calls`` and ``spent_usd`` (None: unknown price) of this comparison.
    """

    family: str
    split: str
    columns: Sequence[GridColumn]
    rows: Sequence[GridRow]
    n_calls: int
    spent_usd: float | None

    @property
    def n_different(self) -> int:
        return sum(row.differs for row in self.rows)


def variant_grid(
    family: str,
    split: str,
    variants: Sequence[Variant],
    examples: Sequence[Example],
    results: Sequence[Sequence[ExampleResult]],
    *,
    n_calls: int,
    spent_usd: float | None,
) -> VariantGrid:
    """``results[i][j]`` is what ``variants[i]`` answered to ``examples[j]``."""
    columns = [_column(i, variant, results[i], results[0]) for i, variant in enumerate(variants)]
    rows = [
        GridRow(
            example=e.id, input=e.input, expected=e.expected, results=[of[j] for of in results], is_shown=e.released
        )
        for j, e in enumerate(examples)
    ]
    ordered = sorted(rows, key=lambda row: (-row.spread, not row.differs))  # stable: else as they came
    return VariantGrid(family=family, split=split, columns=columns, rows=ordered, n_calls=n_calls, spent_usd=spent_usd)


def _column(
    place: int, variant: Variant, results: Sequence[ExampleResult], first: Sequence[ExampleResult]
) -> GridColumn:
    scores = [r.score for r in results if r.score is not None]
    pairs = [
        (a.score, b.score) for a, b in zip(first, results, strict=True) if a.score is not None and b.score is not None
    ]
    beside = compare_scores([a for a, _ in pairs], [b for _, b in pairs], seed=SEED) if place and pairs else None
    return GridColumn(
        letter=LETTERS[place],
        variant=variant,
        n_scored=len(scores),
        n_errors=sum(r.error is not None for r in results),
        score=mean_score(results),
        interval=bootstrap_interval(scores, seed=SEED) if scores else None,
        usd_per_answer=sum(r.cost_usd for r in results) / len(results),
        p95_ms=p95_ms(results),
        beside=beside,
    )


def as_record(grid: VariantGrid) -> dict[str, Any]:
    """Plain values, without the text of what a person has not released."""
    return {
        "family": grid.family,
        "split": grid.split,
        "n": len(grid.rows),
        "n_different": grid.n_different,
        "n_calls": grid.n_calls,
        "spent_usd": grid.spent_usd,
        "variants": [_column_record(c) for c in grid.columns],
        "rows": [_row_record(r) for r in grid.rows],
    }


def _column_record(column: GridColumn) -> dict[str, Any]:
    names = ("letter", "n_scored", "n_errors", "score", "usd_per_answer", "p95_ms")
    values = {"variant": column.variant.id, **{name: getattr(column, name) for name in names}}
    if column.interval is not None:
        values |= {"score_low": column.interval.lower, "score_high": column.interval.upper}
    if (comparison := column.beside) is not None:
        values |= {
            "lead": comparison.lift,
            "lead_low": comparison.interval.lower,
            "lead_high": comparison.interval.upper,
        }
        values |= {"wins": comparison.wins, "ties": comparison.ties, "losses": comparison.losses}
    return values


def _row_record(row: GridRow) -> dict[str, Any]:
    shown = (
        {"input": dict(row.input), "expected": dict(row.expected)}
        if row.is_shown
        else {"input": None, "expected": None}
    )
    answers = [
        {"output": row.shown(r.output), "score": r.score, "error": row.shown(r.error), "cost_usd": r.cost_usd}
        for r in row.results
    ]
    return {"example": row.example, **shown, "answers": answers}
