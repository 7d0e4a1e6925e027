"""Variants side by side on the same examples: every answer, its score and its cost,
and how each does against the first.

Values in, a grid out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired

from typing_extensions import TypedDict

from optimizer.core.base.answers import Json, Text
from optimizer.core.base.values import ExampleResult, mean_score, p95_ms
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.comparison import TIE
from optimizer.core.statistics.interval import mean_score_interval

LETTERS = "ABCDEFGHIJ"
MOST_VARIANTS = len(LETTERS)


class GridColumn(TypedDict):
    """One variant.

    Scores in [0, 1], dollars per answer, milliseconds of fresh calls; None where nothing was measured. `score_low` to
    `score_high`, `lead_low` to `lead_high`: 95 %, wide where there are few. `lead` to `losses`: against the first, on
    examples where both were scored.
    """

    letter: str
    variant: str
    n_scored: int
    n_errors: int
    score: float | None
    score_low: NotRequired[float]
    score_high: NotRequired[float]
    lead: NotRequired[float]
    lead_low: NotRequired[float]
    lead_high: NotRequired[float]
    wins: NotRequired[int]
    ties: NotRequired[int]
    losses: NotRequired[int]
    usd_per_answer: float
    p95_ms: float | None


class GridAnswer(TypedDict):
    """`error` may quote an answer."""

    output: Text[str | None]
    score: float | None
    error: Text[str | None]
    cost_usd: float


class GridRow(TypedDict):
    """One example with an answer per column; its texts are null where no person has released them."""

    example: str
    input: Text[Mapping[str, Json] | None]
    expected: Text[Mapping[str, Json] | None]
    answers: Sequence[GridAnswer]


class VariantGrid(TypedDict):
    """`rows`: where scores differ most first, else in the order of the examples; the first `n_different` differ.
    `n_gone`: examples left out, since a text was deleted or the family's file asks otherwise by now. `n_calls` and
    `spent_usd` (null: unknown price) of this comparison. While it runs, `variants` and a row's answers are the first
    ones.
    """

    family: str
    split: str
    n: int
    n_gone: int
    n_different: int
    n_calls: int
    spent_usd: float | None
    variants: Sequence[GridColumn]
    rows: Sequence[GridRow]


def variant_grid(
    family: str,
    split: str,
    variants: Sequence[str],
    answered: Sequence[tuple[Example, Sequence[ExampleResult]]],
    *,
    n_gone: int = 0,
    n_calls: int,
    spent_usd: float | None,
) -> VariantGrid:
    """``answered``: at least one example, each with a result of each of ``variants``, which are ids; of a run that goes
    on, of the first of them.
    """
    # Stable: else as they came.
    ordered = sorted(answered, key=lambda one: (-_spread(one[1]), not _differs(one[1])))
    return VariantGrid(
        family=family,
        split=split,
        n=len(answered),
        n_gone=n_gone,
        n_different=sum(_differs(results) for _, results in answered),
        n_calls=n_calls,
        spent_usd=spent_usd,
        variants=[
            _column(place, id, [own[place] for own in results], [own[0] for own in results])
            for place, id in enumerate(variants)
            if (results := [own for _, own in answered if len(own) > place])
        ],
        rows=[_row(example, results) for example, results in ordered],
    )


def score_spread(scores: Sequence[float | None]) -> float:
    """Between the best and the worst score; an answer without one counts as 0 beside one that has one."""
    known = [score or 0.0 for score in scores]
    return max(known) - min(known)


def _spread(results: Sequence[ExampleResult]) -> float:
    spread = score_spread([r.score for r in results])
    return spread if spread > TIE else 0.0


def _differs(results: Sequence[ExampleResult]) -> bool:
    return _spread(results) > 0 or len({r.output for r in results}) > 1


def _column(place: int, variant: str, results: Sequence[ExampleResult], first: Sequence[ExampleResult]) -> GridColumn:
    scores = [r.score for r in results if r.score is not None]
    column = GridColumn(
        letter=LETTERS[place],
        variant=variant,
        n_scored=len(scores),
        n_errors=sum(r.error is not None for r in results),
        score=mean_score(results),
        usd_per_answer=sum(r.cost_usd for r in results) / len(results),
        p95_ms=p95_ms(results),
    )
    if (interval := mean_score_interval(scores)) is not None:
        column |= {"score_low": interval.lower, "score_high": interval.upper}
    leads = [
        b.score - a.score for a, b in zip(first, results, strict=True) if a.score is not None and b.score is not None
    ]
    # From -1 to 1, so they have the interval of scores that are half as far apart.
    if place and (interval := mean_score_interval([(1 + lead) / 2 for lead in leads])) is not None:
        wins, losses = sum(lead > TIE for lead in leads), sum(lead < -TIE for lead in leads)
        column |= {
            "lead": sum(leads) / len(leads),
            "lead_low": 2 * interval.lower - 1,
            "lead_high": 2 * interval.upper - 1,
            "wins": wins,
            "ties": len(leads) - wins - losses,
            "losses": losses,
        }
    return column


def _row(example: Example, results: Sequence[ExampleResult]) -> GridRow:
    is_shown = example.released
    return GridRow(
        example=example.id,
        input=example.input if is_shown else None,
        expected=example.expected if is_shown else None,
        answers=[
            GridAnswer(
                output=r.output if is_shown else None,
                score=r.score,
                error=r.error if is_shown else None,
                cost_usd=r.cost_usd,
            )
            for r in results
        ],
    )
