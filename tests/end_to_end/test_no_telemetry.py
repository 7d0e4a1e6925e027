"""Every connection that the processes open from Python is noted by an audit hook in each of them: none leads off this machine."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.clock import PROCESSES_S, until
from tests.running_server import Server, make_home
from tests.scripted_model import chat_answer, provider

HOOK = """
import sys

def note(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    with open(NOTED, "a") as out:
        out.write(f"{host} {event} {' '.join(sys.orig_argv[1:4])!r}\\n")

sys.addaudithook(note)
"""
HERE = ("127.0.0.1", "::1", "localhost", "b'127.0.0.1'", "b'localhost'", "None")


def test_the_service_connects_to_this_machine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes but MLflow, and a study in the worker with DSPy, Optuna and LiteLLM loaded."""
    noted = tmp_path / "connections"
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(f"NOTED = {str(noted)!r}\n{HOOK}", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hook"))
    with provider() as model:
        model.answer = lambda body: (200, {}, json.dumps(chat_answer("payment")).encode())
        server = Server(make_home(tmp_path / "home", model.url))
        try:
            server.wait_ready()
            examples = str(server.home / "families" / "support_topics" / "examples.jsonl")
            assert server.detent("import", examples, "--family", "support_topics", "--curated").returncode == 0
            ran = server.detent("study", "run", "support_topics", "--budget-calls", "150", "--no-follow", "--json")
            assert ran.returncode == 0, ran.stderr
            study = f"{server.url}/v1/studies/{json.loads(ran.stdout)['study']['id']}"
            until(lambda: httpx.get(study, timeout=30).json()["status"] == "finished", "the study's end", patience_s=PROCESSES_S)
        finally:
            server.end()
    lines = noted.read_text(encoding="utf-8").splitlines()
    assert any("worker" in line for line in lines), "the worker's calls of the model are seen"
    assert [line for line in lines if line.split(" ")[0] not in HERE] == []
