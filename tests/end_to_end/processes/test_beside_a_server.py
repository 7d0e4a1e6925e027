"""What a person changes beside a running server, by commands and in files, is served and answered at once.

The first bad night is one such story: somebody adopts a bad edit while 12 labels a second come in. The product notices
it, one screen says what happened and who did it, and one command takes it back. Real processes; the application's
users are drawn here.
"""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clock import PROCESSES_S, until
from tests.command_line import Ran
from tests.stand_ins.local_server import local_server
from tests.stand_ins.running_server import Server, make_home, started
from tests.stand_ins.scripted_model import Provider, chat_answer, provider

LABELS_PER_S = 12
WITHIN_S = 100  # in which the drop has to be noticed
LONG = "Hello. " * 60 + "My card was charged twice."  # more than twice as long as any row of the sheet
GOOD, BAD = 0.88, 0.37


class Page(BaseHTTPRequestHandler):
    """Of a proxy in between that answers everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<h1>Welcome</h1>")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()


def done(ran: Ran) -> str:
    assert ran.code == 0, ran.err
    return ran.out + ran.err


class Application:
    """Fetches a prompt for each of its users and reports what became of it."""

    def __init__(self, server: Server, family: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self.client = httpx.Client(base_url=server.url, headers=headers, timeout=30)
        self.family = family
        self.n_users = 0

    def prompt(self, unit: str) -> dict[str, Any]:
        served: dict[str, Any] = self.client.get(f"/v1/families/{self.family}/prompt", params={"unit": unit}).json()
        return served

    def report(self, n: int, bad_variant: str | None = None) -> None:
        """One label each of ``n`` users who were not here before."""
        events = []
        for _ in range(n):
            unit = f"user-{self.n_users}"
            self.n_users += 1
            served = self.prompt(unit)
            rate = BAD if served["variant"] == bad_variant else GOOD
            luck = hashlib.sha256(unit.encode()).digest()[0] / 256
            events.append({"assignment": served["assignment"], "unit": unit, "success": luck < rate})
        answer = self.client.post("/v1/feedback", json=events).json()
        assert answer["accepted"] == n, answer


@pytest.fixture(scope="module")
def model() -> Iterator[Provider]:
    with provider() as running:
        running.answer = lambda body: (200, {}, json.dumps(chat_answer("billing")).encode())
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model: Provider) -> Iterator[Server]:
    with started(make_home(tmp_path_factory.mktemp("night") / "home", model.url)) as made:
        yield made


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a family is made of, as ``detent family create`` takes it."""
    folder = tmp_path_factory.mktemp("sheet")
    (folder / "prompt.txt").write_text("Which team answers? One word.\n{{message}}\n", encoding="utf-8")
    with (folder / "sheet.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [[f"Question number {i} on my bill", ("billing", "support")[i % 2]] for i in range(40)]
        csv.writer(file).writerows([["message", "team"], *rows])
    made_of = ["--from", str(folder / "prompt.txt"), "--examples", str(folder / "sheet.csv")]
    return [*made_of, "--input", "message", "--output", "team"]


def chat(server: Server, family: str) -> httpx.Response:
    body = {"model": family, "messages": [{"role": "user", "content": "request 1"}]}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)


def dependency(server: Server, name: str) -> Any:
    return httpx.get(f"{server.url}/ready", timeout=60).json()["dependencies"][name]


