"""Requests that a connection sends one behind the other: how many are in work, when reading stops, whose turn it is,
where one ends, and what ends one that does not.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from functools import wraps
from itertools import count
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from api.http.connections import TimedProtocol
from api.http.deadlines import MAX_HEADER_BYTES
from api.http.door import Door
from optimizer.host.config import ServerLimits

N = 2000


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 80)})
        self.written, self.reads, self.is_closed, self.has_eof = b"", True, False, False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def write_eof(self) -> None:
        self.has_eof = True


class Application:
    """Notes each request as (path, body), and answers it when ``may_answer`` is set."""

    def __init__(self, *, answers: bool = False) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self.may_answer = asyncio.Event()
        if answers:
            self.may_answer.set()

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.requests.append((scope["path"], body))
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


class Refusing(Application):
    """Answers without having read a body, as where a key is missing."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.requests.append((scope["path"], b""))
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


class Connections:
    """Those of one server."""

    def __init__(self, app: Application) -> None:
        door = Door(ServerLimits(), per_address=None, is_proxy=lambda address: False)
        config, state = uvicorn.Config(app, ws="none", log_config=None, access_log=False), ServerState()
        config.load()
        self._of_server = door, {"config": config, "server_state": state, "app_state": {}}

    def one(self) -> tuple[TimedProtocol, Wire]:
        door, more = self._of_server
        wire, connection = Wire(), TimedProtocol(door, **more)  # type: ignore[arg-type]
        connection.connection_made(wire)
        return connection, wire


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn follows the one before within a few steps of the event loop."""
    monkeypatch.setattr("api.http.door.REST", 0)


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(**given: Any) -> None:
        asyncio.run(test(**given))

    return run


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


async def steps(n: int = 20) -> None:
    """So many of the event loop, in which nothing has to be waited for."""
    for _ in range(n):
        await asyncio.sleep(0)


@on_a_loop
async def test_one_request_of_a_connection_is_in_work_and_nothing_more_is_read() -> None:
    app = Application()
    connection, wire = Connections(app).one()
    connection.data_received(b"".join(get(f"/{n}") for n in range(N)))
    await steps()
    assert app.paths == ["/0"]
    assert not wire.reads
    app.may_answer.set()
    await steps(10 * N)
    assert app.paths == [f"/{n}" for n in range(N)]
    assert wire.written.count(b"HTTP/1.1 200") == N
    assert wire.reads


@on_a_loop
async def test_nothing_is_answered_or_read_while_the_client_takes_no_answers() -> None:
    app = Application(answers=True)
    connection, wire = Connections(app).one()
    connection.data_received(get("/0"))
    await steps()
    connection.pause_writing()
    connection.data_received(get("/1") + get("/2"))
    await steps()
    assert app.paths == ["/0"]
    assert not wire.reads
    connection.resume_writing()
    await steps()
    assert app.paths == ["/0", "/1", "/2"]
    assert wire.reads


@on_a_loop
async def test_connections_take_turns() -> None:
    app = Application(answers=True)
    connections = Connections(app)
    for name in "abc":
        connections.one()[0].data_received(b"".join(get(f"/{name}{n}") for n in range(50)))
    await steps(1000)
    assert app.paths == [f"/{name}{n}" for n in range(50) for name in "abc"]


def test_after_a_turn_the_line_rests_three_times_as_long_and_who_comes_alone_does_not_wait(monkeypatch):
    monkeypatch.setattr("api.http.door.REST", 3)
    monkeypatch.setattr("api.http.door.thread_time", count(step=0.1).__next__)  # a turn takes so long
    app = Application(answers=True)

    async def answered() -> float:
        connections, loop = Connections(app), asyncio.get_running_loop()
        connections.one()[0].data_received(get("/0") + get("/1") + get("/2"))
        await steps(100)
        assert app.paths == ["/0", "/1"]
        began = loop.time()
        connections.one()[0].data_received(get("/alone"))
        await steps()
        assert app.paths == ["/0", "/1", "/alone"]
        while len(app.paths) < 4:
            await asyncio.sleep(0.01)
        return loop.time() - began

    assert asyncio.run(answered()) > 0.2


@on_a_loop
async def test_a_body_full_of_ends_is_read_in_turns() -> None:
    app, body = Application(), b"\r\n\r\n" * N
    connections = Connections(app)
    head = b"POST /long HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
    connections.one()[0].data_received(head + body + b"\r\n0\r\n\r\n")
    connections.one()[0].data_received(get("/alone"))
    await steps()
    assert app.paths == ["/alone"]
    await steps(N)
    assert app.requests[1:] == [("/long", body)]


@on_a_loop
async def test_a_request_behind_a_body_waits_as_well() -> None:
    app = Application()
    connection, wire = Connections(app).one()
    connection.data_received(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + get("/2"))
    await steps()
    assert (app.requests, wire.reads) == ([("/1", b"hello")], False)
    assert not connection.pipeline
    app.may_answer.set()
    await steps()
    assert (app.paths, wire.reads) == (["/1", "/2"], True)


@on_a_loop
async def test_what_was_not_parsed_is_dropped_with_its_connection() -> None:
    app = Application()
    connection, wire = Connections(app).one()
    connection.data_received(get("/1") + get("/2"))
    await steps()
    wire.close()
    connection.connection_lost(ConnectionResetError())
    app.may_answer.set()
    await steps()
    assert app.paths == ["/1"]


REQUESTS = [
    ("/1", b""),
    ("/2", b"\r\n\r\nGET /body HTTP/1.1\r\n\r\n"),
    ("/3", b"\r\n\r\nand more"),
    ("/4", b""),
    ("/5", b"the end\r\n"),
]
SENT = b"".join(
    (
        get("/1"),
        b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(REQUESTS[1][1]), REQUESTS[1][1]),
        b"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n8\r\nand more\r\n0\r\n",
        b"A-Trailer: b\r\n\r\n",
        b"\r\n" + get("/4"),
        b"POST /5 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nthe end\r\n",
    )
)


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 5, 7, len(SENT)])
@on_a_loop
async def test_requests_are_the_same_however_they_are_cut(n_bytes: int) -> None:
    for first in range(len(SENT)) if n_bytes == len(SENT) else (0,):
        app = Application(answers=True)
        connection, _ = Connections(app).one()
        for start in range(first - n_bytes, len(SENT), n_bytes):
            connection.data_received(SENT[max(0, start) : start + n_bytes])
            await steps(30)
        assert app.requests == REQUESTS, first


BODY = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
FRAMINGS = {
    "none": (b"", b""),
    "length": (b"Content-Length: %d\r\n" % len(BODY), BODY),
    "chunks": (b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize(
    "asking",
    [
        pytest.param(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", id="websocket"),
        pytest.param(b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n", id="h2c"),
        pytest.param(b"Connection: keep-alive, uPgrade\r\nUpgrade: any/1\r\n", id="any"),
        pytest.param(b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n", id="and the end"),
        pytest.param(b"X-A: %b\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n" % (b"a" * 40_000), id="long"),
    ],
)
@on_a_loop
async def test_a_request_for_an_upgrade_is_answered_as_if_it_had_not_asked_and_is_the_last(asking, version, framing):
    length, body = FRAMINGS[framing]
    sent = b"POST /asks HTTP/%b\r\nHost: a\r\n" % version + asking + length + b"\r\n" + body
    step = 1 if version == b"1.1" and framing == "length" else 5  # the others are read by the same code
    for at in range(1, len(sent) + 1, step * (1 + len(sent) // 300)):
        app = Application(answers=True)
        connection, wire = Connections(app).one()
        connection.data_received(sent[:at])
        await steps(8)
        connection.data_received(sent[at:] + get("/behind"))
        await steps(12)
        assert app.requests == [("/asks", BODY if body else b"")], at
        assert wire.written.count(b"HTTP/1.1 200") == 1
        assert b"\r\nconnection: close\r\n" in wire.written


@on_a_loop
async def test_connect_is_refused_and_is_the_last() -> None:
    for target in (b"a:443", b"/x", b"http://a/x"):
        app = Application()
        connection, wire = Connections(app).one()
        connection.data_received(
            b"CONNECT %b HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n" % target + get("/behind")
        )
        await steps()
        assert (app.requests, wire.has_eof) == ([], True)
        assert problem_on(wire)["type"] == "/problems/malformed-request"


def problem_on(wire: Wire) -> Any:
    """The one answer there is, which is a problem document with its id."""
    head, _, body = wire.written.partition(b"\r\n\r\n")
    problem, lines = json.loads(body), head.decode().lower().split("\r\n")
    assert lines[0].startswith(f"http/1.1 {problem['status']} ")
    assert {"content-type: application/problem+json", f"x-request-id: {problem['request_id']}"} <= set(lines)
    return problem


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    "sent",
    [
        "GET /x?unit=ä HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"what is this\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
@on_a_loop
async def test_what_is_no_request_is_answered_with_a_problem_and_is_the_last(sent: bytes, behind: bool) -> None:
    app = Application(answers=True)
    connection, wire = Connections(app).one()
    if behind:
        connection.data_received(get("/before"))
        await steps()
        assert (app.paths, wire.written.count(b"HTTP/1.1 200")) == (["/before"], 1)
        wire.written = b""
    connection.data_received(sent + get("/behind"))
    await steps()
    problem = problem_on(wire)
    assert "http://[" not in problem["detail"]
    assert (problem["status"], problem["type"], "retry-after" in wire.written.decode().lower()) == (
        400,
        "/problems/malformed-request",
        False,
    )
    assert (app.paths, wire.has_eof) == (["/before"] if behind else [], True)


@pytest.mark.parametrize("n_pieces", [1, 3])
@pytest.mark.parametrize(("n_bytes", "status"), [(MAX_HEADER_BYTES, 200), (MAX_HEADER_BYTES + 1, 431), (100_000, 431)])
@on_a_loop
async def test_a_head_has_so_many_bytes_at_most_however_it_comes(n_bytes: int, status: int, n_pieces: int) -> None:
    app = Application(answers=True)
    connection, wire = Connections(app).one()
    start, end = b"GET /x HTTP/1.1\r\nHost: a\r\nLong: ", b"\r\n\r\n"
    head = start + b"x" * (n_bytes - len(start) - len(end)) + end
    step = -(-len(head) // n_pieces)
    for at in range(0, len(head), step):
        connection.data_received(head[at : at + step])
    await steps()
    assert wire.written.startswith(b"HTTP/1.1 %d " % status)
    assert (wire.written.count(b"HTTP/1.1 "), len(app.requests)) == (1, int(status == 200))


CHUNKED = b"POST /long HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
STATUS_OF = {Application: b"431", Refusing: b"401"}


@pytest.mark.parametrize("kind", STATUS_OF)
@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(b"0\r\n", b"a:b\r\n" * 1000, id="many trailers"),
        pytest.param(b"1\r\n[\r\n0\r\na:", b"b" * 5000, id="a long trailer"),
        pytest.param(b"1;a=", b"b" * 5000, id="a long extension of a chunk"),
    ],
)
@on_a_loop
async def test_what_is_no_content_of_a_body_is_not_kept_and_ends_the_connection(kind, start, piece):
    connection, wire = Connections(kind()).one()
    connection.data_received(CHUNKED + start)
    await steps()
    for _ in range(10):
        connection.data_received(piece)
    assert len(connection.headers) == 2
    assert not wire.has_eof
    for _ in range(10):
        connection.data_received(piece)
    assert len(connection.headers) == 2
    assert wire.has_eof
    assert wire.written.startswith(b"HTTP/1.1 " + STATUS_OF[kind])
    assert wire.written.count(b"HTTP/1.1 ") == 1


@on_a_loop
async def test_a_trailer_is_no_header() -> None:
    app, start = Application(), CHUNKED.replace(b"Host", b"Expect: nothing\r\nHost")
    connection, wire = Connections(app).one()
    connection.data_received(start + b"0\r\n")
    await steps()
    connection.data_received(b"Expect: 100-continue\r\nAuthorization: b\r\n\r\n")
    await steps()
    assert app.paths == ["/long"]
    assert not wire.written
    assert [name for name, _ in connection.scope["headers"]] == [b"expect", b"host", b"transfer-encoding"]


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [(Application, b"408", b"more pieces than could be read in turns"), (Refusing, b"401", b"")],
)
@on_a_loop
async def test_a_body_that_waits_for_its_turns_has_its_time_like_any_other(kind, status, said):
    connection, wire = Connections(kind()).one()
    connection.data_received(CHUNKED)
    await steps()
    connection.data_received(b"%x\r\n" % (4 * N) + b"\r\n\r\n" * N)
    now, most = connection.loop.time(), ServerLimits().body_seconds
    connection.end_if_late(now + most / 2)
    assert not wire.has_eof
    connection.end_if_late(now + most + 1)
    assert wire.has_eof
    assert wire.written.startswith(b"HTTP/1.1 " + status)
    assert wire.written.count(b"HTTP/1.1 ") == 1
    assert said in wire.written
    assert b"body did not arrive" not in wire.written


@pytest.mark.parametrize("is_declared", [True, False])
@on_a_loop
async def test_behind_an_answer_no_more_of_a_body_is_thrown_away_than_a_body_may_have(is_declared: bool) -> None:
    app, piece = Refusing(), b" " * 100_000
    n_pieces = ServerLimits().body_bytes // len(piece)
    for n in (n_pieces, n_pieces + 2):
        connection, wire = Connections(app).one()
        n_bytes = n * len(piece)
        framing = b"Content-Length: %d\r\n\r\n" % n_bytes
        head = CHUNKED[: CHUNKED.index(b"Transfer")] + framing if is_declared else CHUNKED + b"%x\r\n" % n_bytes
        connection.data_received(head)
        await steps()
        for _ in range(n):
            connection.data_received(piece)
        assert wire.has_eof == (n > n_pieces)
        connection.data_received((b"" if is_declared else b"\r\n0\r\n\r\n") + get("/next"))
        await steps()
        assert app.paths.count("/next") == 1  # behind the body that was not too long


@on_a_loop
async def test_a_connection_that_waits_for_its_turn_is_not_closed_as_idle() -> None:
    app = Application(answers=True)
    connection, wire = Connections(app).one()
    connection.data_received(get("/1") + get("/2"))
    while not app.requests:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    connection.end_if_late(connection.loop.time() + 1e6)
    assert not wire.is_closing()
    await steps()
    assert app.paths == ["/1", "/2"]
    connection.end_if_late(connection.loop.time() + 1e6)
    assert wire.is_closing()
