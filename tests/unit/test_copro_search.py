"""Strategy copro: a proposer sees the instructions tried so far with their scores, and writes others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from optimizer.core.base.errors import Busy
from optimizer.core.base.values import Budget
from optimizer.core.models.language import ModelRequest
from optimizer.core.search.space import instruction_of
from tests.proposers import GOOD, busy, fails, proposing_world
from tests.study_world import TOPICS, TopicModel, World, assert_resumes, half_released, killed_at, topic_family


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
    studied(proposing_world(tmp_path, model), definition={"n_instructions": 6})
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


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(fails, id="no answer"),
        pytest.param(lambda n: "", id="nothing written"),
        pytest.param(lambda n: "Name the topic.", id="the same again"),
        pytest.param(lambda n: f"One word: {{{{document}}}} {n}", id="another variable"),
        pytest.param(lambda n: f"In one word. {n} {'x' * 9000}", id="too long"),
    ],
)
def test_a_proposal_that_is_no_use_ends_itself_and_not_the_study(tmp_path, write):
    here = proposing_world(tmp_path, Writer(write))
    ended = studied(here)
    assert (ended.status, ended.outcome) == ("finished", "no_improvement")
    assert [t.proposer for t in here.trials(ended)] == ["champion"]


def test_one_useless_proposal_does_not_stop_the_next(tmp_path):
    here = proposing_world(tmp_path, Writer(lambda n: fails(n) if n < 5 else GOOD))
    ended = studied(here)
    assert ended.outcome == "nominated"
    assert here.trials(ended)[1].params["proposal"] == 5


def test_a_study_that_was_killed_goes_on_and_asks_nothing_twice(tmp_path):
    def unsure(n: int) -> str:
        return f"Think, {n} times." if n < 5 else GOOD

    (tmp_path / "other").mkdir()
    here = proposing_world(tmp_path, Writer(unsure, before=killed_at(26)))
    undisturbed = proposing_world(tmp_path / "other", Writer(unsure))
    assert_resumes(here, undisturbed, strategy="copro")


def test_every_call_of_the_proposer_stands_under_the_cap(tmp_path):
    here = proposing_world(tmp_path, Writer(lambda n: f"Think, {n} times."))
    ended = studied(here, budget=Budget(calls=70), definition={"n_instructions": 100})
    assert ended.spend.n_calls == len(here.model.requests) <= 70
    assert ended.spend.search_cut is not None


def test_a_store_that_cannot_be_written_is_no_proposers_failure(tmp_path):
    with pytest.raises(Busy):
        studied(proposing_world(tmp_path, Writer(busy)))


def test_a_dry_run_counts_its_proposals_and_their_dev_examples(tmp_path):
    estimate = proposing_world(tmp_path, Writer()).create(strategy="copro", dry_run=True)
    assert estimate.parts["copro"].high == 6 * 6
    assert estimate.parts["proposals"].high == 6
    assert estimate.n_trials == 7


def test_the_next_strategy_goes_on_from_the_instruction_that_was_found(tmp_path):
    here = proposing_world(tmp_path, Writer())
    ended = studied(here, strategy="copro+bootstrap")
    assert {t.proposer for t in here.trials(ended)} == {"champion", "copro", "bootstrap"}
    assert set(instructions(here, ended)[1:]) == {GOOD}
