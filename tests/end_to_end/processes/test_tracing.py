"""Requests, model calls, ticks and studies are spans of OpenTelemetry where a setting says so; else its SDK is not
loaded. The real SDK writes them.
"""

from __future__ import annotations

import json
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from optimizer.host.config import load_settings
from optimizer.host.tracing import TRACING
from optimizer.runtime.study_workflows import StudyWorkflows
from optimizer.runtime.worker import Worker
from tests.clock import until
from tests.stand_ins.faulty_provider import faulty_provider
from tests.stand_ins.mlflow_store import NewMlflow
from tests.worlds.api_world import make_home as make_plain_home, serving as in_process
from tests.worlds.gateway_world import behind_the_api, family, make_home, remote, serving
from tests.worlds.study_world import World as StudyWorld

ASKED = "Which stars burn hydrogen?"
PROJECT = Path(__file__).parents[3] / "pyproject.toml"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    TRACING.use(SimpleSpanProcessor(exporter), "test")
    yield exporter
    TRACING.tracer = None


def chat(folder: Path, *, fault: str | None = None) -> httpx.Response:
    """One chat at the api's address, below the span of its sender."""
    with faulty_provider() as behind:
        behind.fault = lambda n: fault
        settings = make_home(folder, {"topic": family("topic", "remote")}, {"remote": remote(behind.url)})
        with behind_the_api(settings) as (api, _):
            body = {"model": "topic", "user": "ann", "messages": [{"role": "user", "content": ASKED}]}
            return httpx.post(f"{api}/v1/chat/completions", json=body, headers={"traceparent": PARENT}, timeout=30)


