"""Another point of a search is taken to the sealed holdout by a study of its own: its price, its look,
its end, and what is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from optimizer.cli.study.view import view
from optimizer.core.base.errors import BudgetTooSmall, Conflict, GateNotMet, InvalidInput, ModelFailed, NotFound
from optimizer.core.base.values import Budget, ExampleResult
from optimizer.core.family.rendering import few_shot
from optimizer.core.search.study import Study, Trial
from optimizer.core.views.study_headline import headline, next_step, view_of_study
from optimizer.jobs.rollouts.freeze import FreezeRequest, freeze
from optimizer.jobs.rollouts.start_rollout import _approves_itself
from optimizer.jobs.studies.nominate import LookPrice
from optimizer.jobs.studies.read_front import front_of_study
from optimizer.jobs.studies.read_studies import confirming_study
from optimizer.jobs.studies.report_study import report_study
from optimizer.runtime.wiring import study_page
from tests.clock import Clock
from tests.worlds.contexts import context_of
from tests.worlds.study_world import START, TopicModel, World, topic_examples, topic_family


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World, Study]:
    """A study that has searched: its store, which is copied for each test.

    The champion shows six examples, where two suffice; nothing that is tried can be better, some of it is as good.
    """
    folder = tmp_path_factory.mktemp("searched")
    family = topic_family(rollout={"gates": {"n": 40, "improvement": 0.0, "confidence": 0.0}})
    made = World(folder, model=TopicModel(), family=family, clock=Clock(START, step_s=0.001))
    rows = [*topic_examples(30, "train"), *topic_examples(24, "dev"), *topic_examples(40, "holdout")]
    made.store.write(lambda tx: made.store.examples.add(tx, rows))
    made.crown(replace(family.variant(), examples=tuple(few_shot(family, e) for e in topic_examples(6, "train"))))
    definition = {"n_train": 9, "n_dev": 24, "n_holdout": 40, "n_settings": 8, "space": {"examples": {"max": 6}}}
    study = made.run(made.create(strategy="settings", definition=definition, budget=Budget(calls=2000)))
    assert (study.outcome, study.winner) == ("no_improvement", None)
    made.store.close()
    return folder, made, study


@pytest.fixture
def world(template: tuple[Path, World, Study], tmp_path: Path) -> Iterator[World]:
    folder, before, _ = template
    shutil.copy(folder / "detent.db", tmp_path)
    made = World(tmp_path, model=TopicModel(), family=before.family, clock=Clock(before.clock.at, step_s=0.001))
    yield made
    made.store.close()


@pytest.fixture
def searched(template: tuple[Path, World, Study]) -> Study:
    return template[2]


def as_good(world: World, study: Study) -> Trial:
    """A point that scores as the champion does."""
    champion, *others = world.trials(study)
    return next(t for t in others if t.score == champion.score)


def test_another_point_is_confirmed_by_a_study_of_its_own(world: World, searched: Study) -> None:
    point = as_good(world, searched)
    n_before = len(world.model.requests)
    queued = world.nominate(searched.id, point.variant)
    assert (queued.status, queued.strategy, queued.winner) == ("queued", "confirm", point.variant)
    assert world.nominate(searched.id, point.variant) == queued, "asked for again while it waits"
    ended = world.run(queued)
    assert (ended.status, ended.outcome, ended.winner) == ("finished", "nominated", point.variant)
    assert world.trials(ended) == []
    assert (ended.confirmation or {})["n"] == 40
    assert (ended.confirmation or {})["looks"] == world.n_looks() == 1
    assert len(world.model.requests) - n_before == ended.spend.n_calls == 80
    assert headline(ended, []).startswith(f"{point.variant} was nominated")
    assert f"rollout start {searched.family} {point.variant}" in next_step(ended)
    report = report_study(ended, family=world.family, store=world.store, clock=world.clock)
    assert "The nominated variant" in (page := study_page(report))
    assert "train-005" in page, "what changed"
    assert f"<dt>Searched by</dt><dd><code>{searched.id}</code></dd>" in page
    assert world.nominate(ended.id, point.variant) == ended
    assert world.nominate(searched.id, point.variant) == ended, "what was asked is not asked again"
    assert world.n_looks() == 1
    later = replace(searched, id="st_later", created_at=ended.created_at + timedelta(days=1))
    world.store.write(lambda tx: world.store.studies.add(tx, later))
    as_champion = replace(point, study=later.id, number=0, proposer="champion")
    world.store.write(lambda tx: world.store.studies.put_trial(tx, as_champion))
    with world.store.read() as tx:
        front = front_of_study(ended, [], store=world.store, clock=world.clock, tx=tx)
    assert front.searched_by == searched.id, "a later search measured it, too"
    out = StringIO()
    view(Console(file=out, width=200), view_of_study(ended), [], front=front)
    assert f"Searched  by {searched.id}, which has the front: detent study show {searched.id}" in out.getvalue()
    other = next(trial for trial in world.trials(searched)[1:] if trial.variant != point.variant)
    with pytest.raises(NotFound, match=f"detent study nominate {searched.id} {other.variant}`"):
        world.nominate(ended.id, other.variant)
    with pytest.raises(NotFound, match=f"detent study nominate {searched.id} {other.variant} --aim cost`"):
        world.nominate(ended.id, other.variant, aim="cost")


def test_a_study_that_was_to_look_at_fewer_rows_than_the_gates_ask_for_may_nominate(
    world: World, searched: Study
) -> None:
    definition = {**searched.definition, "n_holdout": 1}
    world.change(searched, definition=definition)
    price = world.nominate(searched.id, as_good(world, searched).variant, dry_run=True)
    assert isinstance(price, LookPrice)
    assert price.n_calls == 80


def test_it_is_the_second_look_where_the_holdout_has_been_looked_at(world: World, searched: Study) -> None:
    first = world.run(world.nominate(searched.id, as_good(world, searched).variant))
    again = world.run(world.nominate(searched.id, as_good(world, searched).variant, "cost"))
    assert [(s.confirmation or {})["looks"] for s in (first, again)] == [1, 2]
    assert again.aim == "cost"
    with world.store.read() as tx:
        speaking = [
            confirming_study(tx, world.store, searched.family, str(first.winner), aim=aim)
            for aim in ("quality", "cost", None)
        ]
    assert speaking == [first, again, again], "a later look for another aim hides none"
    assert "quality" in {g["name"] for g in (again.confirmation or {})["gates"]}


def test_the_price_is_told_before_and_telling_it_writes_nothing(world: World, searched: Study) -> None:
    point = as_good(world, searched)
    price = world.nominate(searched.id, point.variant, dry_run=True)
    assert isinstance(price, LookPrice)
    assert (price.n_calls, price.n_calls_at_most, price.look, price.variant) == (80, 120, 1, point.variant)
    assert price.usd_at_most is not None
    assert world.only_study() == searched
    queued = world.nominate(searched.id, point.variant)
    assert (queued.budget.calls, queued.budget.usd) == (price.n_calls_at_most, price.usd_at_most)
    assert world.run(queued).spend.usd <= price.usd_at_most


def test_a_monthly_limit_holds_also_for_a_nomination(world: World, searched: Study) -> None:
    point = as_good(world, searched)
    with pytest.raises(BudgetTooSmall, match="monthly limit"):
        world.nominate(searched.id, point.variant, usd_per_month=searched.spend.usd + 0.001)
    unpriced = SimpleNamespace(price=lambda name: None, describe=world.describe, get=world.get)
    with pytest.raises(BudgetTooSmall, match="no known price"):
        world.nominate(searched.id, point.variant, models=unpriced, usd_per_month=100.0)


def test_what_did_not_pass_is_not_asked_until_it_does(world: World, searched: Study) -> None:
    point = as_good(world, searched)
    world.families.families[world.family.name] = topic_family(
        rollout={"gates": {"n": 40, "improvement": 0.15, "confidence": 0.0}}
    )
    assert world.run(world.nominate(searched.id, point.variant)).outcome == "not_confirmed"
    with pytest.raises(GateNotMet, match="did not pass: improvement"):
        world.nominate(searched.id, point.variant)


def test_what_cannot_be_nominated_says_why(world: World, searched: Study) -> None:
    point = as_good(world, searched)
    with pytest.raises(Conflict, match="is the champion"):
        world.nominate(searched.id, searched.champion)
    other = next(t for t in world.trials(searched) if t.variant not in (point.variant, searched.champion))
    unmeasured = replace(point, number=99, variant="v_000000000000", status="dropped", n=3)
    world.store.write(lambda tx: world.store.studies.put_trial(tx, unmeasured))
    with pytest.raises(InvalidInput, match="not been measured on every dev example"):
        world.nominate(searched.id, unmeasured.variant)
    gap = [ExampleResult(example=(searched.dataset or {})["dev"][0], score=None, output=None, error="timeout")]
    world.store.write(lambda tx: world.store.studies.put_results(tx, searched.id, "search", other.variant, gap))
    with pytest.raises(InvalidInput, match="not been measured on every dev example"):
        world.nominate(searched.id, other.variant)
    with pytest.raises(InvalidInput, match="no strategy 'confirm'"):
        world.create(strategy="confirm")
    first = world.nominate(searched.id, point.variant)
    with pytest.raises(Conflict, match="one at a time"):
        world.nominate(searched.id, point.variant, "cost")
    world.run(first)
    freeze(context_of(world.store, world.clock, "test"), FreezeRequest(family=world.family.name, reason=""))
    with pytest.raises(Conflict, match="frozen"):
        world.nominate(searched.id, point.variant, "cost")


def test_a_model_that_does_not_answer_decides_nothing(world: World, searched: Study) -> None:
    queued = world.nominate(searched.id, as_good(world, searched).variant)
    world.change(queued, budget=Budget(calls=160))

    def broken(_: int) -> None:
        raise ModelFailed("The model is not reachable.", kind="malformed", sent=False)

    world.model.before = broken
    ended = world.run(queued)
    assert (ended.status, ended.confirmation) == ("failed", None)
    assert "On none of the 40 holdout examples" in (ended.error or "")
    assert "The model is not reachable." in headline(ended, [])
    assert next_step(ended) == f"detent study resume {ended.id}"
    world.model.before = None
    again = world.run(world.resume(ended))
    assert (again.outcome, world.n_looks()) == ("nominated", 1)


@pytest.mark.parametrize(
    ("confidence", "quality", "by_itself"),
    [(0.99, 0.96, True), (0.99, 0.85, False), (0.85, 0.99, False), (None, None, False)],
)
def test_a_rollout_approves_itself_only_where_saving_and_quality_are_both_sure(
    confidence: float | None, quality: float | None, by_itself: bool
) -> None:
    gates = [{"name": name, "value": value} for name, value in (("confidence", confidence), ("quality", quality))]
    draft: Any = SimpleNamespace(gates=gates, missed=[], rollout=SimpleNamespace(settings={"approve": "auto"}))
    assert _approves_itself(draft) is by_itself
