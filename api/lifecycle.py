"""Starts and stops every HTTP process: opens what its requests share, repeats its loops, closes in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic
from typing import Any

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.forwarding import SERVING_VERSION, Gateway
from api.services import Services
from api.serving import ServingState
from optimizer.host import packages
from optimizer.host.config import Settings
from optimizer.runtime import wiring
from optimizer.runtime.store_health import StoreHealth

POLL_S = 0.25
FLUSH_S = 1.0
LOOK_AGAIN_S = 2.0
CALLERS_S = 10.0

Loop = tuple[float, Callable[[], Any], str]  # seconds between two rounds, what is done, its name in the log

log = structlog.get_logger("api")


@asynccontextmanager
async def running_services(
    settings: Settings, workers: int = 1, *, feedback_process: bool = False
) -> AsyncIterator[Services]:
    """What all routes share, open for as long as the process, one of so many, answers requests."""
    shared = await asyncio.to_thread(_open, settings, workers, feedback_process)
    try:
        yield shared
    finally:
        await asyncio.to_thread(_close, shared)
        shared.gateway.close()
        if shared.feedback is not None:
            shared.feedback.close()


def services_of_api(settings: Settings) -> AbstractAsyncContextManager[Services]:
    """The services of the processes at the api's address, and of that for feedback, which counts with them."""
    return running_services(settings, settings.api.workers, feedback_process=settings.api.feedback_process)


@asynccontextmanager
async def running_loops(shared: Services, *own: Loop) -> AsyncIterator[None]:
    """Keeps what is served fresh, writes exposures, and runs the process's own loops."""
    everywhere: tuple[Loop, ...] = (
        (POLL_S, shared.serving.refresh, "refresh"),
        (FLUSH_S, lambda: shared.exposures.flush(shared.store), "flush of exposures"),
        (LOOK_AGAIN_S, shared.health.look, "check of the store"),
        (CALLERS_S, lambda: shared.callers.flush(shared.store, shared.clock.now()), "flush of callers"),
    )
    loops = [asyncio.create_task(_repeat(*loop)) for loop in (*everywhere, *own)]
    try:
        yield
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


class ServingVersionMiddleware:
    """Reads the store before a request that a process with a newer picture of it passed on.

    So a family or key that the other process has just made is known here, too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            serving: ServingState = scope["app"].state.services.serving
            version = next((value for name, value in scope["headers"] if name == SERVING_VERSION), b"")
            if version.isdigit() and len(version) < 19 and int(version) > (serving.now_served.version or 0):
                await asyncio.to_thread(serving.refresh)
        await self._app(scope, receive, send)


def _open(settings: Settings, workers: int, feedback_process: bool) -> Services:
    store = wiring.open_store(settings)
    clock = wiring.open_clock(settings)
    packages.look()  # once per process, before the first request
    files = wiring.load_families(settings)
    secrets = wiring.open_secrets(settings)
    flags = wiring.load_flags()
    state = ServingState(
        store,
        files,
        clock,
        secrets.token_keys,
        flags=flags,
        sync=lambda: wiring.sync_families(settings, files, store, clock),
    )
    state.refresh()
    return Services(
        flags=flags,
        targets=wiring.load_targets(settings),
        settings=settings,
        store=store,
        clock=clock,
        families=files,
        secrets=secrets,
        serving=state,
        health=StoreHealth(settings, store),
        gateway=Gateway(settings.run_dir() / "gateway.json", lambda: state.now_served.version),
        workers=workers,
        feedback_process=feedback_process,
    )


def _close(shared: Services) -> None:
    """Writes the last counts; what cannot be written is lost with this process, and the log says how many."""
    try:
        shared.exposures.flush(shared.store)
    except Exception as error:
        log.error("exposures lost at shutdown", n=shared.exposures.n_waiting, error=str(error))
    try:
        shared.callers.flush(shared.store, shared.clock.now())
    except Exception as error:
        log.error("callers' last requests lost at shutdown", error=str(error))
    shared.health.close()
    shared.store.close()


async def _repeat(seconds: float, act: Callable[[], Any], what: str) -> None:
    """Runs ``act`` in a thread again and again.

    A failure is logged once until it works again; the loop itself never ends.
    """
    failing = False
    while True:
        started_at = monotonic()
        try:
            await asyncio.to_thread(act)
            failing = False
        except Exception as error:
            if not failing:
                log.warning(f"{what} failed, will try again", error=str(error), exc_info=error)
            failing = True
        await asyncio.sleep(max(0.01, seconds - (monotonic() - started_at)))
