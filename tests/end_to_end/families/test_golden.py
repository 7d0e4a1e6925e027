"""Golden scenarios by the command line, in a home of its own: written, asked, and a rollout that they refuse."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from tests.command_line import Ran, detent
from tests.stand_ins.scripted_model import chat_answer, provider
from tests.stores import keep_one_request

F = "support_topics"
ASKED = {"delivery": "My golden parcel is late.", "payment": "The golden card was charged twice."}
ANSWER_S = 0.1  # so long that what a busy machine adds is no fifth of it


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose model knows both scenarios at temperature 0, and says ``payment`` above it."""
    folder = tmp_path / "home"
    monkeypatch.setenv("DETENT_HOME", str(folder))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        time.sleep(ANSWER_S)
        asked = body["messages"][-1]["content"]
        known = next((topic for topic, text in ASKED.items() if text in asked), "payment")
        said = "payment" if body.get("temperature") else known
        return 200, {}, json.dumps(chat_answer(said)).encode()

    with provider() as model:
        model.answer = answer
        assert detent("init", str(folder)).code == 0
        price = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
        entry = {"openai_compatible": model.url, "model": "m", "price": price, "max_output_tokens": 8}
        (folder / "config" / "models.yaml").write_text(json.dumps({"embedded": entry}))
        yield folder


def write_golden(home: Path, *more: dict[str, Any]) -> None:
    rows = [{"id": topic, "input": {"message": text}, "expected": {"topic": topic}} for topic, text in ASKED.items()]
    file = home / "families" / F / "golden.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in [*rows, *more]))


def make_variant(*options: str) -> str:
    return str(detent("variant", "create", F, *options, "--note", "by hand", "--json").json["variant"])


def report_one_request() -> None:
    store = wiring.open_store(load_settings())
    keep_one_request(store, F)
    store.close()


def start(variant: str, *options: str) -> Ran:
    return detent("rollout", "start", F, variant, *options)


@pytest.mark.long
def test_a_candidate_that_loses_a_scenario_is_refused_by_name_and_starts_only_as_forced(home: Path) -> None:
    write_golden(home)
    worse, as_good = make_variant("--model", "temperature=0.5"), make_variant("--model", "max_tokens=7")
    report_one_request()

    before = start(worse, "--dry-run")
    assert "was not evaluated against the family's 2 golden scenarios" in before.out + before.err
    planned = detent("family", "evaluate", F, "--suite", "golden", "--variant", worse, "--dry-run")
    assert "on 2 golden rows, and the champion" in planned.out
    assert "at most 121 of each that are timed afresh" in planned.out

    refused = detent("family", "evaluate", F, "--suite", "golden", "--variant", worse, "--output", "found.json")
    assert refused.code == 3
    assert "missed  regression of delivery: scenario delivery: 1.000 below the champion" in refused.out
    assert "A rollout's gate golden fails: only a forced one starts (--confirm support_topics)" in refused.err
    found = json.loads(Path("found.json").read_text())
    assert (found["verdict"], [suite["suite_name"] for suite in found["suites"]]) == ("missed", ["golden"])

    gate = start(worse)
    assert gate.code == 3
    assert "golden: " in gate.err
    assert "scenario delivery: 1.000 below the champion" in gate.err

    passed = detent("family", "evaluate", F, "--suite", "golden", "--variant", as_good)
    assert passed.code == 0, passed.out + passed.err
    assert "A rollout's gate golden passes." in passed.err
    assert "met  regression: " in passed.out
    assert "regression of delivery" not in passed.out, "the table has it"
    assert "golden: " not in start(as_good).err, "only its confirmation is missing"
    forced = start(worse, "--confirm", F)
    assert forced.code == 0, forced.err
    assert "scenario delivery" in forced.out + forced.err, "the record says what was passed over"


def test_a_faulty_golden_file_is_found_by_validate_with_its_line(home: Path) -> None:
    write_golden(home, {"id": "third", "input": {"message": "x"}, "expected": {"topic": "weather"}})
    ran = detent("family", "validate", F, "--json")
    assert ran.code == 2
    (fault,) = ran.json["errors"]
    assert (fault["line"], Path(fault["file"]).name) == (3, "golden.jsonl")
    assert "expected has as 'topic' no label of the family" in fault["detail"]


def test_an_output_that_cannot_be_written_says_what_to_do(home: Path) -> None:
    write_golden(home)
    ran = detent("family", "evaluate", F, "--suite", "golden", "--output", "nowhere/found.json")
    assert ran.code == 1
    assert "Cannot write the results to nowhere/found.json" in ran.err
    assert "name another file with --output" in ran.err
