"""A study that changes its family's playbook is killed with SIGKILL around and within the writing of a step: the next
run goes on, and no entry is lost or doubled.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.store.repositories.variants import PlaybookTables
from optimizer.jobs.families.keep_playbook import StudyPlaybook
from tests.children import exit_code
from tests.stand_ins.playbook_model import RIGHT, Learner, kept_entries, learning_world, lessons, studied
from tests.worlds.study_world import World

USELESS = "Think again and again."
POINTS = {  # (step of the search, where in what it keeps) and how many entries are kept by then
    "before the first step is written": ((1, "before"), 0),
    "between an entry and its step": ((1, "between"), 0),
    "after a step is on disk": ((1, "after"), 1),
    "in the second step": ((2, "between"), 1),
    "after the second step, before its dev score": ((2, "after"), 2),
}


class FirstUseless(Learner):
    """Its first lesson is useless, the others right: by the step, so that a second process goes on as the first."""

    def __init__(self) -> None:
        super().__init__(lambda n: lessons(USELESS), lambda n: "{}")

    def _text(self, request: Any) -> str:
        text = super()._text(request)
        is_second = request.sample.startswith("playbook:") and not request.sample.startswith("playbook:1:")
        return lessons(RIGHT) if is_second and "lessons" in text else text


def run_and_die(folder: Path, wanted: int, where: str) -> None:
    add_to_step, keep = PlaybookTables.add_to_step, StudyPlaybook.keep

    def die(step: int, now: str) -> None:
        if (step, now) == (1 + 2 * wanted, where):
            os.kill(os.getpid(), signal.SIGKILL)

    def dying_add(self: Any, tx: Any, family: str, study: str, step: int, *record: Any) -> None:
        die(step, "between")  # its entries are written, and nothing is committed
        add_to_step(self, tx, family, study, step, *record)

    def dying_keep(self: Any, step: int, edits: Any) -> None:
        die(step, "before")
        keep(self, step, edits)
        die(step, "after")

    PlaybookTables.add_to_step, StudyPlaybook.keep = dying_add, dying_keep  # type: ignore[method-assign]
    world = learning_world(folder, FirstUseless())
    world.run(world.only_study())


def kept(world: World) -> list[tuple[Any, ...]]:
    return [
        (e.position, e.text, e.evidence, e.helpful, e.harmful, e.state, e.reason, e.merged_into)
        for e in kept_entries(world)
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    world = learning_world(tmp_path_factory.mktemp("peace"), FirstUseless()).fill()
    assert studied(world).outcome == "nominated"
    entries = kept(world)
    assert [(entry[1], entry[5]) for entry in entries] == [(USELESS, "retired"), (RIGHT, "active")]
    return entries


@pytest.mark.parametrize(("point", "n_kept"), POINTS.values(), ids=POINTS)
def test_a_killed_study_loses_and_doubles_no_entry(
    tmp_path: Path, undisturbed: list[tuple[Any, ...]], point: tuple[int, str], n_kept: int
) -> None:
    world = learning_world(tmp_path, FirstUseless()).fill()
    study = world.create(strategy="playbook")
    world.store.close()
    assert exit_code(run_and_die, tmp_path, *point) == -signal.SIGKILL
    world = learning_world(tmp_path, FirstUseless())
    assert len(kept(world)) == n_kept
    ended = world.run(study)
    assert ended.outcome == "nominated"
    assert kept(world) == undisturbed
    keys = [call.key for call in world.calls(ended) if call.status == "settled"]
    assert len(keys) == len(set(keys))
