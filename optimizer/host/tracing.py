"""Spans of OpenTelemetry, where a setting names who takes them. Else the SDK is not loaded, and each place of the
product that could write one looks at one attribute.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from optimizer.core.models.language import ModelAnswer, ModelRequest
    from optimizer.host.config import Settings

NEEDS_PACKAGE = (
    "spans need the package opentelemetry-exporter-otlp-proto-http, which is not installed; none are written. pip"
    " install opentelemetry-exporter-otlp-proto-http into the environment of detent, and restart"
)
TRACEPARENT = "traceparent"

log = structlog.get_logger(__name__)


class Tracing:
    """What spans are written by. ``tracer`` is None while there is none."""

    def __init__(self) -> None:
        self.tracer: Any = None
        self._with_prompts = False

    def start(self, settings: Settings, process: str) -> None:
        """Sends spans of this process where the settings say, in batches and beside everything else."""
        endpoint = settings.tracing.otlp_endpoint
        if endpoint is None:
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError:
            log.error(NEEDS_PACKAGE)
            return
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter(endpoint)  # headers are those of OTEL_EXPORTER_OTLP_HEADERS
        self.use(BatchSpanProcessor(exporter), process, with_prompts=settings.tracing.include_prompts)

    def use(self, processor: Any, process: str, *, with_prompts: bool = False) -> None:
        """Args: processor: of OpenTelemetry's SDK, which gets every span."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        resource = Resource.create({"service.name": "detent", "service.instance.id": process})
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(processor)
        self.tracer, self._with_prompts = provider.get_tracer("detent"), with_prompts

    def span(self, name: str, **attributes: Any) -> AbstractContextManager[Any]:
        """Around what this process does itself; ``attributes`` get the prefix ``detent.``."""
        if self.tracer is None:
            return nullcontext()
        return self._span(name, "INTERNAL", {f"detent.{key}": value for key, value in attributes.items()})

    def request(self, name: str, headers: Mapping[str, str], attributes: Mapping[str, Any]) -> Any:
        """Around a request, below the span that its sender names."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        return self._span(name, "SERVER", attributes, TraceContextTextMapPropagator().extract(headers))

    def traceparent(self) -> str | None:
        """The span that is under way, for another process; None where none is."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return carrier.get(TRACEPARENT)

    def model_call(self, request: ModelRequest) -> AbstractContextManager[Any]:
        """Around one attempt on the wire; ``answered`` says what came of it."""
        if self.tracer is None:
            return nullcontext()
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": request.model}
        for name in ("temperature", "max_tokens"):
            if request.params.get(name) is not None:
                attributes[f"gen_ai.request.{name}"] = request.params[name]
        if self._with_prompts:
            attributes["gen_ai.input.messages"] = json.dumps(_in_parts(request.messages), ensure_ascii=False)
        return self._span(f"chat {request.model}", "CLIENT", attributes)

    def answered(self, span: Any, answer: ModelAnswer) -> None:
        if span is None:
            return
        span.set_attribute("gen_ai.usage.input_tokens", answer.input_tokens)
        span.set_attribute("gen_ai.usage.output_tokens", answer.output_tokens)
        span.set_attribute("detent.cost_usd", answer.cost_usd)
        if self._with_prompts:
            message = [{"role": "assistant", "content": answer.text}]
            span.set_attribute("gen_ai.output.messages", json.dumps(_in_parts(message), ensure_ascii=False))

    @contextmanager
    def _span(self, name: str, kind: str, attributes: Mapping[str, Any], parent: Any = None) -> Iterator[Any]:
        """An error is told by its class alone: its words may be a user's."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        with self.tracer.start_as_current_span(
            name,
            context=parent,
            kind=SpanKind[kind],
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR))
                raise


def _in_parts(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages as the conventions of GenAI have them."""
    return [
        {"role": message.get("role"), "parts": [{"type": "text", "content": message.get("content")}]}
        for message in messages
    ]


TRACING = Tracing()
