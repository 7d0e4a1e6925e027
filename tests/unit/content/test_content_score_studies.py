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
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from markupsafe import escape

from optimizer.adapters.reports.study_report import study_page
from optimizer.cli.study.run import request_members
from optimizer.cli.study.view import score_lines
from optimizer.content.adapters import replay_search
from optimizer.content.core.policy import learned_knob
from optimizer.content.core.search.learned_score import CHARACTERS, LENGTH, PLAIN, JudgedItem, LearnedScore, Method
from optimizer.content.core.search.score_strategy import KNOBS, POINTS, whole_groups, why_chosen
from optimizer.content.jobs.replayed_study import ReplayedStudy
from optimizer.core.base.errors import GateNotMet, InvalidInput
from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.gates import GateSettings, missed_gates
from optimizer.core.predictor.predictor import Predictor
from optimizer.core.rollout.start import gates_on_record
from optimizer.core.search.cost_estimate import replay_estimate
from optimizer.core.search.study import CONTENT_SCORE, REMARKS, Definition
from optimizer.jobs.studies.report_study import report_study
from tests.unit.policies.test_policy_studies import NoModels, items as measured_items, pipeline_family
from tests.worlds.study_world import START, World

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
    usual = {"family": "content_pipeline", "split": split, "created_at": START, "released": released}
    usual["origin"] = "curated" if released else "import"
    found = []
    for name, n in N_OF.items():
        for i in range(round(n * share)):
            rng = random.Random(f"{split} {name} {i}")
            worth = rng.random()
            input = {"content_type": name, "text": text_of(rng, worth)}
            expected = {"quality": min(1.0, max(0.0, worth + rng.gauss(0, 0.1)))}
            id, group = f"{split}-{name}-{i:03d}", f"{split}-{name}-{i}"
            found.append(Example(id=id, group=group, input=input, expected=expected, **usual))
    return found


LEARN = replay_search.learn_score
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
        patch.setattr(replay_search, "learn_score", learned_once)
        yield


def items_of(
    text_of: Callable[[random.Random, float], str] = by_length, *, sealed: float = 0.8, **options: Any
) -> list[Example]:
    shares = {"train": 1.0, "dev": 0.5, "holdout": sealed}
    return [e for split, share in shares.items() for e in items(split, share, text_of, **options)]


def guides(examples: list[Example]) -> list[Example]:
    """The items of one type: what needs no second is learned in half the time."""
    return [e for e in examples if e.input["content_type"] == "guide"]


def filled(folder: Path, examples: list[Example], space: Any = None) -> World:
    return World(folder, family=pipeline_family(space=space or {}, rollout={"gates": {"n": 30}})).fill(
        examples=examples
    )


def world_of(folder: Path, *given: Any, space: Any = None, **options: Any) -> World:
    return filled(folder, items_of(*given, **options), space)


def routed(folder: Path, mode: str, sealed: float = 0.3) -> World:
    """A champion that processes every type in one way."""
    family = pipeline_family(space={}, rollout={"gates": {"n": 30}})
    policy = family.prompt.versions["balanced"].policy | {f"route.{name}": mode for name in N_OF}
    declared = family.prompt.model_copy(
        update={"versions": {"balanced": family.prompt.versions["balanced"].model_copy(update={"policy": policy})}}
    )
    world = World(folder, family=family.model_copy(update={"prompt": declared}))
    return world.fill(
        examples=[*items("train", 1.0, by_length), *items("dev", 0.3, by_length), *items("holdout", sealed, by_length)]
    )


def ended(world: World, aim: str = "cost", **asked: Any) -> Any:
    study = world.create(models=NoModels(), definition={**SIZES, **asked}, aim=aim)
    return world.run(study, models=NoModels())


def finding(study: Any) -> Any:
    return study.findings[CONTENT_SCORE]


def policy_of(world: World, variant: str) -> Any:
    with world.store.read() as tx:
        record = world.store.variants.get(tx, "content_pipeline", variant)
    return record.variant.policy


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Any]:
    """A world, and its study that was asked to keep a saving of .65."""
    world = world_of(tmp_path_factory.mktemp("kept"))
    return world, ended(world, keep_saved=0.65, n_settings=None)  # as it is typed


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
        "all": "",
        "guide": PLAIN,
        "forum": PLAIN,
        "note": LENGTH,
        "poem": "filter, not trained",
    }
    assert rows["guide"]["quality"] > 0.75
    assert rows["guide"]["low"] < rows["guide"]["quality"] < rows["guide"]["high"]


