"""The gateway process: every model call that a client asks for. It owns the embedded model and never reads the journal.

It listens on loopback; the api passes ``/v1/chat/completions`` and ``/v1/models`` on to it. It checks keys itself,
since every program on this machine can reach it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
from fastapi import FastAPI, Request, Response

from api.access.answer_lengths import AnswerLengths
from api.access.limits import MinuteWindows
from api.gateway import chat, readiness
from api.gateway.event_stream import STOPPED
from api.gateway.hourly_money import models_bound
from api.gateway.model_side import CalibrationCache, ModelSide, of
from api.gateway.readiness import keep_embedded
from api.gateway.recording import drain
from api.hot.application import Application
from api.http.in_flight import InFlight
from api.lifecycle import ServingVersionMiddleware, running_loops, running_services
from api.routing import guarded, router
from api.services import Services, Shared
from optimizer.adapters.models.language_models import Models
from optimizer.adapters.text_metrics import own_metric
from optimizer.core.base.errors import Busy
from optimizer.core.feedback.events import NO_FAMILY
from optimizer.core.scheduling.monthly_budget import month_of
from optimizer.host.config import Settings
from optimizer.jobs.calls.shelves import StudentShelf
from optimizer.jobs.families.vouch_for_judge import latest_calibration
from optimizer.runtime import wiring

EMBEDDED_EVERY_S = 2.0
MONEY_EVERY_S = 30.0
MODELS_EVERY_S = 0.5
DRAIN_EVERY_S = 0.5
RECORDS_WAIT_S = 10.0

log = structlog.get_logger("gateway")
operations = router("Operations")


def create_gateway(settings: Settings) -> FastAPI:
    """The application. Store, families and models are opened when it starts, not here."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        models = await asyncio.to_thread(partial(wiring.open_models, settings, last_good=True))
        async with running_services(settings) as shared:
            app.state.services = shared
            spool, most = wiring.open_spool(settings), settings.limits.user_chats_per_minute
            shelf = StudentShelf(shared.store, models, serves=True)
            side = app.state.model_side = ModelSide(
                catalogue=models,
                spool=spool,
                users=wiring.user_calls(settings).one,
                now=shared.clock.now,
                user_windows=MinuteWindows(most, "chat requests of one user") if most is not None else None,
                lengths=AnswerLengths() if settings.limits.reserve_measured_lengths else None,
                judge_of=lambda dotted, family: own_metric(dotted, family, settings.home),
                calibrations=CalibrationCache(lambda family: latest_calibration(family, shared.store)),
                shelf=shelf,
            )
            shared.serving.on_forgotten += [side.cache.clear, shelf.clear]
            embedded = (EMBEDDED_EVERY_S, lambda: keep_embedded(shared, side), "start of the embedded model")
            money = (MONEY_EVERY_S, lambda: _read_money(shared, side), "sums of the hour's money")
            edits = (MODELS_EVERY_S, lambda: _read_models_again(app, models), "reading of config/models.yaml")
            draining = (DRAIN_EVERY_S, lambda: drain(shared, spool), "drain of the spool")
            try:
                # Reads the weights where their revision is not known: no call should wait for that.
                await asyncio.to_thread(models.embedded)
                await asyncio.to_thread(_read_money, shared, side)
                async with running_loops(shared, embedded, money, draining, edits):
                    yield
            finally:
                # Ends calls under way: streams at once, the others once their model has answered. All of them are
                # recorded.
                for reader in list(side.settling.values()):
                    reader.leave(STOPPED)
                side.calls.is_closed = True
                if waiting := {*side.settling, *side.recording}:
                    await asyncio.wait(waiting, timeout=RECORDS_WAIT_S)
                if side.recording:
                    await asyncio.wait(side.recording, timeout=RECORDS_WAIT_S)
                spool.close()
                await asyncio.to_thread(models.close)

    app = Application(chat.HOT, InFlight(settings.limits), title="Detent gateway", lifespan=lifespan)
    app.add_middleware(ServingVersionMiddleware)
    app.state.announce = lambda: None  # the process that has an address to tell puts its own there
    own = (*chat.routes.routes, *readiness.routes.routes, *operations.routes)
    app.router.routes.extend(own)  # as they are, see app.py
    return app


@operations.get("/metrics", **guarded("read"))
def metrics(request: Request, shared: Shared) -> Response:
    """For Prometheus: model calls since the gateway started, and what the store sums up of every interaction."""
    side, now = of(request), shared.clock.now()
    caps = {name: family.budget.usd_per_month for name, family in shared.families.families.items()}
    caps[""] = shared.settings.usd_per_month
    try:
        of_store = shared.read(
            lambda tx: side.store_metrics.collect(tx, shared.store, now=now, month=month_of(now), caps=caps)
        )
    except Busy:  # the model calls are counted here
        of_store = []
    return Response(side.metrics.text(of_store), media_type="text/plain; version=0.0.4")


def _read_models_again(app: FastAPI, models: Models) -> None:
    """Announces the present models to the other processes of this home; calls under way go on as they began."""
    if not models.refresh():
        return
    if models.problem is not None:
        log.error("config/models.yaml cannot be used, the last good one is", problem=models.problem.detail)
    else:
        log.info("config/models.yaml was read again", models=sorted(models.digests()))
    app.state.announce()


def _read_money(shared: Services, side: ModelSide) -> None:
    declared = shared.families.families
    families = [name for name, family in declared.items() if family.limits.usd_per_hour is not None]
    if models_bound(shared.settings, declared)[0] is not None:
        families.append(NO_FAMILY)
    if families:
        side.money.read(shared.store, families, shared.clock.now())
