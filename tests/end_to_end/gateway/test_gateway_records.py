"""What was answered is on record, whatever became of the store, the disk or the gateway in between;
what cannot be recorded is not asked.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.gateway import app, settling
from optimizer.adapters.store import engine
from optimizer.host.config import Settings
from optimizer.host.run_files import find
from optimizer.jobs.feedback import ingest_feedback
from tests.clock import PROCESSES_S, until
from tests.forked import Forked
from tests.rows.answer_schemas import as_declared
from tests.stand_ins.scripted_model import Provider, chat_answer, provider
from tests.stand_ins.small_disk import fill, small_disk
from tests.worlds.gateway_world import (
    family,
    interactions,
    make_home,
    record_of,
    recorded,
    remote,
    running,
    serving,
)


@pytest.fixture
def behind() -> Iterator[Provider]:
    with provider() as made:
        made.answer = lambda body: (200, {}, json.dumps(chat_answer("astronomy")).encode())
        yield made


def home(folder: Path, behind: Provider) -> Settings:
    folder.mkdir(exist_ok=True)
    return make_home(folder, {"topic": family("topic", "remote")}, {"remote": remote(behind.url, (1, 1))})


def chat(url: str, text: str = "Stars", *, stream: bool = False) -> httpx.Response:
    body = {"model": "topic", "messages": [{"role": "user", "content": text}], "stream": stream}
    return as_declared(httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60))


def id_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        assert answer.text.endswith("data: [DONE]\n\n")
        return str(json.loads(answer.text.split("\n\n")[0].removeprefix("data: "))["id"])
    return str(answer.json()["id"])


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """The store as a backup or an open shell holds it."""
    holder = sqlite3.connect(settings.var() / "detent.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


@contextmanager
def gateway_process(settings: Settings) -> Iterator[tuple[Forked, str]]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DETENT_")} | {
        "DETENT_HOME": str(settings.home)
    }
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        command = [sys.executable, "-m", "optimizer.processes", "gateway", "--fd", str(listening.fileno())]
        process = Forked(command, env=environment, stdin=subprocess.PIPE, pass_fds=[listening.fileno()])
    try:
        found = until(
            lambda: (at := find(settings, "gateway")) and at.pid == process.pid and at, patience_s=PROCESSES_S
        )
        yield process, str(found.url)
    finally:
        process.kill()
        process.wait()


def on_record(settings: Settings) -> list[str]:
    return sorted(row["id"] for row in interactions(settings, "topic"))


def test_what_is_answered_while_another_process_holds_the_store_is_on_record_afterwards(
    tmp_path: Path, behind: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.05)  # the store refuses each record long before the lock ends
    settings = home(tmp_path, behind)
    with running(settings) as url:
        with locked(settings):
            answered = [id_of(chat(url, f"Text {n}", stream=n % 2 == 1)) for n in range(8)]
            assert on_record(settings) == []
        until(lambda: on_record(settings) == sorted(answered), patience_s=PROCESSES_S)
        rows = interactions(settings, "topic")
        assert [row["input"]["document"] for row in rows] == [f"Text {n}" for n in range(8)], "in order"
        assert all(row["received_at"] > row["occurred_at"] for row in rows)
        assert record_of(settings, "topic", id_of(chat(url, "later")))


def test_a_kill_between_the_answer_and_the_store_costs_no_record(tmp_path: Path, behind: Provider) -> None:
    settings = home(tmp_path, behind)
    with gateway_process(settings) as (process, url), locked(settings):
        answered = [id_of(chat(url, f"Text {n}")) for n in range(4)]
        process.kill()
        process.wait()
    assert on_record(settings) == []
    with gateway_process(settings):
        until(lambda: on_record(settings) == sorted(answered), patience_s=PROCESSES_S)


def test_an_outcome_waits_for_the_record_of_the_answer_that_it_names(
    tmp_path: Path, behind: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a reader who is quick would be told that what answered him does not exist."""
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(app, "DRAIN_EVERY_S", 1.0)
    monkeypatch.setattr(ingest_feedback, "RECORD_WAIT_S", 0.5)
    settings = home(tmp_path, behind)
    with serving(create_app(settings), settings) as api:

        def report(**names: str) -> httpx.Response:
            return httpx.post(f"{api}/v1/feedback", json={**names, "success": True}, timeout=60)

        with gateway_process(settings) as (process, gateway), locked(settings):
            answered = id_of(chat(gateway))
            process.kill()
            process.wait()
        for outcome in ({"interaction": answered}, {"interaction": answered, "family": "topic", "unit": "anna"}):
            refused = report(**outcome)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5"), refused.text
        assert report(interaction="in_other").status_code == 422, "nothing waits that would bring it"
        monkeypatch.setattr(ingest_feedback, "RECORD_WAIT_S", PROCESSES_S)
        with running(settings) as gateway:
            assert report(interaction=answered).json()["accepted"] == 1
            with locked(settings):
                answered = id_of(chat(gateway))
            assert report(interaction=answered).json()["accepted"] == 1


