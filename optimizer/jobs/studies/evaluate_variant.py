"""Evaluates one Variant on train or dev examples or golden scenarios, outside a study, and stores the
sums as a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from optimizer.core.base.answers import members_of
from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import BudgetExhausted, ModelFailed
from optimizer.core.base.values import ExampleResult, Spend, mean_score, p95_ms, scores_by_example
from optimizer.core.dataset.examples import class_of, select
from optimizer.core.evaluation.judging.report import judge_report
from optimizer.core.evaluation.label_report import read_labels
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.evaluation.suite import (
    SCENARIOS,
    Check,
    EvaluationBatch,
    Groups,
    check_suite,
    evidence_of,
    suite_id,
)
from optimizer.core.evaluation.timing import N_TIMED, RowRatios, Timing, timing_of
from optimizer.core.evaluation.trivial_baselines import Classify, TrivialBaselines, measure_trivial, trivial_scores
from optimizer.core.family.family import Family
from optimizer.core.family.golden import scoring_of
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelAnswer
from optimizer.core.policy.answer_checks import uses_tools
from optimizer.core.search.answer_bounds import all_priced, models_asked
from optimizer.core.search.study import Definition
from optimizer.core.statistics.interval import mean_score_interval
from optimizer.core.views.evaluation import EvaluationReport, ScenarioScores, TimingFigures
from optimizer.jobs.calls.ask_judge import JUDGE
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.calls.evaluation_calls import JudgeAccess
from optimizer.jobs.calls.shelves import Shelves
from optimizer.jobs.context import JobContext
from optimizer.jobs.dataset.build_dataset import cut_as_served, train_examples
from optimizer.jobs.families.vouch_for_judge import latest_calibration
from optimizer.jobs.studies.evaluation import Evaluator
from optimizer.jobs.studies.plan_evaluation import (
    EvaluationPlan,
    EvaluationScope,
    plan_evaluation,
)
from optimizer.jobs.studies.time_calls import PURPOSE as TIMING, time_calls
from optimizer.ports import Store

EVALUATION = "evaluation"  # the purpose of its calls
SHOWN_CHARS = 60  # of an answer in which there is an error
COST = "cost_usd_per_call"
UNPRICED = f"{COST} could not be measured: a model that answered has no price in config/models.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSource:
    """The calls of a study or a run, under its caps; after a kill nothing is asked twice.

    Args:
        open_model: from (name, purpose).
        own: request key -> answer from before the kill: its latency counts as measured.
        id: of the evaluation, the same before and after a kill: it names the timing, and the batch that is stored.
        actor: who asked for it.
        spend: so far, all of the study's or run's.
        keep: takes each result of the Variant and the champion as it is measured.
    """

    open_model: Callable[[str, str], JournaledModel]
    own: Mapping[str, ModelAnswer]
    id: str
    actor: str
    spend: Callable[[], Spend]
    keep: Callable[[ExampleResult], None] = lambda result: None


def evaluate_variant(
    context: JobContext,
    family: Family,
    variant: Variant,
    scope: EvaluationScope,
    *,
    classify: Classify,
    calls: CallSource,
) -> EvaluationReport:
    """Scores ``variant`` on at most ``scope.n`` examples, drawn by hash, balanced as the family asks; stores the sums.

    With targets in the family, an evaluation on at least ``targets.n`` dev examples (all, where there are fewer) is
    checked against them. For ``regression`` the champion is evaluated on the same examples. Where a latency is needed
    and the journal has the answers, fresh calls are timed. Where the budget ends at the bare prompt, the rest is
    reported. The holdout cannot be evaluated here: only a study's confirmation looks at it.

    Raises:
        InvalidInput: n below 1, a split that is not train or dev, or a suite that the family does not have.
        Conflict: a golden scenario asks what the sealed holdout or the prompt of an evaluated Variant holds.
        DatasetTooSmall: the split is empty.
        ModelFailed: not one example was answered.
        BudgetExhausted: the budget ran out; the answers stay in the journal.
    """
    store, before = context.store, calls.spend()
    plan = plan_evaluation(family, variant, scope, store)
    scorer = context.scorer_for(family)
    calibration = partial(latest_calibration, family, store)
    evaluators = _evaluators_of(
        plan,
        family,
        context.scorer_for,
        lambda name: calls.open_model(name, EVALUATION),
        judge=JudgeAccess(open_model=lambda name: calls.open_model(name, JUDGE), calibration=calibration),
        own=calls.own,
        shelves=Shelves.of(store, context.models),
    )
    results = _measure(plan, variant, evaluators, calls.keep)
    if all(r.output is None for r in results):
        raise ModelFailed(
            f"The model answered none of the {len(results)} examples. First failure: {results[0].error}",
            kind="unreachable",
        )
    n_fresh = sum(evaluator.counts.fresh_by_variant.total() for evaluator in set(evaluators.values()))
    batch = _batch(plan, family, results, scorer, calls, n_calls=n_fresh, at=context.clock.now())
    beside: list[ExampleResult] = []
    timing: Timing | None = None
    if plan.suite is not None:
        beside = _measure(plan, plan.beside, evaluators, calls.keep) if plan.beside is not None else []
        timing = _timing(plan, family, results, scorer, calls, context)
        is_priced = all_priced(family, [variant], context.models.price)
        batch = replace(
            batch,
            p95_latency_ms=batch.p95_latency_ms or timing.p95_ms,
            checks=_check_results(plan, family, results, beside, timing, is_priced=is_priced),
        )
    store.write(lambda tx: store.performance.add_batch(tx, batch))
    without_model = None if plan.rows else _without_model(plan, family, evaluators, results, scorer, store, classify)
    spent, prices = calls.spend(), [context.models.price(name) for name in models_asked(family, plan.variants)]
    failed = [r for r in results if r.error is not None]
    commonest = Counter(r.error for r in failed).most_common(1)[0][0] if failed else None
    answer = next((r.output for r in failed if r.error == commonest and r.output), None)
    return EvaluationReport(
        **members_of(batch),
        scenarios=_scores_by_scenario(plan, results, beside),
        labels=read_labels(family.output, {e.id: e.expected for e in plan.examples}, results),
        trivial_baselines=without_model,
        judge=judge_report(family, results, calibration()) if scorer.is_judged else None,
        judgements={r.example: r.judgement for r in results if scorer.is_judged and r.judgement is not None},
        n_calls_in_all=spent.n_calls - before.n_calls,
        spent_usd=None if None in prices else spent.usd - before.usd,
        beside=plan.beside.id if plan.beside is not None else None,
        suite_name=plan.suite.name if plan.suite is not None else None,
        n_wanted=plan.n_wanted,
        truncated=plan.truncated,
        n_refused=plan.n_refused,
        timing=None
        if timing is None or not (timing.mine or timing.why)
        else TimingFigures(n=len(timing.mine), p95_ms=timing.p95_ms, slowdown=timing.slowdown, why=timing.why),
        commonest_error=commonest if answer is None else f"{commonest}, as in {answer[:SHOWN_CHARS]!r}",
    )


def _timing(
    plan: EvaluationPlan,
    family: Family,
    results: Sequence[ExampleResult],
    scorer: Scorer,
    calls: CallSource,
    context: JobContext,
) -> Timing:
    """Of fresh calls where the evaluation itself measured no latency that is asked for: none side by side, and of the
    Variant alone too few where the journal answered.
    """
    store, timing = context.store, timing_of(results)
    if not plan.times_pairs and (not plan.times or len(timing.mine) >= min(N_TIMED, len(plan.examples))):
        return timing

    def earlier(timed_as: str) -> list[list[RowRatios]]:
        """What earlier evaluations of the same Variant beside the same champion measured, oldest first."""
        assert plan.champion is not None
        with store.read() as tx:
            batches = store.performance.batches(tx, family.name)
        return evidence_of(batches, plan.variant.id, suite_id(family, plan.champion.id, plan.suite), timed_as)

    calibration, shelves = partial(latest_calibration, family, store), Shelves.of(store, context.models)
    return time_calls(
        plan,
        run=calls.id,
        open_model=lambda name: calls.open_model(name, TIMING),
        evaluator=lambda opened: Evaluator(
            family, scorer.unjudged(), opened, judge=JudgeAccess(calibration=calibration), shelves=shelves
        ),
        earlier=earlier,
    )


def _without_model(
    plan: EvaluationPlan,
    family: Family,
    evaluators: dict[str, Evaluator],
    results: Sequence[ExampleResult],
    scorer: Scorer,
    store: Store,
    classify: Classify,
) -> TrivialBaselines:
    # Where the budget ends at the bare prompt, what was measured before is reported all the same.
    bare: dict[str, float] | str | None = None
    if plan.bare is not None:
        try:
            bare = dict(scores_by_example(_measure(plan, plan.bare, evaluators)))
        except BudgetExhausted as exhausted:
            bare = f"the budget ended before every example was asked; what was answered is kept. {exhausted}"
    # What a study would show and learn from: as many training examples as it takes by itself, none of a group that is
    # scored here
    groups = {e.group for e in plan.examples}
    with store.read() as tx:
        by_id = {e.id: e for e in train_examples(family, store, tx) if e.group not in groups}
    labels = [(e.id, class_of(e.expected, family.sample.balance)) for e in by_id.values()]
    ids = select(
        labels, Definition().n_train, balance=family.sample.balance is not None, seed_text=f"detent/{family.name}"
    )
    train = [cut_as_served(family, by_id[id]) for id in ids]
    return measure_trivial(
        train,
        plan.examples,
        trivial_scores(family, train, plan.examples, scorer, classify=classify),
        variant=plan.variant.id,
        scores=scores_by_example(results),
        bare=bare
        if bare is not None
        else (
            "not asked; --bare asks it, one call an example"
            if plan.variant.examples
            else f"{plan.variant.id} is one: it shows no examples"
        ),
    )


def _batch(
    plan: EvaluationPlan,
    family: Family,
    results: Sequence[ExampleResult],
    scorer: Scorer,
    calls: CallSource,
    *,
    n_calls: int,
    at: datetime,
) -> EvaluationBatch:
    """The batch without checks. Its id names its owner and its question, so one that goes on after a kill is stored
    once.
    """
    scores = [r.score for r in results if r.score is not None]
    interval = mean_score_interval(scores)
    dataset_hash = digest(canonical_json({"family": family.name, plan.split: [e.id for e in plan.examples]}))
    champion = plan.champion.id if plan.champion is not None else None
    suite = suite_id(family, champion, plan.suite) if plan.suite is not None else None
    return EvaluationBatch(
        id=f"eb_{digest(canonical_json([calls.id, plan.variant.id, dataset_hash, suite]))[:26]}",
        family=family.name,
        variant=plan.variant.id,
        model=str(plan.variant.model["name"]),
        dataset_hash=dataset_hash,
        split=plan.split,
        scorer_version=scorer.version,
        n=len(results),
        n_errors=sum(r.error is not None for r in results),
        mean_score=mean_score(results),
        score_low=interval.lower if interval else None,
        score_high=interval.upper if interval else None,
        cost_usd=sum(r.cost_usd for r in results),
        p95_latency_ms=p95_ms(results),
        n_calls=n_calls,
        created_by=calls.actor,
        created_at=at,
        suite=suite,
    )


def _evaluators_of(
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


def _measure(
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


def _check_results(
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
    tools = {}
    if (target := plan.suite.targets.tools_used) is not None:
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


def _scores_by_scenario(
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
