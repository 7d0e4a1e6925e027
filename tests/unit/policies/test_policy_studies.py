"""Studies of policy families: knobs are searched on recorded items, no model is asked,
and the sealed holdout decides.
"""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from optimizer.adapters.reports.study_report import study_page
from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.base.values import Budget
from optimizer.core.dataset.examples import Example
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.jobs.studies.report_study import report_study
from tests.worlds.study_world import START, World

PIPELINE = Path(__file__).parents[3] / "families" / "content_pipeline" / "family.yaml"
SIZES = {"n_train": 300, "n_dev": 150, "n_holdout": 200, "n_replayed": 120, "n_settings": 6}


read = cache(YAML(typ="safe").load)


def pipeline_family(**changes: Any) -> Family:
    """The family as shipped, but that its champion processes all news in full."""
    declared = deepcopy(read(PIPELINE))
    declared["prompt"]["versions"]["balanced"]["policy"] |= {"route.news": "full", "exit.enabled": False}
    return parse_family({**declared, **changes})


def items(n: int, split: str, *, seed: int = 1) -> list[Example]:
    """News items whose worth is their coherence, more or less; length says nothing about it."""
    rng = random.Random(f"{seed} {split}")
    found = []
    for i in range(n):
        coherence = rng.random() ** 0.5  # most are worth processing
        parts = dict.fromkeys(("length_score", "structure_score", "topic_clarity_score", "language_score"), 0.7)
        found.append(
            Example(
                id=f"{split}-{i:04d}",
                family="content_pipeline",
                group=f"{split}-{i}",
                split=split,
                origin="curated",
                released=True,
                created_at=START,  # type: ignore[arg-type]
                input={
                    "content_type": "news",
                    "word_count": rng.randrange(100, 2000),
                    "sentence_count": 40,
                    "coherence_score": coherence,
                    **parts,
                },
                expected={"quality": min(1.0, max(0.0, coherence + rng.gauss(0, 0.1)))},
            )
        )
    return found


class NoModels:
    """A source of models that has none."""

    def get(self, name: str) -> Any:
        raise NotFound(f"a policy asks no model, and {name!r} was asked for")

    describe = price = get


def world_of(folder: Path) -> World:
    space = {
        "policy.filter.min_coherence": {"float": [0.0, 1.0]},
        "policy.filter.checks_needed": {"int": [1, 4]},
        "policy.route.news": {"choices": ["full", "quality_check"]},
    }
    family = pipeline_family(space=space, rollout={"gates": {"n": 100, "improvement": 0.05}})
    return World(folder, family=family).fill(
        examples=[*items(300, "train"), *items(150, "dev"), *items(250, "holdout")]
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_of(tmp_path)


def ended(world: World, **options: Any) -> Any:
    return world.run(world.create(models=NoModels(), definition=SIZES, **options), models=NoModels())


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Any]:
    """A world with a study that ended there, which tests only read."""
    world = world_of(tmp_path_factory.mktemp("studied"))
    return world, ended(world, budget=Budget(usd=0.0, calls=0))


def test_a_better_policy_is_found_without_a_call_and_confirmed_on_the_holdout(studied: tuple[World, Any]) -> None:
    world, study = studied
    assert study.outcome == "nominated", study.error or study.confirmation
    assert study.spend.n_calls == 0
    assert study.confirmation["lift_low"] > 0
    assert study.confirmation["n"] == 200
    trials = world.trials(study)
    assert trials[0].proposer == "champion"
    assert {t.proposer for t in trials[1:]} == {"replay"}
    assert all(t.params["score_on_train"] > 0 for t in trials[1:])


def test_time_is_saved_where_time_is_the_aim_and_the_score_is_not_worse(world: World) -> None:
    study = ended(world, aim="cost")
    assert study.outcome == "nominated", study.error or study.confirmation
    confirmation = study.confirmation
    assert confirmation["winner_cost_usd"] < confirmation["champion_cost_usd"]
    assert confirmation["quality_p"] < 0.2


def test_a_dry_run_says_that_nothing_is_spent(world: World) -> None:
    estimate = world.create(models=NoModels(), definition=SIZES, dry_run=True)
    assert (estimate.calls.high, estimate.usd.high, estimate.n_confirmation_calls) == (0, 0, 0)
    assert estimate.minutes.high > 0


def test_items_of_unknown_worth_are_no_evidence(tmp_path: Path) -> None:
    unknown = [
        e if i % 2 else Example(**{**{f: getattr(e, f) for f in e.__slots__}, "expected": {"other": 1}})
        for i, e in enumerate(items(200, "dev"))
    ]
    world = World(tmp_path, family=pipeline_family(rollout={"gates": {"n": 100}}))
    world.fill(examples=[*items(60, "train"), *unknown, *items(250, "holdout")])
    study = world.create(models=NoModels(), definition={**SIZES, "n_train": 60, "n_replayed": 20})
    champion = world.trials(world.run(study, models=NoModels()))[0]
    assert champion.n_errors > 0
    assert champion.score is not None


@pytest.mark.parametrize("strategy", ["settings", "bootstrap+settings", "race"])
def test_a_strategy_for_prompts_is_refused(world: World, strategy: str) -> None:
    with pytest.raises(InvalidInput, match=r"has no prompt.*Name strategy replay"):
        world.create(models=NoModels(), strategy=strategy)


def test_the_report_says_what_each_knob_does_to_the_dev_items(studied: tuple[World, Any]) -> None:
    world, study = studied
    report = report_study(study, family=world.family, store=world.store, clock=world.clock)
    effects = {effect.knob: effect for effect in report.sensitivity}
    assert set(effects) == {"filter.min_coherence", "filter.checks_needed", "route.news"}
    saved = [one.time_saved_share for one in effects["filter.min_coherence"].values]
    assert saved == sorted(saved)
    assert saved[0] < saved[-1]
    page = study_page(report)
    assert "What each knob does" in page
    assert "stands for one item that is processed in full" in page
    empty = replace(study, definition={**study.definition, "space": {}})
    assert not report_study(empty, family=world.family, store=world.store, clock=world.clock).sensitivity
