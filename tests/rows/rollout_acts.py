"""The acts on rollouts and champions as a test writes them: on a store, by an actor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, TypeVar

from pydantic import ValidationError

from optimizer.core.family.family import Family
from optimizer.core.rollout.transitions import OperatorAct
from optimizer.jobs.record_change import ChangeReport, RolloutChange
from optimizer.jobs.request import Request, invalid
from optimizer.jobs.rollouts import adopt_file_version as adopting, change_champion as changing, operate_rollout
from optimizer.jobs.rollouts.change_champion import ChampionRollbackRequest, return_to_earlier
from optimizer.jobs.rollouts.start_rollout import RolloutRequest, StartReport, make_rollout
from optimizer.ports import Clock, ServedModels, Store
from tests.rows.evaluations import SCORER_VERSION
from tests.stores import EMBEDDED_ONLY
from tests.worlds.contexts import context_of

Q = TypeVar("Q", bound=Request)


def asked(kind: type[Q], **members: Any) -> Q:
    """A request as the command line makes it; raises InvalidInput."""
    try:
        return kind(**members)
    except ValidationError as error:
        raise invalid(error) from None


def operate(id: str, act: OperatorAct, *, actor: str, store: Store, clock: Clock, **given: Any) -> RolloutChange:
    """``given``: members of the request."""
    report: RolloutChange = getattr(operate_rollout, act)(
        context_of(store, clock, actor, families=lambda: SimpleNamespace(families={})),
        asked(operate_rollout.ActRequest, id=id, **given),
    )
    return report


def start_rollout(family: Family, variant: str, *, actor: str, store: Store, clock: Clock, **given: Any) -> StartReport:
    request = asked(RolloutRequest, family=family.name, variant=variant, **given)
    scorer: Any = SimpleNamespace(version=SCORER_VERSION)
    return make_rollout(family, request, actor=actor, store=store, clock=clock, scorer_for=lambda family: scorer)


def roll_back_champion(
    family: str, *, actor: str, store: Store, clock: Clock, models: Any = None, loaded: Any = None, **given: Any
) -> ChangeReport:
    request = ChampionRollbackRequest(family=family, **given)
    served = ServedModels(catalogue=models, loaded=loaded)
    return return_to_earlier(request, actor=actor, store=store, clock=clock, served=served)


def set_champion(
    family: str,
    variant: str,
    *,
    actor: str,
    store: Store,
    clock: Clock,
    models: Any = None,
    loaded: Any = None,
    **given: Any,
) -> ChangeReport:
    served = ServedModels(catalogue=models, loaded=loaded)
    context = context_of(store, clock, actor, served_models=lambda: served)
    return changing.set_champion(context, changing.ChampionSetRequest(family=family, variant=variant, **given))


def adopt_file_version(
    family: Family, *, actor: str, store: Store, clock: Clock, loaded: Any = None, **given: Any
) -> ChangeReport:
    """``loaded``: names of the models that the running gateway knows."""
    context = context_of(
        store,
        clock,
        actor,
        family=lambda name: family,
        families=lambda: SimpleNamespace(problems={}),
        models=lambda: EMBEDDED_ONLY,
        loaded_models=lambda wanted: loaded,
    )
    return adopting.adopt_file_version(context, adopting.AdoptRequest(family=family.name, **given))
