"""One small study with the embedded model: real answers, real DSPy, real Optuna, nothing scripted."""

from __future__ import annotations

import pytest

from optimizer.core.base.errors import NotFound
from optimizer.core.base.values import Budget
from optimizer.core.family.rendering import render
from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from tests.rows.evaluations import evaluated
from tests.worlds.study_world import World, topic_family

DEFINITION = {"n_train": 4, "n_dev": 2, "n_holdout": 2, "n_candidates": 1, "n_settings": 1, "max_examples": 2}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    opened = wiring.open_models(load_settings(home=tmp_path_factory.mktemp("home")))
    try:
        opened.get("embedded")
    except NotFound as missing:
        pytest.skip(missing.detail)
    yield opened
    opened.close()


def test_a_study_with_the_embedded_model_asks_what_is_served_and_replays_from_its_journal(models, tmp_path):
    family = topic_family(
        model={"default": "embedded", "max_tokens": 4, "stop": ["\n"]}, space={"examples": {"max": 2}}
    )
    world = World(tmp_path, family=family).fill(n_train=4, n_dev=2, n_holdout=2)
    request = {"strategy": "bootstrap+settings", "definition": DEFINITION, "models": models, "budget": Budget(calls=80)}
    study = world.run(world.create(**request), models=models)
    assert study.status == "finished", study.error
    assert study.outcome in ("nominated", "not_confirmed", "no_improvement")

    trials, calls = world.trials(study), world.calls(study)
    assert trials[0].proposer == "champion"
    assert {t.proposer for t in trials} >= {"champion", "bootstrap"}
    assert len({c.key for c in calls}) == len(calls) == study.spend.n_calls <= 80
    assert all(c.answer is not None and c.answer.input_tokens > 0 for c in calls)

    served = []
    with world.store.read() as tx:
        inputs = [
            e.input for e in world.store.examples.of_split(tx, "topics", split="dev") if e.id in study.dataset["dev"]
        ]
        variants = [world.store.variants.get(tx, "topics", t.variant).variant for t in trials]
    for variant in variants:
        served += [render(variant, values, declared=family.inputs) for values in inputs]
    sent = [c.request["messages"] for c in calls if c.purpose == "search"]
    assert all(messages in sent for messages in served)

    again = world.run(world.create(**request), models=models)
    assert [t.variant for t in world.trials(again)] == [t.variant for t in trials]
    assert (again.winner, again.outcome, again.spend.n_calls) == (study.winner, study.outcome, 0)

    champion = variants[0]
    batch = evaluated(
        family,
        champion,
        n=2,
        actor="test",
        store=world.store,
        clock=world.clock,
        models=models,
        scorer_for=lambda family: world.scorer,
        classify=wiring.classify,
    )
    assert (batch["n"], batch["split"], batch["variant"]) == (2, "dev", champion.id)
    assert batch["mean_score"] == trials[0].score
    assert batch["n_calls"] == 0
