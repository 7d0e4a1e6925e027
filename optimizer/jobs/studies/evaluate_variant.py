"""Evaluates one Variant on train or dev examples or on golden scenarios, outside a study, and keeps the sums as an
evaluation batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import BudgetExhausted, ModelFailed
from optimizer.core.base.values import Budget, ExampleResult, mean_score, measured, p95_ms
from optimizer.core.dataset.examples import Example, class_of, select
from optimizer.core.evaluation.comparison import bootstrap_interval
from optimizer.core.evaluation.judging.report import judge_report
from optimizer.core.evaluation.label_report import read_labels
from optimizer.core.evaluation.row_ratios import RowRatios
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.evaluation.suite import evidence_of, suite_id
from optimizer.core.evaluation.timing import N_TIMED, Timing, timing_of
from optimizer.core.evaluation.trivial_baselines import WITHOUT_MODEL, Classify, measure_trivial, trivial_scores
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import checked_budget
from optimizer.core.models.language import ModelAnswer
from optimizer.core.search.answer_bounds import models_of
from optimizer.core.search.judging_cost import judge_asked
from optimizer.core.search.study import Definition
from optimizer.jobs.calls.ask_judge import JUDGE
from optimizer.jobs.calls.call_book import Account, OwnSpend
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.context import JobContext
from optimizer.jobs.dataset.build_dataset import as_served, train_examples
from optimizer.jobs.families.vouch_for_judge import latest_calibration
from optimizer.jobs.ids import new_id
from optimizer.jobs.studies.evaluation import Evaluator
from optimizer.jobs.studies.evaluations.measure_suite import check_results, evaluators_of, measure
from optimizer.jobs.studies.evaluations.plan_evaluation import (
    EvaluationPlan,
    EvaluationScope,
    calls_at_most,
    estimated,
    plan_evaluation,
)
from optimizer.jobs.studies.evaluations.time_calls import PURPOSE as TIMING
from optimizer.jobs.studies.evaluations.time_calls import time_calls
from optimizer.ports import ModelSource, Store

EVALUATION = "evaluation"  # the purpose of its calls
NO_CAP = Budget()


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCalls:
    """The calls of a study: its caps hold in place of a budget, and after a kill nothing is asked twice.

    Args:
        open_model: from (name, purpose).
        own: request key -> answer that the study asked for before the kill: its latency counts as measured.
        timing: names the timing of the evaluation, the same before and after a kill.
    """

    open_model: Callable[[str, str], JournaledModel]
    own: Mapping[str, ModelAnswer]
    timing: str


def evaluate_variant(
    context: JobContext,
    family: Family,
    variant: Variant,
    scope: EvaluationScope,
    *,
    actor: str,
    classify: Classify,
    calls: Budget | StudyCalls = NO_CAP,
) -> dict[str, Any]:
    """Scores ``variant`` on at most ``scope.n`` examples, drawn by hash and balanced as the family asks; returns the
    batch as stored, with ``labels`` (a LabelReport as plain values; None in other families), ``n_calls_in_all`` and
    ``spent_usd`` (dollars; None where a model has no known price) of this evaluation, the champion's calls among them,
    ``beside``, the champion's id where it was asked, too, ``n_wanted`` as in EvaluationPlan, and
    ``trivial_baselines`` (a TrivialBaselines as plain
    values; not for golden scenarios): what answers without a model score on the same examples. Where a judge scores
    there are ``judge``, a JudgeReport as plain values, and ``judgements`` by example.

    With targets in the family, an evaluation on at least ``targets.n`` dev examples (all, where there are fewer) is
    checked against them: ``checks``. For ``regression`` the champion is evaluated on the same examples. Where a latency
    is asked and the journal has the answers, fresh calls are timed: ``timing`` (None: nothing was timed).

    Args:
        calls: those of a study, or what may be spent; without a cap of calls or dollars as many calls as
            ``estimate_evaluation`` says (``calls_at_most``). Where the budget ends at the bare prompt, the rest is
            told.
    The holdout cannot be evaluated here: only a study's confirmation looks at it.

    Raises:
        InvalidInput: n below 1, a split that is not train or dev, a suite that the family does not have, or a budget
            that is none.
        Conflict: a golden scenario asks what the sealed holdout or the prompt of one who is asked holds.
        DatasetTooSmall: the split is empty.
        ModelFailed: not one example was answered.
        BudgetExhausted: the budget ran out; what was answered stays in the journal.
    """
    store, clock, models = context.store, context.clock, context.models
    plan = plan_evaluation(family, variant, scope, store)
    examples = plan.examples
    scorer, spent, own = context.scorer_for(family), OwnSpend(), calls.own if isinstance(calls, StudyCalls) else {}

    def opened(purpose: str) -> Callable[[str], JournaledModel]:
        if isinstance(calls, StudyCalls):
            return lambda name: calls.open_model(name, purpose)
        return opener(context, family, budget, spent, purpose=purpose)

    if not isinstance(calls, StudyCalls):
        budget = checked_budget(calls)
        if budget.usd is None and budget.calls is None:
            budget = replace(budget, calls=calls_at_most(estimated(plan, family, models)[0]))
    evaluators = evaluators_of(
        plan,
        family,
        context.scorer_for,
        opened(EVALUATION),
        open_judge=opened(JUDGE),
        own=own,
        calibration=lambda: latest_calibration(family, store),
    )
    results = measure(plan, variant, evaluators)
    if all(r.output is None for r in results):
        raise ModelFailed(
            f"The model answered none of the {len(results)} examples. First failure: {results[0].error}",
            kind="unreachable",
        )
    n_fresh = sum(one.n_fresh for one in set(evaluators.values()))
    batch = _batch(family, variant, plan.split, examples, results, scorer, n_fresh) | {
        "created_by": actor,
        "created_at": clock.now(),
    }
    timing: Timing | None = None
    if plan.suite is not None:
        beside = measure(plan, plan.beside, evaluators) if plan.beside is not None else []
        timing = timing_of(results)
        if _is_untimed(plan, timing):
            timing = time_calls(
                plan,
                run=calls.timing if isinstance(calls, StudyCalls) else str(batch["id"]),
                open_model=opened(TIMING),
                evaluator=lambda opened: Evaluator(
                    family,
                    scorer.unjudged(),
                    opened,
                    calibration=lambda: latest_calibration(family, store),
                ),
                earlier=lambda timed_as: _earlier(plan, family, timed_as, store),
            )
            batch["p95_latency_ms"] = batch["p95_latency_ms"] or timing.p95_ms
        batch |= check_results(plan, family, results, beside, timing)
    store.write(lambda tx: store.performance.add_batch(tx, batch))
    labels = read_labels(family.output, {e.id: e.expected for e in examples}, results)
    batch |= {"labels": asdict(labels) if labels is not None else None}
    if not plan.rows:
        bare_scores = _bare_scores(plan, evaluators)
        train = _training(family, store, examples)
        trivial = measure_trivial(
            train,
            examples,
            trivial_scores(family, train, examples, scorer, classify=classify),
            variant=variant.id,
            scores=measured(results),
            bare=bare_scores if bare_scores is not None else _why_not_bare(variant),
        )
        batch |= {WITHOUT_MODEL: trivial.as_data()}
    return (
        batch
        | _judged(family, scorer, results, store)
        | {
            "n_calls_in_all": spent.spend.n_calls,
            "spent_usd": _priced(plan, family, spent.spend.usd, models),
            "beside": plan.beside.id if plan.beside is not None else None,
            "suite_name": plan.suite.name if plan.suite is not None else None,
            "n_wanted": plan.n_wanted,
            **plan.too_long,
            "timing": _told(timing),
            "commonest_error": _commonest([r.error for r in results if r.error is not None]),
        }
    )


def _commonest(errors: Sequence[str]) -> str | None:
    return Counter(errors).most_common(1)[0][0] if errors else None


def _is_untimed(plan: EvaluationPlan, timing: Timing) -> bool:
    """Whether the evaluation itself measured no latency that is asked for: none side by side, and of the Variant alone
    too few where the journal answered.
    """
    return plan.times_pairs or (plan.times and len(timing.mine) < min(N_TIMED, len(plan.examples)))


def _earlier(plan: EvaluationPlan, family: Family, timed_as: str, store: Store) -> list[list[RowRatios]]:
    """What earlier evaluations of the same Variant beside the same champion measured, oldest first."""
    assert plan.champion is not None
    with store.read() as tx:
        batches = store.performance.batches(tx, family.name)
    asked = suite_id(family, plan.champion.id, plan.suite)
    return evidence_of(batches, plan.variant.id, asked, timed_as)


def _judged(family: Family, scorer: Scorer, results: Sequence[ExampleResult], store: Store) -> dict[str, Any]:
    """``judge``, a JudgeReport as plain values with what it ``said``, and ``judgements`` by example; nothing where no
    judge scores.
    """
    if not scorer.is_judged:
        return {}
    report = judge_report(family, results, latest_calibration(family, store))
    return {
        "judge": asdict(report) | {"said": report.said},
        "judgements": {r.example: r.judgement for r in results if r.judgement is not None},
    }


def _told(timing: Timing | None) -> dict[str, Any] | None:
    if timing is None or not (timing.mine or timing.why):
        return None
    return {"n": len(timing.mine), "p95_ms": timing.p95_ms, "slowdown": timing.slowdown, "why": timing.why}


def _training(family: Family, store: Store, scored: Sequence[Example]) -> list[Example]:
    """What a study would show and learn from: as many training examples as it takes by itself,
    none of a group that is scored here.
    """
    groups = {e.group for e in scored}
    with store.read() as tx:
        found = {e.id: e for e in train_examples(family, store, tx) if e.group not in groups}
    labels = [(e.id, class_of(e.expected, family.sample.balance)) for e in found.values()]
    ids = select(
        labels, Definition().n_train, balance=family.sample.balance is not None, seed_text=f"detent/{family.name}"
    )
    return [as_served(family, found[id]) for id in ids]


def _bare_scores(plan: EvaluationPlan, evaluators: dict[str, Evaluator]) -> dict[str, float] | str | None:
    """None where it is not asked; why it is not known where the budget ends here:
    what was measured before is told all the same.
    """
    if plan.bare is None:
        return None
    try:
        return dict(measured(measure(plan, plan.bare, evaluators)))
    except BudgetExhausted as exhausted:
        return f"the budget ended before every example was asked; what was answered is kept. {exhausted}"


def _why_not_bare(variant: Variant) -> str:
    return (
        "not asked; --bare asks it, one call an example"
        if variant.examples
        else f"{variant.id} is one: it shows no examples"
    )


def _priced(plan: EvaluationPlan, family: Family, usd: float, models: ModelSource) -> float | None:
    """None where a model that was asked has no known price, so that its calls count as nothing."""
    asked = [name for one in plan.variants for name in models_of(one, {})]
    judge = judge_asked(family, plan.variants)
    return usd if all(models.price(name) is not None for name in (*asked, *(judge.members if judge else ()))) else None


def opener(
    context: JobContext, family: Family, budget: Budget, spent: OwnSpend, purpose: str = EVALUATION
) -> Callable[[str], JournaledModel]:
    """``spent``: one for all models of a policy, which together keep to the budget."""

    def open_model(name: str) -> JournaledModel:
        account = Account(study=None, family=family.name, purpose=purpose, budget=budget, own_spend=spent)
        return JournaledModel(context.models.get(name), account, store=context.store, clock=context.clock)

    return open_model


def _batch(
    family: Family,
    variant: Variant,
    split: str,
    examples: Sequence[Example],
    results: Sequence[ExampleResult],
    scorer: Scorer,
    n_calls: int,
) -> dict[str, Any]:
    scores = [r.score for r in results if r.score is not None]
    interval = bootstrap_interval(scores, seed=0) if scores else None
    return {
        "id": new_id("eb"),
        "family": family.name,
        "variant": variant.id,
        "model": str(variant.model["name"]),
        "dataset_hash": digest(canonical_json({"family": family.name, split: [e.id for e in examples]})),
        "split": split,
        "scorer_version": scorer.version,
        "n": len(results),
        "n_errors": sum(r.error is not None for r in results),
        "mean_score": mean_score(results),
        "score_low": interval.lower if interval else None,
        "score_high": interval.upper if interval else None,
        "cost_usd": sum(r.cost_usd for r in results),
        "p95_latency_ms": p95_ms(results),
        "n_calls": n_calls,
    }
