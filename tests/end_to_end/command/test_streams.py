"""What a command line says in a process of its own when its streams end, fill up or are closed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.command_line import new_project
from tests.stand_ins.running_server import CLI

HELLO = (
    '{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2024-11-05",'
    ' "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}}\n'
)


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    new_project(tmp_path / "home")
    return {**os.environ, "DETENT_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}


@pytest.mark.parametrize(
    ("line", "code", "unbuffered"),
    [("--help", 0, ""), ("family show nobody --json", 1, "1"), ("mcp", 0, "")],
)
def test_a_command_whose_reader_went_ends_as_if_it_had_been_read(
    environment: Mapping[str, str], line: str, code: int, unbuffered: str
) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        ran = subprocess.run(
            [*CLI, *line.split()],
            input=HELLO.encode(),  # for mcp
            stdout=write,
            stderr=subprocess.PIPE,
            env={**environment, "PYTHONUNBUFFERED": unbuffered},
            timeout=60,
        )
    finally:
        os.close(write)
    assert (ran.returncode, b"Traceback" in ran.stderr, b"Broken pipe" in ran.stderr) == (code, False, False)


@pytest.mark.parametrize(("line", "unbuffered"), [("--help", "1"), ("alerts rules --json", "")])
def test_a_full_disk_behind_the_output_is_one_sentence(
    environment: Mapping[str, str], line: str, unbuffered: str
) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [*CLI, *line.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**environment, "PYTHONUNBUFFERED": unbuffered},
            text=True,
            timeout=60,
        )
    assert (ran.returncode, ran.stderr) == (1, "The output cannot be written: No space left on device.\n")


@pytest.mark.parametrize(
    ("line", "shows"),
    [
        ("freeze 2>/dev/full", ""),  # messages are no results
        ("family list <&- 2>&-", "support_topics"),
        ("status >&- 2>&- <&-", ""),
    ],
)
def test_streams_that_the_caller_closed_are_empty_and_take_everything(
    environment: Mapping[str, str], line: str, shows: str
) -> None:
    command = f'exec "{sys.executable}" -c "{CLI[-1]}" {line}'
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, timeout=60)
    assert (ran.returncode, "Traceback" in ran.stderr) == (0, False), ran.stderr
    assert shows in ran.stdout
