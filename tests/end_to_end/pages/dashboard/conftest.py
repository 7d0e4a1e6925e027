"""One home with everything in it for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worlds.api_world import World, make_home, serving
from tests.worlds.seeded_world import seeded


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    limits = {"operator_per_minute": 1_000_000, "events_per_minute": 1_000_000}
    with serving(make_home(tmp_path_factory.mktemp("home"), limits=limits)) as world:
        yield seeded(world)
