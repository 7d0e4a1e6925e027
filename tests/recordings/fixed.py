"""A process in which time stands still and what is drawn is known beforehand."""

from __future__ import annotations

import getpass
import logging
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import datetime, tzinfo
from importlib import import_module
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import structlog
from fastapi.testclient import TestClient
from ulid import ULID

from api.app import create_app
from optimizer.adapters.clock import SystemClock
from optimizer.host.config import Settings
from optimizer.jobs import ids
from tests.clock import Clock
from tests.worlds.api_world import World, read_here

ACTOR = "local:recorder"
# What reads the time without asking a clock.
OF_NOW = ("api.exposures", "api.gateway.model_side", "optimizer.runtime.wiring")
OF_SECRETS = (
    "optimizer.jobs.rollouts.start_rollout",
    "optimizer.jobs.rollouts.adopt_file_version",
    "optimizer.jobs.upkeep.manage_keys",
    "optimizer.adapters.files.secrets",
)
OF_TIME = ("api.exposures", "api.gateway.chat_answer")


@contextmanager
def fixed(clock: Clock, seed: int = 1) -> Iterator[Clock]:
    """Ids count, random bits are those of the seed, and every clock of the product is this one."""
    draw, n = random.Random(seed), count(1)

    class Now(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return clock.now()

    def ulid() -> ULID:
        return ULID.from_bytes(int(clock.at.timestamp() * 1000).to_bytes(6, "big") + next(n).to_bytes(10, "big"))

    def secret(n_bytes: int) -> str:
        return f"{draw.getrandbits(8 * n_bytes):0{2 * n_bytes}x}"

    def put(target: Any, **values: Any) -> None:
        for name, value in values.items():
            changes.enter_context(patch.object(target, name, value))

    with ExitStack() as changes:
        changes.callback(structlog.configure, **structlog.get_config())
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        put(SystemClock, now=lambda _: clock.now())
        put(ids, ULID=ulid, randbits=draw.getrandbits)
        for name in OF_SECRETS:  # not of libraries, which draw when they are first imported
            put(import_module(name), secrets=SimpleNamespace(token_hex=secret, token_urlsafe=secret))
        for name in OF_NOW:
            put(import_module(name), datetime=Now)
        for name in OF_TIME:
            put(import_module(name), time=lambda: clock.now().timestamp())
        put(getpass, getuser=lambda: ACTOR.removeprefix("local:"))
        yield clock


@asynccontextmanager
async def no_loops(*_: Any) -> AsyncIterator[None]:
    """In the place of what an api does now and then by itself."""
    yield


@contextmanager
def api_of(settings: Settings, clock: Clock) -> Iterator[World]:
    """An api whose loops stand still: what is served is read anew before each request, which takes a millisecond."""

    def before(_: object) -> None:
        clock.pass_seconds(0.001)
        app.state.services.serving.refresh()

    with (
        patch.object(import_module("api.app"), "running_loops", no_loops),
        patch.object(import_module("api.use_cases"), "answer_apart", read_here),
    ):
        app = create_app(settings)
        with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 50000)) as client:
            client.event_hooks["request"] = [before]
            yield World(client=client, settings=settings, app=app)


def source(*models: Any) -> Any:
    """A ModelSource of these models, by their names."""
    known = {model.name: model for model in models}
    return SimpleNamespace(
        get=lambda name: known[name],
        price=lambda name: known[name].price,
        describe=lambda name: SimpleNamespace(
            embedded=False, concurrency=1, processes="auto", max_output_tokens=known[name].max_output_tokens, name=name
        ),
        close=lambda: None,
        refresh=lambda: None,
    )