@pytest.mark.long
def test_characters_serve_where_they_are_better_for_sure_and_the_plain_statistics_stand_beside(tmp_path: Path) -> None:
    study = ended(world_of(tmp_path, by_spelling), keep_saved=0.65)
    (point,) = finding(study)["points"]
    assert (point["score"], set(point["on_dev"])) == (CHARACTERS, {CHARACTERS, PLAIN})
    quality = {name: rows[0]["quality"] for name, rows in point["on_dev"].items()}
    assert quality[CHARACTERS] > quality[PLAIN] + 0.1
    assert "better for sure" in point["why"]


def test_words_that_nobody_released_are_not_learned_from(tmp_path: Path) -> None:
    world = filled(tmp_path, guides(items_of(by_spelling, released=False)))
    study = ended(world, keep_saved=0.65)
    (point,) = finding(study)["points"]
    assert set(point["on_dev"]) == {PLAIN}
    assert "words are learned from released items alone" in point["why"]
    parts = [
        p for one in policy_of(world, point["variant"])["score"]["types"].values() for p in one["predictor"]["parts"]
    ]
    assert {part["kind"] for part in parts} == {"linear"}, "no pieces of texts"


@pytest.mark.parametrize(
    ("asked", "wished"), [({"keep_saved": 0.8}, {"saving", "quality"}), ({"keep_quality": 0.7}, {"quality"})]
)
@pytest.mark.long
def test_what_was_wished_is_confirmed_though_most_good_items_are_left_out(tmp_path, asked, wished):
    world = world_of(tmp_path)
    study = ended(world, n_holdout=220, **asked)
    confirmation = study.confirmation
    assert study.outcome == "nominated", study.error or confirmation
    gates = {gate["name"]: gate for gate in confirmation["gates"]}
    assert gates.keys() == {"improvement", "confidence", "risk", "n"} | wished
    assert gates["risk"]["value"] > world.family.rollout.gates.max_risk, "items not processed count as losses there"
    assert gates["risk"]["reason"].startswith("off, since")
    assert {floor["name"]: floor["floor"] for floor in confirmation["wished"]}[
        "saving" if "keep_saved" in asked else "quality"
    ] in asked.values()
    assert not missed_gates(gates_on_record(study, variant=study.winner, champion=study.champion, aim="cost"))
    if "keep_quality" in asked:
        (point,) = finding(study)["points"]
        served = point["on_train"][point["score"]]
        assert served["saved"] == pytest.approx(0.8, abs=0.01), "as much as may be"
        assert served["quality"] > 0.7


def test_a_saving_is_that_of_the_items_however_unequal_their_groups_are() -> None:
    """The mean of groups would count a group of five items as much as one of one."""
    sealed = in_groups(items("holdout", 0.8, by_length), "forum", 20)

    def results(costs: Callable[[Example], float]) -> list[ExampleResult]:
        full = '{"processing_type": "full"}'
        return [ExampleResult(example=e.id, score=0.5, output=full, cost_usd=costs(e)) for e in sealed]

    candidate = results(lambda e: 0.0 if e.input["content_type"] == "forum" else 1.0)
    study: Any = SimpleNamespace(definition={"keep_saved": 0.4, "keep_quality": None}, aim="quality")
    (saving,) = ReplayedStudy().wished_floors(study, results(lambda e: 1.0), candidate, sealed, GateSettings(), 1)
    test = saving["test"]
    assert saving["measured"] == pytest.approx(104 / 230)
    assert test is not None
    assert (test["test"], test["n"]) == ("bootstrap", 20 + 104 + 19 + 3), "items of one group count once"
    assert test["p"] < 0.2


