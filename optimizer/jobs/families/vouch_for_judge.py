"""The gate of families whose quality is a judge's score: whether people's ratings vouch for this judge."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.core.evaluation.gates import GateRecord, GateVerdict, as_record
from optimizer.core.evaluation.judging.calibration import GATE, Calibration, calibrated_gate, judge_identity
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.search.answer_bounds import acts_on_judge, judge_of_metrics
from optimizer.ports import Store, Transaction


def latest_calibration(family: Family, store: Store) -> Calibration | None:
    """The latest calibration of the judge in the family's file, else of another one; None without any, or without a
    judge.
    """
    if family.judge is None:
        return None
    with store.read() as tx:
        return calibration_of_judge(family.name, judge_identity(family), store, tx)


def judge_gates(
    family: Family,
    store: Store,
    tx: Transaction | None = None,
    *,
    metric_source: str | None = None,
    scored_by: str | None = None,
    variants: Sequence[Variant] = (),
) -> list[GateRecord]:
    """One gate as recorded, where a judge has a say; else none.

    A judge has a say where it scores the family's answers, where a rollout's metric is feedback by a judge, where a
    judge scored the confirmation of a candidate, or where the policy of one of these variants holds back what a judge
    finds weak.

    Args:
        scored_by: ``judge_identity`` of the judge of that confirmation. People have to vouch for this very judge too:
            the file may name another one, or none, by now.
    """
    if tx is None:
        with store.read() as reading:
            return judge_gates(
                family, store, reading, metric_source=metric_source, scored_by=scored_by, variants=variants
            )
    own = None if family.judge is None else judge_identity(family)
    is_own_asked = judge_of_metrics(family) is not None or metric_source == "judge" or any(map(acts_on_judge, variants))
    judges = dict.fromkeys([*([own] if is_own_asked else ()), *([scored_by] if scored_by is not None else ())])
    gates = [calibrated_gate(judge, calibration_of_judge(family.name, judge, store, tx)) for judge in judges]
    return [as_record(gate) for gate in sorted(gates, key=lambda gate: gate.verdict is GateVerdict.PASS)[:1]]


def calibration_of_judge(family: str, judge: str | None, store: Store, tx: Transaction) -> Calibration | None:
    """The latest calibration of this judge, else of another one; None where there is none."""
    calibrations = [record.calibration for record in store.calibrations.history(tx, family)]
    return next(
        (calibration for calibration in calibrations if calibration.judge == judge),
        calibrations[0] if calibrations else None,
    )


def without_judge_gate(gates: Sequence[GateRecord]) -> list[GateRecord]:
    """The gates of a confirmation without the judge's, which is read anew: a calibration may have come since."""
    return [gate for gate in gates if gate["name"] != GATE]
