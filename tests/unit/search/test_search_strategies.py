"""DSPy's random search and Optuna's TPE behind the one ask/tell interface."""

from __future__ import annotations

import random
from dataclasses import asdict, replace

import pytest

from optimizer.adapters.search.bootstrap import BootstrapSearch
from optimizer.adapters.search.tpe import SettingsSearch
from optimizer.adapters.search.with_dspy.programs import Program
from optimizer.adapters.text_metrics import build_scorer
from optimizer.core.base.errors import BudgetExhausted, ModelFailed
from optimizer.core.base.values import ExampleResult
from optimizer.core.evaluation.scoring import Score, Scorer
from optimizer.core.family.metrics import METRICS
from optimizer.core.family.rendering import render
from optimizer.core.family.variant import FewShot
from optimizer.core.models.language import request_for
from optimizer.core.search.strategy import Proposal
from optimizer.core.search.study import Definition
from optimizer.jobs.calls.blocking import wait_for
from tests.worlds.study_world import TOPIC_FAMILY, TopicModel, search_setting, topic_examples, topic_family


class Answers:
    """Answers as a journal would, and keeps what was asked."""

    def __init__(self, family, model):
        self.family, self.model, self.asked = family, model, []

    def __call__(self, variant, example):
        self.asked.append((variant, example.id))
        messages = render(variant, example.input, declared=self.family.inputs)
        return wait_for(self.model.complete(request_for(variant, messages, revision="1"))).text


def setting(**changes):
    given = {
        "definition": asdict(Definition(n_candidates=2, n_settings=6)),
        "answer": Answers(topic_family(), TopicModel()),
    }
    return search_setting(**{**given, **changes})


def all_of(strategy, score=lambda variant: 0.5):
    """Every proposal, each told its score at once."""
    found = []
    while (proposal := strategy.ask()) is not None:
        found.append(proposal)
        strategy.tell(proposal, score(proposal.variant), [])
    return found


def test_bootstrap_proposes_each_candidate_seed_once_and_at_most_the_allowed_examples():
    found = all_of(BootstrapSearch(setting()))
    assert [p.params["seed"] for p in found] == [-3, -2, -1, 0, 1]
    assert len({p.variant.id for p in found}) == len(found)
    assert all(len(p.variant.examples) <= 4 for p in found)
    assert found[0].variant.examples == ()


def test_bootstrap_shows_what_the_model_answered_where_the_expected_output_is_no_answer():
    family = topic_family()
    shown = family.model_copy(update={"output": family.output.model_copy(update={"shown": "said"})})
    answers = Answers(shown, TopicModel(needs=0))
    found = all_of(BootstrapSearch(setting(family=shown, answer=answers)), score=lambda variant: 0.0)
    with_examples = [p.variant for p in found if p.variant.examples]
    assert with_examples
    assert all(shot.output for variant in with_examples for shot in variant.examples)
    assert not any(p.params["seed"] == -2 and p.variant.examples for p in found), "labelled ones have nothing to show"


class Chatty(TopicModel):
    def _text(self, request):
        return f" The answer is {super()._text(request)}\n"


@pytest.mark.parametrize(
    ("output", "scorer", "own_words"),
    [
        pytest.param({"field": "topic", "parser": "text"}, {"rouge_1": 1.0}, True, id="text"),
        pytest.param(TOPIC_FAMILY["output"], TOPIC_FAMILY["scorer"], False, id="labels"),
    ],
)
def test_a_bootstrapped_example_carries_the_models_own_words_unless_it_is_a_label(output, scorer, own_words):
    family = topic_family(output=output, scorer=scorer)
    changes = {
        "family": family,
        "start": family.variant(),
        "scorer": build_scorer(family),
        "answer": Answers(family, Chatty()),
    }
    found = all_of(BootstrapSearch(setting(**changes)), score=lambda variant: 0.0)
    outputs = {e.output for p in found for e in p.variant.examples}
    assert any(o.startswith("The answer is ") for o in outputs) == own_words
    assert outputs & {"biology", "physics", "music"}, "a labelled one"
    assert own_words or outputs <= {"biology", "physics", "music"}, "the sheet's labels alone"
    inputs = {e.id: e.input for e in topic_examples(12, "train")}
    assert all(inputs[e.id] == e.input for p in found for e in p.variant.examples)


def test_bootstrapping_asks_about_training_examples_only():
    given = setting()
    assert len(all_of(BootstrapSearch(given))) == 5
    assert {example for _, example in given.answer.asked} <= {e.id for e in given.train}


def test_the_candidates_are_those_of_dspys_own_random_search():
    from dspy.teleprompt import BootstrapFewShotWithRandomSearch

    given = setting()
    program = Program(given, given.start)
    search = BootstrapFewShotWithRandomSearch(
        metric=program.metric(0.0),
        max_bootstrapped_demos=4,
        max_labeled_demos=4,
        num_candidate_programs=2,
        num_threads=1,
    )
    train = [program.as_dspy(e) for e in given.train]
    random.Random(given.seed).shuffle(train)
    with program.context():
        best = search.compile(program.student(), trainset=train, valset=[program.as_dspy(e) for e in given.dev])
    theirs = {c["seed"]: program.variant(c["program"].predictors()[0].demos).id for c in best.candidate_programs}
    ours = {p.params["seed"]: p.variant.id for p in all_of(BootstrapSearch(setting()))}
    assert ours == theirs


def test_only_released_examples_without_variables_become_examples_of_a_variant():
    train = topic_examples(12, "train")
    train[0] = replace(train[0], released=False)
    train[1] = replace(train[1], input={"document": "physics {{document}}"})
    train[2] = replace(train[2], expected={})
    found = all_of(BootstrapSearch(setting(train=train)))
    used = {e.id for p in found for e in p.variant.examples}
    assert used
    assert not used & {"train-000", "train-001", "train-002"}


