"""Evaluates a Variant suite by suite within one budget."""

from __future__ import annotations

from dataclasses import replace

from optimizer.core.base.errors import BudgetExhausted, Busy, DetentError, InvalidInput, NotFound
from optimizer.core.evaluation.suite import DEFAULT, FULL, suites_of
from optimizer.core.evaluation.trivial_baselines import Classify
from optimizer.core.family.family import Family
from optimizer.core.views.evaluation import (
    EvaluationReport,
    EvaluationRun,
    NotMeasured,
    SuitesReport,
    worst_verdict,
)
from optimizer.jobs.calls.run_calls import RunCalls
from optimizer.jobs.context import JobContext
from optimizer.jobs.dataset.golden_scenarios import with_kept_golden
from optimizer.jobs.studies.evaluate_variant import CallSource, evaluate_variant
from optimizer.jobs.studies.plan_evaluation import EvaluationScope


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
    context: JobContext, family: Family, run: EvaluationRun, calls: RunCalls, *, classify: Classify
) -> SuitesReport:
    """What was measured, and of each other suite why it was not: what is known is not lost with the rest.

    Where the money ends the journal may still have the answers of a later suite, so each is tried.

    Raises:
        NotFound: the variant is gone.
        DetentError: no suite was measured, and one of them not for want of money: its reason, such as ModelFailed.
    """
    store, request = context.store, run.request
    with store.read() as tx:
        family = with_kept_golden(tx, store, family)
        record = store.variants.get(tx, family.name, request["variant"])
        champion = store.champions.current(tx, family.name)
        own = store.journal.answers(tx, run.id)
    if record is None:
        raise NotFound(f"{family.name} has no variant {request['variant']!r} any more.", variant=request["variant"])

    source = CallSource(
        open_model=lambda name, purpose: calls.journaled(name, family=family.name, purpose=purpose),
        own=own,
        id=run.id,
        actor=run.created_by,
        spend=calls.spend,
        keep=calls.counted(),
    )
    reports: list[EvaluationReport] = []
    not_measured: list[NotMeasured] = []
    failure: DetentError | None = None
    scope = EvaluationScope(split=request["split"], n=request["n"], bare=request["bare"], suite=request["suite"])
    for one in scopes_of(family, scope):
        try:
            reports.append(evaluate_variant(context, family, record.variant, one, classify=classify, calls=source))
        except Busy:  # the run is taken up again
            raise
        except (BudgetExhausted, DetentError) as reason:
            failure = failure if isinstance(reason, BudgetExhausted) else reason
            not_measured.append(NotMeasured(suite=one.suite or DEFAULT, why=str(reason)))
    if failure is not None and not reports:
        raise failure
    return SuitesReport(
        family=family.name,
        variant=record.variant.id,
        champion=champion.variant if champion is not None else None,
        verdict=worst_verdict(reports, not_measured),
        suites=reports,
        not_measured=not_measured,
        family_suites={name: suite.n_asked for name, suite in suites_of(family).items()},
    )
