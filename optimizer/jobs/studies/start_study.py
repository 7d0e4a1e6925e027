"""Acts of a person on studies: a search, a look at the holdout, what either would cost, a nomination, an end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.scheduling.monthly_budget import MonthlyLimits
from optimizer.core.search.cost_estimate import CostEstimate
from optimizer.core.search.study import CONFIRM, Study, study_view
from optimizer.jobs.context import Context
from optimizer.jobs.request import ItemActRequest
from optimizer.jobs.studies.context import variant_of
from optimizer.jobs.studies.create_study import StudyRequest, create_study, parse_definition
from optimizer.jobs.studies.nominate import (
    LookPrice,
    NominateRequest,
    as_confirmed,
    nominate,
    plan_look,
    queue_look,
    refuse_golden_failures,
)
from optimizer.jobs.studies.read_studies import standing_look, stored_study
from optimizer.jobs.studies.transitions import request_stop, resume_study


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


def start_study(context: Context, request: StudyRequest) -> Study | StudyEstimate | LookEstimate:
    """Queues a study for the worker: 202 with its Location.

    With `dry_run` it is 200 with calls, dollars and minutes expected, and nothing is spent.

    Strategy `confirm` takes any `variant` to the sealed holdout; with `dry_run` 200 with the price of that look, and
    200 with the study where one has confirmed it. 409 when one is under way, when the budget cannot pay for the
    confirmation (with figures), or when there are too few examples.
    """
    if request.strategy == CONFIRM or request.variant is not None:
        return _looked(confirm_variant(context, request))
    created = create_study(context, request)
    if isinstance(created, CostEstimate):
        return StudyEstimate(family=context.family(request.family).name, estimate=created)
    return study_view(created)


def nominate_variant(context: Context, request: NominateRequest) -> Study | LookEstimate:
    """Names a variant of this study as candidate for a rollout:
    200 and the study where it has confirmed it for this aim.

    For any other point of its search 202 and a new study, which looks at the sealed holdout once more; with ``dry_run``
    200 and what that would cost.
    """
    return _looked(nominate(context, request))


def _looked(outcome: Study | LookPrice) -> Study | LookEstimate:
    return LookEstimate(price=outcome) if isinstance(outcome, LookPrice) else study_view(outcome)


def cancel_study(context: Context, request: ItemActRequest) -> Study:
    """Stops the study before its next call, at once where no process runs it; what it found stays. Safe to repeat."""
    stored_study(context, request.id)
    is_left = not context.is_worker_running()
    return request_stop(request.id, actor=context.actor, store=context.store, clock=context.clock, is_left=is_left)


def take_up_study(context: Context, request: ItemActRequest) -> Study:
    """Queues a study again that was cancelled, failed or interrupted; nothing that was answered is asked again."""
    study = stored_study(context, request.id)
    declared = context.families().families.get(study.family)
    limits = MonthlyLimits(
        family_usd=declared.budget.usd_per_month if declared is not None else None,
        all_usd=context.settings.usd_per_month,
    )
    return resume_study(request.id, actor=context.actor, store=context.store, clock=context.clock, limits=limits)


def confirm_variant(context: Context, request: StudyRequest) -> Study | LookPrice:
    """The study that confirms a variant for an aim (quality, where none is named) against the champion of today, or
    has; with ``dry_run`` the Price of a new one.

    Safe to repeat: what the holdout has decided once is not asked again until the champion is another.

    Raises:
        NotFound: the family has no such variant.
        Conflict: it is the champion, another study of the family has not ended, or the family is frozen.
        GateNotMet: it has been confirmed for this aim, and a gate is not met; or it lost a golden scenario.
        InvalidInput: cost is the aim and a model has no price; or the request asks for a search, too.
        DatasetTooSmall, BudgetTooSmall: with figures, before anything is spent.
    """
    family, store = context.family(request.family), context.store
    variant, aim = request.variant, request.aim or "quality"
    more = sorted(request.model_fields_set - {"family", "strategy", "variant", "aim", "dry_run"})
    if request.strategy != CONFIRM or variant is None or more:
        detail = (
            "strategy confirm goes with a variant, an aim and dry_run alone: it searches nothing, and its price is"
            " fixed before"
        )
        raise InvalidInput(
            f"No study was made: {detail}.", [Fault(pointer=f"/{(more or ['variant'])[0]}", detail=detail)]
        )
    variant_of(store, family.name, variant)
    refuse_golden_failures(family, variant, context)
    with store.read() as tx:
        standing = standing_look(tx, store, family.name, variant, aim)
    if standing is not None:
        return as_confirmed(standing, variant, family, store)
    planned = plan_look(context, family, variant, aim, parse_definition(family, {}))
    return planned.price if request.dry_run else queue_look(context, planned, family)
