"""Golden scenarios by the command line, in a home of its own: written, asked, and a rollout that they refuse."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.dataset.examples import group_of, split_of
from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from tests.command_line import Ran, detent
from tests.scripted_model import chat_answer, provider
from tests.stores import keep_in_doubt, keep_one_request

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


def test_every_suite_of_a_family_is_asked_one_after_the_other_and_written_into_a_file(home: Path) -> None:
    write_golden(home)
    file = home / "families" / F / "family.yaml"
    named = {"answers": {"n": 4, "errors": 0.0}, "quick": {"n": 4, "p95_latency_ms": 1}}
    file.write_text(f"{file.read_text()}\ntargets: {json.dumps(named)}\n")
    assert detent("family", "validate", F).code == 0
    planned = detent("family", "evaluate", F, "--suite", "full", "--dry-run", "--json").json["suites"]
    assert [one["suite"] for one in planned] == ["answers", "quick", "golden"]
    assert (
        "Suites of the family, each asked with --suite NAME: answers, quick, golden"
        in detent("family", "evaluate", F, "--n", "4").out
    )

    ran = detent("family", "evaluate", F, "--suite", "full", "--output", "full.json", "--json")
    assert ran.code == 3
    assert ran.json == json.loads(Path("full.json").read_text())
    found = {one["suite_name"]: [check["verdict"] for check in one["checks"]] for one in ran.json["suites"]}
    assert found == {"answers": ["met"], "quick": ["missed"], "golden": []}
    assert (ran.json["verdict"], ran.json["champion"]) == ("missed", ran.json["variant"])
    assert detent("family", "evaluate", F, "--suite", "answers").code == 0

    variant = make_variant("--model", "max_tokens=7")
    report_one_request()
    refused = start(variant).err
    assert all(f"{gate}: {variant} was not evaluated" in refused for gate in ("suite answers", "suite quick", "golden"))


def test_what_was_measured_before_the_money_ended_is_shown_and_written(home: Path) -> None:
    write_golden(home)
    file = home / "families" / F / "family.yaml"
    file.write_text(f"{file.read_text()}\ntargets: {json.dumps({'answers': {'n': 4, 'errors': 0.0}})}\n")
    models = home / "config" / "models.yaml"
    entry = json.loads(models.read_text())["embedded"]
    priced = {**entry, "price": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}}
    models.write_text(json.dumps({"embedded": priced}))
    asked = ("family", "evaluate", F, "--suite", "full", "--variant", make_variant("--model", "max_tokens=7"))
    first, _ = detent(*asked, "--dry-run", "--json").json["suites"]

    ran = detent(*asked, "--budget-usd", str(first["usd"]["high"]), "--output", "full.json")
    assert ran.code == 3
    assert "met  errors: 0.0% errors" in ran.out
    assert f"{F}, suite golden: not measured. " in ran.out
    assert "Written to full.json." in ran.err
    found = json.loads(Path("full.json").read_text())
    assert ([one["suite_name"] for one in found["suites"]], found["verdict"]) == (["answers"], "unmeasured")
    assert [one["suite"] for one in found["not_measured"]] == ["golden"]

    nothing = detent(*asked, "--suite", "golden", "--budget-usd", "0", "--output", "none.json")
    assert nothing.code == 3
    assert not Path("none.json").exists(), "nothing was measured"


def test_fewer_examples_than_were_asked_for_are_told_and_a_champion_has_no_column_of_itself(home: Path) -> None:
    write_golden(home)
    assert "5000 were asked for, and there are no more" in detent("family", "evaluate", F, "--n", "5000").out
    assert "5000 were asked for" in detent("family", "evaluate", F, "--n", "5000", "--dry-run").out
    assert "asked for" not in detent("family", "evaluate", F, "--n", "1").out
    own = detent("family", "evaluate", F, "--suite", "golden")
    assert "Scenario" in own.out
    assert "Champion" not in own.out
    beside = detent("family", "evaluate", F, "--suite", "golden", "--variant", make_variant("--model", "max_tokens=7"))
    assert "Champion" in beside.out


def test_a_released_production_answer_becomes_a_scenario_and_is_taken_out_again(home: Path) -> None:
    texts = (f"My card was charged twice on day {n}." for n in range(99))
    message = next(text for text in texts if split_of(group_of({"message": text}, None)) == "dev")
    store = wiring.open_store(load_settings())
    keep_in_doubt(store, F, message)
    store.close()
    assert detent("golden", "add", F, "in_doubt").code == 1, "no example was made of it yet"
    assert detent("review", "collect", F).code == 0
    (review,) = [one for one in detent("review", "list", "--json").json["items"] if one["kind"] == "label_interaction"]
    assert detent("review", "answer", review["id"], "release", "--expected", "payment").code == 0

    added = detent("golden", "add", F, "in_doubt", "--scenario", "charged twice")
    assert added.code == 0, added.err
    assert f"Undo: detent golden remove {F} ia_in_doubt" in added.err
    (listed,) = detent("golden", "list", F, "--json").json["items"]
    assert (listed["scenario"], listed["input"], listed["example"]) == (
        "charged twice",
        {"message": message},
        "ia_in_doubt",
    )
    assert "charged twice" in detent("family", "evaluate", F, "--suite", "golden").out
    assert detent("golden", "remove", F, "ia_in_doubt").code == 0
    assert "has no golden scenarios" in detent("golden", "list", F).err


def test_a_faulty_golden_file_is_found_by_validate_with_its_line(home: Path) -> None:
    write_golden(home, {"id": "third", "input": {"message": "x"}, "expected": {"topic": "weather"}})
    ran = detent("family", "validate", F, "--json")
    assert ran.code == 2
    (fault,) = ran.json["errors"]
    assert (fault["line"], Path(fault["file"]).name) == (3, "golden.jsonl")
    assert "'weather' is no label of the family" in fault["detail"]


def test_an_output_that_cannot_be_written_says_what_to_do(home: Path) -> None:
    write_golden(home)
    ran = detent("family", "evaluate", F, "--suite", "golden", "--output", "nowhere/found.json")
    assert ran.code == 1
    assert "Cannot write the results to nowhere/found.json" in ran.err
    assert "name another file with --output" in ran.err
