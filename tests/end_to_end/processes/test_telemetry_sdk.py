"""OpenTelemetry's own SDK exports over the network what its instrumentation of the OpenAI SDK saw of real requests.

No instrumentation speaks both generations: `make test-adapters` runs this beside one of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from time import time_ns
from typing import Any

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs opentelemetry-exporter-otlp-proto-http")
pytest.importorskip("opentelemetry.instrumentation.openai_v2", reason="needs opentelemetry-instrumentation-openai-v2")

from openai import APIStatusError, OpenAI
from opentelemetry import baggage, context
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation._semconv import _OpenTelemetrySemanticConventionStability
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from api.app import create_app
from tests.stand_ins.local_server import local_server
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.gateway_world import serving as on_a_socket

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "send-opentelemetry.md"


class Provider(BaseHTTPRequestHandler):
    """Answers chats in OpenAI's form; one about nothing with an error."""

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fails = not sent["messages"][-1]["content"]
        message = {"role": "assistant", "content": "billing"}
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010},
        }
        body = json.dumps({"error": {"message": "empty"}} if fails else answer).encode()
        self.send_response(400 if fails else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, World]]:
    settings = make_home(tmp_path_factory.mktemp("telemetry"))
    with serving(settings) as world, on_a_socket(create_app(settings), settings) as url:
        yield url, world


def processor_of_the_page() -> Any:
    """The page's own lines, which put what an application says of a request onto its spans."""
    code = HOW_TO.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, str(HOW_TO), "exec"), names)
    return names["AssignmentOnSpans"]()


@pytest.mark.parametrize("generation", ["first", "second"])
def test_an_instrumented_call_of_the_openai_sdk_is_an_interaction_with_its_outcome(
    home: tuple[str, World], monkeypatch: pytest.MonkeyPatch, generation: str
) -> None:
    url, world = home
    monkeypatch.setattr(_OpenTelemetrySemanticConventionStability, "_initialized", False)  # it reads its variable once
    if generation == "second":
        monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    else:
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
    spans, records = TracerProvider(), LoggerProvider()
    spans.add_span_processor(processor_of_the_page())
    spans.add_span_processor(
        SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces", compression=Compression.Gzip))
    )
    records.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(endpoint=f"{url}/v1/logs")))
    seen: list[Any] = []
    spans.add_span_processor(SimpleSpanProcessor(_Kept(seen)))
    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=spans, logger_provider=records)
    served = world.get("/v1/families/triage/prompt", headers={"X-Detent-Unit": "u1"}).json()
    token = context.attach(baggage.set_baggage("detent.assignment", served["assignment"]))
    try:
        with local_server(Provider) as provider:
            openai = OpenAI(base_url=f"{provider}/v1", api_key="x", max_retries=0)
            for text in ("I was charged twice.", ""):
                try:
                    openai.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": text}])
                except APIStatusError:
                    assert text == ""
    finally:
        context.detach(token)
        instrumentor.uninstrument()
    good, failed = (f"{one.context.trace_id:032x}-{one.context.span_id:016x}" for one in seen)
    kept = world.get(f"/v1/interactions/{good}").json()
    assert (kept["variant"], kept["model"], kept["input_tokens"]) == (served["variant"], "gpt-4o-mini-2024-07-18", 1000)
    assert kept["cost_usd"] == pytest.approx(0.000156)
    assert kept["latency_ms"] > 0
    # The first has them in log records.
    assert kept["input"] == {"messages": [{"role": "user", "content": "I was charged twice."}]}
    assert kept["output"] == "billing"
    assert "BadRequestError" in world.get(f"/v1/interactions/{failed}").json()["error"]
    records.get_logger("evaluator").emit(
        LogRecord(
            timestamp=time_ns(),
            event_name="gen_ai.evaluation.result",
            attributes={"gen_ai.evaluation.name": "Relevance", "gen_ai.evaluation.score.value": 0.8},
            context=_context_of(seen[0]),
        )
    )
    [outcome] = world.get(f"/v1/interactions/{good}").json()["feedback"]
    assert (outcome["score"], outcome["source"]) == (0.8, "judge")  # without keys this machine may say all


class _Kept:
    def __init__(self, seen: list[Any]) -> None:
        self._seen = seen

    def export(self, spans: Any) -> None:
        self._seen += spans

    def shutdown(self) -> None:
        pass


def _context_of(span: Any) -> Any:
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return set_span_in_context(NonRecordingSpan(span.context))
