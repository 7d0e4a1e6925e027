"""A store of its own for each test, to which events are sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rows.ingestion import Installation
from tests.stores import new_database


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    store = new_database(tmp_path)
    yield Installation(store)
    store.close()
