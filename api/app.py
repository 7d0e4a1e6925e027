"""The api process: serving, feedback, operators' routes.

Start reading at ``create_app``; each group of routes is a module of ``routes``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from api.documents import install_documents
from api.http import problems
from api.http.edge import Edge
from api.http.forwarding import FeedbackProcess
from api.http.in_flight import InFlight
from api.lifecycle import running_loops, services_of_api
from api.quick import Quick
from api.quick_chat import PassedChat, is_chat, quick_chat
from api.quick_events import KeptEvent, is_event, quick_event
from api.routes import (
    clock,
    data,
    events,
    families,
    freezes,
    golden,
    graphs,
    judges,
    keys,
    later,
    models,
    operations,
    performance,
    playbooks,
    rollouts,
    schedules,
    serving,
    studies,
    variants,
)
from optimizer.host.config import Settings

GROUPS = (
    families,
    serving,
    variants,
    events,
    golden,
    graphs,
    judges,
    studies,
    playbooks,
    schedules,
    rollouts,
    freezes,
    operations,
    clock,
    data,
    performance,
    keys,
    models,
    later,
)


class Application(FastAPI):
    """FastAPI, and in front of it what stands in every request's path (the modules ``quick*.py``)."""

    in_flight: InFlight
    at_once: Quick  # for the connections (``api.http.connections.AtOnce``)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: KeptEvent | PassedChat | None = None
        if is_chat(scope):
            answer, receive = await quick_chat(scope, receive, self.state.services, self.in_flight)
        elif is_event(scope):
            answer, receive = await quick_event(scope, receive, self.state.services, self.in_flight)
        if answer is None:
            await super().__call__(scope, receive, send)
        else:
            await answer.send(scope, send)


def create_app(settings: Settings) -> FastAPI:
    """The application. Store, families and keys are opened when it starts, not here."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with services_of_api(settings) as shared, running_loops(shared):
            if settings.api.feedback_process:
                shared.feedback = FeedbackProcess(settings.run_dir() / "feedback.json")
            app.state.services = at_once.shared = shared
            yield

    in_flight = InFlight(settings.limits, settings.api.workers)
    at_once = Quick(in_flight)
    app = Application(
        title="Detent",
        version=_version(),
        description=(
            "Fetch prompts, send feedback, search for better ones, roll them out and back. Errors are problem documents"
            " (RFC 9457)."
        ),
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.in_flight, app.at_once = in_flight, at_once
    app.add_middleware(Edge, in_flight=in_flight, plain=events.plain_routes())
    problems.install(app)
    for (
        group
    ) in GROUPS:  # as they are: a router that is included builds its routes a second time, at the first requests
        app.router.routes.extend(group.routes.routes)
    serving.install(app)
    install_documents(app)
    return app


def _version() -> str:
    try:
        return version("detent-server")
    except PackageNotFoundError:
        return "0"
