"""Watches one deploying rollout: closes what is due into blocks, asks what follows, and writes both in one transaction.

It reads before that transaction, so that no writer waits. The transaction is refused where the rollout or its blocks
changed meanwhile, and the next tick looks again. So two ticks at once, or a crash in between, leave one decision or
none. A look that outlasts the lease is written without a new one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from optimizer.core.base.errors import Refused, StaleVersion
from optimizer.core.base.phrasing import when
from optimizer.core.base.values import grouped
from optimizer.core.family.settings import Metric
from optimizer.core.rollout.baseline import ENOUGH, HISTORY, RECENT, Baseline, baseline_of
from optimizer.core.rollout.blocks import (
    GRACE_SECONDS,
    ArmName,
    BlockKind,
    BoundedCounts,
    ReportedRequest,
    StoredBlock,
    UnitOutcome,
    chain_blocks,
    guardrail_content,
    last_units,
    late_content,
    may_count,
    quality_content,
    window_start,
    within_exposures,
)
from optimizer.core.rollout.cohorts import Cohort, due_cohorts, gaps, late_hours, stage_of
from optimizer.core.rollout.evidence_state import (
    StoredEvidence,
    after,
    as_text,
    begin,
    from_text,
    limits_of,
    recomputed_name,
)
from optimizer.core.rollout.next_action import ACTOR, NextAction, next_action
from optimizer.core.rollout.transitions import TransitionRequest, apply
from optimizer.core.serving.assignment import has_lease, held_back_until
from optimizer.core.serving.rollout import Decision, Gap, Rollout, is_frozen
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.read_freezes import freezes_of
from optimizer.jobs.record_change import promote, record_transition
from optimizer.ports import (
    Alert,
    Clock,
    EvidenceRow,
    Fetches,
    Store,
    Transaction,
    UnitCount,
    UnitOutcomes,
)

COMMIT_GRACE_S = 2.0  # after a window; by then all that was acknowledged within it is on disk
BASELINE_AGE = timedelta(hours=24)
MAX_STEPS = 200  # of one rollout in one tick; each reads at most READ_AHEAD of guardrail blocks
READ_AHEAD = timedelta(hours=1)  # guardrail blocks of this time are read in one step
# A step that has read so many units closes no further cohort, since it has to end well within a lease.
UNITS_AHEAD = 50_000
ALERT_KINDS = ("shared_incident", "candidate_silent", "feedback_rates_differ")
ENDED = "rollout_ended"
UNTIL_NEXT = "Nothing has to be done now; the alert ends with the start of the family's next rollout."
UNREADABLE, UNWATCHED = "rollout_watch_failed", "rollout_unwatched"  # while it is not watched


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenBlocks:
    """What one look closed. Nothing of it is written yet."""

    rollout: Rollout
    n_before: int | None  # blocks before the look; None at the first look at the rollout
    known: StoredEvidence
    blocks: tuple[StoredBlock, ...]
    units: Mapping[tuple[int, str], UnitCount]
    more: bool  # the look ended before the present, so another one has to follow
    at: datetime
    clock_at: datetime
    read_at: datetime  # the real time of ``clock_at``; the blocks count nothing that came later


@dataclass(frozen=True, slots=True, kw_only=True)
class TickStep:
    """What one look at a deploying rollout closed, and what follows from it."""

    seen: SeenBlocks
    follows: NextAction

    @property
    def has_transition(self) -> bool:
        """False where the evidence says wait, or where more has to be read first."""
        return self.follows.act != "wait" and not self.seen.more


def look(tx: Transaction, store: Store, clock: Clock, rollout: Rollout, at: datetime) -> TickStep:
    """Reads what is new since the last look. ``at`` is the tick's real time, and never before an earlier tick's."""
    blocks = _RolloutLook(tx, store, clock, rollout, at, gaps(rollout)).close(baseline=True)
    return TickStep(
        seen=blocks, follows=next_action(rollout, blocks.known.state, at=blocks.at, clock_at=blocks.clock_at)
    )


def look_after_promotion(tx: Transaction, store: Store, clock: Clock, rollout: Rollout, at: datetime) -> SeenBlocks:
    """Reads what is new in the holdback.

    The promoted variant stands in the place of the candidate. No new baseline is fixed, and nothing follows.
    """
    apart = [*gaps(rollout), *freezes_of(tx, store, rollout.family)]
    return _RolloutLook(tx, store, clock, rollout, at, apart).close(baseline=False)


def write_step(tx: Transaction, store: Store, clock: Clock, step: TickStep, *, lease_seconds: float) -> Decision | None:
    """Writes the step, and makes its transition or renews the lease.

    Raises:
        StaleVersion: another process changed the rollout meanwhile, or the lease ran out during the look; renewed then,
            it would leave no gap on record.
    """
    looked_at = step.seen.rollout
    rollout, now = store.rollouts.get(tx, looked_at.id), clock.now()
    if rollout is None or rollout.version != looked_at.version:
        raise StaleVersion(f"Rollout {looked_at.id} moved while it was looked at.", rollout=looked_at.id)
    if is_frozen(store.freezes.all(tx), rollout.family):
        return None
    if not has_lease(rollout, now):
        raise StaleVersion(f"The lease of rollout {rollout.id} ran out while it was looked at.", rollout=rollout.id)
    lease_until = now + timedelta(seconds=lease_seconds)
    write_blocks(tx, store, step.seen)
    if not step.has_transition:
        store.rollouts.renew_lease(tx, rollout.id, lease_until)
        _update_alerts(tx, store, rollout, step)
        return None
    return _move(tx, store, replace(rollout, lease_expires_at=lease_until), step)


def write_late(tx: Transaction, store: Store, step: TickStep) -> Decision | None:
    """Writes what a look closed in the middle of which the lease ran out, since all of that was served under the lease.

    Discarded, what takes longer to read than a lease lasts would be read again for ever. No lease and no step up
    follows, so that the gap comes on record first; a rollback does. The alert closes with the next look that ends in
    time. Nothing is written where the rollout changed meanwhile, or the lease had run out before the look.
    """
    seen, rollout = step.seen, step.seen.rollout
    if store.rollouts.get(tx, rollout.id) != rollout or not has_lease(rollout, seen.read_at):
        return None
    write_blocks(tx, store, seen)
    if step.has_transition and step.follows.act == "rollback":
        return _move(tx, store, rollout, step)
    id, f = rollout.id, rollout.family
    detail = (
        f"Rollout {id} of {f} could not be watched in time: a look at it took longer than its lease, and until the next"
        " one every user gets the champion. What it read is kept. If this stays open, give the worker a faster machine"
        f" or raise lease_seconds; to end it: detent rollout rollback {f}"
    )
    late = Alert(
        id=new_id("al"), kind=UNREADABLE, level="critical", family=f, subject=id, opened_at=seen.at, detail=detail
    )
    store.alerts.open(tx, late)
    return None


def _move(tx: Transaction, store: Store, rollout: Rollout, step: TickStep) -> Decision:
    """Makes the step's transition."""
    transition = apply(rollout, request_of(step))
    decision = record_transition(tx, store, transition)
    promote(tx, store, transition)
    _update_alerts(tx, store, transition.rollout, step)
    return decision