def test_a_wish_that_the_sealed_items_do_not_bear_out_starts_no_rollout(tmp_path: Path) -> None:
    """Of the sealed items length says nothing, so that what is processed in full is of middling quality."""
    examples = [replace(e, expected={"quality": 0.5}) if e.split == "holdout" else e for e in guides(items_of())]
    world = filled(tmp_path, examples)
    study = ended(world, keep_quality=0.7, n_holdout=110)
    assert study.outcome == "not_confirmed"
    (quality,) = missed_gates(gates_on_record(study, variant=study.winner, champion=study.champion, aim="cost"))
    assert quality["name"] == "quality"
    assert "0.500" in quality["reason"]
    with pytest.raises(GateNotMet, match="did not pass: quality"):
        world.confirm(study.winner, "cost", models=NoModels())


def test_a_saving_is_proposed_where_most_items_are_worth_processing(tmp_path: Path) -> None:
    """The mean is .7 here, so that any item left out, at .5, lowers the score; saving was wished all the same."""
    better = [replace(e, expected={"quality": 0.5 + 0.4 * e.expected["quality"]}) for e in guides(items_of())]
    study = ended(filled(tmp_path, better), keep_saved=0.65, n_holdout=110)
    assert study.outcome == "nominated", study.error or study.spend.remark or study.confirmation


def in_groups(examples: Sequence[Example], name: str, n: int) -> list[Example]:
    """The items of one type in so few groups."""
    return [
        replace(e, group=f"{name}-{e.split}-{i % n}") if e.input["content_type"] == name else e
        for i, e in enumerate(examples)
    ]


def test_a_type_in_too_few_groups_is_told_with_its_cost_by_the_dry_run_and_by_the_study(tmp_path: Path) -> None:
    world = filled(tmp_path, in_groups(items_of(), "forum", 3))
    asked = {"models": NoModels(), "definition": {**SIZES, "keep_saved": 0.65}, "aim": "cost"}
    (told,) = world.create(dry_run=True, **asked).remarks
    study = world.create(**asked)
    assert study.findings[REMARKS] == [told]
    assert "forum: 130 items with text and quality stand in 3 groups, and 5 of at most 2,000 items" in told
    assert "poem: 4 items" in told
    assert re.search(r"process \d+% of them in full", told)
    assert re.search(r"at most \d+\.\d% of the time can be saved", told)
    assert world.create(dry_run=True, models=NoModels(), definition=SIZES).remarks == []


def test_a_type_whose_words_nobody_released_is_told_by_the_dry_run(tmp_path: Path) -> None:
    hidden = [replace(e, released=e.input["content_type"] != "forum") for e in items_of()]
    asked = {"models": NoModels(), "definition": {**SIZES, "keep_saved": 0.65}, "aim": "cost"}
    remarks = filled(tmp_path, hidden).create(dry_run=True, **asked).remarks
    assert remarks[-1].startswith("Of forum no words are learned, statistics alone: 100 items of a type are needed")


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
def test_a_wish_that_cannot_be_met_is_refused_with_what_can(
    kept: tuple[World, Any], asked: dict[str, float], why: str
) -> None:
    study = ended(kept[0], **asked)
    assert study.outcome == "no_improvement"
    assert re.search(why, study.spend.remark)


def test_without_texts_filter_and_routes_are_searched_for_the_same_wish(tmp_path: Path) -> None:
    measured = [*measured_items(200, "train"), *measured_items(80, "dev"), *measured_items(60, "holdout")]
    study = ended(filled(tmp_path, measured), keep_saved=0.65)
    (point,) = finding(study)["points"]
    assert point["score"] == KNOBS
    saved = point["on_dev"][KNOBS][0]["saved"]
    assert saved == pytest.approx(0.675, abs=0.1)


def test_a_space_that_names_a_score_without_data_gets_one_for_each_of_four_savings(kept: tuple[World, Any]) -> None:
    space = {"policy.score": {"choices": [{"kind": "learned"}]}}
    world = World(kept[0].folder, family=pipeline_family(space=space, rollout={"gates": {"n": 30}}))
    study = ended(world)
    saved = [point["on_train"][point["score"]]["saved"] for point in finding(study)["points"]]
    assert saved == [pytest.approx(point, abs=0.01) for point in POINTS]
    assert len(world.trials(study)) == 1 + len(POINTS)


