"""What `detent study run` gains where a student may answer: its confirmed winner beside the base, on held-out rows.

    python bench/student_gain.py [--families intent_routing document_analysis] [--strategy replay] [--rows 200]

The rule, of 2026-11-26: in a home of its own a family as it is shipped, whose tiers are student and embedded model;
N_IMPORTED train rows of DETENT_SHARED, drawn by seed 1, imported as curated; then `detent study run` with 1,000 calls
at most, which draws dev rows and a sealed holdout of 100 from them. The base is the one that serves, which of the
family's three was the best in bench/families.py. Both then answer the same dev rows of DETENT_SHARED by `POST
/v1/chat/completions`, of which none was imported. The embedded model costs nothing: its measured tokens are told at
gpt-4o-mini's list price. The bar: the winner is confirmed, right at least .20 more often with an interval above 0, and
cheaper. Without `--strategy` the study is the default one, which takes the 1,000 calls; `replay` took 701.

Writes bench/results/student_gain.json after each family, beside what it has of the other; exits 1 where a bar is
missed.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from time import monotonic
from typing import Any

from common import SHARED, Cell, beside, cell, data_of, measured_before, options_of, write_result
from fastapi.testclient import TestClient
from lifts.homes import HomeModel, family_in, make_home, rows_of
from lifts.plan import PLAN
from typed.command import typed

from api.gateway.app import create_gateway
from optimizer.core.evaluation.comparison import bootstrap_interval
from optimizer.core.family.family import Family
from optimizer.host.config import load_settings
from optimizer.runtime import wiring

DATA = SHARED / "data"
FAMILIES = ("intent_routing", "document_analysis")
N_IMPORTED, N_CALLS, GAIN = 600, 1000, 0.20
PRICED = {"embedded": {"provider": "embedded", "price": {"input_usd_per_mtok": 0.15, "output_usd_per_mtok": 0.6}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredRow:
    """One held-out row: its score in [0, 1], dollars, milliseconds that a user waited, and the tier that answered."""

    score: float
    cost_usd: float
    latency_ms: float
    tier: str


def main() -> int:
    options = options_of(__doc__, families=list(FAMILIES), strategy=str, rows=200)
    data_of()
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    others = tuple(f"{name}, " for name in FAMILIES if name not in options.families)
    cells, is_held = measured_before("student_gain", others), True
    for name in options.families:
        with tempfile.TemporaryDirectory() as folder:
            of_family, holds = gained(Path(folder), name, options.strategy, options.rows)
        cells, is_held = [*cells, *of_family], is_held and holds
        write_result("student_gain", cells)
    return 0 if is_held else 1


def gained(home: Path, name: str, strategy: str | None, n_rows: int) -> tuple[list[Cell], bool]:
    """The cells of a family, and whether its bar is held."""
    plan = PLAN[name]
    make_home(home, name, plan, DATA, HomeModel())
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "models.yaml").write_text(json.dumps(PRICED), encoding="utf-8")
    family = family_in(home, name)
    train = rows_of(DATA, name, "train", plan, family)
    imported = random.Random(f"student gain {name} 1").sample(train, N_IMPORTED)
    lines = [json.dumps(row, ensure_ascii=False) for row in imported]
    (home / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    typed(home, "import", str(home / "rows.jsonl"), "--family", name, "--curated")
    words = ["study", "run", name, "--seed", "1", "--budget-calls", str(N_CALLS), "--json"]
    started = monotonic()
    typed(home, *words, *(("--strategy", strategy) if strategy else ()))
    minutes = (monotonic() - started) / 60
    study = _study(home, name)
    print(
        f"{name}: {study.outcome}, {study.spend.n_calls} calls, {minutes:.1f} minutes: {study.confirmation}", flush=True
    )
    rows = rows_of(DATA, name, "dev", plan, family)[plan.opened :][:n_rows]
    winner = study.winner or study.champion
    base, own = answered(home, family, study.champion, rows), answered(home, family, winner, rows)
    gain = [one.score - other.score for one, other in zip(own, base, strict=True)]
    interval = bootstrap_interval(gain, seed=0)
    confirmed = study.confirmation or {}
    usd = [1e6 * fmean(one.cost_usd for one in ones) for ones in (own, base)]
    ms = [median(one.latency_ms for one in ones) for ones in (own, base)]
    what = f"{name}, {N_IMPORTED} rows imported, strategy {study.strategy}"
    price = "at $0.15 and $0.60 per million tokens"
    score = (fmean(one.score for one in ones) for ones in (own, base))
    unit = f"held-out rows; interval of the difference; bar: +{GAIN:.2f}"
    bounds = interval.lower, interval.upper
    figures = beside(f"{what}: score of the winner, {study.outcome}", *score, "base", unit, len(gain), bounds)
    sealed_bounds, unit = (confirmed.get("lift_low"), confirmed.get("lift_high")), f"p {confirmed.get('p', 1.0):.3g}"
    n = int(confirmed.get("n", 0))
    sealed = cell(f"{what}: lift on the sealed holdout", confirmed.get("lift"), unit, n, sealed_bounds)
    by_student = fmean(one.tier == "student" for one in own)
    spent = f"{study.spend.n_calls} calls of the study, {minutes:.1f} minutes"
    cells = [
        figures,
        sealed,
        beside(f"{what}: dollars of a million requests", usd[0], usd[1], "base", price, len(own)),
        beside(f"{what}: milliseconds a request", ms[0], ms[1], "base", "median, as the machine was", len(own)),
        cell(f"{what}: share answered by the student", by_student, spent, len(own)),
    ]
    is_held = study.outcome == "nominated" and fmean(gain) >= GAIN and interval.lower > 0 and usd[0] < usd[1]
    return cells, is_held


def _study(home: Path, name: str) -> Any:
    store = wiring.open_store(load_settings(home=home))
    try:
        with store.read() as tx:
            return next(iter(store.studies.page(tx, family=name)[0]))
    finally:
        store.close()


def answered(home: Path, family: Family, variant: str, rows: Sequence[Mapping[str, Any]]) -> list[AnsweredRow]:
    """Each row through the gateway, one at a time."""
    settings = load_settings(home=home)
    scorer = wiring.open_scorer(family, settings)
    answers = []
    with TestClient(create_gateway(settings), base_url="http://localhost", client=("127.0.0.1", 1)) as gateway:
        for row in rows:
            body = {
                "model": family.name,
                "messages": [{"role": "user", "content": "."}],
                "detent": {"variant": variant, "variables": row["input"]},
            }
            started = monotonic()
            said = gateway.post("/v1/chat/completions", json=body)
            waited_ms = 1000 * (monotonic() - started)
            if said.status_code != 200:
                raise RuntimeError(f"{family.name}, row {row['id']}: {said.text[:500]}")
            completion = said.json()
            detent, text = completion["detent"], completion["choices"][0]["message"]["content"] or ""
            answers.append(
                AnsweredRow(
                    score=scorer.score(row["expected"], text, row["input"]).value or 0.0,
                    cost_usd=detent["cost_usd"],
                    latency_ms=waited_ms,
                    tier=detent.get("tier", family.model.default),
                )
            )
    return answers


if __name__ == "__main__":
    sys.exit(main())
