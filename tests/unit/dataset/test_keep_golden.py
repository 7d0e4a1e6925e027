"""Released examples as golden scenarios: who may be one, and that a suite asks it and no search learns from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import split
from typing import Any

import pytest

from optimizer.core.base.errors import Conflict, InvalidInput, NotFound
from optimizer.core.family.family import GoldenRow
from optimizer.core.family.variant import FewShot, VariantRecord
from optimizer.core.predictor.example_index import ExampleIndex, IndexedExample
from optimizer.core.search.study import Definition
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.build_dataset import build_dataset, teaching_examples
from optimizer.jobs.dataset.golden_scenarios import (
    GoldenRemovalRequest,
    GoldenRequest,
    GoldenRowsRequest,
    add_golden,
    read_golden,
    remove_golden,
)
from optimizer.jobs.studies.plan_evaluation import EvaluationScope, plan_evaluation
from tests.rows.evaluations import evaluate
from tests.rows.rollout_acts import start_rollout
from tests.worlds.contexts import context_of
from tests.worlds.study_world import START, World, topic_examples


def add(world: World, example: str = "train-001", **options: Any) -> Any:
    given = {"actor": "ann", "family": world.family, **options}
    context = context_in(world, given.pop("actor"), given.pop("family"))
    return add_golden(context, GoldenRequest(family=context.family("").name, example=example, **given))


def remove(world: World, example: str) -> Any:
    return remove_golden(context_in(world), GoldenRemovalRequest(family=world.family.name, example=example))


def rows(world: World) -> Any:
    return read_golden(context_in(world), GoldenRowsRequest(family=world.family.name)).items


def context_in(world: World, actor: str = "ann", family: Any = None) -> Context:
    return context_of(world.store, world.clock, actor, family=lambda name: family or world.family)


def test_a_released_example_is_asked_as_a_scenario_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path).fill()
    report = add(world, reason="the one of May")
    assert report.undo == "detent golden remove topics train-001"
    (row,) = rows(world)
    assert (row.scenario, row.example, row.expected) == ("train-001", "train-001", {"topic": "physics"})
    batch = evaluate(world, suite="golden")
    assert [(one["scenario"], one["n"]) for one in batch["scenarios"]] == [("train-001", 1)]


def test_an_interaction_names_the_example_that_was_made_of_it(tmp_path: Path) -> None:
    world = World(tmp_path).fill()
    made = replace(topic_examples(1, "dev")[0], id="ia_in_7", interaction="in_7", group="7", input={"document": "Song"})
    world.store.write(lambda tx: world.store.examples.add(tx, [made]))
    assert "example ia_in_7" in add(world, "in_7", scenario="songs").what
    assert remove(world, "in_7").changed
    add(world, "in_7", scenario="Ann's songs")
    undo = remove(world, "in_7").undo
    assert split(undo)[-1] == "Ann's songs"


def test_no_search_learns_from_it_until_it_is_taken_out(tmp_path: Path) -> None:
    world = World(tmp_path).fill()

    def ids() -> set[str]:
        dataset = build_dataset(world.family, Definition(n_train=99, n_dev=99), world.store)
        return {*dataset["train"], *dataset["dev"]}

    before = ids()
    add(world), add(world, "dev-001")
    assert before - ids() == {"train-001", "dev-001"}
    for id in ("train-001", "dev-001"):
        remove(world, id)
    assert ids() == before


def test_its_group_teaches_nothing_and_is_not_shown_to_it(tmp_path: Path) -> None:
    world = World(tmp_path).fill()
    texts = ("my parcel to Oslo never came, please help", "the parcel to Oslo again: its code is 4711")
    turns = [
        replace(topic_examples(1, "train")[0], id=f"turn-{at}", group="dialogue-7", input={"document": text})
        for at, text in enumerate(texts)
    ]
    world.store.write(lambda tx: world.store.examples.add(tx, turns))
    index = ExampleIndex.of(
        [IndexedExample(group="dialogue-7", shot=FewShot(id="turn-1", input=turns[1].input, output="music"))]
    )

    def taught() -> set[str]:
        with world.store.read() as tx:
            return {example.id for example in teaching_examples(world.family, world.store, tx, 99)}

    before = taught()
    add(world, "turn-0")
    plan = plan_evaluation(world.family, world.family.variant(), EvaluationScope(suite="golden"), world.store)
    (scenario,) = plan.examples
    assert list(index.ranked(scenario.input))
    assert list(index.ranked(scenario.input, apart=scenario)) == []
    assert before - taught() == {"turn-0", "turn-1"}


def test_what_may_be_no_scenario_is_refused_with_the_reason(tmp_path: Path) -> None:
    world = World(tmp_path).fill()
    unreleased = replace(topic_examples(1, "train", released=False)[0], id="u", input={"document": "Unreleased."})
    world.store.write(lambda tx: world.store.examples.add(tx, [unreleased]))
    with pytest.raises(Conflict, match="lies in the sealed holdout"):
        add(world, "holdout-001")
    with pytest.raises(Conflict, match="is not released"):
        add(world, "u")
    with pytest.raises(NotFound, match="detent review list --family topics"):
        add(world, "nobody")
    with pytest.raises(InvalidInput, match="1 to 100 characters"):
        add(world, scenario=" ")
    asked = GoldenRow(id="g", scenario="g", input={"document": "NOTES on physics, number 1 of train."}, expected={})
    with pytest.raises(Conflict, match="'g' of topics asks the same"):
        add(world, family=world.family.with_golden((asked,)))
    twin = replace(topic_examples(1, "holdout")[0], id="twin", group="twin", split="train")
    world.store.write(lambda tx: world.store.examples.add(tx, [twin]))
    with pytest.raises(Conflict, match="asked by an example of the sealed holdout"):
        add(world, "twin")
    assert rows(world) == []


def test_examples_are_read_before_writers_have_to_wait_and_what_came_meanwhile_counts(tmp_path, monkeypatch):
    world = World(tmp_path).fill()
    write, of_split, sealed_among = world.store.write, world.store.examples.of_split, world.store.examples.sealed_among
    writing: list[str] = []

    def meanwhile(change: Any) -> None:
        """Another process writes between what is read and what is written."""

        def counted(own: Any, tx: Any) -> Any:
            writing.append("writing")
            try:
                return own(tx)
            finally:
                writing.clear()

        def written(own: Any) -> Any:
            write(change)
            return write(lambda tx: counted(own, tx))

        monkeypatch.setattr(world.store, "write", written)

    def outside(read: Any) -> Any:
        return lambda *given, **named: pytest.fail("read while others wait") if writing else read(*given, **named)

    monkeypatch.setattr(world.store.examples, "of_split", outside(of_split))
    monkeypatch.setattr(world.store.examples, "sealed_among", outside(sealed_among))
    meanwhile(lambda tx: None)
    assert add(world).changed

    monkeypatch.setattr(world.store.examples, "sealed_among", sealed_among)
    (like,) = (e for e in topic_examples(2, "train") if e.id == "train-000")
    meanwhile(lambda tx: world.store.examples.add(tx, [replace(like, id="late", group="late", split="holdout")]))
    with pytest.raises(Conflict, match="asked by an example of the sealed holdout"):
        add(world, "train-000")
    meanwhile(lambda tx: tx.exec_driver_sql("DELETE FROM examples WHERE id = 'dev-001'"))
    with pytest.raises(NotFound, match="dev-001 of topics was forgotten"):
        add(world, "dev-001")


def test_what_the_champion_quotes_would_be_copied_and_is_no_scenario(tmp_path: Path) -> None:
    world = World(tmp_path)
    quoted, other = topic_examples(2, "train")
    world.store.write(lambda tx: world.store.examples.add(tx, [quoted, other]))
    shot = FewShot(id=quoted.id, input=quoted.input, output="biology")
    world.crown(replace(world.family.variant(), examples=(shot,)))
    with pytest.raises(Conflict, match="would answer by copying"):
        add(world, quoted.id)
    assert add(world, other.id).changed


def test_rows_of_examples_are_asked_behind_those_of_the_file_and_once(tmp_path: Path) -> None:
    world = World(tmp_path).fill()
    row = GoldenRow(id="g", scenario="g", input={"document": "Music."}, expected={"topic": "music"})
    family = world.family.with_golden((row,))
    add(world, family=family, scenario="g")
    scope = EvaluationScope(suite="golden")
    plan = plan_evaluation(family, family.variant(), scope, world.store)
    assert [(one.id, one.scenario) for one in plan.rows.values()] == [("g", "g"), ("example/train-001", "g")]
    again = plan_evaluation(family.with_golden(tuple(plan.rows.values())), family.variant(), scope, world.store)
    assert len(again.rows) == 2


def test_a_rollout_asks_for_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path).fill()
    other = replace(world.family.variant(), model={**world.family.variant().model, "max_tokens": 7})
    record = VariantRecord(family="topics", variant=other, source="api", created_at=START, created_by="ann")
    world.store.write(lambda tx: world.store.variants.add(tx, record))
    monkeypatch.setattr(world.store.observations, "reporters", lambda *_: (1, 0))

    def gates() -> set[str]:
        draft = start_rollout(world.family, other.id, actor="ann", store=world.store, clock=world.clock, dry_run=True)
        return {str(gate["name"]) for gate in draft.gates}

    assert "golden" not in gates()
    add(world)
    assert "golden" in gates()
