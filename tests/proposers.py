"""What the proposer of a strategy writes in a test, or raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optimizer.core.base.errors import Busy, ModelFailed
from tests.study_world import TopicModel, World, topic_family

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
