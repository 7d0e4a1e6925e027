"""Strategy copro: a proposer sees the instructions tried so far with their scores, and writes others."""

from __future__ import annotations

from collections.abc import Callable

from optimizer.core.models.language import ModelRequest
from optimizer.core.search.space import instruction_of
from tests.stand_ins.proposers import GOOD, proposing_world
from tests.worlds.study_world import TOPICS, TopicModel, World, half_released, topic_family


class Writer(TopicModel):
    """Knows the topic once its instruction asks for one word.

    As a proposer it writes what ``write`` says, given the number of its turn.
    """

    def __init__(self, write: Callable[[int], str] = lambda n: GOOD, **given) -> None:
        super().__init__(**given)
        self.write = write
        self.prompts: list[str] = []

    def _text(self, request: ModelRequest) -> str:
        text = str(request.messages[-1]["content"])
        if "[[ ## " in text:
            self.prompts.append(text)
            return f"[[ ## proposed_instruction ## ]]\n{self.write(len(self.prompts))}\n\n[[ ## completed ## ]]"
        topic = next(t for t in TOPICS if t in text)
        return topic if "one word" in str(request.messages[0]["content"]) else "I would rather not say."


def studied(here: World, **options):
    return here.run(here.create(strategy=options.pop("strategy", "copro"), **options))


def instructions(here: World, study) -> list[str | None]:
    return [instruction_of(variant) for variant in here.tried(study)]


def test_a_better_instruction_wins_and_every_call_for_it_is_the_studys(tmp_path):
    here = proposing_world(tmp_path, Writer())
    ended = studied(here)
    assert (ended.status, ended.outcome) == ("finished", "nominated")
    assert instructions(here, ended) == ["Name the topic.", GOOD]
    assert [t.proposer for t in here.trials(ended)] == ["champion", "copro"]
    calls = here.calls(ended)
    assert {c.purpose for c in calls} == {"search", "proposer", "confirmation"}
    assert ended.spend.n_calls == len(calls)


def test_the_second_round_sees_what_the_first_scored_the_best_last(tmp_path):
    model = Writer(lambda n: GOOD if n == 2 else f"Think, {n} times.")
    studied(proposing_world(tmp_path, model), definition={"n_instructions": 6, "n_holdout": 4})
    first, second = model.prompts[0], model.prompts[3]
    assert "Name the topic." in first
    assert "Score" not in first
    assert second.index("Think, 1 times.") < second.index("Think, 3 times.") < second.index(GOOD)
    assert "Resulting Score #4: 1.000" in second
    assert len(model.prompts) == 6


def test_no_example_is_shown_to_the_proposer(tmp_path):
    model = Writer(lambda n: f"Think, {n} times.")
    here = World(tmp_path, model=model, family=topic_family(space={"instruction": {"propose": True}}))
    here.fill(examples=half_released()[0])
    studied(here, definition={"n_train": 30})
    text = "\n".join(model.prompts)
    assert text
    assert "Notes on" not in text


def test_a_dry_run_counts_its_proposals_and_their_dev_examples(tmp_path):
    estimate = proposing_world(tmp_path, Writer()).create(strategy="copro", dry_run=True)
    assert estimate.parts["copro"].high == 6 * 6
    assert estimate.parts["proposals"].high == 6
    assert estimate.n_trials == 7
