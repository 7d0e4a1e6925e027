"""The quality filter: a weighted score, and how many of four checks an item has to pass to be processed in full.

Also how long each way through the pipeline takes, as a share of full processing. It is written with operators only: the
same lines judge one record (floats) and all records at once (numpy columns). A value that was not measured is NaN,
which compares as False both ways, so it fails no check. An item is sent the light way only when so many checks are
known to fail that the others cannot make up for it: missing values bypass nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.content.core.records.fields import CHECKPOINTS
from optimizer.core.base.knob import Knob

WEIGHTS: Mapping[str, float] = {
    "length_score": 0.25,
    "structure_score": 0.15,
    "coherence_score": 0.25,
    "topic_clarity_score": 0.20,
    "language_score": 0.15,
}
CHECKS: Mapping[str, tuple[str, str]] = {  # name of the check -> (threshold, field)
    "words": ("min_words", "word_count"),
    "sentences": ("min_sentences", "sentence_count"),
    "coherence": ("min_coherence", "coherence_score"),
    "overall": ("min_overall", "overall_quality"),
}
# Checked only where a record carries the score; one below its minimum is enough.
MINIMA: Mapping[str, tuple[str, str]] = {
    "completeness": ("min_completeness", "completeness_score"),
    "informativeness": ("min_informativeness", "informativeness_score"),
    "predicted_quality": ("min_predicted_quality", "predicted_quality"),
}
FIELD_OF: Mapping[str, str] = dict([*CHECKS.values(), *MINIMA.values()])
NEVER = float("-inf")  # a threshold below which nothing lies
SLACK = 1e-9  # a weighted sum of floats may end slightly below the exact number

_STRICTER = "raising it sends more items the light way: faster, and what is still processed in full is better"
KNOBS: tuple[Knob, ...] = (
    Knob(
        name="filter.enabled",
        kind="flag",
        default=True,
        meaning="off: items that are routed quality_check are all processed in full.",
    ),
    Knob(
        name="filter.min_overall",
        kind="share",
        default=0.65,
        meaning=f"Overall quality from which the fourth check is passed; {_STRICTER}.",
    ),
    Knob(
        name="filter.min_coherence",
        kind="share",
        default=0.6,
        meaning=f"Coherence from which the third check is passed; {_STRICTER}.",
    ),
    Knob(
        name="filter.min_words",
        kind="integer",
        default=500,
        low=0,
        meaning=f"Words from which the first check is passed; {_STRICTER}.",
    ),
    Knob(
        name="filter.min_sentences",
        kind="integer",
        default=10,
        low=0,
        meaning=f"Sentences from which the second check is passed; {_STRICTER}.",
    ),
    Knob(
        name="filter.checks_needed",
        kind="integer",
        default=3,
        low=0,
        high=len(CHECKS),
        meaning=f"How many of the four checks an item has to pass; {_STRICTER}. 0 lets every item pass.",
    ),
    *(
        Knob(
            name=f"filter.{threshold}",
            kind="share",
            meaning=f"Least `{field}`, checked only where a record carries it; {_STRICTER}. Left out: never checked.",
        )
        for threshold, field in MINIMA.values()
    ),
)


def overall_of(values: Mapping[str, Any]) -> Any:
    """The weighted sum of the five parts, from 0 to 1; not measured (NaN) where a part is missing.

    Floats or columns.
    """
    return sum(weight * values[part] for part, weight in WEIGHTS.items())


def known_failures(values: Mapping[str, Any], thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> whether the check or minimum is known to fail.

    ``thresholds`` has every name of ``FIELD_OF``; floats or columns.
    """
    return {
        name: values[field] < thresholds[threshold] - SLACK
        for name, (threshold, field) in [*CHECKS.items(), *MINIMA.items()]
    }


def is_bypassed(values: Mapping[str, Any], thresholds: Mapping[str, Any]) -> Any:
    """Whether too many checks fail for full processing, or a score lies below its minimum; bool or a column of them."""
    failures = known_failures(values, thresholds)
    bypassed = sum(1 * failures[name] for name in CHECKS) > len(CHECKS) - thresholds["checks_needed"]
    for name in MINIMA:
        bypassed = bypassed | failures[name]
    return bypassed


def outcomes_of_checks(values: Mapping[str, Any], thresholds: Mapping[str, Any]) -> dict[str, bool | None]:
    """Passed, failed or None (not measured), by name, for one record; minima only where one is set."""
    failures = known_failures(values, thresholds)
    return {
        name: None if values[field] != values[field] else not failures[name]  # NaN alone differs from itself
        for name, (threshold, field) in [*CHECKS.items(), *MINIMA.items()]
        if name in CHECKS or thresholds[threshold] != NEVER
    }


# By way through the pipeline, or checkpoint of an early exit: shares of the time of full processing, each from 0 to 1.
# The light way's .15 is given. The exits are assumed: the steps before them are paid for, and an exit after the filter
# costs less than the light way, which goes on from there.
TIMES: Mapping[str, float] = {
    "full": 1.0,
    "lightweight": 0.15,
    **dict(zip(CHECKPOINTS, (0.02, 0.08, 0.10, 0.60), strict=True)),
}
