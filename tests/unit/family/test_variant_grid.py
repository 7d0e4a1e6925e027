"""Variants side by side: what the grid says of them, and what its page shows and never shows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from optimizer.adapters.reports.study_report import grid_page
from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.family.variant import Variant
from optimizer.core.views.variant_grid import VariantGrid, variant_grid
from tests.stores import NOW, variant

SHORT, LONG = variant("Topic of {{document}}:"), variant("Name the topic of this text: {{document}}")


def example(n: int, *, released: bool = True) -> Example:
    of = {"family": "topics", "split": "dev", "origin": "import", "created_at": NOW, "expected": {"topic": "stars"}}
    return Example(id=f"e{n}", group=f"g{n}", input={"document": f"secret text {n}"}, released=released, **of)


def answered(n: int, score: float | None, text: str | None, error: str | None = None) -> ExampleResult:
    return ExampleResult(example=f"e{n}", score=score, output=text, error=error, cost_usd=0.002, latency_ms=100.0)


def grid(*, released: bool = True) -> VariantGrid:
    """B wins on one, loses on none, got no answer on one."""
    scores, texts = (1.0, 0.0, 1.0, 1.0), ("stars", "<b>cars</b>", "stars", "stars")
    first = [answered(n, score, text) for n, (score, text) in enumerate(zip(scores, texts, strict=True))]
    second = [answered(n, 1.0, text) for n, text in enumerate(("stars", "stars", "", "Stars"))]
    second[2] = answered(2, None, None, "timed out")
    examples = [example(n, released=released) for n in range(4)]
    return side_by_side([SHORT, LONG], examples, [first, second])


def side_by_side(
    variants: Sequence[Variant],
    examples: Sequence[Example],
    results: Sequence[Sequence[ExampleResult]],
    spent_usd: float | None = 0.016,
) -> VariantGrid:
    """``results``: by variant."""
    answered = [(one, [of[n] for of in results]) for n, one in enumerate(examples)]
    return variant_grid("topics", "dev", [one.id for one in variants], answered, n_calls=8, spent_usd=spent_usd)


def page_of(grid: VariantGrid) -> str:
    return grid_page(grid, [SHORT, LONG])


def test_each_is_scored_and_held_against_the_first_on_what_both_could_be_scored_on() -> None:
    a, b = grid()["variants"]
    assert (a["letter"], a["score"], a["n_errors"], "lead" in a) == ("A", 0.75, 0, False)
    assert (b["letter"], b["score"], b["n_scored"], b["n_errors"]) == ("B", 1.0, 3, 1)
    assert (b["wins"], b["ties"], b["losses"]) == (1, 2, 0)
    assert b["lead"] == pytest.approx(1 / 3)
    assert (b["usd_per_answer"], b["p95_ms"]) == (pytest.approx(0.002), None), "three are too few for a p95"


def test_five_scores_that_are_alike_leave_open_what_five_cannot_tell() -> None:
    results = [[answered(n, 1.0, "stars") for n in range(5)]] * 2
    a, b = side_by_side([SHORT, LONG], [example(n) for n in range(5)], results)["variants"]
    assert (round(a["score_low"], 2), a["score_high"]) == (0.51, 1.0)
    assert (b["lead"], round(b["lead_low"], 2), round(b["lead_high"], 2)) == (0.0, -0.44, 0.44)


def test_rows_come_with_the_largest_difference_first_and_then_as_they_were() -> None:
    assert [row["example"] for row in grid()["rows"]] == ["e1", "e2", "e3", "e0"]
    assert grid()["n_different"] == 3, "the same score with another text differs, too"


def test_the_grid_has_every_answer() -> None:
    answer = grid()["rows"][0]["answers"][0]
    assert answer == {"output": "<b>cars</b>", "score": 0.0, "error": None, "cost_usd": 0.002}


def test_the_page_shows_every_answer_escaped_and_loads_nothing() -> None:
    page = page_of(grid())
    shown = ("&lt;b&gt;cars&lt;/b&gt;", "secret text 3", "timed out", "no evidence", "differ on 3 of 4 dev examples")
    for text in (*shown, SHORT.id, LONG.id):
        assert text in page
    assert "<b>cars" not in page
    assert "http" not in page
    assert "<script" not in page


def test_text_that_nobody_released_stands_neither_on_the_page_nor_in_the_grid() -> None:
    hidden = grid(released=False)
    page = page_of(hidden)
    assert "secret text" not in page
    assert "cars" not in page
    assert "not released" in page
    assert "timed out" not in page, "an error may quote the answer"
    assert {answer["error"] for row in hidden["rows"] for answer in row["answers"]} == {None}
    first = hidden["rows"][0]
    assert (first["input"], first["expected"]) == (None, None)
    assert (first["answers"][0]["output"], first["answers"][0]["score"]) == (None, 0.0)


def test_the_same_prompt_with_other_settings_shows_what_differs() -> None:
    warmer = Variant.from_content({**SHORT.content(), "model": {**SHORT.model, "temperature": 0.7}})
    results = [[answered(0, 1.0, "stars")]] * 2
    page = grid_page(side_by_side([SHORT, warmer], [example(0)], results, spent_usd=None), [SHORT, warmer])
    assert "+temperature: 0.7" in page
    assert "at an unknown cost: a model has no price." in page
    assert "$" not in page, "no price of an answer, either"
