"""Studies that search for cheaper or quicker answers: who wins, what the holdout must show,
and what cannot be measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.core.base.errors import DatasetTooSmall, InvalidInput, ModelFailed
from optimizer.core.base.values import Budget
from optimizer.core.family.rendering import few_shot
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.search.study import Study, ranked
from optimizer.core.views.study_headline import headline, lift_text, next_step
from optimizer.core.views.study_story import history_of
from optimizer.jobs.studies.read_front import front_of_study
from tests.cases import named
from tests.clock import Clock
from tests.worlds.study_world import START, TopicModel, World, topic_examples, topic_family

SIZES = {"n_train": 9, "n_dev": 24, "n_holdout": 100, "n_settings": 8}
SPACE = {"examples": {"max": 6}}


class PaidByLength(TopicModel):
    """Each example shown costs a cent of a cent and ten milliseconds."""

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        shown = sum(m["role"] == "assistant" for m in request.messages)
        n = 100 * (1 + shown)
        return replace(
            await super().complete(request),
            input_tokens=n,
            output_tokens=0,
            cost_usd=self.price.of(n, 0),
            latency_ms=50.0 + 10 * shown,
        )


def world_with(folder: Path, n_examples: int) -> World:
    """Its champion shows ``n_examples``; two suffice."""
    family = topic_family(rollout={"gates": {"n": 50}})  # 100 equal answers say "not worse by .05" with p .025
    made = World(folder, model=PaidByLength(), family=family, clock=Clock(START, step_s=0.001))
    rows = [*topic_examples(30, "train"), *topic_examples(24, "dev"), *topic_examples(100, "holdout")]
    made.add(rows)
    shown = tuple(few_shot(made.family, e) for e in topic_examples(n_examples, "train"))
    made.crown(replace(made.family.variant(), examples=shown))
    return made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = world_with(tmp_path, 6)
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def searched_for_cost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Study]]:
    """With its study. Tests go on from there, and none sees what another has added."""
    made = world_with(tmp_path_factory.mktemp("cost"), 6)
    yield made, searched(made, "cost")
    made.store.close()


def searched(world: World, aim: str, **options: Any) -> Study:
    options = {"strategy": "settings", "definition": {**SIZES, "space": SPACE}, "budget": Budget(calls=2000), **options}
    return world.run(world.create(aim=aim, **options))


def shown_by(world: World, variant: str | None) -> int:
    return len(world.variant(variant).examples)


@pytest.mark.parametrize(
    ("aim", "saved"),
    [("cost", "$0.000700 a call to $0.000300 a call (-57%"), ("latency", "p95 110 ms to p95 70 ms (-36%")],
)
def test_the_cheapest_and_the_quickest_that_is_not_worse_wins_and_is_confirmed(
    request: pytest.FixtureRequest, aim: str, saved: str
) -> None:
    if aim == "cost":
        world, study = request.getfixturevalue("searched_for_cost")
    else:
        world = request.getfixturevalue("world")
        study = searched(world, aim)
    assert study.outcome == "nominated", study.confirmation
    assert shown_by(world, study.winner) == 2
    found = study.confirmation or {}
    assert [g["name"] for g in found["gates"]] == ["improvement", "quality", "confidence", "risk", "n"]
    assert saved in found["summary"]
    assert found["saving"] > 0.3
    assert found["saving_p"] < 0.01
    assert found["champion_mean"] == found["winner_mean"]
    assert headline(study, world.trials(study)).startswith(
        f"{study.winner} is {'cheaper' if aim == 'cost' else 'quicker'} than the champion"
    )
    assert lift_text(study, 1) == found["summary"]
    assert world.nominate(study.id, study.winner, study.aim) == study


def test_a_trial_whose_calls_failed_is_on_no_front_however_cheap_it_looks(world: World) -> None:
    def fail(n: int) -> None:
        shown = sum(m["role"] == "assistant" for m in world.model.requests[-1].messages)
        if shown == 3 and n % 2:
            raise ModelFailed("The provider answers 400: filtered.", kind="http")

    world.model.before = fail
    study = searched(world, "cost")
    trials = world.trials(study)
    failed = next(t for t in trials if shown_by(world, t.variant) == 3)
    assert (failed.status, failed.n) == ("dropped", 24)
    assert failed not in ranked(trials)
    with world.store.read() as tx:
        front = front_of_study(study, trials, store=world.store, clock=world.clock, tx=tx)
        best_first = world.store.studies.some_trials(tx, study.id, best_first=True, start=0, n=100)
        results = world.store.studies.results(tx, study.id, "search")
    assert failed.number not in {point.trial for point in front.points}
    assert best_first[-1] == failed
    view = history_of(study, trials, results).trials[failed.number]
    assert view.ending == "cannot win: 12 examples that the champion has a score on could not be measured"


def test_nothing_cheaper_is_found_where_all_else_answers_worse(tmp_path: Path) -> None:
    world = world_with(tmp_path, 2)
    study = searched(world, "cost", definition={**SIZES, "space": {"examples": {"max": 2}}})
    assert (study.outcome, study.winner) == ("no_improvement", None)
    assert "was cheaper, and not worse, than the champion" in headline(study, world.trials(study))


def test_latency_of_answers_that_the_journal_gives_is_said_to_be_unmeasured_before_a_candidate_is_paid_for(
    searched_for_cost: tuple[World, Study],
) -> None:
    world, _ = searched_for_cost
    again = searched(world, "latency")
    assert (again.status, again.winner, again.spend.n_calls) == ("failed", None, 0)
    assert "Latency cannot be compared: only 0 of the champion's 24 dev examples" in (again.error or "")
    with pytest.raises(DatasetTooSmall, match="fewer than 20 timed calls"):
        world.create(aim="latency", definition={**SIZES, "n_dev": 12})


def test_latency_that_the_holdout_cannot_tell_is_an_error_and_no_pass(searched_for_cost: tuple[World, Study]) -> None:
    """The champion's holdout answers are journaled by the look before."""
    world, first = searched_for_cost
    again = world.run(world.nominate(first.id, first.winner, "latency"))
    assert (again.status, again.outcome) == ("finished", "not_confirmed")
    (gate,) = (again.confirmation or {})["gates"]
    assert (gate["name"], gate["verdict"], gate["value"]) == ("latency", "error", 0.0)
    assert f"study confirm topics {again.winner} --aim latency --dry-run" in next_step(again)
    prices = [
        world.nominate(again.id, again.winner, "latency", dry_run=True),
        world.confirm(str(again.winner), "latency", dry_run=True),
    ]
    assert [price.look for price in prices] == [3, 3], "it may be taken again"
    assert "Latency not measured" in (again.confirmation or {})["summary"].replace("latency", "Latency")


