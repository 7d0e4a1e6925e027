"""Strategy gepa: a proposer reads what went wrong and writes another instruction;
the study decides what it is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from optimizer.core.base.errors import DatasetTooSmall, InvalidInput
from optimizer.core.base.values import Budget
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.search.space import instruction_of
from tests.worlds.study_world import TOPICS, TopicModel, World, half_released, topic_examples, topic_family

GOOD = "```\nAnswer with one word, the topic.\n```"
SPACE = {"space": {"instruction": {"propose": True}}}
FAMILY = topic_family(**SPACE)
DEAR = ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=50.0)


class Reflective(TopicModel):
    """Knows the topic once its instruction asks for one word.

    As a proposer it writes what ``write`` says, given the number of its turn.
    """

    def __init__(self, write: Callable[[int], str] = lambda n: GOOD, *, tokens: int = 20, **given) -> None:
        super().__init__(**given)
        self.write, self.tokens = write, tokens
        self.prompts: list[str] = []

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        answer = await super().complete(request)
        is_proposal = "I provided an assistant" in str(request.messages[-1]["content"])
        proposed = {"output_tokens": self.tokens, "cost_usd": self.price.of(8, self.tokens)}
        return replace(answer, **proposed) if is_proposal else answer

    def _text(self, request: ModelRequest) -> str:
        text = str(request.messages[-1]["content"])
        if text.startswith("I provided an assistant"):
            self.prompts.append(text)
            return self.write(len(self.prompts))
        topic = next(t for t in TOPICS if t in text)
        return topic if "one word" in str(request.messages[0]["content"]) else "I would rather not say."


def world(folder: Path, model: TopicModel, **changes) -> World:
    return World(folder, model=model, family=topic_family(**{**SPACE, **changes})).fill()


def studied(here: World, **options):
    return here.run(here.create(**{"strategy": "gepa", **options}))


def test_an_instruction_that_was_written_after_a_look_at_the_faults_wins(tmp_path):
    model = Reflective()
    here = world(tmp_path, model)
    ended = studied(here)
    assert (ended.status, ended.outcome) == ("finished", "nominated")
    trials = here.trials(ended)
    assert [t.proposer for t in trials] == ["champion", "gepa"]
    assert trials[1].params["parent"] == ended.champion
    assert (trials[1].params["batch_before"], trials[1].params["batch_after"]) == (0.0, 1.0)
    assert instruction_of(here.winner(ended)) == "Answer with one word, the topic."
    calls = here.calls(ended)
    assert {c.purpose for c in calls} == {"search", "proposer", "confirmation"}
    assert ended.spend.n_calls == len(calls)
    assert [t.n_calls for t in trials] == [6, 3 + 1 + 3 + 6]  # parent, proposer and child of the reflection, and dev


def test_the_proposer_sees_the_instruction_released_training_examples_and_what_was_expected(tmp_path):
    model = Reflective()
    here = World(tmp_path, model=model, family=FAMILY)
    examples, sealed = half_released()
    here.fill(examples=examples)
    studied(here, definition={"n_train": 30, "n_holdout": 4})
    text = "\n".join(model.prompts)
    assert "Name the topic." in text
    assert "I would rather not say." in text
    assert "The expected answer: " in text
    assert "of train" in text
    for example in sealed:
        assert example.input["document"] not in text


def test_a_family_without_system_message_gets_one_in_front_and_the_proposer_sees_what_it_asks_now(tmp_path):
    messages = [{"role": "user", "content": "Document: {{document}}\nTopic:"}]
    model = Reflective()
    here = world(tmp_path, model, prompt={"current": "1", "versions": {"1": {"content": messages}}})
    ended = studied(here, definition={"n_holdout": 4})
    assert "Document: [document]" in model.prompts[0]
    assert [m["role"] for m in here.winner(ended).messages] == ["system", "user"]


def test_without_a_released_training_example_no_study_begins(tmp_path):
    here = World(tmp_path, model=Reflective(), family=FAMILY)
    unreleased = topic_examples(30, "train", released=False)
    here.fill(examples=[*unreleased, *topic_examples(12, "dev"), *topic_examples(24, "holdout")])
    with pytest.raises(DatasetTooSmall, match="released training examples only"):
        here.create(strategy="gepa")


def test_who_may_write_is_said_in_the_space(tmp_path):
    with pytest.raises(InvalidInput, match=r"instruction: \{propose: true\}"):
        World(tmp_path).fill().create(strategy="gepa")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"aim": "cost"}, "goes by quality alone"),
        ({"strategy": "settings", "definition": {"proposer": "fake"}}, "no proposer is asked"),
    ],
)
def test_what_gepa_cannot_do_and_others_do_not_need_is_refused(tmp_path, options, says):
    with pytest.raises(InvalidInput, match=says):
        world(tmp_path, Reflective()).create(**{"strategy": "gepa", **options})


def test_a_dry_run_counts_reflections_and_the_price_of_the_proposer(tmp_path):
    here = world(tmp_path, Reflective())
    estimate = here.create(strategy="gepa", dry_run=True)
    low, expected, high = (getattr(estimate.parts["gepa"], name) for name in ("low", "expected", "high"))
    assert (low, expected, high) == (3, 6 * (6 + 3), 6 * (6 + 6))
    assert estimate.parts["proposals"].expected == 6
    assert estimate.n_trials == 7
    other = SimpleNamespace(describe=here.describe, price=lambda name: DEAR if name == "large" else here.price(name))
    dearer = here.create(strategy="gepa", dry_run=True, definition={"proposer": "large"}, models=other)
    assert dearer.usd.expected - estimate.usd.expected > 6 * 500 * 49e-6 * 0.9
    assert dearer.usd.low == estimate.usd.low


def test_a_dear_proposer_stands_under_the_cap_in_dollars(tmp_path):
    here = world(tmp_path, Reflective(lambda n: f"```\nThink, {n} times.\n```", price=DEAR, tokens=900))
    ended = studied(here, budget=Budget(usd=0.5), definition={"n_instructions": 100})
    assert "proposer" in {c.purpose for c in here.calls(ended)}
    assert ended.spend.usd <= 0.5
    assert ended.spend.search_cut is not None


def test_what_was_cut_off_is_no_instruction(tmp_path):
    here = world(tmp_path, Reflective(tokens=1000))
    ended = studied(here)
    assert ended.outcome == "no_improvement"
    assert here.model.prompts
