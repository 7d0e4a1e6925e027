"""The gates on real logs beside other rules: A/B tests of others, dealt out again in random order.

    python bench/gate_trial.py [--runs 100] [--seed 1]

Cookie Cats (gate_40 as candidate: it costs about .9 points of the users who come back after a week) with margins .05,
.01 and .005; every log split in two by chance, A against A; Upworthy's headline tests, each a small rollout of its own,
and their assignment, which was faulty for some months, under the sample-ratio check. Writes
bench/results/gate_trial.json and docs/reference/gate-trial.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import Cell, data_of, options_of, write_result
from pages import bounded, matching, table, text_of
from rules.deciders import RULES
from rules.ramps import Clock, FailedChecks, Ramp, SafeRollout, WatchedRamp
from simulations.own_rule import OwnRule
from simulations.page import OURS as SHOWN
from simulations.replay import Arm, HeadlineTest, cookie_cats, open_bandit, replay, upworthy
from simulations.tally import Tally, mean_cell, progress, share_cell

from optimizer.core.statistics.outcomes import threshold
from optimizer.core.statistics.sample_ratio import ALPHA_RATIO, sample_ratio_log_e

FULL = 100
BLOCK = 100
ENDS = ("promote", "roll_back", "inconclusive")
RAMP = (0.025, 0.10), (0.0625, 0.25), (1.0, 0.50)  # of the log: until this part of it, share
OURS = "ours"


@dataclass(frozen=True, kw_only=True)
class Rival:
    """How a rule is set up for a log: margin, the champion's mean, all outcomes of the log."""

    make: Callable[[float, float, int], Ramp]
    ships_at_end: bool = False


def rules() -> dict[str, Rival]:
    rivals = {OURS: Rival(make=lambda margin, base, n: OwnRule(margin=margin, base=base, labels=n))}
    for name, rule in RULES.items():
        rivals[name] = Rival(
            make=lambda margin, base, n, rule=rule: WatchedRamp(
                rule(margin), tuple((int(part * n), s) for part, s in RAMP)
            )
        )  # type: ignore[misc]
    rivals["failed checks (Flagger)"] = Rival(
        make=lambda margin, base, n: FailedChecks(least=max(0.0, base - margin)), ships_at_end=True
    )
    rivals["clock with sequential stop"] = Rival(
        make=lambda margin, base, n: Clock(duration=n, delta=margin, block=BLOCK), ships_at_end=True
    )
    rivals["safe rollout (GrowthBook)"] = Rival(
        make=lambda margin, base, n: SafeRollout(duration=n, delta=margin, block=BLOCK), ships_at_end=True
    )
    return rivals


def trial(case: str, pairs: Iterable[tuple[Arm, Arm]], margin: float, seed: int) -> list[Cell]:
    """Every rule on every pair (candidate, champion)."""
    tallies = {name: Tally() for name in rules()}
    for run, (candidate, champion) in enumerate(pairs):
        for name, rival in rules().items():
            rng = np.random.default_rng([seed, 11, run])
            ramp = rival.make(margin, champion.mean, candidate.n + champion.n)
            tallies[name].add(*replay(rng, ramp, candidate, champion, block=BLOCK, ships_at_end=rival.ships_at_end))
    progress(case)
    ours = tallies.pop(OURS)
    cells: list[Cell] = []
    for name, tally in tallies.items():
        cells += [share_cell(f"{case}: {end}", ours, end, tally.share(end), name) for end in ENDS]
        cells += mean_cell(f"{case}: outcomes", ours.labels, float(np.mean(tally.labels)), name, "outcomes, mean")
    return cells


def halves(arm: Arm, runs: int, seed: int) -> list[tuple[Arm, Arm]]:
    return [arm.halves(np.random.default_rng([seed, 12, run])) for run in range(runs)]


def default_margin(mean: float) -> float:
    """What the product would choose."""
    return max(0.01, min(0.05, 0.10 * mean))


