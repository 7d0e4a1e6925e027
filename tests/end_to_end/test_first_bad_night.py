"""The first bad night, from end to end: somebody adopts a bad edit while 12 labels a second come in.

The product notices it, one screen says what happened and who did it, and one command takes it back, with keys and
without. Real processes; the application's users are drawn here.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clock import until
from tests.command_line import Ran
from tests.running_server import Server, make_home, started
from tests.scripted_model import Provider, chat_answer, provider

LABELS_PER_S = 12
WITHIN_S = 600  # in which the drop has to be noticed
LONG = "Hello. " * 60 + "My card was charged twice."  # more than twice as long as any row of the sheet
GOOD, BAD = 0.88, 0.37


def done(ran: Ran) -> str:
    assert ran.code == 0, ran.err
    return ran.out + ran.err


class Application:
    """Fetches a prompt for each of its users and reports what became of it."""

    def __init__(self, server: Server, key: str | None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = httpx.Client(base_url=server.url, headers=headers, timeout=30)
        self.n_users = 0

    def prompt(self, unit: str) -> dict[str, Any]:
        served: dict[str, Any] = self.client.get("/v1/families/triage/prompt", params={"unit": unit}).json()
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


@pytest.fixture
def model() -> Iterator[Provider]:
    with provider() as running:
        running.answer = lambda body: (200, {}, json.dumps(chat_answer("billing")).encode())
        yield running


@pytest.fixture
def home(tmp_path: Path, model: Provider) -> Path:
    folder = make_home(tmp_path / "home", model.url)
    (tmp_path / "prompt.txt").write_text("Which team answers? One word.\n{{message}}\n", encoding="utf-8")
    with (tmp_path / "sheet.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [[f"Question number {i} on my bill", ("billing", "support")[i % 2]] for i in range(40)]
        csv.writer(file).writerows([["message", "team"], *rows])
    return folder


@pytest.mark.parametrize("has_keys", [False, True], ids=["without keys", "with keys"])
def test_a_bad_edit_is_noticed_explained_and_taken_back(
    tmp_path: Path, home: Path, model: Provider, monkeypatch: pytest.MonkeyPatch, has_keys: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    with started(home) as server:
        create = ["family", "create", "triage", "--from", str(tmp_path / "prompt.txt"), "--examples"]
        done(server.detent(*create, str(tmp_path / "sheet.csv"), "--input", "message", "--output", "team"))
        key = None
        if has_keys:
            created = server.detent("keys", "create", "web", "--role", "feedback", "--json")
            assert created.code == 0, created.err
            key = json.loads(created.out)["secret"]
        application = Application(server, key)
        until(lambda: application.client.get("/v1/families/triage/prompt").status_code == 200, "the new family")
        nobodys_input_is_cut(application, model)
        good = application.prompt("somebody")["variant"]
        application.report(LABELS_PER_S * 30)

        file = home / "families" / "triage" / "family.yaml"
        file.write_text(file.read_text().replace("Which team answers? One word.", "Answer at length."))
        done(server.detent("family", "adopt", "triage", "--confirm", "triage", "--reason", "friendlier"))
        first = [f"nobody-{i}" for i in range(8)]  # one in twenty stays on the champion before
        bad = until(
            lambda: {application.prompt(unit)["variant"] for unit in first} - {good}, "the edit is served"
        ).pop()
        nobodys_input_is_cut(application, model)

        for _ in range(WITHIN_S // 10):
            application.report(LABELS_PER_S * 10, bad)
            if alerts(server):
                break
        until(lambda: alerts(server), f"an alert after {WITHIN_S} seconds' labels")
        screen = done(server.detent("status"))
        for said in (bad, good, "friendlier", "detent champion rollback triage", "success"):
            assert said in screen
        history = server.detent("champion", "history", "triage", "--json")
        author = json.loads(history.out)["items"][-1]["by"]
        assert author.startswith("local:")
        assert author in screen

        done(server.detent("champion", "rollback", "triage", "--reason", "the edit was bad"))
        until(lambda: {application.prompt(f"user-{i}")["variant"] for i in range(40)} == {good}, "the way back")
        until(lambda: not alerts(server), "an alert that closes by itself")


def alerts(server: Server) -> list[str]:
    ran = server.detent("status", "--json")
    assert ran.code == 0, ran.err
    return [one["detail"] for one in json.loads(ran.out)["alerts"] if one["kind"] == "champion_worse"]


def nobodys_input_is_cut(application: Application, model: Provider) -> None:
    """The matter stands in the last sentence, on both ways in."""
    rendered = application.client.post(
        "/v1/families/triage/render", json={"unit": "writer", "variables": {"message": LONG}}
    ).json()
    assert LONG in rendered["messages"][-1]["content"]
    chat = {"model": "triage", "user": "writer", "messages": [{"role": "user", "content": LONG}]}
    answer = until(
        lambda: (now := application.client.post("/v1/chat/completions", json=chat)).status_code == 200 and now,
        "a chat that the gateway answers, which reads families once a second",
    )
    assert LONG in model.bodies[-1]["messages"][-1]["content"]
    assert not answer.json()["detent"].get("truncated")
