"""Watches a champion that no evidence spoke for, from the first outcomes on; only tells, and people decide.

Each look reads what was received since the last one, and as much of each stretch of the reference, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.family.family import Family
from optimizer.core.rollout.start import LABEL_WINDOW_DAYS, champion_mean, most_labelled
from optimizer.core.rollout.switch_watch import PERIOD, ServedOutcome, SwitchWatch, UnitSample, alarm_text
from optimizer.core.serving.assignment import holdback_of
from optimizer.core.serving.rollout import Champion
from optimizer.jobs.families.each_family import each_family
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.read_freezes import freezes_of
from optimizer.jobs.rollouts.watch_holdback import WORSE
from optimizer.ports import Alert, Clock, Store, Transaction, WatchedSwitch

SETTLED = timedelta(seconds=5)  # events are stamped before they are committed
CHUNK = timedelta(minutes=10)  # of receipt, read at once
MOST_CHUNKS = 144  # in one look; after a long pause the next looks go on
log = structlog.get_logger(__name__)


class SwitchWatcher:
    """Keeps in memory which units it has counted; after a restart it reads them again."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._units: dict[tuple[str, int], UnitSample] = {}

    def look(self, families: Mapping[str, Family]) -> list[str]:
        """Reads on, and returns the families with an alarm.

        Every tenure is watched that began by force, for a week: an adopted or edited file, a forced promotion, a
        variant that was set. State and ``read_until`` are written together with the alert, so a look that is killed or
        repeated changes nothing. Raises what kept a family from being watched, once the others have been.
        """
        since = self._clock.now() - PERIOD
        with self._store.read() as tx:
            tenures = [
                tenure for tenure in self._store.champions.all_current(tx) if tenure.forced and tenure.since > since
            ]
        watched = {(tenure.family, tenure.seq) for tenure in tenures}
        self._units = {key: units for key, units in self._units.items() if key in watched}

        def watch(tenure: Champion) -> str | None:
            try:
                return tenure.family if self._watch(tenure, families.get(tenure.family)) else None
            except Exception:
                self._units.pop((tenure.family, tenure.seq), None)  # they may name what was not written
                raise

        return each_family({tenure.family: tenure for tenure in tenures}, watch)

    def _watch(self, tenure: Champion, family: Family | None) -> bool:
        with self._store.read() as tx:
            state = self._store.switch_watches.get(tx, tenure.family)
        if state is None or state.tenure != tenure.seq:
            state = self._begin(tenure, family)
            if state is None:
                return False
            self._keep(state)
        if state.watch.alarm is not None or not state.watch.comparisons:
            return state.watch.alarm is not None
        key, before = (tenure.family, tenure.seq), state
        if key not in self._units:
            units, nothing = UnitSample(), replace(state.watch, comparisons=())
            self._read(replace(state, watch=nothing, read_until=nothing.at), state.read_until, units, most=None)
            self._units[key] = units
        state = self._read(state, self._clock.now() - SETTLED, self._units[key], most=MOST_CHUNKS)
        if state.watch is not before.watch or state.read_until - before.read_until >= CHUNK:
            self._keep(state)
        return state.watch.alarm is not None

    def _begin(self, tenure: Champion, family: Family | None) -> WatchedSwitch | None:
        """None while there is no outcome by which to choose the metric."""
        store, since = self._store, self._clock.now() - timedelta(days=LABEL_WINDOW_DAYS)
        with store.read() as tx:
            history = store.champions.history(tx, tenure.family)
            labels = store.events.label_summary(tx, tenure.family, since)
            freezes = freezes_of(tx, store, tenure.family, self._clock.now())
            holdback = holdback_of(tenure, store.rollouts.latest(tx, tenure.family), self._clock.scale, freezes)
            declared = family.rollout.metric if family is not None else None
            before = next((past.variant for past in history if past.seq == tenure.seq - 1), None)
            if before is None or (declared is None and not labels):
                return None
            metric = declared or most_labelled(labels)
            # from its first tenure on; before, all events would be read in search of one of its own
            first_served = max(since, min(past.since for past in history if past.variant == before))
            first_at = store.switch_watches.first_outcome(tx, tenure.family, before, metric, first_served)
        has_judge = metric.source == "judge" and family is not None and family.judge is not None
        watch = SwitchWatch.begin(
            tenure,
            history,
            metric=metric,
            mean=champion_mean(before, metric, labels)[0],
            first_at=first_at,
            judge=judge_identity(family) if has_judge and family is not None else None,
            rollout=holdback.rollout if holdback is not None else None,
        )
        return WatchedSwitch(family=tenure.family, tenure=tenure.seq, watch=watch, read_until=tenure.since)

    def _read(self, state: WatchedSwitch, until: datetime, units: UnitSample, *, most: int | None) -> WatchedSwitch:
        """``most``: chunks; None for all."""
        n = 0
        while state.read_until < until and state.watch.alarm is None and (most is None or n < most):
            end = min(state.read_until + CHUNK, until)
            with self._store.read() as tx:
                outcomes = self._outcomes(tx, state, timedelta(), end)
                shifts = state.watch.reference.shifts if state.watch.reference is not None else ()
                earlier = [(shift, outcome) for shift in shifts for outcome in self._outcomes(tx, state, shift, end)]
            if outcomes or earlier or any(comparison.open for comparison in state.watch.comparisons):
                state = replace(state, watch=state.watch.after(outcomes, earlier, end, units))
            state, n = replace(state, read_until=end), n + 1
        return state

    def _outcomes(self, tx: Transaction, state: WatchedSwitch, shift: timedelta, end: datetime) -> list[ServedOutcome]:
        watch = state.watch
        return self._store.switch_watches.outcomes(
            tx, state.family, watch.metric, state.read_until - shift, end - shift, judge=watch.judge
        )

    def _keep(self, state: WatchedSwitch) -> None:
        self._store.write(lambda tx: self._put(tx, state))

    def _put(self, tx: Transaction, state: WatchedSwitch) -> None:
        store = self._store
        current = store.champions.current(tx, state.family)
        if current is None or current.seq != state.tenure:
            return
        store.switch_watches.put(tx, state)
        if state.watch.alarm is None:
            return
        detail = alarm_text(state.watch, state.family)
        alert = Alert(
            id=new_id("al"),
            kind=WORSE,
            level="critical",
            family=state.family,
            subject=state.watch.variant,
            opened_at=self._clock.now(),
            detail=detail,
        )
        if store.alerts.open(tx, alert):
            log.warning("champion worse after a switch", family=state.family, detail=detail)
