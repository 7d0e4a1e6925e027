"""The api process: serving, feedback, operators' routes. Start reading at ``create_app``; each group of routes is a module of ``routes``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from time import monotonic
from typing import Any

import structlog
from fastapi import FastAPI

from api import problems
from api.documents import install_documents
from api.edge import Edge
from api.forwarding import Gateway
from api.routes import events, families, later, models, operations, rollouts, serving, studies, variants
from api.services import Services
from api.serving import ServingState
from optimizer import wiring
from optimizer.config import Settings

POLL_S = 0.25
FLUSH_S = 1.0

log = structlog.get_logger("api")


def create_app(settings: Settings) -> FastAPI:
    """The application. Store, families and keys are opened when it starts, not here."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        shared = await asyncio.to_thread(_open, settings)
        app.state.services = shared
        loops = [
            asyncio.create_task(_every(POLL_S, shared.serving.refresh, "refresh")),
            asyncio.create_task(_every(FLUSH_S, lambda: shared.exposures.flush(shared.store), "flush of exposures")),
        ]
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
            for loop in loops:
                with suppress(asyncio.CancelledError):
                    await loop
            await asyncio.to_thread(_close, shared)
            await shared.gateway.close()

    app = FastAPI(
        title="Detent",
        version=_version(),
        description="Fetch prompts, send feedback, search for better ones, roll them out and back. Errors are problem documents (RFC 9457).",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Edge, body_bytes=settings.limits.body_bytes)
    problems.install(app)
    for group in (families, serving, variants, events, studies, rollouts, operations, models, later):
        app.include_router(group.routes)
    serving.install(app)
    install_documents(app)
    return app


def _open(settings: Settings) -> Services:
    store = wiring.open_store(settings)
    clock = wiring.open_clock(settings)
    files = wiring.load_families(settings)
    secrets = wiring.open_secrets(settings)
    state = ServingState(store, files, clock, secrets.token_keys, sync=lambda: wiring.sync_families(settings, files, store, clock))
    state.refresh()
    return Services(
        settings=settings,
        store=store,
        clock=clock,
        families=files,
        secrets=secrets,
        serving=state,
        gateway=Gateway(settings.run_dir() / "gateway.json"),
    )


def _close(shared: Services) -> None:
    """Writes the last exposures; what cannot be written is lost with this process, and the log says how many."""
    try:
        shared.exposures.flush(shared.store)
    except Exception as error:
        log.error("exposures lost at shutdown", n=shared.exposures.n_waiting, error=str(error))
    shared.store.close()


async def _every(seconds: float, act: Callable[[], Any], what: str) -> None:
    """Runs ``act`` in a thread again and again. A failure is logged once until it works again; the loop itself never ends."""
    failing = False
    while True:
        started = monotonic()
        try:
            await asyncio.to_thread(act)
            failing = False
        except Exception as error:
            if not failing:
                log.warning(f"{what} failed, will try again", error=str(error), exc_info=error)
            failing = True
        await asyncio.sleep(max(0.01, seconds - (monotonic() - started)))


def _version() -> str:
    try:
        return version("detent")
    except PackageNotFoundError:
        return "0"
