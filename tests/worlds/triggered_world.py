"""Users who report to the family of study_world, and a clock that is moved by hand:
what makes studies start by themselves.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from optimizer.core.family.family import Family
from optimizer.core.feedback.events import Arm
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.search.study import Study
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes
from optimizer.jobs.rollouts.start_rollout import StartReport
from optimizer.jobs.scheduling.hand_on_candidates import hand_on_candidates
from optimizer.jobs.scheduling.look_at_triggers import TriggerReport, look_at_triggers
from optimizer.jobs.scheduling.set_schedule import (
    ScheduleRequest,
    UnsetScheduleRequest,
    delete_schedule,
    put_schedule,
)
from optimizer.jobs.scheduling.trigger_studies import trigger_studies
from optimizer.ports import Clock as AnyClock, Store
from tests.stand_ins.scripted_model import FREE
from tests.stores import feedback, interaction, keep_events
from tests.worlds.contexts import context_of, study_context
from tests.worlds.study_world import START, Clock, TopicModel, World, topic_family

NIGHTLY = "0 3 * * *"
EASY_ROLLOUT = {
    **{"gates": {"n": 20}, "min_labelled_per_stage": 20, "min_duration_hours": 0, "whole_days": False, "margin": 0.3},
    **{"max_days": 3650, "max_labelled": 10**6},
}


def switched_on(family: Family, *, store: Store, clock: AnyClock, holdout: bool = True) -> None:
    """A person lets studies of the family start by themselves, at the file's times."""
    context = context_of(store, clock, "local:ann", family=lambda name: family)
    put_schedule(context, ScheduleRequest(family=family.name, on=True, holdout=holdout, if_match="*"))


class FreeModel(TopicModel):
    """As the embedded model is: its price is 0."""

    def __init__(self, **options: Any) -> None:
        super().__init__(price=FREE, **options)

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        return replace(await super().complete(request), cost_usd=0.0)


class TriggeredWorld(World):
    """``family`` fields override topic_family's; there is no schedule unless one is given.

    ``on``: a person has let studies start by themselves, and with ``holdout`` look at the sealed examples.
    """

    clock: Clock

    def __init__(
        self,
        folder: Path,
        *,
        model: TopicModel | None = None,
        filled: bool = True,
        on: bool = True,
        holdout: bool = True,
        **family: Any,
    ) -> None:
        fields = {"schedule": {"cron": None}, "rollout": EASY_ROLLOUT, **family}
        super().__init__(
            folder, model=model or FreeModel(), family=topic_family(**fields), clock=Clock(START, step_s=0.001)
        )
        self.n = 0
        if filled:
            self.fill(n_train=9, n_dev=6, n_holdout=20)
        if on:
            self.switch_on(holdout=holdout)

    def begin_at(self, at: datetime, *, holdout: bool = True) -> None:
        """A person switches it on at this time."""
        self.clock.at = at
        self.switch_off()
        self.switch_on(holdout=holdout)

    def switch_on(self, *, holdout: bool = False) -> None:
        switched_on(self.family, store=self.store, clock=self.clock, holdout=holdout)

    def switch_off(self) -> None:
        context = context_of(self.store, self.clock, "local:ann", family=lambda name: self.family)
        delete_schedule(context, UnsetScheduleRequest(family=self.family.name))

    def users(
        self,
        n: int,
        *,
        score: float | None = None,
        success: bool | None = None,
        over_hours: float = 1.0,
        latency_ms: float = 400.0,
        same_unit: str | None = None,
        source: str = "user",
    ) -> None:
        """So many requests of the champion, spread over the next hours, each by a user of its own who then judges."""
        champion = self.champion()
        events: list[Any] = []
        for _ in range(n):
            self.clock.pass_hours(over_hours / n)
            self.n += 1
            at, arm = self.clock.at, Arm(family=self.family.name, variant=champion, unit_hmac=same_unit or f"u{self.n}")
            usual: dict[str, Any] = {"of": arm, "occurred_at": at, "received_at": at}
            events.append(interaction(f"in_{self.n}", **usual, output=None, latency_ms=latency_ms, cost_usd=0.0))
            if score is not None or success is not None:
                events.append(feedback(f"fb_{self.n}", **usual, source=source, score=score, success=success))
        keep_events(self.store, events)

    def champion(self) -> str:
        with self.store.read() as tx:
            champion = self.store.champions.current(tx, self.family.name)
        return champion.variant

    def settle(self) -> None:
        """What was received is summed up per minute, two minutes later."""
        self.clock.pass_hours(1 / 30)
        roll_up_minutes(self.store, self.clock)

    def check(self, *, max_studies: int = 3, usd_per_month: float | None = None) -> list[Study]:
        """What the worker does every five minutes."""
        self.settle()
        settings: Any = SimpleNamespace(usd_per_month=usd_per_month, max_studies=max_studies)
        context = study_context(self.store, self.clock, self.family, self)
        return trigger_studies(replace(context, settings=settings, families=lambda: self.families))

    def hand_on(self) -> list[StartReport]:
        return hand_on_candidates(self.store, self.clock, self.families, lambda family: self.scorer)

    def report(self) -> TriggerReport:
        self.settle()
        return look_at_triggers(self.family, store=self.store, clock=self.clock, max_studies=3)

    def alerts(self) -> dict[str, str]:
        """Open ones: kind > sentence."""
        with self.store.read() as tx:
            return {alert.kind: alert.detail for alert in self.store.alerts.all(tx, open_only=True)}

    def studies(self) -> list[Study]:
        with self.store.read() as tx:
            return self.store.studies.page(tx)[0]

    def end(self, study: Study) -> None:
        """As if it had found nothing."""
        self.change(study, status="finished", outcome="no_improvement", finished_at=self.clock.now())


def at_two(world: TriggeredWorld) -> TriggeredWorld:
    """An hour before the nightly time, with nothing to do."""
    world.begin_at(datetime(2026, 11, 21, 2, 0, tzinfo=UTC))
    assert world.check() == []
    return world
