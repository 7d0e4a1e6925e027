"""The draws of bench/commands.py: their pieces, on a small made-up table."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from optimizer.core.search.cascade.records import TierRecords

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    for name in [name for name in sys.modules if name == "typed" or name.startswith(("typed.", "cascade_logs"))]:
        monkeypatch.delitem(sys.modules, name)


def pool(n: int = 240) -> TierRecords:
    """The cheap tier is right on nine of ten and sure of itself just there."""
    wrong = np.arange(n) % 10 == 0
    score = np.column_stack([np.where(wrong, 0.0, 1.0), np.ones(n)])
    confidence = np.column_stack([np.where(wrong, 0.3, 0.9) + np.arange(n) / (100 * n), np.ones(n)])
    return TierRecords(
        tiers=("gpt-4o-mini", "gpt-4o"),
        score=score,
        confidence=np.minimum(confidence, 1.0),
        weight=np.ones(n),
        latency_ms=np.ones((n, 2)),
        cost_usd=np.tile((0.0001, 0.001), (n, 1)),
    )


def test_a_draw_is_searched_by_the_jobs_and_judged_on_the_whole_table_and_not_done_again(
    bench: None, tmp_path: Path
) -> None:
    from typed.draws import Table

    table = Table("made up", pool=pool(), folder=tmp_path)
    assert table.draw(0, typed=False)
    (found,) = table.done()
    assert found.winner is not None, found
    assert found.saved == pytest.approx(0.8, abs=0.1)
    assert found.lost <= 0.05
    assert found.core_saved == pytest.approx(found.saved, abs=0.15)
    assert found.n_proposed >= found.n_tested >= 1
    assert not table.draw(0, typed=False)


def test_the_bars_name_what_is_missed(bench: None, capsys: pytest.CaptureFixture[str]) -> None:
    from commands import cells_of, verdict
    from typed.draws import Draw

    def draw(number: int, saved: float, lost: float) -> Draw:
        return Draw(
            number=number,
            outcome="nominated",
            winner=(0.9,),
            saved=saved,
            lost=lost,
            core_saved=0.5,
            core_lost=0.0,
            core_saved_all=0.5,
            boldest_saved=saved,
            passing_saved=saved,
            n_proposed=3,
            n_tested=2,
            n_holdout=50,
            typed_same=number == 0 or None,
        )

    assert verdict(cells_of("rlc_mmlu", [draw(i, 0.48, 0.01) for i in range(20)])) == 0
    assert verdict(cells_of("rlc_mmlu", [draw(i, 0.3, 0.01) for i in range(20)])) == 1
    assert "0.60 of the core rule's" in capsys.readouterr().out
    assert verdict(cells_of("rlc_gsm8k", [draw(i, 0.5, 0.06 if i < 6 else 0.0) for i in range(20)])) == 1
    assert "loss above the margin: 0.300" in capsys.readouterr().out


def test_the_page_has_a_row_per_table(bench: None) -> None:
    from dataclasses import asdict

    from commands import cells_of
    from pages import rendered
    from typed.draws import Draw

    one = Draw(
        number=0,
        outcome="no_improvement",
        winner=None,
        saved=0.0,
        lost=0.0,
        core_saved=0.0,
        core_lost=0.0,
        core_saved_all=0.0,
        boldest_saved=0.0,
        passing_saved=0.0,
        n_proposed=0,
        n_tested=0,
        n_holdout=40,
    )
    text = rendered(
        "commands-measured",
        {"commit": "abc", "machine": "here", "cells": [asdict(cell) for cell in cells_of("rlc_truthfulqa", [one])]},
    )
    assert "| truthfulqa | 1 | 0% | 0.000 (0.000 to 0.000) | 0.000 | – |" in text
