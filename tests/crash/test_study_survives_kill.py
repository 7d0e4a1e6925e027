"""A study whose process dies without a word goes on in the next one:
nothing journaled is asked twice, the winner is the same.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.children import exit_code
from tests.worlds.study_world import TopicModel, World


def run_and_die(folder: Path, at: int) -> None:
    def die(n: int) -> None:
        if n == at:
            os._exit(9)  # as kill -9: no handler, no commit, no goodbye

    world = World(folder, model=TopicModel(before=die))
    world.run(world.only_study())


@pytest.mark.parametrize("at", [20])
def test_a_killed_study_ends_with_the_same_winner_and_its_lost_call_counted(tmp_path, at):
    (tmp_path / "peace").mkdir()
    (tmp_path / "fire").mkdir()
    peace = World(tmp_path / "peace").fill()
    expected = peace.run(peace.create())

    fire = World(tmp_path / "fire").fill()
    study = fire.create()
    fire.store.close()
    assert exit_code(run_and_die, tmp_path / "fire", at) == 9
    fire = World(tmp_path / "fire")
    assert Counter(c.status for c in fire.calls(study)) == {"settled": at - 1, "sent": 1}

    ended = fire.run(study)
    calls = fire.calls(study)
    assert (ended.outcome, ended.winner) == ("nominated", expected.winner)
    assert [(t.variant, t.score) for t in fire.trials(ended)] == [(t.variant, t.score) for t in peace.trials(expected)]
    assert Counter(c.status for c in calls)["lost"] == ended.spend.n_lost == 1
    assert max(Counter(c.key for c in calls if c.status == "settled").values()) == 1
    assert max(Counter(c.key for c in calls).values()) == 2  # the lost one was sent once more
    assert ended.spend.n_calls == expected.spend.n_calls + 1
    assert ended.spend.usd >= expected.spend.usd  # the lost call counts at its reserved price
