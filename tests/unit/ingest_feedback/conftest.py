"""A store of its own for each test, to which events are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.rows.ingestion import Installation
from tests.stores import new_database


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """Makes one whose family has these privacy settings."""
    with ExitStack() as opened:

        def make(*, name: str = "", **options: Any) -> Installation:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            return Installation(opened.enter_context(closing(new_database(folder))), **options)

        yield make


@pytest.fixture
def here(install: Callable[..., Installation]) -> Installation:
    return install()
