"""An api that starts again where nothing can be written serves champions from what it can read,
and takes feedback once it can be written.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.clock import PROCESSES_S, until
from tests.forked import Forked
from tests.stand_ins.small_disk import fill, small_disk
from tests.worlds.api_world import make_home

EVENT = {"family": "triage", "unit": "u", "success": True}


@contextmanager
def api(home: Path) -> Iterator[tuple[Forked, str]]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DETENT_")} | {"DETENT_HOME": str(home)}
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        command = [sys.executable, "-m", "optimizer.processes", "api", "--fd", str(listening.fileno())]
        process = Forked(command, env=environment, stdin=subprocess.PIPE, pass_fds=[listening.fileno()])
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        until(lambda: champion(process, url), "the champion", PROCESSES_S)
        yield process, url
    finally:
        process.kill()
        process.wait()


def post(url: str) -> int:
    return httpx.post(f"{url}/v1/feedback", json=EVENT, timeout=60).status_code


def store_detail(url: str) -> str:
    """Why the api is not ready; a file that a killed process left may have room for a few more events."""
    ready = httpx.get(f"{url}/ready", timeout=20)
    if ready.status_code == 200:
        post(url)
        return ""
    detail: str = ready.json()["dependencies"]["store"]["detail"]
    return detail


def champion(process: Forked, url: str) -> bool:
    assert process.poll() is None, "the api has ended"
    try:
        return httpx.get(f"{url}/v1/families/triage/prompt", timeout=20).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module", params=["killed", "in order"])
def used_home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose api has run before, and how that ended: killed or in order.

    Each test copies it onto a disk of its own.
    """
    home = tmp_path_factory.mktemp("used") / "home"
    home.mkdir()
    make_home(home)
    with api(home) as (process, _):
        if request.param == "in order":
            process.terminate()
            process.wait()
    return home


def test_on_a_full_disk(tmp_path: Path, used_home: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        home = shutil.copytree(used_home, disk / "home")
        filler = fill(disk)
        with api(home) as (_, url):
            until(lambda: post(url) == 503, "a log without room for one more event", PROCESSES_S)
            until(lambda: store_detail(url).startswith("The store cannot be used: "), "red", PROCESSES_S)
            filler.unlink()
            until(lambda: httpx.get(f"{url}/ready", timeout=20).status_code == 200, "green by itself", PROCESSES_S)
            until(lambda: post(url) == 200, "feedback", PROCESSES_S)
            assert httpx.get(f"{url}/v1/families/triage/prompt", timeout=20).status_code == 200


def test_on_a_disk_that_can_only_be_read(tmp_path: Path, used_home: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        home = shutil.copytree(used_home, disk / "home")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with api(home) as (_, url):
            assert post(url) == 503
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            until(lambda: post(url) == 200, "feedback", PROCESSES_S)
