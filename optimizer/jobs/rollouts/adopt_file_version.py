"""Serves the prompt version that a family's file names, at once and recorded as forced."""

from __future__ import annotations

import secrets
from typing import Annotated

from pydantic import Field

from optimizer.core.base.errors import Refused
from optimizer.core.family.family import Family
from optimizer.core.rollout.drift import MIN_REFERENCE
from optimizer.core.rollout.start import champion_mean, most_labelled
from optimizer.core.rollout.transitions import Act, TransitionRequest, apply, start
from optimizer.core.search.answer_bounds import models_of
from optimizer.core.serving import champion
from optimizer.core.serving.assignment import HOLDBACK_SHARE
from optimizer.core.serving.rollout import Champion, Decision, Rollout, require_unfrozen
from optimizer.jobs.context import Context
from optimizer.jobs.families.check_models import require_models
from optimizer.jobs.families.sync_families import promote_file_version, store_file_version
from optimizer.jobs.ids import new_id
from optimizer.jobs.record_change import (
    ChangeReport,
    checked_reason,
    log_head,
    record_tenure,
    record_transition,
)
from optimizer.jobs.request import FamilyRequest, Reason
from optimizer.jobs.rollouts.fix_settings import ChampionRecord, fix_settings, read_champion_record
from optimizer.ports import Clock, ServedModels, Store, Transaction


class AdoptRequest(FamilyRequest):
    confirm: Annotated[
        str | None, Field(max_length=200, description="The family's name; without it 409 where it has a champion")
    ] = None
    reason: Reason = ""
    holdback: Annotated[bool, Field(description="Whether some users keep the champion before for a week")] = True


def adopt_file_version(context: Context, request: AdoptRequest) -> ChangeReport:
    """Serves `prompt.current` of the family's file at once, without study or stages; an active rollout ends with it.

    The champion before keeps the holdback of a promotion where there is evidence of what it does and no alarm about it:
    the adoption is then recorded as a rollout of its own, promoted as soon as started.

    Raises:
        InvalidFamily: the file as it stands cannot be read.
        Refused: ``confirm`` is not the family's name, and there is a champion to be replaced.
        Conflict: the file's version already serves, the family is frozen, or the running gateway does not know a model
            that the version asks.
        NotFound: there is no such family, the file has no such prompt version, or config/models.yaml has no model that
            it asks.
    """
    store, clock, actor, confirm = context.store, context.clock, context.actor, request.confirm
    family = context.sound_family(request.family, "be served")
    name, version = family.name, family.prompt.current
    variant = family.variant(version)
    variant_id = variant.id
    why = checked_reason(request.reason)
    cannot, models = f"Cannot serve version {version} of {name}'s file", models_of(variant, {})
    require_models(models, ServedModels(catalogue=context.models()), cannot=cannot)
    loaded = context.loaded_models(models)
    require_models(models, ServedModels(loaded=loaded), cannot=cannot)
    record = None
    if request.holdback:  # read in a transaction of its own, so that no writer waits for a month's sums
        with store.read() as tx:
            if store.champions.current(tx, name) is not None:
                record = read_champion_record(tx, store, name, clock)
    decisions: list[Decision | None] = []
    serves = "it serves from now on" if loaded is not None else "it serves once `detent serve` runs"

    def change(tx: Transaction) -> ChangeReport:
        require_unfrozen(store.freezes.all(tx), name, f"adopt version {version} of {name}'s file")
        at, reason_on_record = clock.now(), f"adopted version {version} of the file: {why}"
        store_file_version(tx, store, family, version, at)
        current = store.champions.current(tx, name)
        if current is not None and current.variant != variant_id and confirm != name:
            raise Refused(
                f"Cannot serve version {version} of {name}'s file ({variant_id}) at once: no evidence would be asked"
                f" for. Confirm with the family's name (detent family adopt {name} --confirm {name}), or go by a"
                f" rollout: detent rollout start {name} {variant_id}.",
                confirm=name,
                variant=variant_id,
            )
        if current is None:
            tenure = champion.first(family=name, variant=variant_id, at=at, by=actor, why=reason_on_record)
            record_tenure(tx, store, tenure, action="champion.first")
            return _report(tenure, version, serves, why)
        held_back = record is not None and _stands_in_holdback(tx, store, current, record, family)
        rollout = new_id("ro") if held_back else None
        tenure = champion.next_tenure(
            current, variant=variant_id, at=at, by=actor, why=reason_on_record, forced=True, rollout=rollout
        )
        ended = promote_file_version(tx, store, clock, tenure)
        adopted = None
        if rollout is not None and record is not None:
            adopted = _record_adoption(tx, store, clock, family, record, tenure, id=rollout)
        decisions[:] = ended, adopted
        return _report(tenure, version, serves, why, before=current, ended=ended)

    report = store.write(change)
    for decision in decisions:
        log_head(decision)
    return report


