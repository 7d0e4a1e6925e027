"""Table C: seconds until a guardrail alarms at a share of 10 %, and how often it alarms without a cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from statistics import NormalDist

import numpy as np
from common import Cell, beside

from optimizer.core.statistics.guardrails import Guardrail, GuardrailKind
from optimizer.core.statistics.outcomes import Block, Outcomes
from simulations.tally import REFERENCE, Tally, progress, share_cell

THRESHOLD = "99 % threshold, 5 failed minutes"
SIX_HOURS = 2160  # blocks of ten seconds
ALPHA_C = 0.01  # of the reference table; the product's own alphas beside it
SIGMA = {"latency": 0.8, "cost": 1.2}  # of the logs: the reference names none, these reproduce its counts of requests
WITHIN_S = {
    "errors": 1800,
    "latency": 3600,
    "cost": 7200,
}  # for the share alarmed; the reference names no horizon, these fit it
HOPELESS = (
    -12.0
)  # by Ville's inequality the chance to alarm after a log e-value of -12 is below 1e-7: the run ends as "no alarm"
NORMAL = NormalDist()
P95, CAP = NORMAL.inv_cdf(0.95), exp(SIGMA["cost"] * NORMAL.inv_cdf(0.995))


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Requests per second, and what each arm's requests show at block t: rates of y = 1, or factors of cost."""

    kind: GuardrailKind
    rps: float
    champion: Callable[[int], float]
    candidate: Callable[[int], float]
    horizon: int = SIX_HOURS

    def block(self, rng: np.random.Generator, t: int) -> Block:
        n = int(rng.poisson(10 * self.rps))
        n_c = int(rng.binomial(n, 0.10))
        return Block(
            stage=0,
            candidate=self._arm(rng, n_c, self.candidate(t)),
            champion=self._arm(rng, n - n_c, self.champion(t)),
        )

    def _arm(self, rng: np.random.Generator, n: int, level: float) -> Outcomes:
        if self.kind == "cost":
            return Outcomes.of(np.minimum(level * np.exp(SIGMA["cost"] * rng.standard_normal(n)) / CAP, 1.0))
        return Outcomes.binary(n, int(rng.binomial(n, level)))


def start_guardrail(traffic: Traffic, alpha: float | None) -> Guardrail:
    if traffic.kind != "cost":
        return Guardrail.start(traffic.kind, champion_mean=traffic.champion(0), alpha=alpha)
    earlier = Outcomes.of(
        np.minimum(np.exp(SIGMA["cost"] * np.random.default_rng(0).standard_normal(20_000)) / CAP, 1.0)
    ).sums
    return Guardrail.start("cost", champion_mean=earlier.mean or 0.0, champion_variance=earlier.variance, alpha=alpha)


@dataclass(frozen=True, kw_only=True)
class Alarm:
    seconds: float  # inf without one
    candidate_requests: int
    threshold_seconds: float  # of five failed one-minute checks against a success rate of 99 %, Flagger's example


def run_guardrail(rng: np.random.Generator, traffic: Traffic, start: Guardrail, *, compare: bool) -> Alarm:
    guardrail, seconds, requests = start, inf, 0
    failed, minute, stopped = 0, [0.0, 0.0], inf
    ours_open = True
    for t in range(traffic.horizon):
        block = traffic.block(rng, t)
        if ours_open:
            guardrail = guardrail.after(block)
            requests += block.candidate.n
            if guardrail.alarmed:
                seconds = 10.0 * (t + 1)
            ours_open = not guardrail.alarmed and guardrail.evidence.log_e > HOPELESS
        if compare and stopped == inf:
            minute = [minute[0] + block.candidate.n, minute[1] + block.candidate.sums.total]
            if t % 6 == 5:
                failed += bool(minute[0]) and minute[1] / minute[0] > 0.01
                minute = [0.0, 0.0]
                stopped = 10.0 * (t + 1) if failed == 5 else inf
        if not ours_open and not (compare and stopped == inf):
            break
    return Alarm(seconds=seconds, candidate_requests=requests, threshold_seconds=stopped)


def exceeding(factor: float) -> float:
    """Share of requests above the champion's p95 when latency is multiplied."""
    return 1 - NORMAL.cdf(P95 - log(factor) / SIGMA["latency"])


REFERENCE_C: dict[
    str, tuple[GuardrailKind, float, dict[float, tuple[float, float | None]]]
] = {  # rps: (median seconds, share alarmed)
    "errors 1 to 5 %": ("errors", 0.05, {1: (inf, 0.19), 5: (760, 0.95), 20: (200, None)}),
    "errors 1 to 10 %": ("errors", 0.10, {1: (740, 0.92), 5: (150, None), 20: (40, None)}),
    "errors 1 to 30 %": ("errors", 0.30, {1: (130, None), 5: (30, None), 20: (10, None)}),
    "errors 1 to 100 %": ("errors", 1.00, {1: (30, None), 5: (10, None), 20: (10, None)}),
    "latency x 1.5": ("latency", 1.5, {1: (3490, 0.52), 5: (685, None), 20: (180, None)}),
    "latency x 2": ("latency", 2.0, {1: (610, None), 5: (130, None), 20: (40, None)}),
    "latency x 3": ("latency", 3.0, {1: (180, None), 5: (40, None), 20: (10, None)}),
    "cost x 1.5": ("cost", 1.5, {1: (2250, 0.98), 5: (450, None)}),
    "cost x 2": ("cost", 2.0, {1: (690, None), 5: (150, None)}),
    "cost x 3": ("cost", 3.0, {1: (330, None), 5: (90, None)}),
}