def test_on_a_full_disk_no_model_is_asked_without_a_record_of_it(tmp_path: Path, behind: Provider) -> None:
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        settings = home(disk, behind)
        with running(settings) as url:
            answered = [id_of(chat(url))]
            filler = fill(disk)
            asked_before = len(behind.bodies)
            answers = [chat(url, f"{n} " + "x" * 5_000) for n in range(40)]
            assert {answer.status_code for answer in answers} <= {200, 503}
            answered += [id_of(answer) for answer in answers if answer.status_code == 200]
            assert len(answered) > 1, "a record has its place before the disk is full"
            assert len(behind.bodies) - asked_before == len(answered) - 1, "who is refused has cost no call"
            filler.unlink()
            until(lambda: on_record(settings) == sorted(answered), patience_s=PROCESSES_S)


@pytest.mark.parametrize("model", ["topic", "remote"])
def test_what_fits_no_record_is_not_given(
    tmp_path: Path, behind: Provider, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    real = settling.report_of
    monkeypatch.setattr(settling, "report_of", lambda *args, **named: {**real(*args, **named), "output_tokens": 2**31})
    body = {"model": model, "messages": [{"role": "user", "content": "Stars"}]}
    with running(home(tmp_path, behind)) as url:
        refused = as_declared(httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60))
    assert (refused.status_code, len(behind.bodies)) == (503, 1)
    assert "fits no record" in refused.json()["detail"]


def test_a_record_holds_what_the_family_lets_be_kept_and_nothing_else_is_spooled(
    tmp_path: Path, behind: Provider
) -> None:
    settings = home(tmp_path, behind)
    path = settings.families_dir / "topic" / "family.yaml"
    path.write_text(path.read_text() + "\nprivacy: {store: metadata}\n")
    with running(settings) as url:
        with locked(settings):
            answered: Any = id_of(chat(url, "my secret"))
            spooled = (settings.var() / "spool" / "interactions").read_bytes()
            assert answered.encode() in spooled
            assert b"my secret" not in spooled
            assert b"astronomy" not in spooled
        until(lambda: on_record(settings) == [answered], patience_s=PROCESSES_S)


def test_a_record_from_the_spool_equals_one_that_the_store_took_at_once(tmp_path: Path, behind: Provider) -> None:
    settings = home(tmp_path, behind)
    with running(settings) as url:
        id_of(chat(url))
        with locked(settings):
            spooled = id_of(chat(url))
        until(lambda: spooled in on_record(settings), patience_s=PROCESSES_S)
    own = ("id", "occurred_at", "received_at", "latency_ms", "content_hash")
    first, second = ({k: v for k, v in row.items() if k not in own} for row in interactions(settings, "topic"))
    assert first == second


@pytest.mark.parametrize("stream", [False, True])
def test_dollars_of_a_model_without_a_known_price_are_not_known_and_not_none(
    tmp_path: Path, behind: Provider, stream: bool
) -> None:
    unpriced = remote(behind.url)
    settings = make_home(tmp_path, {"topic": family("topic", "remote")}, {"remote": unpriced})
    with running(settings) as url:
        answered = chat(url, stream=stream)
        record = record_of(settings, "topic", id_of(answered))
    assert '"cost_usd":null' in answered.text
    assert record["cost_usd"] is None
    assert record["output_tokens"]


@pytest.mark.parametrize(("what", "stream"), [("nested", True), ("slow to mask", False)])
def test_an_answer_whose_texts_cannot_be_kept_is_on_record_without_them(
    tmp_path: Path, behind: Provider, what: str, stream: bool
) -> None:
    """Or a key could ask without a trace: its calls would stand in no record, and cost nothing after a restart."""
    settings = home(tmp_path, behind)
    file = tmp_path / "families" / "topic" / "family.yaml"
    file.write_text(file.read_text() + "privacy: {mask: [{pattern: '(x|xx)+$'}]}\n")
    value: Any = "x" * 50 + "z"
    if what == "nested":
        for _ in range(30):
            value = [value]
    body = {"model": "topic", "messages": [], "detent": {"variables": {"document": value}}, "stream": stream}
    with running(settings) as url:
        answered = id_of(httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60))
        (found,) = recorded(settings, "topic", 1)
    assert (found["id"], found["input"], found["output"], found["tags"]) == (answered, None, "", {"shortened": True})
    assert found["cost_usd"] > 0
