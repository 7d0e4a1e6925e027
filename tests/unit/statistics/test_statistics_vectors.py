"""The outside vectors of the statistics: each function named there that the product or the bench has is called
as they call it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import product
from math import comb, exp
from pathlib import Path
from typing import Any

import pytest

from bench.rules import totals
from bench.rules.group_sequential import lan_demets_bounds
from optimizer.core.evaluation.comparison import mcnemar_p
from optimizer.core.rollout.drift import DriftDetector
from optimizer.core.statistics.forecast import TrafficRate, detectable_drop
from optimizer.core.statistics.outcomes import CAP, Bet, Block, Outcomes, bernoulli_bet, bounded_bet, log_e, ratio_bet
from optimizer.core.statistics.projection import null_projection
from optimizer.core.statistics.quality_gate import QualityGate, roll_hypothesis, ship_hypothesis
from optimizer.core.statistics.sample_ratio import PRIOR_STRENGTH, sample_ratio_log_e
from optimizer.core.statistics.stopping_rule import RolloutPosition, stopping_rule

SHARED = Path(os.environ.get("DETENT_SHARED", Path(__file__).parents[4] / "shared"))
FILE = SHARED / "statistics" / "test_vectors.json"
VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text())["vectors"] if FILE.exists() else []

pytestmark = pytest.mark.skipif(not VECTORS, reason=f"the outside vectors are not there: {FILE}")

LADDER = (0.10, 0.25, 0.50, 0.75)


def block(n_c: int, s_c: int, n_b: int, s_b: int) -> Block:
    return Block(stage=0, candidate=Outcomes.binary(n_c, s_c), champion=Outcomes.binary(n_b, s_b))


def block_log_e(i: Mapping[str, Any], s_c: int, s_b: int) -> float:
    bet = bernoulli_bet(theta_c=i["theta_c"], theta_b=i["theta_b"], w=i["n_c"] / (i["n_c"] + i["n_b"]), d0=i["d0"])
    return log_e(bet, block(i["n_c"], s_c, i["n_b"], s_b))


def of_projection(i: dict[str, Any]) -> dict[str, Any]:
    found = null_projection(i["theta_c"], i["theta_b"], w=i["w"], d0=i["d0"])
    return {"m_c": found.m_c, "m_b": found.m_b, "growth_per_obs": found.growth}


def of_expectation(i: dict[str, Any]) -> dict[str, Any]:
    total = 0.0
    for s_c, s_b in product(range(i["n_c"] + 1), range(i["n_b"] + 1)):
        chance = comb(i["n_c"], s_c) * i["q_c"] ** s_c * (1 - i["q_c"]) ** (i["n_c"] - s_c)
        chance *= comb(i["n_b"], s_b) * i["q_b"] ** s_b * (1 - i["q_b"]) ** (i["n_b"] - s_b)
        total += chance * exp(block_log_e(i, s_c, s_b))
    return {"expected_e": total}


def traced(i: dict[str, Any], half_life: float | None, names: Mapping[str, str]) -> dict[str, Any]:
    gate = QualityGate.start(
        margin=i["delta"], champion_mean=i["champion_prior_mean"], prior_n=i["champion_prior_n"], half_life=half_life
    )
    trace: list[dict[str, float] | None] = []
    for counts in i["blocks_nc_sc_nb_sb"]:
        following = gate.after(block(*counts))
        shown = {"theta_b": gate.champion.mean, **{key: following.of(name).log_e for key, name in names.items()}}
        trace.append(shown if following.n_blocks > gate.n_blocks else None)
        gate = following
    return {"trace": trace}


def of_gate(i: dict[str, Any]) -> dict[str, Any]:
    for grid, hypothesis in (("ship_grid", ship_hypothesis(1, i["delta"])), ("roll_grid", roll_hypothesis(i["delta"]))):
        assert_close([list(pair) for pair in zip(hypothesis.gaps, hypothesis.weights, strict=True)], i[grid], 1e-12)
    return traced(i, None, {"log_e_ship": "ship1", "log_e_roll": "roll"})


def of_full_gate(i: dict[str, Any]) -> dict[str, Any]:
    return traced(i, i["half_life"], {f"log_e_{name}": name for name in ("ship3", "ship2", "ship1", "sup", "roll")})


def of_decision(i: dict[str, Any]) -> dict[str, Any]:
    standing = RolloutPosition(
        ladder=LADDER,
        stage=LADDER.index(i["stage"] / 100),
        peaks=i["latched_log_e"],
        labelled_in_stage=i["labelled_in_stage"],
        min_labelled=i["min_labels"],
        min_duration_over=i["min_duration_over"],
        guardrail_alarm="errors" if i["guardrail_alarm"] else None,
        budget_spent="labels" if i["budget_spent"] else None,
    )
    found = stopping_rule(standing, alpha_ship=i["alpha_ship"], alpha_roll=i["alpha_roll"])
    action = "hold" if found.action == "wait" else found.action  # the vectors' word for it
    return {"action": f"advance_{LADDER[standing.stage + 1] * 100:.0f}" if action == "advance" else action}


def of_bet_block(i: dict[str, Any]) -> dict[str, Any]:
    bet = Bet(m_c=i["m_c"], m_b=i["m_b"], a_c=i["a_c"], a_b=i["a_b"])
    return {"log_e": log_e(bet, Block(stage=0, candidate=Outcomes.of(i["y_c"]), champion=Outcomes.of(i["y_b"])))}


def of_detector(i: dict[str, Any]) -> dict[str, Any]:
    detector = DriftDetector(reference=i["p0"], drops=tuple(i["drops"]), weights=tuple(i["weights"]))
    values = []
    for y in i["y"]:
        detector = detector.after(y)
        values.append(detector.log_value)
    return {"log_m": values}


def of_forecast(i: dict[str, Any]) -> dict[str, Any]:
    traffic = TrafficRate(units_per_hour=i["requests_per_hour"], label_rate=i["feedback_rate"])
    rest = {"base": i["base"], "w": i["w"], "traffic": traffic, "alpha": i["alpha"], "kappa": i["kappa"]}
    drop = detectable_drop(hours=168, **rest)
    hours = 168 * (drop / i["effect"]) ** 2
    exposed = hours * i["requests_per_hour"] * i["w"]
    labelled = hours * traffic.labelled_per_hour
    return {"labelled": labelled, "hours": hours, "exposed_requests": exposed, "mdd_after_168h": drop}


def of_gbstats_sequential(i: dict[str, Any]) -> dict[str, Any]:
    d = totals.pooled(i["n_c"], i["s_c"], i["n_b"], i["s_b"])
    found = totals.gbstats_sequential(d, n=i["n_c"] + i["n_b"], alpha=i["alpha"], tuning=i["tuning"])
    return {"diff": d.diff, "lo": found.lower, "hi": found.upper, "p_value": found.p}


def of_gbstats_bayes(i: dict[str, Any]) -> dict[str, Any]:
    d = totals.pooled(i["n_c"], i["s_c"], i["n_b"], i["s_b"])
    found = totals.gbstats_bayes(d, champion_mean=i["s_b"] / i["n_b"], prior_sd=i["prior_sd_relative"])
    return {"chance_to_win": found.chance_to_win, "lo": found.lower, "hi": found.upper}


def difference(i: Mapping[str, Any]) -> totals.Difference:
    return totals.Difference(diff=i["diff"], variance=i["var"])


def of_stratified(i: dict[str, Any]) -> dict[str, Any]:
    found = totals.stratified([(n_c, s_c, n_b, s_b) for n_c, s_c, n_b, s_b in i["strata_nc_sc_nb_sb"]])
    return {"diff": found.diff, "var": found.variance}


def of_asymptotic(i: dict[str, Any]) -> dict[str, Any]:
    found = totals.asymptotic_bounds(difference(i), best_information=i["I_opt"], alpha=i["alpha"])
    return {"lower": found.lower, "upper": found.upper}


def without(i: dict[str, Any], name: str, constant: float) -> dict[str, Any]:
    """The rest, where the vector asks for what is a constant here."""
    assert i[name] == constant
    return {key: value for key, value in i.items() if key != name}


FUNCTIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "null_projection": of_projection,
    "block_log_e": lambda i: {"log_e": block_log_e(i, i["s_c"], i["s_b"])},
    "expected_e_under_null": of_expectation,
    "quality_gate": of_gate,
    "quality_gate_full": of_full_gate,
    "decide": of_decision,
    "bounded_bet": lambda i: asdict(bounded_bet(**without(i, "cap", CAP))),
    "bounded_block_log_e": of_bet_block,
    "ratio_bet": lambda i: asdict(ratio_bet(**without(i, "cap", CAP))),
    "ratio_block_log_e": of_bet_block,
    "srm_log_e": lambda i: {"log_e": sample_ratio_log_e(**without(i, "prior_strength", PRIOR_STRENGTH))},
    "gbstats_sequential_ci": of_gbstats_sequential,
    "gbstats_chance_to_win": of_gbstats_bayes,
    "asymp_cs_one_sided": of_asymptotic,
    "lan_demets_bounds": lambda i: {"z": lan_demets_bounds(i["info"], alpha=i["alpha"])},
    "stratified_difference": of_stratified,
    "sprt_llr": lambda i: {
        "llr": totals.sprt_llr(difference(i), delta=i["delta"]),
        "upper": totals.WALD_BOUND,
        "lower": -totals.WALD_BOUND,
    },
    "msprt_log_lr": lambda i: {"log_lr": totals.msprt_log_lr(difference(i), theta0=i["theta0"], tau=i["tau"])},
    "mcnemar_exact_one_sided": lambda i: {"p": mcnemar_p(i["wins"], i["losses"])},
    "sr_e_detector": of_detector,
    "cusum": lambda i: {"s": totals.cusum(i["y"], p0=i["p0"], p1=i["p1"])},
    "forecast": of_forecast,
}


NOWHERE_HERE = {  # neither product nor bench has them
    *(
        "ppi_mean",
        "ppi_ess_gain",
        "ppi_log_deflator",
        "eb_shrink_best",
        "wald_lower_bound",
        "fixed_horizon_n",
        "paired_log_e",
    ),
}


def test_there_are_sixty_vectors_and_each_function_they_name_is_called_that_there_is():
    assert len(VECTORS) == 60
    assert {v["function"] for v in VECTORS} == FUNCTIONS.keys() | NOWHERE_HERE


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["function"] in FUNCTIONS], ids=lambda v: v["id"])
def test_the_outside_vector_is_reproduced(vector):
    found = FUNCTIONS[vector["function"]](vector["inputs"])
    assert_close(found, vector["expected"], vector["abs_tol"])


def test_a_wrong_figure_would_be_noticed():
    with pytest.raises(AssertionError):
        assert_close({"trace": [None, {"theta_b": 0.8}]}, {"trace": [None, {"theta_b": 0.80001}]}, 1e-8)


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    """Equal shape, and every number within ``tolerance``."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(found[key], value, tolerance)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert_close(a, b, tolerance)
    elif isinstance(expected, float | int):
        assert found == pytest.approx(expected, abs=tolerance, rel=0)
    else:
        assert found == expected
