"""What holds of each strategy whose proposer is a model: what it writes, how it fails, what it may cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import Busy
from optimizer.core.base.values import Budget
from tests.stand_ins.proposers import GOOD, busy, each_source_is_read_once, fails, proposing_world  # noqa: F401
from tests.unit.search.test_copro_search import Writer
from tests.unit.search.test_gepa_search import Reflective
from tests.unit.search.test_joint_search import SIZES as JOINT_SIZES, Reader
from tests.unit.search.test_simba_search import SIZES, Moody
from tests.worlds.study_world import TopicModel, World, assert_resumes, killed_at


@dataclass(frozen=True)
class Strategy:
    name: str
    model: type[TopicModel]
    form: str  # in which its proposer writes
    n_useless: int  # proposals before a good one, and the call at which the study is killed meanwhile
    killed_at: int
    calls: int = 70  # of a cap that ends its proposals
    definition: dict[str, Any] = field(default_factory=dict)
    space: dict[str, Any] = field(default_factory=dict)

    def world(self, folder: Path, write: Callable[[int], str], **options: Any) -> World:
        def written(n: int) -> str:
            return self.form.format(write(n))

        space = {"instruction": {"propose": True}, **self.space}
        return proposing_world(folder, self.model(written, **options), space=space)  # type: ignore[call-arg, arg-type]

    def run(self, here: World, **options: Any) -> Any:
        definition = {**self.definition, **options.pop("definition", {})}
        return here.run(here.create(strategy=self.name, definition=definition, **options))


COPRO = Strategy("copro", Writer, "{}", 4, 26)
GEPA = Strategy("gepa", Reflective, "```\n{}\n```", 2, 20)
SIMBA = Strategy("simba", Moody, "{}", 3, 70, 90, definition={**SIZES, "n_instructions": 2})
MIPRO = Strategy(
    "mipro", Reader, "{}", 1, 45, 80, definition={**JOINT_SIZES, "n_settings": 4}, space={"examples": {"max": 4}}
)
EACH = pytest.mark.parametrize("strategy", [COPRO, GEPA, SIMBA, MIPRO], ids=lambda one: one.name)


USELESS: dict[str, tuple[Callable[[int], str], tuple[Strategy, ...]]] = {
    "nothing written": (lambda n: "", (SIMBA,)),
    "the same again": (lambda n: "Name the topic.", (COPRO,)),
    "another variable": (lambda n: f"One word: {{{{document}}}} {n}", (COPRO, GEPA)),
    "too long": (lambda n: f"In one word. {n} {'x' * 9000}", (COPRO,)),
    "no better": (lambda n: f"Think again, {n} times.", (GEPA,)),
}


@pytest.mark.parametrize(
    ("strategy", "write"),
    [
        pytest.param(strategy, write, id=f"{strategy.name}-{what}")
        for what, (write, strategies) in USELESS.items()
        for strategy in strategies
    ],
)
def test_a_proposal_that_is_no_use_ends_itself_and_not_the_study(tmp_path, strategy, write):
    here = strategy.world(tmp_path, write)
    ended = strategy.run(here, definition={"n_instructions": 3})
    assert (ended.status, ended.outcome) == ("finished", "no_improvement")
    assert [t.proposer for t in here.trials(ended)] == ["champion"]
    assert here.model.prompts


@pytest.mark.parametrize(("strategy", "number"), [(COPRO, "proposal"), (GEPA, "reflection")], ids=["copro", "gepa"])
@pytest.mark.parametrize("useless", [fails, lambda n: ""], ids=["no answer", "nothing written"])
@pytest.mark.long
def test_one_useless_proposal_does_not_stop_the_next(tmp_path, strategy, number, useless):
    here = strategy.world(tmp_path, lambda n: GOOD if n > strategy.n_useless else useless(n))
    ended = strategy.run(here)
    assert ended.outcome == "nominated"
    assert here.trials(ended)[1].params[number] == strategy.n_useless + 1


@EACH
def test_a_study_that_was_killed_goes_on_and_asks_nothing_twice(tmp_path, strategy):
    def unsure(n: int) -> str:
        return GOOD if n > strategy.n_useless else f"Think, {n} times."

    (tmp_path / "other").mkdir()
    here = strategy.world(tmp_path, unsure, before=killed_at(strategy.killed_at))
    undisturbed = strategy.world(tmp_path / "other", unsure)
    sizes = {"n_holdout": 4, **strategy.definition}  # what is confirmed is of no matter here
    assert_resumes(here, undisturbed, strategy=strategy.name, definition=sizes)


@EACH
def test_every_call_of_the_proposer_stands_under_the_cap(tmp_path, strategy):
    here = strategy.world(tmp_path, lambda n: f"Think, {n} times.")
    ended = strategy.run(here, budget=Budget(calls=strategy.calls), definition={"n_instructions": 100})
    assert ended.spend.n_calls == len(here.model.requests) <= strategy.calls
    assert here.model.prompts
    assert ended.spend.search_cut is not None


@EACH
def test_a_store_that_cannot_be_written_is_no_proposers_failure(tmp_path, strategy):
    with pytest.raises(Busy):
        strategy.run(strategy.world(tmp_path, busy))