def traffic_of(kind: GuardrailKind, level: float, rps: float) -> Traffic:
    usual = {"errors": 0.01, "latency": 0.05, "cost": 1.0}[kind]
    bad = exceeding(level) if kind == "latency" else level
    return Traffic(kind=kind, rps=rps, champion=lambda t: usual, candidate=lambda t: bad)


def table_c(runs: int, seed: int) -> list[Cell]:
    cells: list[Cell] = []
    for name, (kind, level, reference) in REFERENCE_C.items():
        for rps, (median, alarmed) in reference.items():
            traffic = traffic_of(kind, level, rps)
            for alpha in (ALPHA_C, None) if (name, rps) == ("errors 1 to 30 %", 1) else (ALPHA_C,):
                start = start_guardrail(traffic, alpha)
                alarms = [
                    run_guardrail(np.random.default_rng([seed, 4, run]), traffic, start, compare=kind == "errors")
                    for run in range(runs)
                ]
                case = f"C {name}, {rps:g}/s" + ("" if alpha else ", the product's alpha")
                cells += alarm_cells(case, alarms, median, alarmed, kind)
            progress(f"C {name} {rps:g}/s")
    return cells + false_alarms(runs, seed)


def alarm_cells(
    case: str, alarms: list[Alarm], median: float, alarmed: float | None, kind: GuardrailKind
) -> list[Cell]:
    seconds = sorted(a.seconds for a in alarms)
    n, ours, late = len(alarms), seconds[len(alarms) // 2], seconds[int(0.9 * len(alarms))]
    spread = int(0.98 * sqrt(n))  # ranks of a 95 % interval of the median
    low, high = seconds[max(0, n // 2 - spread)], seconds[min(n - 1, n // 2 + spread)]
    rate = sum(s <= WITHIN_S[kind] for s in seconds) / n
    requests = float(np.mean([a.candidate_requests for a in alarms]))
    cells = [
        beside(
            f"{case}: alarmed within {WITHIN_S[kind] // 60} min vs {REFERENCE}", rate, alarmed, REFERENCE, "share", n
        )
    ]
    if ours < inf:
        others = {REFERENCE: median}
        if kind == "errors":
            others[THRESHOLD] = sorted(a.threshold_seconds for a in alarms)[n // 2]
        for name, other in others.items():
            known, ratio, top = (None, None, high) if other == inf else (other, ours / other, high)
            cells.append(
                Cell(
                    case=f"{case} vs {name}",
                    ours=ours,
                    other=known,
                    other_name=name,
                    ratio=ratio,
                    low=low,
                    high=top if top < inf else None,
                    unit="s, median; bounds of ours",
                    n=n,
                )
            )
    if late < inf:
        cells.append(beside(f"{case}: p90", late, None, "", "s", n))
    cells.append(beside(f"{case}: candidate requests", requests, None, "", "requests, mean", n))
    return cells


def false_alarms(runs: int, seed: int) -> list[Cell]:
    def incident(t: int) -> float:
        return 0.25 if 180 <= t < 240 else 0.01

    cases = {
        "A/A at 1 %, 1/s, 6 h": Traffic(kind="errors", rps=1, champion=lambda t: 0.01, candidate=lambda t: 0.01),
        "A/A at 1 %, 20/s, 6 h": Traffic(kind="errors", rps=20, champion=lambda t: 0.01, candidate=lambda t: 0.01),
        "at the margin, 1 and 2 %, 5/s, 6 h": Traffic(
            kind="errors", rps=5, champion=lambda t: 0.01, candidate=lambda t: 0.02
        ),
        "A/A at .2 %, 5/s, 6 h": Traffic(kind="errors", rps=5, champion=lambda t: 0.002, candidate=lambda t: 0.002),
        "A/A latency, 5/s, 6 h": Traffic(kind="latency", rps=5, champion=lambda t: 0.05, candidate=lambda t: 0.05),
        "A/A cost, 1/s, 6 h": Traffic(kind="cost", rps=1, champion=lambda t: 1.0, candidate=lambda t: 1.0),
        "shared incident of 10 min, 5/s, 2 h": Traffic(
            kind="errors", rps=5, champion=incident, candidate=incident, horizon=720
        ),
    }
    cells = []
    for name, traffic in cases.items():
        start = start_guardrail(traffic, ALPHA_C)
        tally, fooled = Tally(), 0
        for run in range(runs):
            alarm = run_guardrail(
                np.random.default_rng([seed, 5, run]), traffic, start, compare=traffic.kind == "errors"
            )
            tally.add("alarm" if alarm.seconds < inf else "none", 0, 0)
            fooled += alarm.threshold_seconds < inf
        other = fooled / runs if traffic.kind == "errors" else None
        cells.append(
            share_cell(f"C false alarm, {name}", tally, "alarm", other, THRESHOLD if other is not None else "none")
        )
        progress(f"C {name}")
    return cells
