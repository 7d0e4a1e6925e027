"""What a person asks of studies: a search, a look at the holdout, what either would cost, a nomination, an end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from optimizer.core.base.answers import Json
from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.values import Aim, Budget
from optimizer.core.family.family import Family
from optimizer.core.scheduling.monthly_budget import MonthlyLimits
from optimizer.core.search.cost_estimate import CostEstimate
from optimizer.core.search.study import CONFIRM, Study, study_view
from optimizer.jobs.context import Context
from optimizer.jobs.request import Name, Positive, Reason, Request
from optimizer.jobs.studies.confirm_variant import confirm_variant
from optimizer.jobs.studies.create_study import create_study
from optimizer.jobs.studies.nominate import LookPrice, nominate
from optimizer.jobs.studies.read_studies import stored_study
from optimizer.jobs.studies.transitions import request_stop, resume_study


class BudgetBody(Request):
    usd: Annotated[float, Field(ge=0)] | None = None
    calls: Annotated[int, Field(ge=0)] | None = None
    minutes: Positive | None = None


class StudyRequest(Request):
    """What to search for and what it may spend, confirmation included."""

    family: str
    strategy: Annotated[
        Name | None, Field(description="`confirm` searches nothing: it takes `variant` to the sealed holdout")
    ] = None
    variant: Annotated[Name | None, Field(description="With strategy confirm: which one")] = None
    aim: Aim | None = None
    budget: Annotated[BudgetBody | None, Field(description="Default: 1,000 calls")] = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    space: dict[str, Json] | None = None
    proposer: Name | None = None
    definition: Annotated[
        dict[str, Json],
        Field(description="Sizes such as n_train, n_dev, n_holdout, n_candidates, n_settings, max_examples"),
    ] = {}  # noqa: RUF012
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEstimate:
    """What a study would take; nothing is spent."""

    family: str
    dry_run: Literal[True] = True
    estimate: CostEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class LookEstimate:
    """What one more look at the sealed holdout would cost; nothing is spent."""

    dry_run: Literal[True] = True
    price: LookPrice


class NominateRequest(Request):
    id: str
    variant: Name
    aim: Aim = "quality"
    dry_run: bool = False


class StudyActRequest(Request):
    id: str
    reason: Reason = ""


def start_study(context: Context, request: StudyRequest) -> Study | StudyEstimate | LookEstimate:
    """Queues a study for the worker: 202 with its Location.

    With `dry_run` it is 200 with calls, dollars and minutes expected, and nothing is spent.

    Strategy `confirm` takes any `variant` to the sealed holdout; with `dry_run` 200 with the price of that look, and
    200 with the study where one has confirmed it. 409 when one is under way, when the budget cannot pay for the
    confirmation (with figures), or when there are too few examples.
    """
    family = context.family(request.family)
    if request.strategy == CONFIRM or request.variant is not None:
        return _confirm(context, family, request)
    named = {"space": request.space, "proposer": request.proposer}
    made = create_study(
        family,
        strategy=request.strategy,
        aim=request.aim,
        budget=Budget(**request.budget.model_dump()) if request.budget is not None else None,
        seed=request.seed,
        definition={**request.definition, **{name: value for name, value in named.items() if value is not None}},
        actor=context.actor,
        store=context.store,
        clock=context.clock,
        models=context.models(),
        dry_run=request.dry_run,
        usd_per_month=context.settings.usd_per_month,
    )
    return StudyEstimate(family=family.name, estimate=made) if isinstance(made, CostEstimate) else study_view(made)


def _confirm(context: Context, family: Family, request: StudyRequest) -> Study | LookEstimate:
    more = sorted(request.model_fields_set - {"family", "strategy", "variant", "aim", "dry_run"})
    if request.strategy != CONFIRM or request.variant is None or more:
        detail = (
            "strategy confirm goes with a variant, an aim and dry_run alone: it searches nothing, and its price is"
            " fixed before"
        )
        raise InvalidInput(
            f"No study was made: {detail}.", [Fault(pointer=f"/{(more or ['variant'])[0]}", detail=detail)]
        )
    found = confirm_variant(
        family,
        request.variant,
        aim=request.aim or "quality",
        actor=context.actor,
        store=context.store,
        clock=context.clock,
        models=context.models(),
        dry_run=request.dry_run,
        usd_per_month=context.settings.usd_per_month,
    )
    return _looked(found)


def nominate_variant(context: Context, request: NominateRequest) -> Study | LookEstimate:
    """Names a variant of this study as candidate for a rollout:
    200 and the study where it has confirmed it for this aim.

    For any other point of its search 202 and a new study, which looks at the sealed holdout once more; with ``dry_run``
    200 and what that would cost.
    """
    searched = stored_study(context, request.id)
    found = nominate(
        request.id,
        variant=request.variant,
        aim=request.aim,
        family=context.family(searched.family),
        actor=context.actor,
        store=context.store,
        clock=context.clock,
        models=context.models(),
        dry_run=request.dry_run,
        usd_per_month=context.settings.usd_per_month,
    )
    return _looked(found)


def _looked(found: Study | LookPrice) -> Study | LookEstimate:
    return LookEstimate(price=found) if isinstance(found, LookPrice) else study_view(found)


def cancel_study(context: Context, request: StudyActRequest) -> Study:
    """Stops the study before its next call; what it found stays. Safe to repeat."""
    stored_study(context, request.id)
    return request_stop(request.id, actor=context.actor, store=context.store, clock=context.clock)


def take_up_study(context: Context, request: StudyActRequest) -> Study:
    """Queues a study again that was cancelled, failed or interrupted; nothing that was answered is asked again."""
    study = stored_study(context, request.id)
    declared = context.families().families.get(study.family)
    limits = MonthlyLimits(
        family_usd=declared.budget.usd_per_month if declared is not None else None,
        all_usd=context.settings.usd_per_month,
    )
    return resume_study(request.id, actor=context.actor, store=context.store, clock=context.clock, limits=limits)
