"""A duty of the worker that fails says so for as long as it fails, and stops no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from optimizer.core.base.errors import Busy
from optimizer.core.declaration.read import parse_family
from optimizer.core.views.forgetting import ForgetQuery, ForgetRun
from optimizer.host.config import load_settings
from optimizer.jobs.upkeep.forget_person import queue_forgetting
from optimizer.ports import Store
from optimizer.runtime import wiring
from optimizer.runtime.worker import FAILED, RUN_PAUSE_SECONDS, STILL_FAILING, Worker
from tests.clock import Clock
from tests.rows.ingestion import family
from tests.stores import FAMILY, NOW, arm, feedback, interaction, keep_events, new_database


class Round:
    """Fails in its first round, in part in its second, works in the third, and then stops the worker."""

    def __init__(self, worker: Worker, store: Store) -> None:
        self._worker, self._store, self._n = worker, store, 0
        self.open_in_third = False

    def __call__(self) -> object:
        self._n += 1
        if self._n == 1:
            raise OSError("disk full")
        if self._n == 2:
            return STILL_FAILING
        self.open_in_third = self.open_in_third or is_open(self._store)
        self._worker.stop()
        return None


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """With a store of its own, at a time that stands still."""
    made = Worker(load_settings("dev", tmp_path))
    made._store, made._clock = new_database(tmp_path), Clock(NOW)
    yield made
    made._store.close()


def is_open(store: Store) -> bool:
    with store.read() as tx:
        return any(alert.kind == FAILED for alert in store.alerts.all(tx, open_only=True))


def run(worker: Worker, duty: Callable[[], object], every_s: float = 0.01) -> threading.Thread:
    thread = worker._thread("minutes", duty, every_s)
    thread.join(timeout=30)
    return thread


def test_the_alert_of_a_failed_duty_closes_when_the_duty_works_again(worker: Worker) -> None:
    duty = Round(worker, worker._store)
    assert not run(worker, duty).is_alive()
    assert duty.open_in_third
    assert not is_open(worker._store)


def test_a_duty_of_once_a_day_is_tried_again_within_a_minute_of_its_failure(worker, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(worker._end, "wait", waits.append)
    assert not run(worker, Round(worker, worker._store), every_s=24 * 3600.0).is_alive()
    after_failure, _, after_success = waits
    assert after_failure <= 60
    assert after_success > 23 * 3600
    assert not is_open(worker._store)


def test_a_duty_that_an_end_cuts_short_raises_no_alert(worker: Worker) -> None:
    def outlasts_the_end() -> None:
        worker.stop()
        raise Busy("The database is being closed", retry_after_s=5)

    assert not run(worker, outlasts_the_end).is_alive()
    assert not is_open(worker._store)


def test_files_of_which_the_store_could_not_be_told_at_the_start_are_told_of_at_the_next_look(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = list[object]()
    worker._families = SimpleNamespace(changed=lambda: False)  # type: ignore[assignment]
    worker._studies = SimpleNamespace(take_up=lambda studies: None)  # type: ignore[assignment]

    def sync(*about: object) -> list[object]:
        syncs.append(about)
        if len(syncs) == 1:
            raise Busy("The store is locked.")
        return []

    monkeypatch.setattr(wiring, "sync_families", sync)
    with pytest.raises(Busy):
        worker._look_around()
    worker._look_around()
    worker._look_around()
    assert len(syncs) == 2


def test_triggers_are_looked_at_though_no_candidate_can_be_handed_on(worker, monkeypatch):
    worker._families = SimpleNamespace(families={})  # type: ignore[assignment]
    worker._context = SimpleNamespace(scorer_for=None)  # type: ignore[assignment]
    looked: list[bool] = []

    def broken(*args: object) -> None:
        raise ValueError("a row that cannot be read")

    monkeypatch.setattr("optimizer.runtime.worker.hand_on_candidates", broken)
    monkeypatch.setattr("optimizer.runtime.worker.trigger_studies", lambda *args, **options: looked.append(True))
    with pytest.raises(ValueError, match="cannot be read"):
        worker._trigger()
    assert looked == [True]


def test_answers_in_doubt_are_put_up_once_a_day_for_each_family_that_wants_it(worker: Worker) -> None:
    clock = worker._clock
    clock.pass_time(timedelta(minutes=10))
    quiet = parse_family({**family("quiet").model_dump(exclude_none=True), "review": {"per_day": 0}})
    worker._families = SimpleNamespace(families={FAMILY: family(), "quiet": quiet})  # type: ignore[assignment]

    def report(name: str, n: int) -> None:
        at = clock.now() - timedelta(minutes=5)
        of = arm(family=name, unit_hmac=f"u{n}")
        row = interaction(f"{name}_{n}", of=of, received_at=at, occurred_at=at, input={"document": "x"}, output="y")
        low = feedback(f"fb_{name}_{n}", of=of, interaction=row.id, received_at=at, success=False)
        keep_events(worker._store, [row, low])

    def subjects() -> list[str]:
        with worker._store.read() as tx:
            return [row.subject for row in worker._store.reviews.page(tx, None, None)]

    report(FAMILY, 1)
    report("quiet", 1)
    worker._collect_reviews()
    assert subjects() == [f"{FAMILY}_1"]
    clock.pass_time(timedelta(hours=1))
    report(FAMILY, 2)
    worker._collect_reviews()
    assert subjects() == [f"{FAMILY}_1"]
    clock.pass_time(timedelta(hours=24))
    worker._collect_reviews()
    assert subjects() == [f"{FAMILY}_1", f"{FAMILY}_2"]


def test_mlflow_is_loaded_once_the_worker_has_run_for_a_while_and_something_is_due(worker, monkeypatch):
    worker._families = SimpleNamespace(families={}, problems={})  # type: ignore[assignment]
    opened: list[bool] = []
    monkeypatch.setattr(
        "optimizer.runtime.worker.wiring.open_tracker", lambda settings: opened.append(True) or SimpleNamespace()
    )
    worker._mlflow_from = 0.0
    worker._mirror()
    assert opened == [], "nothing is due"
    worker._store.write(lambda tx: worker._store.outbox.add(tx, "prompt", FAMILY, {}, NOW))
    worker._mlflow_from = time.monotonic() + 3600.0
    worker._mirror()
    assert opened == [], "the worker has just begun"
    worker._mlflow_from = 0.0
    worker._mirror()
    assert opened == [True]


def test_a_forgetting_without_room_on_the_disk_waits_longer_each_time_and_other_runs_go_on(worker, monkeypatch):
    database, clock, seconds, compactions = worker._store, worker._clock, [0.0], []
    worker._families = wiring.load_families(worker._settings)

    def no_room() -> None:
        compactions.append(seconds[0])
        raise Busy("The disk has no room for a second copy.")

    def queued(dry_run: bool) -> ForgetRun:
        query = ForgetQuery(unit="ab" * 32, own_words=False, dry_run=dry_run)
        clock.pass_time(timedelta(seconds=1))
        return database.write(lambda tx: queue_forgetting(tx, database, query, actor="ann", at=clock.now()))

    monkeypatch.setattr(database, "compact", no_room)
    monkeypatch.setattr("optimizer.runtime.worker.time", SimpleNamespace(monotonic=lambda: seconds[0]))
    failing, other = queued(dry_run=False), queued(dry_run=True)
    with pytest.raises(Busy, match="no room"):
        worker._carry_out_runs()
    with database.read() as tx:
        assert [database.runs.get(tx, run.id).status for run in (failing, other)] == ["running", "finished"]
    for seconds[0] in range(1, 40):
        with suppress(Busy):
            assert worker._carry_out_runs() is STILL_FAILING, "its alert stays open"
    assert compactions == [0, 2, 6, 14, 30]
    database.write(lambda tx: database.runs.update(tx, failing.id, stop_requested=True))
    with pytest.raises(Busy):
        worker._carry_out_runs()
    assert compactions[-1] == 39, "what is to be stopped is looked at at once"
    monkeypatch.setattr(database, "compact", lambda: None)
    seconds[0] += RUN_PAUSE_SECONDS
    assert worker._carry_out_runs() is None


@pytest.mark.parametrize("duty", ["mirror", "rehearsal", "judge"])
def test_nobody_is_forgotten_while_a_duty_holds_texts_and_none_begins_meanwhile(worker, monkeypatch, duty):
    order, entered, go = list[str](), threading.Event(), threading.Event()
    worker._families = None
    query = ForgetQuery(unit="ab" * 32, own_words=False, dry_run=False)
    run = worker._store.write(lambda tx: queue_forgetting(tx, worker._store, query, actor="ann", at=NOW))

    def holds_texts() -> None:
        order.append("reads")
        entered.set()
        go.wait(30)
        order.append("sends")

    def forgets(*about: object) -> ForgetRun:
        order.append("forgets")
        entered.clear()
        assert not entered.wait(0.2)
        order.append("has forgotten")
        return replace(run, status="finished")

    monkeypatch.setattr("optimizer.runtime.worker.forgetting_home", lambda *about: None)
    monkeypatch.setattr("optimizer.runtime.worker.carry_out_forgetting", forgets)
    worker._thread(duty, holds_texts, 0.0)
    assert entered.wait(30)
    forgetting = threading.Thread(target=worker._carry_out, args=(run,))
    forgetting.start()
    forgetting.join(0.2)
    go.set()
    forgetting.join(30)
    worker.stop()
    at = order.index("forgets")
    assert (order[at - 1], order[at + 1]) == ("sends", "has forgotten")
