"""The recording of answers: what is on the disk is not asked again, and the tables hold what was recorded."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.core.base.errors import ModelFailed
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.metrics import METRICS
from optimizer.core.family.rendering import render
from optimizer.core.models.language import ModelAnswer
from tests.study_world import topic_examples

recorder = importlib.import_module("record_answers")
grid = importlib.import_module("recorded.grid")
tables = importlib.import_module("recorded.tables")
tasks = importlib.import_module("recorded.tasks")


class Model:
    """Answers with a label that depends on the request; fails at call ``fails_at``, as a killed process would."""

    revision = "fake"

    def __init__(self, fails_at: int | None = None) -> None:
        self.asked: list[str] = []
        self._fails_at = fails_at

    async def complete(self, request):
        if len(self.asked) == self._fails_at:
            raise ModelFailed("killed", kind="unreachable", sent=False, model="embedded")
        self.asked.append(request.key)
        text = ["physics", "statistics", "no idea"][int(request.key[:4], 16) % 3]
        return ModelAnswer(text=text, input_tokens=9, output_tokens=2, cost_usd=0.0, latency_ms=1500.0)


@pytest.fixture
def asked():
    """A small task: 3 variants x 4 examples."""
    family_of = next(t for t in tasks.TASKS if t.name == "document_analysis")
    rows = [
        replace(e, expected={"topic": "physics"}, input={"document": f"paper {i}"})
        for i, e in enumerate(topic_examples(12, "train"))
    ]
    family = family_of.family()
    scorer = Scorer(family.output, family.metrics, list(METRICS.built_in.values()))
    return recorder.Prepared(task=family_of, scorer=scorer, variants=grid.grid(family_of, rows)[:3], examples=rows[:4])


def record(asked, model, folder):
    recorder.record(asked, model, folder, recorder.Progress())


def test_after_a_kill_nothing_is_asked_twice_and_the_rest_is(asked, tmp_path):
    first, second = Model(fails_at=7), Model()
    with pytest.raises(ModelFailed):
        record(asked, first, tmp_path / "f")
    with (tmp_path / "f" / "answers.jsonl").open("ab") as file:
        file.write(b'{"key": "torn')  # killed in the middle of a line
    record(asked, second, tmp_path / "f")
    assert len(first.asked) == 7
    assert set(first.asked).isdisjoint(second.asked)
    assert len(first.asked) + len(second.asked) == len({*first.asked, *second.asked}) == 12
    third = Model()
    record(asked, third, tmp_path / "f")
    assert third.asked == []


def test_more_examples_go_on_from_fewer(asked, tmp_path):
    few, more = Model(), Model()
    record(replace(asked, examples=asked.examples[:2]), few, tmp_path / "f")
    record(asked, more, tmp_path / "f")
    assert len(few.asked) == len(more.asked) == 6


def test_all_examples_of_one_variant_are_asked_in_a_row_through_the_products_rendering(asked, tmp_path):
    record(asked, Model(), tmp_path / "f")
    lines = [json.loads(line) for line in (tmp_path / "f" / "answers.jsonl").read_text().splitlines()]
    assert [line["variant"] for line in lines] == [v.variant.id for v in asked.variants for _ in range(4)]
    variant, example = asked.variants[1].variant, asked.examples[0]
    request = recorder.request_for(variant, render(variant, example.input), revision="fake", example=example.id)
    assert request.key in {line["key"] for line in lines}
    assert {line["seconds"] for line in lines} == {1.5}


def test_answers_to_other_prompts_are_not_mixed(asked, tmp_path):
    record(asked, Model(), tmp_path / "f")
    other = Model()
    other.revision = "another model"
    with pytest.raises(SystemExit, match="of another model or scorer"):
        record(asked, other, tmp_path / "f")


def test_a_table_holds_the_scores_of_whole_rows_the_champion_first(asked, tmp_path):
    record(asked, Model(), tmp_path / "document_analysis")
    table = tables.read_table(tmp_path / "document_analysis", least_variants=3, least_examples=4)
    assert [arm.id for arm in table.arms] == [v.variant.id for v in asked.variants]
    assert (table.arms[0].instruction, table.arms[0].choice) == (0, "none")
    assert set(table.examples) == {e.id for e in asked.examples}
    lines = [json.loads(line) for line in (tmp_path / "document_analysis" / "answers.jsonl").read_text().splitlines()]
    assert [score for arm in table.arms for score in arm.scores] == [line["score"] for line in lines]
    assert all(line["score"] == float(line["text"] == "physics") for line in lines)


def test_an_unfinished_table_is_none(asked, tmp_path):
    assert tables.read_table(tmp_path / "f") is None
    with pytest.raises(ModelFailed):
        record(asked, Model(fails_at=9), tmp_path / "f")
    assert tables.read_table(tmp_path / "f", least_variants=3, least_examples=4) is None
    assert len(tables.read_table(tmp_path / "f", least_variants=2, least_examples=4).arms) == 2


def test_the_limit_stops_after_so_many_calls(asked, tmp_path):
    model = Model()
    with pytest.raises(recorder.LimitReached):
        recorder.record(asked, model, tmp_path / "f", recorder.Progress(limit=5))
    assert len(model.asked) == 5


def test_answers_lie_outside_the_project_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("DETENT_RECORDED", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert recorder.recorded_folder() == tmp_path / "detent-bench-recorded"
    monkeypatch.setenv("DETENT_RECORDED", str(tmp_path / "there"))
    assert recorder.recorded_folder() == tmp_path / "there"


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda t: t.name)
def test_every_task_has_a_champion_and_thirty_two_different_variants_of_examples_outside_the_scored_ones(task):
    data = tasks_data()
    train, scored = task.examples(data, "train", grid.POOL), task.examples(data, "dev", 100)
    variants = grid.grid(task, train)
    assert len({v.variant.id for v in variants}) == 32
    assert variants[0].variant == task.family().variant()
    assert all(len(v.variant.examples) <= 4 for v in variants)
    assert len(scored) == 100
    assert {e.id for e in train}.isdisjoint(e.id for e in scored)
    assert task.examples(data, "dev", 40) == scored[:40]
    assert all(len(text) <= tasks.MAX_CHARS for e in scored for text in e.input.values())


def tasks_data() -> Path:
    data = importlib.import_module("common").SHARED / "data"
    if not data.is_dir():
        pytest.skip("the rows of the shared data are not here; set DETENT_SHARED to the folder that holds data/")
    return data
