"""Fits a judge's map in a process of its own, so that the api never loads scikit-learn: ``python -m
optimizer.runtime.fit_apart`` reads the answers as JSON from stdin and writes the fit to stdout.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from optimizer.core.base.errors import Busy
from optimizer.core.evaluation.judging.agreement import FittedJudge, agreement_of

WITHIN_S = 120.0


def fit_judge_apart(
    scores: Sequence[float], ratings: Sequence[float], groups: Sequence[str], passes: float
) -> FittedJudge:
    """core.evaluation.judging.agreement.FitJudge. Raises Busy where that process does not end well or in time."""
    asked = json.dumps([list(scores), list(ratings), list(groups), passes])
    command = [sys.executable, "-m", __name__]
    try:
        done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=WITHIN_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise Busy(
            f"The judge was not calibrated: the process that fits its map did not end well"
            f" ({said.strip().splitlines()[-1] if said.strip() else type(error).__name__}). Try again, or run `detent"
            " judge calibrate`."
        ) from error
    found = json.loads(done.stdout)
    points = tuple((float(score), float(rating)) for score, rating in found["points"])
    return FittedJudge(method=found["method"], points=points, agreement=agreement_of(found["agreement"]))


def main() -> None:
    from optimizer.adapters.predictors.judge_agreement import fit_judge

    scores, ratings, groups, passes = json.load(sys.stdin)
    found = fit_judge(scores, ratings, groups, passes)
    json.dump({"method": found.method, "points": found.points, "agreement": found.agreement.as_data()}, sys.stdout)


if __name__ == "__main__":
    main()