def test_a_model_added_beside_a_running_server_answers_once_a_command_says_so(
    server: Server, model: Provider, words: list[str]
) -> None:
    file, entry = (
        server.home / "config" / "models.yaml",
        {"openai_compatible": model.url, "price": None, "retries": 0},
    )
    models = json.loads(file.read_text())
    file.write_text(json.dumps({**models, "second": {**entry, "model": "second"}}))
    assert "its prompt serves within a second" in done(
        server.detent("family", "create", "desk", *words, "--model", "second")
    )
    until(lambda: chat(server, "desk").status_code == 200, "its first answer")
    assert model.bodies[-1]["model"] == "second"
    smoke = [sys.executable, str(Path(__file__).parents[3] / "deploy" / "smoke.py"), server.url, "--chat", "--report"]
    ran = subprocess.run([*smoke, "--family", "desk"], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout.count("ok    ")) == (0, 6), ran.stdout
    ran = subprocess.run([*smoke, "--family", "nobody"], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout.count("FAIL  ")) == (1, 3), ran.stdout
    with local_server(Page) as smoke[2]:
        ran = subprocess.run([*smoke, "--family", "desk"], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, "<h1>" in ran.stdout.splitlines()[-2]) == (1, True), ran.stderr

    file.write_text(json.dumps({**models, "second": {**entry, "model": "second"}, "third": entry}))
    family = server.home / "families" / "desk" / "family.yaml"
    family.write_text(family.read_text().replace("second", "third").replace("Which team", "Say which team"))
    done(server.detent("family", "adopt", "desk", "--confirm", "desk", "--reason", "a try"))
    until(lambda: chat(server, "desk").status_code == 200 and model.bodies[-1]["model"] == "third", "third")

    good = file.read_text()
    file.write_text("third: {provider: nobody}")
    until(lambda: dependency(server, "models_file")["ok"] is False, "the bad edit", patience_s=PROCESSES_S)
    assert httpx.get(f"{server.url}/ready", timeout=60).status_code == 200
    assert "nobody" not in dependency(server, "models_file")["detail"]
    assert chat(server, "desk").status_code == 200, "by the last good one"
    told = done(server.detent("status"))
    assert "The models file is refused" in told
    assert "/third/provider" in told
    file.write_text(good)
    until(lambda: dependency(server, "models_file")["ok"], "the good one again", patience_s=PROCESSES_S)


def test_a_bad_edit_is_noticed_explained_and_taken_back(
    server: Server, model: Provider, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    family = "mail"
    done(server.detent("family", "create", family, *words))
    created = server.detent("keys", "create", "web", "--role", "feedback", "--close-keyless", "--json")
    assert created.code == 0, created.err
    application = Application(server, family, json.loads(created.out)["secret"])
    until(lambda: application.client.get(f"/v1/families/{family}/prompt").status_code == 200, "the new family")
    nobodys_input_is_cut(application, model)
    good = application.prompt("somebody")["variant"]
    application.report(LABELS_PER_S * 30)

    file = server.home / "families" / family / "family.yaml"
    file.write_text(file.read_text().replace("Which team answers? One word.", "Answer at length."))
    done(server.detent("family", "adopt", family, "--confirm", family, "--reason", "friendlier"))
    first = [f"nobody-{i}" for i in range(8)]  # one in twenty stays on the champion before
    bad = until(lambda: {application.prompt(unit)["variant"] for unit in first} - {good}, "the edit is served").pop()
    nobodys_input_is_cut(application, model)

    for _ in range(WITHIN_S // 10):
        application.report(LABELS_PER_S * 10, bad)
        if alerts(server):
            break
    until(lambda: alerts(server), f"an alert after {WITHIN_S} seconds' labels", PROCESSES_S)
    screen = done(server.detent("status"))
    for said in (bad, good, "friendlier", f"detent champion rollback {family}", "success"):
        assert said in screen
    history = server.detent("champion", "history", family, "--json")
    author = json.loads(history.out)["items"][-1]["by"]
    assert author.startswith("local:")
    assert author in screen

    done(server.detent("champion", "rollback", family, "--reason", "the edit was bad"))
    until(lambda: {application.prompt(f"user-{i}")["variant"] for i in range(40)} == {good}, "the way back")
    until(lambda: not alerts(server), "an alert that closes by itself")


def alerts(server: Server) -> list[str]:
    ran = server.detent("status", "--json")
    assert ran.code == 0, ran.err
    return [one["detail"] for one in json.loads(ran.out)["alerts"] if one["kind"] == "champion_worse"]


def nobodys_input_is_cut(application: Application, model: Provider) -> None:
    """The matter stands in the last sentence, on both ways in."""
    rendered = application.client.post(
        f"/v1/families/{application.family}/render", json={"unit": "writer", "variables": {"message": LONG}}
    ).json()
    assert LONG in rendered["messages"][-1]["content"]
    chat = {"model": application.family, "user": "writer", "messages": [{"role": "user", "content": LONG}]}
    answer = until(
        lambda: (now := application.client.post("/v1/chat/completions", json=chat)).status_code == 200 and now,
        "a chat that the gateway answers, which reads families once a second",
    )
    assert LONG in model.bodies[-1]["messages"][-1]["content"]
    assert not answer.json()["detent"].get("truncated")
