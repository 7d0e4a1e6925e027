"""Queues an evaluation of one variant outside a study, and reads how far it is and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from optimizer.core.base.values import NONE, Budget, Spread
from optimizer.core.models.budget import require_bounded
from optimizer.core.views.evaluation import EvaluationQuery, EvaluationRun
from optimizer.jobs.champions.read_variants import find_variant
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.golden_scenarios import with_kept_golden
from optimizer.jobs.ids import new_id
from optimizer.jobs.request import DryRunRequest, ItemActRequest, ItemRequest, Name
from optimizer.jobs.runs.evaluate_suites import scopes_of
from optimizer.jobs.runs.queue_run import RunBudgetBody, budget_of_run, queue_run, read_run, stop_run
from optimizer.jobs.studies.plan_evaluation import (
    EvaluationEstimate,
    EvaluationScope,
    Splits,
    estimate_evaluation,
)
from optimizer.ports import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationDryRun:
    """What an evaluation would ask at most, suite by suite; ``usd``: of all suites, None without a known price;
    ``budget``: the hard caps of all together.
    """

    dry_run: Literal[True] = True
    family: str
    variant: str
    suites: Sequence[EvaluationEstimate]
    usd: Spread | None
    budget: Budget


def _searched(split: object) -> object:
    if split == "holdout":
        raise ValueError("the holdout is sealed until a study confirms its winner; use 'dev' or 'train'")
    return split


class EvaluateRequest(DryRunRequest):
    variant: Annotated[Name, Field(description="Id of the variant, or champion, candidate, or file")] = "champion"
    suite: Annotated[
        str | None,
        Field(
            description="A suite of the family, such as golden; full: all of them. Default: the targets without a name"
        ),
    ] = None
    split: Annotated[Splits, BeforeValidator(_searched), Field(description="The holdout is sealed")] = "dev"
    n: Annotated[
        int | None,
        Field(ge=1, description="Examples at most; default: the number that the family's targets name, else 20"),
    ] = None
    bare: Annotated[
        bool, Field(description="Ask the same prompt without its examples, too: a call more per example")
    ] = False
    budget: Annotated[RunBudgetBody, Field(description="Default: one and a half times the calls of a dry run")] = (
        RunBudgetBody()
    )


def start_evaluation(context: Context, request: EvaluateRequest) -> EvaluationRun | EvaluationDryRun:
    """Queues an evaluation of one variant on dev or train examples or on golden scenarios, beside the champion where
    a suite compares; 202 with its Location. Every suite is planned before the first is paid for.

    Without a cap of calls or dollars it may make half as many calls again as a dry run says, all suites together.
    Under a monthly limit an evaluation without a cap in dollars gets what it may need at most of what is left.

    Raises:
        InvalidInput: a suite that the family does not have, or a policy without a prompt.
        Conflict: a golden scenario asks what the sealed holdout or the prompt of one who is asked holds.
        NotFound: an unknown variant or model. DatasetTooSmall: there is no example of the split.
        BudgetTooSmall: a cap in dollars, which a monthly limit is too, over a model without a known price, or one that
            would pass a monthly limit.
    """
    store, models = context.store, context.models()
    with store.read() as tx:
        family = with_kept_golden(tx, store, context.family(request.family))
    record = find_variant(context, request.family, request.variant)
    scopes = scopes_of(
        family, EvaluationScope(split=request.split, n=request.n, bare=request.bare, suite=request.suite)
    )
    estimates = [estimate_evaluation(family, record.variant, one, store=store, models=models) for one in scopes]
    calls = sum((one.calls for one in estimates), start=NONE)
    dollars = [one.usd for one in estimates if one.usd is not None]
    usd = sum(dollars, start=NONE) if len(dollars) == len(estimates) else None
    budget = budget_of_run(context, family, request.budget, calls, usd)
    if request.dry_run:
        return EvaluationDryRun(family=family.name, variant=record.variant.id, suites=estimates, usd=usd, budget=budget)
    for name in sorted({name for one in estimates for name in one.models}):
        if models.price(name) is None:
            require_bounded(name, None, None, budget)
    run = EvaluationRun(
        id=new_id("ev"),
        family=family.name,
        request=EvaluationQuery(
            variant=record.variant.id,
            suite=request.suite,
            split=request.split,
            n=request.n,
            bare=request.bare,
        ),
        budget=budget,
        status="queued",
        n=sum(one.n * (2 if one.beside else 1) for one in estimates),
        created_by=context.actor,
        created_at=context.clock.now(),
    )

    def queue(tx: Transaction) -> EvaluationRun:
        if store.variants.add(tx, record):  # the file's, which was not stored yet
            store.serving_version.bump(tx)
        detail = {"variant": record.variant.id, "suite": request.suite, "n": run.n}
        return queue_run(context, tx, family, run, action="evaluation.start", detail=detail)

    return store.write(queue, rows=3)


def read_evaluation(context: Context, request: ItemRequest) -> EvaluationRun:
    """How far an evaluation is; once it has ended, what was found."""
    return read_run(context, request.id, EvaluationRun)


def stop_evaluation(context: Context, request: ItemActRequest) -> EvaluationRun:
    """Stops an evaluation before its next call; what was answered is kept, and a suite that was measured counts. Safe
    to repeat.

    One that has not begun, or that no worker does any more, is cancelled at once.
    """
    return stop_run(context, request.id, EvaluationRun, view=lambda run: run, action="evaluation.stop")
