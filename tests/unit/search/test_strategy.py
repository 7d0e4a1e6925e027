"""Strategies by name, and sequences that hand the best variant on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.variant import Variant
from optimizer.core.search.proposers.bases import BaseSearch
from optimizer.core.search.strategy import STRATEGIES, Proposal, SearchSetting, Sequential, check_strategy
from tests.worlds.study_world import World, search_setting, topic_family


def variant(text: str) -> Variant:
    return Variant(messages=({"role": "user", "content": text},))


class Scripted:
    """Proposes the texts it is given, and remembers what it started from and was told."""

    def __init__(self, setting: SearchSetting, texts: list[str]) -> None:
        self.start, self.is_sequenced = setting.start, setting.is_sequenced
        self.left = list(texts)
        self.told: list[tuple[str, float | None]] = []

    def ask(self):
        return Proposal(variant=variant(self.left.pop(0)), proposer="scripted") if self.left else None

    def tell(self, proposal, score, results):
        self.told.append((proposal.variant.messages[0]["content"], score))


def run(scores: dict[str, float | None], scripts: dict[str, list[str]]):
    """Drives a sequence as a study does; returns the made strategies and the texts in order of proposal."""
    made: dict[str, Scripted] = {}

    def make(name, setting):
        made[name] = Scripted(setting, scripts[name])
        return made[name]

    setting = search_setting(start=variant("champion"), definition={}, answer=lambda v, e: "", is_sequenced=True)
    search = Sequential(list(scripts), setting, make)
    proposal: Proposal | None = Proposal(variant=variant("champion"), proposer="champion")
    asked = []
    while proposal is not None:
        text = proposal.variant.messages[0]["content"]
        asked.append(text)
        search.tell(proposal, scores[text], [])
        proposal = search.ask()
    return made, asked


def test_the_second_strategy_starts_from_the_best_of_the_first():
    made, asked = run({"champion": 0.2, "a": 0.5, "b": 0.4, "c": 0.9}, {"first": ["a", "b"], "second": ["c"]})
    assert asked == ["champion", "a", "b", "c"]
    assert made["first"].start == variant("champion")
    assert made["second"].start == variant("a")
    assert made["second"].told[0] == ("a", 0.5)
    assert (made["first"].is_sequenced, made["second"].is_sequenced) == (True, False)


def test_the_bases_of_other_sizes_are_proposed_once_each_and_too_long_ones_are_passed_over():
    small, medium, large = (variant(text) for text in ("small", "medium", "large"))
    family = SimpleNamespace(bases=lambda: (small, medium, large))
    setting = SimpleNamespace(family=family, start=medium, definition={}, fits=lambda v: v.id != large.id)
    search = BaseSearch(setting)  # type: ignore[arg-type]
    proposal = search.ask()
    assert (proposal.variant, proposal.proposer) == (small, "bases")
    assert search.ask() is None


def test_without_a_better_one_the_champion_goes_on_and_equals_keep_the_first():
    made, _ = run({"champion": 0.5, "a": 0.5, "b": None, "c": 0.1}, {"first": ["a", "b"], "second": ["c"]})
    assert made["second"].start == variant("champion")


def test_a_champion_without_a_score_does_not_stand_in_the_way():
    made, _ = run({"champion": None, "a": 0.0, "c": 0.1}, {"first": ["a"], "second": ["c"]})
    assert made["second"].start == variant("a")


@pytest.mark.parametrize("text", ["bootstrap", "settings", "bootstrap+settings", " settings + bootstrap "])
def test_working_strategies_and_their_sequences_are_known(text):
    assert set(check_strategy(text)) <= {"bootstrap", "settings"}


def test_every_strategy_of_the_contract_works_alone_and_all_but_the_race_in_a_sequence():
    names = "bases bootstrap examples nearest settings race gepa mipro joint copro simba playbook replay"
    assert set(STRATEGIES.names) == set(names.split())
    for name in STRATEGIES.names:
        assert check_strategy(name) == (name,)
    assert check_strategy("+".join(name for name in STRATEGIES.names if name != "race"))


@pytest.mark.parametrize("text", ["", "magic", "bootstrap+", "settings+settings", "race+settings"])
def test_anything_else_is_refused_with_the_known_names(text):
    says = "empty part" if "" in text.split("+") else "no strategy|names a part twice|alone"
    with pytest.raises(InvalidInput, match=says):
        check_strategy(text)


def test_a_study_starts_from_the_base_of_another_size_where_that_is_better(tmp_path):
    shown = [
        {"role": "user", "content": "Document: a cell\nTopic:"},
        {"role": "assistant", "content": "biology"},
        {"role": "user", "content": "Document: a song\nTopic:"},
        {"role": "assistant", "content": "music"},
    ]
    asked = {"role": "user", "content": "Document: {{document}}\nTopic:"}
    versions = {
        "bare": {"content": [{"role": "system", "content": "Name the topic."}, asked]},
        "shown": {"content": [{"role": "system", "content": "Name the topic."}, *shown, asked]},
        "long": {"content": [{"role": "system", "content": "Think, then name the topic."}, asked]},
    }
    family = topic_family(
        prompt={"by_size": {"small": "shown", "medium": "bare", "large": "long"}, "versions": versions}
    )
    assert family.prompt.current == "bare"
    world = World(tmp_path, family=family).fill()
    study = world.run(world.create(strategy="bases+settings"))
    assert [trial.variant for trial in world.trials(study) if trial.proposer == "bases"] == [
        family.variant("shown").id,
        family.variant("long").id,
    ]
    assert study.outcome == "nominated"
    with world.store.read() as tx:
        winner = world.store.variants.get(tx, family.name, study.winner)
    assert sum(message["role"] == "assistant" for message in winner.variant.messages) == 2, (
        "made of the base that shows answers"
    )
