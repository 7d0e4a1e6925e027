"""A home with one family, its API in this process, and the worker's tick when a test wants it:
everything but the network is real.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from email.utils import format_datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from unittest.mock import patch

import httpx
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api import app as api_app, services
from api.app import create_app
from api.services import Services
from optimizer.core.dataset.examples import make_example
from optimizer.core.serving.access import access_of, hash_of
from optimizer.host.config import Settings, load_settings
from optimizer.jobs.context import Context
from optimizer.jobs.request import Request
from optimizer.jobs.rollouts.tick import tick
from optimizer.jobs.upkeep.export_folder import Archive
from optimizer.runtime import export_home, wiring
from optimizer.runtime.use_cases import UseCase
from tests.rows.answer_schemas import as_declared
from tests.stores import migrate_store

FAMILY = """\
name: triage
description: Topic of a support request.
inputs: {text: {type: text, max_chars: 100}}
output: {field: topic, parser: label, labels: [billing, technical]}
prompt:
  current: "1"
  versions:
    "1": {created_at: 2026-11-20, description: base, content: [
      {role: system, content: "Is it billing or technical?"},
      {role: examples},
      {role: user, content: "{{text}}"}]}
rollout: {ladder: [0.5, 0.75]}
"""

api_app.version = cache(api_app.version)  # else each server of a test looks through all packages for its own


@dataclass(frozen=True)
class World:
    """One running server. ``client`` speaks as this machine."""

    client: TestClient
    settings: Settings
    app: FastAPI

    @property
    def shared(self) -> Services:
        shared: Services = self.app.state.services
        return shared

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.client.post(path, json=body, **options)

    def post_late(self, path: str, body: bytes, meanwhile: Callable[[], object], **headers: str) -> int:
        """Status of the answer to a post whose body comes when ``meanwhile`` has been done."""
        told = list[Any]()
        given = {"host": "localhost", "content_type": "application/json", "content_length": str(len(body)), **headers}
        scope = {
            **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"},
            **{"path": path, "raw_path": path.encode(), "root_path": "", "query_string": b""},
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
            **{"client": ("127.0.0.1", 50000), "server": ("localhost", 80)},
        }

        async def receive() -> dict[str, Any]:
            meanwhile()
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            told.append(message)

        asyncio.run(self.app(scope, receive, send))
        return int(told[0]["status"])

    def tick(self, lease_seconds: float = 60.0) -> None:
        """What the worker does every ten seconds."""
        tick(self.shared.store, self.shared.clock, lease_seconds)
        self.shared.serving.refresh()

    def add_key(self, name: str, *roles: str, secret: str, **more: Any) -> None:
        """A key of these roles, as ``access_of`` takes it, with a secret that the test knows."""
        now = self.shared.clock.now()
        access = access_of(roles, now=now, **more)
        self.shared.store.write(lambda tx: self.shared.store.api_keys.add(tx, name, access, hash_of(secret), now))
        self.shared.serving.refresh()

    def add_examples(self, n: int) -> None:
        """Curated examples of both labels."""
        now = self.shared.clock.now()
        rows = [
            make_example(
                family="triage",
                input={"text": f"request number {i}"},
                expected={"topic": ("billing", "technical")[i % 2]},
                created_at=now,
                origin="curated",
            )
            for i in range(n)
        ]
        self.shared.store.write(lambda tx: self.shared.store.examples.add(tx, rows))

    def champion(self) -> str:
        return str(self.get("/v1/families/triage").json()["champion"]["variant"])

    def candidate(self, text: str = "Billing or technical? Answer with one word.") -> str:
        """A variant made by a person."""
        made = self.post(
            "/v1/families/triage/variants",
            {"messages": [{"role": "user", "content": f"{text} {{{{text}}}}"}], "note": "shorter"},
        )
        assert made.status_code in (200, 201), made.text
        return str(made.json()["variant"])

    def report(self, id: str = "in_reported") -> None:
        """One interaction, without which a family's rollout cannot start: its guardrails would be blind."""
        event = {
            "id": id,
            "family": "triage",
            "unit": "somebody",
            "output": "billing",
            "latency_ms": 10.0,
            "cost_usd": 0.001,
        }
        assert self.post("/v1/interactions", event).status_code == 200

    def exposures(self) -> list[dict[str, Any]]:
        """How often each arm was fetched, as it is on disk."""
        with self.shared.store.read() as tx:
            return [asdict(arm) for arm in self.shared.store.exposures.totals(tx, "triage", None)]

    def start(self, variant: str) -> dict[str, Any]:
        """A forced rollout that waits for approval."""
        self.report()
        started = self.post(
            "/v1/families/triage/rollouts", {"variant": variant, "confirm": "triage", "reason": "a try"}
        )
        assert started.status_code == 201, started.text
        rollout: dict[str, Any] = started.json()
        return rollout

    def deploying(self) -> dict[str, Any]:
        """A rollout at its first stage, watched."""
        id = self.start(self.candidate())["id"]
        approved = self.post(f"/v1/rollouts/{id}/approve", {"reason": "go"})
        assert approved.status_code == 200, approved.text
        self.tick()
        rollout: dict[str, Any] = self.get(f"/v1/rollouts/{id}").json()
        return rollout


