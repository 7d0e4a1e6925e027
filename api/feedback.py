"""The feedback process reads long bodies (batches, imports, examples) and draws pages, which the api forwards.

Reading a hundred events takes milliseconds of one interpreter, and a thread that reads takes them from the event loop
that serves prompts (docs/adr/0032-api-processes-share-a-port.md). Keys, roles, limits and answers are those
of the same routes in the api, which answers itself while this process is away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api.dashboard.routes import Dashboard
from api.hot import events, telemetry
from api.hot.application import Application
from api.http.in_flight import InFlight
from api.lifecycle import ServingVersionMiddleware, running_loops, services_of_api
from api.use_cases import routes_of
from optimizer.host.config import Settings
from optimizer.jobs.feedback.ingest_feedback import Turns
from optimizer.runtime.use_cases import USE_CASES

# a body this short is read on the event loop, where no prompt waits: handing it to a thread takes longer
AT_ONCE_EVENTS, AT_ONCE_CHARS = 200, 131_072


def create_feedback(settings: Settings) -> FastAPI:
    """The application. Store, families and keys are opened when it starts, not here."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with services_of_api(settings) as shared, running_loops(shared):
            shared.turns = Turns(events=AT_ONCE_EVENTS, chars=AT_ONCE_CHARS)
            app.state.services = shared
            yield

    app = Application(
        (*events.HOT, *telemetry.HOT), InFlight(settings.limits), title="Detent feedback", lifespan=lifespan
    )
    app.router.routes.extend((*routes_of(one for one in USE_CASES if one.long_bodies), *Dashboard().pages()))
    app.add_middleware(ServingVersionMiddleware)
    return app
