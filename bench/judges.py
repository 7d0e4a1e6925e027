"""Do calibrated judges agree with people, and do the intervals of judged figures hold?

    python bench/judges.py     everything, the result and its page (a quarter of an hour)

Recorded scores of judges beside people's ratings (data2text, hanna, qags, topical_chat). Maps are fitted on train and
measured on dev; the interval's rule was chosen on train, and its coverage is measured on dev. No model is asked. Needs
ppi-python and cje-eval, which the development lock holds. Exits 1 where the interval's coverage is below .93.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from common import SHARED, Cell, cell, data_of, options_of, write_result
from judging import others
from judging.rows import RatedScores, committee, hanna, spread, unieval
from scipy.stats import spearmanr

from optimizer.adapters.predictors.judge_agreement import fit_map, map_scores
from optimizer.adapters.predictors.measures import brier, calibration_error
from optimizer.core.evaluation.comparison import group_draws
from optimizer.core.statistics.interval import wilson_interval
from optimizer.core.statistics.prediction_powered import RatedAnswer, powered_mean

DATA = SHARED / "data" / "judge_calibration"
N_BOOTSTRAP = 2000
FEW, N_FEW = (20, 50, 100), 200  # ratings of train that a map is fitted on, and how often they are drawn
SIZES, N_JUDGED = (30, 100, 300), 1000
N_DRAWS, N_DRAWS_SLOW = 2000, 100  # of the other packages' intervals, cje-eval's take a tenth of a second each
PASS_AT, FAR, SPREADS = 0.75, 0.25, (0.3, 0.5, 0.6)
LEAST_COVERAGE = 0.93


def calibrations() -> list[Cell]:
    """Maps of train on dev: squared error, rank correlation, calibration error; and maps of few ratings."""
    cells, gained = [], dict[str, list[list[float]]]()
    for train, dev in zip(_all_judges("train"), _all_judges("dev"), strict=True):
        fit = fit_map(list(train.scores), list(train.ratings), train.groups)
        ours = np.array(map_scores(fit.points, list(dev.scores)))
        mean = np.full(len(ours), train.ratings.mean())
        draws = list(group_draws(dev.groups, seed=1, n_draws=N_BOOTSTRAP))
        error = {
            name: (each - dev.ratings) ** 2 for name, each in (("ours", ours), ("raw", dev.scores), ("mean", mean))
        }
        for other, name in (("raw", "the raw judge"), ("mean", "the mean rating")):
            apart = [float((error["ours"] - error[other])[rows].mean()) for rows in draws]
            gained.setdefault(name, []).append([float((error["ours"] - error[other]).mean()), *apart])
            unit = f"squared error, {fit.method} of {len(train.scores)} ratings (interval: ours - other)"
            what = f"{dev.name}: squared error beside {name}"
            cells.append(_cell(what, error["ours"].mean(), unit, apart, error[other].mean(), name, len(ours)))
        ranks = [_rank(dev.scores, dev.ratings), _rank(ours, dev.ratings)]
        drawn = [_rank(ours[rows], dev.ratings[rows]) for rows in draws]
        cells.append(_cell(f"{dev.name}: Spearman", ranks[1], "Spearman", drawn, ranks[0], "raw", len(ours)))
        ece = [calibration_error(each, dev.ratings, n_bins=5) for each in (ours, dev.scores)]
        cells.append(_cell(f"{dev.name}: calibration error", ece[0], "ECE, five bins", None, ece[1], "raw", len(ours)))
        cells += _few(train, dev, error["raw"].mean())
    for name, each in gained.items():
        over_all = np.mean(each, axis=0)  # judges of one set share its draws, so that they count as one set
        unit = "squared error, mean over the judges (interval: ours - other)"
        cells.append(_cell(f"all judges: squared error less than {name}", over_all[0], unit, over_all[1:], n=len(each)))
    return cells


def _few(train: RatedScores, dev: RatedScores, raw: float) -> list[Cell]:
    cells, rng = [], np.random.default_rng(2)
    for n in FEW:
        if n > len(train.scores):
            continue
        errors, means = [], []
        for _ in range(N_FEW):
            rows = rng.permutation(len(train.scores))[:n]
            fit = fit_map(list(train.scores[rows]), list(train.ratings[rows]), [train.groups[i] for i in rows])
            errors.append(brier(map_scores(fit.points, list(dev.scores)), dev.ratings))
            means.append(brier(np.full(len(dev.ratings), train.ratings[rows].mean()), dev.ratings))
        unit = f"squared error, {N_FEW} draws of ratings (interval: of the draws); ratio: share below the mean's error"
        less = float(np.mean(np.array(errors) < np.array(means)))
        cells.append(_cell(f"{dev.name}: {n} ratings", np.mean(errors), unit, errors, raw, "raw", N_FEW, ratio=less))
    return cells


def committees() -> list[Cell]:
    """Five judges of hanna, each alone and as a committee; and the spread of their scores as a sign of a wrong one."""
    train, dev = hanna(DATA, "train"), hanna(DATA, "dev")
    whole = committee(dev)
    draws = list(group_draws(whole.groups, seed=1, n_draws=N_BOOTSTRAP))
    fit = {name: fit_map(list(each.scores), list(each.ratings), each.groups) for name, each in train.items()}
    all_of = committee(train)
    together = fit_map(list(all_of.scores), list(all_of.ratings), all_of.groups)
    ours = (np.array(map_scores(together.points, list(whole.scores))) - whole.ratings) ** 2
    cells = []
    for name, each in dev.items():
        apart = [_rank(whole.scores[r], whole.ratings[r]) - _rank(each.scores[r], each.ratings[r]) for r in draws]
        rank = _rank(whole.scores, whole.ratings), _rank(each.scores, each.ratings)
        unit = "Spearman (interval: committee - judge)"
        cells.append(_cell(f"committee: Spearman beside {name}", rank[0], unit, apart, rank[1], name, len(ours)))
        error = (np.array(map_scores(fit[name].points, list(each.scores))) - each.ratings) ** 2
        lost = [float((ours - error)[rows].mean()) for rows in draws]
        unit = "squared error, both calibrated (interval: committee - judge)"
        what = f"committee: squared error beside {name}"
        cells.append(_cell(what, ours.mean(), unit, lost, error.mean(), name, len(ours)))
    apart_by, off = spread(dev), np.abs(whole.scores - whole.ratings)
    wrong = {
        f"more than {FAR:g} from people": off > FAR,
        f"on the other side of {PASS_AT:g}": (whole.scores >= PASS_AT) != (whole.ratings >= PASS_AT),
    }
    for limit in SPREADS:
        flagged = apart_by > limit
        for what, is_wrong in wrong.items():
            base = float(is_wrong.mean())
            for measure, of in (("precision", flagged), ("recall", is_wrong)):
                hit, n = int((flagged & is_wrong).sum()), int(of.sum())
                share = wilson_interval(hit, n) if n else None
                other, name = (base, "share of the answers") if measure == "precision" else (flagged.mean(), "flagged")
                case, bounds = (
                    f"spread over {limit:g}, {what}: {measure}",
                    (share.lower, share.upper) if share else (None, None),
                )
                cells.append(
                    cell(case, hit / n if n else None, f"{measure} (interval: Wilson)", n, bounds, other, name)
                )
    rank = _rank(apart_by, off)
    drawn = [_rank(apart_by[rows], off[rows]) for rows in draws]
    cells.append(_cell("spread: rank correlation with the distance", rank, "Spearman", drawn, n=len(off)))
    return cells


def intervals(split: str = "dev") -> list[Cell]:
    """Coverage and width of 95 % intervals of the mean rating, on populations drawn from one split's answers."""
    cells = []
    for judged in _figures(split):
        for n in SIZES:
            rng = np.random.default_rng(3)
            seen = [rng.integers(len(judged.scores), size=N_JUDGED) for _ in range(N_DRAWS)]
            truth = judged.ratings.mean()
            intervals = [_ours(judged.scores[rows], judged.ratings[rows[:n]]) for rows in seen]
            ours, people, wide = zip(*intervals, strict=True)
            rivals: dict[str, Sequence[tuple[float, float]]] = {
                "Detent": ours,
                "people alone": people,
                "ppi-python": [others.ppi_python(judged.scores[r], judged.ratings[r[:n]]) for r in seen],
                "cje-eval": [others.cje_eval(judged.scores[r], judged.ratings[r[:n]]) for r in seen[:N_DRAWS_SLOW]],
            }
            width = np.mean([high - low for low, high in people])
            for name, each in rivals.items():
                hits = sum(low <= truth <= high for low, high in each)
                covered = wilson_interval(hits, len(each))
                its = np.mean([high - low for low, high in each])
                cells.append(
                    Cell(
                        case=f"{judged.name}, n {n}: {name}",
                        ours=hits / len(each),
                        other=float(its),
                        other_name="width",
                        ratio=float(its / width),
                        low=covered.lower,
                        high=covered.upper,
                        unit="coverage of 95 % (interval: Wilson; ratio: width beside people's ratings alone)",
                        n=len(each),
                    )
                )
            if n == SIZES[0]:
                later = [_ours(judged.scores[r], judged.ratings[r[: n + 70]])[0] for r in seen[:500]]
                got = float(np.mean([high - low for low, high in later]))
                said = float(np.mean(wide[:500]))
                what = f"{judged.name}: width at {n + 70} as predicted at {n}"
                cells.append(_cell(what, said, "width", None, got, "width obtained", 500, ratio=said / got))
            print(judged.name, n, f"{cells[-1].case}", flush=True)
    return cells


