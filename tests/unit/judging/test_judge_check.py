"""The biases of a judge: what is planted is found, an honest judge is not accused, and few rows tell nothing."""

from __future__ import annotations

import hashlib
import json
import random

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.judging.bias import FILLERS, Pair, bias_of, own_wins, pad, place_bias, read_better
from optimizer.jobs.calls.run_calls import RunCalls
from optimizer.jobs.runs.check_judge import NO_OTHER, SAME_MODEL, check_judge, estimate_check
from tests.stand_ins.scripted_model import ScriptedModel
from tests.worlds.judged_world import JudgedWorld, between, letters_family, mark_of, prompt_of, says, writer_by


def worth(text):
    """What an answer is truly worth, from 0 to 10: no matter of the empty sentences behind it."""
    return hashlib.sha256(text.split(f" {FILLERS[0]}")[0].encode()).digest()[0] / 25.6


def better(request, choice):
    return json.dumps({"of": mark_of(request), "reasoning": "By the rubric.", "better": choice})


def judge_that(thinks=worth, chooses=None, **options):
    """``thinks`` of one answer, 0 to 10; ``chooses`` between two: first, second or neither."""

    def honest(first, second):
        return "neither" if thinks(first) == thinks(second) else "first" if thinks(first) > thinks(second) else "second"

    def script(request, n):
        prompt = prompt_of(request)
        if "BEGIN FIRST" in prompt:
            return better(request, (chooses or honest)(between("FIRST", prompt), between("SECOND", prompt)))
        return says(request, min(10.0, thinks(between("ANSWER", prompt))))

    options = {"name": "judge", "max_output_tokens": 600, "concurrency": 8, **options}
    return ScriptedModel(script, **options)


def letter_writer(name="writer"):
    def write(request):
        return f"{name} says of {request.messages[-1]['content'][-20:]} at {request.temperature}."

    model = writer_by(write, concurrency=8)
    model.name = name
    return model


def check(folder, *judges, n_dev=20, family=None, **options):
    world = JudgedWorld(folder, *judges, model=letter_writer(), family=family or letters_family())
    world.fill_letters(n_dev=n_dev)
    return world, check_judge(
        world.family, calls_of(world, options.pop("budget", Budget())), **scored(world), **options
    )


def calls_of(world, budget):
    return RunCalls(budget=budget, store=world.store, clock=world.clock, models=world)


def scored(world):
    return {"scorer_for": lambda family: world.scorer}


def verdicts(made, member="judge"):
    return {bias["name"]: bias["verdict"] for bias in made.biases[member]}


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """(world, check of an honest judge)."""
    return check(tmp_path_factory.mktemp("honest"), judge_that())


def test_an_honest_judge_is_not_accused(honest):
    _, made = honest
    assert verdicts(made) == {
        "position": "no_bias_found",
        "verbosity": "no_bias_found",
        "self_preference": "cannot_tell",
    }
    assert made.biases["judge"][2]["why"] == NO_OTHER
    assert not made.is_biased


def test_a_liking_for_a_place_in_half_of_the_cases_is_found(tmp_path):
    draw = random.Random(3)

    def half(first, second):
        return "first" if draw.random() < 0.5 else "first" if worth(first) > worth(second) else "second"

    _, made = check(tmp_path, judge_that(chooses=half), n_dev=40)
    assert verdicts(made)["position"] == "biased"


def test_a_liking_for_length_is_found(tmp_path):
    _, made = check(tmp_path, judge_that(thinks=lambda answer: min(10, len(answer) / 20)))
    found = {bias["name"]: bias for bias in made.biases["judge"]}
    assert found["verbosity"]["verdict"] == "biased"
    assert found["verbosity"]["value"] > 0.1
    assert found["position"]["verdict"] == "no_bias_found"


def test_a_bias_that_is_surely_there_and_surely_too_small_to_matter_accuses_no_judge():
    small = bias_of("verbosity", [0.01, 0.02, 0.03] * 20)
    assert small["low"] > 0
    assert small["verdict"] == "no_bias_found"
    assert "too small to matter" in small["said"]
    assert bias_of("verbosity", [0.10, 0.11, 0.12] * 20)["verdict"] == "biased"
    assert bias_of("position", [-0.10, -0.11, -0.12] * 20)["verdict"] == "biased"
    assert bias_of("verbosity", [-0.10, -0.11, -0.12] * 20)["verdict"] == "no_bias_found", "it punishes padding"


def loves_own(first, second):
    own = [text.startswith("judge says") for text in (first, second)]
    if own == [True, False]:
        return "first"
    if own == [False, True]:
        return "second"
    return "neither"


def writes_and_judges(name, judge):
    """One model that gives answers of its own, and judges."""
    own = letter_writer(name)

    def script(request, n):
        return judge._script(request, n) if "BEGIN" in prompt_of(request) else own._script(request, n)

    return ScriptedModel(script, name=name, max_output_tokens=600, concurrency=8)


