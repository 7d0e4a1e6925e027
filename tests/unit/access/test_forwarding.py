"""The api's connections to the gateway: kept for the next request, ended with their client, never taken for whole."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api.http.forwarding import SERVING_VERSION, Gateway
from api.http.neighbour_connections import MOST_UNREAD_BYTES, AnswerLost, ClientDisconnected
from api.http.problems import GatewayUnavailable, MalformedBody

Answering = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Behind:
    """A gateway that answers as a test says."""

    def __init__(self, answering: Answering) -> None:
        self.answering, self.n_connections, self.heads, self.left = answering, 0, list[bytes](), asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head)
                if b"content-length" in head:
                    await reader.readexactly(2)  # every body is {}
                await self.answering(head, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def gateway(folder: Path, answering: Answering) -> AsyncIterator[tuple[Gateway, Behind]]:
    behind = Behind(answering)
    server = await asyncio.start_server(behind.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (folder / "gateway.json").write_text(json.dumps({"url": f"http://127.0.0.1:{port}"}), encoding="utf-8")
    made = Gateway(folder / "gateway.json")
    try:
        yield made, behind
    finally:
        made.close()
        server.close()


def always(answer: bytes) -> Answering:
    async def answering(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return answering


class Client:
    """The other side of the api: what it was sent, and whether it is still there."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    async def chat(self, gateway: Gateway, *headers: tuple[bytes, bytes]) -> bytes | None:
        scope = {"type": "http", "method": "POST", "raw_path": b"/v1/chat/completions", "query_string": b""}
        scope |= {"headers": list(headers)}
        passed = await gateway.passed(scope, self.receive, b"{}", b"r-1")
        if passed is None:
            return None
        await passed(scope, self.receive, self.send)
        return self.body


def test_a_connection_carries_one_request_after_the_other(tmp_path: Path) -> None:
    async def ask() -> int:
        async with gateway(tmp_path, always(WHOLE)) as (made, behind):
            assert [await Client().chat(made) for _ in range(3)] == [b"hi"] * 3
            return behind.n_connections

    assert asyncio.run(ask()) == 1


def test_requests_at_once_have_a_connection_each(tmp_path: Path) -> None:
    both = asyncio.Barrier(2)

    async def together(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await both.wait()
        writer.write(WHOLE)

    async def ask() -> list[bytes | None]:
        async with gateway(tmp_path, together) as (made, _), asyncio.timeout(10):
            return await asyncio.gather(Client().chat(made), Client().chat(made))

    assert asyncio.run(ask()) == [b"hi", b"hi"]


def test_a_gateway_that_closed_an_idle_connection_gets_a_new_one(tmp_path: Path) -> None:
    async def close(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WHOLE)
        await writer.drain()
        writer.close()

    async def ask() -> int:
        async with gateway(tmp_path, close) as (made, behind):
            for n in range(1, 3):
                assert await Client().chat(made) == b"hi"
                while behind.n_connections < n or not behind.heads:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)  # the end arrives
            return behind.n_connections

    assert asyncio.run(ask()) == 2


def test_the_address_is_read_again_when_its_file_has_changed(tmp_path: Path) -> None:
    async def ask() -> tuple[bytes | None, bytes | None]:
        async with gateway(tmp_path, always(WHOLE)) as (made, _):
            first = await Client().chat(made)
            async with gateway(tmp_path, always(WHOLE.replace(b"hi", b"yo"))):
                return first, await Client().chat(made)

    assert asyncio.run(ask()) == (b"hi", b"yo")


def test_a_request_says_which_picture_of_the_store_it_was_passed_on_with(tmp_path: Path) -> None:
    async def ask() -> bytes:
        async with gateway(tmp_path, always(WHOLE)) as (_, behind):
            follower = Gateway(tmp_path / "gateway.json", lambda: 7)
            await Client().chat(follower, (SERVING_VERSION, b"9000"))
            follower.close()
            return behind.heads[0]

    assert re.findall(rb"%b: (.*)\r\n" % SERVING_VERSION, asyncio.run(ask())) == [b"7"]


