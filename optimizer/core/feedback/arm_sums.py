"""Events summed up by the arm they belong to: what a rollout's page says of each arm without reading its events."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from optimizer.core.feedback.stored_rows import FEEDBACK_COLUMNS, INTERACTION_COLUMNS, EventRow

KEY = ("family", "rollout", "variant", "role")
SUMS = (
    "n_interactions",
    "n_errors",
    "n_latency",  # interactions that say their latency
    "latency_sum_ms",
    "cost_usd",
    "n_labelled",  # outcomes with ``success``
    "n_success",
    "n_scored",
    "score_sum",
)
_arm_of_interaction = itemgetter(*map(INTERACTION_COLUMNS.index, KEY))
_arm_of_feedback = itemgetter(*map(FEEDBACK_COLUMNS.index, KEY))
_of_interaction = itemgetter(*map(INTERACTION_COLUMNS.index, ("error", "latency_ms", "cost_usd")))
_of_feedback = itemgetter(*map(FEEDBACK_COLUMNS.index, ("success", "score")))


def sums_by_arm(
    interactions: Sequence[EventRow], feedback: Sequence[EventRow]
) -> dict[tuple[str | None, ...], list[float]]:
    """Of rows as ``stored_rows.py`` makes them, by ``KEY``: the values of ``SUMS``, which the path of every event has
    no time to name.
    """
    sums: dict[tuple[str | None, ...], list[float]] = {}
    for row in interactions:
        arm = _arm_of_interaction(row)
        if (own := sums.get(arm)) is None:
            own = sums[arm] = [0] * len(SUMS)
        error, latency_ms, cost_usd = _of_interaction(row)
        own[0] += 1
        if error is not None:
            own[1] += 1
        if latency_ms is not None:
            own[2] += 1
            own[3] += latency_ms
        if cost_usd is not None:
            own[4] += cost_usd
    for row in feedback:
        arm = _arm_of_feedback(row)
        if (own := sums.get(arm)) is None:
            own = sums[arm] = [0] * len(SUMS)
        success, score = _of_feedback(row)
        if success is not None:
            own[5] += 1
            own[6] += success
        if score is not None:
            own[7] += 1
            own[8] += score
    return sums
