"""Whole rollouts: the quality gate, the guardrails and the integrity checks at once,
by the very functions that the tick calls.

Requests come at a steady rate, each from another unit; a few of them are labelled. Every ten seconds a guardrail block
closes, every hour a quality block. ``evidence_state.after`` folds them, ``next_action`` says what follows. GrowthBook's
safe rollout gets traffic of the same kind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import Any

import numpy as np
from common import Cell
from rules.totals import Difference, gbstats_one_sided, pooled

from optimizer.core.rollout import evidence_state
from optimizer.core.rollout.blocks import FIRST_PREVIOUS_HASH, SECONDS, BlockKind, StoredBlock
from optimizer.core.rollout.next_action import guardrail_alarm, next_action
from optimizer.core.serving.rollout import Rollout, iso
from optimizer.core.statistics.outcomes import Outcomes
from optimizer.core.statistics.quality_gate import ROLL_WEIGHTS
from simulations.guardrail_alarms import CAP, HOPELESS, SIGMA, exceeding
from simulations.own_ramps import CLOCK_LABELS
from simulations.own_rule import BUDGET, LADDER
from simulations.tally import BASE, BLOCK, DELTA, Tally, mean_cell, progress, share_cell

RPS = 5.0
LABELS_PER_HOUR = BLOCK
MAX_HOURS = 720
START = datetime(2026, 1, 5, tzinfo=UTC)
SAFE = "safe rollout (GrowthBook)"
SAFE_STEPS = (
    (0.0625, 0.10),
    (0.125, 0.25),
    (0.1875, 0.50),
    (0.25, 0.75),
    (1.0, 1.0),
)  # until this part of the duration: coverage


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the candidate does: quality against the champion's .80, errors against 1 %,
    factors of latency and of cost.
    """

    quality: float = 0.0
    errors: float = 0.01
    latency: float = 1.0
    cost: float = 1.0


CASES: dict[str, tuple[Truth, str]] = {  # what is true, and the end that tells most about it
    "equal": (Truth(), "roll_back"),
    "quality -5 pt": (Truth(quality=-DELTA), "promote"),
    "errors 1 to 5 %": (Truth(errors=0.05), "roll_back"),
    "latency x 1.5": (Truth(latency=1.5), "roll_back"),
    "cost x 1.5": (Truth(cost=1.5), "roll_back"),
}
USUAL_COST = np.minimum(np.exp(SIGMA["cost"] * np.random.default_rng(0).standard_normal(20_000)) / CAP, 1.0)
SETTINGS: dict[str, Any] = {
    "margin": DELTA,
    "champion_mean": BASE,
    "metric": {"field": "success", "source": "user"},
    "max_labelled": BUDGET,
    "min_duration_hours": 24,
    "max_days": MAX_HOURS / 24,
    "guardrails": {},
    "whole_days": False,
}
DEFAULT: dict[str, Any] = {**SETTINGS, "whole_days": True, "roll_weights": ROLL_WEIGHTS}


def rollout_at(stage: int, settings: dict[str, Any] = SETTINGS) -> Rollout:
    """A rollout that started at ``START`` and stands at a stage; what ``next_action`` reads of it."""
    spans = [
        {"share": share, "from": iso(START), "to": iso(START), "clock_from": iso(START), "clock_to": iso(START)}
        for share in LADDER[: stage + 1]
    ]
    spans[-1] = {**spans[-1], "to": None, "clock_to": None}
    return Rollout(
        id="ro_simulated",
        family="simulated",
        candidate="v_c",
        champion="v_b",
        aim="quality",
        ladder=LADDER,
        salt="",
        status="deploying",
        stage=stage,
        held=False,
        version=1,
        settings=settings,
        stage_history=spans,
        created_at=START,
        created_by="bench",
    )


def stored(kind: BlockKind, content: dict[str, Any]) -> StoredBlock:
    return StoredBlock(
        rollout="ro_simulated",
        seq=1,
        kind=kind,
        content=content,
        text="",  # no hash is asked for here
        closed_at=START,
        previous_hash=FIRST_PREVIOUS_HASH,
        hash=FIRST_PREVIOUS_HASH,
    )


def counts(n: int, ones: int) -> list[list[float]]:
    return [[y, k] for y, k in Outcomes.binary(n, ones).counts]


