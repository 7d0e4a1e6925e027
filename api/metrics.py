"""Counters of model calls in Prometheus' text format. Thread-safe; plain numbers, no library."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping

BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)

COUNTERS: Mapping[str, str] = {
    "llm_requests_total": "Calls sent to a model, retries and fallbacks included",
    "llm_tokens_input_total": "Tokens read by the model in calls that it answered",
    "llm_tokens_output_total": "Tokens written by the model in calls that it answered",
    "llm_cost_dollars_total": "Dollars of calls that were answered, where the price is known",
    "llm_errors_total": "Calls without a usable answer, by kind; paused and busy: the model was not asked",
    "llm_cached_answers_total": "Requests answered from the response cache",
    "llm_inputs_flagged_total": "Requests whose input has signs of prompt injection, by sign",
}
GAUGES: Mapping[str, str] = {
    "llm_active_requests": "Calls on their way now",
    "llm_breaker_open": "1 while a model is left alone after too many failures, 0.5 while it is tried out",
}
HISTOGRAMS: Mapping[str, str] = {
    "llm_request_duration_seconds": "Time of a call that was answered, to its last token",
    "llm_time_to_first_token_seconds": "Time to the first token of streamed calls",
}
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """One process's counts since it started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, Labels], float] = {}
        self._buckets: dict[tuple[str, Labels], list[int]] = {}
        self._sums: dict[tuple[str, Labels], float] = {}

    def add(self, name: str, labels: Mapping[str, str], amount: float = 1.0) -> None:
        """Counts up, or changes a gauge by an amount."""
        key = (name, tuple(sorted(labels.items())))
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + amount

    def put(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Sets a gauge."""
        with self._lock:
            self._values[name, tuple(sorted(labels.items()))] = value

    def observe(self, name: str, labels: Mapping[str, str], seconds: float) -> None:
        key = (name, tuple(sorted(labels.items())))
        with self._lock:
            counts = self._buckets.setdefault(key, [0] * (len(BUCKETS_S) + 1))
            counts[bisect_left(BUCKETS_S, seconds)] += 1
            self._sums[key] = self._sums.get(key, 0.0) + seconds

    def text(self) -> str:
        """Prometheus' exposition format 0.0.4."""
        with self._lock:
            values, sums = dict(self._values), dict(self._sums)
            buckets = {key: list(counts) for key, counts in self._buckets.items()}
        lines: list[str] = []
        for kind, group in (("counter", COUNTERS), ("gauge", GAUGES)):
            for name, meaning in group.items():
                lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
                lines += [f"{name}{_labels(labels)} {value:.12g}" for (n, labels), value in sorted(values.items()) if n == name]
        for name, meaning in HISTOGRAMS.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} histogram"]
            for (n, labels), counts in sorted(buckets.items()):
                if n == name:
                    lines += _histogram(name, labels, counts, sums[n, labels])
        return "\n".join(lines) + "\n"


def _histogram(name: str, labels: Labels, counts: list[int], total: float) -> list[str]:
    lines, below = [], 0
    for edge, count in zip((*BUCKETS_S, float("inf")), counts, strict=True):
        below += count
        le = "+Inf" if edge == float("inf") else f"{edge:g}"
        lines.append(f"{name}_bucket{_labels((*labels, ('le', le)))} {below}")
    return [*lines, f"{name}_sum{_labels(labels)} {total:.12g}", f"{name}_count{_labels(labels)} {below}"]


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