def write_blocks(tx: Transaction, store: Store, seen: SeenBlocks) -> None:
    """Writes what a look closed. Raises StaleVersion where another process has stored blocks meanwhile."""
    id, evidence = seen.rollout.id, seen.known
    stored = store.blocks.state(tx, id)
    if (stored.n_blocks if stored else None) != seen.n_before:
        raise StaleVersion(f"The blocks of rollout {id} moved while it was looked at.", rollout=id)
    store.blocks.add(tx, seen.blocks)
    store.unit_counts.put(tx, id, evidence.state.n_blocks, seen.units)
    store.blocks.put_state(
        tx, id, EvidenceRow(n_blocks=evidence.state.n_blocks, state=as_text(evidence), updated_at=seen.at)
    )


def present_evidence(
    tx: Transaction, store: Store, rollout: Rollout, *, at: datetime, clock_at: datetime
) -> Mapping[str, Any] | None:
    """What the blocks closed so far say, for an operator's act; None before the first look."""
    stored = store.blocks.state(tx, rollout.id)
    if stored is None or rollout.status != "deploying":
        return None
    return next_action(rollout, from_text(stored.state).state, at=at, clock_at=clock_at).evidence


class _RolloutLook:
    """One look. Each part closes blocks and adds them up before the next part reads the result."""

    def __init__(
        self,
        tx: Transaction,
        store: Store,
        clock: Clock,
        rollout: Rollout,
        at: datetime,
        apart: Sequence[Gap],
    ) -> None:
        """Args:
        apart: when units of the rollout were served outside it.
        """
        self._tx, self._store, self._rollout, self._at = tx, store, rollout, at
        self._now, self._clock_now, self._scale = clock.now(), clock.rollout_now(), clock.scale
        stored = store.blocks.state(tx, rollout.id)
        self._n_before = stored.n_blocks if stored else None
        self._known = from_text(stored.state) if stored else StoredEvidence(state=begin(rollout.settings))
        self._blocks: list[StoredBlock] = []
        self._units: dict[tuple[int, str], UnitCount] = {}
        self._apart = apart
        self._outside: dict[Gap, set[str]] = {}
        self._more = False

    def close(self, *, baseline: bool) -> SeenBlocks:
        """Closes what is due.

        Args:
            baseline: fix a new one where the last is old.
        """
        if baseline:
            self._baseline()
        self._cohorts()
        self._late_labels()
        self._guardrails()
        return SeenBlocks(
            rollout=self._rollout,
            n_before=self._n_before,
            known=self._known,
            blocks=tuple(self._blocks),
            units=self._units,
            more=self._more,
            at=self._at,
            clock_at=self._clock_now,
            read_at=self._now,
        )

    def _close(self, kind: BlockKind, content: Mapping[str, Any]) -> None:
        state = self._known.state
        (block,) = chain_blocks(
            self._rollout.id, [(kind, content)], n_before=state.n_blocks, head=state.head, closed_at=self._at
        )
        self._blocks.append(block)
        self._known = replace(self._known, state=after(state, block, self._rollout.settings, self._rollout.ladder))

    def _baseline(self) -> None:
        baseline_before = self._known.state.baseline
        if (
            baseline_before is not None
            and self._at - datetime.fromisoformat(baseline_before["frozen_at"]) < BASELINE_AGE
        ):
            return
        baseline = champion_baseline(self._tx, self._store, self._rollout.family, self._rollout.champion, self._now)
        if baseline.n >= max(1, int((self._rollout.settings.get("guardrails") or {}).get("min_history", 500))):
            self._close("baseline", replace(baseline, frozen_at=self._at).as_record())

    # --- quality ------------------------------------------------------------------------------------------------------

    def _cohorts(self) -> None:
        settled_until = self._clock_now - timedelta(seconds=COMMIT_GRACE_S * self._scale)
        ends = held_back_until(self._rollout, self._scale, self._apart)
        n_units = 0
        for cohort in due_cohorts(
            self._rollout,
            closed=self._known.cohorts,
            clock_now=settled_until,
            held_back_until=None if ends is None else self._clock_now - (self._now - ends) * self._scale,
        ):
            if n_units >= UNITS_AHEAD:
                self._more = True
                return
            n_units += self._cohort(cohort)
            self._known = replace(self._known, cohorts={**self._known.cohorts, cohort.stage: cohort.start})

    def _cohort(self, cohort: Cohort) -> int:
        """Closes one cohort; returns how many units it read."""
        until = self._real(cohort.closes_at)
        arm_of_unit = self._store.observations.cohort_units(self._tx, self._rollout, cohort.stage, cohort.start, until)
        counts = self._counts(cohort.stage, arm_of_unit)
        fresh = {unit: arm for unit, arm in arm_of_unit.items() if counts[unit].cohort_start is None}
        days = self._known.state.whole_days
        if not fresh and (days is None or days.ends_at is None or cohort.start < days.ends_at):
            return len(arm_of_unit)
        bounds = self._bounded(cohort, fresh, until)
        fresh = {unit: arm for unit, arm in fresh.items() if unit not in bounds.beyond}
        for unit in fresh:
            self._units[cohort.stage, unit] = replace(counts[unit], cohort_start=cohort.start)
        in_both_arms = self._served_both(cohort)
        arms = {unit: arm for unit, arm in fresh.items() if unit not in in_both_arms}
        outcomes = self._outcomes(cohort, arms, until)
        units = [
            UnitOutcome(unit_hmac=unit, arm=arm, mean=outcomes.means.get(unit)) for unit, arm in sorted(arms.items())
        ]
        content = quality_content(
            cohort,
            units,
            n_left_out=len(fresh) - len(arms),
            by_key=outcomes.by_key,
            recomputed=bounds.counted,
            beyond=bounds.beyond,
        )
        self._close("quality", content)
        return len(arm_of_unit)

    def _late_labels(self) -> None:
        """Counts late labels of the cohorts whose window has passed a second time.

        A unit counts where it matured, and where only its late label was ever reported.
        """
        hours = late_hours(self._rollout)
        if hours is None or self._rollout.status != "deploying" or self._more:
            return
        until = self._clock_now - timedelta(seconds=COMMIT_GRACE_S * self._scale, hours=hours)
        n_units = 0
        for cohort in due_cohorts(self._rollout, closed=self._known.late_cohorts, clock_now=until):
            if n_units >= UNITS_AHEAD:
                self._more = True
                return
            closed_at, counted_at = self._real(cohort.closes_at), cohort.closes_at + timedelta(hours=hours)
            arms = self._store.observations.cohort_units(
                self._tx, self._rollout, cohort.stage, cohort.start, self._real(counted_at)
            )
            n_units += len(arms)
            counts = self._counts(cohort.stage, arms)
            own_units = {unit for unit in arms if counts[unit].cohort_start in (None, cohort.start)}
            first_at = self._outcomes(cohort, own_units, self._real(counted_at)).first_at
            late = [
                (arms[unit], hours_late)
                for unit, at in sorted(first_at.items())
                if (hours_late := max(0.0, (at - closed_at).total_seconds() * self._scale / 3600))
                or counts[unit].cohort_start is not None
            ]
            if late:
                self._close("late", late_content(cohort, late, until=counted_at))
            self._known = replace(self._known, late_cohorts={**self._known.late_cohorts, cohort.stage: cohort.start})

    def _outcomes(self, cohort: Cohort, units: Collection[str], received_until: datetime) -> UnitOutcomes:
        return self._store.observations.outcomes(
            self._tx,
            self._rollout,
            cohort,
            units,
            metric=Metric.model_validate(self._rollout.settings["metric"]),
            received_since=self._real(cohort.start),
            received_until=received_until,
        )

    def _bounded(self, cohort: Cohort, fresh: Mapping[str, ArmName], until: datetime) -> BoundedCounts:
        """Which of the units that came without a token count."""
        requests = self._store.observations.recomputed_units(self._tx, self._rollout, cohort.stage, cohort.start, until)
        units = {unit: (arm, sorted(requests[unit])) for unit, arm in fresh.items() if unit in requests}
        if not units:
            return BoundedCounts()
        of_variant: dict[str, ArmName] = {self._rollout.candidate: "candidate", self._rollout.champion: "champion"}
        reported = {
            (of_variant[variant], key): n
            for (key, variant, share), n in self._store.exposures.reported(self._tx, self._rollout.id).items()
            if variant in of_variant and stage_of(self._rollout.ladder, share) == cohort.stage
        }
        counted_before = self._known.state.recomputed
        which = {(arm, key) for arm, keys in units.values() for key in keys}
        counted = {(arm, key): counted_before.get(recomputed_name(cohort.stage, arm, key), 0) for arm, key in which}
        return within_exposures(units, reported=reported, counted=counted)

    def _served_both(self, cohort: Cohort) -> set[str]:
        """Units that were served outside the rollout while their window was open; they are in neither arm any more.

        A request that began in a gap may be reported a little after it.
        """
        begun, closes = self._real(cohort.start), self._real(cohort.closes_at)
        units: set[str] = set()
        for gap in self._apart:
            if gap.since < closes and gap.until > begun:
                if gap not in self._outside:  # many cohorts overlap one gap
                    until = gap.until + timedelta(seconds=GRACE_SECONDS)
                    self._outside[gap] = self._store.observations.outside(
                        self._tx, self._rollout.family, gap.since, until
                    )
                units |= self._outside[gap]
        return units

    # --- guardrails ---------------------------------------------------------------------------------------------------

    def _guardrails(self) -> None:
        started = self._rollout.started_at
        assert started is not None
        since = self._known.guardrails_until or window_start(started)
        if self._now < since:
            raise Refused(
                f"the clock shows {when(self._now)}, and its requests are counted until {when(since)} already: the"
                " clock went back, and what comes in until then would not be looked at. Set the clock, or wait until"
                " it is there again"
            )
        until = window_start(self._now - timedelta(seconds=GRACE_SECONDS))
        if until <= since:
            return
        self._more = self._more or until - since > READ_AHEAD
        until = min(until, since + READ_AHEAD)
        requests = grouped(
            ((window_start(request.counted_at), request.stage), request)
            for request in self._store.observations.requests(self._tx, self._rollout, since, until)
        )
        fetches = grouped(
            ((window_start(one.window_start), one.stage), one)
            for one in self._store.observations.fetches(self._tx, self._rollout, since, until)
        )
        for begun, stage in sorted(requests.keys() | fetches.keys()):
            self._window(begun, stage, requests.get((begun, stage), []), fetches.get((begun, stage), []))
        self._known = replace(self._known, guardrails_until=until)

    def _window(self, begun: datetime, stage: int, requests: list[ReportedRequest], fetches: list[Fetches]) -> None:
        minute = int(begun.timestamp()) // 60
        counts = self._counts(stage, {r.unit_hmac for r in requests})
        counted = {
            u for u, c in counts.items() if may_count(n_values=c.n_values, last_minute=c.last_minute, minute=minute)
        }
        for unit in counted:
            self._units[stage, unit] = replace(counts[unit], n_values=counts[unit].n_values + 1, last_minute=minute)
        sums: dict[ArmName, int] = {"candidate": 0, "champion": 0}
        for fetch in fetches:
            sums[fetch.arm] += fetch.n
        content = guardrail_content(
            begun=begun,
            stage=stage,
            requests=requests,
            counted=counted,
            fetches=sums,
            limits=limits_of(self._known.state, self._rollout.settings),
            numbers=self._known.numbers,
        )
        self._close("guardrails", content)
        self._known = replace(self._known, last_units=last_units(self._known.last_units, requests))

    def _counts(self, stage: int, units: Any) -> dict[str, UnitCount]:
        """What the units have been counted for so far, this look included."""
        unknown = [unit for unit in units if (stage, unit) not in self._units]
        stored = self._store.unit_counts.get(self._tx, self._rollout.id, stage, unknown)
        return {unit: self._units.get((stage, unit)) or stored.get(unit) or UnitCount() for unit in units}

    def _real(self, clock_at: datetime) -> datetime:
        """The real time of an instant of the rollout clock."""
        return self._now - (self._clock_now - clock_at) / self._scale


