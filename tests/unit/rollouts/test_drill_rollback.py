"""The drill of the way back: a real call outside studies, an alert while it fails,
and never a look at the holdout.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import Busy, ModelFailed, NotFound
from optimizer.core.family.rendering import render
from optimizer.core.family.variant import Variant, VariantRecord
from optimizer.core.models.language import request_for
from optimizer.core.serving.champion import fall_back, next_tenure
from optimizer.jobs.champions.drill_rollback import ALERT, drill_rollback, is_due
from optimizer.jobs.dataset.build_dataset import cut_as_served
from optimizer.ports import Alert
from tests.stores import study
from tests.worlds.study_world import START, TopicModel, World, topic_examples, topic_family


class DrillWorld(World):
    """A family whose first champion lies beneath a second one, and whose model may break."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.broken: Exception | None = None
        super().__init__(folder, model=TopicModel(before=self.break_down), family=topic_family(**changes))
        self.fill()
        self.first = self.family.variant()
        self.second = self.variant("Topic of {{document}}?")
        self.crown_next(self.second)

    def break_down(self, n: int) -> None:
        if self.broken is not None:
            raise self.broken

    def variant(self, text: str) -> Variant:
        made = Variant(messages=({"role": "user", "content": text},), model=self.family.variant().model)
        record = VariantRecord(family="topics", variant=made, source="person", created_at=START, created_by="anna")
        self.store.write(lambda tx: self.store.variants.add(tx, record))
        return made

    def crown_next(self, variant: Variant) -> None:
        with self.store.read() as tx:
            current = self.store.champions.current(tx, "topics")
        tenure = next_tenure(current, variant=variant.id, at=self.clock.now(), by="anna", why="better", forced=False)
        self.store.write(lambda tx: self.store.champions.put(tx, tenure))

    def drill(self) -> str:
        return drill_rollback(self.family, store=self.store, clock=self.clock, models=self)

    def due(self, after: timedelta = timedelta(0)) -> bool:
        self.clock.at += after
        return is_due(self.family, store=self.store, clock=self.clock)

    def alerts(self, *, open_only: bool = True) -> list[Alert]:
        with self.store.read() as tx:
            return [alert for alert in self.store.alerts.all(tx, open_only=open_only) if alert.kind == ALERT]


@pytest.fixture
def world(tmp_path: Path) -> DrillWorld:
    return DrillWorld(tmp_path)


class TestDrill:
    def test_the_champion_beneath_is_asked_as_serving_would_ask_it(self, world: DrillWorld) -> None:
        assert world.drill() == "works"
        (sent,) = world.model.requests
        example = cut_as_served(world.family, topic_examples(1, "dev")[0])
        served = request_for(world.first, render(world.first, example.input), revision=world.model.revision)
        assert (sent.messages, sent.params) == (served.messages, served.params)
        assert world.alerts(open_only=False) == []

    def test_it_really_calls_every_time_though_the_journal_knows_an_answer(self, world: DrillWorld) -> None:
        assert [world.drill(), world.drill()] == ["works", "works"]
        assert len(world.model.requests) == 2
        with world.store.read() as tx:
            rows = tx.exec_driver_sql("SELECT study, family, purpose, status, cost_usd FROM lm_calls").all()
        assert rows == [(None, "topics", "rehearsal", "settled", 0.00001)] * 2, "outside every study"

    def test_a_broken_model_opens_one_alert_which_says_what_to_do_and_a_working_one_closes_it(self, world):
        world.broken = ModelFailed("The key of the model was refused (401).", kind="http", status_of_model=401)
        assert [world.drill(), world.drill()] == ["broken", "broken"]
        (alert,) = world.alerts()
        assert (alert.family, alert.subject, alert.level) == ("topics", world.first.id, "critical")
        assert "The key of the model was refused (401)." in alert.detail
        assert "tried again every hour" in alert.detail
        world.broken = None
        assert world.drill() == "works"
        assert world.alerts() == []

    def test_a_model_that_is_not_there_any_more_and_a_prompt_that_asks_for_more_are_broken_ways_back(
        self, world: DrillWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def gone(name: str) -> Any:
            raise NotFound(f"There is no model {name!r}.")

        with monkeypatch.context() as patched:
            patched.setattr(world, "get", gone)
            assert world.drill() == "broken"
        assert "There is no model 'fake'." in world.alerts()[0].detail
        asks_more = world.variant("{{document}} of {{author}}?")
        world.crown_next(asks_more)
        world.crown_next(world.first)
        assert world.drill() == "broken"
        (alert,) = world.alerts()
        assert alert.subject == asks_more.id
        assert "author" in alert.detail

    def test_a_store_that_is_busy_says_nothing_about_the_way_back(self, world: DrillWorld) -> None:
        world.broken = Busy("The database is locked.")
        with pytest.raises(Busy):
            world.drill()
        assert world.alerts(open_only=False) == []

    def test_only_released_dev_examples_are_shown(self, tmp_path: Path) -> None:
        world = DrillWorld(tmp_path)
        world.store.write(lambda tx: tx.exec_driver_sql("UPDATE examples SET released = 0"))
        assert world.drill() == "not possible"
        assert world.model.requests == []
        assert world.alerts(open_only=False) == []
        with world.store.read() as tx:
            assert world.store.examples.looked_at(tx, "topics") == set()

    def test_with_nothing_beneath_nothing_is_called_and_an_old_alert_closes(self, world: DrillWorld) -> None:
        world.broken = ModelFailed("Down.", kind="malformed")
        world.drill()
        with world.store.read() as tx:
            history = world.store.champions.history(tx, "topics")
        back = fall_back(history, expect=None, at=world.clock.now(), by="anna", why="worse")
        world.store.write(lambda tx: world.store.champions.put(tx, back))
        n_calls = len(world.model.requests)
        assert world.due()
        assert world.drill() == "nothing to go back to"
        assert len(world.model.requests) == n_calls
        assert world.alerts() == []
        assert not world.due(timedelta(days=2))


class TestWhen:
    @pytest.mark.parametrize(("broken", "minutes"), [(False, 24 * 60), (True, 60)])
    def test_once_a_day_and_every_hour_while_it_is_broken(self, world: DrillWorld, broken: bool, minutes: int) -> None:
        assert world.due()
        world.broken = ModelFailed("Down.", kind="malformed") if broken else None
        world.drill()
        assert not world.due(timedelta(minutes=minutes - 1))
        assert world.due(timedelta(minutes=1))

    def test_at_once_when_the_champion_changes_and_after_a_nomination(self, world: DrillWorld) -> None:
        world.drill()
        assert not world.due()
        world.crown_next(world.variant("Say the topic of {{document}}"))
        assert world.due()
        world.drill()
        for outcome, expected in (("no_improvement", False), ("nominated", True)):
            at = world.clock.now()
            found = study(f"st_{outcome}", family="topics", status="finished", outcome=outcome, finished_at=at)
            world.store.write(lambda tx, found=found: world.store.studies.add(tx, found))
            assert world.due() == expected

    def test_never_without_a_champion_or_for_a_policy(self, world: DrillWorld) -> None:
        world.family = topic_family(name="nobody")
        assert not world.due()
        world.family = topic_family().model_copy(update={"kind": "policy"})
        assert not world.due()
