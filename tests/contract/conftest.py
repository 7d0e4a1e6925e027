"""What a database file must do behind each port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from optimizer.adapters.store import Database
from tests.clock import Clock
from tests.rollout_world import World


@pytest.fixture
def world(database: Database) -> World:
    """A family with a history, before its rollout; real time."""
    made = World(store=database)
    made.history()
    return made


@pytest.fixture
def fast(database: Database) -> World:
    """A rollout hour passes within a minute, so that a lease outlasts the time between two batches of labels."""
    made = World(store=database, clock=Clock(scale=60.0))
    made.history()
    return made


@dataclass
class Adapter:
    """One implementation of a port, and how its transactions are had."""

    port: Any
    database: Database

    def write(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self.database.write(lambda tx: getattr(self.port, name)(tx, *args, **kwargs))

    def ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        with self.database.read() as tx:
            return getattr(self.port, name)(tx, *args, **kwargs)


@pytest.fixture
def events(database: Database) -> Adapter:
    return Adapter(database.events, database)


@pytest.fixture
def journal(database: Database) -> Adapter:
    return Adapter(database.journal, database)
