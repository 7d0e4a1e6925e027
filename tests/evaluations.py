"""An evaluation as a test has it made, by what it names."""

from __future__ import annotations

from typing import Any

from optimizer.core.base.values import Budget
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
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
    """``options``: of the job's context, of the scope, and ``budget`` or ``study``."""
    scope = EvaluationScope(**{name: options.pop(name) for name in OF_SCOPE if name in options})
    calls = options.pop("study", None) or options.pop("budget", None) or Budget()
    context: Any = JobContext(**{"families": None, **options})
    return evaluate_variant(context, family, variant, scope, actor=actor, classify=classify, calls=calls)
