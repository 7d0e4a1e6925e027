"""docs/tutorial/first-rollout.md, run from top to bottom: every command it shows answers what it shows.

The model is scripted (right as soon as the prompt shows examples), the API and the worker's tick are in this process.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from tests import command_line
from tests.stand_ins.scripted_model import chat_answer, provider
from tests.worlds.api_world import World, serving

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "tutorial" / "first-rollout.md").read_text(encoding="utf-8")
SHEET = [
    json.loads(line)
    for line in (ROOT / "optimizer/templates/families/support_topics/examples.jsonl").read_text().splitlines()
]


def steps() -> Iterator[tuple[str, str]]:
    """Command and what the page shows below it, in order."""
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = step.partition("\n")
            yield command, shown


def pattern(shown: str) -> str:
    """``…`` within a line stands for anything in it, alone on a line for any lines."""
    lines = (
        r"(?:.*\n)*?" if line == "…" else "[^\n]*".join(map(re.escape, line.split("…"))) + r" *\n"
        for line in shown.splitlines()
    )
    return "".join(lines)


def topic(body: dict[str, Any]) -> str:
    asked = body["messages"][-1]["content"]
    if not any(message["role"] == "assistant" for message in body["messages"]):
        return "payment"
    return next(str(row["expected"]["topic"]) for row in SHEET if row["input"]["message"] in asked)


@pytest.fixture
def walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A home with what the page says one needs: a prompt, a sheet and a model."""
    home = tmp_path / "home"
    for name, value in {"DETENT_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "300"}.items():
        monkeypatch.setenv(name, value)
    assert command_line.detent("init", str(home)).code == 0
    monkeypatch.chdir(home)
    blocks = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", PAGE, re.MULTILINE)
    (home / "prompt.txt").write_text(
        "".join(line[4:] or "\n" for line in blocks[0].strip("\n").splitlines(True)), encoding="utf-8"
    )
    with (home / "sheet.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [["message", "topic"], *([row["input"]["message"], row["expected"]["topic"]] for row in SHEET)]
        )
    with provider() as model:
        model.answer = lambda body: (200, {}, json.dumps(chat_answer(topic(body))).encode())
        price = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
        entry = {"openai_compatible": model.url, "model": "m", "price": price, "max_output_tokens": 8}
        (home / "config" / "models.yaml").write_text(json.dumps({"embedded": entry}), encoding="utf-8")
        with serving(load_settings()) as world:
            yield world


def curl(world: World, words: list[str], token: str) -> str:
    options = dict(pairwise(words))
    url = next(word for word in words if word.startswith("http")).removeprefix("http://127.0.0.1:8321")
    name, value = options["-H"].split(": ")
    body = options.get("-d", "").replace("TOKEN", token)
    return (
        str(world.client.request(options.get("-X", "GET"), url, headers={name: value}, content=body or None).text)
        + "\n"
    )


def test_the_tutorial_shows_what_its_commands_say(walk: World) -> None:
    token = winner = ""
    for command, shown in steps():
        words = shlex.split(command.replace("v_…", winner))
        if words[0] == "curl":
            said = [curl(walk, words[1:], token)]
            token = token or json.loads(said[0])["assignment"]
        else:
            worker = wiring.worker_lock(walk.shared.settings)  # the page's server brings one; studies are run here
            is_rollout = words[1] == "rollout" and worker.acquire()
            ran = command_line.detent(*words[1:])
            if is_rollout:
                worker.release()
            said = [ran.err + ran.out, ran.out + ran.err]
        assert any(re.fullmatch(pattern(shown), text.lstrip("\n")) for text in said), (
            f"$ {command}\n{said[0]}\nThe page shows:\n{shown}"
        )
        if words[1:3] == ["study", "run"] and "--dry-run" not in words:
            winner = command_line.detent("study", "show", "triage", "--json").json["study"]["winner"]
        walk.tick()
        walk.shared.serving.refresh()
    assert len(list(steps())) == PAGE.count("\n$ "), "a command in a block of another form is not run"
