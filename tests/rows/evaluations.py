"""An evaluation as a test has it made, by what it names."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from optimizer.core.base.answers import members_of
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.suite import Check, EvaluationBatch
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.views.evaluation import EvaluationReport
from optimizer.jobs.calls.run_calls import RunCalls
from optimizer.jobs.context import JobContext
from optimizer.jobs.ids import new_id
from optimizer.jobs.studies.evaluate_variant import CallSource, evaluate_variant
from optimizer.jobs.studies.plan_evaluation import EvaluationScope
from tests.worlds.study_world import classify

SCORER_VERSION = "s"  # of every batch that does not name another
OF_SCOPE = ("split", "n", "bare", "suite")


def evaluated(family: Family, variant: Variant, *, actor: str, classify: Any, **options: Any) -> dict[str, Any]:
    """Its report as one document. ``options``: of the job's context, of the scope, and ``budget`` or ``study``."""
    scope = EvaluationScope(**{name: options.pop(name) for name in OF_SCOPE if name in options})
    source, budget = options.pop("study", None), options.pop("budget", Budget())
    context: Any = JobContext(**{"families": None, **options})
    if source is None:
        source = source_of(context, family, budget, actor)
    return asdict(evaluate_variant(context, family, variant, scope, classify=classify, calls=source))


def evaluate(world: Any, variant: Variant | None = None, **options: Any) -> dict[str, Any]:
    """Of the champion of a world of studies, as a person asks for it."""
    given = {
        "actor": "person",
        "store": world.store,
        "clock": world.clock,
        "models": world,
        "scorer_for": lambda family: world.scorer,
        "classify": classify,
        **options,
    }
    return evaluated(world.family, variant or world.family.variant(), **given)


def source_of(context: Any, family: Family, budget: Budget, actor: str = "anna") -> CallSource:
    """Calls of no study, each evaluation one of its own."""
    calls = RunCalls(store=context.store, clock=context.clock, models=context.models, budget=budget)
    return CallSource(
        open_model=lambda name, purpose: calls.journaled(name, family=family.name, purpose=purpose),
        own={},
        id=new_id("ev"),
        actor=actor,
        spend=calls.spend,
    )


def check_of(name: str, verdict: Any, said: str = "") -> Check:
    return Check(name=name, wanted=0.0, found=None, verdict=verdict, said=said)


def batch_of(**members: Any) -> EvaluationBatch:
    """Of ten examples of topics, but for what is named."""
    usual: dict[str, Any] = {
        **{"id": "eb_1", "family": "topics", "variant": "v_1", "model": "m", "dataset_hash": "h", "split": "dev"},
        **{
            "scorer_version": SCORER_VERSION,
            "n": 10,
            "n_errors": 0,
            "mean_score": 0.5,
            "score_low": None,
            "score_high": None,
        },
        **{"cost_usd": 0.1, "p95_latency_ms": None, "n_calls": 10, "created_by": "anna"},
        "created_at": datetime(2026, 11, 20, tzinfo=UTC),
    }
    return EvaluationBatch(**{**usual, **members})


def report_of(**members: Any) -> EvaluationReport:
    """Of such a batch; what it does not name is not known."""
    usual: dict[str, Any] = {"judgements": {}, "n_calls_in_all": 10, "truncated": {}, "n_refused": 0}
    own = {field.name for field in fields(EvaluationReport)} - {field.name for field in fields(EvaluationBatch)}
    rest = dict.fromkeys(own) | usual | {name: members.pop(name) for name in own & members.keys()}
    return EvaluationReport(**members_of(batch_of(**members)), **rest)
