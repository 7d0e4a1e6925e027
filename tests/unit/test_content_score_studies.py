"""Studies that learn a score of content for a saving or a quality that is to be kept;
the plain statistics serve unless it is better for sure.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

from optimizer.adapters.reports.study_report import study_page
from optimizer.cli.study.run import StudyRequest
from optimizer.cli.study.score import score_lines
from optimizer.content.adapters import score_learning
from optimizer.content.core.policy import learned_knob
from optimizer.content.core.search.learned_score import CHARACTERS, LENGTH, PLAIN, JudgedItem, LearnedScore, Method
from optimizer.content.core.search.score_points import whole_groups
from optimizer.content.core.search.score_strategy import KNOBS, POINTS
from optimizer.core.base.errors import InvalidInput
from optimizer.core.dataset.examples import Example
from optimizer.core.predictor.predictor import Predictor
from optimizer.core.search.cost_estimate import replay_estimate
from optimizer.core.search.study import CONTENT_SCORE, Definition
from optimizer.jobs.studies.report_study import report_study
from tests.study_world import START, World
from tests.unit.test_policy_studies import NoModels, pipeline_family
from tests.unit.test_policy_studies import items as measured_items

WORDS = ("table", "garden", "window", "river", "paper", "stone", "market", "letter", "summer", "button")
SPELT = ("ga?den", "wi?dow", "ri?er", "pa?er", "sto?e", "ma?ket", "le?ter", "su?ter", "bu?ton", "ta?le")
SIZES = {"n_train": 400, "n_dev": 200, "n_holdout": 60}
N_OF = {"guide": 130, "forum": 130, "note": 24, "poem": 4}  # in train; poem is too few for anything


def by_length(rng: random.Random, worth: float) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(5 + round(40 * worth)))


def by_spelling(rng: random.Random, worth: float) -> str:
    """Good items write b for m: words of as many letters, vowels and kinds, so that no plain statistic tells."""
    return " ".join(rng.choice(SPELT).replace("?", "b" if rng.random() < worth else "m") for _ in range(30))


def items(
    split: str, share: float, text_of: Callable[[random.Random, float], str], *, released: bool = True
) -> list[Example]:
    found = []
    for name, n in N_OF.items():
        for i in range(round(n * share)):
            rng = random.Random(f"{split} {name} {i}")
            worth = rng.random()
            found.append(
                Example(
                    id=f"{split}-{name}-{i:03d}", family="content_pipeline", group=f"{split}-{name}-{i}", split=split,
                    origin="curated" if released else "import", created_at=START, # type: ignore[arg-type]
                    released=released, input={"content_type": name, "text": text_of(rng, worth)},
                    expected={"quality": min(1.0, max(0.0, worth + rng.gauss(0, 0.1)))},
                )
            )  # fmt: skip
    return found


LEARN = score_learning.learn_score
LEARNED: dict[tuple[tuple[JudgedItem, ...], Method, int], LearnedScore] = {}


def learned_once(
    items: Sequence[JudgedItem], method: Method, *, trained_on: Mapping[str, Any], seed: int
) -> LearnedScore:
    """From the same items the same is learned, to which the test of two runs holds it;
    only whose study it was differs.
    """
    key = tuple(items), method, seed
    if key not in LEARNED:
        LEARNED[key] = LEARN(items, method, trained_on=trained_on, seed=seed)
    data = {name: value for name, value in LEARNED[key].predictor.items() if name != "hash"}
    data["trained_on"] = {**data["trained_on"], **trained_on}
    return replace(LEARNED[key], predictor=Predictor.from_data(data).to_data())


@pytest.fixture(scope="module", autouse=True)
def each_text_and_score_is_learned_from_once() -> Iterator[None]:
    """Most of these studies have the same items, and differ in what is asked of them."""
    read = cache(learned_knob.text_statistics)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learned_knob, "text_statistics", lambda text, title: dict(read(text, title)))
        patch.setattr(score_learning, "learn_score", learned_once)
        yield


def world_of(folder: Path, text_of: Callable[[random.Random, float], str] = by_length, **options: Any) -> World:
    world = World(folder, family=pipeline_family(space=options.pop("space", {}), rollout={"gates": {"n": 30}}))
    parts = (
        items("train", 1.0, text_of, **options),
        items("dev", 0.5, text_of, **options),
        items("holdout", 0.4, text_of, **options),
    )
    return world.fill(examples=[e for part in parts for e in part])


def ended(world: World, **asked: Any) -> Any:
    study = world.create(models=NoModels(), definition={**SIZES, **asked}, aim="cost")
    return world.run(study, models=NoModels())


def finding(study: Any) -> Any:
    return study.findings[CONTENT_SCORE]


def policy_of(world: World, variant: str) -> Any:
    with world.store.read() as tx:
        record = world.store.variants.get(tx, "content_pipeline", variant)
    assert record is not None
    return record.variant.policy


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Any]:
    """A world, and its study that was asked to keep a saving of .65."""
    world = world_of(tmp_path_factory.mktemp("kept"))
    return world, ended(world, keep_saved=0.65)


def test_a_saving_is_kept_by_a_policy_with_a_score_for_each_type_that_could_be_trained(kept: tuple[World, Any]) -> None:
    world, study = kept
    assert study.outcome == "nominated", study.error or study.spend.remark or study.confirmation
    (point,) = finding(study)["points"]
    assert (point["variant"], point["score"]) == (study.winner, PLAIN), "length tells it all: the simpler one serves"
    assert point["on_train"][PLAIN]["saved"] == pytest.approx(0.65, abs=0.01)
    assert point["on_train"][PLAIN]["saved"] >= 0.65
    policy = policy_of(world, study.winner)
    assert (policy["score"]["kind"], set(policy["score"]["types"])) == ("learned", {"guide", "forum", "note"})
    assert {policy[f"route.{name}"] for name in policy["score"]["types"]} == {"quality_check"}
    assert [one["type"] for one in finding(study)["not_trained"]] == ["poem"]


def test_the_table_of_dev_is_what_the_study_measured_item_by_item(kept: tuple[World, Any]) -> None:
    world, study = kept
    (point,) = finding(study)["points"]
    rows = {row["type"]: row for row in point["on_dev"][PLAIN]}
    with world.store.read() as tx:
        results = world.store.studies.results(tx, study.id, "search")[study.winner]
    full = [r.example.split("-")[1] for r in results if json.loads(r.output or "")["processing_type"] == "full"]
    assert {name: row["n_full"] for name, row in rows.items() if name != "all"} == {
        name: full.count(name) for name in N_OF
    }
    assert rows["all"]["n_full"] == len(full)
    assert {name: row["decided_by"] for name, row in rows.items()} == {
        "all": "", "guide": PLAIN, "forum": PLAIN, "note": LENGTH, "poem": "filter, not trained",
    }  # fmt: skip
    assert rows["guide"]["quality"] > 0.75
    assert rows["guide"]["low"] < rows["guide"]["quality"] < rows["guide"]["high"]


def test_characters_serve_where_they_are_better_for_sure_and_the_plain_statistics_stand_beside(tmp_path: Path) -> None:
    study = ended(world_of(tmp_path, by_spelling), keep_saved=0.65)
    (point,) = finding(study)["points"]
    assert (point["score"], set(point["on_dev"])) == (CHARACTERS, {CHARACTERS, PLAIN})
    quality = {name: rows[0]["quality"] for name, rows in point["on_dev"].items()}
    assert quality[CHARACTERS] > quality[PLAIN] + 0.1
    assert "better for sure" in point["why"]


def test_words_that_nobody_released_are_not_learned_from(tmp_path: Path) -> None:
    world = world_of(tmp_path, by_spelling, released=False)
    study = ended(world, keep_saved=0.65)
    (point,) = finding(study)["points"]
    assert set(point["on_dev"]) == {PLAIN}
    assert "words are learned from released items alone" in point["why"]
    parts = [
        p for one in policy_of(world, point["variant"])["score"]["types"].values() for p in one["predictor"]["parts"]
    ]
    assert {part["kind"] for part in parts} == {"linear"}, "no pieces of texts"


def test_a_quality_is_kept_at_the_most_saving(tmp_path: Path) -> None:
    study = ended(world_of(tmp_path), keep_quality=0.7)
    (point,) = finding(study)["points"]
    served = point["on_train"][point["score"]]
    assert served["saved"] == pytest.approx(0.8, abs=0.01)
    assert served["quality"] > 0.7


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (
            {"keep_quality": 0.999},
            r"a quality of 0.999 cannot be kept for sure at any saving up to 80% \(at 80% saved: 25 statistics 0\.",
        ),
        ({"keep_saved": 0.9}, r"90% of the time cannot be saved: with no scored item in full it is 8\d\.\d%"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused_with_what_can(tmp_path: Path, asked: dict[str, float], why: str) -> None:
    study = ended(world_of(tmp_path), **asked)
    assert study.outcome == "no_improvement"
    assert re.search(why, study.spend.remark)


def test_without_texts_filter_and_routes_are_searched_for_the_same_wish(tmp_path: Path) -> None:
    world = World(tmp_path, family=pipeline_family(space={}, rollout={"gates": {"n": 30}}))
    world.fill(examples=[*measured_items(200, "train"), *measured_items(80, "dev"), *measured_items(60, "holdout")])
    study = ended(world, keep_saved=0.65)
    (point,) = finding(study)["points"]
    assert point["score"] == KNOBS
    saved = point["on_dev"][KNOBS][0]["saved"]
    assert saved == pytest.approx(0.675, abs=0.1)


def test_a_space_that_names_a_score_without_data_gets_one_for_each_of_four_savings(tmp_path: Path) -> None:
    world = world_of(tmp_path, space={"policy.score": {"choices": [{"kind": "learned"}]}})
    study = ended(world)
    saved = [point["on_train"][point["score"]]["saved"] for point in finding(study)["points"]]
    assert saved == [pytest.approx(point, abs=0.01) for point in POINTS]
    assert len(world.trials(study)) == 1 + len(POINTS)


def test_what_a_predictor_was_not_trained_on_has_no_group_in_common_with_what_it_was() -> None:
    def judged(row: int, group: str, released: bool = True) -> JudgedItem:
        return JudgedItem(row=row, text="", title="", quality=0.5, group=group, released=released)

    its = [
        judged(0, "a"),
        judged(1, "b"),
        judged(2, "a", released=False),
        judged(3, "b"),
        judged(4, "c"),
        judged(5, "d"),
    ]
    released = [item for item in its if item.released]
    assert [item.row for item in whole_groups(its, of=released, most=10)] == [1, 3, 4, 5], (
        "half of group a may not be shown"
    )
    assert [item.row for item in whole_groups(its, of=released, most=2)] == [1, 3]
    assert [item.row for item in whole_groups(its, of=its, most=3)] == [0, 2, 4], "b would be one too many"


def test_two_runs_learn_the_same(kept: tuple[World, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_learning, "learn_score", LEARN)
    again = ended(world_of(tmp_path), keep_saved=0.65)
    one, other = ([(p["score"], p["why"], p["on_dev"]) for p in finding(study)["points"]] for study in (kept[1], again))
    assert one == other


@pytest.mark.parametrize("value", [0, 1, 1.2, "much", True])
def test_what_is_to_be_kept_is_a_share(value: Any) -> None:
    with pytest.raises(InvalidInput, match="needs a share between 0 and 1"):
        Definition.parse({"keep_saved": value})


def test_one_of_the_two_is_kept() -> None:
    with pytest.raises(InvalidInput, match="keep one of the two"):
        Definition.parse({"keep_saved": 0.65, "keep_quality": 0.7})


def test_a_prompt_has_nothing_of_the_kind_to_keep(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="keep_saved asks for the knobs of a content pipeline"):
        World(tmp_path).fill().create(definition={"keep_saved": 0.65})


def test_a_dry_run_counts_the_time_of_learning_and_one_proposal() -> None:
    kept = replay_estimate(Definition(keep_saved=0.65), 1200)
    assert (kept.n_trials, kept.calls.high) == (2, 0)
    assert kept.minutes.low < 20 / 60 < kept.minutes.high
    assert replay_estimate(Definition(), 1200).minutes.high < kept.minutes.low


def test_what_is_typed_stands_in_the_place_of_what_a_definition_keeps() -> None:
    asked = StudyRequest.of({"keep_quality": 0.7, "n_dev": 30}, keep={"keep_saved": 0.65, "keep_quality": None})
    assert (asked.aim, asked.definition) == (None, {"n_dev": 30, "keep_saved": 0.65})


@pytest.mark.parametrize(
    ("mode", "asked", "aim"),
    [
        ("full", {"keep_saved": 0.65}, "cost"),
        ("full", {"keep_quality": 0.7}, "cost"),
        ("lightweight", {"keep_saved": 0.65}, "quality"),
        ("lightweight", {"keep_quality": 0.7}, "quality"),
        ("full", {}, "quality"),
    ],
)
def test_the_aim_is_time_where_the_champion_saves_less_than_is_to_be_kept(
    tmp_path: Path, mode: str, asked: dict[str, float], aim: str
) -> None:
    family = pipeline_family(space={}, rollout={"gates": {"n": 30}})
    policy = family.prompt.versions["balanced"].policy | {f"route.{name}": mode for name in N_OF}
    declared = family.prompt.model_copy(
        update={"versions": {"balanced": family.prompt.versions["balanced"].model_copy(update={"policy": policy})}}
    )
    world = World(tmp_path, family=family.model_copy(update={"prompt": declared}))
    world.fill(
        examples=[*items("train", 0.3, by_length), *items("dev", 0.3, by_length), *items("holdout", 0.3, by_length)]
    )
    assert world.create(models=NoModels(), definition={**SIZES, **asked}).aim == aim


def test_people_read_it_by_type_with_the_number_of_items_and_that_it_does_not_transfer(kept: tuple[World, Any]) -> None:
    world, study = kept
    told = "\n".join(score_lines(study))
    page = study_page(report_study(study.id, family=world.family, store=world.store, clock=world.clock))
    assert "What the learned score does" in page
    assert escape(finding(study)["note"]) in page
    assert "Time share" in page
    assert "Quality against time" in page
    for unpaid in ("Dollars a call", "Quality against dollars"):
        assert unpaid not in page, "a replayed item costs time and no dollars"
    assert "No transfer to other forums" in told
    assert "Not trained on poem: 4 items with text and quality, and 10 are needed; the filter decides about it." in told
    for name, n in N_OF.items():
        line = next(line for line in told.splitlines() if line.strip().startswith(name))
        assert line.split()[1] == str(round(n * 0.5))
