"""Several proposals at one look: tested in an order that was frozen before it, from the safest to the boldest,
until the first that fails.

Each is tested at the whole level. A wrong acceptance needs the first truly bad proposal of the order to pass its own
test, whatever the correlation of the proposals, so the level needs no correction. Sources: Maurer, Hothorn and
Lehmacher (1995); Westfall and Krishen (2001), Journal of Statistical Planning and Inference 99, 25-40.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.phrasing import count
from optimizer.core.search.study import Study
from optimizer.core.statistics.noninferiority import NotLower

SEQUENCE = "sequence"  # name of the finding
SAVED, LOSS = "saved_predicted", "loss_predicted"  # of a proposal's parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedLoss:
    """What a proposal is expected to do on rows that it was not fitted to.

    saved: share of the champion's dollars, below 1. loss: of the mean score against the champion, in [-1, 1].
    """

    variant: str
    saved: float
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceTest:
    """One test of the sequence. lift: candidate's mean score less the champion's on the holdout."""

    variant: str
    p: float
    lift: float
    passed: bool

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


def ordered(proposals: Sequence[PredictedLoss], *, worth: float) -> list[PredictedLoss]:
    """Those that are predicted to save ``worth`` or more, the safest first:
    by predicted loss, then by what they save.
    """
    return sorted((one for one in proposals if one.saved >= worth), key=lambda one: (one.loss, one.saved, one.variant))


def frozen(sequence: Sequence[PredictedLoss]) -> dict[str, Any]:
    """The sequence as a study keeps it, with the SHA-256 of it:
    what was written down before the look can be checked after it.
    """
    proposals = [asdict(one) for one in sequence]
    return {"proposals": proposals, "hash": digest(canonical_json(proposals))}


def read_frozen(findings: Mapping[str, Any] | None) -> list[str] | None:
    """Variants of a study's frozen sequence in its order; None where it has none."""
    sequence = (findings or {}).get(SEQUENCE)
    return None if sequence is None else [str(one["variant"]) for one in sequence["proposals"]]


def chosen_on(study: Study) -> str:
    """Where a candidate has to beat the champion before any look at the holdout."""
    return "dev" if read_frozen(study.findings) is None else "cross-fitted rows"


def with_sequence(test: NotLower, steps: Sequence[SequenceTest]) -> NotLower:
    """The test of the one that was kept, with the largest p up to it:
    what is reported pays for every test before it.
    """
    return replace(test, p=max([test.p, *(step.p for step in steps if step.passed)]))


def in_words(steps: Sequence[SequenceTest]) -> str:
    """How the sequence went."""
    passed = sum(step.passed for step in steps)
    last = steps[-1]
    if not passed:
        return (
            f"Of the proposals the safest, {last.variant}, was tested first and did not pass, which ends the sequence."
        )
    text = f"{count(passed, 'proposal')} passed in the order frozen before the look, safest first"
    return f"{text}, and {last.variant} ended it." if not last.passed else f"{text}: all that were tested."
