"""Studies of cascades: every tier answers once, thresholds are replayed,
and what is nominated runs through the machine that serves.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from markupsafe import escape
from rich.console import Console

from optimizer.adapters.reports.study_report import study_page
from optimizer.cli.study.view import view
from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import InvalidInput, ModelFailed
from optimizer.core.base.phrasing import threshold
from optimizer.core.base.values import Budget
from optimizer.core.dataset.examples import Example, group_of
from optimizer.core.declaration.prompt_kind import policy_faults
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import few_shot
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.policy.tiers import ACCEPT
from optimizer.core.search.cascade import chain_search
from optimizer.core.search.cascade.cross_fitted import FittedSetting
from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import TierRecords
from optimizer.core.search.cascade.strategy import CascadeSearch, _alone, _champion, _on_groups, _with_policy
from optimizer.core.search.cascade.thresholds import LeastCost, search
from optimizer.core.search.run_off import LOSS, SAVED
from optimizer.core.views.study_headline import view_of_study
from optimizer.jobs.request import ItemRequest
from optimizer.jobs.studies.evaluation import ROWS_IN_TURN
from optimizer.jobs.studies.read_front import read_audit_cost
from optimizer.jobs.studies.report_study import read_study_report, report_study
from optimizer.runtime.use_cases import use_case_of
from optimizer.runtime.wiring import sealed_holdout
from tests.worlds.contexts import context_of
from tests.worlds.study_world import TOPICS, Killed, TopicModel, World, killed_at, topic_examples, topic_family

N_TRAIN, N_DEV = 60, 20
SIZES = {"n_train": N_TRAIN, "n_dev": N_DEV, "n_holdout": 60, "n_settings": 4}


class Tier(TopicModel):
    """Right on a share of the documents, and sure of itself where it is right; ``candour`` 0:
    as sure where it is wrong.
    """

    def __init__(
        self,
        name: str,
        right: float,
        usd_per_mtok: float,
        *,
        candour: float = 1.0,
        before: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(
            price=ModelPrice(input_usd_per_mtok=usd_per_mtok, output_usd_per_mtok=usd_per_mtok), before=before
        )
        self.name, self.right, self.candour = name, right, candour

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        answer = await super().complete(request)
        text = str(request.messages[-1]["content"])
        luck = hashlib.sha256(text.encode()).digest()[1] / 256  # the same documents are hard for every tier
        topic = next(t for t in TOPICS if t in text)
        is_right = luck < self.right
        noise = hashlib.sha256(text.encode()).digest()[2] / 256
        sure = (0.9 if is_right else 0.5) * self.candour + 0.7 * (1 - self.candour) + 0.05 * noise
        said = topic if is_right else TOPICS[(TOPICS.index(topic) + 1) % 3]
        cost = self.price.of(8, 2) if self.price else 0.0
        return replace(
            answer, text=said, cost_usd=cost, log_probability=log(sure) if request.params.get("logprobs") else None
        )


class Models:
    def __init__(self, *tiers: Tier) -> None:
        self.tiers = {tier.name: tier for tier in tiers}

    def get(self, name: str) -> Tier:
        return self.tiers[name]

    def describe(self, name: str) -> Any:
        settings = {"embedded": False, "student": False, "concurrency": 1, "processes": "auto", "max_output_tokens": 16}
        return SimpleNamespace(name=self.tiers[name].name, **settings)

    def price(self, name: str) -> ModelPrice | None:
        return self.tiers[name].price

    @property
    def n_calls(self) -> int:
        return sum(len(tier.requests) for tier in self.tiers.values())


def two_tiers(right: float = 0.7, **changes: Any) -> Models:
    return Models(Tier("cheap", right, 0.01, **changes), Tier("strong", 0.9, 0.2))


def documents() -> list[Example]:
    return [*topic_examples(N_TRAIN, "train"), *topic_examples(N_DEV, "dev"), *topic_examples(60, "holdout")]


def cascade_family(improvement: float = 0.15) -> Family:
    models = {"default": "strong", "tiers": ["cheap", "strong"], "max_tokens": 8}
    return topic_family(model=models, rollout={"gates": {"n": 60, "improvement": improvement}}, space={})


def cascade_world(folder: Path, examples: Sequence[Example] | None = None) -> World:
    folder.mkdir(exist_ok=True)
    return World(folder, family=cascade_family()).fill(examples=examples or documents())


def create(world: World, models: Models, **options: Any) -> Any:
    given = {"aim": "cost", "strategy": "replay", "definition": SIZES, "budget": Budget(calls=5000, usd=1.0), **options}
    return world.create(models=models, **given)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return cascade_world(tmp_path / "world")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A study that ran once for several tests, which only read."""

    world: World
    models: Models
    study: Any
    looked: list[Any]  # the sequence of proposals on record at each look at the sealed holdout