def test_what_a_predictor_was_not_trained_on_has_no_group_in_common_with_what_it_was() -> None:
    def judged(row: int, group: str, released: bool = True) -> JudgedItem:
        return JudgedItem(row=row, text="", title="", quality=0.5, group=group, released=released)

    its = [judged(row, group, released=row != 2) for row, group in enumerate("ababcd")]
    released = [item for item in its if item.released]
    assert [item.row for item in whole_groups(its, of=released, most=10)] == [1, 3, 4, 5], (
        "half of group a may not be shown"
    )
    assert [item.row for item in whole_groups(its, of=released, most=2)] == [1, 3]
    assert [item.row for item in whole_groups(its, of=its, most=3)] == [0, 2, 4], "b would be one too many"


def test_two_runs_learn_the_same(kept: tuple[World, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    world, study = kept
    monkeypatch.setattr(replay_search, "learn_score", LEARN)
    again = ended(world, keep_saved=0.65)
    one, other = ([(p["score"], p["why"], p["on_dev"]) for p in finding(each)["points"]] for each in (study, again))
    assert one == other


@pytest.mark.parametrize("value", [0, 1, 1.2, "much", True])
def test_what_is_to_be_kept_is_one_share(value: Any) -> None:
    with pytest.raises(InvalidInput, match="needs a share between 0 and 1"):
        Definition.parse({"keep_saved": value})
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
    typed = {**dict.fromkeys(("strategy", "aim", "usd", "calls", "minutes", "seed")), "keep": {"keep_saved": 0.65}}
    members = request_members({"keep_quality": 0.7, "n_dev": 30}, **typed)
    assert (members["aim"], members["definition"]) == (None, {"n_dev": 30, "keep_saved": 0.65})


def test_the_aim_is_time_where_the_champion_saves_less_than_is_to_be_kept(tmp_path: Path) -> None:
    for mode in ("full", "lightweight"):
        (tmp_path / mode).mkdir()
    full, light = routed(tmp_path / "full", "full"), routed(tmp_path / "lightweight", "lightweight")
    for wish in ({"keep_saved": 0.65}, {"keep_quality": 0.7}):
        assert ReplayedStudy().aim(full.family, wish, full.store) == "cost"
        assert ReplayedStudy().aim(light.family, wish, light.store) == "quality"
    assert ReplayedStudy().aim(full.family, {}, full.store) == "quality"
    assert full.create(models=NoModels(), definition={**SIZES, "keep_saved": 0.65}).aim == "cost"


@pytest.mark.long
def test_a_champion_that_saves_more_than_was_wished_is_beaten_by_any_gain_in_score(tmp_path: Path) -> None:
    """It processes nothing in full, so that all it could gain is some .07 of .5, less than gates.improvement."""
    study = ended(routed(tmp_path, "lightweight", 0.8), aim="quality", n_holdout=220, keep_saved=0.65)
    assert study.outcome == "nominated", study.error or study.confirmation
    gates = [gate["name"] for gate in study.confirmation["gates"]]
    assert gates == ["improvement", "saving", "confidence", "risk", "n"]


def test_people_read_it_by_type_with_the_number_of_items_and_that_it_does_not_transfer(kept: tuple[World, Any]) -> None:
    world, study = kept
    told = "\n".join(score_lines(study))
    page = study_page(report_study(study, family=world.family, store=world.store, clock=world.clock))
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


@pytest.mark.parametrize(
    ("serves", "said"),
    [(PLAIN, "so the simpler one serves"), (CHARACTERS, "but the simpler one saves less at the quality asked for")],
)
def test_of_two_scores_that_cannot_be_told_apart_the_reason_names_the_one_that_serves(serves: str, said: str) -> None:
    draws = np.random.default_rng(1).random(200)
    points: dict[str, Any] = {
        name: SimpleNamespace(
            way=SimpleNamespace(name=name),
            outcome=SimpleNamespace(quality=0.7, time_saved_share=0.65),
            draws=draws if name == PLAIN else draws[::-1],
        )
        for name in (PLAIN, CHARACTERS)
    }
    why = why_chosen(points[serves], list(points.values()))
    assert why.startswith(f"{serves} serves: ")
    assert why.endswith(f"beside {PLAIN}: not better for sure, {said}.")
