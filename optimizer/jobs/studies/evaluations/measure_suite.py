"""Asks what an evaluation plans, and checks what was found against its suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from optimizer.core.base.values import ExampleResult, mean_score
from optimizer.core.dataset.examples import class_of
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.evaluation.suite import SCENARIOS, Check, Groups, check_suite
from optimizer.core.evaluation.timing import Timing
from optimizer.core.family.family import Family
from optimizer.core.family.golden import scoring_of
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelAnswer
from optimizer.core.policy.answer_checks import uses_tools
from optimizer.core.views.evaluation import ScenarioScores
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.calls.evaluation_calls import JudgeAccess
from optimizer.jobs.calls.example_shelf import Shelves
from optimizer.jobs.studies.evaluation import Evaluator
from optimizer.jobs.studies.evaluations.plan_evaluation import EvaluationPlan

COST = "cost_usd_per_call"
UNPRICED = f"{COST} could not be measured: a model that answered has no price in config/models.yaml"


def evaluators_of(
    plan: EvaluationPlan,
    family: Family,
    scorer_for: Callable[[Family], Scorer],
    open_model: Callable[[str], JournaledModel],
    *,
    judge: JudgeAccess,
    own: Mapping[str, ModelAnswer],
    shelves: Shelves,
) -> dict[str, Evaluator]:
    """Example id -> its evaluator, since golden rows may say which metrics count for them. Arguments as in
    ``Evaluator``.
    """
    by_metrics: dict[tuple[str, ...], Evaluator] = {}
    evaluators: dict[str, Evaluator] = {}
    for example in plan.examples:
        row = plan.rows.get(example.id)
        counts = row.counts if row is not None else ()
        if counts not in by_metrics:
            scored = family if row is None else scoring_of(family, row)
            by_metrics[counts] = Evaluator(
                scored,
                scorer_for(scored),
                open_model,
                own=own,
                judge=judge,
                shelves=shelves,
            )
        evaluators[example.id] = by_metrics[counts]
    return evaluators


def measure(
    plan: EvaluationPlan,
    variant: Variant,
    evaluators: dict[str, Evaluator],
    keep: Callable[[ExampleResult], None] = lambda result: None,
) -> list[ExampleResult]:
    """One result for each example, in order; ``keep`` takes each as it is measured."""
    results: dict[str, ExampleResult] = {}
    for evaluator in dict.fromkeys(evaluators.values()):
        own = [example for example in plan.examples if evaluators[example.id] is evaluator]
        results |= {result.example: result for result in evaluator.evaluate(variant, own, keep=keep)}
    return [results[example.id] for example in plan.examples]


def check_results(
    plan: EvaluationPlan,
    family: Family,
    results: Sequence[ExampleResult],
    beside: Sequence[ExampleResult],
    timing: Timing,
    *,
    is_priced: bool,
) -> list[Check]:
    """``is_priced``: ``all_priced`` of the Variant; without it nothing is known of what its answers cost."""
    assert plan.suite is not None
    champion = plan.champion
    scenarios = {id: row.scenario for id, row in plan.rows.items()}
    # Example whose tools found something > whether its answer uses it; one without an answer uses nothing.
    target = plan.suite.targets.tools_used if plan.suite is not None else None
    tools = {}
    if target is not None:
        texts = {r.example: r.output or "" for r in results}
        uses = {e.id: uses_tools(family.output, e.input, target.inputs, texts[e.id]) for e in plan.examples}
        tools = {id: used for id, used in uses.items() if used is not None}
    checks = check_suite(
        plan.suite.targets,
        results,
        champion=None if champion is not None and champion.id == plan.variant.id else beside,
        class_of=scenarios
        or {e.id: name for e in plan.examples if (name := class_of(e.expected, family.sample.balance)) is not None},
        timing=timing,
        groups=SCENARIOS if scenarios else Groups(),
        tools=tools,
    )
    return [
        replace(check, found=None, verdict="unmeasured", said=UNPRICED)
        if check.name == COST and not is_priced
        else check
        for check in checks
    ]


def scores_by_scenario(
    plan: EvaluationPlan, results: Sequence[ExampleResult], beside: Sequence[ExampleResult]
) -> list[ScenarioScores] | None:
    """None where no golden rows are asked."""
    if not plan.rows:
        return None
    scenarios = {id: row.scenario for id, row in plan.rows.items()}

    return [
        ScenarioScores(
            scenario=name,
            n=n,
            score=mean_score([r for r in results if scenarios[r.example] == name]),
            champion=mean_score([r for r in beside if scenarios[r.example] == name]),
        )
        for name, n in Counter(scenarios[r.example] for r in results).items()
    ]