def ended(world: World, models: Models) -> Ended:
    looked: list[Any] = []
    store, holdout = world.store, sealed_holdout()

    def open_sealed(tx: Any, family: str, study: str, *rest: Any) -> Any:
        looked.append(store.studies.get(tx, study).findings["sequence"])
        return holdout.open(tx, family, study, *rest)

    study = world.run(create(world, models), models=models, holdout=SimpleNamespace(open=open_sealed))
    return Ended(world=world, models=models, study=study, looked=looked)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return ended(cascade_world(tmp_path_factory.mktemp("found")), two_tiers())


@pytest.fixture(scope="module")
def unsafe(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The cheap tier is seldom right and always as sure."""
    return ended(cascade_world(tmp_path_factory.mktemp("unsafe")), two_tiers(0.05, candour=0.0))


def test_a_cascade_that_saves_money_and_is_not_worse_is_found_and_confirmed(found: Ended) -> None:
    world, study = found.world, found.study
    assert study.outcome == "nominated", study.error or study.confirmation
    assert study.confirmation["saving"] > 0.3
    winner = world.winner(study)
    assert winner.policy["tiers"] == ["cheap", "strong"]
    assert 0.5 < winner.policy["accept"] <= 0.95
    assert f"{study.winner} (cheap > strong, accept {threshold(winner.policy['accept'])}) saves" in study.spend.remark
    assert "Do not cascade" not in study.spend.remark


def test_the_order_of_the_proposals_is_frozen_before_the_look_and_the_holdout_tests_in_it(found: Ended) -> None:
    study, (kept,) = found.study, found.looked
    assert kept == study.findings["sequence"]
    losses = [one["loss"] for one in kept["proposals"]]
    assert losses == sorted(losses)
    assert all(one["saved"] >= 0.15 for one in kept["proposals"])
    assert kept["hash"] == digest(canonical_json(kept["proposals"]))
    tested = study.confirmation.get("sequence") or [{"variant": study.winner}]
    assert [one["variant"] for one in tested] == [one["variant"] for one in kept["proposals"]][: len(tested)]


def test_thresholds_after_strategies_that_found_nothing_are_tested_in_their_order_too(world: World) -> None:
    models = two_tiers()
    study = world.run(create(world, models, strategy="bootstrap+replay"), models=models)
    proposals = study.findings["sequence"]["proposals"]
    assert (study.outcome, study.winner in {one["variant"] for one in proposals}) == ("nominated", True)
    assert world.winner(study).messages == world.family.variant().messages


def test_each_tier_answers_a_row_of_train_and_dev_once_however_many_thresholds_are_tried(found: Ended) -> None:
    world, models, study = found.world, found.models, found.study
    asked = [str(r.messages[-1]["content"]) for r in models.get("cheap").requests]
    assert [sum(f"of {split}" in text for text in asked) for split in ("train", "dev")] == [N_TRAIN, N_DEV]
    keys = [call.key for call in world.calls(study)]
    assert len(keys) == len(set(keys)) == models.n_calls
    report = report_study(study, family=world.family, store=world.store, clock=world.clock)
    assert report.cascade.n_records == N_TRAIN + N_DEV


@pytest.mark.long
def test_a_cap_leaves_rows_that_every_tier_has_answered(world: World) -> None:
    models = two_tiers()
    study = world.run(create(world, models, budget=Budget(calls=340, usd=1.0)), models=models)
    rows = {
        name: {text for r in models.get(name).requests if "holdout" not in (text := str(r.messages[-1]["content"]))}
        for name in ("cheap", "strong")
    }
    answered = len(rows["cheap"] & rows["strong"])
    assert f"{answered} of 80 examples were answered by every tier" in study.spend.remark
    assert 25 < answered < 80
    assert len(rows["strong"]) - answered <= ROWS_IN_TURN


def test_what_is_predicted_to_lose_the_margin_on_other_rows_is_not_taken_to_the_holdout(found, monkeypatch):
    path, world, models = chain_search.path_of_pair, found.world, two_tiers()
    monkeypatch.setattr(chain_search, "path_of_pair", lambda *given: [replace(one, loss=0.2) for one in path(*given)])
    study = world.run(create(world, models), models=models)
    assert (study.outcome, study.findings["sequence"]["proposals"]) == ("no_improvement", [])
    assert "predicted to lose 20.00 points or more left out, since the margin is" in study.spend.remark


def test_what_saves_less_than_the_gate_asks_for_is_not_taken_to_the_holdout(found: Ended) -> None:
    world, models = World(found.world.folder, family=cascade_family(improvement=0.95)), two_tiers()
    study = world.run(create(world, models), models=models)
    assert study.outcome == "no_improvement"
    assert "left out, since rollout.gates.improvement asks for 95%" in study.spend.remark
    assert len(world.trials(study)) == 1


def test_where_nothing_cheaper_is_safe_the_study_says_not_to_cascade(unsafe: Ended) -> None:
    world, study = unsafe.world, unsafe.study
    assert study.outcome == "no_improvement"
    assert study.spend.remark.startswith("Do not cascade")
    assert len(world.trials(study)) == 1


def test_a_dry_run_reserves_the_confirmation_s_calls_of_every_tier_and_says_what_a_small_pool_costs(world):
    estimate = create(world, two_tiers(), dry_run=True)
    assert estimate.n_confirmation_calls == 2 * 60 * 2
    assert estimate.parts["replay"].low == 2 * (N_TRAIN + N_DEV)
    (sentence,) = estimate.remarks
    assert "Thresholds are searched on 80 examples, which is few" in sentence
    assert ".24 and .49" in sentence


def test_a_dry_run_counts_the_unreleased_rows_and_names_the_command_that_releases_them(tmp_path: Path) -> None:
    rows = [replace(e, released=e.split != "train" or int(e.id[-3:]) < 30) for e in documents()]
    estimate = create(cascade_world(tmp_path, rows), two_tiers(), dry_run=True)
    assert (estimate.n_unreleased, estimate.parts["replay"].low) == (30, 2 * (30 + N_DEV))
    assert any("detent import FILE --family topics --curated" in sentence for sentence in estimate.remarks)


def test_a_dry_run_asks_about_rows_without_a_group_that_look_alike(tmp_path: Path) -> None:
    ungrouped = [replace(e, group=group_of(e.input, None)) for e in documents()]
    told = create(cascade_world(tmp_path, ungrouped), two_tiers(), dry_run=True).remarks
    assert any("of 80 rows without a group look alike" in sentence for sentence in told)


def test_a_study_of_a_cascade_asks_about_every_example_unless_it_is_told_otherwise(world: World) -> None:
    made = create(world, two_tiers(), definition=dict.fromkeys(("n_train", "n_dev", "n_holdout")))
    assert [len(made.dataset[split]) for split in ("train", "dev", "holdout")] == [N_TRAIN, N_DEV, 60]


def test_a_killed_study_goes_on_and_asks_nothing_twice(tmp_path: Path, found: Ended) -> None:
    models = two_tiers(before=killed_at(100))
    here = cascade_world(tmp_path / "here")
    made = create(here, models)
    with pytest.raises(Killed):
        here.run(made, models=models)
    resumed = here.run(made, models=models)
    here.assert_asked_nothing_twice(resumed)
    assert [t.variant for t in here.trials(resumed)] == [t.variant for t in found.world.trials(found.study)]


@pytest.mark.long
def test_where_the_strong_tier_fails_the_best_answer_so_far_counts(world: World) -> None:
    """The champion asks both tiers about each sealed example; about each tenth the strong one has no answer."""
    models = two_tiers(right=1.0)
    strong = models.get("strong")
    answer, failed = strong.complete, set[str]()

    async def fails_on_some(request: ModelRequest) -> ModelAnswer:
        if found := re.search("number ([0-9]*7) of holdout", str(request.messages[-1]["content"])):
            failed.add(f"holdout-{int(found[1]):03d}")
            raise ModelFailed("gone", kind="malformed", sent=False)
        return await answer(request)

    strong.complete = fails_on_some  # type: ignore[method-assign]
    study = world.run(create(world, models), models=models)
    champion = next(t.variant for t in world.trials(study) if t.proposer == "champion")
    with world.store.read() as tx:
        looked = world.store.studies.results(tx, study.id, "confirmation", champion)[champion]
    assert len(failed) == 6
    assert [(each.score, each.error) for each in looked if each.example in failed] == [(1.0, None)] * 6


def test_the_report_shows_what_the_threshold_does_and_what_audits_will_cost(found: Ended, tmp_path: Path) -> None:
    world, models, study = found.world, found.models, found.study
    n_calls = models.n_calls
    report = report_study(study, family=world.family, store=world.store, clock=world.clock)
    cascade = report.cascade
    assert (cascade.variant, cascade.is_found, cascade.n_records) == (study.winner, True, N_TRAIN + N_DEV)
    (curve,) = cascade.curves
    assert curve.present == report.variants[study.winner].policy["accept"]
    html = study_page(report)
    asked = use_case_of(read_study_report)
    assert study_page(asked.answer.validate_json(asked.written(report))) == html
    assert "What each threshold does" in html
    steps = (study.confirmation or {})["sequence"]
    assert html.count("<td>passed</td>") + html.count("<td>did not pass</td>") == len(steps) > 1, "each that was tested"
    assert escape(ACCEPT.meaning) in html
    assert f"chosen {threshold(curve.present)}" in html
    assert "<code>refine</code>" in html
    assert cascade.audit_cost.audit_share == 0.02
    assert cascade.audit_cost.in_words in html
    assert models.n_calls == n_calls  # a report asks nobody
    context = context_of(world.store, world.clock, families=lambda: world.families)
    cost = read_audit_cost(context, ItemRequest(id=study.id)).audit_cost
    assert cost == cascade.audit_cost
    console = Console(file=StringIO(), width=250)
    view(console, view_of_study(study), world.trials(study), cost)
    assert f"Audits    {cascade.audit_cost.in_words}" in console.file.getvalue()  # type: ignore[attr-defined]
    world.change(study, winner=None)
    assert read_audit_cost(context, ItemRequest(id=study.id)).audit_cost is None
    world.change(study, winner=study.winner)


def test_where_nothing_is_safe_the_report_shows_the_curve_of_what_there_is(unsafe: Ended) -> None:
    world, study = unsafe.world, unsafe.study
    report = report_study(study, family=world.family, store=world.store, clock=world.clock)
    assert not report.cascade.is_found
    html = study_page(report)
    assert "the search found none" in html
    assert "Asking all tiers for" not in html


def test_thresholds_of_a_single_tier_cannot_be_searched(tmp_path: Path) -> None:
    world = World(tmp_path, family=topic_family()).fill()
    with pytest.raises(InvalidInput, match="has one tier only"):
        world.create(strategy="replay")


def test_each_tier_is_asked_with_its_own_number_of_examples_and_none_about_an_example_that_it_is_shown(tmp_path):
    """Which of them a winner keeps: in the next test."""
    models, shown = two_tiers(), topic_examples(4, "train")
    family = cascade_family()
    world = World(tmp_path, family=family)
    world.add(documents())
    shots = tuple(few_shot(family, example) for example in shown)
    champion = replace(family.variant(), examples=shots, policy={"tiers": None, "examples": {"cheap": 1}})
    world.crown(champion)
    world.run(create(world, models, definition={**SIZES, "n_train": 12, "n_dev": 6}), models=models)
    for name, n in (("cheap", 1), ("strong", 4)):
        requests = models.get(name).requests
        assert {sum(m["role"] == "assistant" for m in request.messages) for request in requests} == {n}
        asked = {str(request.messages[-1]["content"]) for request in requests}
        assert asked
        assert not [text for text in asked for example in shown if example.input["document"] in text]


def test_a_pair_of_three_tiers_keeps_the_numbers_of_its_own_tiers_only() -> None:
    variant = topic_family().variant()
    three = replace(variant, policy={"tiers": ["a", "b", "c"], "examples": {"a": 1, "b": 2}, "accept": 0.9})
    pair = _with_policy(three, {"tiers": ["a", "c"], "accept": 0.7}, None)
    assert pair.policy == {"tiers": ["a", "c"], "accept": 0.7, "examples": {"a": 1}}
    assert not policy_faults(pair.policy)


def test_a_refine_above_the_thresholds_that_were_found_goes_and_another_stays() -> None:
    start = replace(topic_family().variant(), policy={"tiers": ["a", "b"], "accept": 0.95, "refine": 0.8})
    asked = _with_policy(start, {"tiers": ["a", "b"]}, None)
    lower, higher = (_with_policy(start, {"tiers": ["a", "b"], "accept": accept}, None) for accept in (0.7, 0.9))
    assert ["refine" in one.policy for one in (asked, lower, higher)] == [False, False, True]
    assert not [policy_faults(one.policy) for one in (asked, lower, higher) if policy_faults(one.policy)]


def test_examples_that_share_groups_are_said_not_to_be_independent() -> None:
    (said,) = _on_groups(["u", "u", "v"])
    assert said.startswith("The 3 examples stand in 2 groups")
    assert _on_groups(["u", "v"]) == []


@pytest.mark.parametrize(
    ("policy", "score", "cost_usd"),
    [
        ({"students": {"student": "st_1"}, "refuse": True}, 1 / 4, 0.0),
        ({"students": {"student": "st_1"}}, 3 / 4, 0.5),
        ({}, 1.0, 1.0),
    ],
    ids=["alone", "before a model", "untaught"],
)
def test_a_champion_that_is_a_student_alone_is_compared_with_its_refusals_at_score_0(policy, score, cost_usd):
    """The student is sure of two of four, and right on one of these; what it refuses is never the model's answer."""
    model = {"score": 1.0, "cost_usd": 1.0, "confidence": None}
    rows = [
        {"tiers": {"student": {"score": right, "cost_usd": 0.0, "confidence": sure}, "strong": model}}
        for right, sure in ((1.0, 0.9), (0.0, 0.9), (1.0, 0.1), (0.0, None))
    ]
    start = topic_family(model={"default": "strong", "max_tokens": 8}).variant()
    serving = replace(start, policy={"tiers": ["student", "strong"], "accept": 0.8, **policy})
    figures = _champion(serving, TierRecords.from_rows(rows, ("student", "strong")), {"student"})
    assert (figures.score, figures.cost_usd) == (score, cost_usd)


def test_a_student_alone_is_predicted_by_thresholds_that_were_not_fitted_to_the_rows() -> None:
    """By the first half's own threshold, .7, the second half's answer at .5 is refused."""
    model = {"score": 1.0, "cost_usd": 1.0, "confidence": None}
    rows = [
        {"tiers": {"student": {"score": float(at % 2), "cost_usd": 0.0, "confidence": sure}, "strong": model}}
        for at, sure in enumerate((0.1, 0.9, 0.3, 0.7, 0.1, 0.9, 0.1, 0.5))
    ]
    records = TierRecords.from_rows(rows, ("student", "strong"))
    fitted = CascadeSetting(tiers=("student", "strong"), accept=(0.5,))
    assert _alone(records, fitted, {"student"}).score == 4 / 8
    setting = SimpleNamespace(
        family=SimpleNamespace(student_alone=True), students={"student": "st_1"}, start=topic_family().variant()
    )
    search = CascadeSearch(setting, learn=None)
    one = FittedSetting(setting=fitted, saved_fitted=0.0, loss_fitted=0.0, loss=0.0, cost_usd=0.0)
    champion = _champion(topic_family().variant(), records, {"student"})
    proposal = search._proposal(one, None, records, champion, [at // 4 for at in range(8)])
    assert (proposal.params[LOSS], proposal.params[SAVED]) == (1 - 3 / 8, 1.0)


@pytest.mark.parametrize("sure", [2 / 3, 0.99999995, 0.29, 0.7])
def test_a_threshold_that_was_found_takes_the_answers_it_was_found_at_when_a_variant_keeps_it(sure: float) -> None:
    rows = [
        {
            "tiers": {
                "a": {"score": float(k % 2 or k < 200), "cost_usd": 0.001, "confidence": sure if k < 200 else 0.1},
                "b": {"score": 1.0, "cost_usd": 0.01, "confidence": None},
            }
        }
        for k in range(400)
    ]
    setting = search(TierRecords.from_rows(rows, ("a", "b")), LeastCost(margin=0.02)).setting
    kept = replace(topic_family().variant(), policy=setting.policy()).policy["accept"]
    assert 0.1 < kept <= sure, "it was found at the surest answers, and has to take them as a Variant keeps it"
