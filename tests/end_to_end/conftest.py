"""One server of a family of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worlds.api_world import World, make_home, serving


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving(make_home(tmp_path)) as running:
        yield running
