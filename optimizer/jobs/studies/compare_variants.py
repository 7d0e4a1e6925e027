"""Puts variants of a family side by side on the same dev examples, outside a study.

Writes nothing but the journal of its calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from optimizer.core.base.errors import BudgetExhausted, InvalidInput, ModelFailed
from optimizer.core.base.spread import Spread
from optimizer.core.base.values import Budget
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import checked_budget
from optimizer.core.search.answer_bounds import models_of
from optimizer.core.search.cost_estimate import estimate_evaluation
from optimizer.core.search.judging_cost import judge_asked
from optimizer.core.views.variant_grid import MOST_VARIANTS, VariantGrid, variant_grid
from optimizer.jobs.calls.ask_judge import JUDGE
from optimizer.jobs.calls.call_book import OwnSpend
from optimizer.jobs.context import JobContext
from optimizer.jobs.families.check_models import require_known_models
from optimizer.jobs.families.vouch_for_judge import latest_calibration
from optimizer.jobs.studies.evaluate_variant import opener
from optimizer.jobs.studies.evaluation import Evaluator
from optimizer.jobs.studies.evaluations.plan_evaluation import drawn_examples
from optimizer.jobs.studies.nominate import TO_SPARE
from optimizer.ports import ModelCatalogue, Store

DEFAULT_N = 50
SPLIT: Literal["dev"] = "dev"  # train examples stand in prompts, and the holdout is sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonEstimate:
    """What a comparison would ask at most; ``usd`` None: a model has no known price."""

    variants: Sequence[str]
    split: str
    n: int
    models: Sequence[str]
    calls: Spread
    usd: Spread | None


def compare_variants(
    context: JobContext, family: Family, variants: Sequence[Variant], *, n: int = DEFAULT_N, budget: Budget
) -> VariantGrid:
    """All of ``variants`` on at most ``n`` dev examples,
    drawn by hash and balanced as the family asks; one after the other.

    Args:
        budget: without a cap of its own, as many calls as ``estimate_comparison`` says and half as many for retries.
    Raises:
        InvalidInput: fewer than two variants, one named twice, more than ten, a policy without a prompt, n below 1, or
            a budget that is none.
        DatasetTooSmall: there is no dev example.
        BudgetExhausted: the budget ran out; what was answered stays in the journal.
        ModelFailed: not one example was answered by one of them.
    """
    store, models = context.store, context.models
    require_known_models(family, models)
    _check(family, variants, n)
    checked_budget(budget)
    examples, spent = drawn_examples(family, SPLIT, n, store), OwnSpend()
    if budget.usd is None and budget.calls is None:
        calls, _ = estimate_evaluation(variants, examples, family, models.price)
        budget = replace(budget, calls=int(TO_SPARE * calls.high))
    evaluator = Evaluator(
        family,
        context.scorer_for(family),
        opener(context, family, budget, spent),
        open_judge=opener(context, family, budget, spent, purpose=JUDGE),
        calibration=lambda: latest_calibration(family, store),
    )
    results = []
    for variant in variants:
        try:
            found = evaluator.evaluate(variant, examples)
        except BudgetExhausted as exhausted:
            kept = "What was answered is kept: the same command with a higher cap goes on from there"
            raise BudgetExhausted(f"{exhausted} {kept} (--dry-run says how much it takes).") from None
        if all(r.output is None for r in found):
            raise ModelFailed(
                f"{variant.id} got no answer to any of {len(found)} examples. First failure: {found[0].error}",
                kind="unreachable",
            )
        results.append(found)
    priced = all(models.price(name) is not None for name in _asked(family, variants))
    usd = spent.spend.usd if priced else None
    return variant_grid(family.name, SPLIT, variants, examples, results, n_calls=spent.spend.n_calls, spent_usd=usd)


def estimate_comparison(
    family: Family, variants: Sequence[Variant], *, n: int = DEFAULT_N, store: Store, models: ModelCatalogue
) -> ComparisonEstimate:
    """What ``compare_variants`` would ask.

    Asks and spends nothing. Raises InvalidInput and DatasetTooSmall as ``compare_variants`` does, NotFound for an
    unknown model.
    """
    require_known_models(family, models)
    _check(family, variants, n)
    examples = drawn_examples(family, SPLIT, n, store)
    names = sorted(_asked(family, variants))
    for name in names:
        models.describe(name)
    calls, usd = estimate_evaluation(variants, examples, family, models.price)
    return ComparisonEstimate(
        variants=[one.id for one in variants], split=SPLIT, n=len(examples), models=names, calls=calls, usd=usd
    )


def _asked(family: Family, variants: Sequence[Variant]) -> set[str]:
    """Names of the models that answer, and of those that judge."""
    judge = judge_asked(family, variants)
    return {name for one in variants for name in models_of(one, {})} | set(judge.members if judge else ())


def _check(family: Family, variants: Sequence[Variant], n: int) -> None:
    ids = [one.id for one in variants]
    if len(ids) < 2 or len(set(ids)) < len(ids):
        twice = next((id for id in ids if ids.count(id) > 1), None)
        raise InvalidInput("Name two variants or more to compare" + (f"; {twice} is named twice." if twice else "."))
    if len(ids) > MOST_VARIANTS:
        raise InvalidInput(
            f"At most {MOST_VARIANTS} variants stand side by side, not {len(ids)}. A study compares more: detent study"
            " run."
        )
    if without := [one.id for one in variants if not one.messages]:
        raise InvalidInput(
            f"{without[0]} of {family.name} is a policy without a prompt, and no model answers it. Policies are scored"
            " by replay."
        )
    if n < 1:
        raise InvalidInput(f"A comparison needs at least one example, not {n}.")
