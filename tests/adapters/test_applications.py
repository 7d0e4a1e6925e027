"""Applications of examples/ as processes of their own, beside a running Detent and a provider. Those of ten_lines
answer before and after their ten lines; after them their customers stand in arms, and outcomes are counted there.

`make test-adapters` runs this; what docs/how-to/ten-lines.md has typed is typed here.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from optimizer.host.config import load_settings
from optimizer.jobs.families.shipped_files import init_project
from tests.clock import PROCESSES_S, until
from tests.stand_ins.running_server import Server, tell_mlflow_later
from tests.stand_ins.scripted_model import Provider, chat_answer, provider

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "ten-lines.md").read_text(encoding="utf-8")
LANGCHAIN = Path(os.environ.get("DETENT_LANGCHAIN_PYTHON", ROOT / ".venv-adapters" / "langchain" / "bin" / "python"))
N_CUSTOMERS = 60


def typed(beginning: str) -> list[str]:
    """The words of the page's command that begins so, without `detent`."""
    command = next(line for line in PAGE.splitlines() if line.startswith(f"detent {beginning}"))
    return shlex.split(command)[1:]


def run(server: Server, *words: str) -> str:
    """What the command prints."""
    ran = server.detent(*words)
    assert ran.code == 0, (words, ran.out, ran.err)
    return ran.out


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def model() -> Iterator[Provider]:
    """A provider that speaks OpenAI's protocol."""
    with provider() as state:
        state.answer = lambda body: (200, {}, json.dumps(chat_answer("billing")).encode())  # type: ignore[method-assign]
        yield state


@pytest.fixture
def detent(tmp_path_factory: pytest.TempPathFactory, model: Provider) -> Iterator[Server]:
    """A running service with the page's family, whose canary has half of the customers."""
    folder = tmp_path_factory.mktemp("ten_lines")
    home = folder / "home"
    init_project(home)
    entry = {"openai_compatible": model.url, "model": "m", "max_output_tokens": 8}
    entry["price"] = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
    (home / "config" / "models.yaml").write_text(json.dumps({"embedded": entry, "gpt-4o-mini": entry}))
    (home / "config" / "dev.yaml").write_text(json.dumps({"port": free_port(), "tick_seconds": 1}))
    tell_mlflow_later(load_settings(home=home))
    (folder / "prompt.txt").write_text(re.search(r"`prompt.txt`:\n\n```\n(.*?)```", PAGE, re.DOTALL)[1])  # type: ignore[index]
    with (folder / "tickets.csv").open("w", newline="") as sheet:
        csv.writer(sheet).writerows(
            [("message", "topic")] + [(f"m {n}", ("billing", "technical")[n % 2]) for n in range(8)]
        )
    (folder / "shorter.json").write_text(re.search(r"`(\[\{.*?\}\])`", PAGE)[1])  # type: ignore[index]
    server = Server(home)
    try:
        server.wait_ready()
        os.chdir(folder)
        run(server, *typed("family create"))
        yield server
    finally:
        os.chdir(ROOT)
        server.end()


