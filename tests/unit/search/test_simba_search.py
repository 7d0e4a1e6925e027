"""Strategy simba: where answers to one example differ, a rule is written or the good answer becomes an example."""

from __future__ import annotations

import json
from collections.abc import Callable

from optimizer.core.models.language import ModelRequest
from optimizer.core.search.space import instruction_of
from tests.stand_ins.proposers import GOOD, each_source_is_read_once, fails, proposing_world  # noqa: F401
from tests.worlds.study_world import TOPICS, TopicModel, World, half_released, topic_family

REFUSAL = "I would rather not say."
SIZES = {"n_train": 24, "n_instructions": 3, "max_examples": 0}


class Moody(TopicModel):
    """Drawn, it sometimes knows the topic; else only once its instruction asks for one word.

    As a proposer it gives the advice ``write`` says.
    """

    def __init__(self, write: Callable[[int], str] = lambda n: GOOD, *, knows_with: int = 99, **given) -> None:
        super().__init__(**given)
        self.write, self.knows_with = write, knows_with
        self.prompts: list[str] = []

    def _text(self, request: ModelRequest) -> str:
        text = str(request.messages[-1]["content"])
        if "[[ ## " in text:
            self.prompts.append(text)
            advice = json.dumps({"answer": self.write(len(self.prompts))})
            return (
                f"[[ ## discussion ## ]]\nIt rambled.\n\n[[ ## module_advice ## ]]\n{advice}\n\n[[ ## completed ## ]]"
            )
        topic = next(t for t in TOPICS if t in text)
        shown = sum(m["role"] == "assistant" for m in request.messages)
        lucky = request.params.get("temperature") == 1.0 and sum(map(ord, request.sample + text)) % 2 == 0
        return (
            topic if lucky or shown >= self.knows_with or "one word" in str(request.messages[0]["content"]) else REFUSAL
        )


def studied(here: World, **options):
    return here.run(here.create(strategy="simba", definition={**SIZES, **options.pop("definition", {})}, **options))


def test_a_rule_learned_from_answers_that_differ_wins(tmp_path):
    model = Moody()
    here = proposing_world(tmp_path, model)
    most = here.create(strategy="simba", dry_run=True, definition=SIZES).parts
    ended = studied(here)
    assert (ended.status, ended.outcome) == ("finished", "nominated")
    assert instruction_of(here.winner(ended)) == f"Name the topic.\n\n{GOOD}"
    trials = here.trials(ended)
    assert {t.proposer for t in trials} == {"champion", "simba"}
    assert trials[1].params["batch_after"] == 1.0 > trials[1].params["batch_before"]
    calls = here.calls(ended)
    purposes = [c.purpose for c in calls]
    assert set(purposes) == {"search", "proposer", "confirmation"}
    assert ended.spend.n_calls == len(calls)
    assert purposes.count("proposer") <= most["proposals"].high == 9
    assert purposes.count("search") <= most["champion"].high + most["simba"].high == 6 + 3 * (8 * 6 + 6)


def test_a_good_answer_becomes_an_example_in_the_models_own_words(tmp_path):
    here = proposing_world(tmp_path, Moody(fails, knows_with=1))
    ended = studied(here, definition={"max_examples": 3, "n_instructions": 3})
    assert ended.outcome == "nominated"
    winner = here.winner(ended)
    assert 1 <= len(winner.examples) <= 3
    assert all(shot.output in TOPICS and shot.id.startswith("train") for shot in winner.examples)


def test_the_proposer_sees_a_better_and_a_worse_answer_of_released_training_examples(tmp_path):
    model = Moody(lambda n: f"Think, {n} times.")
    here = World(tmp_path, model=model, family=topic_family(space={"instruction": {"propose": True}}))
    examples, sealed = half_released()
    here.fill(examples=examples)
    studied(here, definition={"n_train": 30, "n_instructions": 1})
    text = "\n".join(model.prompts)
    assert "Name the topic." in text
    assert REFUSAL in text
    assert "of train" in text
    for example in sealed:
        assert example.input["document"] not in text


def test_where_all_answers_are_the_same_no_rule_is_asked_for(tmp_path):
    model = TopicModel(needs=99)
    ended = studied(proposing_world(tmp_path, model))
    assert ended.outcome == "no_improvement"
    assert not any("[[ ## " in str(r.messages[-1]["content"]) for r in model.requests)