def guardrail_block(rng: np.random.Generator, truth: Truth, stage: int, second: int) -> dict[str, Any]:
    """Ten seconds of requests, each of another unit, as ``blocks.guardrail_content`` would write them."""
    n = int(rng.poisson(SECONDS * RPS))
    n_c = int(rng.binomial(n, LADDER[stage]))
    arms = {"candidate": (n_c, truth), "champion": (n - n_c, Truth())}
    failed = {arm: rng.random(k) < t.errors for arm, (k, t) in arms.items()}
    return {
        "stage": stage,
        "from": iso(START + timedelta(seconds=second)),
        "fetches": {arm: k for arm, (k, _) in arms.items()},
        "reports": {arm: k for arm, (k, _) in arms.items()},
        "errors": {arm: counts(len(f), int(f.sum())) for arm, f in failed.items()},
        "latency": {arm: counts(k, int(rng.binomial(k, exceeding(t.latency)))) for arm, (k, t) in arms.items()},
        "cost": {arm: _costs(rng, k, t.cost) for arm, (k, t) in arms.items()},
        "last": {
            "candidate": [[f"c{second}-{i}", bool(x), ""] for i, x in enumerate(failed["candidate"][-10:])],
            "champion": "".join(str(int(x)) for x in failed["champion"][-10:]),
        },
        "candidate": {"n_latency": 0, "n_slow": 0, "n_cost": 0, "cost_usd": 0.0, "cost_squares": 0.0},
    }


def quality_block(rng: np.random.Generator, truth: Truth, stage: int, hour: int) -> tuple[dict[str, Any], int]:
    """One hour's labelled units, and how many of them are the candidate's."""
    n_c = int(rng.binomial(LABELS_PER_HOUR, LADDER[stage]))
    n_b = LABELS_PER_HOUR - n_c
    content = {
        "stage": stage,
        "cohort": iso(START + timedelta(hours=hour)),
        "closes": iso(START + timedelta(hours=hour + 1)),
        "units": {"candidate": n_c, "champion": n_b},
        "left_out": 0,
        "outcomes": {
            "candidate": counts(n_c, int(rng.binomial(n_c, BASE + truth.quality))),
            "champion": counts(n_b, int(rng.binomial(n_b, BASE))),
        },
    }
    return content, n_c


def first_state(settings: dict[str, Any] = SETTINGS) -> evidence_state.EvidenceState:
    baseline = {
        "error_rate": 0.01,
        "latency_exceed": 0.05,
        "latency_limit_ms": 1000.0,
        "cost_cap_usd": 1.0,
        "cost_mean": float(USUAL_COST.mean()),
        "cost_variance": float(USUAL_COST.var()),
    }
    start = evidence_state.after(evidence_state.begin(settings), stored("baseline", baseline), settings, LADDER)
    return replace(
        start, compared=tuple(range(len(LADDER)))
    )  # hopeless guardrails are not simulated to their end, and hold up nobody


def run_whole(rng: np.random.Generator, truth: Truth, settings: dict[str, Any] = SETTINGS) -> tuple[str, int, float]:
    """How it ended, labels used, and units that got the candidate until then."""
    state, stage, units = first_state(settings), 0, 0.0
    for hour in range(MAX_HOURS):
        rollout = rollout_at(stage, settings)
        for second in range(3600 * hour, 3600 * (hour + 1), SECONDS):
            undecided = {kind: g for kind, g in state.guardrails.items() if g.evidence.log_e > HOPELESS}
            if not undecided:  # by Ville's inequality the chance that one of them still alarms is below 1e-7 each
                units += (3600 * (hour + 1) - second) * RPS * LADDER[stage]
                break
            state = replace(state, guardrails=undecided)
            content = guardrail_block(rng, truth, stage, second)
            units += content["reports"]["candidate"]
            state = evidence_state.after(state, stored("guardrails", content), settings, LADDER)
            if guardrail_alarm(rollout, state, at=START + timedelta(seconds=second)) is not None:
                return "roll_back", state.quality.labelled, units
        content, _ = quality_block(rng, truth, stage, hour)
        state = evidence_state.after(state, stored("quality", content), settings, LADDER)
        now = START + timedelta(hours=hour + 1)
        action = next_action(rollout, state, at=now, clock_at=now)
        if action.act == "advance":
            stage += 1
        elif action.act == "promote":
            return "promote", state.quality.labelled, units
        elif action.act == "rollback":
            return "inconclusive" if action.outcome == "inconclusive" else "roll_back", state.quality.labelled, units
    return "inconclusive", state.quality.labelled, units