def cookie_cells(folder: Path, runs: int, seed: int) -> list[Cell]:
    arms = cookie_cats(folder, "retention_7")
    cells = []
    for margin in (0.05, 0.01, 0.005):
        pairs = [(arms["gate_40"], arms["gate_30"])] * runs
        cells += trial(f"Cookie Cats, gate_40 against gate_30, margin {margin:g}", pairs, margin, seed)
    for margin in (0.05, 0.01):
        cells += trial(
            f"A/A Cookie Cats, gate_30, margin {margin:g}", halves(arms["gate_30"], runs, seed), margin, seed
        )
    return cells


def bandit_cells(folder: Path, runs: int, seed: int) -> list[Cell]:
    cells = []
    for policy, arm in open_bandit(folder).items():
        for margin in (default_margin(arm.mean), 0.0025):
            cells += trial(f"A/A Open Bandit, {policy}, margin {margin:g}", halves(arm, runs, seed), margin, seed)
    return cells


def upworthy_cells(tests: list[HeadlineTest], runs: int, seed: int) -> list[Cell]:
    sound = [test for test in tests if not test.risky][: 8 * runs]
    cells = trial(
        "Upworthy, second headline against first, margin 0.002",
        [(test.arms[1], test.arms[0]) for test in sound],
        0.002,
        seed,
    )
    split = [
        max(test.arms, key=lambda a: a.n).halves(np.random.default_rng([seed, 13, i])) for i, test in enumerate(sound)
    ]
    return cells + trial("A/A Upworthy, a headline against itself, margin 0.002", split, 0.002, seed)


def ratio_cells(tests: list[HeadlineTest]) -> list[Cell]:
    """The sample-ratio check on two arms that were to get the same number of impressions,
    beside a chi-square test at the same level.
    """
    cells = []
    for case, risky in (("weeks of faulty assignment", True), ("other weeks", False)):
        ours, other = Tally(), 0
        chosen = [test for test in tests if test.risky == risky]
        for test in chosen:
            n_c, n_b = test.arms[1].n, test.arms[0].n
            ours.add(
                "alarm" if sample_ratio_log_e(n_c, n_b, pi=0.5) >= threshold(ALPHA_RATIO) else "none", n_c + n_b, n_c
            )
            other += (n_c - n_b) ** 2 / (n_c + n_b) >= CHI_SQUARE
        cells.append(
            share_cell(
                f"Upworthy's assignment, {case}: alarm",
                ours,
                "alarm",
                other / len(chosen),
                "chi-square at .001, one look",
            )
        )
    return cells


CHI_SQUARE = 10.828  # one degree of freedom at .001


def page(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    ends: dict[str, dict[str, str]] = {SHOWN: {}}
    for (case, end, name), cell in matching(cells, "(.*): (promote|roll_back) vs (.*)"):
        for rule, share in ((SHOWN, cell["ours"]), (name, cell["other"])):
            row = ends.setdefault(rule, {})
            row[case] = f"{share:.2f}" if end == "promote" else f"{row[case].split(' / ')[0]} / {share:.2f}"
    alarms = {
        case: {SHOWN: bounded(cell), cell["other_name"]: f"{cell['other']:.3f}"}
        for (case,), cell in matching(cells, "(.*?): alarm.*")
    }
    n = max(c["n"] for c in cells if c["case"].startswith("Cookie Cats"))
    return text_of("gate-trial", **result, n=n, ends=table("rule", ends), alarms=table("tests", alarms))


def main() -> None:
    arguments = options_of(__doc__, runs=FULL, seed=1)
    folder = data_of("ab_logs")
    tests = upworthy(folder)
    cells = cookie_cells(folder, arguments.runs, arguments.seed) + bandit_cells(folder, arguments.runs, arguments.seed)
    cells += upworthy_cells(tests, arguments.runs, arguments.seed) + ratio_cells(tests)
    write_result("gate_trial" if arguments.runs >= FULL else "gate_trial_part", cells)


if __name__ == "__main__":
    main()
