"""What the proposer of a strategy writes in a test, or raises."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.base.errors import Busy, ModelFailed
from tests.worlds.study_world import TopicModel, World, topic_family

GOOD = "Answer with one word, the topic."


def fails(n: int) -> str:
    raise ModelFailed("the proposer is away", kind="unreachable")


def busy(n: int) -> str:
    raise Busy("the database is locked")


def proposing_world(folder: Path, model: TopicModel, **changes: Any) -> World:
    """A family whose instruction may be proposed, filled with examples."""
    return World(
        folder, model=model, family=topic_family(**{"space": {"instruction": {"propose": True}}, **changes})
    ).fill()


@pytest.fixture(scope="module", autouse=True)
def each_source_is_read_once() -> Iterator[None]:
    """DSPy reads its program's source for each rule that it asks for, 44 ms each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspect, "getsource", cache(inspect.getsource))
        yield