def _report(
    tenure: Champion,
    version: str,
    serves: str,
    why: str,
    *,
    before: Champion | None = None,
    ended: Decision | None = None,
) -> ChangeReport:
    instead = f", instead of {before.variant}" if before else ""
    if tenure.rollout is not None:
        instead += f", which 5 % of the users keep for a week, so that both can be compared (rollout {tenure.rollout})"
    return ChangeReport(
        family=tenure.family,
        what=f"{tenure.variant} (version {version} of the file) is champion{instead}; {serves}"
        + (f"; rollout {ended.rollout} ended" if ended else ""),
        why=why,
        undo=f"detent champion rollback {tenure.family}" if before else None,
        forced=tenure.forced,
        champion=tenure,
        decision=ended,
    )


def _stands_in_holdback(
    tx: Transaction, store: Store, current: Champion, record: ChampionRecord, family: Family
) -> bool:
    """Whether the champion before may serve the holdback: enough is known of it, and nothing speaks against it.

    It is known where a rollout's evidence made it champion, or where it has enough outcomes. Nobody is held back on a
    variant that fails, or of which nothing is known.
    """
    metric = family.rollout.metric or most_labelled(record.labels)
    _, n_labelled = champion_mean(current.variant, metric, record.labels)
    has_evidence = (current.rollout is not None and not current.forced) or n_labelled >= MIN_REFERENCE
    about = [
        alert
        for alert in store.alerts.all(tx, open_only=True, family=family.name)
        if alert.kind.startswith("champion_") and alert.subject not in ("silence", "outcomes")
    ]
    return has_evidence and not about and record.champion == current.variant


def _record_adoption(
    tx: Transaction, store: Store, clock: Clock, family: Family, record: ChampionRecord, tenure: Champion, *, id: str
) -> Decision:
    ladder = (1 - HOLDBACK_SHARE,)
    fixed = fix_settings(family, family.rollout, record)
    rollout = Rollout(
        id=id,
        family=family.name,
        candidate=tenure.variant,
        champion=record.champion,
        aim=family.rollout.gates.aim,
        ladder=ladder,
        salt=secrets.token_hex(16),
        status="pending",
        stage=-1,
        held=False,
        version=0,
        settings={**fixed, "ladder": list(ladder), "adopted": True},
        stage_history=(),
        created_at=tenure.since,
        created_by=tenure.by,
        simulated_clock=clock.scale != 1.0,
    )
    store.rollouts.add(tx, rollout)
    acts: tuple[Act, Act] = ("start", "adopt")
    request, adopt = (
        TransitionRequest(
            act=act,
            at=tenure.since,
            clock_at=clock.rollout_now(),
            actor=tenure.by,
            reason=tenure.why,
            confirm=family.name,
        )
        for act in acts
    )
    started = start(rollout, request, forced=True)
    record_transition(tx, store, started)
    return record_transition(tx, store, apply(started.rollout, adopt))
