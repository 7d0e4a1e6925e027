"""What a family may spend within an hour, and answers that are given from memory, against a running gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from optimizer.adapters.store.tables.operators import KEY_USAGE
from optimizer.core.serving.assignment import unit_hmac, verify_token
from optimizer.jobs.feedback.ingest_feedback import Intake
from optimizer.runtime import wiring
from tests.clock import until
from tests.stand_ins.faulty_provider import PIECES, FaultyProvider, faulty_provider
from tests.worlds.gateway_world import RunningGateway, add_key, family, make_home, record_of, remote, running

TEXT = "".join(PIECES)
COST_USD = 0.002  # of one answer of the provider


class World(RunningGateway[FaultyProvider]):
    def ask(self, model: str, key: str = "") -> httpx.Response:
        headers = {"X-API-Key": key} if key else {}
        return self.post({"model": model, "messages": [{"role": "user", "content": "x"}]}, **headers)

    def record(self, model: str, id: str) -> dict[str, Any]:
        return record_of(self.settings, model, id)


def models(url: str) -> dict[str, Any]:
    return {
        "dear": remote(url, (1, 10), fallbacks=["dear_too"]),
        "dear_too": remote(url, (1, 10)),
        "cheap": remote(url, (0, 0)),
    }


def limited(name: str, above: str, usd: float) -> str:
    text = family(name, "dear") + f"limits: {{usd_per_hour: {usd}, above: {above}}}\n"
    return text.replace("tiers: [dear]", "tiers: [cheap, dear]") if above == "cheapest" else text


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with faulty_provider() as behind:
        families = {
            "strict": limited("strict", "refuse", 0.003),
            "thrifty": limited("thrifty", "cheapest", 0.003),
            "streamed": limited("streamed", "refuse", 0.001),
            "remembered": family("remembered", "dear") + "cache: {enabled: true, max_entries: 2}\n",
            "drawn": family("drawn", "dear", temperature=0.7) + "cache: {enabled: true}\n",
            "drawn_once": family("drawn_once", "dear", temperature=0.7)
            + "cache: {enabled: true, any_temperature: true}\n",
            "plain": family("plain", "dear"),
        }
        settings = make_home(tmp_path_factory.mktemp("home"), families, models(behind.url))
        with running(settings) as url:
            yield World(url, behind, settings)


@pytest.fixture
def within_an_hour() -> None:
    if datetime.now(UTC).minute == 59:
        pytest.skip("the hour is about to end, and with it what was spent in it")


@pytest.fixture(autouse=True)
def _provider_is_well(world: World) -> None:
    world.behind.fault, world.behind.pieces = lambda n: None, PIECES
    world.behind.bodies.clear()


@pytest.mark.usefixtures("within_an_hour")
def test_costs_that_an_application_reports_do_not_use_up_the_hours_money(tmp_path: Path) -> None:
    with faulty_provider() as behind:
        settings = make_home(tmp_path, {"strict": limited("strict", "refuse", 0.003)}, models(behind.url))
        store, clock, secrets = wiring.open_store(settings), wiring.open_clock(settings), wiring.open_secrets(settings)
        intake = Intake(
            store=store,
            clock=clock,
            families=wiring.load_families(settings).families,
            verify=lambda token: verify_token(token, secrets.token_keys, clock.now()),
            hmac_unit=partial(unit_hmac, secrets.unit_key),
            actor="some-app",
        )
        reported = intake.take([{"family": "strict", "unit": "u", "output": "x", "cost_usd": 1000.0}])
        assert reported["accepted"] == 1
        with running(settings) as url:
            world = World(url, behind, settings)
            assert [world.ask("strict").status_code for _ in range(3)] == [200, 200, 429]
        with running(settings) as url:  # what the gateway recorded itself still counts after its restart
            assert World(url, behind, settings).ask("strict").status_code == 429
        store.close()


LIMITS = [
    pytest.param({"calls_per_day": 2}, id="calls"),
    pytest.param(
        {"usd_per_day": 0.0041}, id="dollars"
    ),  # two answers of $0.002 fit, and beside them not even the least that a third may cost
]


@pytest.mark.parametrize("limits", LIMITS)
def test_model_calls_and_dollars_of_a_key_are_limited_over_all_gateways(
    tmp_path: Path, limits: dict[str, float]
) -> None:
    with faulty_provider() as behind:
        settings = make_home(tmp_path, {"plain": family("plain", "dear")}, models(behind.url))
        add_key(settings, "app", limits=limits)
        add_key(settings, "free")
        with running(settings) as one, running(settings) as other:
            gateways = [World(url, behind, settings) for url in (one, other)]
            answers = [world.ask("plain", "app") for world in gateways * 2]
            assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
            assert answers[2].json()["type"].endswith("key-limit-reached")
            assert int(answers[2].headers["retry-after"]) > 0
            assert gateways[1].ask("plain", "free").status_code == 200
            assert len(behind.bodies) == 3  # nothing was sent for what was refused


def test_a_call_that_failed_before_it_was_billed_uses_no_dollars_of_its_key(tmp_path: Path) -> None:
    with faulty_provider() as behind:
        settings = make_home(tmp_path, {"plain": family("plain", "alone")}, {"alone": remote(behind.url, (1, 10))})
        add_key(settings, "app", limits={"usd_per_day": 0.004})
        with running(settings) as url:
            behind.fault = lambda n: "rate_limit" if n == 0 else None
            world = World(url, behind, settings)
            assert [world.ask("plain", "app").status_code for _ in range(2)] == [502, 200]
        store = wiring.open_store(settings)
        with store.read() as tx:
            used = {row.limit: row.used for row in tx.execute(select(KEY_USAGE))}
        assert used == {"usd_per_day": pytest.approx(COST_USD)}
        store.close()


@pytest.mark.usefixtures("within_an_hour")
def test_above_the_hours_money_requests_are_refused_until_the_next_hour(world: World) -> None:
    assert [world.ask("strict").status_code for _ in range(2)] == [200, 200]
    refused = world.ask("strict")
    assert refused.status_code == 429
    problem = refused.json()
    assert problem["type"].endswith("money-spent")
    assert (problem["limit_usd"], problem["spent_usd"]) == (0.003, 0.004)
    assert 1 <= int(refused.headers["retry-after"]) <= 3600
    assert len(world.behind.bodies) == 2, "no model was asked"
    assert world.ask("plain").status_code == 200, "other families go on"


@pytest.mark.usefixtures("within_an_hour")
def test_above_the_hours_money_the_cheapest_tier_answers_alone(world: World) -> None:
    for _ in range(2):
        assert world.chat("thrifty").model_extra["detent"]["tiers"] == ["cheap", "dear"]
    answer = world.chat("thrifty")
    detent = answer.model_extra["detent"]
    assert (detent["tiers"], detent["cost_usd"], detent["limited"]) == (["cheap"], 0.0, "usd_per_hour")
    found = world.record("thrifty", answer.id)
    assert (found["model"], found["tags"]) == ("cheap", {"limited": "usd_per_hour"})


@pytest.mark.usefixtures("within_an_hour")
def test_who_leaves_a_stream_early_has_spent_money_too(world: World) -> None:
    world.behind.pieces, world.behind.pause_s = ["word " * 20] * 200, 0.02
    stream = world.chat("streamed", stream=True)
    for i, _ in enumerate(stream):
        if i == 8:
            break
    stream.close()
    until(lambda: world.ask("streamed").status_code == 429)
    world.behind.pause_s = 0.0


def test_the_same_messages_of_the_same_variant_are_answered_from_memory(world: World) -> None:
    first, again, other = world.chat("remembered", "a"), world.chat("remembered", "a"), world.chat("remembered", "b")
    assert len(world.behind.bodies) == 2
    assert [one.model_extra["detent"]["cached"] for one in (first, again, other)] == [False, True, False]
    assert again.model_extra["detent"]["cost_usd"] == 0
    assert again.choices[0].message.content == TEXT
    assert again.id != first.id
    chunks = list(world.chat("remembered", "a", stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == TEXT
    assert chunks[-1].model_extra["detent"]["cached"] is True
    assert len(world.behind.bodies) == 2
    counted = httpx.get(f"{world.url}/metrics").text
    assert 'llm_cached_answers_total{family="remembered",model="dear"} 2' in counted


def test_a_cached_answer_is_on_record_and_says_nothing_of_latency_and_cost(world: World) -> None:
    first, again = world.chat("remembered", "c"), world.chat("remembered", "c")
    fresh, cached = world.record("remembered", first.id), world.record("remembered", again.id)
    assert (fresh["tags"], cached["tags"]) == ({}, {"cached": True})
    assert (fresh["cost_usd"], cached["cost_usd"], cached["latency_ms"]) == (pytest.approx(COST_USD), None, None)
    assert cached["output"] == TEXT
    assert fresh["latency_ms"] > 0


def test_the_oldest_answers_make_room(world: World) -> None:
    for text in ("d", "e", "f", "d"):
        world.chat("remembered", text)
    assert len(world.behind.bodies) == 4


def test_a_drawn_answer_is_drawn_again_unless_the_family_says_otherwise(world: World) -> None:
    assert [
        world.chat(name).model_extra["detent"]["cached"] for name in ("drawn", "drawn", "drawn_once", "drawn_once")
    ] == [False, False, False, True]


def test_without_a_word_in_the_family_nothing_is_cached(world: World) -> None:
    assert [world.chat("plain", "same").model_extra["detent"]["cached"] for _ in range(2)] == [False, False]


def test_a_fallbacks_answer_is_not_kept(world: World) -> None:
    world.behind.fault = lambda n: "broken" if n == 0 else None
    assert world.chat("remembered", "g").model_extra["detent"]["tiers"] == ["dear", "dear_too"]
    assert world.chat("remembered", "g").model_extra["detent"]["cached"] is False


def test_an_answer_with_an_odd_byte_is_on_record_too(world: World) -> None:
    world.behind.pieces = ["a\x00b", "\ud83d"]
    answer = world.ask("plain")
    assert answer.status_code == 200
    assert json.loads(answer.text)["choices"][0]["message"]["content"] == "a\x00b\ud83d"
    assert world.record("plain", answer.json()["id"])["output"] == "a\ufffdb?"


def test_an_answer_is_kept_for_the_key_that_asked_alone(tmp_path: Path) -> None:
    """Else a key could find out by guessing what another one was asked:
    a kept answer says that it is one, and comes at once.
    """
    with faulty_provider() as behind:
        remembered = family("remembered", "dear") + "cache: {enabled: true}\n"
        settings = make_home(tmp_path, {"remembered": remembered}, models(behind.url))
        for name in ("app", "other"):
            add_key(settings, name)
        with running(settings) as url:
            world = World(url, behind, settings)
            answers = [world.ask("remembered", key).json() for key in ("app", "other", "app", "other")]
            assert [answer["detent"]["cached"] for answer in answers] == [False, False, True, True]
