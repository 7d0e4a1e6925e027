"""Any variant of a family is taken to the sealed holdout, one edited by hand too, at a price said before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import Conflict, DatasetTooSmall, GateNotMet, NotFound
from optimizer.core.base.values import Budget
from optimizer.core.family.rendering import few_shot
from optimizer.core.search.study import CONFIRM
from optimizer.core.views.study_headline import headline
from optimizer.jobs.families.create_variant import VariantRequest, store_draft
from optimizer.jobs.studies.nominate import LookPrice
from optimizer.jobs.studies.read_studies import confirming_study
from tests.clock import Clock
from tests.worlds.study_world import START, TopicModel, World, topic_examples, topic_family


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A champion without examples, and a model that knows the topic once it is shown two."""
    made = World(
        tmp_path,
        model=TopicModel(),
        family=topic_family(rollout={"gates": {"n": 20}}),
        clock=Clock(START, step_s=0.001),
    )
    yield made.fill(n_train=9, n_dev=6, n_holdout=20)
    made.store.close()


def by_hand(world: World, n_examples: int = 2) -> str:
    shown = [few_shot(world.family, example) for example in topic_examples(n_examples, "train")]
    draft = VariantRequest(
        family=world.family.name,
        messages=None,
        from_=champion(world),
        examples=[shot_record(s) for s in shown],
        note="my own",
    )
    made = store_draft(world.family, draft, actor="local:ann", store=world.store, clock=world.clock)
    return made.variant


def shot_record(shot: Any) -> dict[str, Any]:
    return {"id": shot.id, "input": dict(shot.input), "output": shot.output}


def champion(world: World) -> str:
    with world.store.read() as tx:
        found = world.store.champions.current(tx, "topics")
    assert found is not None
    return found.variant


def confirm(world: World, variant: str, **options: Any) -> Any:
    return world.confirm(variant, **{"actor": "local:ann", **options})


def test_an_edit_by_hand_is_confirmed_without_any_search(world: World) -> None:
    mine = by_hand(world)
    price = confirm(world, mine, dry_run=True)
    assert isinstance(price, LookPrice)
    assert (price.n_calls, price.n_calls_at_most, price.look, price.study) == (40, 60, 1, None)
    assert price.usd_at_most is not None
    assert (world.n_looked_at(), world.model.requests) == (0, []), "a dry run spends nothing"
    queued = confirm(world, mine)
    assert (queued.strategy, queued.winner, queued.created_by) == (CONFIRM, mine, "local:ann")
    assert queued.budget == Budget(calls=60, usd=price.usd_at_most)
    ended = world.run(queued)
    assert (ended.outcome, ended.winner, ended.spend.n_calls) == ("nominated", mine, 40)
    assert confirm(world, mine) == ended, "what was asked is not asked again"
    assert world.n_looked_at() == 20


def test_an_edit_that_is_no_better_is_told_and_costs_no_second_look(world: World) -> None:
    mine = by_hand(world, n_examples=1)
    ended = world.run(confirm(world, mine))
    assert ended.outcome == "not_confirmed"
    with pytest.raises(GateNotMet, match="did not pass"):
        confirm(world, mine, dry_run=True)


def test_a_study_of_another_model_hides_no_look_that_was_taken(world: World) -> None:
    mine = by_hand(world)
    ended = world.run(confirm(world, mine))
    assert ended.confirmation is not None
    later = replace(
        ended,
        id="st_later",
        finished_at=world.clock.now(),
        definition={**ended.definition, "move_to": "another"},
    )
    world.store.write(lambda tx: world.store.studies.add(tx, later))
    assert confirm(world, mine) == ended, "what was asked is not asked again"


def crown(world: World, variant: str) -> None:
    with world.store.read() as tx:
        now = world.store.champions.current(tx, "topics")
    assert now is not None
    world.store.write(lambda tx: world.store.champions.put(tx, replace(now, seq=now.seq + 1, variant=variant)))


def test_a_look_speaks_for_the_champion_that_it_compared_with_alone(world: World) -> None:
    mine, other, before = by_hand(world), by_hand(world, n_examples=1), champion(world)
    ended = world.run(confirm(world, mine))
    crown(world, other)
    again = world.nominate(ended.id, mine)
    assert (again.champion, again.status) == (other, "queued")
    crown(world, before)
    unlooked = world.run(again)
    assert (unlooked.outcome, unlooked.confirmation, unlooked.spend.n_calls) == ("not_confirmed", None, 0)
    assert f"{before} became the champion" in (unlooked.spend.remark or "")
    assert headline(unlooked, []).endswith("not confirmed: the sealed holdout of topics was not looked at.")
    later = replace(ended, id="st_later", champion=other, finished_at=world.clock.now())
    world.store.write(lambda tx: world.store.studies.add(tx, later))
    assert world.n_looks() == 1
    with world.store.read() as tx:
        assert confirming_study(tx, world.store, "topics", mine, aim="quality") == ended


def test_a_study_is_not_resumed_once_another_variant_is_the_champion(world: World) -> None:
    study = world.create()
    world.stop(study)
    crown(world, by_hand(world))
    with pytest.raises(Conflict, match="is the champion of topics now"):
        world.resume(study)


def test_a_winner_that_no_study_took_to_the_holdout_can_be_taken_there(world: World) -> None:
    """As of a study that started by itself and was not allowed to look."""
    searched = world.run(
        world.create(definition={"n_train": 9, "n_dev": 6, "n_holdout": 0, "n_candidates": 2, "n_settings": 0})
    )
    assert (searched.outcome, searched.confirmation, world.n_looked_at()) == ("not_confirmed", None, 0)
    for queue in (lambda: confirm(world, str(searched.winner)), lambda: world.nominate(searched.id, searched.winner)):
        queued = queue()
        assert len((queued.dataset or {})["holdout"]) == 20
        world.stop(queued)


def test_what_cannot_be_confirmed_is_refused_before_anything_is_spent(world: World) -> None:
    with pytest.raises(NotFound, match="no variant 'v_nothing'"):
        confirm(world, "v_nothing")
    with pytest.raises(Conflict, match="is the champion"):
        confirm(world, champion(world))
    gates = world.family.rollout.gates.model_copy(update={"n": 21})
    world.family = world.family.model_copy(update={"rollout": world.family.rollout.model_copy(update={"gates": gates})})
    with pytest.raises(DatasetTooSmall, match="20 holdout examples"):
        confirm(world, by_hand(world), dry_run=True)
    assert world.n_looked_at() == 0