def test_without_training_examples_bootstrap_proposes_the_bare_prompt_only():
    assert [p.params["seed"] for p in all_of(BootstrapSearch(setting(train=[])))] == [-3]


def test_a_champion_without_examples_is_not_proposed_again():
    given = setting()
    strategy = BootstrapSearch(given)
    strategy.tell(Proposal(variant=given.start, proposer="champion"), 0.0, [])
    assert -3 not in [p.params["seed"] for p in all_of(strategy)]


def test_the_same_seed_proposes_the_same_and_another_seed_something_else():
    def ids(seed):
        return [p.variant.id for p in all_of(BootstrapSearch(setting(seed=seed)))]

    assert ids(5) == ids(5)
    assert ids(5) != ids(6)


class Half(Scorer):
    def score(self, expected, output_text, input=None):
        return Score(value=0.5)


def half_scored(**changes):
    """A setting in which every answer has half a score."""
    family = topic_family(output={"field": "topic", "parser": "text"}, scorer={"exact_match": 1.0})
    scorer = Half(family.output, family.metrics, list(METRICS.built_in.values()))
    answers = Answers(family, TopicModel(needs=99))
    return setting(family=family, start=family.variant(), scorer=scorer, answer=answers, **changes)


def test_an_output_below_the_threshold_teaches_nothing():
    def learned(threshold):
        definition = {**asdict(Definition(n_candidates=2)), "threshold": threshold}
        found = all_of(BootstrapSearch(half_scored(definition=definition)))
        return {e.output for p in found for e in p.variant.examples}

    assert "I would rather not say." in learned(0.4)
    assert "I would rather not say." not in learned(0.6)


@pytest.mark.parametrize(("reached", "teaches"), [(0.4, True), (0.6, False)])
def test_without_a_threshold_it_is_the_score_that_the_start_reaches_whatever_its_worth_is_under_the_aim(
    reached, teaches
):
    given = half_scored()
    search = BootstrapSearch(given)
    results = [ExampleResult(example="dev-000", score=reached, output=None)]
    search.tell(
        Proposal(variant=given.start, proposer="champion"), 0.0, results
    )  # 0: what the champion saves, where cost is the aim
    assert ("I would rather not say." in {e.output for p in all_of(search) for e in p.variant.examples}) is teaches


def test_a_candidate_whose_request_is_too_long_is_neither_proposed_nor_paid_for():
    given = setting(fits=lambda variant: len(variant.examples) <= 2)
    found = all_of(BootstrapSearch(given))
    assert all(len(p.variant.examples) <= 2 for p in found)
    assert all(len(v.examples) <= 2 for v, _ in given.answer.asked)


def test_a_model_that_fails_on_one_example_does_not_end_the_search():
    answers = Answers(topic_family(), TopicModel())

    def failing(variant, example):
        if example.id == "dev-000":
            raise ModelFailed("The model took too long.", kind="timeout")
        return answers(variant, example)

    assert len(all_of(BootstrapSearch(setting(answer=failing)))) == 5


def test_an_exhausted_budget_passes_through_dspy():
    calls = []

    def limited(variant, example):
        calls.append(example.id)
        if len(calls) > 3:
            raise BudgetExhausted("The next call would pass the cap.")
        return "physics"

    with pytest.raises(BudgetExhausted):
        all_of(BootstrapSearch(setting(answer=limited)))
    assert len(calls) == 4


def test_dspy_writes_nothing_on_the_terminal(capfd):
    all_of(BootstrapSearch(setting()))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def started(**changes):
    """A settings search from a start with three examples, which has been told its start's score."""
    family = topic_family()
    shots = tuple(FewShot(id=f"e{i}", input={"document": f"d{i}"}, output="music") for i in range(3))
    start = replace(family.variant(), examples=shots)
    strategy = SettingsSearch(setting(start=start, **changes))
    strategy.tell(Proposal(variant=start, proposer="bootstrap"), 0.6, [])
    return start, strategy


def test_settings_vary_only_what_the_space_declares():
    start, strategy = started()
    found = all_of(strategy)
    assert len(found) == 6
    assert len({p.variant.id for p in found} | {start.id}) == 7
    for proposal in found:
        variant = proposal.variant
        assert variant.messages == start.messages
        assert variant.examples == start.examples[: len(variant.examples)]
        assert 0 <= variant.model["temperature"] <= 1
        assert variant.model["max_tokens"] == start.model["max_tokens"]


def test_settings_begin_beside_the_start():
    _, strategy = started()
    first = strategy.ask()
    assert first.params == {"examples": 2, "temperature": 0.0}


def test_settings_come_near_to_what_scores_well():
    _, strategy = started(definition=asdict(Definition(n_settings=40)))
    found = all_of(strategy, score=lambda v: 1 - abs(v.model["temperature"] - 0.3))
    late = [p.variant.model["temperature"] for p in found[-10:]]
    assert sum(abs(t - 0.3) < 0.2 for t in late) >= 7


def test_a_score_that_could_not_be_measured_is_no_score_for_tpe():
    _, strategy = started()
    assert len(all_of(strategy, score=lambda v: None)) == 6


def test_a_space_without_dimensions_proposes_nothing():
    _, strategy = started(definition={**asdict(Definition()), "space": {"instruction": {"propose": True}}})
    assert strategy.ask() is None


def test_a_small_space_ends_when_everything_in_it_was_tried():
    _, strategy = started(definition={**asdict(Definition(n_settings=50)), "space": {"examples": {"max": 4}}})
    assert {len(p.variant.examples) for p in all_of(strategy)} == {0, 1, 2}
