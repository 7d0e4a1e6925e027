"""A proposal that quotes a sealed or unreleased example is refused and counted, whatever strategy wrote it."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from optimizer.cli.study.view import view
from optimizer.core.dataset.examples import Example
from optimizer.core.family.family import GoldenRow
from optimizer.core.family.variant import FewShot
from optimizer.core.search.leaks import LeakCheck, fingerprints, texts_of
from optimizer.core.search.strategy import Proposal, SearchSetting
from optimizer.core.search.study import LEAKS, leaks_in_words
from optimizer.core.views.study_headline import view_of_study
from tests.unit.search.test_gepa_search import Reflective
from tests.worlds.study_world import World, topic_examples, topic_family

SECRET = "the beetle under the museum floor hums a low note at dusk"
SAID_BY_BOTH = "please read the whole of this document before you answer"
HONEST = "Answer with one word, the topic."


SIZES = {"n_train": 30, "n_instructions": 1, "n_holdout": 4}  # what is confirmed is of no matter here


def with_text(example: Example, text: str, **changes: Any) -> Example:
    return replace(example, input={"document": f"{example.input['document']} {text}"}, **changes)


def examples() -> list[Example]:
    """One sealed example says SECRET; an unreleased training example, a sealed and a released one SAID_BY_BOTH."""
    train, dev, holdout = (topic_examples(n, split) for n, split in ((30, "train"), (12, "dev"), (24, "holdout")))
    train[0] = with_text(train[0], SAID_BY_BOTH)
    train[1] = with_text(train[1], "a person told us this in confidence and no person released it", released=False)
    holdout[0] = with_text(holdout[0], SECRET)
    holdout[1] = with_text(holdout[1], SAID_BY_BOTH)
    return [*train, *dev, *holdout]


def studied(folder: Path, text: str, strategy: str = "gepa", **changes: Any) -> tuple[World, Any]:
    """A study whose proposer writes ``text`` and asks for one word, which alone would win."""
    model = Reflective(lambda n: f"```\n{HONEST} {text}\n```")
    here = World(folder, model=model, family=topic_family(space={"instruction": {"propose": True}}, **changes))
    here.fill(examples=examples())
    return here, here.run(here.create(strategy=strategy, definition=SIZES))


@pytest.mark.parametrize(
    "quoted",
    [
        pytest.param(SECRET, id="sealed"),
        pytest.param("THE BEETLE -- under the museum;\nfloor hums (a low note)", id="written otherwise"),
        pytest.param("a person told us this in confidence and", id="not released"),
    ],
)
def test_an_instruction_that_quotes_what_no_proposer_may_see_is_refused_and_counted(tmp_path, quoted):
    here, ended = studied(tmp_path, quoted)
    assert [t.proposer for t in here.trials(ended)] == ["champion"]
    assert ended.outcome == "no_improvement"
    assert ended.findings[LEAKS] == {"n": 1, "by": {"gepa": 1}}
    assert here.n_looked_at() == 0, "the check takes no look at the holdout"


IN_A_SCENARIO = "a scenario of the file that no search may ever learn"


@pytest.mark.parametrize("kept", [pytest.param(False, id="of the file"), pytest.param(True, id="of an example")])
def test_an_instruction_that_quotes_a_golden_scenario_is_refused_although_a_released_example_asks_the_same(
    tmp_path, kept
):
    row = GoldenRow(id="g", scenario="g", input={"document": IN_A_SCENARIO}, expected={"topic": "music"})
    twin = replace(topic_examples(1, "train")[0], id="twin", group="twin", input={"document": IN_A_SCENARIO})
    family = topic_family(space={"instruction": {"propose": True}})
    model = Reflective(lambda n: f"```\n{HONEST} Mind {IN_A_SCENARIO}\n```")
    here = World(tmp_path, model=model, family=family if kept else family.with_golden((row,)))
    here.fill(examples=[*examples(), twin])
    if kept:
        here.store.write(lambda tx: here.store.examples.set_golden(tx, "topics", "twin", "g"))
    ended = here.run(here.create(strategy="gepa", definition=SIZES))
    assert ended.findings[LEAKS] == {"n": 1, "by": {"gepa": 1}}
    assert [t.proposer for t in here.trials(ended)] == ["champion"]


@pytest.mark.parametrize(
    "quoted",
    [
        pytest.param("the beetle under the museum floor hums", id="seven words"),
        pytest.param(SAID_BY_BOTH, id="a released example says it too"),
    ],
)
def test_what_is_short_or_said_by_a_released_example_too_is_no_leak(tmp_path, quoted):
    _, ended = studied(tmp_path, quoted)
    assert ended.winner is not None
    assert LEAKS not in (ended.findings or {})


def test_what_the_family_s_own_prompt_says_is_no_leak(tmp_path):
    system = {"role": "system", "content": f"Name the topic. Know that {SECRET}."}
    content = [system, {"role": "user", "content": "Document: {{document}}\nTopic:"}]
    prompt = {"current": "1", "versions": {"1": {"content": content}}}
    _, ended = studied(tmp_path, f"Know that {SECRET}", prompt=prompt)
    assert ended.winner is not None


def test_with_every_origin_released_by_the_family_only_the_holdout_is_hidden(tmp_path):
    (tmp_path / "sealed").mkdir()
    any_origin = {"privacy": {"examples_from": "any"}}
    _, ended = studied(tmp_path, "a person told us this in confidence and", **any_origin)
    assert ended.winner is not None
    _, ended = studied(tmp_path / "sealed", SECRET, **any_origin)
    assert ended.findings[LEAKS]["n"] == 1


class Quoting:
    """A strategy of a package that asks no model and proposes a sealed text, then an honest one."""

    def __init__(self, setting: SearchSetting) -> None:
        self.start, self.left, self.told = setting.start, [f"{HONEST} {SECRET}", HONEST], list[Any]()

    def ask(self) -> Proposal | None:
        if not self.left:
            return None
        system, *rest = self.start.messages
        messages = ({**system, "content": self.left.pop(0)}, *rest)
        return Proposal(variant=replace(self.start, messages=messages), proposer="quoting")

    def tell(self, proposal: Proposal, score: float | None, results: Any) -> None:
        self.told.append((proposal.proposer, score, len(results)))


@pytest.mark.parametrize("strategy", ["settings", "race"])
def test_no_strategy_passes_by_the_check_and_it_hears_that_its_proposal_was_not_measured(tmp_path, strategy):
    here = World(tmp_path, model=Reflective(), family=topic_family()).fill(examples=examples())
    made: list[Quoting] = []

    def strategies(name: str, setting: SearchSetting) -> Quoting:
        made.append(Quoting(setting))
        return made[-1]

    ended = here.run(here.create(strategy=strategy, definition={"n_holdout": 4}), strategies=strategies)
    with here.store.read() as tx:
        kept = [record.variant for record in here.store.variants.of_family(tx, "topics")]
    assert not any(SECRET in text for variant in kept for text in texts_of(variant))
    assert ended.findings[LEAKS]["n"] == 1
    assert ("quoting", None, 0) in made[0].told
    assert ended.winner is not None


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"examples": (FewShot(id="e", input={"document": "short"}, output=SECRET),)}, id="an answer"),
        pytest.param({"examples": (FewShot(id="e", input={"document": SECRET}, output="music"),)}, id="an input"),
        pytest.param({"tools": [{"function": {"name": "f", "description": SECRET}}]}, id="a tool"),
        pytest.param({"response_format": {"schema": {"description": SECRET}}}, id="the form of the answer"),
    ],
)
def test_every_text_that_a_model_is_sent_is_checked(changes):
    check = LeakCheck([], hidden=lambda: fingerprints(SECRET), shown=set, refused=lambda counts: None)
    assert not check.leaks("p", topic_family().variant())
    assert check.leaks("p", replace(topic_family().variant(), **changes))


def test_readers_of_a_study_are_told_whose_proposals_were_refused(tmp_path):
    here, ended = studied(tmp_path, SECRET)
    said = "1 proposal of gepa: it quotes eight words in a row of an example that is sealed or not released."
    assert leaks_in_words(ended.findings) == said
    out = StringIO()
    view(Console(file=out, width=300), view_of_study(ended), here.trials(ended))
    assert f"Refused   {said}" in out.getvalue()
    assert leaks_in_words({}) is None
    of_both = leaks_in_words({LEAKS: {"n": 3, "by": {"simba": 1, "gepa": 2}}})
    assert of_both.startswith("2 proposals of gepa and 1 proposal of simba: they quote eight words in a row")


def test_the_hidden_texts_are_not_read_before_a_proposal_says_something_new():
    def never() -> set[int]:
        raise AssertionError("asked for")

    check = LeakCheck([SAID_BY_BOTH], hidden=never, shown=never, refused=lambda counts: None)
    family = topic_family()
    assert not check.leaks("settings", family.variant())
    assert fingerprints("seven words are never enough for it") == set()
