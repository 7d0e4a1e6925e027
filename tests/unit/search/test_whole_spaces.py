"""A finite space that the budget covers is tried whole; a search that ends early says what it left, and why."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, replace
from math import inf
from typing import Any

import pytest

from optimizer.adapters.search.tpe import SettingsSearch
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import Budget
from optimizer.core.family.variant import space_faults
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.search.call_estimate import n_settings_within
from optimizer.core.search.space import MOST_LISTED, drawn_points, instruction_of, most_points, n_points, parse_space
from optimizer.core.search.strategy import Proposal
from optimizer.core.search.study import LIST_ALONE, POINTS, REMARKS, Definition
from optimizer.core.views.study_headline import headline
from tests.stand_ins.scripted_model import FREE
from tests.worlds.study_world import TOPICS, TopicModel, World, search_setting, topic_examples, topic_family

N_DEV = 8
CONFIRMED = 2 * 4  # calls of a confirmation
SIZES = {"n_train": 6, "n_dev": N_DEV, "n_holdout": 4, "n_candidates": 0, "max_examples": 0, "n_settings": None}
N = 10  # instructions that are listed: more than a study tries by default
BEST = 9


class Manners(TopicModel):
    """Knows every topic under the instruction ``BEST``, and a fifth of them under any other."""

    def _text(self, request: ModelRequest) -> str:
        text, told = str(request.messages[-1]["content"]), str(request.messages[0]["content"])
        level = 1.0 if told == instruction(BEST) else 0.2
        luck = hashlib.sha256(text.encode()).digest()[0] / 256
        return next(t for t in TOPICS if t in text) if luck < level else "I would rather not say."


def instruction(number: int) -> str:
    return f"Name the topic, in manner {number}."


def world_of(folder, n: int = N, n_train: int = 30, n_dev: int = N_DEV, model: TopicModel | None = None) -> World:
    space = {"instruction": {"choices": [instruction(i) for i in range(n)]}}
    return World(folder, model=model or Manners(), family=topic_family(space=space)).fill(n_train=n_train, n_dev=n_dev)


def searched(world, strategy: str, calls: int = 500, **definition):
    return world.run(world.create(strategy=strategy, definition={**SIZES, **definition}, budget=Budget(calls=calls)))


def instructions_tried(world, study) -> set:
    return {instruction_of(variant) for variant in world.tried(study)} - {"Name the topic."}


def test_every_choice_is_tried_where_the_budget_allows(tmp_path):
    world = world_of(tmp_path)
    study = searched(world, "race", 1000, n_holdout=20)
    assert instructions_tried(world, study) == {instruction(i) for i in range(N)}
    assert study.outcome == "nominated"
    assert instruction_of(world.winner(study)) == instruction(BEST)
    assert f"; every point of the space was tried ({N}) with {study.spend.n_calls:,} of 1,000 calls." in headline(
        study, world.trials(study)
    )


def test_a_list_is_tried_whole_where_the_budget_pays_for_four_rows_of_each(tmp_path):
    world = world_of(tmp_path)
    cap = CONFIRMED + 4 * (N + 1)  # the champion's own instruction is not in the list
    study = searched(world, "joint", cap)
    assert len(instructions_tried(world, study)) == N
    assert study.spend.n_calls <= cap
    assert instruction_of(world.winner(study)) == instruction(BEST)


def test_a_list_is_tried_whole_where_no_example_is_released_for_sets_beside_it(tmp_path):
    world = world_of(tmp_path, n_train=0)
    study = searched(world, "race", CONFIRMED + 4 * (N + 1), n_candidates=4, max_examples=2, n_run_off=0)
    assert len(instructions_tried(world, study)) == N


@pytest.mark.parametrize(
    ("strategy", "more", "own"),
    [
        pytest.param("race", {"examples": {"max": 2}}, [], id="examples vary, champion's not listed"),
        pytest.param("joint", {}, ["Name the topic."], id="alone, champion's listed"),
    ],
)
def test_a_list_comes_before_sets_of_examples_where_the_calls_do_not_pay_for_both(tmp_path, strategy, more, own):
    world = world_of(tmp_path)
    definition = {**SIZES, "n_candidates": None, "max_examples": None, "n_run_off": 0}
    choices = world.family.space["instruction"]["choices"]
    definition["space"] = {"instruction": {"choices": [*own, *choices]}, **more}
    asked = {"strategy": strategy, "definition": definition, "budget": Budget(calls=CONFIRMED + 4 * (N + 1))}
    study = world.run(world.create(**asked))
    assert LIST_ALONE in study.findings[REMARKS]
    assert len(instructions_tried(world, study)) == N
    assert not any(variant.examples for variant in world.tried(study))
    for changed in (
        {"budget": Budget(calls=1000)},
        {"definition": {**definition, "n_candidates": 8}},
        {"definition": {**definition, "n_settings": N}},
        {"strategy": f"bootstrap+{'settings' if strategy == 'race' else strategy}"},
    ):
        assert LIST_ALONE not in world.create(**{**asked, **changed}, dry_run=True).remarks


def test_calls_for_all_but_one_of_a_list_try_all_but_one(tmp_path):
    world = world_of(tmp_path)
    study = searched(world, "race", CONFIRMED + 4 * N, n_candidates=None, max_examples=None)
    assert LIST_ALONE in study.findings[REMARKS]
    assert len(instructions_tried(world, study)) == N - 1


def test_a_cap_is_counted_with_the_sealed_rows_that_there_are(tmp_path):
    world = world_of(tmp_path)  # 24 of the 100 that are asked for
    study = searched(world, "race", 2 * 24 + 4 * (N + 1), n_holdout=100)
    assert len(instructions_tried(world, study)) == N


@pytest.mark.parametrize(
    ("own", "temperatures", "strategy"),
    [
        pytest.param(["Name the topic."], {"choices": [0.0, 0.3, 0.6]}, "race", id="champion's temperature"),
        pytest.param([], {"choices": [0.9, 0.3, 0.6]}, "joint", id="others alone"),
        pytest.param([], {"float": [0.2, 1.0]}, "race", id="a range"),
    ],
)
@pytest.mark.parametrize("calls", [CONFIRMED + 4 * (N + 1), pytest.param(160, marks=pytest.mark.long)])
def test_of_a_product_with_a_list_each_instruction_comes_first(tmp_path, own, temperatures, strategy, calls):
    world = world_of(tmp_path)
    choices = [*own, *world.family.space["instruction"]["choices"]]
    space = {"temperature": temperatures, "instruction": {"choices": choices}, "examples": {"max": 2}}
    study = searched(world, strategy, calls, n_candidates=None, max_examples=None, space=space)
    assert len(instructions_tried(world, study)) == N


class DearManners(Manners):
    """Each answer costs the upper end of a dry run."""

    def __init__(self) -> None:
        super().__init__()
        self.cost_usd = 0.0

    def _answer(self, request: ModelRequest) -> ModelAnswer:
        return replace(super()._answer(request), cost_usd=self.cost_usd)


@pytest.mark.parametrize(("strategy", "kind", "calls"), [("joint", "minutes", None), ("settings", "usd", 1000)])
def test_a_cap_that_is_not_on_calls_counts_as_the_calls_that_it_pays_for(tmp_path, calls, kind, strategy):
    model = DearManners()
    world = world_of(tmp_path, model=model)
    asked = {"strategy": strategy, "definition": SIZES}
    cost = world.create(**asked, budget=Budget(calls=1000), dry_run=True)
    model.cost_usd = cost.without_a_cap.usd.high / cost.without_a_cap.calls.high
    kept, most = (cost.reserved_usd if kind == "usd" else 0.0), getattr(cost.without_a_cap, kind).high
    few = Budget(calls=calls, **{kind: kept + most / 8})
    assert f"At most 8 of {N} listed instructions are tried; more --budget-calls" in " ".join(
        world.create(**asked, budget=few, dry_run=True).remarks
    )
    study = world.run(world.create(**asked, budget=Budget(calls=calls, **{kind: kept + most})))
    assert len(instructions_tried(world, study)) == N


def test_dollars_pay_for_the_end_of_a_race_too(tmp_path):
    n_dev = 30
    model = DearManners()
    world = world_of(tmp_path, n_dev=n_dev, model=model)
    asked = {"strategy": "race", "definition": {**SIZES, "n_dev": n_dev}}
    cost = world.create(**asked, budget=Budget(calls=9999), dry_run=True)
    model.cost_usd = cost.without_a_cap.usd.high / cost.without_a_cap.calls.high
    usd = cost.reserved_usd + (4 * (N + 1) + 2 * n_dev + 4) * model.cost_usd
    study = world.run(world.create(**asked, budget=Budget(usd=usd)))
    assert len(instructions_tried(world, study)) == N
    assert study.spend.usd <= usd


def test_dollars_that_a_free_model_never_spends_allow_what_no_cap_allows(tmp_path):
    world = world_of(tmp_path, model=Manners(price=FREE))
    free, uncapped = (
        world.create(strategy="race", definition=SIZES, budget=budget, dry_run=True)
        for budget in (Budget(usd=1), Budget(calls=1000))
    )
    assert "listed" not in " ".join(free.remarks)
    assert free.n_trials == uncapped.n_trials


def test_joint_measures_each_choice_on_all_rows_where_its_budget_pays_for_that(tmp_path):
    world = world_of(tmp_path)
    study = searched(world, "joint", CONFIRMED + (N + 1) * N_DEV)
    assert {trial.n for trial in world.trials(study)} == {N_DEV}


def test_a_choice_that_is_listed_twice_is_one_point():
    space = {"instruction": {"choices": ["a", "b", "a"]}, "temperature": {"choices": [0.1, 0.2, 0.1]}}
    assert most_points(space, topic_family().variant(), max_examples=0) == 4


def test_a_search_that_tried_few_points_says_how_many_there_are_and_what_tries_the_rest(tmp_path):
    world = world_of(tmp_path)
    study = searched(world, "settings", n_settings=4)
    assert len(instructions_tried(world, study)) == 4
    told = headline(study, world.trials(study))
    assert f"; 4 of {N} possible points of the space were tried with {study.spend.n_calls} of 500 calls" in told
    needed = study.spend.n_calls + (N - 4) * N_DEV
    assert told.endswith(f"n_settings: {N} in the definition tries all with about {needed} calls.")


def test_a_search_of_a_range_says_that_it_has_no_end(tmp_path):
    world = world_of(tmp_path)
    study = searched(world, "settings", n_settings=4, space={"temperature": {"float": [0.0, 1.0]}})
    assert "; 4 points of a space without end were tried" in headline(study, world.trials(study))


def test_a_dry_run_says_that_not_every_listed_instruction_is_tried_and_why(tmp_path):
    world = world_of(tmp_path)

    def remarks(calls: int, **more: Any) -> str:
        space = {**world.family.space, **more}
        asked = {"strategy": "race", "definition": {**SIZES, "space": space}, "budget": Budget(calls=calls)}
        return " ".join(world.create(**asked, dry_run=True).remarks)

    enough = CONFIRMED + 4 * (N + 1)
    assert "listed" not in remarks(enough)
    assert f"At most 9 of {N} listed instructions are tried; more --budget-calls" in remarks(CONFIRMED + 40)
    told = remarks(enough, temperature={"choices": [0.0, 0.3, 0.6]})
    assert f"At most {N} of the space's {3 * N} points are tried, each listed instruction first." in told
    for calls, n in ((enough, N), (1000, N + 8)):
        told = remarks(calls, temperature={"float": [0.0, 1.0]})
        assert f"At most {n} of the space's points are tried, each listed instruction first." in told
    given = {"strategy": "race", "definition": {**SIZES, "n_settings": 8}, "budget": Budget(calls=enough)}
    assert f"At most 8 of {N} listed instructions are tried; a larger n_settings" in " ".join(
        world.create(**given, dry_run=True).remarks
    )


@pytest.mark.parametrize(("text", "why"), [("Name {{topic}}.", "{{topic}} is no input"), (" ", "that is not empty")])
def test_a_listed_instruction_that_cannot_be_asked_is_refused_before_anything_is_spent(tmp_path, text, why):
    world = world_of(tmp_path)
    space = {"instruction": {"choices": [instruction(BEST), text]}}
    with pytest.raises(InvalidInput, match=re.escape(why)):
        world.create(strategy="race", definition={**SIZES, "space": space})
    assert why in " ".join(fault.detail for fault in space_faults(space, ["message"]))


def test_a_search_cut_by_its_budget_does_not_say_that_it_came_to_its_end(tmp_path):
    world = world_of(tmp_path)
    study = searched(world, "settings", CONFIRMED + N * N_DEV, n_settings=N)
    assert study.spend.search_cut is not None
    assert "points" not in headline(study, world.trials(study))


def proposed(strategy) -> list[Proposal]:
    found = []
    while (proposal := strategy.ask()) is not None:
        found.append(proposal)
        strategy.tell(proposal, 0.5, [])
    return found


def settings_search(n: int, **space) -> SettingsSearch:
    definition = {**asdict(Definition(n_settings=n)), "space": space}
    return SettingsSearch(search_setting(answer=None, definition=definition, seed=3))


def test_points_that_tpe_repeats_cost_nothing():
    """Of 40 points 39 are wanted, far more than TPE would give before it repeats itself five times."""
    search = settings_search(38, max_tokens={"int": [1, 10]}, temperature={"choices": [0.1, 0.2, 0.3, 0.4]})
    assert len({p.variant.id for p in proposed(search)}) == 38


def test_an_enumeration_takes_another_order_with_another_seed():
    orders = [
        list(
            drawn_points(parse_space({"max_tokens": {"int": [1, 9]}}, topic_family().variant(), max_examples=0), seed=s)
        )
        for s in (1, 2)
    ]
    assert orders[0] != orders[1]
    assert sorted(p["max_tokens"] for p in orders[0]) == list(range(1, 10))


@pytest.mark.parametrize(("n_wanted", "n_points"), [(12_000, 12_000), (11_000, 12_000)], ids=["whole", "most of it"])
def test_a_space_beyond_those_that_are_always_listed_is_listed_where_the_study_may_try_it(n_wanted, n_points):
    dimensions = parse_space({"max_tokens": {"int": [1, n_points]}}, topic_family().variant(), max_examples=0)
    drawn = list(drawn_points(dimensions, seed=1, n_wanted=n_wanted))
    assert sorted(point["max_tokens"] for point in drawn) == list(range(1, n_points + 1))


def test_a_study_tries_a_large_space_whole_where_it_may(monkeypatch):
    monkeypatch.setattr("optimizer.core.search.space.MOST_LISTED", 50)
    search = settings_search(105, max_tokens={"int": [1, 105]})
    assert len({p.variant.id for p in proposed(search)}) == 104, "all but the start"


def test_a_point_whose_request_is_too_long_is_no_proposal():
    definition = {**asdict(Definition(n_settings=9)), "space": {"max_tokens": {"int": [1, 9]}}}
    fits = lambda variant: variant.model["max_tokens"] % 2 == 0  # noqa: E731
    search = SettingsSearch(replace(search_setting(answer=None, definition=definition), fits=fits))
    assert sorted(p.params["max_tokens"] for p in proposed(search)) == [2, 4, 6]  # 8 is the start's


def test_a_point_that_is_no_policy_is_no_trial(tmp_path):
    space = {"policy.accept": {"choices": [0.5, 0.9]}, "policy.refine": {"choices": [0.3, 0.7]}}
    world = World(tmp_path, family=topic_family(space=space))
    world.add([*topic_examples(9, "train"), *topic_examples(6, "dev"), *topic_examples(20, "holdout")])
    world.crown(replace(world.family.variant(), policy={"tiers": ["fake", "large"], "accept": 0.8}))
    study = world.run(world.create(strategy="settings", definition={"n_settings": 4}))
    _, *tried = world.tried(study)
    points = sorted((variant.policy["accept"], variant.policy["refine"]) for variant in tried)
    assert points == [(0.5, 0.3), (0.9, 0.3), (0.9, 0.7)], "nothing is refined at .7 that is accepted at .5"
    assert study.findings[POINTS]["tried"] == 3


@pytest.mark.parametrize(
    ("space", "n"),
    [
        pytest.param({}, 0, id="nothing varies"),
        pytest.param({"temperature": {"float": [0, 1]}}, inf, id="a float has no end"),
        pytest.param({"temperature": {"choices": [0, 1]}, "max_tokens": {"int": [1, 3]}}, 6, id="a product"),
        pytest.param({"temperature": {"choices": [0, 1]}, "max_tokens": {"int": [7, 9]}}, 5, id="with the start's own"),
        pytest.param({"examples": {"max": 6}}, 4, id="examples that a search may add count"),
        pytest.param({"examples": {"max": 6, "order": True}}, 29, id="with their order"),
    ],
)
def test_the_points_of_a_space_beside_the_start_are_counted(space, n):
    assert most_points(space, topic_family().variant(), max_examples=4) == n


def test_an_empty_space_of_a_study_varies_nothing_whatever_the_family_declares():
    definition = Definition.parse({"space": {}})
    assert topic_family().space, "which is not what is searched"
    assert (
        search_setting(answer=None, definition=asdict(definition)).space == {} == definition.space_over({"model": {}})
    )


def test_a_space_without_end_is_drawn_from():
    dimensions = parse_space({"temperature": {"float": [0, 1]}}, topic_family().variant(), max_examples=0)
    assert n_points(dimensions) == inf
    drawn = [point["temperature"] for point in drawn_points(dimensions, seed=1)]
    assert len(drawn) == MOST_LISTED
    assert 0 <= min(drawn) < 0.01 < 0.99 < max(drawn) <= 1


@pytest.mark.parametrize(
    ("answers", "space", "n"),
    [
        pytest.param(800, {"temperature": {"float": [0.0, 1.0]}}, 8, id="the default in a space without end"),
        pytest.param(800, 26, 26, id="all of them"),
        pytest.param(800, 5, 5, id="no more than there are"),
        pytest.param(100, 26, 8, id="never fewer than the default"),
        pytest.param(340, 26, 16, id="as many as are paid for"),
        pytest.param(10**9, {"max_tokens": {"int": [1, 10**6]}}, 10_000, id="as many as a definition may name"),
    ],
)
def test_a_definition_that_does_not_say_takes_what_the_calls_pay_for(answers, space, n):
    sizes = Definition(n_dev=20, n_holdout=100, n_candidates=0, max_examples=0)
    if isinstance(space, int):
        space = {"max_tokens": {"choices": list(range(10, 10 + space))}}
    champion = topic_family().variant()
    assert n_settings_within(answers, ["settings"], sizes, may_race=False, space=space, champion=champion) == n
