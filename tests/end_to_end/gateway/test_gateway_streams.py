"""Streamed chat completions as applications use them: the unmodified openai package against a running gateway."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from optimizer.host.config import Settings
from tests.clock import until
from tests.stand_ins.faulty_provider import PIECES, FaultyProvider, faulty_provider
from tests.worlds.gateway_world import RunningGateway, family, interactions, make_home, remote, running

TEXT = "".join(PIECES)


class World(RunningGateway[FaultyProvider]):
    def __init__(self, url: str, behind: FaultyProvider, spare: FaultyProvider, settings: Settings) -> None:
        super().__init__(url, behind, settings)
        self.spare = spare

    def stream(self, model: str = "topic", **more: Any) -> Any:
        return self.chat(model, stream=True, **more)

    def recorded(self, id: str, name: str = "topic") -> dict[str, Any]:
        """The one interaction of this id."""
        found = until(lambda: [one for one in interactions(self.settings, name) if one["id"] == id])
        assert len(found) == 1
        return found[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with faulty_provider() as behind, faulty_provider() as spare:
        own = remote(behind.url, (1, 10), timeout_s=20, breaker={"failures": 1000})
        by_library = {"litellm": "openai/m", "api_base": behind.url, "api_key_env": "KEY_OF_TESTS"}
        models = {
            "remote": own,
            "safe": {**own, "fallbacks": ["spare"]},
            "spare": {**own, "openai_compatible": spare.url},
            "library": {name: own[name] for name in own if name not in ("openai_compatible", "model")} | by_library,
        }
        families = {
            name: family(name, model)
            for name, model in (("topic", "remote"), ("careful", "safe"), ("by_library", "library"))
        }
        settings = make_home(tmp_path_factory.mktemp("home"), families, models)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KEY_OF_TESTS", "k")
            with running(settings) as url:
                yield World(url, behind, spare, settings)


@pytest.fixture(autouse=True)
def _provider_is_well(world: World) -> None:
    for one in (world.behind, world.spare):
        one.fault, one.pieces, one.pause_s, one.break_after = lambda n: None, PIECES, 0.0, None
        one.hold = None
        one.bodies.clear()
        one.hung_up.clear()


@pytest.mark.parametrize("name", ["topic", "by_library"])
def test_a_stream_is_openais_and_its_last_chunk_says_which_variant_answered(world: World, name: str) -> None:
    raw = world.client.chat.completions.with_raw_response.create(
        model=name, messages=[{"role": "user", "content": "Stars?"}], stream=True, user="u1"
    )
    chunks = list(raw.parse())
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == TEXT
    assert [c.choices[0].delta.content for c in chunks if c.choices[0].delta.content] == list(PIECES)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert {c.id for c in chunks} == {chunks[0].id}
    assert all("detent" not in (c.model_extra or {}) for c in chunks[:-1])
    detent = chunks[-1].model_extra["detent"]
    assert (detent["family"], detent["role"], detent["sticky"], detent["cached"]) == (name, "champion", True, False)
    assert detent["cost_usd"] == pytest.approx(0.002)
    assert raw.headers["x-detent-assignment"] == detent["assignment"]
    assert raw.headers["content-type"].startswith("text/event-stream")


def test_a_stream_is_on_record_with_the_time_to_its_first_token(world: World) -> None:
    chunks = list(world.stream())
    found = world.recorded(chunks[0].id)
    assert (found["output"], found["error"], found["input_tokens"], found["output_tokens"]) == (TEXT, None, 1000, 100)
    assert 0 < found["time_to_first_token_ms"] <= found["latency_ms"]


def test_usage_comes_in_a_chunk_of_its_own_where_it_is_asked_for(world: World) -> None:
    *chunks, last = world.stream(stream_options={"include_usage": True})
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (1000, 100, 1100)
    assert last.model_extra["detent"]["family"] == "topic"
    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.usage is None for chunk in world.stream(stream_options=None))
    assert all(chunk.usage is None for chunk in world.stream(extra_body={"stream_options": None}))


def test_the_wire_ends_with_done(world: World) -> None:
    body = {"model": "topic", "messages": [{"role": "user", "content": "Stars?"}], "stream": True}
    lines = httpx.post(f"{world.url}/v1/chat/completions", json=body).text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all(json.loads(line.removeprefix("data: "))["object"] == "chat.completion.chunk" for line in lines[:-2])


def test_a_client_who_leaves_ends_the_call_and_what_came_is_on_record(world: World) -> None:
    world.behind.pieces, world.behind.pause_s = ["word "] * 1000, 0.02
    stream = world.stream()
    first = next(iter(stream))
    stream.close()
    assert world.behind.hung_up.wait(15), "the call to the provider went on although nobody reads it"
    found = world.recorded(first.id)
    assert found["error"].startswith("client_gone: ")
    assert found["output"].startswith("word ")
    assert (found["latency_ms"], found["cost_usd"]) == (None, None)
    assert found["time_to_first_token_ms"] > 0


def test_a_client_who_leaves_while_the_provider_is_silent_is_noticed(world: World) -> None:
    world.behind.pieces, world.behind.pause_s = ["one", "two"], 15.0
    stream = world.stream()
    first = next(iter(stream))
    stream.close()
    assert world.recorded(first.id)["error"].startswith("client_gone: ")


@pytest.mark.parametrize("fault", ["disconnect", "malformed"])
def test_a_provider_that_breaks_in_the_middle_ends_the_stream_with_an_error(world: World, fault: str) -> None:
    world.behind.fault, world.behind.break_after, world.behind.pause_s = lambda n: fault, 2, 0.1
    seen = []
    with pytest.raises(openai.APIError) as caught:
        seen.extend(world.stream("careful"))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in seen) == "Stars burn"
    error = caught.value.body
    assert isinstance(error, dict)
    assert error["code"] == {"disconnect": "unreachable", "malformed": "malformed"}[fault]
    found = world.recorded(error["interaction"], "careful")
    assert found["id"] == seen[0].id
    assert found["output"] == "Stars burn"
    assert found["error"].startswith(error["code"])
    assert world.spare.bodies == [], "no second model may answer once a token was sent"


@pytest.mark.parametrize("fault", ["rate_limit", "broken", "disconnect", "malformed"])
def test_a_fallback_answers_a_stream_of_which_nothing_was_sent(world: World, fault: str) -> None:
    world.behind.fault = lambda n: fault
    chunks = list(world.stream("careful"))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == TEXT
    assert chunks[-1].model_extra["detent"]["tiers"] == ["safe", "spare"]
    assert world.recorded(chunks[0].id, "careful")["model"] == "spare"


def test_a_model_that_fails_before_its_first_token_is_a_problem_with_its_status(world: World) -> None:
    world.behind.fault = lambda n: "broken"
    with pytest.raises(openai.InternalServerError) as caught:
        world.stream()
    assert caught.value.status_code == 502
    assert world.recorded(caught.value.response.json()["interaction"])["error"].startswith("http: ")


def test_a_stream_that_the_end_of_the_gateway_cuts_off_is_on_record(world: World, tmp_path: Path) -> None:
    settings = make_home(tmp_path, {"topic": family("topic", "remote")}, {"remote": remote(world.behind.url)})
    world.behind.hold = threading.Event()
    body = {"model": "topic", "messages": [{"role": "user", "content": "Stars?"}], "stream": True}
    with httpx.Client() as client:
        with running(settings) as url:
            answer = client.send(client.build_request("POST", f"{url}/v1/chat/completions", json=body), stream=True)
            lines = answer.iter_lines()
            while PIECES[0] not in next(lines):
                pass
        answer.close()
    world.behind.hold.set()
    [found] = interactions(settings, "topic")
    assert found["error"].startswith("gateway_stopped: ")
    assert found["output"] == PIECES[0]


def test_streams_that_are_not_read_hold_little_and_end_and_stay_on_record(world: World, tmp_path: Path) -> None:
    """The models wait for their readers, instead of filling memory with what no reader has asked for yet."""
    models = {"remote": remote(world.behind.url, concurrency=60, timeout_s=300)}
    settings = make_home(tmp_path, {"topic": family("topic", "remote")}, models, limits={"stalled_seconds": 0.5})
    n_pieces = 10_000
    world.behind.pieces = ["word " * 20] * n_pieces
    body = json.dumps({"model": "topic", "messages": [{"role": "user", "content": "Stars?"}], "stream": True})
    with running(settings) as url, ExitStack() as unread:
        for _ in range(10):
            unread.enter_context(_unread_stream(url, body))
        found = until(lambda: len(all := interactions(settings, "topic")) == 10 and all, patience_s=120)
    assert {one["error"].split(":")[0] for one in found} == {"client_gone"}
    longest = max(len(one["output"]) for one in found)
    assert 0 < longest < 100 * n_pieces / 5, "what was not read was asked for all the same"


def _unread_stream(url: str, body: str) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", int(url.rsplit(":", 1)[1])))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {url.removeprefix('http://')}\r\nContent-Type:"
        f" application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    made.sendall((head + body).encode())
    return made


def load(world: World, *words: str) -> tuple[int, dict[str, Any]]:
    script = str(Path(__file__).parents[3] / "deploy" / "load.py")
    command = [sys.executable, script, world.url, "--family", "topic", "--users", "4", "--seconds", "1", "--json"]
    ran = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60)
    assert ran.stderr == ""
    return ran.returncode, json.loads(ran.stdout)


def test_the_load_script_counts_what_users_get_and_repeats_what_failed_once(world: World) -> None:
    code, figures = load(world)
    assert (code, figures["missed"], figures["error_share"], figures["repeated"]) == (0, [], 0.0, 0)
    assert figures["chats"] == len(world.behind.bodies) >= 4
    assert 0 < figures["first_piece_p95_ms"] <= figures["p95_ms"]

    n_before = len(world.behind.bodies)
    world.behind.fault = lambda n: "broken" if n == n_before else None
    code, figures = load(world)
    assert (code, figures["repeated"], figures["error_share"]) == (0, 1, 0.0)
    assert figures["p95_ms"] is not None

    world.behind.fault = lambda n: "broken"
    code, figures = load(world)
    assert (code, figures["error_share"], figures["why"]) == (1, 1.0, {"status 502": figures["chats"]})
    assert "error_share" in figures["missed"]
