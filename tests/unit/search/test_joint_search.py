"""Strategies mipro and joint: instructions that a proposer writes, sets of examples, and settings,
chosen together by one TPE.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.dataset.examples import Example
from optimizer.core.models.language import ModelRequest
from optimizer.core.search.space import instruction_of
from tests.stand_ins.proposers import GOOD
from tests.worlds.study_world import TOPICS, TopicModel, World, half_released, topic_family

SIZES = {"n_settings": 8, "n_instructions": 3, "n_candidates": 1}


class Reader(TopicModel):
    """Knows the topic only with an instruction that asks for one word, and two examples beside it.

    DSPy's proposer asks it by fields.
    """

    def __init__(self, write: Callable[[int], str] = lambda n: GOOD, **given) -> None:
        super().__init__(**given)
        self.write = write
        self.prompts: list[str] = []
        self.n_written = 0

    def _text(self, request: ModelRequest) -> str:
        text = str(request.messages[-1]["content"])
        if "[[ ## " in text:
            self.prompts.append(text)
            if "basic_instruction" not in text:
                summary = "[[ ## summary ## ]]\nNotes on topics.\n\n[[ ## completed ## ]]"
                return f"[[ ## observations ## ]]\nNotes.\n\n{summary}"
            self.n_written += 1
            return f"[[ ## proposed_instruction ## ]]\n{self.write(self.n_written)}\n\n[[ ## completed ## ]]"
        shown = sum(m["role"] == "assistant" for m in request.messages)
        topic = next(t for t in TOPICS if t in text)
        return topic if shown >= 2 and "one word" in str(request.messages[0]["content"]) else "I would rather not say."


def world(folder: Path, model: TopicModel, examples: list[Example] | None = None, **space) -> World:
    declared = {"instruction": {"propose": True}, "examples": {"max": 4}, **space}
    return World(folder, model=model, family=topic_family(space=declared)).fill(examples=examples)


def studied(here: World, strategy: str = "mipro", **options):
    return here.run(here.create(strategy=strategy, definition={**SIZES, **options.pop("definition", {})}, **options))


def test_an_instruction_that_helps_only_beside_examples_is_found_with_them(tmp_path):
    written = "Answer with one word: biology, physics or music."  # of which DSPy would keep what stands after the colon
    model = Reader(lambda n: written)
    here = world(tmp_path, model)
    ended = studied(here)
    assert ended.outcome == "nominated"
    assert instruction_of(here.winner(ended)) == written
    assert len(here.winner(ended).examples) >= 2
    trials = here.trials(ended)
    assert {t.proposer for t in trials} == {"champion", "mipro"}
    assert all(set(t.params) == {"instruction", "example_set"} for t in trials[1:])
    assert {c.purpose for c in here.calls(ended)} == {"search", "proposer", "confirmation"}
    assert any("Name the topic." in prompt for prompt in model.prompts)


def test_joint_chooses_settings_in_the_same_search(tmp_path):
    here = world(tmp_path, Reader(), temperature={"float": [0.0, 1.0]}, max_tokens={"choices": [8, 12]})
    ended = studied(here, "joint", definition={"n_settings": 12})
    assert ended.outcome == "nominated"
    params = [t.params for t in here.trials(ended) if t.proposer == "joint"]
    assert all(set(p) == {"instruction", "example_set", "temperature", "max_tokens"} for p in params)
    assert len({p["temperature"] for p in params}) > 2


def test_joint_has_made_sets_of_examples_beside_the_bootstrapped_ones(tmp_path):
    """Without candidates nothing is bootstrapped, so mipro has no set to show,
    and joint has those made by similarity.
    """
    (tmp_path / "other").mkdir()
    sizes = {"n_candidates": 0, "n_settings": 12}
    assert studied(world(tmp_path, Reader()), "mipro", definition=sizes).outcome == "no_improvement"
    here = world(tmp_path / "other", Reader())
    ended = studied(here, "joint", definition=sizes)
    assert ended.outcome == "nominated"
    assert {shot.output for shot in here.winner(ended).examples} <= set(TOPICS)


def test_a_list_of_instructions_needs_no_proposer_though_more_may_be_written(tmp_path):
    here = world(tmp_path, Reader(), instruction={"choices": ["Name the topic.", GOOD], "propose": True})
    assert "proposals" not in here.create(strategy="joint", dry_run=True).parts
    ended = studied(here, "joint")
    assert ended.outcome == "nominated"
    assert "proposer" not in {c.purpose for c in here.calls(ended)}
    assert here.model.prompts == []


def test_proposals_that_are_no_use_leave_the_search_over_examples(tmp_path):
    here = world(tmp_path, Reader(lambda n: f"One word: {{{{document}}}} {n}"))
    ended = studied(here)
    assert (ended.status, ended.outcome) == ("finished", "no_improvement")
    assert {instruction_of(v) for v in here.tried(ended)} == {"Name the topic."}
    assert len(here.trials(ended)) > 1


def test_joint_searches_for_what_costs_less_too(tmp_path):
    here = world(tmp_path, Reader())
    ended = studied(here, "joint", aim="cost", definition={"n_settings": 2, "n_instructions": 1})
    assert ended.status == "finished"
    assert {t.proposer for t in here.trials(ended)} == {"champion", "joint"}


def test_what_nobody_released_is_not_shown_to_the_proposer(tmp_path):
    model = Reader()
    examples, sealed = half_released()
    here = world(tmp_path, model, examples)
    studied(here, definition={"n_train": 30, "n_settings": 1, "n_holdout": 4})
    text = "\n".join(model.prompts)
    assert "of train" in text
    for example in sealed:
        assert example.input["document"] not in text


def test_mipro_needs_the_familys_leave_to_write_and_joint_does_not(tmp_path):
    here = world(tmp_path, Reader(), instruction={"choices": [GOOD]})
    with pytest.raises(InvalidInput, match=r"instruction: \{propose: true\}"):
        here.create(strategy="mipro")
    assert here.create(strategy="joint", dry_run=True).n_trials == 3
