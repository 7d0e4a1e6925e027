"""What studies of the shipped families gain: by the commands, on a model of the environment, and told as it is."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stand_ins.scripted_model import Provider
from tests.worlds.lifts_world import FAMILY, data_in, naming_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    for name in [name for name in sys.modules if name.split(".")[0] in ("common", "families", "lifts", "typed")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    with naming_model(monkeypatch) as state:
        yield state


def work_in(folder: Path) -> Any:
    families, homes = importlib.import_module("families"), importlib.import_module("lifts.homes")
    answering = homes.HomeModel.from_environment()
    return families.Work(folder=folder / "kept", data=data_in(folder / "data"), model=answering)


def test_a_family_is_measured_by_the_commands_and_nothing_is_paid_twice(tmp_path: Path, model: Provider) -> None:
    families = importlib.import_module("families")
    work = work_in(tmp_path)
    families.run([(FAMILY, 1)], work, n_rows=6)
    cell = families.collected(work)["cells"][0]
    assert (cell["family"], cell["n_rows"], cell["strategy"], cell["proposer"]) == (FAMILY, 6, "examples", "examples")
    base, winner = ([one["figure"] for one in cell["answers"][side]] for side in ("base", "winner"))
    assert sum(base) / 6 < 1
    assert winner == [1.0] * 6
    assert cell["n_examples"] > 0
    assert cell["trivial"]["majority answer"]["n"] == 6
    asked = len(model.bodies)
    assert all(body["model"] == "scripted/one" for body in model.bodies)

    families.run([(FAMILY, 1)], work, n_rows=6)
    assert len(model.bodies) == asked
    families.run([(FAMILY, 1)], work, n_rows=9)
    assert len(model.bodies) == asked + 2 * 3, "three more rows, for base and winner"
    assert families.collected(work)["cells"][0]["n_rows"] == 9


def test_a_family_that_fails_says_why_and_the_others_are_measured(
    tmp_path: Path, model: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    families = importlib.import_module("families")
    work = work_in(tmp_path)
    (work.data / FAMILY / "train.jsonl").unlink()
    families.run([(FAMILY, 1), ("summarization", 1)], work, n_rows=2)
    said = capsys.readouterr().err
    assert f"{FAMILY}, seed 1: FileNotFoundError" in said
    assert "summarization, seed 1: FileNotFoundError" in said
    assert families.collected(work)["cells"] == []


def test_half_a_model_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETENT_BENCH_MODEL", "one")
    monkeypatch.delenv("DETENT_BENCH_API", raising=False)
    with pytest.raises(SystemExit, match="Set both"):
        importlib.import_module("lifts.homes").HomeModel.from_environment()


def cell(name: str, seed: int, base: list[float], winner: list[float], **changes: Any) -> dict[str, Any]:
    def answers(figures: list[float]) -> list[dict[str, Any]]:
        fixed = {"format": 1.0, "entities": 0.5, "numbers": None, "input_tokens": 9, "output_tokens": 3}
        return [{"row": f"r{i}", "figure": f, "latency_ms": 1000.0, **fixed} for i, f in enumerate(figures)]

    return {
        "family": name,
        "seed": seed,
        "n_rows": len(base),
        "strategy": "examples",
        "base": "small",
        "winner": "v_1",
        "proposer": "examples",
        "n_examples": 6,
        "dev_scores": [0.1, 0.2],
        "search": {"calls": 80, "tokens": 9000, "model_minutes": 1.0},
        "answers": {"base": answers(base), "winner": answers(winner)},
        "trivial": {"majority answer": {"mean": 0.1, "low": 0.0, "high": 0.2, "n": 4}, "first sentence": "no texts"},
        **changes,
    }


def result(*cells: dict[str, Any]) -> dict[str, Any]:
    return {"name": "families", "commit": "abc", "machine": "here", "model": "embedded", "cells": list(cells)}


def verdict_of(*cells: dict[str, Any]) -> Any:
    (told,) = importlib.import_module("lifts.verdict").verdicts(result(*cells))
    return told


def test_below_the_least_base_the_bar_is_an_absolute_gain_and_no_share_is_told() -> None:
    told = verdict_of(cell(FAMILY, 1, [0.0] * 40, [1.0] * 10 + [0.0] * 30))
    assert told.lift.relative is None
    assert (told.lift.absolute, told.is_held) == (0.25, True)
    assert not verdict_of(cell(FAMILY, 1, [0.0] * 40, [1.0] + [0.0] * 39)).is_held, "a gain of .025"


def test_from_the_least_base_on_the_bar_is_a_share_and_its_interval_lies_above_zero() -> None:
    told = verdict_of(cell(FAMILY, 1, [0.5] * 40, [0.6] * 40))
    assert told.lift.relative == pytest.approx(0.2)
    assert told.is_held
    unsure = verdict_of(cell(FAMILY, 1, [0.5] * 4, [0.0, 0.0, 1.0, 1.6]))
    assert unsure.lift.relative == pytest.approx(0.3)
    assert not unsure.is_held, "the interval holds 0"


def test_wrong_answers_are_to_fall() -> None:
    told = verdict_of(cell("answer_generation", 1, [0.2] * 40, [0.5] * 40))
    assert (told.lift.base, told.lift.winner) == (pytest.approx(0.8), pytest.approx(0.5))
    assert told.is_held
    assert not verdict_of(cell("answer_generation", 1, [0.5] * 40, [0.2] * 40)).is_held


def test_format_and_invention_are_held_at_their_bounds_or_where_they_moved_enough_and_surely() -> None:
    verdict = importlib.import_module("lifts.verdict")

    def lift(part: str, base: list[float | None], winner: list[float | None]) -> Any:
        made = cell(FAMILY, 1, [0.0] * len(base), [0.0] * len(base))
        for side, values in (("base", base), ("winner", winner)):
            made["answers"][side] = [
                {**one, part: value} for one, value in zip(made["answers"][side], values, strict=True)
            ]
        return verdict.lift_in([made], part)

    assert verdict.format_held(lift("format", [1.0] * 20, [0.96] * 20)) == "held, at its ceiling"
    assert verdict.format_held(lift("format", [0.5] * 20, [0.6] * 20)) == "held"
    assert verdict.format_held(lift("format", [0.5] * 20, [0.55] * 20)) == verdict.MISSED
    assert verdict.invention_held(lift("entities", [0.5] * 20, [0.3] * 20)) == "held"
    assert verdict.invention_held(lift("entities", [0.5] * 20, [0.4] * 20)) == verdict.MISSED
    assert verdict.invention_held(lift("entities", [0.2] * 20, [0.0] * 20)) == "held, at its floor"
    told = lift("entities", [0.5, None, 0.1], [0.3, 0.0, None])
    assert (told.n_rows, told.base, told.winner) == (1, 0.5, 0.3), "rows whose answers could all be read"
    assert lift("entities", [None], [0.1]) is None


def test_seeds_are_averaged_row_by_row_on_the_rows_that_both_were_asked() -> None:
    told = verdict_of(cell(FAMILY, 1, [0.2, 0.8, 0.9], [1.0, 1.0, 1.0]), cell(FAMILY, 2, [0.2, 0.8], [0.0, 1.0]))
    assert (told.lift.n_rows, told.lift.n_seeds) == (2, 2)
    assert (told.lift.base, told.lift.winner) == (0.5, 0.75)


def test_the_page_says_what_was_reached_what_was_missed_and_what_was_not_measured() -> None:
    page = importlib.import_module("lifts.page").page
    text = page(result(cell(FAMILY, 1, [0.1] * 40, [0.11] * 40), cell("summarization", 1, [0.3] * 40, [0.6] * 40)))
    assert (
        "| right labels | 40, 1 | 0.100 | 0.110 | **+0.010** (+0.010 to +0.010) | at least 0.010 | not shown | +0.05"
        in text
    )
    gain = "**+0.300** (+0.300 to +0.300) | at least 0.300 | +100.0 % (+100.0 % to +100.0 %)"
    assert f"| ROUGE | 40, 1 | 0.300 | 0.600 | {gain} | +20 %" in text
    assert "| +0.05 | **missed** |" in text
    assert "| +20 % | held |" in text
    assert (
        "| 1.00 > 1.00 (+0.00 to +0.00) | held, at its ceiling | 0.50 > 0.50 (+0.00 to +0.00) | **missed** | not"
        in text
    )
    assert "[entity_extraction](families/entity_extraction.md)" in text.split("## Not measured")[1]


@pytest.mark.parametrize(
    ("name", "change", "claim"),
    [
        ("entity_extraction", "+0.126 (+0.064 to +0.192)", "at least 0.064"),
        ("question_reformulation", "+0.014 (-0.035 to +0.062)", "nothing: not confirmed on other rows"),
    ],
)
def test_a_gain_that_was_measured_again_is_claimed_by_the_lower_of_both_ends(
    name: str, change: str, claim: str
) -> None:
    pages = importlib.import_module("lifts.page")
    one = result(cell(name, 1, [0.3] * 40, [0.6] * 40), cell(name, 2, [0.3] * 40, [0.6] * 40))
    assert f"**+0.300** (+0.300 to +0.300) | {claim} |" in pages.page(one)
    assert f"{name} gained {change}" in " ".join(pages.page(one).split())


def test_nothing_is_claimed_where_the_interval_holds_zero() -> None:
    claimed, lift_of = (getattr(importlib.import_module("lifts.verdict"), name) for name in ("claimed", "lift_of"))
    assert claimed(FAMILY, lift_of(FAMILY, [cell(FAMILY, 1, [0.5] * 4, [0.0, 0.0, 1.0, 1.6])])) is None
    fell = [cell("answer_generation", 1, [0.2] * 40, [0.5] * 40)]
    assert claimed("answer_generation", lift_of("answer_generation", fell)) == pytest.approx(0.3)


def test_what_the_repository_keeps_is_published_again_where_nothing_was_measured_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DETENT_BENCH_MODEL", "DETENT_BENCH_API"):
        monkeypatch.delenv(name, raising=False)
    lifts = importlib.import_module("lifts.kept")
    kept = json.loads((ROOT / "bench" / "results" / "families.json").read_text(encoding="utf-8"))
    monkeypatch.setenv("DETENT_FAMILIES", str(tmp_path))
    assert lifts.collected(lifts.Work.from_environment()) == kept
