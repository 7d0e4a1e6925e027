"""A gateway before a provider of which every fifth request goes wrong: every client gets an answer or a clear error,
and no interaction is lost.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.clock import until
from tests.stand_ins.faulty_provider import FAULTS, PIECES, FaultyProvider, faulty_provider
from tests.worlds.gateway_world import RunningGateway, family, interactions, make_home, recorded, remote, running

TEXT = "".join(PIECES)
N_REQUESTS = 120
FAULT_SHARE = 0.2


class World(RunningGateway[FaultyProvider]):
    def ask(self, model: str, i: int, *, stream: bool = False) -> tuple[str, str | None, str]:
        """(interaction, what went wrong, the text as far as it came)."""
        id, text = "", ""
        try:
            answer = self.chat(model, f"Stars, {i}?", user=f"u{i}", stream=stream)
            if not stream:
                return answer.id, None, answer.choices[0].message.content or ""
            for chunk in answer:
                id, text = chunk.id, text + (chunk.choices[0].delta.content or "")
            return id, None, text
        except openai.APIStatusError as error:
            problem = error.response.json()
            return problem["interaction"], problem["kind"], text
        except openai.APIError as error:
            told: Any = error.body
            return told["interaction"], told["code"], text


def faults(seed: int) -> Any:
    """Twenty in a hundred requests go wrong, each time in another way."""
    drawn = random.Random(seed)
    plan = [drawn.choice(FAULTS) if drawn.random() < FAULT_SHARE else None for _ in range(20 * N_REQUESTS)]
    return lambda n: plan[n]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with faulty_provider() as behind:
        behind.break_after, behind.hang_s = 2, 4.0
        wire = remote(behind.url, timeout_s=2.0, concurrency=16, queue=200)
        wire["backoff"] = {"initial_s": 0.02, "max_s": 0.1, "jitter_s": 0.02}
        models = {
            "bare": {**wire, "breaker": {"failures": 1000}},
            "patient": {**wire, "retries": 3, "fallbacks": ["bare"]},
            "brittle": {**wire, "breaker": {"failures": 3, "window_s": 3600, "cool_down_s": 3000, "successes": 1}},
            "narrow": {**wire, "concurrency": 1, "queue": 1, "timeout_s": 30},
        }
        settings = make_home(tmp_path_factory.mktemp("home"), {name: family(name, name) for name in models}, models)
        with running(settings) as url:
            yield World(url, behind, settings)


@pytest.fixture(autouse=True)
def _provider_is_well(world: World) -> None:
    world.behind.bodies.clear()
    world.behind.seen.clear()
    world.behind.fault, world.behind.hold = lambda n: None, None


@pytest.mark.parametrize(
    ("stream", "model"),
    [
        (False, "bare"),
        pytest.param(True, "bare", marks=pytest.mark.long),
        pytest.param(False, "patient", marks=pytest.mark.long),
        (True, "patient"),
    ],
)
def test_no_interaction_is_lost_while_the_provider_fails(world: World, stream: bool, model: str) -> None:
    before = {one["id"] for one in interactions(world.settings, model)}
    world.behind.fault = faults(seed=7)
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda i: world.ask(model, i, stream=stream), range(N_REQUESTS)))
    assert set(world.behind.seen) == {*FAULTS, "none"}, "every kind of fault was met"
    assert len({id for id, _, _ in told}) == N_REQUESTS

    found = [one for one in recorded(world.settings, model, len(before) + N_REQUESTS) if one["id"] not in before]
    by_id = Counter(one["id"] for one in found)
    assert by_id == Counter(id for id, _, _ in told), "each request is on record exactly once"
    records = {one["id"]: one for one in found}
    for id, kind, text in told:
        record = records[id]
        assert (record["output"] or "") == text
        if kind is None:
            assert (record["error"], text) == (None, TEXT)
        else:
            assert record["error"].startswith(f"{kind}: ")
        assert record["model"] in {"bare", model}, "failures stand beside the answers of the same model"
    failed = sum(kind is not None for _, kind, _ in told)
    n_faults = sum(n for fault, n in world.behind.seen.items() if fault != "none")
    if model == "bare":
        assert failed >= n_faults > 0
    else:
        assert failed < n_faults, "retries and a fallback answer most of those who would have met a fault"


def test_a_model_that_keeps_failing_is_left_alone(world: World) -> None:
    world.behind.fault = lambda n: "broken"
    kinds = [world.ask("brittle", i)[1] for i in range(8)]
    assert kinds == ["http"] * 3 + ["paused"] * 5
    assert len(world.behind.bodies) == 3
    answer = httpx.post(
        f"{world.url}/v1/chat/completions", json={"model": "brittle", "messages": [{"role": "user", "content": "x"}]}
    )
    assert answer.status_code == 503
    wait_s = int(answer.headers["retry-after"])
    assert 0 < wait_s <= 3000
    assert answer.json()["type"].endswith("model-paused")
    assert f"tried again in {wait_s} s" in answer.json()["detail"]
    health = httpx.get(f"{world.url}/ready").json()["dependencies"]["models"]
    assert health["ok"] is False
    assert health["providers"]["brittle"]["breaker"] == "open"
    assert health["providers"]["brittle"]["last_error"]["kind"] == "http"
    metrics = httpx.get(f"{world.url}/metrics").text
    assert 'llm_breaker_open{model="brittle"} 1' in metrics
    assert 'llm_call_errors_total{family="brittle",kind="http",model="brittle"} 3' in metrics
    errors = Counter((one["model"], one["error"].split(":")[0]) for one in recorded(world.settings, "brittle", 9))
    assert errors == {("brittle", "http"): 3, ("brittle", "paused"): 6}, "also those are requests made in vain"


def test_a_full_queue_is_busy_and_nobody_else_is_kept_waiting(world: World) -> None:
    world.behind.hold = threading.Event()
    body = {"model": "narrow", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with ThreadPoolExecutor(2) as pool:
        try:
            held = [
                pool.submit(httpx.post, f"{world.url}/v1/chat/completions", json=body, timeout=60) for _ in range(2)
            ]

            def health() -> dict[str, int]:
                models = httpx.get(f"{world.url}/ready").json()["dependencies"]["models"]
                return models["providers"].get("narrow", {})

            until(lambda: (health().get("in_flight"), health().get("waiting")) == (1, 1))
            refused = httpx.post(f"{world.url}/v1/chat/completions", json=body)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
            assert refused.json()["type"].endswith("busy")
            assert world.ask("bare", 1)[1] is None, "other models have places of their own"
        finally:
            world.behind.hold.set()
        assert [answer.result().status_code for answer in held] == [200, 200]
    assert len(recorded(world.settings, "narrow", 2)) == 2, "a refusal is no interaction"


def test_a_call_that_is_paid_for_is_finished_and_recorded_when_its_client_leaves(world: World) -> None:
    world.behind.fault = lambda n: "timeout"  # the provider takes 3 s, and the model may
    before = len(interactions(world.settings, "narrow"))
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{world.url}/v1/chat/completions",
            json={"model": "narrow", "messages": [{"role": "user", "content": "x"}]},
            timeout=0.5,
        )
    *_, found = until(lambda: (all_of := interactions(world.settings, "narrow"))[before:] and all_of)
    assert (found["output"], found["error"]) == (TEXT, None)


def test_metrics_count_calls_tokens_money_and_times_by_model_and_family(world: World) -> None:
    world.ask("bare", 1, stream=True)
    label = '{family="bare",model="bare"}'

    def figures() -> dict[str, float]:
        lines = httpx.get(f"{world.url}/metrics").text.splitlines()
        rows = [line.split(" ") for line in lines if 'family="bare"' in line]
        return {name: float(value) for name, value in rows}

    until(lambda: figures()[f"llm_active_requests{label}"] == 0, "the stream to have ended there, too")
    of_bare = figures()
    assert of_bare[f"llm_calls_total{label}"] >= 1
    assert of_bare[f"llm_call_tokens_input_total{label}"] >= 1000
    assert of_bare[f"llm_call_tokens_output_total{label}"] >= 100
    buckets = [value for name, value in of_bare.items() if name.startswith("llm_call_duration_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == of_bare[f"llm_call_duration_seconds_count{label}"]
    assert of_bare[f"llm_call_time_to_first_token_seconds_count{label}"] >= 1
