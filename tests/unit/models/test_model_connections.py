"""The connections to a model's server: closed behind the calls that use them, and through the proxy that is named."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator

import pytest

from optimizer.adapters.models import connections as model_connections
from optimizer.adapters.models.connections import LoopSessions, proxy_of
from optimizer.adapters.models.openai_wire import post
from optimizer.core.base.errors import ModelFailed
from tests.stand_ins.scripted_model import Provider, chat_answer, provider


@pytest.fixture
def behind() -> Iterator[Provider]:
    with provider() as state:
        yield state


@pytest.fixture(autouse=True)
def no_proxy_known() -> Iterator[None]:
    proxy_of.cache_clear()
    yield
    proxy_of.cache_clear()


async def asked(connections: LoopSessions, url: str) -> object:
    async with connections.session() as session:
        return (await post(session, url, {"model": "m"}, model="m", timeout_s=10))["choices"]


def test_a_call_goes_through_the_proxy_of_the_environment(behind: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", behind.url.removeprefix("http://").removesuffix("/v1"))
    connections = LoopSessions({})
    assert asyncio.run(asked(connections, "http://models.example:8123/v1")) == chat_answer("hi")["choices"]
    assert behind.headers[-1]["Host"] == "models.example:8123"
    connections.close()


@pytest.mark.parametrize(("key", "user"), [("a key\n", ""), ("a key", "name:password@")])
def test_a_request_that_cannot_be_written_is_a_model_that_failed(behind: Provider, key: str, user: str) -> None:
    connections = LoopSessions({"Authorization": f"Bearer {key}"})
    with pytest.raises(ModelFailed) as raised:
        asyncio.run(asked(connections, behind.url.replace("://", f"://{user}")))
    assert (raised.value.kind, raised.value.members["sent"]) == ("unreachable", False)
    assert not behind.headers
    connections.close()


def test_no_proxy_names_addresses_that_are_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "models.example")
    assert proxy_of("http://models.example/v1") is None
    assert proxy_of("http://others.example/v1") == "http://proxy.example:3128"


def test_a_call_in_flight_ends_by_itself_when_its_connections_are_closed(behind: Provider) -> None:
    came, go_on = threading.Event(), threading.Event()
    whole = behind.answer

    def answer(body: dict[str, object]) -> tuple[int, dict[str, str], bytes]:
        came.set()
        assert go_on.wait(10)
        return whole(body)

    behind.answer = answer

    async def close_meanwhile() -> tuple[object, bool]:
        connections = LoopSessions({})
        call = asyncio.create_task(asked(connections, behind.url))
        await asyncio.to_thread(came.wait, 10)
        kept = connections._current
        await asyncio.to_thread(connections.close)
        go_on.set()
        return await call, kept.session.closed

    assert asyncio.run(close_meanwhile()) == (chat_answer("hi")["choices"], True)


def test_the_known_authorities_are_read_beside_the_event_loop_and_calls_of_one_loop_share_a_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To read them takes 20 ms, and a tenth of a second where httpx is not loaded yet; prompts are served meanwhile."""
    connections, readers, read = LoopSessions({}), list[int](), model_connections._ssl_context
    monkeypatch.setattr(model_connections, "_ssl_context", lambda: (readers.append(threading.get_ident()), read())[1])

    async def one() -> object:
        async with connections.session() as session:
            return session

    async def together() -> list[object]:
        sessions = await asyncio.gather(one(), one())
        await asyncio.to_thread(connections.close)
        return sessions

    first, second = asyncio.run(together())
    assert (first is second, threading.get_ident() in readers) == (True, False)


def test_connections_that_were_not_closed_are_no_fault_in_the_log(behind, caplog):
    gc.collect()  # what other tests left
    caplog.clear()
    connections = LoopSessions({})
    for _ in range(2):  # an event loop each
        asyncio.run(asked(connections, behind.url))
    del connections
    gc.collect()
    assert "Unclosed" not in caplog.text


def test_nor_are_those_that_are_collected_in_a_circle_while_their_loop_runs(behind, caplog):
    gc.collect()
    caplog.clear()

    async def collect() -> None:
        connections = LoopSessions({})
        await asked(connections, behind.url)
        connections.circle = connections  # as a model and what it asks hold each other
        del connections
        await asyncio.to_thread(gc.collect)

    for _ in range(2):
        asyncio.run(collect())
    assert "Unclosed" not in caplog.text
