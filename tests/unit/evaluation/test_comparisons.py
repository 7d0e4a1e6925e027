"""Variants side by side in the background: capped by itself, resumed for nothing, and read of what is kept alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.core.base.errors import Conflict, InvalidInput, ModelFailed, NotFound
from optimizer.jobs.families.retire_family import require_idle
from optimizer.jobs.request import ItemRequest, PageRequest
from optimizer.jobs.runs.create_comparison import (
    CompareRequest,
    ComparisonEstimate,
    read_comparison,
    read_grid,
    start_comparison,
)
from optimizer.jobs.runs.create_judge_run import JudgeRunsRequest, read_judge_run, read_judge_runs
from optimizer.jobs.runs.preview_variant import PreviewRequest, preview_variant
from optimizer.jobs.runs.queue_run import RunBudgetBody
from optimizer.jobs.upkeep.read_operations import read_jobs
from optimizer.runtime.use_cases import use_case_of
from tests.stores import keep_variant, reading, writing
from tests.worlds.judged_world import JudgedWorld, judge_model, prompt_of, says, writer_by
from tests.worlds.study_world import START, Killed, TopicModel, World, killed_at, topic_examples

MARK = "xylophone"  # in every answer


class Compared:
    """A world with a second variant, and what is asked of it."""

    def __init__(self, world, **changes):
        self.world, base = world, world.family.variant()
        self.other = replace(base, model={**base.model, **(changes or {"max_tokens": 7})})
        keep_variant(world.store, world.family.name, self.other, START)
        self.context = world.run_context(lambda: True)

    def start(self, *, n=6, dry_run=False, variants=None, **caps):
        names = variants or ["champion", self.other.id]
        asked = CompareRequest(
            family=self.world.family.name, variants=names, n=n, budget=RunBudgetBody(**caps), dry_run=dry_run
        )
        return start_comparison(self.context, asked)

    def do(self, run, watched=lambda run: None):
        return self.world.carry_out(run, watched=watched)

    def grid(self, run):
        return read_grid(self.context, ItemRequest(id=run.id))

    def n_calls(self, run):
        return reading(self.world.store).journal.spend(run.id).n_calls


def test_what_was_asked_afresh_then_is_timed_where_it_is_read(tmp_path):
    side = Compared(World(tmp_path, model=TopicModel(needs=0)).fill(n_dev=24))
    made = side.do(side.start(n=20))
    assert [one["p95_ms"] for one in side.grid(made)["variants"]] == [10.0, 10.0]


@pytest.fixture
def side(tmp_path):
    return Compared(World(tmp_path, model=TopicModel(needs=0)).fill(n_dev=8))


def answer_with_mark(request):
    return f"Dear customer, {MARK}: {prompt_of(request)[-12:]}"


def judged(folder, *judges, **options):
    options = {"model": writer_by(answer_with_mark), **options}
    return Compared(JudgedWorld(folder, *judges, **options).fill_letters(), max_tokens=30)


def test_a_grid_is_read_of_what_was_answered_and_asks_no_model(side):
    told = side.start(dry_run=True)
    assert isinstance(told, ComparisonEstimate)
    assert (told.n, told.calls.high, told.models) == (6, 12, ["fake"])
    run = side.start()
    assert (run.status, run.n, run.budget.calls) == ("queued", 12, 18)
    with pytest.raises(Conflict, match="It is queued"):
        side.grid(run)
    seen = []
    made = side.do(run, watched=lambda one: seen.append(one.n_done))
    assert (made.status, made.n_done, sorted(seen)) == ("finished", 12, list(range(1, 13)))
    n_asked, grid = len(side.world.model.requests), side.grid(run)
    assert len(side.world.model.requests) == n_asked == 12
    assert (grid["n"], grid["n_gone"], grid["n_calls"]) == (6, 0, 12)
    assert [one["variant"] for one in grid["variants"]] == list(run.request["variants"])
    assert grid["spent_usd"] == pytest.approx(12 * 0.00001)
    again = side.start()
    side.do(again)
    assert len(side.world.model.requests) == 12, "at temperature 0 the journal answers"
    assert side.grid(again)["rows"] == grid["rows"]


def test_while_it_runs_the_answers_that_are_there_are_read_one_by_one(side):
    run, grids = side.start(n=3), []
    side.do(run, watched=lambda one: grids.append(side.grid(run)))
    assert [sum(len(row["answers"]) for row in grid["rows"]) for grid in grids] == [1, 2, 3, 4, 5, 6]
    assert [len(grid["variants"]) for grid in grids] == [1, 1, 1, 2, 2, 2], "one variant after the other"
    assert [(grid["n_calls"], grid["n_gone"]) for grid in grids] == [(n, 0) for n in range(1, 7)]
    assert all(answer["score"] is not None for row in grids[0]["rows"] for answer in row["answers"])
    assert grids[-1] == side.grid(run)


def test_named_examples_are_asked_and_none_that_is_no_dev_example(side):
    dev = [one.id for one in reading(side.world.store).examples.of_split(side.world.family.name, split="dev")]
    others = [one.id for one in reading(side.world.store).examples.of_split(side.world.family.name, split="train")]
    others += [id for id, _ in reading(side.world.store).examples.holdout_ids(side.world.family.name)]
    assert others
    request = CompareRequest(family=side.world.family.name, variants=["champion", side.other.id], example_ids=dev[:3])
    told = start_comparison(side.context, request.model_copy(update={"dry_run": True}))
    assert isinstance(told, ComparisonEstimate)
    assert (told.n, told.calls.high, told.budget.calls) == (3, 6, 9)
    run = start_comparison(side.context, request)
    assert (list(run.request["example_ids"]), run.budget) == (dev[:3], told.budget)
    side.do(run)
    assert {row["example"] for row in side.grid(run)["rows"]} == set(dev[:3])
    for id in [*others, "no-such"]:
        with pytest.raises(InvalidInput, match="has no dev example"):
            start_comparison(side.context, request.model_copy(update={"example_ids": [dev[0], id]}))


def preview_of(side, text, **more):
    messages = [{"role": "user", "content": text}]
    asked = PreviewRequest(family=side.world.family.name, from_=side.other.id, messages=messages, **more)
    return preview_variant(side.context, asked)


def test_a_preview_says_what_differs_and_what_trying_it_would_cost_and_keeps_nothing(side):
    name, (before,) = side.world.family.name, side.world.family.inputs
    n_variants = len(reading(side.world.store).variants.of_family(name))
    seen = preview_of(side, f"What is it about: {{{{{before}}}}}")
    assert (seen.parent, seen.faults, seen.is_listed, seen.why_no_comparison) == (side.other.id, (), False, None)
    assert [one.kind for one in seen.edited.lines if one.kind != "same"]
    assert (seen.comparison.n, seen.comparison.calls.high, seen.comparison.budget.calls) == (5, 10, 15)
    assert seen.comparison.variants == [side.world.family.variant().id, seen.variant]
    assert 0 < seen.price.usd.expected <= seen.price.usd.high
    assert seen.price.tokens > 0
    assert [one.is_chosen for one in seen.examples] == [True] * 5 + [False] * 3
    other = preview_of(side, f"{{{{{before}}}}}", seed=1)
    assert [one.example for one in other.examples] != [one.example for one in seen.examples]
    named = preview_of(side, f"{{{{{before}}}}}", example_ids=[seen.examples[7].example], budget={"calls": 3})
    assert (named.comparison.n, named.comparison.budget.calls) == (1, 3)
    assert len(reading(side.world.store).variants.of_family(name)) == n_variants
    assert side.world.model.requests == []


def test_a_preview_names_what_is_wrong_and_what_keeps_it_from_being_tried(side):
    wrong = preview_of(side, "About {{no_such_input}}?")
    assert wrong.variant is wrong.comparison is None
    assert "no_such_input" in wrong.faults[0]["detail"]
    for settings in ({"response_format": "json_object"}, {"response_format": [1]}, {"response_format": True}):
        assert preview_of(side, "About {{document}}?", model=settings).faults
    assert "nope" in preview_of(side, "About {{document}}?", preset="nope").faults[0]["detail"]
    assert "as it stands" in wrong.why_no_comparison
    base = side.world.family.variant()
    same = PreviewRequest(family=side.world.family.name, from_=base.id)
    assert "It is the champion" in preview_variant(side.context, same).why_no_comparison
    assert "Choose at least one" in preview_of(side, base.messages[-1]["content"], example_ids=[]).why_no_comparison


def test_texts_that_nobody_released_are_not_offered_to_be_read(tmp_path):
    hidden = [replace(one, released=False) for one in topic_examples(8, "dev")]
    side = Compared(World(tmp_path, model=TopicModel(needs=0)).fill(examples=hidden))
    seen = preview_of(side, side.world.family.variant().messages[-1]["content"])
    assert len(seen.examples) == 8
    assert {(one.input is None, one.expected is None) for one in seen.examples} == {(True, True)}


def test_drawn_answers_are_those_of_the_run(tmp_path):
    side = Compared(World(tmp_path, model=TopicModel(needs=0)).fill(), temperature=0.3)
    run, again = side.start(), side.start()
    side.do(run)
    side.do(again)
    assert (side.n_calls(run), side.n_calls(again)) == (12, 6)
    assert side.grid(run)["n_gone"] == side.grid(again)["n_gone"] == 0


def test_what_a_killed_worker_spent_counts_for_the_cap(tmp_path):
    side = Compared(World(tmp_path, model=TopicModel(needs=0, before=killed_at(5))).fill())
    run = side.start(calls=8)
    with pytest.raises(Killed):
        side.do(run)
    assert read_comparison(side.context, ItemRequest(id=run.id)).status == "running"
    made = side.do(run)
    assert ("8 calls" in made.result["stopped"], side.n_calls(run)) == (True, 8)
    with pytest.raises(Conflict, match="has not come to its end"):
        side.grid(run)


def test_answers_are_judged_and_judgements_are_read_again(tmp_path):
    side = judged(tmp_path)
    told, run = side.start(dry_run=True), side.start()
    assert (told.calls.expected, told.models) == (24, ["judge", "writer"])
    assert side.do(run).status == "finished"
    grid = side.grid(run)
    assert grid["n_calls"] <= 24
    assert (grid["n_gone"], grid["n_calls"]) == (0, side.n_calls(run))
    assert grid["variants"][0]["score"] == pytest.approx(0.7)


def test_a_judge_that_could_not_be_understood_is_read_again_as_it_was(tmp_path):
    def understood_later(request, n):
        return says(request, 7) if "could not be read" in prompt_of(request) or n % 3 else "?"

    side = judged(tmp_path, judge_model(concurrency=1))
    side.world.by_name["judge"]._script = understood_later
    run = side.start()
    side.do(run)
    grid = side.grid(run)
    assert (grid["n_gone"], grid["n"]) == (0, 6)
    assert [one["n_scored"] for one in grid["variants"]] != [0, 0]


def test_a_policy_is_read_again_call_by_call(tmp_path):
    side = judged(tmp_path, judge_model(lambda answer: 3))
    gated = replace(side.other, policy={"gate.scorer": "judge", "gate.threshold": 0.9, "gate.prompts": ["Again."]})
    keep_variant(side.world.store, "letters", gated, START)
    run = side.start(variants=["champion", gated.id])
    made = side.do(run)
    assert (made.status, made.error) == ("finished", None)
    n_asked, grid = len(side.world.model.requests), side.grid(run)
    assert (grid["n_gone"], grid["n"], grid["variants"][1]["n_scored"]) == (0, 6, 6)
    assert len(side.world.model.requests) == n_asked


def test_a_call_that_failed_has_failed_when_it_is_read(tmp_path):
    class Failing(TopicModel):
        def _text(self, request):
            if "number 1 of" in str(request.messages[-1]["content"]):
                raise ModelFailed("The provider is away.", kind="http")
            return super()._text(request)

    side = Compared(World(tmp_path, model=Failing(needs=0)).fill())
    run = side.start(n=12)
    side.do(run)
    grid = side.grid(run)
    said = [[answer["error"] for answer in row["answers"]] for row in grid["rows"]]
    assert (grid["n_gone"], said.count(["The provider is away."] * 2)) == (0, 1)


def test_a_model_that_answers_nothing_fails_the_run(tmp_path):
    def away(n):
        raise ModelFailed("The provider is away.", kind="http")

    side = Compared(World(tmp_path, model=TopicModel(before=away)).fill())
    made = side.do(side.start())
    assert (made.status, made.error_type) == ("failed", "model-failed")
    assert "got no answer to any of 6 examples. First failure: The provider is away." in made.error


def test_a_key_of_role_read_sees_figures_only(tmp_path):
    side = judged(tmp_path)
    run = side.start()
    side.do(run)
    grid = side.grid(run)
    whole, figures = (use_case_of(read_grid).written(grid, figures_only=one).decode() for one in (False, True))
    assert (MARK in whole, "My parcel" in whole) == (True, True)
    assert (MARK in figures, "My parcel" in figures, '"score":0.7' in figures) == (False, False, True)
    row = use_case_of(read_comparison).written(read_comparison(side.context, ItemRequest(id=run.id))).decode()
    assert (MARK in row, "My parcel" in row) == (False, False), "the run keeps no text"


def test_what_was_forgotten_is_in_no_answer(tmp_path):
    side = judged(tmp_path)
    store, run = side.world.store, side.start()
    side.do(run)
    assert len(side.grid(run)["rows"]) == 6
    side.world.clock.pass_seconds(10)
    old = reading(store).retained.old("texts_of_model_calls", "letters", side.world.clock.now(), 100)
    assert len(old) == side.n_calls(run), "their texts go when those of a study would"
    writing(store).retained.remove("texts_of_model_calls", "letters", old)
    with pytest.raises(Conflict, match="was deleted"):
        side.grid(run)


def test_an_example_that_is_gone_is_left_out(side):
    store, run = side.world.store, side.start()
    side.do(run)
    whole, gone = side.grid(run), run.request["example_ids"][2]

    store.write(lambda tx: tx.exec_driver_sql("DELETE FROM examples WHERE id = ?", (gone,)))
    grid = side.grid(run)
    assert (grid["n"], grid["n_gone"]) == (5, 1)
    assert grid["rows"] == [row for row in whole["rows"] if row["example"] != gone]


def test_no_list_of_judge_runs_shows_it(tmp_path):
    side = judged(tmp_path)
    run = side.start()
    assert read_judge_runs(side.context, JudgeRunsRequest(family="letters")).items == []
    with pytest.raises(NotFound):
        read_judge_run(side.context, ItemRequest(id=run.id))


def test_it_stands_among_the_jobs_and_holds_what_would_take_its_family_away(side):
    run = side.start()
    (job,) = read_jobs(side.context, PageRequest()).items
    assert (job.kind, job.location) == ("comparison", f"/v1/comparisons/{run.id}")
    with side.world.store.read() as tx, pytest.raises(Conflict, match=f"its comparison {run.id} is queued"):
        require_idle(tx, side.world.store, "topics", "retire")


def test_what_is_no_comparison_is_refused(side):
    for names, why in ((["champion"], "Name two variants"), (["champion"] * 2, "named twice")):
        with pytest.raises(InvalidInput, match=why):
            side.start(variants=names)
    with pytest.raises(NotFound, match="has no variant"):
        side.start(variants=["champion", "v_000000000000"])