def request_of(step: TickStep) -> TransitionRequest:
    """The transition that follows from the step, which must not say wait."""
    action = step.follows
    assert action.act != "wait"
    return TransitionRequest(
        act=action.act,
        at=step.seen.at,
        clock_at=step.seen.clock_at,
        actor=ACTOR,
        reason=action.reason,
        outcome=action.outcome,
        evidence=action.evidence,
    )


def _update_alerts(tx: Transaction, store: Store, rollout: Rollout, step: TickStep) -> None:
    """Opens and closes the alerts that last as long as their cause, and opens one where the worker ended
    the rollout.
    """
    f, at = rollout.family, step.seen.at
    are_open = {alert.kind for alert in store.alerts.all(tx, open_only=True, family=f, subject=rollout.id)}
    texts = step.follows.alerts if rollout.is_active else {}
    for over in are_open.intersection((*ALERT_KINDS, UNREADABLE, UNWATCHED)).difference(texts):
        store.alerts.close(tx, over, f, rollout.id, at)
    for kind in ALERT_KINDS:
        if (text := texts.get(kind)) is None:
            continue
        detail = (
            f"Rollout {rollout.id} of {f} does not go on: {text}. Look: detent rollout status {f}. Take it back: detent"
            f" rollout rollback {f}"
        )
        store.alerts.open(
            tx,
            Alert(
                id=new_id("al"), kind=kind, level="warning", family=f, subject=rollout.id, opened_at=at, detail=detail
            ),
        )
    if rollout.status == "rolled_back":
        detail = (
            f"Rollout {rollout.id} of {f} was rolled back ({rollout.outcome}): {rollout.reason}. "
            f"From {when(at)} on every user got {rollout.champion}. {UNTIL_NEXT} Look: detent rollout log {f}"
        )
        store.alerts.open(
            tx, Alert(id=new_id("al"), kind=ENDED, level="critical", family=f, subject=f, opened_at=at, detail=detail)
        )


def champion_baseline(tx: Transaction, store: Store, family: str, variant: str, now: datetime) -> Baseline:
    """The baseline from the last 24 hours if they hold at least 500 of the variant's requests, else from the last 30
    days.

    ``now`` is real time. Requests of the last minute or two are not summed up yet, and do not count.
    """
    requests = partial(store.minute_stats.of_family, tx, family, variant=variant, source="")
    recent = baseline_of(requests(now - RECENT), now=now)
    return recent if recent.n >= ENOUGH else baseline_of(requests(now - HISTORY), now=now)
