"""Studies that search for cheaper or quicker answers: who wins, what the holdout must show, and what cannot be measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.errors import InvalidInput
from optimizer.core.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.rendering import few_shot
from optimizer.core.study import Budget, Study
from optimizer.core.study_headline import headline, lift_text
from tests.study_world import SteadyClock, TopicModel, World, topic_examples, topic_family

SIZES = {"n_train": 9, "n_dev": 24, "n_holdout": 80, "n_settings": 8}
SPACE = {"examples": {"max": 6}}


class PaidByLength(TopicModel):
    """Each example shown costs a cent of a cent and ten milliseconds."""

    def complete(self, request: ModelRequest) -> ModelAnswer:
        shown = sum(m["role"] == "assistant" for m in request.messages)
        return replace(super().complete(request), cost_usd=0.0001 * (1 + shown), latency_ms=50.0 + 10 * shown)


def world_with(folder: Path, n_examples: int) -> World:
    """Its champion shows ``n_examples``; two suffice."""
    family = topic_family(rollout={"gates": {"n": 40}})  # 80 equal answers are needed to say "not worse by .05"
    made = World(folder, model=PaidByLength(), family=family, clock=SteadyClock(0.001))
    rows = [*topic_examples(30, "train"), *topic_examples(24, "dev"), *topic_examples(80, "holdout")]
    made.store.write(lambda tx: made.store.examples.add(tx, rows))
    shown = tuple(few_shot(made.family, e) for e in topic_examples(n_examples, "train"))
    made.crown(replace(made.family.variant(), examples=shown))
    return made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = world_with(tmp_path, 6)
    yield made
    made.store.close()


def searched(world: World, aim: str, **options: Any) -> Study:
    options = {"strategy": "settings", "definition": {**SIZES, "space": SPACE}, "budget": Budget(calls=2000), **options}
    return world.run(world.create(aim=aim, **options))


def shown_by(world: World, variant: str | None) -> int:
    with world.store.read() as tx:
        record = world.store.variants.get(tx, world.family.name, variant or "")
    assert record is not None
    return len(record.variant.examples)


@pytest.mark.parametrize(
    ("aim", "saved"), [("cost", "$0.000700 a call to $0.000300 a call (-57%"), ("latency", "p95 110 ms to p95 70 ms (-36%")]
)
def test_the_cheapest_and_the_quickest_that_is_not_worse_wins_and_is_confirmed(world: World, aim: str, saved: str) -> None:
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


def test_the_same_search_for_quality_changes_nothing(world: World) -> None:
    study = searched(world, "quality")
    assert (study.outcome, study.winner) == ("no_improvement", None)


def test_nothing_cheaper_is_found_where_all_else_answers_worse(tmp_path: Path) -> None:
    world = world_with(tmp_path, 2)
    study = searched(world, "cost", definition={**SIZES, "space": {"examples": {"max": 2}}})
    assert (study.outcome, study.winner) == ("no_improvement", None)
    assert "was cheaper, and not worse, than the champion" in headline(study, world.trials(study))
    world.store.close()


def test_latency_of_answers_that_the_journal_gave_was_not_measured(world: World) -> None:
    first = searched(world, "cost")
    again = searched(world, "latency")
    assert first.winner is not None
    assert (again.outcome, again.winner) == ("no_improvement", None)
    assert all(t.p95_ms is None for t in world.trials(again))


def test_a_race_is_for_quality_alone_and_cost_needs_prices(world: World) -> None:
    with pytest.raises(InvalidInput, match="races for quality alone"):
        world.create(aim="cost", strategy="race")
    world.model.price = ModelPrice(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)
    with pytest.raises(InvalidInput, match="has no price"):
        world.create(aim="cost")
    assert world.create(aim="latency", dry_run=True).n_trials > 0
