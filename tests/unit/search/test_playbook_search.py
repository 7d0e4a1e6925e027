"""Strategy playbook: lessons from failures become a section of the instruction; the study decides what it is worth."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from optimizer.core.base.errors import ModelFailed
from optimizer.core.search.playbook.entries import HEADING, id_of, section_texts
from optimizer.core.search.space import instruction_of
from optimizer.core.search.study import LEAKS
from tests.stand_ins.playbook_model import RIGHT, Learner, add_entry, kept_entries, learning_world, lessons, studied
from tests.stand_ins.proposers import fails
from tests.worlds.study_world import Killed, World, assert_resumes, half_released, killed_at, topic_examples

SECTION = f"{HEADING}\nDirectives:\n- {RIGHT}"


def instruction(here: World, variant: str) -> str | None:
    return instruction_of(here.variant(variant))


def test_the_right_lesson_is_found_kept_and_confirmed(tmp_path):
    here = learning_world(tmp_path).fill()
    ended = studied(here)
    assert (ended.status, ended.outcome) == ("finished", "nominated")
    assert instruction(here, ended.winner) == f"Name the topic.\n\n{SECTION}"
    trials = here.trials(ended)
    assert [t.proposer for t in trials] == ["champion", "playbook"]
    assert trials[1].params == {
        "step": 1,
        "parent": ended.champion,
        "batch_before": 0.0,
        "batch_after": 1.0,
        "n_new": 1,
        "n_entries": 1,
    }
    (entry,) = kept_entries(here)
    assert (entry.text, entry.kind, entry.state, entry.study) == (RIGHT, "directive", "active", ended.id)
    assert (entry.helpful, entry.harmful) == (9 + 6, 0)  # training examples of its step, and dev examples
    assert len(entry.evidence) == 3
    assert all(id.startswith("train-") for id in entry.evidence)
    assert entry.changed_by == f"study:{ended.id}"
    assert {c.purpose for c in here.calls(ended)} == {"search", "proposer", "confirmation"}


def test_a_lesson_that_harms_is_counted_as_harmful_and_retired(tmp_path):
    prompt = [{"role": "system", "content": "In one word."}, {"role": "user", "content": "Document: {{document}}"}]

    class Partly(Learner):
        """Knows two topics of three until it is told to shout."""

        def answer(self, instruction: str, topic: str) -> str:
            return "?" if topic == "music" or "shout" in instruction else topic

    here = learning_world(
        tmp_path,
        Partly(lambda n: lessons("Always shout.")),
        prompt={"current": "1", "versions": {"1": {"content": prompt}}},
    ).fill()
    assert studied(here, definition={"n_instructions": 1}).outcome == "no_improvement"
    (entry,) = kept_entries(here)
    assert (entry.helpful, entry.harmful, entry.state) == (0, 6, "retired")
    assert entry.reason == "no better on 9 training examples: 0 helped, 6 harmed"


class OnTrainOnly(Learner):
    """The lesson helps with training examples alone."""

    def _text(self, request: Any) -> str:
        is_train = "of train" in str(request.messages[-1]["content"])
        text = super()._text(request)
        return text if is_train or "I would rather" in text or "{" in text else "I would rather not say."


def test_a_lesson_that_helps_in_training_alone_is_retired_after_dev(tmp_path):
    here = learning_world(tmp_path, OnTrainOnly()).fill()
    ended = studied(here, definition={"n_instructions": 2})
    assert ended.outcome == "no_improvement"
    assert [t.proposer for t in here.trials(ended)] == ["champion", "playbook"]
    (entry,) = kept_entries(here)
    assert (entry.helpful, entry.state) == (9, "retired")
    assert entry.reason == "no better on 6 dev examples: 0 helped, 0 harmed"


def test_what_a_useless_merge_replaced_is_active_again(tmp_path):
    brief, kind, both = "Be brief in what you say.", "Be kind to all who ask.", "Be brief and kind, in one word."
    merge = json.dumps({"merge": [{"ids": [id_of(brief), id_of(kind)], "text": both}]})
    shown = f"Name the topic.\n\n{HEADING}\nDirectives:\n- {brief}\n- {kind}"
    content = [{"role": "system", "content": shown}, {"role": "user", "content": "Document: {{document}}\nTopic:"}]
    here = learning_world(
        tmp_path,
        OnTrainOnly(lambda n: lessons("Take your time."), lambda n: merge),
        prompt={"current": "1", "versions": {"1": {"content": content}}},
    ).fill()
    for text in (brief, kind):
        add_entry(here.store, "topics", text, helpful=2, evidence=("train-000",))
    ended = studied(here, definition={"n_instructions": 1})
    assert [t.params.get("step") for t in here.trials(ended)] == [None, 1]
    assert HEADING in instruction(here, here.trials(ended)[1].variant)
    assert brief not in instruction(here, here.trials(ended)[1].variant)
    assert {e.text: (e.state, e.helpful, e.merged_into) for e in kept_entries(here)} == {
        brief: ("active", 2, None),
        kind: ("active", 2, None),
        "Take your time.": ("retired", 9, None),
        both: ("retired", 9, None),
    }


def test_the_proposer_sees_failures_of_released_training_examples_and_the_playbook_alone(tmp_path):
    def reflect(n: int) -> str:
        return lessons(RIGHT if n == 1 else f"Turn {n}.")

    class Forgetful(Learner):
        def answer(self, instruction: str, topic: str) -> str:
            return "?" if topic == "music" else super().answer(instruction, topic)

    model = Forgetful(reflect)
    here = learning_world(tmp_path, model)
    shown, sealed = half_released()
    here.fill(examples=shown)
    studied(here, definition={"n_train": 30, "n_holdout": 4})
    reflected = "\n".join(model.prompts["reflect"])
    for told in ("Name the topic.", "answers that cannot be read", "The expected answer: ", "of train", "Input:"):
        assert told in reflected
    curated = model.prompts["curate"]
    assert curated, "there is something to curate from the second step on"
    assert f"{id_of(RIGHT)} (directive, " in curated[0]
    for example in sealed:
        assert example.input["document"] not in reflected + "".join(curated)


@pytest.mark.parametrize(
    "reflect",
    [
        pytest.param(fails, id="no answer"),
        pytest.param(lambda n: lessons("In one word: {{document}}"), id="a variable"),
    ],
)
def test_a_reflection_that_is_no_use_ends_itself_and_not_the_study(tmp_path, reflect):
    here = learning_world(tmp_path, Learner(reflect)).fill()
    ended = studied(here, definition={"n_instructions": 3})
    assert (ended.status, ended.outcome) == ("finished", "no_improvement")
    assert kept_entries(here) == []


def test_a_curator_that_is_no_use_leaves_the_rules_that_ask_nobody(tmp_path):
    model = Learner(lambda n: lessons("Think again and again.") if n == 1 else lessons(RIGHT), lambda n: "Well.")
    here = learning_world(tmp_path, model).fill()
    assert studied(here).outcome == "nominated"
    assert [(e.text, e.state) for e in kept_entries(here)] == [
        ("Think again and again.", "retired"),
        (RIGHT, "active"),
    ]


def test_a_lesson_that_quotes_a_hidden_example_is_refused_counted_and_not_kept(tmp_path):
    secret = "the beetle under the museum floor hums a low note at dusk"
    rows = [*topic_examples(30, "train"), *topic_examples(12, "dev"), *topic_examples(24, "holdout")]
    rows[-1] = replace(rows[-1], input={"document": f"{rows[-1].input['document']} {secret}"})
    here = learning_world(tmp_path, Learner(lambda n: lessons(f"In one word. {secret}", "Be brief.")))
    here.fill(examples=rows)
    ended = studied(here, definition={"n_instructions": 1})
    assert ended.findings[LEAKS] == {"n": 1, "by": {"playbook": 1}}
    assert [e.text for e in kept_entries(here)] == ["Be brief."]


# over several studies


def test_a_later_study_begins_with_the_playbook_as_it_stands_and_measures_it(tmp_path):
    here = learning_world(tmp_path).fill()
    studied(here, definition={"n_holdout": 4})  # its winner is not rolled out
    here.model = Learner(fails)
    ended = studied(here)
    assert ended.outcome == "nominated"
    assert here.trials(ended)[1].params == {"from": "playbook", "n_entries": 1}
    (entry,) = kept_entries(here)
    assert (entry.helpful, entry.state) == (9 + 6 + 6, "active")


def test_the_instructions_that_a_family_s_space_lists_are_starting_points(tmp_path):
    depths = ["Name the topic.", "Think it over, then name the topic.", "In one word: think, then name the topic."]
    here = learning_world(tmp_path, space={"instruction": {"choices": depths, "propose": True}}).fill()
    ended = studied(here, definition={"n_holdout": 4})
    trials = here.trials(ended)
    assert [t.params for t in trials[1:]] == [{"from": "template", "template": 2}, {"from": "template", "template": 3}]
    assert instruction(here, ended.winner) == depths[2]


# the study around it


def test_the_dry_run_counts_the_calls_that_a_study_may_make(tmp_path):
    here = learning_world(tmp_path, Learner(lambda n: lessons(f"Think {n} times.", f"Wait {'.' * n}"))).fill()
    estimate = here.create(strategy="playbook", dry_run=True, definition={"n_instructions": 2})
    ended = studied(here, definition={"n_instructions": 2})
    spent = ended.spend.n_calls - 6
    most = estimate.parts["playbook"].high + estimate.parts["proposals"].high
    assert estimate.parts["playbook"].high == 2 * (2 * 9 + 6) + 4 * 6
    assert estimate.parts["proposals"].high == 4
    assert 0 < spent <= most


def test_a_study_that_was_killed_asks_nothing_twice_and_its_playbook_is_that_of_one_that_was_not(tmp_path):
    def reflect(n: int) -> str:
        return lessons(f"Think {'very ' * n}hard.") if n < 3 else lessons(RIGHT)

    def lessons_of(here: World) -> list[Any]:
        return [(e.text, e.state, e.helpful, e.harmful, e.evidence, e.reason) for e in kept_entries(here)]

    (tmp_path / "other").mkdir()
    here = learning_world(tmp_path, Learner(reflect, before=killed_at(40))).fill()
    other = learning_world(tmp_path / "other", Learner(reflect)).fill()
    assert_resumes(here, other, strategy="playbook", definition={"n_holdout": 4})
    assert lessons_of(here) == lessons_of(other)


class Away(Learner):
    """Its proposer is away in the first step, until the study is killed."""

    is_away = True

    def _text(self, request: Any) -> str:
        if self.is_away and request.sample == "playbook:1:reflect":
            raise ModelFailed("the proposer is away", kind="malformed")
        text = super()._text(request)
        return text.replace("number", request.sample.split(":")[1]) if request.sample.startswith("playbook:") else text


def test_what_a_study_learns_only_when_it_goes_on_is_kept_beside_what_it_learned_before(tmp_path):
    model = Away(lambda n: lessons("Rule number, in one word."), before=killed_at(29))
    here = learning_world(tmp_path, model).fill()
    made = here.create(strategy="playbook", definition={"n_instructions": 2})
    with pytest.raises(Killed):
        here.run(made)
    assert [e.text for e in kept_entries(here)] == ["Rule 2, in one word."]
    model.is_away = False
    ended = here.run(made)
    shown = {text for t in here.trials(ended) for text in section_texts(instruction(here, t.variant) or "")}
    assert "Rule 1, in one word." in shown
    assert shown <= {e.text for e in kept_entries(here)}
