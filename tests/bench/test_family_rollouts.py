"""Winners of studies in rollouts: by commands and routes, on recorded answers, and told as they ended."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import NotFound
from tests.stand_ins.scripted_model import Provider, chat_answer
from tests.worlds.lifts_world import BENCH, FAMILY, data_in, naming_model


@pytest.fixture(autouse=True)
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    for name in [
        n for n in sys.modules if n.split(".")[0] in ("common", "families", "family_rollouts", "lifts", "typed")
    ]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture(scope="module")
def measured_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Provider]]:
    """One family, studied and measured on six held-out rows; its winner is right on all of them."""
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch, naming_model(patch) as model:
        patch.syspath_prepend(str(BENCH))
        families, kept = importlib.import_module("families"), importlib.import_module("lifts.kept")
        answering = importlib.import_module("lifts.homes").HomeModel.from_environment()
        work = kept.Work(folder=folder / "kept", data=data_in(folder / "data"), model=answering)
        families.run([(FAMILY, 1)], work, n_rows=6)
        yield work, model


@pytest.fixture
def measured(measured_once: tuple[Any, Provider], tmp_path: Path) -> Any:
    """A copy, since a rollout brings stores up to date and serves in them."""
    work, _ = measured_once
    shutil.copytree(work.folder, tmp_path / "kept")
    return replace(work, folder=tmp_path / "kept")


@pytest.fixture
def model(measured_once: tuple[Any, Provider]) -> Provider:
    return measured_once[1]


def pair_of(work: Any) -> Any:
    return importlib.import_module("lifts.recorded").pair_of(work.folder / FAMILY, FAMILY, [1], work.data)


def test_a_winner_is_rolled_out_on_recorded_answers_by_commands_and_routes(
    measured: Any, model: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolling = importlib.import_module("lifts.rolling")
    for name, short in (("N_BEFORE", 30), ("SUMMED_UP_S", 0), ("LONGEST_S", 8)):
        monkeypatch.setattr(rolling, name, short)
    asked = len(model.bodies)
    pair = pair_of(measured)
    assert pair.scores(pair.candidate) == [1.0] * 6
    assert sum(pair.scores(pair.champion)) < 6
    cell = rolling.roll_out(FAMILY, pair)
    assert len(model.bodies) == asked, "every answer is a recorded one"
    assert cell["refused"].startswith("confirmation: no study has confirmed"), "so that it had to be forced"
    assert cell["outcome"] is None, "stopped long before the guardrails could compare"
    assert cell["difference"] == pytest.approx(1 - sum(pair.scores(pair.champion)) / 6)
    assert 0 < cell["n_candidate"] < cell["n_requests"]


def ready(work: Any, folder: Path) -> tuple[Any, Any]:
    folder.mkdir()
    found: tuple[Any, Any] = importlib.import_module("family_rollouts")._ready(FAMILY, work, [1], folder)
    return found


def test_a_winner_that_its_sealed_rows_confirm_starts_without_force_and_is_asked_once(
    measured: Any, model: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(model.bodies)
    pair, found = ready(measured, tmp_path / "first")
    asked = len(model.bodies) - before
    assert (found["outcome"], found["missed"]) == ("nominated", {})
    assert asked == 2 * found["n"] > 0, "both variants, the sealed rows and no others"
    assert found["champion_mean"] < found["winner_mean"] == 1.0
    assert ready(measured, tmp_path / "second")[1] == found
    assert len(model.bodies) - before == asked, "the kept home answered"
    rolling = importlib.import_module("lifts.rolling")
    for name, short in (("N_BEFORE", 30), ("SUMMED_UP_S", 0), ("LONGEST_S", 2)):
        monkeypatch.setattr(rolling, name, short)
    assert rolling.roll_out(FAMILY, pair)["refused"] is None, "the gates let it start"


def test_a_winner_that_its_sealed_rows_do_not_confirm_is_told_with_what_it_missed(
    measured: Any, model: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "answer", lambda body: (200, {}, json.dumps(chat_answer("I wonder")).encode()))
    found = ready(measured, tmp_path / "first")[1]
    assert found["outcome"] == "not_confirmed"
    assert "improvement" in found["missed"]


def test_where_a_study_changed_nothing_its_worst_base_is_rolled_out(measured: Any) -> None:
    path = measured.result(FAMILY, 1)
    cell = json.loads(path.read_text())
    homes = importlib.import_module("lifts.homes")
    base = homes.family_in(measured.home(FAMILY, 1), FAMILY).variant(cell["base"])
    path.write_text(json.dumps({**cell, "winner": base.id}))
    pair = pair_of(measured)
    assert pair.champion.id == base.id
    assert pair.what.startswith("base ")
    assert pair.candidate.id != base.id
    assert all(row.id.startswith("train") for row in pair.rows), "the held-out rows have no answer of it"
    assert pair.rows
    assert sum(pair.scores(pair.candidate)) <= sum(pair.scores(pair.champion))


def test_an_answer_that_was_never_recorded_is_not_made_up(measured: Any) -> None:
    path = measured.result(FAMILY, 1)
    cell = json.loads(path.read_text())
    asked = {one["row"] for one in cell["answers"]["base"]}
    other = next(f"dev{i}" for i in range(72) if f"dev{i}" not in asked)
    cell["answers"]["base"].append({"row": other})
    path.write_text(json.dumps(cell))
    with pytest.raises(NotFound, match=f"answered to {other}: measure {FAMILY} anew"):
        pair_of(measured)


def cell(outcome: str | None, difference: float, **changes: Any) -> dict[str, Any]:
    return {
        "family": FAMILY,
        "candidate": "winner, seed 1",
        "rows": "held-out rows",
        "n_rows": 200,
        "champion_mean": 0.4,
        "difference": difference,
        "low": difference - 0.1,
        "high": difference + 0.1,
        "margin": 0.04,
        "refused": "confirmation: none",
        "outcome": outcome,
        "reason": "so",
        "stages": 3,
        "n_requests": 5000,
        "n_candidate": 2000,
        "n_labelled": 4900,
        "minutes": 3.0,
        "commit": "abc",
        **changes,
    }


@pytest.mark.parametrize(
    ("outcome", "difference", "told"),
    [
        ("promoted", 0.1, "right"),
        ("promoted", -0.03, "right"),  # not worse by the margin, which is all that a promotion says
        ("promoted", -0.05, "**wrong**"),
        ("worse", -0.01, "right"),
        ("worse", 0.01, "**wrong**"),
        ("inconclusive", -0.01, "right"),
        ("inconclusive", 0.01, "safe, but a gain was left lying"),
        (None, 0.01, "safe, but a gain was left lying"),
        ("guardrail", -0.2, "**wrong**"),  # recorded answers have no errors
    ],
)
def test_an_end_is_right_where_the_rows_say_so(outcome: str | None, difference: float, told: str) -> None:
    assert importlib.import_module("lifts.rolled").judged(cell(outcome, difference)) == told


def result(*cells: dict[str, Any]) -> dict[str, Any]:
    return {"setting": {"per_second": 30, "scale": 2880, "most": 8000}, "cells": list(cells)}


def shown(rolled: Any, *cells: dict[str, Any]) -> str:
    """The sentence on the confirmations, and the table."""
    section = rolled.rolled_out(result(*cells))
    return f"{section['confirmed']}\n{section['rollouts']}"


def test_the_section_says_how_each_ended_and_whether_that_is_right() -> None:
    rolled = importlib.import_module("lifts.rolled")
    look = {"outcome": "nominated", "n": 40, "champion_mean": 0.4, "winner_mean": 0.5, "missed": {}}
    missed = {**look, "outcome": "not_confirmed", "missed": {"improvement": "0.4 to 0.42"}}
    nominated = cell("inconclusive", 0.02, family="summarization", refused=None, n_labelled=None, confirmed=look)
    text = shown(rolled, nominated, cell("promoted", 0.1))
    assert "Of the winners: confirmed: summarization; rolled out without having been asked: intent_routing." in text
    assert rolled.rolled_out(result(nominated))["commits"] == "abc"
    of_routing, of_summaries = text.strip().splitlines()[-2:]
    assert of_routing == (
        "| [intent_routing](families/intent_routing.md) | winner, seed 1 | 200 held-out rows | 0.400 | **+0.100**"
        " (+0.000 to +0.200) | 0.040 | forced: no confirmation asked for | promoted | 5,000, 2,000 | 4,900 | right |"
    )
    assert "| nominated: 0.400 > 0.500 on 40 sealed rows | ended as inconclusive | 5,000, 2,000 | - |" in of_summaries
    assert of_summaries.endswith("| safe, but a gain was left lying |")
    failed = shown(rolled, cell("promoted", 0.1, confirmed=missed))
    assert "| forced: improvement not met: 0.400 > 0.500 on 40 sealed rows |" in failed
    assert "Of the winners: asked and not confirmed: intent_routing." in failed


def test_how_the_same_rollout_ended_before_stands_beside() -> None:
    rolled = importlib.import_module("lifts.rolled")
    first, other = cell("promoted", -0.05), cell("promoted", -0.05, n_rows=50)
    second = cell("worse", -0.05, earlier=rolled.earlier(cell("worse", -0.05), first))
    assert second["earlier"] == ["promoted"]
    assert rolled.earlier(first, second) == ["promoted", "worse"]
    assert rolled.earlier(first, other) == rolled.earlier(first, None) == []
    assert "| rolled back as worse (before: 1 x promoted) |" in shown(rolled, second)


@pytest.mark.usefixtures("model")  # not the embedded one, of which the repository keeps figures
def test_nothing_measured_is_told_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rollouts = importlib.import_module("family_rollouts")
    monkeypatch.setattr(sys, "argv", ["family_rollouts.py"])
    monkeypatch.setenv("DETENT_FAMILIES", str(tmp_path))
    assert rollouts.main() == 0
    assert "First: python bench/families.py" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
