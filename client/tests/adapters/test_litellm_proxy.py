"""LiteLLM's proxy in a process of its own, between a caller and a server that speaks OpenAI's protocol."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

pytest.importorskip(
    "litellm_proxy_extras", reason="LiteLLM's proxy is not installed here: `make test-adapters` tests it"
)

EXAMPLE = Path(__file__).parents[3] / "examples" / "litellm_proxy"
KEY = "sk-" + secrets.token_hex(32)
PATIENCE_S = 500.0  # its modules take a minute and more to load on a busy machine


@pytest.fixture
def proxy(tmp_path: Path, provider, detent_url, until):
    for file in EXAMPLE.glob("*.*"):
        shutil.copy(file, tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("litellm")),
            "--config",
            "config.yaml",
            "--port",
            str(port),
            "--host",
            "127.0.0.1",
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "DETENT_SERVER": detent_url,
            "OPENAI_BASE_URL": provider.url,
            "OPENAI_API_KEY": "x",
            "LITELLM_MASTER_KEY": KEY,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        },
        stdout=(tmp_path / "log").open("w"),
        stderr=subprocess.STDOUT,
    )
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", timeout=60.0, headers={"Authorization": f"Bearer {KEY}"}
    ) as caller:

        def is_ready() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
            try:
                return caller.get("/health/liveliness").status_code == 200
            except httpx.TransportError:
                return False

        until(is_ready, "the proxy", patience_s=PATIENCE_S)
        yield caller
    process.terminate()
    process.wait(30)


@pytest.mark.timeout(600)
def test_a_caller_of_the_proxy_names_a_family_and_gets_the_assignment_in_a_header(
    proxy, provider, server, served, until
) -> None:
    server.families["triage"] = {"champion": served("Is it {{message}}?", model={"name": "gpt-4o", "temperature": 0.0})}
    request = {
        "model": "gpt-4o-mini",
        "messages": [],
        "prompt_id": "triage",
        "prompt_variables": {"message": "slow"},
        "user": "ann",
    }
    answer = proxy.post("/v1/chat/completions", json=request)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "billing"
    (sent,) = provider.requests
    assert (sent["model"], sent["messages"][0]["content"], sent["temperature"]) == ("gpt-4o", "Is it slow?", 0.0)
    (event,) = until(lambda: server.events, "the record")
    assert (event["unit"], event["variant"], event["output"]) == ("ann", "v_champion", "billing")
    assert answer.headers["x-detent-assignment"].startswith("dca_")
    assert answer.headers["x-detent-interaction"] == event["id"]
    streamed = proxy.post("/v1/chat/completions", json={**request, "stream": True})
    pieces = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    assert (
        "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces if piece["choices"]) == "billing"
    )
    until(lambda: len(server.events) == 2, "the record of the stream")
    assert server.n_exposed == 2