def test_a_chat_is_three_spans_below_its_senders_and_none_holds_a_text(
    spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    answer = chat(tmp_path)
    assert answer.status_code == 200
    by_kind: dict[str, list[Any]] = {}
    for span in until(lambda: len(spans.get_finished_spans()) >= 3 and spans.get_finished_spans(), "the spans"):
        by_kind.setdefault(span.kind.name, []).append(span)
    (call,) = by_kind["CLIENT"]
    gateway, api = sorted(by_kind["SERVER"], key=lambda span: span.start_time, reverse=True)
    assert api.name == gateway.name == "POST /v1/chat/completions"
    assert f"{api.parent.span_id:016x}" == PARENT.split("-")[2]
    assert gateway.parent.span_id == api.context.span_id
    assert call.parent.span_id == gateway.context.span_id
    assert {f"{span.context.trace_id:032x}" for span in (call, gateway, api)} == {PARENT.split("-")[1]}
    assert call.name == "chat remote"
    assert (call.attributes["gen_ai.usage.input_tokens"], call.attributes["gen_ai.usage.output_tokens"]) == (1000, 100)
    assert api.attributes["http.response.status_code"] == 200
    assert api.attributes["detent.request_id"] == answer.headers["x-request-id"]
    written = "".join(span.to_json() for span in (call, gateway, api))
    assert not any(text in written for text in (ASKED, "hydrogen", "ann"))


def test_prompts_and_answers_are_included_where_a_setting_says_so(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    TRACING.use(SimpleSpanProcessor(spans), "test", with_prompts=True)
    chat(tmp_path)
    (call,) = [span for span in spans.get_finished_spans() if span.kind.name == "CLIENT"]
    asked = json.loads(call.attributes["gen_ai.input.messages"])
    assert ASKED in asked[-1]["parts"][0]["content"]
    assert "hydrogen" in json.loads(call.attributes["gen_ai.output.messages"])[0]["parts"][0]["content"]


def test_a_call_that_fails_is_told_by_its_kind_alone(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    assert chat(tmp_path, fault="broken").status_code >= 500
    (call,) = [span for span in spans.get_finished_spans() if span.kind.name == "CLIENT"]
    assert (call.status.status_code.name, call.attributes["error.type"]) == ("ERROR", "ModelFailed")
    assert call.events == ()


def test_a_unit_in_a_path_is_in_no_span(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    with in_process(make_plain_home(tmp_path)) as world:
        world.client.put("/v1/families/triage/overrides/secret-unit", json={"variant": world.champion()})
    names = [span.name for span in spans.get_finished_spans()]
    assert "PUT /v1/families/{family}/overrides/{unit}" in names, "and nothing else that makes a name of its own"
    assert not any("secret-unit" in span.to_json() for span in spans.get_finished_spans())


def test_ticks_and_studies_with_their_model_calls_are_spans(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    world = StudyWorld(tmp_path).fill()
    settings = load_settings("dev", tmp_path)
    worker = Worker(settings)
    worker._store, worker._clock = world.store, world.clock  # type: ignore[assignment]
    worker._tick()
    assert [span.name for span in spans.get_finished_spans()] == ["tick"]
    study = world.create()
    there = object.__new__(StudyWorkflows)
    there.__dict__.update(
        _settings=settings,
        _store=world.store,
        _clock=world.clock,
        _families=world.families,
        _open_models=lambda: world,
        _running=set(),
        _lock=threading.Lock(),
    )
    status = there._run(study.id)
    assert status != "failed"
    (whole,) = [span for span in spans.get_finished_spans() if span.name == "study"]
    assert (whole.attributes["detent.study"], whole.attributes["detent.status"]) == (study.id, status)
    calls = [span for span in spans.get_finished_spans() if span.kind.name == "CLIENT"]
    assert len(calls) > 10
    assert all(span.attributes["gen_ai.operation.name"] == "chat" for span in calls)
    n = len(spans.get_finished_spans())
    TRACING.tracer = None
    worker._tick()
    assert len(spans.get_finished_spans()) == n


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load_settings("dev", tmp_path, tracing={"otlp_endpoint": "http://127.0.0.1:1/v1/traces"})
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    TRACING.start(settings, "api")
    assert TRACING.tracer is None
    (package,) = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]["tracing"]
    written = capsys.readouterr().out.replace("\n", " ") + caplog.text  # a test before may have set up the logs
    assert f"pip install {package}" in written


def test_the_receiver_of_another_project_takes_them_and_shows_them_as_they_lie_in_each_other(
    tmp_path: Path, new_mlflow: NewMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's: the one real receiver that the lock holds."""
    from fastapi import FastAPI
    from mlflow.server import handlers
    from mlflow.server.otel_api import otel_router

    monkeypatch.setattr(handlers, "_tracking_store", None)
    uri = new_mlflow(tmp_path / "mlflow.db")
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", uri)
    # The store makes itself the address of everything that this process traces: tests after this one have their own.
    monkeypatch.setattr(handlers.utils, "_tracking_uri", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", (tmp_path / "artifacts").as_uri())
    store = handlers._get_tracking_store()
    experiment = store.create_experiment("spans")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-mlflow-experiment-id={experiment}")
    receiver = FastAPI()
    receiver.include_router(otel_router)
    with serving(receiver, load_settings("dev", tmp_path)) as url:
        settings = load_settings("dev", tmp_path, tracing={"otlp_endpoint": f"{url}/v1/traces"})
        TRACING.start(settings, "worker")
        try:
            resource = TRACING.tracer.resource.attributes
            assert (resource["service.name"], resource["service.instance.id"]) == ("detent", "worker")
            with TRACING.span("study", study="st_1"), TRACING.span("tick"):
                pass
            assert TRACING.tracer.span_processor.force_flush()
        finally:
            TRACING.tracer = None
    (seen,), _ = store.search_traces(locations=[experiment])
    (trace,) = store.batch_get_traces([seen.trace_id])
    study, tick = sorted(trace.data.spans, key=lambda span: span.start_time_ns)
    assert (study.name, study.attributes["detent.study"], tick.name) == ("study", "st_1", "tick")
    assert tick.parent_id == study.span_id


def test_this_servers_own_receiver_takes_them_and_makes_no_span_of_that(
    spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    with in_process(make_plain_home(tmp_path)) as world, serving(world.app, world.settings) as url:
        with TRACING.span("tick"):
            pass
        sent = OTLPSpanExporter(f"{url}/v1/traces").export(spans.get_finished_spans())
        assert sent is SpanExportResult.SUCCESS
    assert [span.name for span in spans.get_finished_spans()] == ["tick"]
