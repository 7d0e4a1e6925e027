"""The packages examples/own_package and examples/own_kind, built as they stand there and installed beside Detent: a
study with a strategy, a scorer and a parser, and one of a family of another kind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from optimizer.runtime import wiring
from tests import command_line
from tests.forked import run_forked
from tests.stand_ins.scripted_model import chat_answer, provider
from tests.worlds.gateway_world import make_home
from tests.worlds.study_world import TOPIC_FAMILY, TOPICS, topic_examples

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "how-to" / "add-a-strategy-or-scorer.md"
IN_A_ROOM = re.compile(r"`optimizer/([\w/]+)/(\w+)\.py`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FREE = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
SCORED = {**TOPIC_FAMILY, "output": {"field": "topic", "parser": "last_line"}, "scorer": {"likeness": 1.0}}


def topic(body: dict[str, Any]) -> str:
    """Right where the prompt has the page's second opening, else the first letter of what is right."""
    messages = body["messages"]
    right = next(word for word in TOPICS if word in messages[-1]["content"])
    return right if messages[0]["content"].startswith("Answer with one word.") else TOPICS[0]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the packages lie once their wheels are unpacked, as an installer does it."""
    target = tmp_path_factory.mktemp("installed")
    for package in ("own_package", "own_kind"):
        source = tmp_path_factory.mktemp("source")
        for file in (ROOT / "examples" / package).iterdir():
            if file.is_file():
                shutil.copy(file, source)
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

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return run_forked(["detent", *words], env=environment, cwd=home, text=True)

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
    assert "packages   strategy openings of detent-openings 1.0, detent_openings:Openings" in said
    assert "packages   parser last_line of detent-openings 1.0, detent_openings:last_line" in said
    assert "packages   metric likeness of detent-openings 1.0, detent_openings:likeness" in said
    assert "packages   exporter plain of detent-openings 1.0, detent_openings:plain" in said
    assert "packages   kind terse of detent-terse 1.0, detent_terse:Terse" in said
    assert "packages   kind of studies terse of detent-terse 1.0, detent_terse:TerseStudy" in said
    unknown = detent("study", "run", "topics", "--strategy", "magic")
    assert (unknown.returncode, "simba, settings, replay, openings, and sequences" in unknown.stderr) == (2, True)


def test_a_family_of_a_package_s_kind_is_served_and_searched_as_that_kind_answers(
    home: Path, detent: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    family = home / "families" / "topics" / "family.yaml"
    family.write_text(json.dumps({**TOPIC_FAMILY, "kind": "terse", "model": {"default": "fake", "max_tokens": 200}}))
    without = command_line.detent("family", "validate", env={"DETENT_HOME": str(home)})
    assert (without.code, "'terse' is not one of 'prompt' or 'policy'" in without.err + without.out) == (2, True)
    ran = detent("study", "run", "topics", "--budget-calls", "400", "--json")
    assert ran.returncode == 0, ran.stderr
    study = json.loads(ran.stdout)["study"]
    assert (study["status"], study["strategy"]) == ("finished", "settings"), study
    declared = json.loads(detent("variant", "show", "topics", "file", "--json").stdout)
    assert declared["model"]["max_tokens"] == 12


def test_a_scorer_in_a_room_is_found_by_standing_there(tmp_path: Path) -> None:
    ((room, name, text),) = IN_A_ROOM.findall(PAGE.read_text(encoding="utf-8"))
    (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    package = f"optimizer.{room.replace('/', '.')}"
    declared = {**TOPIC_FAMILY, "scorer": {"first_word": 1.0}}
    code = (
        f"import json, {package} as room\n"
        f"room.__path__.append({str(tmp_path)!r})\n"
        "from optimizer.adapters.text_metrics import build_scorer\n"
        "from optimizer.core.declaration.read import parse_family\n"
        f"scorer = build_scorer(parse_family(json.loads({json.dumps(declared)!r})))\n"
        f"print([scorer.score({{'topic': '{TOPICS[0]}'}}, text).value for text in {TOPICS[:2]!r}])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout == "[1.0, 0.0]\n", ran.stderr
