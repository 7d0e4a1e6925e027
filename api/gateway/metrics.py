"""Counts of the gateway's own model calls, as Prometheus reads them; ``store_metrics.py`` has those of the store."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from types import SimpleNamespace
from typing import cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.registry import Collector

BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
CALL = ("family", "model")

# Else each counter and histogram has a series more, of the time when it began.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The counts of one process since it started, in a registry of their own. Thread-safe."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "llm_calls_total", "Calls sent to a model, retries and fallbacks included", CALL, registry=registry
        )
        self.tokens_input = Counter(
            "llm_call_tokens_input_total", "Tokens read by the model in calls that it answered", CALL, registry=registry
        )
        self.tokens_output = Counter(
            "llm_call_tokens_output_total",
            "Tokens written by the model in calls that it answered",
            CALL,
            registry=registry,
        )
        self.cost_dollars = Counter(
            "llm_call_cost_dollars_total",
            "Dollars of calls that were answered, where the price is known",
            CALL,
            registry=registry,
        )
        self.errors = Counter(
            "llm_call_errors_total",
            "Calls without a usable answer, by kind; paused and busy: the model was not asked",
            (*CALL, "kind"),
            registry=registry,
        )
        self.cached_answers = Counter(
            "llm_cached_answers_total", "Requests answered from the response cache", CALL, registry=registry
        )
        self.inputs_flagged = Counter(
            "llm_inputs_flagged_total",
            "Requests whose input has signs of prompt injection, by sign",
            ("family", "sign"),
            registry=registry,
        )
        self.active_requests = Gauge("llm_active_requests", "Calls on their way now", CALL, registry=registry)
        self.breaker_open = Gauge(
            "llm_breaker_open",
            "1 while a model is left alone after too many failures, 0.5 while it is tried out",
            ("model",),
            registry=registry,
        )
        self.request_duration = Histogram(
            "llm_call_duration_seconds",
            "Time of a call that was answered, to its last token",
            CALL,
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.time_to_first_token = Histogram(
            "llm_call_time_to_first_token_seconds",
            "Time to the first token of streamed calls",
            CALL,
            buckets=BUCKETS_S,
            registry=registry,
        )

    def text(self, of_store: Iterable[Metric] = ()) -> str:
        """Prometheus' exposition format 0.0.4, with what ``store_metrics.py`` reads beside it."""
        both = SimpleNamespace(collect=lambda: chain(self._registry.collect(), of_store))
        return generate_latest(cast(Collector, both)).decode()
