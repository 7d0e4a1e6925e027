"""The page of what the command finds says plainly which bar is missed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimizer.core.search.cascade.records import TierRecords
from optimizer.core.statistics.noninferiority import exact_p

ROOT = Path(__file__).parents[2]
RESULT = json.loads((ROOT / "bench" / "results" / "commands.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    for name in [name for name in sys.modules if name.split(".")[0] in ("common", "commands", "typed", "cascade_logs")]:
        monkeypatch.delitem(sys.modules, name)


def records(gain: list[int]) -> TierRecords:
    """The cheap tier from its surest row on: 1 it alone is right, -1 the strong one alone, 0 both."""
    n = len(gain)
    score = np.column_stack([[float(g >= 0) for g in gain], [float(g <= 0) for g in gain]])
    cost, sure = np.column_stack([np.ones(n), np.full(n, 10.0)]), np.linspace(0.99, 0.01, n)
    return TierRecords(
        tiers=("gpt-4o-mini", "gpt-4o"),
        score=score,
        cost_usd=cost,
        latency_ms=cost,
        confidence=np.column_stack([sure, sure]),
        weight=np.ones(n),
    )


def test_a_bar_that_is_missed_is_told_with_the_most_that_the_holdout_lets_through() -> None:
    from pages import rendered

    def with_saved(ratio: float) -> str:
        cells = [
            {**cell, "ratio": ratio} if cell["case"] == "rlc_mmlu: saved, 0 where refused" else cell
            for cell in RESULT["cells"]
        ]
        return rendered("commands-measured", {**RESULT, "cells": cells})

    assert "**mmlu: not reached.**" not in with_saved(0.9)
    assert (
        "**mmlu: not reached.** 0.9 of what the core rule saves was the aim, and the command saves 0.890 of it."
        in with_saved(0.89)
    )


def test_a_loss_above_the_margin_in_more_draws_than_error_explains_misses_the_bar(capsys: Any) -> None:
    from commands import verdict
    from common import Cell

    def lost(share: float) -> Cell:
        return Cell(case="rlc_gsm8k: loss above the margin", ours=share, unit="", n=200)

    assert [verdict([lost(share)]) for share in (0.13, 0.14)] == [0, 1]
    assert "rlc_gsm8k: loss above the margin: 0.140 of 200 draws" in capsys.readouterr().out


def test_the_ceiling_is_the_boldest_threshold_that_the_holdout_does_not_reject() -> None:
    from typed.draws import Table

    held = records([0] * 60 + [-1] * 40)
    table = Table("any", pool=held, folder=Path("unused"))
    passes = max(kept for kept in range(101) if exact_p(100, 0, max(0, kept - 60), 0.05) <= 0.1)
    assert table._passing(held) == pytest.approx(1 - (100 + 10 * (100 - passes)) / 1000)
    assert 60 < passes < 66
    assert table._passing(held.with_confidence("gpt-4o-mini", np.full(100, np.nan))) == 0.0
