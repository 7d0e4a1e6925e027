"""What a database file must do behind each port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.clock import Clock
from tests.stores import new_database
from tests.worlds.rollout_world import World


@pytest.fixture(scope="session")
def with_history(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], World]:
    """A family with a history, before its rollout, by how fast rollouts' time goes; made once."""

    @cache
    def made(scale: float) -> World:
        world = World(store=new_database(tmp_path_factory.mktemp("history")), clock=Clock(scale=scale), tick_s=15.0)
        world.history()
        world.store.close()
        return world

    return made


@pytest.fixture
def copy_of(tmp_path: Path) -> Iterator[Callable[[World], World]]:
    """A copy of a world whose store is closed, for one test, which closes it."""
    with ExitStack() as stack:

        def copied(world: World) -> World:
            copy = world.copied(tmp_path)
            stack.callback(copy.store.close)
            return copy

        yield copied


@pytest.fixture
def world(with_history: Callable[[float], World], copy_of: Callable[[World], World]) -> World:
    """A family with a history, before its rollout; real time."""
    return copy_of(with_history(1.0))


@pytest.fixture
def fast(with_history: Callable[[float], World], copy_of: Callable[[World], World]) -> World:
    """A rollout hour passes within a minute, so that a lease outlasts the time between two batches of labels."""
    return copy_of(with_history(60.0))
