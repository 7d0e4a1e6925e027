"""Takes any variant of a family to the sealed holdout, one edited by hand too:
a study that searches nothing and only confirms.
"""

from __future__ import annotations

from optimizer.core.base.values import Aim
from optimizer.core.family.family import Family
from optimizer.core.search.study import Study
from optimizer.jobs.studies.confirming_study import standing_look
from optimizer.jobs.studies.context import variant_of
from optimizer.jobs.studies.create_study import parse_definition
from optimizer.jobs.studies.nominate import LookPrice, as_confirmed, plan_look, queue_look, refuse_fallen
from optimizer.ports import Clock, ModelCatalogue, Store


def confirm_variant(
    family: Family,
    variant: str,
    *,
    aim: Aim,
    actor: str,
    store: Store,
    clock: Clock,
    models: ModelCatalogue,
    dry_run: bool = False,
    usd_per_month: float | None = None,
) -> Study | LookPrice:
    """The study that confirms ``variant`` for ``aim`` against the champion of today, or has;
    with ``dry_run`` the Price of a new one.

    Safe to repeat: what the holdout has been asked once is not asked again until the champion is another.

    Raises:
        NotFound: the family has no such variant.
        Conflict: it is the champion, another study of the family has not ended, or the family is frozen.
        GateNotMet: it has been confirmed for this aim, and a gate is not met; or it lost a golden scenario.
        InvalidInput: cost is the aim and a model has no price.
        DatasetTooSmall, BudgetTooSmall: with figures, before anything is spent.
    """
    variant_of(store, family.name, variant)
    refuse_fallen(family, variant, store)
    with store.read() as tx:
        standing = standing_look(tx, store, family.name, variant, aim)
    if standing is not None:
        return as_confirmed(standing, variant, family, store)
    planned = plan_look(
        family, variant, aim, parse_definition(family, {}), seed=0, searched=None, actor=actor, store=store,
        clock=clock, models=models, usd_per_month=usd_per_month,
    )  # fmt: skip
    return planned.price if dry_run else queue_look(planned, store, clock, family)
