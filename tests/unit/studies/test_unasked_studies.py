"""Nothing starts by itself before a person has switched it on, and then only what that person allowed."""

from __future__ import annotations

import os
from pathlib import Path

from optimizer.adapters.models.user_calls import UserCalls, users_wait
from optimizer.cli.service.by_itself import News, switched_on
from optimizer.jobs.rollouts.read_rollout import by_itself_line
from optimizer.jobs.scheduling.look_at_triggers import next_scheduled
from tests.worlds.triggered_world import NIGHTLY, TriggeredWorld


def complained(folder: Path, *, on: bool = True, holdout: bool = False) -> TriggeredWorld:
    """98 users who are not content, a night after the last look."""
    world = TriggeredWorld(folder, schedule={"cron": NIGHTLY, "strategy": "bootstrap"}, on=on, holdout=holdout)
    assert world.check() == []
    world.clock.pass_hours(24)
    world.users(98, score=0.1)
    return world


def test_a_family_that_nobody_switched_on_starts_no_study_whatever_its_file_and_its_users_say(tmp_path: Path) -> None:
    world = complained(tmp_path, on=False)
    assert world.check() == []
    assert world.studies() == []
    assert world.alerts() == {}
    assert {look.state for look in world.report().looks} == {"off"}
    assert "nothing starts by itself" in world.report().schedule.text
    assert "detent family schedule topics --on" in world.report().schedule.text
    assert next_scheduled(world.report().schedule, world.clock) is None


def test_a_study_by_itself_looks_at_no_sealed_example_that_the_switch_did_not_allow_and_the_terminal_tells_it_once(
    tmp_path: Path,
) -> None:
    world = complained(tmp_path)
    (line,) = switched_on(world.store, [world.family])
    assert line.startswith("topics: on, by the file's triggers and at 0 3 * * * UTC")
    assert line.endswith("To end it: detent family schedule topics --off")
    news = News(world.store)
    assert news() == []
    (study,) = world.check()
    (begun,) = news()
    assert f"Study {study.id} of topics started by itself (feedback): 98 units with feedback" in begun
    assert f"detent study cancel {study.id}" in begun
    assert news() == []
    assert study.dataset["holdout"] == []
    ended = world.run(study)
    assert (ended.status, ended.outcome, ended.confirmation) == ("finished", "not_confirmed", None)
    assert ended.winner is not None
    assert world.n_looked_at() == 0
    assert news() == [
        f"Study {study.id} of topics, which started by itself, ended: not confirmed. Look: detent study show {study.id}"
    ]
    assert world.hand_on() == []
    said = world.alerts()["confirmation_wanted"]
    assert f"detent study confirm topics {ended.winner}" in said
    assert "holdout" in said
    (found,) = news()
    assert f"Study {study.id} of topics, which started by itself, found " in found


def test_the_same_study_looks_once_where_the_switch_allows_it_and_is_not_handed_on_once_it_is_off(
    tmp_path: Path,
) -> None:
    world = complained(tmp_path, holdout=True)
    (study,) = world.check()
    assert world.run(study).outcome == "nominated"
    assert world.n_looked_at() > 0
    assert "confirmation_wanted" not in world.alerts()
    world.switch_off()
    assert world.hand_on() == []
    world.clock.pass_hours(48)
    world.users(98, score=0.1)
    assert world.check() == []


def test_the_status_of_a_rollout_names_the_study_that_runs_by_itself(tmp_path: Path) -> None:
    world = complained(tmp_path)
    (study,) = world.check()
    with world.store.read() as tx:
        running = by_itself_line(tx, world.store, world.family)
    assert running.startswith(f"study {study.id} is queued, 0 calls so far (feedback: 98 units")
    world.end(study)
    world.switch_off()
    with world.store.read() as tx:
        assert by_itself_line(tx, world.store, world.family).startswith("off, nothing starts by itself")


# --- users first ------------------------------------------------------------------------------------------------------


class User:
    """Asks at the tenth call of a study; ``waits`` is what the study asks before each call."""

    def __init__(self, world: TriggeredWorld) -> None:
        self.world, self.n_asked, self.seen = world, 0, list[int]()
        world.model.before = self.called

    def called(self, n: int) -> None:
        self.n_asked += 1

    def waits(self) -> bool:
        if self.n_asked != 10 or len(self.seen) >= 3:
            return False
        self.seen.append(self.n_asked)
        return True


def test_a_study_that_started_by_itself_asks_no_model_while_a_user_waits(tmp_path, monkeypatch):
    monkeypatch.setattr("optimizer.jobs.calls.call_model.STAND_BACK_S", 0.0)
    world = complained(tmp_path)
    (study,) = world.check()
    user = User(world)
    assert world.run(study, users_wait=user.waits).status == "finished"
    assert user.seen == [10, 10, 10]
    assert user.n_asked > 10


def test_a_study_that_a_person_asked_for_does_not_stand_back(tmp_path: Path) -> None:
    world = TriggeredWorld(tmp_path)
    user = User(world)
    world.run(world.create(strategy="bootstrap", definition={"n_holdout": 4}), users_wait=user.waits)
    assert user.seen == []


def test_a_study_that_stands_back_can_be_cancelled(tmp_path: Path) -> None:
    world = complained(tmp_path)
    (study,) = world.check()

    def waits_for_ever() -> bool:
        world.stop(study)
        world.clock.pass_hours(0.001)
        return True

    assert world.run(study, users_wait=waits_for_ever).status == "cancelled"


def test_users_wait_while_a_call_is_under_way_and_a_moment_after(tmp_path: Path) -> None:
    file = tmp_path / "run" / "users"
    assert not users_wait(file)
    calls = UserCalls(file)
    with calls.one():
        with calls.one():
            assert users_wait(file)
        assert users_wait(file)
    assert users_wait(file), "a moment after"
    os.utime(file, (0, 0))
    assert not users_wait(file)
    with UserCalls(file).one(), UserCalls(file).one():
        assert users_wait(file), "two processes that answer users"


def test_users_of_a_file_that_was_removed_between_two_calls_wait_too(tmp_path: Path) -> None:
    file = tmp_path / "users"
    calls = UserCalls(file)
    with calls.one():
        pass
    file.unlink()
    assert not users_wait(file)
    with calls.one():
        assert users_wait(file)


def test_a_folder_that_cannot_be_written_keeps_no_user_waiting(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with UserCalls(tmp_path / "run" / "users").one():
        assert not users_wait(tmp_path / "run" / "users")