def run_safe(rng: np.random.Generator, truth: Truth) -> tuple[str, int, float]:
    """Four guardrails, each a one-sided sequential test at .05 without a margin,
    asked every hour; inconclusive is shipped.
    """
    hours = CLOCK_LABELS // LABELS_PER_HOUR
    quality, errors, slow = np.zeros(4, dtype=int), np.zeros(4, dtype=int), np.zeros(4, dtype=int)
    costs, n_costs, units = np.zeros(2), np.zeros(2), 0.0
    mean, variance = float(USUAL_COST.mean()), float(USUAL_COST.var())
    values = np.minimum(truth.cost * USUAL_COST, 1.0)
    dear = float(values.mean()), float(values.var())
    for hour in range(hours):
        coverage = next(c for until, c in SAFE_STEPS if hour < until * hours)
        n = rng.multinomial(int(3600 * RPS), [coverage / 2, coverage / 2, 1 - coverage])[:2]
        labelled = rng.multinomial(LABELS_PER_HOUR, [coverage / 2, coverage / 2, 1 - coverage])[:2]
        units += float(n[0])
        for total, size, rates in (
            (quality, labelled, (1 - BASE - truth.quality, 1 - BASE)),  # bad outcomes, so that more is worse everywhere
            (errors, n, (truth.errors, 0.01)),
            (slow, n, (exceeding(truth.latency), 0.05)),
        ):
            total += [size[0], rng.binomial(size[0], rates[0]), size[1], rng.binomial(size[1], rates[1])]
        n_costs += n
        costs += [rng.normal(n[0] * dear[0], sqrt(n[0] * dear[1])), rng.normal(n[1] * mean, sqrt(n[1] * variance))]
        worse = [
            _worse(pooled(*t), t[0] + t[2])
            for t in (quality.tolist(), errors.tolist(), slow.tolist())
            if t[0] and t[2] and t[1] and t[3]
        ]
        cost = Difference(
            diff=costs[0] / n_costs[0] - costs[1] / n_costs[1], variance=dear[1] / n_costs[0] + variance / n_costs[1]
        )
        if any(worse) or _worse(cost, int(n_costs.sum())):
            return "roll_back", int(quality[0] + quality[2]), units
    return "promote", int(quality[0] + quality[2]), units


def _worse(d: Difference, n: int) -> bool:
    return d.variance > 0 and gbstats_one_sided(d, n=n).lower > 0


def _costs(rng: np.random.Generator, n: int, factor: float) -> list[list[float]]:
    values = np.minimum(factor * np.exp(SIGMA["cost"] * rng.standard_normal(n)) / CAP, 1.0)
    return [[y, k] for y, k in Outcomes.of(np.round(values, 4)).counts]


def table_whole(runs: int, seed: int) -> list[Cell]:
    cells: list[Cell] = []
    for case, (truth, end) in CASES.items():
        ours, safe = Tally(), Tally()
        for run in range(runs):
            at = [seed, 9, list(CASES).index(case), run]
            ours.add(*run_whole(np.random.default_rng(at), truth))
            safe.add(*run_safe(np.random.default_rng(at), truth))
        ends = (end, *(e for e in ("roll_back", "promote", "inconclusive") if e != end))
        cells += [share_cell(f"whole, {case}: {e}", ours, e, safe.share(e), SAFE) for e in ends]
        labels, units = float(np.mean(safe.labels)), float(np.mean(safe.on_candidate))
        cells += mean_cell(f"whole, {case}: labels", ours.labels, labels, SAFE, "labels, mean")
        cells += mean_cell(f"whole, {case}: units", ours.on_candidate, units, SAFE, "units on the candidate, mean")
        progress(f"whole {case}")
    return cells


def table_default(runs: int, seed: int) -> list[Cell]:
    """An equal candidate by the product's default, which waits for whole days; in the draws of ``table_whole``."""
    ours = Tally()
    for run in range(runs):
        ours.add(*run_whole(np.random.default_rng([seed, 9, list(CASES).index("equal"), run]), Truth(), DEFAULT))
    label = "whole, equal, by the default"
    return [
        *(share_cell(f"{label}: {end}", ours, end, None, "none") for end in ("roll_back", "promote", "inconclusive")),
        *mean_cell(f"{label}: labels", ours.labels, None, "none", "labels, mean"),
        *mean_cell(f"{label}: units", ours.on_candidate, None, "none", "units on the candidate, mean"),
    ]
