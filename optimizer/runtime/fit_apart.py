"""Fits a judge's map in a process of its own, so that the api never loads scikit-learn.

``python -m optimizer.runtime.fit_apart`` reads the answers as JSON from stdin and writes the fit to stdout.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

from optimizer.core.base.answers import of_members
from optimizer.core.base.errors import Busy
from optimizer.core.evaluation.judging.calibration import Agreement, FittedJudge

WITHIN_S = 120.0


def fit_judge_apart(
    scores: Sequence[float], ratings: Sequence[float], groups: Sequence[str], passes: float
) -> FittedJudge:
    """core.evaluation.judging.calibration.FitJudge. Raises Busy where the process does not end well or in time."""
    values = json.dumps([list(scores), list(ratings), list(groups), passes])
    command = [sys.executable, "-m", __name__]
    try:
        process = subprocess.run(command, input=values, capture_output=True, text=True, timeout=WITHIN_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        raise Busy(
            f"The judge was not calibrated: the process that fits its map did not end well"
            f" ({detail.strip().splitlines()[-1] if detail.strip() else type(error).__name__}). Try again, or run"
            " `detent judge calibrate`."
        ) from error
    fitted = json.loads(process.stdout)
    points = tuple((float(score), float(rating)) for score, rating in fitted["points"])
    return FittedJudge(method=fitted["method"], points=points, agreement=of_members(Agreement, fitted["agreement"]))


def main() -> None:
    from optimizer.adapters.predictors.judge_agreement import fit_judge

    scores, ratings, groups, passes = json.load(sys.stdin)
    fitted = fit_judge(scores, ratings, groups, passes)
    json.dump({"method": fitted.method, "points": fitted.points, "agreement": asdict(fitted.agreement)}, sys.stdout)


if __name__ == "__main__":
    main()
