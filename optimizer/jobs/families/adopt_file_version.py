"""Serves the prompt version that a family's file names, at once and recorded as forced."""

from __future__ import annotations

from collections.abc import Collection

from optimizer.core.base.errors import Conflict, NotFound, Refused
from optimizer.core.family.family import Family
from optimizer.core.search.answer_bounds import models_of
from optimizer.core.serving import champion
from optimizer.core.serving.freezes import require_unfrozen
from optimizer.core.serving.rollout import Champion, Decision
from optimizer.jobs.families.file_versions import promote_file_version, store_file_version
from optimizer.jobs.record_change import ChangeReport, checked_reason, log_head, record_reign
from optimizer.ports import Clock, ModelCatalogue, Store, Transaction


def adopt_file_version(
    family: Family,
    *,
    actor: str,
    confirm: str | None,
    store: Store,
    clock: Clock,
    models: ModelCatalogue,
    loaded: Collection[str] | None,
    reason: str | None = None,
) -> ChangeReport:
    """Makes ``prompt.current`` of the file the champion, without study or rollout; an active rollout ends with it.

    Args:
        loaded: names of the models that the running gateway knows, which reads them once at its start; None where none
            runs.
    Raises:
        Refused: ``confirm`` is not the family's name, and there is a champion to be replaced.
        Conflict: the file's version already serves, the family is frozen, or the running gateway does not know a model
            that the version asks.
        NotFound: the file has no such prompt version, or config/models.yaml has no model that it asks.
    """
    name, version = family.name, family.prompt.current
    wanted = family.variant(version).id
    why = checked_reason(reason)
    _require_models(family, models, loaded)

    def change(tx: Transaction) -> tuple[Champion | None, Champion, Decision | None]:
        require_unfrozen(store.freezes.all(tx), name, f"adopt version {version} of {name}'s file")
        at, reason_on_record = clock.now(), f"adopted version {version} of the file: {why}"
        store_file_version(tx, store, family, version, at)
        current = store.champions.current(tx, name)
        if current is not None and current.variant != wanted and confirm != name:
            raise _unconfirmed(name, version, wanted)
        if current is None:
            reign = champion.first(family=name, variant=wanted, at=at, by=actor, why=reason_on_record)
            record_reign(tx, store, reign, action="champion.first")
            return None, reign, None
        reign, ended = promote_file_version(
            tx, store, family, wanted, current=current, at=at, clock=clock, actor=actor, why=reason_on_record
        )
        return current, reign, ended

    before, reign, ended = store.write(change)
    log_head(ended)
    instead = f", instead of {before.variant}" if before else ""
    serves = "it serves from now on" if loaded is not None else "it serves once `detent serve` runs"
    return ChangeReport(
        family=name,
        what=f"{reign.variant} (version {version} of the file) is champion{instead}; {serves}"
        + (f"; rollout {ended.rollout} ended" if ended else ""),
        why=why,
        undo=f"detent champion rollback {name}" if before else None,
        forced=reign.forced,
        champion=reign,
        decision=ended,
    )


def _require_models(family: Family, models: ModelCatalogue, loaded: Collection[str] | None) -> None:
    variant = family.variant()
    cannot = f"Cannot serve version {family.prompt.current} of {family.name}'s file"
    for name in models_of(variant, {}) if variant.messages else ():
        try:
            models.describe(name)
        except NotFound as error:
            raise NotFound(f"{cannot}: {error.detail}", model=name) from None
        if loaded is not None and name not in loaded:
            raise Conflict(
                f"{cannot}: the running server does not know its model {name!r}. It read config/models.yaml when it"
                " started, and the model was added since, so every request would fail. Restart `detent serve`, then"
                " adopt again.",
                model=name,
            )


def _unconfirmed(name: str, version: str, variant: str) -> Refused:
    return Refused(
        f"Cannot serve version {version} of {name}'s file ({variant}) at once: it was not compared with the champion on"
        f" anything. Confirm with the family's name (detent family adopt {name} --confirm {name}), or go by a rollout:"
        f" detent rollout start {name} {variant}.",
        confirm=name,
        variant=variant,
    )