def _ours(scores: np.ndarray, ratings: np.ndarray) -> tuple[tuple[float, float], tuple[float, float], float]:
    rated = [RatedAnswer(score=s, rating=r) for s, r in zip(scores.tolist(), ratings.tolist(), strict=False)]
    estimate = powered_mean(float(scores.mean()), len(scores), rated)
    assert estimate is not None
    return (
        (estimate.interval.lower, estimate.interval.upper),
        (estimate.people.lower, estimate.people.upper),
        estimate.width_after(70),
    )


def _all_judges(split: str) -> list[RatedScores]:
    members = hanna(DATA, split)
    return [*unieval(DATA, split), *members.values(), committee(members)]


def _figures(split: str) -> list[RatedScores]:
    """Graded ratings; and of one dimension of each set whether the answer passes."""
    judged = _all_judges(split)
    passing = [
        RatedScores(
            name=f"{each.name}, passes",
            scores=each.scores,
            ratings=(each.ratings >= PASS_AT).astype(float),
            groups=each.groups,
        )
        for each in judged
        if each.name.endswith(("overall", "consistency", "five")) and 0 < (each.ratings >= PASS_AT).mean() < 1
    ]
    return [*judged, *passing]


def _rank(scores: np.ndarray, ratings: np.ndarray) -> float:
    if np.ptp(scores) == 0 or np.ptp(ratings) == 0:
        return float("nan")
    return float(spearmanr(scores, ratings)[0])


def _cell(
    case: str,
    ours: float,
    unit: str,
    draws: Sequence[float] | None = None,
    other: float | None = None,
    name: str = "",
    n: int = 0,
    ratio: float | None = None,
) -> Cell:
    low, high = (None, None) if draws is None else (float(each) for each in np.nanquantile(draws, [0.025, 0.975]))
    known = None if other is None else float(other)
    return Cell(
        case=case, ours=float(ours), other=known, other_name=name, ratio=ratio, low=low, high=high, unit=unit, n=n
    )


def main() -> int:
    options_of(__doc__)
    data_of("judge_calibration")
    cells = [*calibrations(), *committees(), *intervals()]
    write_result("judges", cells)
    low = [c.case for c in cells if c.case.endswith(": Detent") and (c.ours or 0) < LEAST_COVERAGE]
    print("\n".join(low) or f"No interval covers less than {LEAST_COVERAGE}.")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
