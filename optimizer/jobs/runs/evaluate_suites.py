"""Evaluates a Variant suite by suite within one budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from optimizer.core.base.errors import BudgetExhausted, InvalidInput, ModelFailed
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.suite import FULL, suites_of
from optimizer.core.evaluation.trivial_baselines import Classify
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.views.evaluation import EvaluationReport, NotMeasured, SuitesReport
from optimizer.jobs.context import JobContext
from optimizer.jobs.studies.evaluate_variant import evaluate_variant
from optimizer.jobs.studies.evaluations.plan_evaluation import EvaluationScope


def scopes_of(family: Family, scope: EvaluationScope) -> list[EvaluationScope]:
    """One for each suite of the family where ``scope`` asks for all of them, else itself.

    Raises InvalidInput where the family has none.
    """
    if scope.suite != FULL:
        return [scope]
    suites = suites_of(family)
    if not suites:
        raise InvalidInput(
            f"{family.name} has no suite: its file has no targets, and there is no golden.jsonl beside it"
            " (docs/how-to/keep-golden-scenarios.md)."
        )
    return [replace(scope, suite=name) for name in suites]


def evaluate_suites(
    context: JobContext,
    family: Family,
    variant: Variant,
    scopes: Sequence[EvaluationScope],
    *,
    actor: str,
    classify: Classify,
    usd: float | None = None,
) -> SuitesReport:
    """What was measured, and of each other suite why it was not: what is known is not lost with the rest.

    Where the money ends the journal may still have the answers of a later suite, so each is tried.

    Args:
        usd: dollars at most of all suites together.
    Raises:
        BudgetExhausted, ModelFailed: no suite could be measured; why the first was not. Else as ``evaluate_variant``.
    """
    reports: list[EvaluationReport] = []
    not_measured: list[NotMeasured] = []
    first: BaseException | None = None
    for scope in scopes:
        try:
            report = evaluate_variant(
                context, family, variant, scope, actor=actor, classify=classify, calls=Budget(usd=usd)
            )
        except (BudgetExhausted, ModelFailed) as reason:
            first = first or reason
            not_measured.append(NotMeasured(suite=str(scope.suite), why=str(reason)))
            usd = None if usd is None else 0.0
        else:
            reports.append(report)
            usd = None if usd is None else max(0.0, usd - (report.spent_usd or 0.0))
    if first is not None and not reports:
        raise first
    with context.store.read() as tx:
        champion = context.store.champions.current(tx, family.name)
    return SuitesReport(
        family=family.name,
        variant=variant.id,
        champion=champion.variant if champion is not None else None,
        suites=reports,
        not_measured=not_measured,
    )