def test_a_search_for_quality_changes_nothing_and_champion_and_winner_are_timed_in_turns(world: World) -> None:
    first = searched(world, "quality")
    assert (first.outcome, first.winner) == ("no_improvement", None)
    point = next(
        t for t in world.trials(first) if t.variant != first.champion and t.score == world.trials(first)[0].score
    )
    n_before = len(world.model.requests)
    world.run(world.nominate(first.id, point.variant, "latency"))
    shown = [sum(m["role"] == "assistant" for m in r.messages) for r in world.model.requests[n_before:]]
    mine = shown_by(world, point.variant)
    assert shown == [6, mine, mine, 6] * 50


def test_an_answer_from_the_journal_costs_what_it_would_cost_today(
    searched_for_cost: tuple[World, Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a cut in prices the champion's journaled answers are no dearer than fresh ones."""
    world, first = searched_for_cost
    monkeypatch.setattr(world.model, "price", ModelPrice(input_usd_per_mtok=0.5, output_usd_per_mtok=0.5))
    again = searched(world, "cost")
    champion, before = world.trials(again)[0], world.trials(first)[0]
    assert champion.cost_usd == pytest.approx(before.cost_usd / 2)
    assert champion.n_calls == 0


def test_a_race_is_for_quality_alone_and_cost_needs_prices(world: World) -> None:
    with pytest.raises(InvalidInput, match="goes by quality alone"):
        world.create(aim="cost", strategy="race")
    world.model.price = ModelPrice(
        input_usd_per_mtok=0.0, output_usd_per_mtok=0.0
    )  # the champion's: nothing is left to save
    with pytest.raises(
        InvalidInput,
        match=r"of the serving champion v_\w+ costs nothing.*name another model.default.*detent family adopt topics",
    ):
        world.create(aim="cost")
    assert world.create(aim="latency", definition=SIZES, dry_run=True).n_trials > 0


CHAMPION = "of the serving champion .*"


@named(
    ("model", "default", "tiers", "space", "says"),
    {
        "champion": ("fake", "fake", [], {}, f"{CHAMPION} name another model.default in the family's file"),
        "a file that is not adopted": ("fake", "large", [], {}, f"{CHAMPION} serve the file's 'large' first: detent"),
        "with tiers": ("fake", "large", ["fake", "large"], {}, f"{CHAMPION} .* first, without model.tiers: detent"),
        "a tier": ("small", "fake", ["small", "fake"], {}, "of model.tiers .* file .* take it out of model.tiers"),
        "the space": ("other", "fake", [], {"model": {"choices": ["fake", "other"]}}, "of the space .* leave it out"),
    },
)
def test_a_model_without_a_price_is_named_with_what_names_it(
    searched_for_cost: tuple[World, Study],
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    default: str,
    tiers: list[str],
    space: Any,
    says: str,
) -> None:
    world, _ = searched_for_cost
    priced = ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=1.0)
    declared = {"default": default, "max_tokens": 8, **({"tiers": tiers} if tiers else {})}
    monkeypatch.setattr(world, "family", topic_family(model=declared, space=space))
    prices = SimpleNamespace(describe=world.describe, price=lambda name: None if name == model else priced)
    with pytest.raises(InvalidInput, match=f"Model '{model}' {says}"):
        world.create(aim="cost", strategy="replay" if tiers else "settings", models=prices)
