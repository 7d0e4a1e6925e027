"""The rollback drill: the champion before is rendered and its model called once, so that the way back is
known to work.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

import structlog

from optimizer.core.base.errors import Busy, DetentError
from optimizer.core.base.values import Budget
from optimizer.core.dataset.examples import Example
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.rendering import render
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import request_for
from optimizer.core.serving.champion import beneath, current_of
from optimizer.jobs.calls.blocking import wait_for
from optimizer.jobs.calls.call_book import Account
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.dataset.build_dataset import cut_as_served
from optimizer.jobs.ids import new_id
from optimizer.ports import Alert, Clock, ModelSource, Store, Transaction

ALERT = "way_back_broken"
PURPOSE = "rehearsal"  # a drill's name in the journal and in alerts, which are kept
EVERY = timedelta(hours=24)
EVERY_WHILE_BROKEN = timedelta(hours=1)
LATEST_STUDIES = 5  # looked through for a nomination
DrillOutcome = Literal["works", "broken", "not possible", "nothing to go back to"]
log = structlog.get_logger(__name__)


def is_due(family: Family, *, store: Store, clock: Clock) -> bool:
    """Once a day, at once after a change of champion or a nomination, and every hour while the way back is broken."""
    with store.read() as tx:
        history = store.champions.history(tx, family.name)
        last = store.minute_stats.watermark(tx, f"{PURPOSE}/{family.name}")
        studies, _ = store.studies.page(tx, family=family.name, limit=LATEST_STUDIES)
        is_broken = bool(store.alerts.all(tx, open_only=True, kind=ALERT, family=family.name))
    if not history or not kind_of(family).asks_models or (beneath(history) is None and not is_broken):
        return False
    if last is None or clock.now() - last >= (EVERY_WHILE_BROKEN if is_broken else EVERY):
        return True
    nominated = [
        study.finished_at for study in studies if study.outcome == "nominated" and study.finished_at is not None
    ]
    return any(at > last for at in (current_of(history).since, *nominated))


def drill_rollback(family: Family, *, store: Store, clock: Clock, models: ModelSource) -> DrillOutcome:
    """Renders the champion before this one with a released dev example, and asks its model, not the journal.

    A failure opens the alert ``way_back_broken``, and the next success closes it. The call is journaled outside any
    study. Without a released dev example nothing can be rendered, which is only logged.
    """
    now = clock.now()
    with store.read() as tx:
        history = store.champions.history(tx, family.name)
        below = beneath(history) if history else None
        record = store.variants.get(tx, family.name, below.variant) if below is not None else None
        released_only = family.privacy.examples_from != "any"
        examples = store.examples.of_split(tx, family.name, split="dev", released_only=released_only)
        example = min(examples, key=lambda example: example.id, default=None)
    failure: str | None = None
    if below is None:
        outcome: DrillOutcome = "nothing to go back to"
    elif example is None:
        outcome = "not possible"
        log.info(
            "rollback drill not possible",
            family=family.name,
            variant=below.variant,
            why="there is no released dev example to render",
        )
    else:
        failure = (
            "its content is not in the store"
            if record is None
            else _failure(family, record.variant, example, store, clock, models)
        )
        outcome = "works" if failure is None else "broken"
    broken = (
        Alert(
            id=new_id("al"),
            kind=ALERT,
            level="critical",
            family=family.name,
            subject=below.variant,
            opened_at=now,
            detail=(
                f"The way back of {family.name} is broken: {below.variant}, the champion before this one, was rendered"
                f" and its model called in a drill, and that failed: {failure.rstrip('.')}. Put that right; it is"
                " tried again every hour and this alert closes by itself. Until then `detent champion rollback"
                f" {family.name}` would bring back a champion that does not answer."
            ),
        )
        if below is not None and failure is not None
        else None
    )
    store.write(lambda tx: _keep(tx, store, family, broken, now))
    return outcome


def _failure(
    family: Family, variant: Variant, example: Example, store: Store, clock: Clock, models: ModelSource
) -> str | None:
    """What went wrong, as a sentence; None when the model answered."""
    try:
        model = models.get(str(variant.model["name"]))
        messages = render(variant, cut_as_served(family, example).input, declared=family.inputs)
        request = request_for(variant, messages, revision=model.revision)
        # An answer in the journal would prove nothing.
        unheard_of = replace(request, sample=f"{PURPOSE}:{new_id('ca')}")
        calls = JournaledModel(
            model, Account(study=None, family=family.name, purpose=PURPOSE, budget=Budget()), store=store, clock=clock
        )
        wait_for(calls.complete(unheard_of))
    except Busy:
        raise  # the store could not take it: nothing is known about the variant
    except DetentError as error:
        return error.detail
    except Exception as error:  # whatever went wrong, that champion would not answer either
        log.exception("rollback drill failed", family=family.name, variant=variant.id)
        return f"{type(error).__name__}: {error}"
    return None


def _keep(tx: Transaction, store: Store, family: Family, broken: Alert | None, now: datetime) -> None:
    """The drill's date, the new alert, and an end to those about what works again or is no longer the way back."""
    store.minute_stats.set_watermark(tx, f"{PURPOSE}/{family.name}", now)
    for alert in store.alerts.all(tx, open_only=True, kind=ALERT, family=family.name):
        if broken is None or alert.subject != broken.subject:
            store.alerts.close(tx, ALERT, family.name, alert.subject, now)
    if broken is not None and store.alerts.open(tx, broken):
        log.warning("way back broken", family=family.name, variant=broken.subject, detail=broken.detail)
