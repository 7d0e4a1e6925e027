"""An evaluation as a test has it made, by what it names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from optimizer.core.base.values import Budget
from optimizer.core.evaluation.suite import Check, EvaluationBatch
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.views.evaluation import EvaluationReport
from optimizer.jobs.context import JobContext
from optimizer.jobs.studies.evaluate_variant import evaluate_variant
from optimizer.jobs.studies.evaluations.plan_evaluation import EvaluationScope

OF_SCOPE = ("split", "n", "bare", "suite")


def context_in(world: Any) -> JobContext:
    return JobContext(
        store=world.store,
        clock=world.clock,
        families=world.families,
        models=world,
        scorer_for=lambda family: world.scorer,
    )


def evaluated(family: Family, variant: Variant, *, actor: str, classify: Any, **options: Any) -> dict[str, Any]:
    """Its report as one document. ``options``: of the job's context, of the scope, and ``budget`` or ``study``."""
    scope = EvaluationScope(**{name: options.pop(name) for name in OF_SCOPE if name in options})
    calls = options.pop("study", None) or options.pop("budget", None) or Budget()
    context: Any = JobContext(**{"families": None, **options})
    return evaluate_variant(context, family, variant, scope, actor=actor, classify=classify, calls=calls).as_data()


def check_of(name: str, verdict: Any, said: str = "") -> Check:
    return Check(name=name, wanted=0.0, found=None, verdict=verdict, said=said)


def batch_of(**members: Any) -> EvaluationBatch:
    """Of ten examples of topics, but for what is named."""
    usual: dict[str, Any] = {
        "id": "eb_1",
        "family": "topics",
        "variant": "v_1",
        "model": "m",
        "dataset_hash": "h",
        "split": "dev",
        "scorer_version": "s",
        "n": 10,
        "n_errors": 0,
        "mean_score": 0.5,
        "score_low": None,
        "score_high": None,
        "cost_usd": 0.1,
        "p95_latency_ms": None,
        "n_calls": 10,
        "created_by": "anna",
        "created_at": datetime(2026, 11, 20, tzinfo=UTC),
    }
    return EvaluationBatch(**{**usual, **members})


def report_of(**members: Any) -> EvaluationReport:
    """Of such a batch."""
    return EvaluationReport(
        batch=batch_of(**members),
        scenarios=None,
        labels=None,
        trivial_baselines=None,
        judge=None,
        judgements={},
        n_calls_in_all=10,
        spent_usd=None,
        beside=None,
        suite_name=None,
        n_wanted=None,
        truncated={},
        n_refused=0,
        timing=None,
        commonest_error=None,
    )
