"""Open answers without one expected output, by the commands of docs/how-to/score-open-answers-with-a-judge.md: a judge,
twenty ratings, a stated agreement, a study, a gate before the answer goes out, and a figure with its interval.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from optimizer.jobs.feedback import calibrate_judge
from tests.command_line import Ran, detent
from tests.stand_ins.letter_provider import LetterProvider, letter_provider, quality
from tests.worlds.gateway_world import load_settings, running

GATED = """
    '2':
      description: weak letters are held back
      policy: {gate.scorer: judge, gate.threshold: 0.7, gate.retries: 1, gate.prompts: [Be kind.]}
      content:
      - {role: system, content: Reply to the letter.}
      - {role: examples}
      - {role: user, content: 'Letter: {{letter}}'}
"""


@pytest.fixture
def provider() -> Iterator[LetterProvider]:
    with letter_provider() as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, provider: LetterProvider, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project with two models, a prompt, and a file of inputs."""
    home = tmp_path / "home"
    assert detent("init", str(home)).code == 0
    model = {"openai_compatible": provider.url, "price": {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}}
    entries = {"writer": {**model, "max_output_tokens": 100}, "large": {**model, "max_output_tokens": 600}}
    with (home / "config" / "models.yaml").open("a") as file:
        file.write("".join(f"{name}: {json.dumps(entry)}\n" for name, entry in entries.items()))
    (home / "prompt.txt").write_text("Reply to the letter.\n\nLetter: {{letter}}\n")
    rows = ({"id": f"a{i}", "input": {"letter": f"My parcel {i} is late. What now?"}} for i in range(60))
    (home / "letters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("DETENT_HOME", str(home))
    monkeypatch.chdir(home)
    monkeypatch.setattr(calibrate_judge, "SETTLED", timedelta(0))  # else a minute is waited for late events
    return home


def did(*words: str) -> Ran:
    ran = detent(*words)
    assert ran.code == 0, f"{' '.join(words)}\n{ran.out}\n{ran.err}"
    return ran


def edit(home: Path, before: str, after: str) -> None:
    file = home / "families" / "letters" / "family.yaml"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def chat(home: Path, n: int, first: int = 0) -> list[dict[str, Any]]:
    """Users ask; the gateway answers."""
    with running(load_settings(home=home)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        return [
            client.post(
                "/v1/chat/completions",
                json={
                    "model": "letters",
                    "messages": [{"role": "user", "content": f"Order {i}: where?"}],
                    "user": f"u{i}",
                },
            ).json()
            for i in range(first, first + n)
        ]


def test_twenty_ratings_make_a_scorer_a_study_a_gate_and_a_figure(home: Path, provider: LetterProvider) -> None:
    refused = detent("family", "create", "letters", "--from", "prompt.txt", "--examples", "letters.jsonl")
    assert (refused.code, "name a model that judges: --judge MODEL" in refused.err) == (2, True)
    did(
        "family",
        "create",
        "letters",
        "--from",
        "prompt.txt",
        "--examples",
        "letters.jsonl",
        "--output",
        "reply",
        "--model",
        "writer",
        "--judge",
        "large",
    )
    assert "No answer of the last 30 days is left to score" in did("judge", "score", "letters").err

    chat(home, 22)
    assert "22 answers judged, 0 not measured" in did("judge", "score", "letters", "--budget-usd", "1").out
    assert "It never decides alone" in did("judge", "show", "letters").out
    did("review", "draw", "letters", "--n", "20")
    listed = did("review", "list", "--family", "letters", "--json").json["items"]
    for one in listed:
        did("review", "answer", one["id"], f"{quality(one['output']):g}")
    did("judge", "calibrate", "letters")
    shown = did("judge", "show", "letters")
    assert "It may decide: people's ratings vouch for it." in shown.out
    assert re.search(r"rank correlation with the ratings +0\.\d", shown.out)
    assert re.search(r"Quality of 22 judged answers: 0\.\d+, 95 % interval 0\.\d+ to 0\.\d+", shown.err)

    kind = "Reply to the letter. Be kind: say when it arrives."
    edit(home, "space:\n", f'space:\n  instruction: {{choices: ["{kind}"]}}\n')
    edit(home, "max_tokens: 512", "max_tokens: 60")
    (home / "study.yaml").write_text("{n_train: 4, n_dev: 6, n_holdout: 8, n_settings: 2}\n")
    study = ("study", "run", "letters", "--strategy", "joint", "--budget-usd", "5", "--definition", "study.yaml")
    assert "with model writer, and large" in did(*study, "--dry-run").out
    found = did(*study).out
    assert "Scores are a judge's, which follow people's ratings at a rank correlation of" in found.replace("\n", " ")
    assert re.search(r"judge_calibrated +pass", found)
    assert "only the number of holdout examples falls short" in found.replace("\n", " ")

    edit(home, "model:\n  default", f"{GATED.strip(chr(10))}\nmodel:\n  default")
    edit(home, "current: '1'", "current: '2'")
    did("family", "adopt", "letters", "--confirm", "letters")
    before = provider.asked["large"]
    answers = chat(home, 5, first=100)
    held_back = [one for one in answers if "after 1 more" in one["detent"]["why"]]
    assert held_back
    assert all(re.search(r"score 0\.\d+ of 0\.7", one["detent"]["why"]) for one in answers)
    assert provider.asked["large"] == before + 5 + len(held_back)
    provider.silent = True
    (silent,) = chat(home, 1, first=200)
    assert "no score for the gate: the judge could not be measured" in silent["detent"]["why"]
