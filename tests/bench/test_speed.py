"""The benchmarks of speed ask what they say they ask, and their page names each bar that is missed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.dashboard.acts import ACTS
from tests.clock import until

chats = importlib.import_module("bench.speed.chats")
client = importlib.import_module("bench.speed.client")
dashboard = importlib.import_module("bench.dashboard")
beside_pages = importlib.import_module("bench.open_pages")
events = importlib.import_module("bench.speed.events")
grown = importlib.import_module("bench.speed.grown")
page_answers = importlib.import_module("bench.speed.page_answers")
pages = importlib.import_module("bench.speed.page")
rivals = importlib.import_module("bench.speed.rivals")
speed = importlib.import_module("bench.speed.installation")
in_process = importlib.import_module("bench.client")
ingestion = importlib.import_module("bench.ingestion")
serving = importlib.import_module("bench.serving")
servers = importlib.import_module("bench.speed.servers")


@pytest.fixture(scope="module")
def place() -> Iterator[Any]:
    with speed.installation() as found:
        yield found


@pytest.mark.parametrize("with_wrk", [True, False])
def test_a_prompt_of_a_rollout_is_fetched(place: Any, monkeypatch: pytest.MonkeyPatch, with_wrk: bool) -> None:
    if not with_wrk:
        monkeypatch.setattr(client.shutil, "which", lambda _: None)
    elif client.name() != "wrk":
        pytest.skip("wrk is not on PATH")
    body = json.loads(serving._fetched(place))
    assert body["rollout"] is not None
    load = client.ask(
        place.url,
        [f"GET {serving.PATH}?unit=u{i}" for i in range(9)],
        connections=2,
        seconds=0.5,
        headers=place.headers,
    )
    assert load.n > 0
    assert load.p50_ms <= load.p99_ms


def test_a_client_that_is_refused_has_measured_nothing(place: Any) -> None:
    with pytest.raises(client.ClientFailed, match="nothing was measured"):
        client.ask(place.url, [f"GET {serving.PATH}?unit=u1"], connections=1, seconds=2, headers={"X-API-Key": "no"})


def test_a_client_in_process_gives_prompts_by_many_threads_and_its_requests_are_counted(place: Any) -> None:
    with in_process.relay(place.url) as (url, counts), in_process.process("detent", sys.executable, url) as side:
        assert "Invoice 17" in side.messages[-1]["content"]
        for call in ("decision", "prompt"):
            figures = side.measure(call, 500, threads=20)
            assert 0 < figures["p50_us"] <= figures["p99_us"]
        assert 1 <= counts["/v1/snapshot"] < 50
        assert set(counts) <= {"/v1/snapshot", "/v1/exposures"}


def test_a_benchmark_beside_packages_that_are_missing_says_how_to_install_them(tmp_path: Path) -> None:
    empty = tmp_path / "python"
    empty.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    empty.chmod(0o755)
    with pytest.raises(SystemExit, match="pip install langfuse openfeature-provider-ofrep"):
        in_process.check_packages(str(empty))


def test_a_peer_that_fails_measures_nothing(place: Any) -> None:
    with (
        pytest.raises(RuntimeError, match="nothing was measured"),
        in_process.process("none", sys.executable, "http://x"),
    ):
        pass


def test_langfuse_s_stand_in_answers_with_the_prompt() -> None:
    with in_process.langfuse_server([{"role": "user", "content": "{{text}}"}]) as url:
        said = httpx.get(f"{url}/api/public/v2/prompts/triage").json()
    assert (said["prompt"], said["type"]) == ([{"role": "user", "content": "{{text}}"}], "chat")


@pytest.mark.parametrize(("kind", "rows"), [(ingestion.BOTH, 2), (ingestion.OUTCOMES, 1)])
def test_a_bare_route_writes_the_rows_that_detent_writes(kind: str, rows: int, tmp_path: Path) -> None:
    with speed.installation() as place:
        asked = events.posts(speed.tokens_of(place, 8), kind, batch=1, n=8)
        told = client.ask(place.url, asked, connections=2, seconds=2, headers=place.headers)
        given, database = tmp_path / "given", tmp_path / "bare.db"
        engine = ingestion.core_engine(database)
        stored = ingestion.as_stored(place)
        assert len(stored) == rows
        given.write_text(json.dumps({"database": str(database), "rows": stored}), encoding="utf-8")
        with rivals.running("durable", given) as bare:
            load = client.ask(bare, asked, connections=2, seconds=2, headers={"Content-Type": "application/json"})
        with engine.connect() as connection:
            for table, row in stored:
                found = connection.exec_driver_sql(f'SELECT * FROM "{table}"').mappings().all()
                assert len(found) >= load.n
                assert set(found[0]) == set(row)
        assert ingestion.core_rate(engine, ingestion.rows_of(place), 0.1) > 0
        engine.dispose()
        assert told.n > 0


def test_events_can_be_there_before_the_benchmark_begins(place: Any) -> None:
    def n_stored() -> int:
        store = place.store()
        with store.read() as tx:
            n = tx.exec_driver_sql("SELECT count(*) FROM interactions WHERE family = ?", (speed.FAMILY,)).scalar()
        store.close()
        return int(n)

    before = n_stored()
    speed.fill(place, 2500)
    assert n_stored() == before + 2500


IS_OPEN = "stream.readyState === EventSource.OPEN"


@pytest.fixture(scope="module")
def size() -> Any:
    return grown.Size(families=3, events=600, trials=1100, alerts=20, changes=200, records=100)


@pytest.fixture(scope="module")
def grown_place(tmp_path_factory: pytest.TempPathFactory, size: Any) -> Iterator[Any]:
    with dashboard.grown_installation(tmp_path_factory.mktemp("grown"), size) as found:
        yield found


def test_every_page_of_a_home_that_has_grown_is_asked_for_beside_a_bare_one(grown_place: Any, size: Any) -> None:
    pages = page_answers.addresses(grown.places_of(grown_place.settings, size))
    asked = {name: address for name, address in pages.items() if not page_answers.is_report(name)}
    assert {"/dashboard", "/dashboard/requests?window=24h", "/dashboard/runs/compare/{run}"} <= asked.keys()
    assert {name.rpartition("/")[2] for name in asked if "/acts/" in name} == set(ACTS)
    with rivals.running("page", Path(__file__)) as bare:
        assert page_answers.Visits(bare, {}).first_byte("/page?bytes=5000")[1] == 5000
        with pytest.raises(client.ClientFailed, match="take longer"):
            page_answers.ask_in_turns(grown_place.url, bare, asked, headers=grown_place.headers, seconds=0.01)
    with pytest.raises(client.ClientFailed, match="answered with 404"):
        page_answers.Visits(grown_place.url, grown_place.headers).first_byte("/dashboard/nothing")


def test_a_home_that_has_grown_is_summed_up(grown_place: Any, size: Any) -> None:
    store = grown_place.store()
    with store.read() as tx:
        summed = sum(
            row.n
            for name in size.names
            for row in store.minute_stats.of_family(tx, name, datetime(2000, 1, 1, tzinfo=UTC))
        )
        n_trials = sum(len(store.studies.trials(tx, f"st_{number:03}")) for number in range(3))
    store.close()
    assert summed >= 0.9 * size.events
    assert n_trials == size.trials


@pytest.mark.skipif(page_answers.CHROMIUM is None, reason="no chromium on this machine")
def test_open_pages_stand_in_a_browser(grown_place: Any, size: Any) -> None:
    with page_answers.open_pages(grown_place.url, size.names, 2, grown_place.headers) as opened:
        assert beside_pages._busy_share(grown_place, 0.5) >= 0
        for is_shown in (False, True):
            page_answers.show(opened, is_shown)
            for page in opened:
                until(lambda page=page, is_shown=is_shown: page.evaluate(IS_OPEN) is is_shown)
    with (
        pytest.raises(client.ClientFailed, match="did not open"),
        page_answers.open_pages(grown_place.url, size.names, 1, {"Authorization": "Bearer no"}),
    ):
        pass


@pytest.mark.parametrize(
    ("p95", "said"), [(149.0, "All bars of what was measured were kept."), (151.0, "Not kept here: first byte of /d")]
)
def test_the_slowest_twentieth_of_a_page_is_held_to_its_bar(p95: float, said: str) -> None:
    cell = dashboard._of_page("/dashboard", [p95] * 20, [1.0] * 20, 9.0)
    shown = pages.page({"name": "dashboard", "commit": "c", "machine": "m", "cells": [asdict(cell)]})
    assert said in shown
    assert f"| {p95:.0f} ms (p50 {p95:.0f}, processor 9) | a bare page of as many bytes: 1 (p50 1) |" in shown


def result(ratio: float, case: str = "prompt fetches with a key, 16 connections", name: str = "serving") -> Any:
    cell = {
        "case": case,
        "ours": 10_000.0,
        "other": 10_000 / ratio,
        "other_name": "a bare Starlette route",
        "n": 3,
        "ratio": ratio,
        "low": ratio,
        "high": ratio,
        "unit": "a second; 1 to 2 beside 3 to 4",
    }
    return {"name": name, "commit": "c", "machine": "m", "cells": [cell]}


@pytest.mark.parametrize(
    ("ratio", "said"), [(0.61, "All bars of what was measured were kept."), (0.59, "Not kept here: prompt fetches")]
)
def test_a_bar_that_is_missed_is_named(ratio: float, said: str) -> None:
    assert said in pages.page(result(ratio))


def test_what_could_not_be_measured_is_no_pass() -> None:
    case = "p99 of prompts while feedback comes in at half of what is kept, 16 connections"
    values = result(1.0, case)
    values["cells"][0] |= {"ours": None, "unit": "ms; feedback kept its rate in 3 of 20 rounds"}
    shown = pages.page(values)
    assert f"Not kept here: {case}." in shown
    assert "| not measured (feedback kept its rate in 3 of 20 rounds) |" in shown


def test_growth_is_held_to_the_upper_end_of_its_interval() -> None:
    kept, missed = (result(ratio, "one by one", "growth") for ratio in (1.2, 1.31))
    assert "All bars" in pages.page(kept)
    assert "Not kept" in pages.page(missed)


def test_two_workers_are_asked_at_one_address() -> None:
    with speed.installation(workers=2) as place:
        assert len(set(place.pids)) == 3, "and the process for feedback"
        load = client.ask(place.url, [f"GET {serving.PATH}?unit=u1"], connections=8, seconds=1, headers=place.headers)
    assert load.n > 0


def test_a_bare_route_fills_in_what_detent_fills_in(place: Any, tmp_path: Path) -> None:
    body, asked = tmp_path / "body", {"unit": "u1", "variables": {"text": "An invoice came twice."}}
    body.write_bytes(serving._fetched(place))
    with rivals.running("fill", body) as bare:
        theirs = httpx.post(bare + serving.RENDER_PATH, json=asked).json()
    ours = httpx.post(place.url + serving.RENDER_PATH, json=asked, headers=place.headers).json()
    assert ours.keys() == theirs.keys()
    if ours["variant"] == theirs["variant"]:
        assert ours["messages"] == theirs["messages"]
    assert "An invoice came twice." in str(theirs["messages"])


def test_a_chat_goes_through_both_processes_to_a_model_that_answers_at_once() -> None:
    with chats.chats() as place:
        chats._look(place)
        before = chats.cpu_s(place.pids)
        ours, other = chats.in_turns(place, 2, True, rounds=1, seconds=2)
        assert all(now > then for now, then in zip(chats.cpu_s(place.pids), before, strict=True))
    assert ours[0].p50_ms > other[0].p50_ms > 0


def test_a_steady_client_keeps_its_rate_and_says_where_it_could_not(place: Any) -> None:
    asked = [f"GET {serving.PATH}?unit=u1"]
    sent = {"connections": 2, "seconds": 1.5, "headers": place.headers}
    with client.steady(place.url, asked, per_s=40, **sent):
        pass
    with (
        pytest.raises(client.TooFewSent, match="came to be sent"),
        client.steady(place.url, asked, per_s=1_000_000, **sent),
    ):
        pass
    refused = {**sent, "headers": {"X-API-Key": "no"}}
    with (
        pytest.raises(client.ClientFailed, match="nothing was measured"),
        client.steady(place.url, asked, per_s=9, **refused),
    ):
        pass


def test_the_median_of_what_a_chat_takes_longer_is_held_to_its_bar() -> None:
    loads = [client.Load(n=1, seconds=1, p50_ms=p / 2, p99_ms=p, failed=0) for p in (5.0, 30.0, 31.0)]
    model = [client.Load(n=1, seconds=1, p50_ms=0.5, p99_ms=1.0, failed=0)] * 3
    cell = chats._overhead("p99 of a chat, 16 at once, answers whole", loads, model, "p99")
    assert cell.ours == 29.0
    shown = pages.page({"name": "serving", "commit": "c", "machine": "m", "cells": [asdict(cell)]})
    assert "Not kept here: p99 of a chat, 16 at once, answers whole." in shown
    assert "| 29 ms more (4 to 30) | the model itself: 1 (1 to 1) |  | ours at most 20 |" in shown


def test_a_server_is_waited_for_until_it_answers_and_no_longer_than_it_runs() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(30)
    port = servers.free_port()
    with pytest.raises(RuntimeError, match="A rival did not start, so nothing was measured"):
        servers.wait_until_up(f"http://127.0.0.1:{port}/", ended, "A rival", within_s=60)
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            servers.wait_until_up(f"http://127.0.0.1:{port}/nothing-here", running, "A server", within_s=60)
            assert httpx.get(f"http://127.0.0.1:{port}/nothing-here").status_code == 404
        finally:
            running.terminate()
