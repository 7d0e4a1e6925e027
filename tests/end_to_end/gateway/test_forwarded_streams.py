"""Streams as clients get them: through the api process, which passes on the gateway's bytes as they come."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import httpx
import openai
import pytest

from api.app import create_app
from tests.stand_ins.faulty_provider import PIECES, FaultyProvider, faulty_provider
from tests.worlds.gateway_world import family, make_home, running, serving

BODY = {"model": "topic", "messages": [{"role": "user", "content": "Stars?"}], "stream": True}


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, FaultyProvider, object]]:
    """(address of the api, address of the gateway, the provider, settings)."""
    with faulty_provider() as behind:
        models = {"remote": {"openai_compatible": behind.url, "model": "m", "retries": 0}}
        settings = make_home(tmp_path_factory.mktemp("home"), {"topic": family("topic", "remote")}, models)
        with running(settings) as gateway:
            settings.run_dir().mkdir(parents=True, exist_ok=True)
            (settings.run_dir() / "gateway.json").write_text(json.dumps({"pid": 1, "url": gateway}), encoding="utf-8")
            with serving(create_app(settings), settings) as api:
                yield api, gateway, behind, settings


@pytest.fixture(autouse=True)
def _provider_is_well(ways) -> None:
    behind = ways[2]
    behind.pieces, behind.pause_s, behind.hold = PIECES, 0.0, None
    behind.hung_up.clear()


def test_the_first_piece_is_there_before_the_provider_has_written_the_second(ways) -> None:
    api, _, behind, _ = ways
    behind.hold = threading.Event()
    client = openai.OpenAI(base_url=f"{api}/v1", api_key="unused", max_retries=0)
    seen = []
    for chunk in client.chat.completions.create(**BODY):
        seen.append(chunk.choices[0].delta.content or "")
        if seen[-1]:
            behind.hold.set()
    assert "".join(seen) == "".join(PIECES)


def test_no_header_stands_twice_in_an_answer_that_was_passed_on(ways) -> None:
    api, *_ = ways
    names = [name.lower() for name, _ in httpx.post(f"{api}/v1/chat/completions", json=BODY).headers.raw]
    assert sorted(set(names)) == sorted(names)


def test_the_counts_of_model_calls_are_at_the_apis_address_too(ways) -> None:
    api, gateway, _, _ = ways
    assert "llm_calls_total" in httpx.get(f"{api}/metrics").text
    assert (
        httpx.get(f"{api}/metrics").headers["content-type"] == httpx.get(f"{gateway}/metrics").headers["content-type"]
    )


@pytest.mark.parametrize(
    "header", ["Idempotency-Key: k ", "X-Detent-Unit: somebody \t", "X-API-Key: k  ", "X-Odd:   v "]
)
def test_a_space_behind_a_header_s_value_is_no_part_of_it(ways, header: str) -> None:
    """It was passed on, and the gateway's client refused to send it: 503, as if the gateway were away."""
    api, *_ = ways
    body = json.dumps({"model": "nothing", "messages": [{"role": "user", "content": "Stars?"}]})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {api.removeprefix('http://')}\r\n{header}\r\nContent-Type:"
        " application/json\r\nConnection: close\r\n"
    )
    with socket.create_connection(("127.0.0.1", int(api.rsplit(":", 1)[1])), timeout=60) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 404")
