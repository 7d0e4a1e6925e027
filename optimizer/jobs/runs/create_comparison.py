"""Queues a comparison of variants, and reads how far it is and what was answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from optimizer.core.base.errors import Conflict, InvalidInput
from optimizer.core.base.values import Budget, Spread
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.run import ComparisonRun
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import require_bounded
from optimizer.core.search.answer_bounds import models_asked
from optimizer.core.search.cost_estimate import estimate_evaluation
from optimizer.core.views.variant_grid import MOST_VARIANTS, VariantGrid
from optimizer.jobs.calls.shelves import students_among
from optimizer.jobs.champions.read_variants import find_variant
from optimizer.jobs.context import Context
from optimizer.jobs.families.check_models import require_known_models
from optimizer.jobs.ids import new_id
from optimizer.jobs.request import DryRunRequest, ItemActRequest, ItemRequest, Name
from optimizer.jobs.runs.compare_variants import SPLIT, grid_of
from optimizer.jobs.runs.queue_run import RunBudgetBody, budget_of_run, queue_run, read_run, stop_run
from optimizer.jobs.studies.plan_evaluation import drawn_examples, named_examples
from optimizer.ports import Transaction

MOST_NAMED = 100  # examples of a request


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonEstimate:
    """What a comparison would ask at most; ``usd`` None: a model has no known price. ``budget``: its hard caps."""

    dry_run: Literal[True] = True
    variants: Sequence[str]
    split: str
    n: int
    models: Sequence[str]
    calls: Spread
    usd: Spread | None
    budget: Budget


class CompareRequest(DryRunRequest):
    variants: Annotated[
        list[Name],
        Field(max_length=100, description="Ids, or champion, candidate, file; the others are held against the first"),
    ]
    n: Annotated[int, Field(ge=1, description="Dev examples at most")] = 50
    example_ids: Annotated[
        list[Name] | None,
        Field(min_length=1, max_length=MOST_NAMED, description="These dev examples, in the place of a draw of `n`"),
    ] = None
    budget: Annotated[RunBudgetBody, Field(description="Default: one and a half times the calls of a dry run")] = (
        RunBudgetBody()
    )


def plan_comparison(
    context: Context, family: Family, variants: Sequence[Variant], examples: Sequence[Example], cap: RunBudgetBody
) -> ComparisonEstimate:
    """Writes, asks and spends nothing; raises as ``start_comparison`` does."""
    models = context.models()
    require_known_models(family, models)
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
    names = models_asked(family, variants)
    for name in names:
        models.describe(name)
    calls, usd = estimate_evaluation(
        variants, examples, family, models.price, students=students_among(models, variants)
    )
    budget = budget_of_run(context, family, cap, calls, usd)
    for name in names:
        if models.price(name) is None:
            require_bounded(name, None, None, budget)
    return ComparisonEstimate(
        variants=ids, split=SPLIT, n=len(examples), models=names, calls=calls, usd=usd, budget=budget
    )


def start_comparison(context: Context, request: CompareRequest) -> ComparisonRun | ComparisonEstimate:
    """Queues a comparison of variants on the same dev examples, drawn by hash and balanced as the family asks, or
    named; 202 with its Location. At most ten variants.

    Without a cap of calls or dollars it may make half as many calls again as a dry run says. Under a monthly limit a
    comparison without a cap in dollars gets what it may need at most of what is left.

    Raises:
        InvalidInput: fewer than two variants, one named twice, more than ten, a policy without a prompt, or a named
            example that is no dev example.
        NotFound: an unknown variant or model. DatasetTooSmall: there is no dev example.
        BudgetTooSmall: a cap in dollars, which a monthly limit is too, over a model without a known price, or one that
            would pass a monthly limit.
    """
    family, store = context.family(request.family), context.store
    records = [find_variant(context, request.family, name) for name in request.variants]
    if request.example_ids is not None:
        examples = named_examples(family, request.example_ids, store)
    else:
        examples = drawn_examples(family, SPLIT, request.n, store)
    estimate = plan_comparison(context, family, [one.variant for one in records], examples, request.budget)
    if request.dry_run:
        return estimate
    models, ids = context.models(), estimate.variants
    is_priced = all(models.price(name) is not None for name in estimate.models)
    run = ComparisonRun(
        id=new_id("cp"),
        family=family.name,
        request={"variants": ids, "example_ids": [one.id for one in examples], "is_priced": is_priced},
        budget=estimate.budget,
        status="queued",
        n=len(ids) * len(examples),
        created_by=context.actor,
        created_at=context.clock.now(),
    )

    def queue(tx: Transaction) -> ComparisonRun:
        if any([store.variants.add(tx, record) for record in records]):  # a file's, which was not stored yet
            store.serving_version.bump(tx)
        detail = {"variants": ids, "n": len(examples)}
        return queue_run(context, tx, family, run, action="comparison.start", detail=detail)

    return store.write(queue, rows=2 + len(records))


def read_comparison(context: Context, request: ItemRequest) -> ComparisonRun:
    """How far a comparison is."""
    return read_run(context, request.id, ComparisonRun)


def read_grid(context: Context, request: ItemRequest) -> VariantGrid:
    """Every answer of a comparison that has ended, with its score and cost, and how each variant did beside the first;
    of one that runs what is there, one variant after the other.

    It is made of the kept answers whenever it is read, and scored as the family's file says now. It is read by a
    process of its own, one at a time.

    Raises:
        Conflict: there is no answer yet, the comparison has not come to its end, or what it compared was deleted.
    """
    run = read_comparison(context, request)
    stopped = run.result["stopped"] if run.result is not None else None
    if run.status not in ("running", "finished") or stopped is not None:
        # Not the run's error: a key that may read no texts would get it here.
        why = stopped or f"It is {run.status}."
        raise Conflict(f"The comparison {run.id} has not come to its end. {why}", run=run.id)
    family = context.family(run.family)
    return grid_of(run, family, store=context.store, models=context.models(), scorer=context.scorer_for(family))


def stop_comparison(context: Context, request: ItemActRequest) -> ComparisonRun:
    """Stops a comparison before its next call; what was answered is kept. Safe to repeat.

    One that has not begun, or that no worker does any more, is cancelled at once.
    """
    return stop_run(context, request.id, ComparisonRun, view=lambda run: run, action="comparison.stop")
