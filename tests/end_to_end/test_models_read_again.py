"""config/models.yaml edited beside a running server: what a command says serves is answered at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from tests.clock import PROCESSES_S, until
from tests.running_server import Server, make_home, started
from tests.scripted_model import chat_answer, provider

SHEET = "text,topic\n" + "".join(f"request {i},{('billing', 'technical')[i % 2]}\n" for i in range(12))


def chat(server: Server, family: str) -> httpx.Response:
    body = {"model": family, "messages": [{"role": "user", "content": "request 1"}]}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)


def dependency(server: Server, name: str) -> Any:
    return httpx.get(f"{server.url}/ready", timeout=60).json()["dependencies"][name]


def test_a_model_added_beside_a_running_server_answers_once_a_command_says_so(tmp_path: Path) -> None:
    with provider() as behind:
        behind.answer = lambda body: (200, {}, json.dumps(chat_answer("billing")).encode())
        home = make_home(tmp_path / "home", behind.url)
        file, entry = home / "config" / "models.yaml", {"openai_compatible": behind.url, "price": None, "retries": 0}
        models = json.loads(file.read_text())
        (home / "prompt.txt").write_text("Billing or technical? {{text}}")
        (home / "sheet.csv").write_text(SHEET)
        with started(home) as server:
            file.write_text(json.dumps({**models, "second": {**entry, "model": "second"}}))
            words = ("--from", "prompt.txt", "--examples", "sheet.csv", "--model", "second")
            made = server.another("family", "create", "desk", *words)
            assert made.returncode == 0, made.stderr
            assert "its prompt serves within a second" in made.stderr
            until(lambda: chat(server, "desk").status_code == 200, "its first answer")
            assert behind.bodies[-1]["model"] == "second"

            file.write_text(json.dumps({**models, "second": {**entry, "model": "second"}, "third": entry}))
            family = home / "families" / "desk" / "family.yaml"
            family.write_text(family.read_text().replace("second", "third").replace("Billing or", "Say billing or"))
            adopted = server.another("family", "adopt", "desk", "--confirm", "desk", "--reason", "a try")
            assert adopted.returncode == 0, adopted.stderr
            until(lambda: chat(server, "desk").status_code == 200 and behind.bodies[-1]["model"] == "third", "third")

            good = file.read_text()
            file.write_text("third: {provider: nobody}")
            until(lambda: dependency(server, "models_file")["ok"] is False, "the bad edit", patience_s=PROCESSES_S)
            assert httpx.get(f"{server.url}/ready", timeout=60).status_code == 200
            assert "nobody" not in dependency(server, "models_file")["detail"]
            assert chat(server, "desk").status_code == 200, "by the last good one"
            told = server.another("status")
            assert "The models file is refused" in told.stdout
            assert "/third/provider" in told.stdout
            file.write_text(good)
            until(lambda: dependency(server, "models_file")["ok"], "the good one again", patience_s=PROCESSES_S)
