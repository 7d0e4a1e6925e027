"""Holds what is served: reads it when the store's serving version changes, keeps it while the store cannot be read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic

import structlog

from api.access.auth import Keys
from api.prompt import EnvironmentOverride, ServedFamily
from optimizer.content.core.policy.flags import Flags
from optimizer.core.base.errors import Busy, DetentError
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.variant import Variant
from optimizer.core.policy.tiers import has_student
from optimizer.core.serving.assignment import TokenKeys, UnitOverrides, has_lease, holdback_of, overrides_by_family
from optimizer.core.serving.family_names import by_name, former_of, is_retired, no_family, retired_family
from optimizer.core.serving.rollout import Freeze, Rollout, is_frozen
from optimizer.core.views.forgetting import FORGOTTEN
from optimizer.host.memory import drop_cached
from optimizer.jobs.outbox.read_freezes import freezes_of
from optimizer.jobs.rollouts.tick import report_unwatched
from optimizer.ports import Clock, FamilySource, Store, Transaction

log = structlog.get_logger("api.serving")

STORE_AWAY = "the store cannot be read; the log says why"  # a driver's own words name its address and user
SYNC_AGAIN_S = 5.0  # the pause after a failed attempt to sync the family files with the store


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPicture:
    """One consistent picture. A request takes it once and answers from it alone."""

    version: int | None = None  # None: the store has not been read since this process started
    families: Mapping[str, ServedFamily] = field(default_factory=dict)
    retired: Collection[str] = ()  # names of retired families that no other family has taken
    freezes: Sequence[Freeze] = ()
    keys: Keys | None = None
    ticked_at: datetime | None = None  # the worker's last tick
    read_at: datetime | None = None
    mark: object = None  # of the store; where neither it nor the families' files differ, this picture still holds
    definitions: Mapping[str, Family] = field(default_factory=dict)

    def family(self, name: str) -> ServedFamily:
        """Raises NotFound for a family that is served nowhere, Busy while nothing could be read yet."""
        family = self.families.get(name)
        if family is None:
            if self.version is None:
                raise Busy(
                    "The store has not been read since the server started, so nothing can be served yet. /ready says"
                    " what is missing."
                )
            if name in self.retired:
                raise retired_family(name)
            raise no_family(name)
        return family


class ServingState:
    """Keeps ``now_served`` fresh.

    ``refresh`` is called by a loop every 0.25 s and after each local write, from any thread.
    """

    def __init__(
        self,
        store: Store,
        families: FamilySource,
        clock: Clock,
        token_keys: TokenKeys,
        sync: Callable[[], object],
        flags: Flags | None = None,
    ) -> None:
        self.now_served = ServingPicture()
        self.token_keys = token_keys
        self.store_error: str | None = None  # as it was raised, with addresses
        self._read_fault: str | None = None
        self._flags = flags or Flags()
        self._store, self._families, self._clock, self._tell_store = store, families, clock, sync
        self._lock = threading.Lock()
        self._sync_due: float | None = 0.0  # monotonic; None while the store knows what the files hold
        self._alerted: set[str] = set()
        self._forgotten_at: datetime | None = None  # when somebody was forgotten last
        self.on_new_version: list[Callable[[], object]] = []  # what a process reads again when something has changed
        self.on_forgotten: list[Callable[[], object]] = [drop_cached]  # what throws away what a process has read lately

    @property
    def store_fault(self) -> str | None:
        """Why the store cannot be read or written, in words for anyone; None where it can."""
        return self._read_fault or self._store.fault

    def refresh(self) -> None:
        """Never raises for a store or file that cannot be read: serving goes on, and ``store_error`` says why."""
        with self._lock:
            self.load_changed_files()
            self._sync()
            try:
                forgotten_at = before = self._forgotten_at
                with self._store.read() as tx:
                    served = self._read(tx)
                    if served.version != self.now_served.version:
                        for read_again in self.on_new_version:
                            read_again()
                        forgotten_at = self._forgotten_at = self._store.minute_stats.watermark(tx, FORGOTTEN)
                # After the read: among what is dropped are statements of other threads' connections, one of which may
                # wait for this read to end. Without a version this process has just begun.
                if forgotten_at != before and self.now_served.version is not None:
                    for drop in self.on_forgotten:
                        drop()
            except Exception as error:
                # While the store is away (locked, gone, disk full), serving from memory is right, and stopping is not.
                if self.store_error is None:
                    log.warning("store unreadable, serving from memory", error=str(error), exc_info=error)
                self.store_error = str(error)
                self._read_fault = error.detail if isinstance(error, DetentError) else STORE_AWAY
                return
            if self.store_error is not None:
                log.info("store readable again")
                self.store_error = self._read_fault = None
            self.now_served = served
        self._alert_unwatched(served)

    def load_changed_files(self) -> None:
        if self._families.changed():
            self._families.load()
            self._sync_due = 0.0

    def _sync(self) -> None:
        if self._sync_due is None or monotonic() < self._sync_due:
            return
        self._sync_due = None  # an edit that is read meanwhile is synced in the next round
        try:
            self._tell_store()
        except Exception as error:
            self._sync_due = monotonic() + SYNC_AGAIN_S
            log.warning("family files not synced, will try again", error=str(error), exc_info=error)

    def _read(self, tx: Transaction) -> ServingPicture:
        before, now = self.now_served, self._clock.now()
        mark = self._store.serving_version.mark(tx)
        if before.keys is not None and mark == before.mark and self._families.families is before.definitions:
            return replace(before, read_at=now)
        version, ticked_at = self._store.serving_version.read(tx)
        rollouts = {rollout.family: rollout for rollout in self._store.rollouts.all_active(tx)}
        overrides = overrides_by_family(self._store.overrides.active(tx, now))
        freezes = self._store.freezes.all(tx)
        self._families.former_names = former = self._store.family_names.former(tx)
        definitions = self._families.families
        names = definitions.keys() | self._families.problems.keys()
        names -= {old for old, new in former.items() if new in names}
        families_served: dict[str, ServedFamily] = {}
        for name in names:
            known = before.families.get(name) if version == before.version else None
            family = self._family(tx, name, known, rollouts.get(name), overrides.get(name, {}))
            if family is not None:
                freeze = is_frozen(freezes, name)
                families_served[name] = family if family.freeze == freeze else replace(family, freeze=freeze)
        keys = Keys.from_records(self._store.api_keys.all(tx))
        now_found = by_name(families_served, former)
        is_as_before = (
            before.families.keys() == families_served.keys()
            and former_of(before.families) == former_of(now_found)
            and all(before.families[name] is family for name, family in families_served.items())
        )
        families = before.families if is_as_before else now_found  # what was prepared of them still holds
        return ServingPicture(
            version=version,
            families=families,
            retired=frozenset(old for old, new in former.items() if is_retired(new)),
            freezes=freezes,
            keys=keys,
            ticked_at=ticked_at,
            read_at=now,
            mark=mark,
            definitions=definitions,
        )

    def _family(
        self,
        tx: Transaction,
        name: str,
        known: ServedFamily | None,
        rollout: Rollout | None,
        overrides: UnitOverrides,
    ) -> ServedFamily | None:
        """The same object as before where nothing about the family changed, so that its prepared answers stay.

        None without a champion.
        """
        definition = self._families.families.get(name) or (known.definition if known else None)
        if known is not None and known.definition is definition:
            if known.rollout == rollout and known.overrides == overrides:
                return known
            champion, ever_champion, holdback = known.champion, known.ever_champion, known.holdback
        else:
            current = self._store.champions.current(tx, name)
            if current is None:
                return None
            champion = current
            ever_champion = frozenset(tenure.variant for tenure in self._store.champions.history(tx, name))
            latest = self._store.rollouts.latest(tx, name) if champion.rollout else None
            freezes = freezes_of(tx, self._store, name, self._clock.now()) if latest is not None else []
            holdback = holdback_of(champion, latest, self._clock.scale, freezes)
        compared = [champion.variant]
        compared += [rollout.candidate] if rollout is not None else []
        compared += [holdback.variant] if holdback is not None else []
        ids = [*compared, *(override.variant for override in overrides.values())]
        variants = self._variants(tx, name, ids, known.variants if known else {})
        if champion.variant not in variants:
            log.error("champion is missing from the store", family=name, variant=champion.variant)
            return known
        if rollout is not None and rollout.candidate not in variants:
            log.error("candidate is missing from the store, not served", family=name, variant=rollout.candidate)
            rollout = None
        if holdback is not None and holdback.variant not in variants:
            log.error(
                "the champion before is missing from the store, no unit is held back",
                family=name,
                variant=holdback.variant,
            )
            holdback = None
        environment = None
        if self._flags.knobs and definition is not None and kind_of(definition).runs_pipeline:
            environment = EnvironmentOverride(
                variant=self._flags.overridden(variants[champion.variant]), flags=self._flags
            )
            variants = {**variants, environment.variant.id: environment.variant}
        return ServedFamily(
            name=name,
            definition=definition,
            champion=champion,
            variants=variants,
            ever_champion=ever_champion,
            rollout=rollout,
            overrides={unit: entry for unit, entry in overrides.items() if entry.variant in variants},
            holdback=holdback,
            environment=environment,
            compares_student=any(has_student(variants[id].policy) for id in compared if id in variants),
        )

    def _variants(
        self, tx: Transaction, family: str, ids: Iterable[str], known: Mapping[str, Variant]
    ) -> dict[str, Variant]:
        variants = {}
        for id in set(ids):
            if id in known:
                variants[id] = known[id]
            elif (record := self._store.variants.get(tx, family, id)) is not None:
                variants[id] = record.variant
        return variants

    def _alert_unwatched(self, served: ServingPicture) -> None:
        """A candidate whose lease ran out is no longer served: opens one alert, if the store can be written at all."""
        now = self._clock.now()
        active = [
            family.rollout
            for family in served.families.values()
            if family.rollout is not None and family.freeze is None
        ]
        lapsed = {rollout.id for rollout in active if rollout.share is not None and not has_lease(rollout, now)}
        if lapsed <= self._alerted:
            self._alerted = lapsed
            return
        try:
            self._alerted = set(report_unwatched(self._store, self._clock))
        except Exception as error:
            log.warning("alert not written, will try again", rollouts=sorted(lapsed), error=str(error))
