"""A store, a clock that is moved by hand, and users: rollouts as production would move them, in no time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from optimizer.adapters.store import Database
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.core.feedback.events import Arm, FeedbackEvent, Interaction
from optimizer.core.feedback.traffic import RecordedTraffic
from optimizer.core.rollout.blocks import StoredBlock, window_start
from optimizer.core.rollout.transitions import OperatorAct
from optimizer.core.serving.assignment import Holdback, cohort_start, holdback_of
from optimizer.core.serving.rollout import Champion, Decision, Rollout, is_frozen
from optimizer.core.views.rollout_status import RolloutView
from optimizer.jobs.families.create_variant import VariantRequest, store_draft
from optimizer.jobs.families.sync_families import sync_families
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes
from optimizer.jobs.outbox.read_freezes import freezes_of
from optimizer.jobs.record_change import RolloutChange
from optimizer.jobs.rollouts.forecast_rollout import AT_MOST
from optimizer.jobs.rollouts.freeze import FreezeRequest, freeze, unfreeze
from optimizer.jobs.rollouts.rollout_view import rollout_view
from optimizer.jobs.rollouts.tick import TickReport, tick
from optimizer.jobs.rollouts.verify_rollout import VerifyReport, verify_rollout
from optimizer.ports import Store, Transaction
from tests.chosen import chosen
from tests.clock import Clock
from tests.rows.event_rows import rows_of
from tests.rows.rollout_acts import operate, start_rollout
from tests.stores import new_database
from tests.worlds.contexts import context_of

F = "summarization"
TICK_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How one variant does: shares in [0, 1], ms, dollars.

    ``lost``: share of units of which nothing ever arrives. ``silent``:
    the users' application crashes and reports nothing.
    """

    success: float = 0.8
    errors: float = 0.01
    latency_ms: float = 400.0
    cost_usd: float = 0.002
    labelled: float = 1.0
    lost: float = 0.0
    silent: bool = False


def traffic_of_a_month(
    tx: Transaction, store: Store, family: str, metric: object, now: datetime
) -> RecordedTraffic | None:
    return store.traffic.recorded(tx, family, now - AT_MOST, now)


