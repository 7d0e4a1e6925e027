"""The gateway process: every model call that a client asks for. It owns the embedded model and never reads the journal.

It listens on loopback; the api passes ``/v1/chat/completions`` and ``/v1/models`` on to it. It checks keys itself, since
everybody on this machine can reach it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response

from api import chat, problems
from api.chat import ModelSide
from api.edge import Edge
from api.lifecycle import running_loops, running_services
from api.routing import guarded, router
from api.services import Services, Shared
from optimizer import wiring
from optimizer.config import Settings

EMBEDDED_EVERY_S = 2.0
RECORDS_WAIT_S = 10.0

log = structlog.get_logger("gateway")
operations = router("Operations")


def create_gateway(settings: Settings) -> FastAPI:
    """The application. Store, families and models are opened when it starts, not here."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        models = await asyncio.to_thread(wiring.open_models, settings)
        async with running_services(settings) as shared:
            app.state.services = shared
            side = app.state.model_side = ModelSide(models=models)
            embedded = (EMBEDDED_EVERY_S, lambda: _keep_embedded(shared, side), "start of the embedded model")
            try:
                async with running_loops(shared, embedded):
                    yield
            finally:
                side.threads.close()
                if side.recording:
                    await asyncio.wait(side.recording, timeout=RECORDS_WAIT_S)
                await asyncio.to_thread(models.close)

    app = FastAPI(title="Detent gateway", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Edge, body_bytes=settings.limits.body_bytes)
    problems.install(app)
    app.include_router(chat.routes)
    app.include_router(operations)
    return app


@operations.get("/health", **guarded(None))
async def health() -> dict[str, Any]:
    """Alive: answers whatever else is down."""
    return {"status": "ok"}


@operations.get("/ready", **guarded(None))
def ready(request: Request, response: Response, shared: Shared) -> dict[str, Any]:
    """Whether chat can be answered: 503 until the store was read once, and while the embedded model is wanted and does not run."""
    side = chat.of(request)
    served = shared.serving.now_served
    now = shared.clock.now()
    dependencies: dict[str, Any] = {
        "store": {
            "ok": shared.serving.store_error is None,
            "age_s": round((now - served.read_at).total_seconds(), 1) if served.read_at is not None else None,
            "detail": shared.serving.store_error,
        },
        "model_calls": {"ok": True, "in_work_or_waiting": side.threads.n_held},
    }
    if _wants_embedded(shared, side):
        dependencies["embedded"] = _embedded_state(side)
    can_answer = served.version is not None and dependencies.get("embedded", {"ok": True})["ok"]
    if not can_answer:
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    return {"status": "ready" if can_answer else "not ready", "degraded": sorted(shared.families.problems), "dependencies": dependencies}


def _wants_embedded(shared: Services, side: ModelSide) -> bool:
    """Whether anything that is served now names the embedded model; the first call starts it in any case."""
    variants = [variant for family in shared.serving.now_served.families.values() for variant in family.variants.values()]
    return any(side.models.is_embedded(str(variant.model.get("name"))) for variant in variants)


def _embedded_state(side: ModelSide) -> dict[str, Any]:
    model = side.models.embedded()
    if model is None:
        return {"ok": False, "detail": "not installed; `detent doctor` says which command installs what"}
    owner = model.owner()
    if owner is None:
        return {"ok": False, "detail": "starting"}
    return {"ok": bool(owner.urls), "processes": len(owner.urls), "of": owner.size, "owner_pid": owner.pid, "revision": owner.revision}


def _keep_embedded(shared: Services, side: ModelSide) -> None:
    """Owns the embedded model's processes from the start, and again when the process that owned them has ended."""
    if _wants_embedded(shared, side):
        model = side.models.embedded()
        if model is not None:
            model.own()