def test_the_gateway_hears_that_the_client_went_before_the_answer(tmp_path: Path) -> None:
    client = Client()

    async def silence(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client.gone.set()
        await reader.readexactly(1)  # none comes

    async def leave() -> bytes | None:
        async with gateway(tmp_path, silence) as (made, behind), asyncio.timeout(10):
            answer = await client.chat(made)
            await behind.left.wait()
            return answer

    assert asyncio.run(leave()) is None


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConte", id="half a head"),
        pytest.param(b"220 mail.example ready\r\n\r\n", id="no HTTP"),
    ],
)
def test_an_answer_without_a_head_is_a_gateway_that_cannot_be_reached(tmp_path: Path, answer: bytes) -> None:
    async def ask() -> None:
        async with gateway(tmp_path, broken_off(answer)) as (made, _):
            await Client().chat(made)

    with pytest.raises(GatewayUnavailable):
        asyncio.run(ask())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", id="of a length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", id="in chunks"),
    ],
)
def test_an_answer_that_breaks_off_is_not_ended_as_if_it_were_whole(tmp_path: Path, answer: bytes) -> None:
    async def ask() -> None:
        client = Client()
        async with gateway(tmp_path, broken_off(answer)) as (made, _):
            with pytest.raises(AnswerLost):
                await client.chat(made)
        assert all(message.get("more_body", True) for message in client.sent)

    asyncio.run(ask())


def test_an_answer_without_a_length_ends_with_its_connection(tmp_path: Path) -> None:
    async def ask() -> bytes | None:
        async with gateway(tmp_path, broken_off(b"HTTP/1.0 200 OK\r\n\r\nhi")) as (made, _):
            return await Client().chat(made)

    assert asyncio.run(ask()) == b"hi"


def test_a_client_that_reads_slowly_holds_the_gateway_up(tmp_path: Path) -> None:
    size = 200 * MOST_UNREAD_BYTES

    async def ask() -> None:
        client, read_on = Client(), asyncio.Event()

        async def send(message: dict[str, Any]) -> None:
            await read_on.wait()
            client.sent.append(message)

        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size)
        async with gateway(tmp_path, always(answer)) as (made, _):
            scope = {"method": "POST", "raw_path": b"/", "query_string": b"", "headers": []}
            passed = await made.passed(scope, client.receive, b"{}", b"r-1")
            sending = asyncio.create_task(passed(scope, client.receive, send))
            await asyncio.sleep(0.3)
            assert passed._connection._n_unread < size / 10
            read_on.set()
            await sending
            assert len(client.body) == size

    asyncio.run(ask())


def test_a_gateway_that_says_nothing_for_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gateway, "patience_s", 0.1)

    async def silence(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)

    async def ask() -> None:
        async with gateway(tmp_path, silence) as (made, _), asyncio.timeout(10):
            await Client().chat(made)

    with pytest.raises(GatewayUnavailable, match="did not answer in time"):
        asyncio.run(ask())


def test_a_header_that_would_begin_another_line_is_not_passed_on(tmp_path: Path) -> None:
    async def ask() -> None:
        async with gateway(tmp_path, always(WHOLE)) as (made, behind):
            with pytest.raises(MalformedBody):
                await Client().chat(made, (b"x-odd", b"v\r\nx-detent-unit: another"))
            assert not behind.heads

    asyncio.run(ask())


def test_a_long_body_is_passed_on_without_a_copy_of_it(tmp_path: Path) -> None:
    written: list[bytes] = []

    async def scenario() -> None:
        async with gateway(tmp_path, always(WHOLE)) as (made, _):
            connection = await made.connections().one()
            connection._transport = type("Transport", (), {"write": written.append, "abort": lambda self: None})()
            for body in (b"{}", b"x" * 1_000_000):
                connection.ask(b"POST / HTTP/1.1\r\n\r\n", body)
                assert b"".join(written) == b"POST / HTTP/1.1\r\n\r\n" + body
                assert len(body) < 10 or any(piece is body for piece in written)
                written.clear()
            connection.finish()

    asyncio.run(scenario())


def test_a_leave_that_comes_late_ends_no_other_request(tmp_path: Path) -> None:
    async def ask() -> None:
        async with gateway(tmp_path, always(WHOLE)) as (made, _):
            connection = await made.connections().one()
            number = connection.ask(b"POST / HTTP/1.1\r\n\r\n")
            while await connection.piece():
                pass
            made.connections().give_back(connection)
            assert await made.connections().one() is connection
            now = connection.ask(b"POST / HTTP/1.1\r\n\r\n")
            connection.leave(number)
            assert await connection.piece() == b"hi"
            connection.ask(b"POST / HTTP/1.1\r\n\r\n")
            connection.leave(now + 1)
            with pytest.raises(ClientDisconnected):
                await connection.head()
            connection.abort()

    asyncio.run(ask())


def broken_off(answer: bytes) -> Answering:
    async def answering(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    return answering