@dataclass
class World:
    """One family with a champion that has a history, and a candidate."""

    store: Database
    seed: int = 1
    rollout_settings: dict[str, Any] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    constraints: dict[str, Any] = field(default_factory=dict)
    tick_s: float = TICK_S

    def __post_init__(self) -> None:
        self.draw = Random(self.seed)
        self.n = 0
        self._frozen = False
        self._state: tuple[Rollout | None, Champion, Holdback | None] | None = None
        settings = {
            "min_labelled_per_stage": 100,
            "min_duration_hours": 0,
            "whole_days": False,
            "feedback_window": {"floor_hours": 1.0},
            "margin": 0.1,
        }
        self.family: Family = parse_family(
            {
                "name": F,
                "inputs": {"document": {"type": "text"}},
                "prompt": {
                    "current": "1",
                    "versions": {"1": {"content": [{"role": "user", "content": "{{document}}"}]}},
                },
                "rollout": {**settings, **self.rollout_settings},
                "constraints": self.constraints,
            }
        )
        sync_families({F: self.family}, self.store, self.clock)
        self.champion = self.family.variant().id
        draft = VariantRequest(
            family=self.family.name,
            messages=[{"role": "user", "content": "In one sentence: {{document}}"}],
            note="shorter",
        )
        self.candidate = store_draft(self.family, draft, actor="ann", store=self.store, clock=self.clock).variant
        self.behaviours = {self.champion: Behaviour(), self.candidate: Behaviour()}

    def copied(self, folder: Path) -> World:
        """As it is, on a copy of its store, which was closed: in a hundredth of the time in which it came there."""
        shutil.copy(self.store.url.removeprefix("sqlite:///"), folder / "detent.db")
        made = copy(self)
        made.store, made.clock, made.draw, made._state = new_database(folder), copy(self.clock), Random(), None
        made.draw.setstate(self.draw.getstate())
        made.behaviours = dict(self.behaviours)
        return made

    # --- the past and the start ---------------------------------------------------------------------------------------

    def history(self, n: int = 600, n_labelled: int = 0) -> None:
        """Requests of the champion within the last hour, summed up; the first ones with an outcome."""
        events: list[tuple[Interaction, FeedbackEvent | None]] = []
        for i in range(n):
            arm = Arm(family=F, variant=self.champion, unit_hmac=f"past-{i}")
            request = self._interaction(arm, self.clock.at - timedelta(seconds=3600 * (i + 1) / n))
            outcome = self._feedback(arm, self.behaviours[self.champion]) if i < n_labelled else None
            events.append((request, outcome))
        self._flush(events, {})
        self.clock.pass_seconds(120)
        roll_up_minutes(store=self.store, clock=self.clock)

    def start(self, **changes: Any) -> Rollout:
        """Started as forced, approved and served; the salt is drawn from the seed,
        so that each unit always gets the same arm. The traffic is read once: where it holds no label, Detent reads it
        four times, of more and more days.
        """
        with (
            patch(
                "optimizer.jobs.rollouts.start_rollout.secrets.token_hex",
                lambda n: f"{self.draw.getrandbits(8 * n):0{2 * n}x}",
            ),
            patch("optimizer.jobs.rollouts.forecast_rollout.recorded_traffic", traffic_of_a_month),
        ):
            started = start_rollout(
                self.family, self.candidate, actor="ann", store=self.store, clock=self.clock, confirm=F, **changes
            )
        operate(started.id, "approve", actor="bob", reason="looks fine", store=self.store, clock=self.clock)
        self.clock.pass_seconds(1)
        self.tick()
        return self.rollout

    # --- traffic ------------------------------------------------------------------------------------------------------

    def serve(self, unit: str) -> Arm:
        """What the unit is served, as its token would say."""
        rollout, champion, holdback = self._serving()
        choice = chosen(
            unit,
            self.clock.at,
            family=F,
            unit_hmac=f"h-{unit}",
            champion=champion.variant,
            rollout=rollout,
            holdback=holdback,
            frozen=self._frozen,
        )
        counted = choice.rollout is not None
        return Arm(
            family=F,
            variant=choice.variant,
            rollout=choice.rollout,
            role=choice.role,
            stage=choice.stage,
            cohort_start=cohort_start(self.clock.rollout_now(), self.family.rollout.cohort_minutes)
            if counted
            else None,
            unit_hmac=f"h-{unit}",
        )

    def requests(self, n: int, seconds: float, *, unit_of: Callable[[int], str] | None = None) -> None:
        """``n`` requests spread over the next ``seconds``, reported at their end,
        with a tick every ``tick_s`` in between.
        """
        until = self.clock.at + timedelta(seconds=seconds)
        gap = seconds / n
        events: list[tuple[Interaction, FeedbackEvent | None]] = []
        counts: dict[tuple[str, str | None, float | None, datetime], int] = {}
        next_tick = self.clock.at + timedelta(seconds=self.tick_s)
        for i in range(n):
            self.clock.pass_seconds(gap)
            while next_tick <= self.clock.at:
                self._flush(events, counts)
                self.tick()
                next_tick += timedelta(seconds=self.tick_s)
            self.n += 1
            arm = self.serve(unit_of(i) if unit_of else f"u{self.n}")
            if arm.rollout is not None:
                assert arm.variant is not None
                key = (arm.variant, arm.rollout, arm.stage, window_start(self.clock.at))
                counts[key] = counts.get(key, 0) + 1
            behaviour = self.behaviours[arm.variant or ""]
            if not behaviour.silent:
                events.append((self._interaction(arm, self.clock.at), self._feedback(arm, behaviour)))
        self._flush(events, counts)
        self.clock.at = until

    def labels(
        self, n: int, *, seconds: float = 50.0, unit_of: Callable[[int], str] | None = None, tick: bool = True
    ) -> None:
        """``n`` units within so many real seconds, less than a lease; then one tick."""
        events: list[tuple[Interaction, FeedbackEvent | None]] = []
        for i in range(n):
            self.clock.pass_seconds(seconds / n)
            self.n += 1
            arm = self.serve(unit_of(i) if unit_of else f"u{self.n}")
            behaviour = self.behaviours[arm.variant or ""]
            if self.draw.random() >= behaviour.lost:
                events.append((self._interaction(arm, self.clock.at), self._feedback(arm, behaviour)))
        self._flush(events, {})
        if tick:
            self.tick()

    def climb(self, n_minutes: int, per_minute: int = 120) -> None:
        """Labels for so many minutes, or until the rollout has ended."""
        for _ in range(n_minutes):
            if self.rollout.is_active:
                self.labels(per_minute)

    def run(self, seconds: float, per_second: float = 2.0) -> float:
        """Requests for so long, or until the rollout has ended; after how many seconds that was."""
        began = self.clock.at
        while self.rollout.is_active and (self.clock.at - began).total_seconds() < seconds:
            self.requests(round(30 * per_second), 30.0)
        return (self.clock.at - began).total_seconds()

    def tick(self) -> TickReport:
        self._state = None
        return tick(self.store, self.clock)

    def operate(self, act: OperatorAct, *, reason: str = "because", confirm: str | None = None) -> RolloutChange:
        self._state = None
        return operate(
            self.rollout.id, act, actor="ann", reason=reason, confirm=confirm, store=self.store, clock=self.clock
        )

    def freeze(self, family: str | None = F) -> None:
        freeze(context_of(self.store, self.clock), FreezeRequest(family=family, reason="launch"))

    def unfreeze(self, family: str | None = F) -> None:
        unfreeze(context_of(self.store, self.clock), FreezeRequest(family=family, reason="over"))

    def keep_lease(self, seconds: float) -> None:
        """Time passes under a worker that ticks often enough."""
        for _ in range(int(seconds // 50)):
            self.clock.pass_seconds(50)
            self.tick()

    # --- what came of it ----------------------------------------------------------------------------------------------

    @property
    def rollout(self) -> Rollout:
        with self.store.read() as tx:
            found = self.store.rollouts.latest(tx, F)
        assert found is not None
        return found

    @property
    def seen(self) -> RolloutView:
        with self.store.read() as tx:
            return rollout_view(tx, self.store, self.clock, self.rollout)

    @property
    def decisions(self) -> list[Decision]:
        rollout = self.rollout
        with self.store.read() as tx:
            return self.store.rollouts.decisions(tx, rollout.id)

    @property
    def tenure(self) -> Champion:
        with self.store.read() as tx:
            found = self.store.champions.current(tx, F)
        assert found is not None
        return found

    def alerts(self) -> set[str]:
        with self.store.read() as tx:
            return {alert.kind for alert in self.store.alerts.all(tx, open_only=True)}

    def blocks(self, kind: str) -> list[StoredBlock]:
        rollout = self.rollout
        with self.store.read() as tx:
            return self.store.blocks.of_rollout(tx, rollout.id, kind=kind)

    def moves(self) -> list[str]:
        """What the worker did by itself, in order."""
        return [d.kind for d in self.decisions if d.actor == "system:tick"]

    def verified(self) -> VerifyReport:
        return verify_rollout(self.rollout.id, self.store)

    def _serving(self) -> tuple[Rollout | None, Champion, Holdback | None]:
        """As of the last tick or act: reading it for every request would take most of a test's time."""
        if self._state is None:
            with self.store.read() as tx:
                rollout, latest = self.store.rollouts.active(tx, F), self.store.rollouts.latest(tx, F)
                champion = self.store.champions.current(tx, F)
                self._frozen = is_frozen(self.store.freezes.all(tx), F) is not None
                freezes = freezes_of(tx, self.store, F, self.clock.at)
            assert champion is not None
            self._state = rollout, champion, holdback_of(champion, latest, self.clock.scale, freezes)
        return self._state

    def _interaction(self, arm: Arm, at: datetime) -> Interaction:
        self.n += 1
        behaviour = self.behaviours[arm.variant or ""]
        failed = self.draw.random() < behaviour.errors
        return Interaction(
            id=f"in_{self.n}",
            arm=arm,
            occurred_at=at,
            received_at=at,
            content_hash=f"in_{self.n}",
            latency_ms=behaviour.latency_ms * self.draw.lognormvariate(0, 0.4),
            cost_usd=behaviour.cost_usd * self.draw.uniform(0.5, 1.5),
            error="upstream failed" if failed else None,
        )

    def _feedback(self, arm: Arm, behaviour: Behaviour) -> FeedbackEvent | None:
        if self.draw.random() >= behaviour.labelled:
            return None
        at = self.clock.at
        success = self.draw.random() < behaviour.success
        id = f"fb_{self.n}"
        return FeedbackEvent(
            id=id, arm=arm, occurred_at=at, received_at=at, content_hash=id, source="user", success=success
        )

    def _flush(self, events: list[tuple[Interaction, FeedbackEvent | None]], counts: dict[Any, int]) -> None:
        interactions, feedback = [i for i, _ in events], [f for _, f in events if f is not None]
        rows = [
            (F, variant, rollout, stage, window, "api", n) for (variant, rollout, stage, window), n in counts.items()
        ]

        def keep(tx: Any) -> None:
            self.store.events.add_new(tx, rows_of(interactions), rows_of(feedback))
            self.store.exposures.add(tx, rows)

        self.store.write(keep)
        events.clear()
        counts.clear()
