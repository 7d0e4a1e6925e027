"""Settings of the test tools that hold for every test."""

from __future__ import annotations

import functools
import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import structlog
import typer.testing
from hypothesis import HealthCheck, settings

from optimizer.adapters.store import Database
from tests.examples import USUAL
from tests.made_once import FOLDER

# A process per core has no use for more threads each: scikit-learn's would spin and wait for one another. Read when it
# is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Every client reads the machine's certificates anew, which costs 35 ms of CPU;
# hundreds of tests have clients of their own.
httpx._transports.default.create_ssl_context = functools.cache(httpx._transports.default.create_ssl_context)

# The tree of commands is made anew for each command line that a runner takes, which costs a tenth of a second.
typer.testing._get_command = functools.cache(typer.testing._get_command)

# The usual one draws each traceback with colours and the values of a frame's names, which takes longer than most tests.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

gc.disable()  # until all is collected: modules that load are no garbage to look for
pytest_plugins = ["tests.waiting", "tests.stand_ins.mlflow_store"]

# Fewer than Hypothesis's own hundred, for the sake of ten minutes;
# neither deadline nor check of how fast examples are drawn, since a busy machine is slow, not wrong.
SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("detent", **SLOW, max_examples=USUAL)
settings.register_profile("long", **SLOW, max_examples=1000)
settings.load_profile("detent")


def pytest_configure(config: pytest.Config) -> None:
    folder = tempfile.TemporaryDirectory(prefix="detent-tests-")
    os.environ[FOLDER] = folder.name
    config.add_cleanup(folder.cleanup)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Half a million objects of modules and tests stay until the end;
    the collector need not look through them again and again.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A new store in the test's folder."""
    from tests.stores import new_database

    database = new_database(tmp_path)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> Database:
    return database
