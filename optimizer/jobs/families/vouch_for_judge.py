"""The gate of families whose quality is a judge's score: whether people's ratings vouch for this judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.core.evaluation.gates import as_record
from optimizer.core.evaluation.judging.calibration import GATE, Calibration, calibrated_gate
from optimizer.core.evaluation.judging.identity import judge_identity
from optimizer.core.family.family import Family
from optimizer.core.search.judging_cost import judge_of_scorer
from optimizer.ports import Store, Transaction


def latest_calibration(family: Family, store: Store, tx: Transaction | None = None) -> Calibration | None:
    """Of the judge that the family's file names now, else of another one; None where there is none, or no judge."""
    if family.judge is None:
        return None
    if tx is None:
        with store.read() as reading:
            return latest_calibration(family, store, reading)
    found = [record.calibration for record in store.calibrations.history(tx, family.name)]
    own = (one for one in found if one.judge == judge_identity(family))
    return next(own, found[0] if found else None)


def judge_gates(
    family: Family, store: Store, tx: Transaction | None = None, *, metric_source: str | None = None
) -> list[Mapping[str, Any]]:
    """One gate as recorded, where a judge scores the family's answers or a rollout's metric is feedback by a judge;
    else none.
    """
    if judge_of_scorer(family) is None and metric_source != "judge":
        return []
    identity = None if family.judge is None else judge_identity(family)
    return [as_record(calibrated_gate(identity, latest_calibration(family, store, tx)))]


def without_judge_gate(gates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The gates of a confirmation without the judge's, which is read anew: a calibration may have come since."""
    return [gate for gate in gates if gate["name"] != GATE]
