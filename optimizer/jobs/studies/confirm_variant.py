"""Takes any variant of a family to the sealed holdout, one edited by hand too:
a study that searches nothing and only confirms.
"""

from __future__ import annotations

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.search.study import CONFIRM, Study
from optimizer.jobs.context import Context
from optimizer.jobs.studies.confirming_study import standing_look
from optimizer.jobs.studies.context import variant_of
from optimizer.jobs.studies.create_study import StudyRequest, parse_definition
from optimizer.jobs.studies.nominate import LookPrice, as_confirmed, plan_look, queue_look, refuse_fallen


def confirm_variant(context: Context, request: StudyRequest) -> Study | LookPrice:
    """The study that confirms a variant for an aim (quality, where none is named) against the champion of today, or
    has; with ``dry_run`` the Price of a new one.

    Safe to repeat: what the holdout has been asked once is not asked again until the champion is another.

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
    refuse_fallen(family, variant, store)
    with store.read() as tx:
        standing = standing_look(tx, store, family.name, variant, aim)
    if standing is not None:
        return as_confirmed(standing, variant, family, store)
    planned = plan_look(context, family, variant, aim, parse_definition(family, {}))
    return planned.price if request.dry_run else queue_look(context, planned, family)
