"""The package of docs/how-to/add-a-strategy-or-scorer.md, built as it stands there and installed beside Detent:
a study with its strategy, its scorer and its parser.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from optimizer.runtime import wiring
from tests import command_line
from tests.gateway_world import make_home
from tests.scripted_model import chat_answer, provider
from tests.study_world import TOPIC_FAMILY, TOPICS, topic_examples

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-strategy-or-scorer.md"
FILES = re.compile(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FREE = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
SCORED = {**TOPIC_FAMILY, "output": {"field": "topic", "parser": "last_line"}, "scorer": {"likeness": 1.0}}


def topic(body: dict[str, Any]) -> str:
    """Right where the prompt has the page's second opening, else the first letter of what is right."""
    messages = body["messages"]
    right = next(word for word in TOPICS if word in messages[-1]["content"])
    return right if messages[0]["content"].startswith("Answer with one word.") else TOPICS[0]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's package lies once its wheel is unpacked, as an installer does it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name, text in FILES.findall(PAGE.read_text(encoding="utf-8")):
        (source / name).write_text(text, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=source,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = (source / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(target)
    return target


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A project whose family is scored by a built-in metric so far: this process has not the package."""
    with provider() as model:
        model.answer = lambda body: (200, {}, json.dumps(chat_answer(f"Let me see.\n{topic(body)}")).encode())
        models = {"fake": {"openai_compatible": model.url, "model": "m", "price": FREE, "max_output_tokens": 8}}
        settings = make_home(tmp_path, {"topics": json.dumps(TOPIC_FAMILY)}, models)
        store = wiring.open_store(settings)
        wiring.sync_families(settings, wiring.load_families(settings), store, wiring.open_clock(settings))
        rows = [*topic_examples(9, "train"), *topic_examples(12, "dev"), *topic_examples(40, "holdout")]
        store.write(lambda tx: store.examples.add(tx, rows))
        store.close()
        yield tmp_path


@pytest.fixture
def detent(home: Path, installed: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    environment = {
        **os.environ,
        "DETENT_HOME": str(home),
        "NO_COLOR": "1",
        "COLUMNS": "400",
        "PYTHONPATH": str(installed),
    }
    command = [sys.executable, "-c", "from optimizer.cli import main; main()"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *words], env=environment, cwd=home, capture_output=True, text=True, timeout=120
        )

    return run


def test_a_study_runs_with_the_strategy_and_the_scorer_of_an_installed_package(
    home: Path, detent: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    without = command_line.detent("study", "run", "topics", "--strategy", "openings", env={"DETENT_HOME": str(home)})
    assert (without.code, "There is no strategy 'openings'" in " ".join(without.err.split())) == (2, True)
    (home / "families" / "topics" / "family.yaml").write_text(json.dumps(SCORED))
    ran = detent("study", "run", "topics", "--strategy", "openings", "--budget-calls", "400", "--json")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    study, trials = found["study"], found["trials"]
    assert (study["status"], study["strategy"]) == ("finished", "openings"), study
    assert [(t["proposer"], t["params"].get("text")) for t in trials][1:] == [
        ("openings", "Read everything first."),
        ("openings", "Answer with one word."),
        ("openings", "Think of who asks."),
    ]
    assert study["winner"] == trials[2]["variant"]
    assert trials[2]["score"] == 1.0
    assert 0 < trials[0]["score"] < 1, "likeness gives parts of a point where a built-in metric for labels gives none"
    assert detent("variant", "export", "topics", "--format", "plain").stdout.startswith("system: Name the topic.")


def test_doctor_and_the_error_of_an_unknown_name_list_what_the_package_adds(
    home: Path, detent: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    said = detent("doctor").stdout
    assert "packages   strategy openings of detent-openings 1.0, detent_openings:openings" in said
    assert "packages   parser last_line of detent-openings 1.0, detent_openings:last_line" in said
    assert "packages   metric likeness of detent-openings 1.0, detent_openings:likeness" in said
    assert "packages   exporter plain of detent-openings 1.0, detent_openings:plain" in said
    unknown = detent("study", "run", "topics", "--strategy", "magic")
    assert (unknown.returncode, "simba, playbook, replay, openings, and sequences" in unknown.stderr) == (2, True)
