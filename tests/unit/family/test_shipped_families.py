"""The families that Detent ships: each file is valid, and its own examples can be imported, quoted and scored."""

from __future__ import annotations

import json
import re
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from optimizer.adapters.files.family_files import FamilyFiles
from optimizer.adapters.files.sources import open_source
from optimizer.adapters.models.model_settings import read_sizes_and_places
from optimizer.adapters.text_metrics import build_scorer
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.rendering import render, shown_text
from optimizer.core.family.variant import SIZES
from optimizer.core.models.language import ModelRequest
from optimizer.jobs.dataset.import_examples import import_rows
from tests.rows.evaluations import evaluated
from tests.worlds.study_world import TopicModel, World, classify

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "families"
PROMPTS = sorted(folder.name for folder in FOLDER.iterdir() if (folder / "golden.jsonl").exists())
IMPERFECT = ("readability", "compression_ratio", "query_coverage")  # do not compare with the expected answer alone


@cache
def loaded() -> FamilyFiles:
    files = FamilyFiles(FOLDER, models_file=ROOT / "config" / "models.yaml", read_models=read_sizes_and_places)
    files.load()
    return files


def lines(name: str, file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name / file).read_text(encoding="utf-8").splitlines()]


class Knowing(TopicModel):
    """Says what is expected, for each request that it knows."""

    max_output_tokens = 256

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__()
        self._answers = answers

    def _text(self, request: ModelRequest) -> str:
        return self._answers[str(request.messages[-1]["content"])]


@pytest.mark.parametrize("name", PROMPTS)
def test_a_family_has_a_base_for_each_size_and_serves_the_one_for_its_model(name: str) -> None:
    family = loaded().families[name]
    assert len({base.id for base in family.bases()}) == len(SIZES)
    assert family.prompt.current == family.prompt.by_size.small, "the embedded model is small"
    assert all(set(base.variables) == set(family.inputs) for base in family.bases())


@pytest.mark.parametrize("name", ["intent_routing", "document_analysis"])
def test_a_family_with_labels_names_a_student_and_serves_its_model_alone_until_one_is_taught(name: str) -> None:
    family = loaded().families[name]
    assert family.model.tiers == ("student", "embedded")
    assert all(base.policy == {} for base in family.bases())


def test_what_document_analysis_says_of_a_judge_of_insights_loads_beside_its_own_measures() -> None:
    text = (FOLDER / "document_analysis" / "family.yaml").read_text(encoding="utf-8")
    yaml = YAML(typ="safe")
    block, entry = map(yaml.load, re.findall(r"`(judge: [^`]+)`", text.replace("\n# ", " ")))
    data = yaml.load(text)
    family = parse_family({**data, **block, "scorer": {**data["scorer"], **entry}})
    assert family.judge is not None
    assert list(family.judge.dimensions) == ["insight"]
    assert build_scorer(family, ROOT).is_judged
    assert dict(family.metrics) == {"topic_coverage": 0.5, "list_f1": 0.5, "judge": 0.5}


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("file", ["examples.jsonl", "golden.jsonl"])
def test_examples_and_scenarios_fit_their_family_and_score_one_against_themselves(name: str, file: str) -> None:
    family = loaded().families[name]
    scorer = build_scorer(family, ROOT)
    for row in lines(name, file):
        assert kind_of(family).example_fault(family, row["input"], row["expected"]) is None, row["id"]
        score = scorer.score(row["expected"], shown_text(family.output, row["expected"]), row["input"])
        assert score.error is None, (row["id"], score.error)
        assert {metric: part for metric, part in score.parts.items() if part < 1 and metric not in IMPERFECT} == {}, (
            row["id"]
        )


@pytest.mark.parametrize("name", PROMPTS)
def test_a_family_has_20_to_40_examples_and_scenarios_of_its_own_with_hard_empty_and_contradictory_ones(name):
    examples, golden = lines(name, "examples.jsonl"), lines(name, "golden.jsonl")
    assert 20 <= len(examples) <= 40
    assert len(golden) >= 5
    every = examples + golden
    assert len({row["id"] for row in every}) == len(every)
    assert len({json.dumps(row["input"], sort_keys=True) for row in every}) == len(every), "no input stands twice"
    assert {row["tags"]["origin"] for row in every} == {"curated"}
    assert {"usual", "hard", "empty", "contradictory"} <= {row["tags"]["kind"] for row in every}


def imported(name: str, folder: Path) -> World:
    family = loaded().families[name]
    world = World(folder, family=family, model=Knowing(_answers(family)), scorer=build_scorer(family, ROOT))
    source = open_source(str(FOLDER / name / "examples.jsonl"), family)
    assert source.rows is not None
    report = import_rows(source.rows, family=family, store=world.store, clock=world.clock, actor="test", curated=True)
    assert report.n_accepted == len(lines(name, "examples.jsonl"))
    world.crown(family.variant())
    return world


@pytest.mark.parametrize("name", PROMPTS)
def test_the_examples_of_a_family_are_imported_and_evaluated(name: str, tmp_path: Path) -> None:
    world = imported(name, tmp_path)
    family = world.family
    given = {"family": family, "store": world.store, "clock": world.clock, "actor": "test"}
    asked = {
        "split": "train",
        "models": world,
        "scorer_for": partial(build_scorer, user_folder=ROOT),
        "classify": classify,
    }
    batch = evaluated(variant=family.variant(), n=5, **given, **asked)  # type: ignore[arg-type]
    assert batch["n_errors"] == 0
    assert batch["mean_score"] > 0.5


def _answers(family: Family) -> dict[str, str]:
    """The expected text by the last message of the request."""
    variant = family.variant()
    rows = lines(family.name, "examples.jsonl")
    return {
        str(render(variant, row["input"])[-1]["content"]): shown_text(family.output, row["expected"]) for row in rows
    }
