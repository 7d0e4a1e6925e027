"""The api process: serving, feedback, operators' routes.

Start reading at ``create_app``; each group of routes is a module of ``routes``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from starlette.routing import BaseRoute

from api.dashboard.routes import Dashboard
from api.documents import install_documents
from api.hot import (
    chat as hot_chat,
    events as hot_events,
    ofrep as hot_ofrep,
    serving as hot_serving,
    telemetry as hot_telemetry,
)
from api.hot.application import Application
from api.http.forwarding import FeedbackProcess
from api.http.in_flight import InFlight
from api.lifecycle import running_loops, services_of_api
from api.routes import (
    events,
    mcp,
    models,
    operations,
    performance,
    serving,
)
from api.use_cases import routes_of
from optimizer.host.config import Settings
from optimizer.runtime.use_cases import USE_CASES

GROUPS = (
    serving,
    events,
    operations,
    performance,
    models,
)


@cache
def declared_routes() -> Sequence[BaseRoute]:
    """The routes that OpenAPI has, built once for all applications of a process."""
    return *(route for group in GROUPS for route in group.routes.routes), *routes_of(USE_CASES)


def create_app(settings: Settings) -> FastAPI:
    """The application. Store, families and keys are opened when it starts, not here."""

    dashboard = Dashboard()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with services_of_api(settings) as shared, running_loops(shared):
            if settings.api.feedback_process:
                shared.feedback = FeedbackProcess(
                    settings.run_dir() / "feedback.json", lambda: shared.serving.now_served.version
                )
            app.state.services = shared
            yield
            dashboard.close()

    try:
        released = version("detent-server")
    except PackageNotFoundError:
        released = "0"
    app = Application(
        (*hot_serving.HOT, *hot_events.HOT, *hot_chat.HOT, *hot_ofrep.HOT, *hot_telemetry.HOT),
        InFlight(settings.limits, settings.api.workers),
        title="Detent",
        version=released,
        description=(
            "Fetch prompts, send feedback, search for better ones, roll them out and back. Errors are problem documents"
            " (RFC 9457)."
        ),
        lifespan=lifespan,
        openapi_url=None,
    )
    # Routes are added one by one: an included router would build its routes again, at the first requests.
    app.router.routes.extend(declared_routes())
    install_documents(app)
    app.router.routes.extend((*mcp.routes, *dashboard.routes()))
    return app
