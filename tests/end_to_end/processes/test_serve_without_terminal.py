"""``detent serve`` goes on where nothing that it says can be written any more."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import httpx
import psutil
import pytest

from tests.clock import PROCESSES_S, until
from tests.stand_ins.running_server import CHILDREN, Server, make_home
from tests.stand_ins.small_disk import fill, small_disk

NO_MODEL = "http://127.0.0.1:9"


@contextmanager
def told_to(messages: IO[str], home: Path) -> Iterator[Server]:
    server = Server(home, messages=messages)
    try:
        yield server
    finally:
        server.end()


def pid_of(server: Server, name: str) -> int | None:
    """As the system tells: on a full disk no process can write where it is."""
    assert server.process.poll() is None, "the supervisor has ended"
    for child in psutil.Process(server.process.pid).children():
        with suppress(psutil.Error):  # it has just ended
            if name in (child.name(), *child.cmdline()):
                return child.pid
    return None


def kill(server: Server, name: str) -> None:
    """Until another process has its place."""
    before = pid_of(server, name)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    until(lambda: pid_of(server, name) not in (None, before), f"another {name}", patience_s=PROCESSES_S)


def n_dropped(server: Server) -> int:
    return int(server.detent("status", "--json").json["notes_dropped"])


@pytest.mark.long
def test_on_a_full_disk_and_when_who_read_its_messages_has_gone(tmp_path: Path) -> None:
    """For people with messages onto the full disk, and then as JSON to somebody who goes."""
    home = make_home(tmp_path / "home", NO_MODEL)
    with small_disk(tmp_path / "disk", megabytes=16) as disk:
        home = shutil.copytree(home, disk / "home", symlinks=True)
        with Path("/dev/full").open("w") as messages, told_to(messages, home) as server:
            server.wait_ready()
            until(lambda: n_dropped(server) > 0, "the count of what was dropped", patience_s=PROCESSES_S)
            meet_a_full_disk(server, disk)
            server.process.kill()  # and what a disk without room left behind hinders no start
            server.process.wait()
        profile = home / "config" / "dev.yaml"
        profile.write_text(json.dumps({**json.loads(profile.read_text()), "log_json": True}))
        read, write = os.pipe()
        with os.fdopen(write, "w") as messages, told_to(messages, home) as again:
            own = {**dict.fromkeys(CHILDREN), "serve": again.process.pid}  # those of the one before are ending
            until(
                lambda: all(again.pid(name) == (pid or pid_of(again, name) or -1) for name, pid in own.items()),
                "all processes",
                patience_s=PROCESSES_S,
            )
            leave(again, read, messages)
            meet_a_full_disk(again, disk)
            children = psutil.Process(again.process.pid).children()
            again.process.terminate()
            assert again.process.wait(timeout=60) == 0, "and it ends in order"
            until(lambda: not any(child.is_running() for child in children), "the end of its children")


def leave(server: Server, read: int, messages: IO[str]) -> None:
    before = n_dropped(server)
    os.close(read)
    messages.close()
    url = server.url
    kill(server, "api")
    assert httpx.get(f"{url}/health", timeout=60).status_code == 200
    until(lambda: n_dropped(server) > before, "the count of what was dropped", patience_s=PROCESSES_S)
    assert "could not be written" in server.detent("status").out


def meet_a_full_disk(server: Server, disk: Path) -> None:
    before = n_dropped(server)
    filler = fill(disk)
    kill(server, "gateway")
    filler.unlink()
    until(lambda: n_dropped(server) > before, "the count of what was dropped", patience_s=PROCESSES_S)