class Application:
    """One form of an example, as a process: ``sort`` a request, and ``close`` it."""

    def __init__(self, kind: str, code: Path, environment: dict[str, str]) -> None:
        self.kind, self.port = kind, free_port()
        web = [sys.executable, "-m", "uvicorn", f"{code.stem}:app", "--port", str(self.port), "--log-level", "warning"]
        words = web if kind == "fastapi" else [str(LANGCHAIN), str(code)]
        self.process = subprocess.Popen(
            words, cwd=code.parent, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if kind == "fastapi":
            until(self._is_up, "the application", patience_s=PROCESSES_S)

    def _is_up(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/openapi.json").status_code == 200
        except httpx.TransportError:
            assert self.process.poll() is None, "the application ended"
            return False

    def sort(self, id: str, customer: str) -> dict[str, Any]:
        ticket = {"id": id, "customer": customer, "text": "Where is my invoice?"}
        return self._post("/tickets", ticket) if self.kind == "fastapi" else self._say(ticket)

    def close(self, id: str, *, was_moved: bool) -> dict[str, Any]:
        if self.kind == "fastapi":
            return self._post(f"/tickets/{id}/close?was_moved={was_moved}", None)
        return self._say({"id": id, "was_moved": was_moved})

    def _post(self, path: str, said: Any) -> dict[str, Any]:
        answer = httpx.post(f"http://127.0.0.1:{self.port}{path}", json=said, timeout=30)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def _say(self, said: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(said) + "\n")
        self.process.stdin.flush()
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told

    def end(self) -> None:
        """As each is ended in use: a signal, or no more input. What waits is sent."""
        if self.kind == "fastapi":
            self.process.terminate()
        else:
            assert self.process.stdin is not None
            self.process.stdin.close()
        assert self.process.wait(timeout=60) in (0, -15)


@contextmanager
def running(kind: str, form: str, folder: Path, model_url: str, detent_url: str) -> Iterator[Application]:
    code = (ROOT / "examples" / "ten_lines" / f"{kind}_{form}.py").read_text(encoding="utf-8")
    file = folder / f"{kind}_{form}.py"
    file.write_text(code.replace("http://127.0.0.1:8321", detent_url))
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": model_url,
        "OPENAI_API_KEY": "x",
        "PYTHONPATH": str(ROOT / "client"),
    }
    application = Application(kind, file, environment)
    try:
        yield application
    finally:
        application.end()


@pytest.mark.parametrize("kind", ["fastapi", "langchain"])
def test_the_application_serves_before_and_after_and_its_outcomes_stand_in_arms(
    detent: Server, model: Provider, tmp_path: Path, kind: str
) -> None:
    if kind == "langchain" and not LANGCHAIN.exists():
        pytest.skip("`make test-adapters` makes the environment that has LangChain")
    url, requests = model.url, model.bodies
    with running(kind, "before", tmp_path, url, detent.url) as application:
        assert application.sort("1", "ann") == {"topic": "billing"}
        assert application.close("1", was_moved=False)["topic"] == "billing"
    with running(kind, "after", tmp_path, url, detent.url) as application:
        assert application.sort("1", "ann") == {"topic": "billing"}
        assert "Where is my invoice?" in requests[-1]["messages"][-1]["content"]
        created = run(detent, *typed("variant create"), "--json")
        candidate = json.loads(created)["variant"]
        until(lambda: items(detent, "interactions"), "the first report")
        start = [candidate if word == "v_…" else word for word in typed("rollout start")]
        run(detent, *start, "--ladder", "0.5")
        run(detent, *typed("rollout approve"))
        until(lambda: candidate in httpx.get(f"{detent.url}/v1/snapshot").text, "the canary")
        shorter = "Billing or technical? Where is my invoice?"
        until(lambda: candidates_of(application, requests, shorter), "the application to hear of it")
        sent = candidates_of(application, requests, shorter)
        for customer in range(N_CUSTOMERS):
            application.close(f"t{customer}", was_moved=customer % 3 == 0)
        assert 0 < sent < N_CUSTOMERS
    outcomes = until(lambda: len(o := items(detent, "feedback")) >= N_CUSTOMERS and o, "the outcomes")
    rollout = httpx.get(f"{detent.url}/v1/families/triage/rollout").json()["id"]
    in_rollout = [one for one in outcomes if one["rollout"] == rollout]
    assert len(in_rollout) == N_CUSTOMERS
    assert sum(one["variant"] == candidate for one in in_rollout) == sent
    assert sum(one["success"] for one in in_rollout) == N_CUSTOMERS - N_CUSTOMERS // 3
    reported = [one for one in items(detent, "interactions") if one["rollout"] == rollout]
    assert {one["output"] for one in reported} == {"billing"}
    assert sum(one["variant"] == candidate for one in reported) >= sent


def test_the_application_with_flags_of_openfeature_serves_and_its_outcomes_are_counted(
    detent: Server, model: Provider
) -> None:
    mails = [{"id": f"m{n}", "customer": f"customer-{n}", "text": "Where is my invoice?"} for n in range(6)]
    verdicts = [{"id": mail["id"], "was_moved": mail["id"] == "m0"} for mail in mails]
    environment = {**os.environ, "OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "x", "DETENT_SERVER": detent.url}
    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "openfeature_flags.py")],
        input="\n".join(json.dumps(one) for one in [*mails, *verdicts]),
        env=environment | {"PYTHONPATH": str(ROOT / "client")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert [json.loads(line)["topic"] for line in ran.stdout.splitlines()] == ["billing"] * 6
    assert [body["model"] for body in model.bodies] == ["gpt-4o-mini"] * 6
    champion = httpx.get(f"{detent.url}/v1/families/triage").json()["champion"]["variant"]
    outcomes = until(lambda: len(seen := items(detent, "feedback")) == 6 and seen, "the outcomes")
    assert sorted(one["success"] for one in outcomes) == [False, True, True, True, True, True]
    assert {one["variant"] for one in outcomes} == {champion}
    assert {one["output"] for one in items(detent, "interactions")} == {"billing"}


def candidates_of(application: Application, requests: list[dict[str, Any]], text: str) -> int:
    """How many of all customers are asked the candidate's question."""
    requests.clear()
    for customer in range(N_CUSTOMERS):
        application.sort(f"t{customer}", f"customer-{customer}")
    return sum(text in str(request["messages"]) for request in requests)


def items(detent: Server, what: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = httpx.get(f"{detent.url}/v1/{what}?family=triage&limit=500").json()["items"]
    return listed
