"""A family is moved to another model: what is searched, what the sealed examples say of it, and what follows."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import Budget
from optimizer.core.family.rendering import few_shot
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.policy.policy import parse_policy
from optimizer.core.rollout.start import gates_on_record
from optimizer.core.search.move import moved
from optimizer.core.search.study import Study
from optimizer.core.views.study_headline import headline, lift_text, next_step
from optimizer.jobs.studies.report_study import report_study
from optimizer.runtime.wiring import study_page
from tests.clock import Clock
from tests.stand_ins.scripted_model import failed
from tests.worlds.study_world import START, TOPICS, TopicModel, World, topic_examples, topic_family

SIZES = {"n_train": 9, "n_dev": 24, "n_holdout": 100, "n_candidates": 1, "n_settings": 1}


class NewModel(TopicModel):
    """At half the price and in half the time of the old one; names the wrong topic of texts with ``misses`` luck."""

    name = "new"

    def __init__(self, *, needs: int = 2, misses: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__(needs=needs, price=ModelPrice(input_usd_per_mtok=0.5, output_usd_per_mtok=0.5))
        self.misses = misses

    def _answer(self, request: ModelRequest) -> ModelAnswer:
        return replace(super()._answer(request), cost_usd=0.000005, latency_ms=5.0)

    def _text(self, request: ModelRequest) -> str:
        text = str(request.messages[-1]["content"])
        luck = hashlib.sha256(text.encode()).digest()[0] / 256
        if self.misses[0] <= luck < self.misses[1]:
            return next(topic for topic in TOPICS if topic not in text)
        return super()._text(request)


class TwoModels(World):
    """The champion shows two examples, which suffice for the old model, ``fake``."""

    def __init__(self, folder: Path, new: Any, **family: Any) -> None:
        family = {"rollout": {"gates": {"n": 50}}, **family}
        super().__init__(folder, family=topic_family(**family), clock=Clock(START, step_s=0.001))
        self.new = new
        rows = [*topic_examples(30, "train"), *topic_examples(24, "dev"), *topic_examples(100, "holdout")]
        self.add(rows)
        shown = tuple(few_shot(self.family, example) for example in topic_examples(2, "train"))
        self.champion = replace(self.family.variant(), examples=shown)
        self.crown(self.champion)

    def get(self, name: str) -> TopicModel:
        return {"fake": self.model, "new": self.new}[name]

    def price(self, name: str) -> ModelPrice | None:
        return self.get(name).price

    def move(self, **options: Any) -> Any:
        options = {"definition": SIZES, "budget": Budget(calls=2000), "move_to": "new", **options}
        return self.create(**options)

    def moved(self, **options: Any) -> Study:
        return self.run(self.move(**options))


def verdict(study: Study) -> Any:
    return (study.confirmation or {})["move"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[TwoModels, Study]:
    """The new model needs two examples more, and a study has found them."""
    world = TwoModels(tmp_path_factory.mktemp("kept"), NewModel(needs=4))
    return world, world.moved()


def test_a_prompt_that_keeps_the_quality_with_the_new_model_is_found_and_safe_to_switch_to(
    kept: tuple[TwoModels, Study],
) -> None:
    world, study = kept
    trials = world.trials(study)
    assert [t.proposer for t in trials[:2]] == ["champion", "move"]
    assert (trials[0].score or 0) > 0.7, "with the old model"
    assert trials[1].score == 0.0, "two examples do not suffice for the new one"
    assert {variant.model["name"] for variant in world.tried(study)[1:]} == {"new"}
    assert (study.outcome, len(world.winner(study).examples)) == ("nominated", 4)
    assert verdict(study) == {"from_model": "fake", "to_model": "new", "verdict": "safe"}

    found = study.confirmation or {}
    assert [gate["name"] for gate in found["gates"]] == ["quality", "risk", "n"]
    assert found["confidence"] >= 0.95
    assert (found["lift"], found["loss_at_most"] < found["margin"]) == (0.0, True)
    assert found["summary"].startswith(
        "Safe to switch from fake to new: $0.000010 a call to $0.0000050 a call; p95 10 ms to p95 5 ms; score "
    )
    assert headline(study, trials).startswith(f"Safe to switch topics from fake to new with {study.winner}")
    assert lift_text(study, 1) == found["summary"]
    assert next_step(study).endswith(f"then detent rollout start topics {study.winner}")
    gates = gates_on_record(study, variant=str(study.winner), champion=world.champion.id, aim="quality")
    assert {gate["verdict"] for gate in gates} == {"pass"}, "it climbs like any other"
    page = study_page(report_study(study, store=world.store, clock=world.clock, family=world.family))
    assert "moving to <code>new</code>" in page
    assert "Safe to switch" in page


def test_the_same_winner_is_no_improvement_when_that_is_what_is_asked(kept: tuple[TwoModels, Study]) -> None:
    """That quality is kept says nothing of whether it improves, so that look is no answer."""
    world, study = kept
    assert world.nominate(study.id, study.winner) == study
    again = world.run(world.confirm(str(study.winner)))
    assert (again.id != study.id, again.outcome) == (True, "not_confirmed")
    assert "improvement" in [gate["name"] for gate in (again.confirmation or {})["gates"]]


@pytest.mark.parametrize(
    ("misses", "says", "starts", "next_starts"),
    [
        pytest.param(
            (0.5, 0.9), "not_safe", "Not safe to switch topics from fake to new", "another search", id="worse"
        ),
        pytest.param(
            (0.86, 0.9), "cannot_tell", "Cannot tell whether to switch topics from fake to new", "import more", id="few"
        ),
    ],
)
def test_a_model_that_is_worse_and_one_that_may_be_are_told_apart(
    tmp_path: Path, misses: tuple[float, float], says: str, starts: str, next_starts: str
) -> None:
    world = TwoModels(tmp_path, NewModel(misses=misses))
    study = world.moved()
    assert (study.outcome, verdict(study)["verdict"]) == ("not_confirmed", says)
    assert (study.confirmation or {})["losses"] > 0
    assert headline(study, world.trials(study)).startswith(starts)
    assert next_step(study).startswith(next_starts)
    assert world.n_looked_at() == 100


def test_a_new_model_that_answers_nothing_is_told_before_a_candidate_is_paid_for(tmp_path: Path) -> None:
    class Silent(NewModel):
        async def complete(self, request: ModelRequest) -> ModelAnswer:
            raise failed("unreachable", sent=False)

    world = TwoModels(tmp_path, Silent())
    study = world.moved()
    assert (study.status, study.winner) == ("failed", None)
    assert "The model new answered none of the champion's 24 dev examples" in (study.error or "")
    assert len(world.trials(study)) == 1


def test_a_cascade_keeps_its_other_tiers(tmp_path: Path) -> None:
    world = TwoModels(tmp_path, NewModel(), model={"default": "fake", "tiers": ["fake", "strong"], "max_tokens": 8})
    policy = {"tiers": ["fake", "strong"], "accept": 0.5, "examples": {"fake": 1, "strong": 2}}
    start = moved(replace(world.champion, policy=policy), "new")
    assert start.model["name"] == "new"
    assert parse_policy(start.policy).models == {"new", "strong"}
    assert start.policy["examples"] == {"new": 1, "strong": 2}


def test_a_dry_run_counts_the_champion_with_both_models_and_takes_the_dearer_price(tmp_path: Path) -> None:
    world = TwoModels(tmp_path, NewModel())
    estimate = world.move(dry_run=True)
    stays = world.create(definition=SIZES, budget=Budget(calls=2000), dry_run=True)
    assert estimate.parts["champion"].expected == 2 * stays.parts["champion"].expected
    assert estimate.models == ("fake", "new")
    assert estimate.reserved_usd == stays.reserved_usd


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"move_to": "fake"}, "The champion asks 'fake' already"),
        ({"aim": "cost"}, "aim cost is another search"),
        ({"strategy": "race"}, "Strategy race compares with the champion's own model"),
    ],
)
def test_what_is_no_move_is_refused_before_anything_is_spent(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    world = TwoModels(tmp_path, NewModel())
    with pytest.raises(InvalidInput, match=says):
        world.move(**options)
    assert world.model.requests == world.new.requests == []
