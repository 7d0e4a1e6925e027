"""A study from creation to outcome, on a real database with a scripted model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from io import StringIO

import pytest
from pydantic import ValidationError
from rich.console import Console

from optimizer.cli.study.view import view
from optimizer.core.base.errors import (
    BudgetTooSmall,
    Conflict,
    DatasetTooSmall,
    GateNotMet,
    InvalidInput,
    ModelFailed,
    NotFound,
)
from optimizer.core.base.values import Budget, Spend
from optimizer.core.models.budget import reservation_usd
from optimizer.core.models.language import ModelPrice
from optimizer.core.search.cascade.learned import RECORDED
from optimizer.core.search.cost_estimate import CostEstimate
from optimizer.core.search.strategy import without_turn
from optimizer.core.search.study import Study, too_long_in_words
from optimizer.core.views.study_headline import view_of_study
from optimizer.jobs.outbox.mirror_outbox import TOPICS as MIRRORED
from optimizer.jobs.studies.create_study import DEFAULT_BUDGET
from optimizer.jobs.studies.transitions import fail_study
from tests.cases import named
from tests.clock import Clock
from tests.stores import reading
from tests.worlds.study_world import (
    START,
    TOPICS,
    Broken,
    Killed,
    TopicModel,
    World,
    copy_store,
    killed_at,
    topic_examples,
    topic_family,
)
from tests.worlds.taught_student import crown


@pytest.fixture
def world(tmp_path):
    return World(tmp_path).fill()


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """A world in which nothing is ever written."""
    return World(tmp_path_factory.mktemp("untouched")).fill()


@dataclass(frozen=True)
class Done:
    """A study that ran undisturbed. Shared: tests only read it."""

    world: World
    study: Study


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("done")).fill()
    return Done(world, world.run(world.create()))


def test_a_study_finds_confirms_and_nominates_a_better_variant(done):
    world, study = done.world, done.study
    assert (study.status, study.outcome) == ("finished", "nominated")
    confirmation = study.confirmation
    assert confirmation["champion_mean"] == 0.0
    assert confirmation["lift"] > 0.7
    assert confirmation["lift_low"] < confirmation["lift"] < confirmation["lift_high"]
    assert confirmation["selection_lift"] > 0.7
    assert confirmation["looks"] == 1
    assert [g["verdict"] for g in confirmation["gates"]] == ["pass"] * 4
    with world.store.read() as tx:
        record = world.store.variants.get(tx, "topics", study.winner)
        assert len(record.variant.examples) >= 2
        assert (record.source, record.study, record.parent) == ("study", study.id, study.champion)
        assert [(i.topic, i.subject) for i in world.store.outbox.due(tx, world.clock.now(), 10, topics=MIRRORED)] == [
            ("study", study.id)
        ]


def test_trial_zero_is_the_champion_and_every_trial_has_a_result_per_dev_example(done):
    world, study = done.world, done.study
    trials = world.trials(study)
    assert (trials[0].number, trials[0].proposer, trials[0].variant) == (0, "champion", study.champion)
    assert [t.number for t in trials] == list(range(len(trials)))
    assert len({t.variant for t in trials}) == len(trials)
    with world.store.read() as tx:
        results = world.store.studies.results(tx, study.id, "search")
    assert all({r.example for r in results[t.variant]} == set(study.dataset["dev"]) for t in trials)
    assert (study.spend.search_cut, without_turn(study, trials)) == (None, ()), "it came to its end"


def test_no_request_is_asked_twice_and_the_spend_is_what_the_journal_says(done):
    world, study = done.world, done.study
    calls = world.calls(study)
    assert max(Counter(c.key for c in calls).values()) == 1
    assert (
        study.spend.n_calls
        == len(calls)
        == len(world.model.requests)
        == sum(t.n_calls for t in world.trials(study)) + 40
    )
    assert study.spend.usd == pytest.approx(0.00001 * len(calls))


def test_a_second_study_of_the_same_seed_takes_the_same_way_and_pays_nothing(done, tmp_path):
    copy_store(done.world.store, tmp_path / "detent.db")
    world = World(tmp_path, clock=Clock(done.world.clock.at, step_s=0.001))
    second = world.run(world.create())
    assert [t.variant for t in world.trials(second)] == [t.variant for t in done.world.trials(done.study)]
    assert second.spend.n_calls == len(world.model.requests)
    searched = [c for c in world.calls(second) if c.purpose == "search" and c.temperature == 0]
    assert searched == []
    assert second.spend.n_from_journal > 0
    assert world.n_looks() == 2


def test_the_holdout_is_not_looked_at_when_nothing_beats_the_champion(tmp_path):
    world = World(tmp_path, model=TopicModel(needs=99)).fill()
    study = world.run(world.create())
    assert (study.outcome, study.winner, study.confirmation) == ("no_improvement", None, None)
    assert world.n_looks() == 0
    assert {c.purpose for c in world.calls(study)} == {"search"}


def test_a_lead_on_dev_that_the_holdout_does_not_show_is_not_confirmed(tmp_path):
    class OnlyDev(TopicModel):
        """Good with examples on dev documents, mute on the holdout."""

        def _text(self, request):
            return super()._text(request) if "of holdout" not in request.messages[-1]["content"] else "?"

    world = World(tmp_path, model=OnlyDev()).fill()
    study = world.run(world.create(strategy="bootstrap"))
    assert study.outcome == "not_confirmed"
    assert study.winner
    assert study.confirmation["p"] == 1.0
    assert {g["name"] for g in study.confirmation["gates"] if g["verdict"] != "pass"} == {"improvement", "confidence"}
    assert study.confirmation["summary"].startswith("Not confirmed:")
    with pytest.raises(GateNotMet, match="improvement, confidence"):
        world.nominate(study.id, study.winner, "quality")


@pytest.mark.parametrize(("n", "said"), [(12, "Not confirmed: "), (0, "holdout is empty")])
def test_fewer_holdout_examples_than_the_gate_asks_for_are_not_enough_to_nominate(tmp_path, n, said):
    world = World(tmp_path).fill(n_holdout=n)
    study = world.run(world.create(strategy="bootstrap"))
    assert study.outcome == "not_confirmed"
    assert said in study.confirmation["summary"]
    assert [g["name"] for g in study.confirmation["gates"] if g["verdict"] != "pass"] == ["n"]
    world.add(topic_examples(20, "holdout"))
    assert world.confirm(study.winner, dry_run=True).look == 1 + bool(n), "too few decide nothing"


def test_a_search_that_its_budget_cut_short_says_why_and_which_strategy_had_no_turn_and_confirms_its_best(world):
    study = world.run(world.create(budget=Budget(calls=40 + 20), strategy="bootstrap+settings"))
    trials = world.trials(study)
    assert (study.outcome, trials[-1].status in ("stopped", "complete")) == ("nominated", True)
    assert study.spend.n_calls <= 60
    assert Counter(c.purpose for c in world.calls(study))["confirmation"] == 40
    assert without_turn(study, trials) == ("settings",)
    found_nothing = replace(study, strategy="bootstrap+replay", findings={RECORDED: None})
    assert without_turn(found_nothing, trials) == (), "its remark says what it saw"
    assert (
        study.spend.search_cut
        == "The next call would pass the cap of 60 calls: 20 are used, and 40 calls are held back for the confirmation."
    )
    out = StringIO()
    view(Console(file=out, width=300), view_of_study(study), trials)
    assert (
        f"settings never had a turn: detent study run topics --budget-calls {study.findings['enough']['calls']}, enough"
        " for every part, or --strategy settings" in out.getvalue()
    )
    again = world.run(world.create(budget=Budget(**study.findings["enough"]), strategy="bootstrap+settings"))
    assert (again.spend.search_cut, without_turn(again, world.trials(again))) == (None, ())


def test_a_study_that_fails_at_its_confirmation_keeps_that_its_search_was_cut_short_also_when_it_goes_on(tmp_path):
    world = World(tmp_path).fill()
    study = world.create(budget=Budget(calls=40 + 20), strategy="bootstrap+settings")

    def break_down(n):
        if world.stored(study).status == "confirming":
            raise RuntimeError("the model went away")

    world.model.before = break_down
    with pytest.raises(RuntimeError):
        world.run(study)
    failed = world.stored(study)
    assert failed.status == "failed"
    assert without_turn(failed, world.trials(study)) == ("settings",)
    world.model.before = None
    ended = world.run(world.resume(study))
    assert ended.status == "finished"
    assert ended.spend.search_cut.startswith("The next call would pass the cap of 60 calls")


def test_a_study_that_fails_keeps_how_much_the_journal_answered(world):
    study = world.create()
    world.change(study, spend=Spend(n_from_journal=7))
    assert fail_study(world.store, world.clock, study.id, "gone").spend == Spend(n_from_journal=7)


LONG_FAMILY = {"inputs": {"document": {"type": "text", "max_chars": 4000}}}
ENOUGH_SEEN = {"n_train": 24}
DEAR = ModelPrice(input_usd_per_mtok=10.0, output_usd_per_mtok=10.0)


def test_short_requests_are_reserved_as_short_ones_though_the_family_allows_long_ones(tmp_path):
    world = World(tmp_path, model=TopicModel(price=DEAR), family=topic_family(**LONG_FAMILY)).fill()
    reserved = world.create(dry_run=True, strategy="bootstrap", definition=ENOUGH_SEEN).reserved_usd
    world.run(world.create(strategy="bootstrap"))
    dearest = max(reservation_usd(request, DEAR) for request in world.model.requests)
    assert 40 * dearest <= reserved < 4 * 40 * dearest


def test_sealed_rows_longer_than_the_reserve_was_made_for_do_not_pass_the_cap(tmp_path):
    world = World(tmp_path, model=BilledInFull(price=DEAR), family=topic_family(**LONG_FAMILY))
    sealed = [
        replace(e, input={"document": e.input["document"] + " and so on" * 300}) for e in topic_examples(24, "holdout")
    ]
    world.fill(examples=[*topic_examples(30, "train"), *topic_examples(12, "dev"), *sealed])
    cap = world.create(dry_run=True, definition=ENOUGH_SEEN).reserved_usd + 0.1
    study = world.run(world.create(budget=Budget(usd=cap), definition=ENOUGH_SEEN))
    assert study.outcome == "budget_exhausted"
    assert study.spend.remark is not None
    assert study.spend.remark.startswith("Not confirmed: ")
    assert "could pass the cap" in study.spend.remark
    assert study.spend.usd <= cap


class BilledInFull(TopicModel):
    """Costs what was reserved, as a provider may that makes a token of every byte."""

    async def complete(self, request):
        return replace(await super().complete(request), cost_usd=reservation_usd(request, self.price))


def test_time_that_runs_out_ends_the_search_and_leaves_the_confirmation_its_turn(tmp_path):
    world = World(tmp_path, clock=Clock(START, step_s=0.05)).fill()
    study = world.run(world.create(budget=Budget(minutes=0.3)))
    assert len(world.trials(study)) < world.create(dry_run=True).n_trials
    assert study.outcome == "nominated"


def test_minutes_do_not_pass_for_a_study_that_was_cancelled_and_is_resumed_later(done, tmp_path):
    world = World(tmp_path).fill()
    study = world.create(budget=Budget(minutes=60))

    def cancel(n):
        if n == 4:
            world.stop(study)
            world.clock.pass_seconds(2)

    world.model.before = cancel
    assert world.run(study).status == "cancelled"
    world.model.before = None
    world.clock.pass_hours(12)
    ended = world.run(world.resume(study))
    assert (ended.outcome, ended.spend.search_cut) == ("nominated", None)
    assert len(world.trials(ended)) == len(done.world.trials(done.study))


def test_one_slow_first_call_is_no_pace_that_ends_a_search(done, tmp_path):
    """A cold engine takes seconds once; times the calls of a confirmation that was more than all the minutes."""
    world = World(tmp_path, clock=Clock(START, step_s=0.001)).fill()
    study_id = world.create(budget=Budget(minutes=1.0))
    answer, slow = world.model.complete, [30_000.0]

    async def cold(request):
        return replace(await answer(request), latency_ms=slow.pop() if slow else 1.0)

    world.model.complete = cold
    study = world.run(study_id)
    assert not slow
    assert len(world.trials(study)) == len(done.world.trials(done.study))
    assert study.outcome == "nominated"


@pytest.mark.parametrize("at", [pytest.param(20, marks=pytest.mark.long), 60])
def test_a_study_that_was_torn_off_goes_on_without_asking_anything_twice(done, tmp_path, at):
    world = World(tmp_path, model=TopicModel(before=killed_at(at))).fill()
    study = world.create()
    with pytest.raises(Killed):
        world.run(study)
    assert world.stored(study).status in ("running", "confirming")
    resumed = World(tmp_path)
    ended = resumed.run(study)
    assert (ended.status, ended.outcome, ended.winner) == ("finished", "nominated", done.study.winner)
    undisturbed = done.world.trials(done.study)
    assert [(t.variant, t.score, t.n) for t in resumed.trials(ended)] == [
        (t.variant, t.score, t.n) for t in undisturbed
    ]
    resumed.assert_asked_nothing_twice(ended)
    assert resumed.n_looks() == 1


def cancelled_in_an_outage(world, study, *, after, status):
    """The study, cancelled while its provider has failed every call since the first ``after`` with this status;
    the provider is well again, and the study has been taken up.
    """
    n = [0]

    def fail(_):
        n[0] += world.stored(study).status == status
        if n[0] == after + 6:
            world.stop(study)
            world.clock.pass_seconds(2)
        if n[0] > after:
            raise ModelFailed("The provider answers 503.", kind="http", status_of_model=503)

    world.model.before = fail
    assert world.run(study).status == "cancelled"
    world.model.before = None
    return world.resume(study)


def test_a_search_that_goes_on_after_an_outage_asks_again_what_failed(world):
    study = world.create(strategy="examples")
    ended = world.run(cancelled_in_an_outage(world, study, after=9, status="running"))
    assert (ended.status, ended.outcome) == ("finished", "nominated")
    with world.store.read() as tx:
        results = world.store.studies.results(tx, ended.id, "search")
    assert all(row.score is not None for rows in results.values() for row in rows)


def test_a_confirmation_that_goes_on_after_an_outage_asks_again_what_failed(world):
    ended = world.run(cancelled_in_an_outage(world, world.create(), after=24, status="confirming"))
    assert (ended.status, ended.outcome) == ("finished", "nominated")
    assert (ended.confirmation["n"], ended.confirmation["n_unscored"], world.n_looks()) == (20, 0, 1)


def test_a_finished_study_run_again_is_left_as_it_is(done):
    world, study = done.world, done.study
    n = len(world.model.requests)
    assert world.run(study) == study
    assert len(world.model.requests) == n


def test_a_cancelled_study_stops_before_its_next_call_and_keeps_what_it_found(tmp_path):
    world = World(tmp_path, clock=Clock(START, step_s=1.0)).fill()
    study = world.create()

    def stop(n):
        if n == 20:
            world.stop(study)
            world.stop(study)

    world.model.before = stop
    ended = world.run(study)
    assert (ended.status, ended.outcome) == ("cancelled", None)
    cancels = [one for one in reading(world.store).audit.of_subject(study.id) if one["action"] == "study_cancel"]
    assert len(cancels) == 1
    assert len(world.model.requests) == 20
    assert ended.winner is not None
    assert world.n_looks() == 0


def test_a_queued_study_is_cancelled_at_once(world):
    study = world.create()
    assert world.stop(study).status == "cancelled"
    assert world.run(study).status == "cancelled"
    assert world.model.requests == []


def test_a_model_that_answers_nothing_fails_the_study_with_its_reason(tmp_path):
    world = World(tmp_path, model=Broken()).fill()
    study = world.run(world.create())
    assert study.status == "failed"
    assert "answered none of the champion's 6 dev examples" in study.error
    assert "not reachable" in study.error


def test_a_family_that_is_gone_fails_the_study_with_a_sentence(world):
    study = world.create()
    world.families.families = {}
    assert "detent family validate" in world.run(study).error


def test_an_unexpected_error_fails_the_study_and_is_raised(world):
    study = world.create()

    def scorer_for(family):
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        world.run(study, scorer_for=scorer_for)
    assert "disk on fire" in world.stored(study).error


# --- creating ---------------------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_it_costs_and_writes_nothing(done, world):
    estimate = world.create(dry_run=True)
    assert isinstance(estimate, CostEstimate)
    assert estimate.n_confirmation_calls == 40
    with world.store.read() as tx:
        assert world.store.studies.page(tx)[0] == []
    spent = done.study.spend
    assert estimate.calls.low <= spent.n_calls <= estimate.calls.high
    assert spent.usd <= estimate.usd.high


def test_the_dataset_is_fixed_before_the_first_call_and_the_same_for_the_same_family(world):
    study = world.create()
    assert {name: len(ids) for name, ids in study.dataset.items() if name not in ("hash", "n_dev")} == {
        "train": 9,
        "dev": 6,
        "holdout": 20,
    }
    topic_of = {e.id: e.expected["topic"] for e in topic_examples(30, "train")}
    assert Counter(topic_of[id] for id in study.dataset["train"]) == dict.fromkeys(TOPICS, 3)
    world.stop(study)
    assert world.create(seed=99).dataset == study.dataset


@pytest.mark.parametrize(
    ("too_long", "told", "sizes"),
    [
        pytest.param("cut", "cut to max_chars, as when serving: document in 2 examples", (9, 6), id="cut"),
        pytest.param("refuse", "left out, since serving refuses inputs so long: 4 examples", (9, 4), id="refused"),
    ],
)
def test_a_study_on_inputs_longer_than_serving_takes_says_what_became_of_them(tmp_path, too_long, told, sizes):
    inputs = {"document": {"type": "text", "max_chars": 60, "too_long": too_long}}
    world = World(tmp_path, family=topic_family(inputs=inputs))
    long = [
        replace(e, input={"document": e.input["document"] + " and so on" * 10})
        for e in (*topic_examples(12, "dev")[:2], *topic_examples(30, "train")[:2])
    ]
    rows = {e.id: e for e in (*topic_examples(30, "train"), *topic_examples(6, "dev"), *topic_examples(24, "holdout"))}
    world.fill(examples=[*(rows | {e.id: e for e in long}).values()])
    estimate, study = world.create(dry_run=True), world.create(strategy="bootstrap")
    assert told in too_long_in_words({"truncated": estimate.truncated, "n_refused": estimate.n_refused})
    assert told in too_long_in_words(study.dataset)
    assert (len(study.dataset["train"]), len(study.dataset["dev"])) == sizes
    if too_long == "refuse":
        return
    world.run(study)
    asked = [str(request.messages[-1]["content"]) for request in world.model.requests]
    assert all(len(text) <= len("Document: \nTopic:") + 60 for text in asked)


def test_fresh_holdout_examples_come_first_and_others_fill_up_where_they_are_too_few(tmp_path):
    world = World(tmp_path).fill(n_holdout=46)
    first = world.run(world.create(strategy="bootstrap"))
    second = world.run(world.create(strategy="bootstrap"))
    assert not set(first.dataset["holdout"]) & set(second.dataset["holdout"])
    assert second.confirmation["looks"] == 1
    third = world.create(strategy="bootstrap")
    fresh = {f"holdout-{i:03d}" for i in range(46)} - set(first.dataset["holdout"]) - set(second.dataset["holdout"])
    assert len(third.dataset["holdout"]) == 20
    assert set(third.dataset["holdout"][:6]) == fresh
    assert world.run(third).confirmation["looks"] == 2


def test_only_released_examples_are_trained_on_unless_the_family_takes_any(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    rows = [*topic_examples(6, "train", released=False), *topic_examples(6, "dev")]
    careful = World(tmp_path / "a").fill(examples=rows)
    assert careful.create().dataset["train"] == []
    open_minded = World(tmp_path / "b", family=topic_family(privacy={"examples_from": "any"})).fill(examples=rows)
    study = open_minded.create()
    assert len(study.dataset["train"]) == 6
    assert any(len(p.params) and p.params.get("n_examples") for p in open_minded.trials(open_minded.run(study)))


def test_a_budget_that_names_no_cap_is_the_usual_one(world):
    assert world.create(budget=Budget()).budget == DEFAULT_BUDGET


MANY_MODELS = [["a", f"m{n}"] for n in range(101)]


@named(
    ("options", "error"),
    {
        "unknown strategy": ({"strategy": "luck"}, InvalidInput),
        "a race for another aim": ({"aim": "cost", "strategy": "race"}, InvalidInput),
        "negative seed": ({"seed": -1}, ValidationError),
        "negative budget": ({"budget": Budget(calls=-5)}, ValidationError),
        "budget that is no number": ({"budget": Budget(usd=float("nan"))}, ValidationError),
        "minutes beyond the calendar": ({"budget": Budget(minutes=1e300)}, InvalidInput),
        "more calls than anybody makes": ({"budget": Budget(calls=10**400)}, InvalidInput),
        "zero budget": ({"budget": Budget(calls=0)}, BudgetTooSmall),
        "only the confirmation": ({"budget": Budget(calls=40)}, BudgetTooSmall),
        "too few dollars": ({"budget": Budget(usd=0.0001)}, BudgetTooSmall),
        "misspelt size": ({"definition": {"n_dve": 3}}, InvalidInput),
        "space that cannot be searched": ({"definition": {"space": {"moon": {"int": [1, 2]}}}}, InvalidInput),
    },
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(untouched, options, error):
    with pytest.raises(error):
        untouched.create(**options)
    with untouched.store.read() as tx:
        assert untouched.store.studies.page(tx)[0] == []
    assert untouched.model.requests == []


@named(
    ("definition", "says"),
    {
        "a count without end": ({"n_candidates": 10**9}, "/definition/n_candidates needs at most 10,000"),
        "policies without end": (
            {"space": {f"policy.{name}": {"choices": MANY_MODELS} for name in ("tiers", "votes.models")}},
            "make 10,201 policies",
        ),
    },
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_new_study_works_through_what_has_an_end(untouched, definition, says, dry_run):
    with pytest.raises(InvalidInput, match=says):
        untouched.create(definition=definition, dry_run=dry_run)


def test_without_dev_examples_or_a_champion_there_is_nothing_to_search(tmp_path):
    world = World(tmp_path).fill(n_dev=1)
    with pytest.raises(DatasetTooSmall, match="1 dev examples"):
        world.create()
    (tmp_path / "empty").mkdir()
    with pytest.raises(Conflict, match="no champion"):
        World(tmp_path / "empty").create()


# --- nominating -------------------------------------------------------------------------------------------------------


def test_the_confirmed_winner_may_be_nominated_again_and_no_variant_that_was_not_tried(done):
    world, study = done.world, done.study
    assert world.nominate(study.id, study.winner, "quality") == study
    with pytest.raises(NotFound, match="no trial"):
        world.nominate(study.id, "v_000000000000", "quality")
    with pytest.raises(NotFound):
        world.nominate("st_none", study.winner, "quality")


def test_a_study_under_way_nominates_nothing_yet(world):
    study = world.create()
    with pytest.raises(Conflict, match="queued"):
        world.nominate(study.id, study.champion, "quality")


def test_a_study_is_not_queued_beside_another_champion_than_it_was_prepared_with(world, monkeypatch):
    write = world.store.write
    other = replace(world.family.variant(), model={**world.family.variant().model, "temperature": 0.5})

    def after_another(change, **options):
        monkeypatch.setattr(world.store, "write", write)
        crown(world.store, world.family.name, other, at=world.clock.now())
        return write(change, **options)

    monkeypatch.setattr(world.store, "write", after_another)
    with pytest.raises(Conflict, match="lost its champion"):
        world.create()
    assert reading(world.store).studies.unfinished() == []
