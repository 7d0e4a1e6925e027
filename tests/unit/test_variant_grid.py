"""Variants side by side: what the grid says of them, and what its page shows and never shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.family.variant import Variant
from optimizer.core.views.variant_grid import VariantGrid, as_record, variant_grid
from optimizer.runtime.wiring import grid_page
from tests.stores import NOW, variant

SHORT, LONG = variant("Topic of {{document}}:"), variant("Name the topic of this text: {{document}}")


def example(n: int, *, released: bool = True) -> Example:
    return Example(
        id=f"e{n}", family="topics", input={"document": f"secret text {n}"}, expected={"topic": "stars"}, split="dev",
        group=f"g{n}", released=released, origin="import", created_at=NOW,
    )  # fmt: skip


def answered(n: int, score: float | None, text: str | None, error: str | None = None) -> ExampleResult:
    return ExampleResult(example=f"e{n}", score=score, output=text, error=error, cost_usd=0.002, latency_ms=100.0)


def grid(*, released: bool = True) -> VariantGrid:
    """B wins on one, loses on none, got no answer on one."""
    first = [
        answered(0, 1.0, "stars"),
        answered(1, 0.0, "<b>cars</b>"),
        answered(2, 1.0, "stars"),
        answered(3, 1.0, "stars"),
    ]
    second = [
        answered(0, 1.0, "stars"),
        answered(1, 1.0, "stars"),
        answered(2, None, None, "timed out"),
        answered(3, 1.0, "Stars"),
    ]
    examples = [example(n, released=released) for n in range(4)]
    return variant_grid("topics", "dev", [SHORT, LONG], examples, [first, second], n_calls=8, spent_usd=0.016)


def test_each_is_scored_and_held_against_the_first_on_what_both_could_be_scored_on() -> None:
    a, b = grid().columns
    assert (a.letter, a.score, a.n_errors, a.beside) == ("A", 0.75, 0, None)
    assert (b.letter, b.score, b.n_scored, b.n_errors) == ("B", 1.0, 3, 1)
    assert b.beside is not None
    assert (b.beside.n, b.beside.wins, b.beside.ties, b.beside.losses) == (3, 1, 2, 0)
    assert b.beside.lift == pytest.approx(1 / 3)
    assert (b.usd_per_answer, b.p95_ms) == (pytest.approx(0.002), 100.0)


def test_rows_come_with_the_largest_difference_first_and_then_as_they_were() -> None:
    assert [row.example for row in grid().rows] == ["e1", "e2", "e3", "e0"]
    assert grid().n_different == 3, "the same score with another text differs, too"


def test_the_record_has_every_answer() -> None:
    record = as_record(grid())
    assert record["rows"][0]["answers"][0] == {"output": "<b>cars</b>", "score": 0.0, "error": None, "cost_usd": 0.002}
    assert (record["variants"][1]["lead"], record["variants"][1]["wins"], record["n_different"]) == (
        pytest.approx(1 / 3),
        1,
        3,
    )


def test_the_page_shows_every_answer_escaped_and_loads_nothing() -> None:
    page = grid_page(grid())
    for text in (
        "&lt;b&gt;cars&lt;/b&gt;",
        "secret text 3",
        "timed out",
        SHORT.id,
        LONG.id,
        "no evidence",
        "differ on 3 of 4 dev examples",
    ):
        assert text in page
    assert "<b>cars" not in page
    assert "http" not in page
    assert "<script" not in page


def test_text_that_nobody_released_stands_neither_on_the_page_nor_in_the_record() -> None:
    hidden = grid(released=False)
    assert "secret text" not in grid_page(hidden)
    assert "cars" not in grid_page(hidden)
    assert "not released" in grid_page(hidden)
    assert "timed out" not in grid_page(hidden), "an error may quote the answer"
    assert {answer["error"] for row in as_record(hidden)["rows"] for answer in row["answers"]} == {None}
    assert as_record(hidden)["rows"][0]["answers"][0]["output"] is None
    assert as_record(hidden)["rows"][0]["answers"][0]["score"] == 0.0


def test_the_same_prompt_with_other_settings_shows_what_differs() -> None:
    warmer = Variant.from_content({**SHORT.content(), "model": {**SHORT.model, "temperature": 0.7}})
    results = [[answered(0, 1.0, "stars")]] * 2
    page = grid_page(
        variant_grid("topics", "dev", [SHORT, warmer], [replace(example(0))], results, n_calls=1, spent_usd=None)
    )
    assert "+temperature: 0.7" in page
    assert "a model has no price" in page
