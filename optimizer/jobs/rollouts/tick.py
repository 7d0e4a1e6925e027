"""Ticks every rollout, every ten seconds.

Approved rollouts begin, lapsed ones go on, and evidence moves the others and renews their leases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

import structlog

from optimizer.core.base.errors import Busy, StaleVersion
from optimizer.core.base.phrasing import when
from optimizer.core.rollout.next_action import ACTOR
from optimizer.core.rollout.transitions import Act, TransitionRequest, apply
from optimizer.core.serving.assignment import has_lease
from optimizer.core.serving.rollout import Decision, Rollout, is_frozen, refuse_other_clock
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.read_freezes import freezes_of
from optimizer.jobs.record_change import log_head, record_transition, transition_request
from optimizer.jobs.rollouts.watch_holdback import watch_holdbacks
from optimizer.jobs.rollouts.watch_rollout import (
    MAX_STEPS,
    UNREADABLE,
    UNWATCHED,
    TickStep,
    look,
    write_late,
    write_step,
)
from optimizer.ports import Alert, Clock, Store, Transaction

THAW_SECONDS = 60.0  # after a freeze; a rollout that no tick reached by then counts as unwatched
Done = Literal["watched", "moved", "deployed", "resumed", "left", "failed"]
log = structlog.get_logger("detent.tick")


@dataclass(frozen=True, slots=True, kw_only=True)
class TickReport:
    """What one tick did, by rollout id.

    ``overtaken``: rollouts that another process changed meanwhile, or whose lease ran out during the look; the next
    tick looks again.
    """

    at: datetime
    done: dict[str, Done] = field(default_factory=dict)
    overtaken: tuple[str, ...] = ()
    holdbacks: Mapping[str, str] = field(default_factory=dict)  # by family


def tick(store: Store, clock: Clock, lease_seconds: float = 60.0) -> TickReport:
    """Sees to every active rollout, each in its own transaction. Two ticks at once, or one twice, do no harm.

    ``at`` is max(last tick, clock), so that decisions never go back in time. A lease counts from the clock itself: a
    clock that was once ahead must not keep an unwatched candidate alive.
    """

    def begin(tx: Transaction) -> tuple[datetime, list[str]]:
        _, last = store.serving_version.read(tx)
        at = max(last, clock.now()) if last is not None else clock.now()
        store.serving_version.ticked(tx, at)
        return at, [rollout.id for rollout in store.rollouts.all_active(tx)]

    at, ids = store.write(begin)
    done: dict[str, Done] = {}
    overtaken = []
    for id in ids:
        try:
            done[id] = _tick_rollout(store, clock, id, at, lease_seconds)
        except StaleVersion:
            overtaken.append(id)
    try:
        holdbacks = watch_holdbacks(store, clock, at)
    finally:
        store.unit_counts.forget_idle()
    return TickReport(at=at, done=done, overtaken=tuple(overtaken), holdbacks=holdbacks)


def _tick_rollout(store: Store, clock: Clock, id: str, at: datetime, lease_seconds: float) -> Done:
    """Sees to one rollout. If it cannot be watched it gets no lease, and is soon not served."""
    with store.read() as tx:
        rollout = store.rollouts.get(tx, id)
    if rollout is None:
        return "left"
    try:
        refuse_other_clock(rollout, clock.scale)
        if rollout.status != "deploying":
            return _begin(store, clock, id, at, lease_seconds)
        if has_lease(rollout, clock.now()):
            return _watch(store, clock, id, at, lease_seconds)
        resumed = _resume(store, clock, id, at, lease_seconds)
        # The candidate was served while this looked, so a look may end it.
        return "moved" if resumed == "resumed" and _watch(store, clock, id, at, lease_seconds) == "moved" else resumed
    except (StaleVersion, Busy):
        raise
    except Exception as error:  # whatever went wrong, the other rollouts must go on
        log.exception("rollout not watched", rollout=id)
        why, latest = str(error), clock.now() + timedelta(seconds=lease_seconds)
        store.write(lambda tx: _leave_unwatched(tx, store, rollout, why, at, latest))
        return "failed"


def _leave_unwatched(tx: Transaction, store: Store, rollout: Rollout, why: str, at: datetime, latest: datetime) -> None:
    """Opens the alert, and shortens a lease that a clock gave which was ahead."""
    now_stored = store.rollouts.get(tx, rollout.id)
    if now_stored is not None and now_stored.lease_expires_at is not None and now_stored.lease_expires_at > latest:
        store.rollouts.renew_lease(tx, rollout.id, latest)
    id, family = rollout.id, rollout.family
    detail = (
        f"Rollout {id} of {family} could not be watched: {why.rstrip('.')}. "
        "Its lease is not renewed, so every user gets the champion within a minute. "
        f"var/logs/worker.log has the whole story; to end it: detent rollout rollback {family}"
    )
    failed = Alert(
        id=new_id("al"), kind=UNREADABLE, level="critical", family=family, subject=id, opened_at=at, detail=detail
    )
    store.alerts.open(tx, failed)


def _watch(store: Store, clock: Clock, id: str, at: datetime, lease_seconds: float) -> Done:
    """Looks at the rollout until the present is reached or a transition follows."""
    for _ in range(MAX_STEPS):
        step = _look(store, clock, id, at)
        if step is None:
            return "left"
        write = partial(write_step, store=store, clock=clock, step=step, lease_seconds=lease_seconds)
        try:
            decision = store.write(write)
        except StaleVersion:
            decision = store.write(lambda tx, step=step: write_late(tx, store, step))  # type: ignore[misc]
            if decision is None:
                raise
        log_head(decision)
        if decision is not None:
            return "moved"
        if not step.seen.more:
            break
    return "watched"


def _look(store: Store, clock: Clock, id: str, at: datetime) -> TickStep | None:
    with store.read() as tx:
        rollout = store.rollouts.get(tx, id)
        if rollout is None or rollout.status != "deploying" or is_frozen(store.freezes.all(tx), rollout.family):
            return None
        return look(tx, store, clock, rollout, at)


def report_unwatched(store: Store, clock: Clock) -> list[str]:
    """Opens the alert ``rollout_unwatched`` for every rollout whose lease has run out; returns their ids.

    It is for processes beside the worker. Neither a freeze, under which no lease is renewed on purpose, nor the short
    while until the tick after it opens one.
    """
    with store.read() as tx:
        if not _lapsed(tx, store, clock.now()):
            return []

    def open_alerts(tx: Transaction) -> list[str]:
        # Read again: while this process waited to write, a tick may have gone on with some of them.
        now = clock.now()
        lapsed = _lapsed(tx, store, now)
        for rollout in lapsed:
            store.alerts.open(tx, _alert(rollout, now))
        return [rollout.id for rollout in lapsed]

    return store.write(open_alerts)


def _lapsed(tx: Transaction, store: Store, now: datetime) -> list[Rollout]:
    """The deploying rollouts that no worker watches, though no freeze is the reason."""
    freezes = store.freezes.all(tx)
    return [
        rollout
        for rollout in store.rollouts.all_active(tx)
        if rollout.status == "deploying"
        and is_frozen(freezes, rollout.family) is None
        and not has_lease(rollout, now)
        and not any(
            now - freeze.until < timedelta(seconds=THAW_SECONDS) for freeze in freezes_of(tx, store, rollout.family)
        )
    ]


def _begin(store: Store, clock: Clock, id: str, at: datetime, lease_seconds: float) -> Done:
    def begin(tx: Transaction) -> Decision | None:
        rollout = store.rollouts.get(tx, id)
        if (
            rollout is None
            or rollout.status != "approved"
            or rollout.held
            or is_frozen(store.freezes.all(tx), rollout.family)
        ):
            return None
        until = clock.now() + timedelta(seconds=lease_seconds)
        request = _request_of_tick("deploy", "approved, and the worker watches", rollout, at, clock)
        return _record_leased_transition(tx, store, rollout, request, until)

    decision = store.write(begin)
    log_head(decision)
    return "left" if decision is None else "deployed"


def _resume(store: Store, clock: Clock, id: str, at: datetime, lease_seconds: float) -> Done:
    """Goes on after a gap, once a look has shown that it can.

    The gap has to be on record before the look that counts.
    """

    def resume(tx: Transaction) -> Decision | None:
        rollout = store.rollouts.get(tx, id)
        if (
            rollout is None
            or rollout.status != "deploying"
            or has_lease(rollout, clock.now())
            or is_frozen(store.freezes.all(tx), rollout.family)
        ):
            return None
        # When the freeze began that ended this lease, if that freeze is over.
        lapsed_at = rollout.lease_expires_at
        frozen_at = (
            None
            if lapsed_at is None
            else next(
                (
                    freeze.since
                    for freeze in freezes_of(tx, store, rollout.family)
                    if freeze.since <= lapsed_at <= freeze.until
                ),
                None,
            )
        )
        cause = "the lease had run out" if frozen_at is None else f"the freeze from {when(frozen_at)} has ended"
        until = clock.now() + timedelta(seconds=lease_seconds)
        request = _request_of_tick("lapse", f"{cause}; the worker watches again", rollout, at, clock)
        decision = _record_leased_transition(tx, store, rollout, request, until)
        if frozen_at is None:
            # Opened again it does no harm; without it the gap would leave no alert.
            store.alerts.open(tx, _alert(rollout, at))
        store.alerts.close(tx, UNWATCHED, rollout.family, rollout.id, at)
        return decision

    decision = store.write(resume) if _look(store, clock, id, at) is not None else None
    log_head(decision)
    return "left" if decision is None else "resumed"


def _request_of_tick(act: Act, reason: str, rollout: Rollout, at: datetime, clock: Clock) -> TransitionRequest:
    """Of the tick's own time; whether the lease has run out is read from the clock."""
    return replace(transition_request(rollout, act, clock.now(), clock, actor=ACTOR, reason=reason), at=at)


def _record_leased_transition(
    tx: Transaction, store: Store, rollout: Rollout, request: TransitionRequest, until: datetime
) -> Decision:
    """Records the transition of a rollout, and the lease under which it is watched until ``until``."""
    transition = apply(rollout, request)
    return record_transition(
        tx, store, replace(transition, rollout=replace(transition.rollout, lease_expires_at=until))
    )


def _alert(rollout: Rollout, at: datetime) -> Alert:
    since = when(rollout.lease_expires_at) if rollout.lease_expires_at else "its start"
    return Alert(
        id=new_id("al"),
        kind=UNWATCHED,
        level="critical",
        family=rollout.family,
        subject=rollout.id,
        opened_at=at,
        detail=(
            f"No worker has watched rollout {rollout.id} of {rollout.family} since {since}: "
            "no worker ticks, so every user gets the champion. Look at the worker (detent status), "
            f"or end it: detent rollout rollback {rollout.family}"
        ),
    )
