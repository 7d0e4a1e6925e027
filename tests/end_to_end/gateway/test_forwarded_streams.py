"""Streams as clients get them: through the api process, which passes on the gateway's bytes as they come."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.stand_ins.faulty_provider import PIECES, FaultyProvider, faulty_provider
from tests.worlds.gateway_world import behind_the_api, client_of, family, make_home, remote

BODY = {"model": "topic", "messages": [{"role": "user", "content": "Stars?"}], "stream": True}


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, FaultyProvider, object]]:
    """(address of the api, address of the gateway, the provider, settings)."""
    with faulty_provider() as behind:
        models = {"remote": remote(behind.url)}
        settings = make_home(tmp_path_factory.mktemp("home"), {"topic": family("topic", "remote")}, models)
        with behind_the_api(settings) as (api, gateway):
            yield api, gateway, behind, settings


@pytest.fixture(autouse=True)
def _provider_is_well(ways) -> None:
    behind = ways[2]
    behind.pieces, behind.pause_s, behind.hold = PIECES, 0.0, None
    behind.hung_up.clear()


def test_the_first_piece_is_there_before_the_provider_has_written_the_second(ways) -> None:
    api, _, behind, _ = ways
    behind.hold = threading.Event()
    seen = []
    for chunk in client_of(api).chat.completions.create(**BODY):
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