def test_a_liking_for_its_own_answers_is_found_beside_another_judge(tmp_path):
    selfish, fair = writes_and_judges("judge", judge_that(chooses=loves_own)), judge_that(name="other")
    _, made = check(tmp_path, selfish, fair, beside="other")
    found = {bias["name"]: bias for bias in made.biases["judge"]}
    assert found["self_preference"]["verdict"] == "biased"
    assert found["position"]["verdict"] == "no_bias_found"


def test_a_judge_whose_own_answers_are_better_is_not_accused_of_saying_so(tmp_path):
    fair, other = writes_and_judges("judge", judge_that(chooses=loves_own)), judge_that(name="other", chooses=loves_own)
    _, made = check(tmp_path, fair, other, beside="other")
    assert verdicts(made)["self_preference"] == "no_bias_found"


def test_members_of_a_committee_judge_one_anothers_answers(tmp_path):
    family = letters_family(judge={"committee": ["judge", "other"]})
    selfish = writes_and_judges("judge", judge_that(chooses=loves_own))
    _, made = check(tmp_path, selfish, writes_and_judges("other", judge_that()), family=family)
    assert verdicts(made)["self_preference"] == "biased"
    assert verdicts(made, "other")["self_preference"] != "biased"


def test_a_judge_of_its_own_models_answers_alone_cannot_be_told_to_prefer_them(tmp_path):
    family = letters_family(judge={"model": "writer"})
    both = writes_and_judges("writer", judge_that())
    world = JudgedWorld(tmp_path, judge_that(name="other"), model=both, family=family).fill_letters(n_dev=20)
    made = check_judge(family, calls_of(world, Budget()), beside="other", **scored(world))
    assert (made.biases["writer"][2]["verdict"], made.biases["writer"][2]["why"]) == ("cannot_tell", SAME_MODEL)


def test_a_judge_that_says_nothing_of_its_own_is_not_measured_and_not_accused(tmp_path):
    silent = ScriptedModel(lambda request, n: prompt_of(request), name="judge", max_output_tokens=600, concurrency=8)
    _, made = check(tmp_path, silent, n_dev=20)
    assert set(verdicts(made).values()) == {"cannot_tell"}
    assert made.biases["judge"][0]["n"] == 0


def test_too_few_rows_tell_nothing(tmp_path):
    _, made = check(tmp_path, judge_that(chooses=lambda first, second: "first"), n_dev=19)
    assert verdicts(made)["position"] == "cannot_tell"
    assert "19 rows could be measured and 20 are needed" in made.biases["judge"][0]["said"]


def test_the_dry_run_says_what_it_takes_and_the_check_stays_within(honest):
    world, made = honest
    asked = dict(world.calls_by_purpose())
    told = estimate_check(world.family, store=world.store, models=world).run
    assert (told.n, told.members) == (20, ("judge",))
    assert asked["judge"] <= 20 * 4
    assert made.n_calls <= told.calls.high
    assert made.usd <= told.usd.high
    assert world.calls_by_purpose() == asked, "a dry run asks nothing"


def test_a_family_without_a_judge_is_told_how_to_name_one(tmp_path):
    family = letters_family(scorer={"exact_match": 1.0}, judge=None)
    world = JudgedWorld(tmp_path, family=family).fill_letters(expected=lambda i: {"reply": "ok"})
    with pytest.raises(InvalidInput, match="has no judge"):
        estimate_check(family, store=world.store, models=world)


def test_noise_is_seldom_taken_for_a_bias():
    """Of an interval of 98.3 %, 5 in 300 are expected."""
    accused = 0
    for seed in range(30):
        draw = random.Random(seed)
        accused += bias_of("position", [draw.choice([-0.5, 0.0, 0.5]) for _ in range(30)])["verdict"] == "biased"
    assert accused <= 2


def test_a_wide_interval_is_no_acquittal():
    draw = random.Random(1)
    found = bias_of("position", [draw.choice([-0.5, 0.5]) for _ in range(20)])
    assert found["verdict"] == "cannot_tell"
    assert "may be as large as" in found["why"]


@pytest.mark.parametrize(
    ("first", "swapped", "place", "own"),
    [(1, 0, 0.0, 1.0), (0, 1, 0.0, 0.0), (1, 1, 0.5, 0.5), (0, 0, -0.5, 0.5), (0.5, 0.5, 0.0, 0.5)],
)
def test_what_a_place_and_an_answer_won_of_a_pair_in_both_orders(first, swapped, place, own):
    assert (place_bias(first, swapped), own_wins(first, swapped)) == (place, own)


@pytest.mark.parametrize("choice", ["both", ["first"], {"first": 1}, None])
def test_a_choice_of_another_form_is_told_as_one(choice):
    pair = Pair(task="t", input={}, first="a", second="b")
    with pytest.raises(ValueError, match="is not first, second or neither"):
        read_better(pair, json.dumps({"of": pair.mark, "reasoning": "r", "better": choice}))


def test_padding_says_nothing_and_about_doubles_the_answer():
    for answer in ("Soon.", "It comes on Monday. " * 20):
        longer = pad(answer)
        assert longer.startswith(answer.rstrip())
        assert len(longer) >= 2 * len(answer.rstrip())
        assert len(longer) <= 2 * len(answer) + 150
