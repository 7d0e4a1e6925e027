"""What a judge is asked to do, by the commands: in this process without a server, by the worker with one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.store.repositories.journal import RunTable
from optimizer.cli import progress as follow
from optimizer.core.base.errors import Busy
from optimizer.core.models.settings import ModelSettings
from optimizer.jobs.runs import create_judge_run
from optimizer.runtime import wiring
from optimizer.runtime.worker import Worker
from tests.command_line import detent
from tests.stand_ins.scripted_model import ScriptedModel
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.judged_world import judge_model
from tests.worlds.rated_world import F, add_judged_family, add_unjudged


class Models:
    """A ModelSource of one scripted judge."""

    def __init__(self, judge: ScriptedModel) -> None:
        self.judge = judge

    def get(self, name: str) -> ScriptedModel:
        return self.judge

    def price(self, name: str) -> Any:
        return self.judge.price

    def describe(self, name: str) -> Any:
        return ModelSettings(openai_compatible="http://127.0.0.1:9", concurrency=1, max_output_tokens=600)

    def close(self) -> None: ...


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    model = judge_model(name="embedded")
    monkeypatch.setattr(wiring, "open_models", lambda settings, last_good=False: Models(model))
    return model


@pytest.fixture
def world(tmp_path: Path, judge: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with serving(make_home(tmp_path)) as world:
        add_judged_family(world, 5)
        add_unjudged(world, 4)
        monkeypatch.setenv("DETENT_HOME", str(tmp_path))
        yield world


def test_without_a_server_the_command_does_it(world: World, judge: ScriptedModel) -> None:
    told = detent("judge", "score", F, "--n", "3", "--dry-run")
    assert "3 expected, at most 6; with retries at most 9, the cap where no budget is given" in told.out
    assert judge.requests == []
    done = detent("judge", "score", F, "--n", "3")
    assert (done.code, "3 answers judged, 0 not measured, $0.00" in done.out) == (0, True), done.err
    cut = detent("judge", "score", F, "--budget-calls", "0")
    assert (cut.code, "Not all were judged" in cut.err) == (3, True)
    runs = detent("judge", "runs", F, "--json").json["items"]
    assert [(one["status"], one["n_done"]) for one in runs] == [("finished", 0), ("finished", 3)]
    assert "has ended: finished" in detent("judge", "cancel", runs[0]["id"]).out
    assert detent("judge", "check", F, "--budget-usd", "1").code == 3, "it has no dev examples"


def test_a_dry_run_with_nothing_to_score_says_why(world: World, judge: ScriptedModel) -> None:
    asked = ("judge", "score", F, "--dry-run")
    assert detent(*asked, "--json").json["why_none"] is None
    assert detent("judge", "score", F).code == 0
    told = detent(*asked)
    assert "No answer of the last 30 days is left to score: the judge has scored 9 answers, and no other" in told.err
    over_rest = world.post(f"/v1/families/{F}/judge/scores", {"dry_run": True, "days": 1}).json()
    assert over_rest["why_none"].startswith("No answer of the last day is left to score")


def test_a_worker_does_what_was_asked_over_rest_while_the_command_waits(
    world: World, judge: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(world.settings)
    worker._store, worker._clock = world.shared.store, world.shared.clock  # type: ignore[assignment]
    worker._families = world.shared.families
    begun = threading.Event()
    monkeypatch.setattr(follow, "POLL_S", 0.01)
    monkeypatch.setattr(create_judge_run, "read_judge_run", _counting(create_judge_run.read_judge_run, begun))
    lock = wiring.worker_lock(world.settings)  # a worker that runs alone is left to do it
    assert lock.acquire()

    def work() -> None:
        assert begun.wait(30)
        worker._carry_out_runs()

    thread = threading.Thread(target=work)
    thread.start()
    done = detent("judge", "score", F, "--n", "2")
    thread.join()
    lock.release()
    assert (done.code, "2 answers judged" in done.out) == (0, True), done.err
    (run,) = world.get(f"/v1/families/{F}/judge/runs").json()["items"]
    shown = world.get(f"/v1/judge-runs/{run['id']}").json()
    assert (shown["status"], shown["result"]["n_judged"]) == ("finished", 2)
    assert world.get("/v1/jobs").json()["items"] == []


def test_a_command_that_meets_a_busy_store_says_who_goes_on_and_the_worker_does(
    world: World, judge: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, refused = RunTable.update, []

    def busy_at_the_end(table: RunTable, tx: Any, id: str, **changes: Any) -> Any:
        if "finished_at" in changes and not refused:
            refused.append(id)
            raise Busy("The store is busy.")
        return update(table, tx, id, **changes)

    monkeypatch.setattr(RunTable, "update", busy_at_the_end)
    told = detent("judge", "score", F, "--n", "2")
    assert (told.code != 0, "the next worker goes on" in told.err) == (True, True), told.err
    worker = Worker(world.settings)
    worker._store, worker._clock = world.shared.store, world.shared.clock  # type: ignore[assignment]
    worker._families = world.shared.families
    worker._carry_out_runs()
    (run,) = world.get(f"/v1/families/{F}/judge/runs").json()["items"]
    assert (run["status"], run["result"]["n_judged"], len(judge.requests)) == ("finished", 2, 2)


@pytest.mark.parametrize("days", [800_000, 1e300])
def test_days_before_the_calendar_are_refused_by_route_and_command(world: World, days: float) -> None:
    for path in ("judge/scores", "rating-draws"):
        assert world.post(f"/v1/families/{F}/{path}", {"days": days}).status_code == 422
    for command in (("judge", "score", F), ("review", "draw", F)):
        told = detent(*command, "--days", str(days))
        assert (told.code, "at most 3650" in told.err) == (2, True), told.err


def _counting(read: Any, begun: threading.Event) -> Any:
    @wraps(read)
    def counted(*given: Any) -> Any:
        found = read(*given)
        begun.set()
        return found

    return counted