class Dated(httpx.BaseTransport):
    """Requests to the application in this process, whose answers have the Date that uvicorn would give them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        answer = self._world.client.request(
            request.method, request.url.raw_path.decode(), content=request.read(), headers=headers
        )
        date = format_datetime(self._world.shared.clock.now(), usegmt=True)
        return httpx.Response(answer.status_code, headers={**answer.headers, "date": date}, content=answer.content)


def make_home(home: Path, **explicit: Any) -> Settings:
    """A home folder with one family and its tables."""
    folder = home / "families" / "triage"
    folder.mkdir(parents=True)
    (folder / "family.yaml").write_text(FAMILY, encoding="utf-8")
    settings = load_settings("dev", home, **explicit)
    migrate_store(settings)
    return settings


def read_here(use_case: UseCase, context: Context, request: Request, *, figures_only: bool) -> bytes:
    """What a server has a process of its own read, read in this one: to start a process takes seconds."""
    return use_case.written(use_case.call(context, request), figures_only=figures_only)


def archive_here(context: Context, *, sealed: bool) -> IO[bytes]:
    """An export that a server has a process of its own write, written in this one."""
    archive = TemporaryFile(dir=context.settings.run_dir())  # noqa: SIM115  its reader closes it
    with Archive(archive, context.settings.run_dir()) as target:
        export_home._write(context, target, sealed=sealed)
    archive.seek(0)
    return archive


@contextmanager
def in_one_process() -> Iterator[None]:
    """What the api has a process of its own do is done in this one."""
    with (
        patch.object(import_module("api.use_cases"), "answer_apart", read_here),
        patch.object(import_module("api.dashboard.visitors"), "answer_apart", read_here),
        patch.object(import_module("api.routes.operations"), "archive_apart", archive_here),
        patch.object(services, "fit_judge_apart", wiring.fit_judge),
    ):
        yield


@contextmanager
def serving(
    settings: Settings, *, host: str = "127.0.0.1", raise_faults: bool = True, reads_apart: bool = False
) -> Iterator[World]:
    app = create_app(settings)
    with (
        nullcontext() if reads_apart else in_one_process(),
        TestClient(
            app, base_url="http://localhost", client=(host, 50000), raise_server_exceptions=raise_faults
        ) as client,
    ):
        client.event_hooks["response"] = [as_declared]
        world = World(client=client, settings=settings, app=app)
        if not reads_apart:
            world.shared.kept_reads.wait_s = 60.0  # a page has it at once, then
        yield world
