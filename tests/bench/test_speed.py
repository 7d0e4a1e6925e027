"""The benchmarks of speed ask what they say they ask, and their page says what the result files say."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

client = importlib.import_module("bench.speed.client")
events = importlib.import_module("bench.speed.events")
pages = importlib.import_module("bench.speed.page")
rivals = importlib.import_module("bench.speed.rivals")
speed = importlib.import_module("bench.speed.installation")
ingestion = importlib.import_module("bench.ingestion")
serving = importlib.import_module("bench.serving")


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
    load = client.ask(place.url, [f"GET {serving.PATH}?unit=u{i}" for i in range(9)], connections=2, seconds=0.5,
                      headers=place.headers)  # fmt: skip
    assert load.n > 0
    assert load.p50_ms <= load.p99_ms


def test_a_client_that_is_refused_has_measured_nothing(place: Any) -> None:
    with pytest.raises(client.ClientFailed, match="nothing was measured"):
        client.ask(place.url, [f"GET {serving.PATH}?unit=u1"], connections=1, seconds=2, headers={"X-API-Key": "no"})


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
            n = sum(arm["n_interactions"] for arm in store.events.arm_summary(tx, speed.FAMILY, None))
        store.close()
        return int(n)

    before = n_stored()
    speed.fill(place, 2500)
    assert n_stored() == before + 2500


def result(ratio: float, case: str = "prompt fetches with a key, 16 connections") -> dict[str, Any]:
    cell = {"case": case, "ours": 10_000.0, "other": 10_000 / ratio, "other_name": "a bare Starlette route", "n": 3,
            "ratio": ratio, "low": ratio, "high": ratio, "unit": "a second; 1 to 2 beside 3 to 4"}  # fmt: skip
    return {"commit": "c", "machine": "m", "cells": [cell]}


@pytest.mark.parametrize(("ratio", "said"), [(0.61, "All bars were kept."), (0.59, "Not kept here: prompt fetches")])
def test_a_bar_that_is_missed_is_named(ratio: float, said: str) -> None:
    assert said in pages.page({"serving": result(ratio)})


def test_growth_is_held_to_the_upper_end_of_its_interval() -> None:
    kept, missed = result(1.2, "one by one"), result(1.31, "one by one")
    assert "All bars" in pages.page({"growth": kept})
    assert "Not kept" in pages.page({"growth": missed})


def test_the_page_is_made_of_the_result_files() -> None:
    files = {name: pages.RESULTS / f"{name}.json" for name in pages.FILES}
    results = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}
    assert pages.PAGE.read_text(encoding="utf-8") == pages.page(results)
