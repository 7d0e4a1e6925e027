"""The example that joins the graph families, run as a user would: its own service, and a scripted model. The commands
beside it run in this process.
"""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from examples.graph_rag import __main__ as example
from examples.graph_rag.graph import by_the_facts
from examples.graph_rag.home import Home
from optimizer.core.evaluation.suite import LATENCY
from tests.command_line import detent
from tests.forked import Forked
from tests.stand_ins.graph_rag_model import better_when_shown, script
from tests.stand_ins.scripted_model import provider


def typed(home: Home, *words: str, may_refuse: bool = False) -> str:
    """As ``Home.detent``; beside the example's event loop, as a process of its own would be."""
    environment = {"DETENT_HOME": str(home.folder), "NO_COLOR": "1"}
    with ThreadPoolExecutor(1) as beside:
        ran = beside.submit(detent, *words, env=environment).result()
    assert ran.code in ((0, 3) if may_refuse else (0,)), ran.err
    return ran.out


def forked(command: list[str], *, stderr: Any, env: dict[str, str], **_usual: Any) -> Forked:
    return Forked(command, stderr=stderr, env=env)


@pytest.fixture(autouse=True)
def commands_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Home, "detent", typed)
    monkeypatch.setattr("examples.graph_rag.home.subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": forked}))


def run(folder: Path, *words: str) -> tuple[dict[str, Any], Path]:
    """The example with a model that answers better where its prompt shows answers; its figures, and its home."""
    with provider() as model:
        script(model, better_when_shown)
        entry = {"openai_compatible": model.url, "model": "m", "max_output_tokens": 256, "concurrency": 4}
        entry["price"] = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
        models, home = folder / "models.yaml", folder / "home"
        models.write_text(json.dumps({"embedded": entry}))
        return example.main(["--home", str(home), "--models", str(models), "--port", "8431", *words]), home


@pytest.mark.long
def test_a_text_becomes_a_repaired_graph_that_answers_and_a_better_prompt_goes_to_half_of_the_readers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told, home = run(tmp_path, "--rollout-seconds", "20")
    said = capsys.readouterr().out
    assert (told["n_calls"], told["n_unreadable"]) == (18, 0)
    assert (told["proposed"], told["approved"], told["rejected"]) == (3, 2, 1), said
    assert told["stated"] == (7, 8, 8), "one relation stood under another name, until the two were merged"
    relations = [tuple(one.values()) for one in told["repaired"]["relations"]]
    assert "Brandt" not in told["repaired"]["entities"]
    assert ("Ada Brandt", "born_in", "Lindau") in relations
    assert ("Nordlake Shipping", "owns", "Ferry Museum") not in relations
    assert (told["right"], told["study"]) == (5, "nominated"), said
    (good, n), (good_before, n_before) = told["served"]["candidate"], told["served"]["champion"]
    assert good == n > 0, "the candidate shows answers"
    assert 0 < good_before < n_before
    (golden,) = re.findall(r"golden scenarios: (.*)", said)
    assert golden in ("all checks are met", f"not met: {LATENCY}"), "how quick answers are depends on the machine"
    assert ("FORCED" in said) == ("not met" in golden)
    assert told["rollout"] == "cancelled", "what was not decided in so short a time never ships"

    with closing(sqlite3.connect(home / "var" / "detent.db")) as store:
        by_person = store.execute(
            "SELECT count(*), sum(success) FROM feedback_events WHERE family = ? AND source = 'person'",
            ("graph_verification",),
        ).fetchone()
        corrections = store.execute("SELECT count(*) FROM examples WHERE origin = 'correction' AND released").fetchone()
    assert by_person == (3, 2), "every decision on a repair is a person's feedback"
    assert corrections == (12,)


def test_a_repair_is_decided_by_what_the_text_says() -> None:
    def asked(**repair: str) -> bool:
        return by_the_facts({"repair": repair})[0]

    assert asked(action="merge_entities", keep="Ada Brandt", remove="Brandt")
    assert not asked(action="merge_entities", keep="Otto Keel", remove="Marta Keel")
    assert asked(action="delete_entity", entity="Berlin")
    assert not asked(action="delete_relation", subject="Brandt", relation="born_in", object="Lindau")
    assert asked(action="delete_relation", subject="Lindau", relation="born_in", object="Ada Brandt")
