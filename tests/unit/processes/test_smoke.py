"""deploy/smoke.py says what is wrong with what it was given in a line each, and shows no traceback."""

from __future__ import annotations

import runpy
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

MAIN = runpy.run_path(str(Path(__file__).parents[3] / "deploy" / "smoke.py"))["main"]


@pytest.fixture
def no_http() -> Iterator[str]:
    """The address of a server that speaks something else."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"220 mail is spoken here\r\n")

        threading.Thread(target=greet, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "given",
    [
        ["myserver"],
        ["localhost:8321"],
        ["http://127.0.0.1:port"],
        ["http://127.0.0.1:1", "--key", "two\nlines"],
        ["http://127.0.0.1:1", "--family", "no name"],
    ],
)
def test_what_cannot_be_asked_is_a_line_each(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert MAIN(given) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert all(line.startswith("FAIL  ") for line in lines)
    assert last == f"{len(lines)} of it does not work."


def test_a_server_that_speaks_something_else_is_told_too(no_http: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert MAIN([no_http]) == 1
    assert capsys.readouterr().out.count("FAIL  ") == 3
