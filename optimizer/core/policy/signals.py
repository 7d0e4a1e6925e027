"""Confidence in an answer, in [0, 1]: from the model's own log-probabilities, from the agreement of two samples, or from a learned predictor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from typing import Any, Literal, Protocol, get_args

from optimizer.core.errors import Fault
from optimizer.core.family import Output
from optimizer.core.language import ModelAnswer
from optimizer.core.policy.votes import likeness

SignalKind = Literal["log_probability", "agreement", "predictor"]
KINDS: tuple[SignalKind, ...] = get_args(SignalKind)
SAMPLE_TEMPERATURE = 0.7  # of the second sample, where the signal names none


class Predictor(Protocol):
    """A learned confidence; None where it has nothing to say about this model."""

    def before(self, model: str, input: Mapping[str, Any]) -> float | None: ...
    def after(self, model: str, input: Mapping[str, Any], answer: ModelAnswer, issues: tuple[str, ...]) -> float | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """``data`` is the knob without its kind: a predictor's weights, a sample's temperature."""

    kind: SignalKind = "log_probability"
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sample_temperature(self) -> float:
        return float(self.data.get("temperature", SAMPLE_TEMPERATURE))


def read_signal(value: Mapping[str, Any], faults: list[Fault]) -> Signal:
    """The knob ``confidence`` as a Signal; what is wrong goes to ``faults``."""
    kind = value.get("kind")
    data = {name: part for name, part in value.items() if name != "kind"}
    if kind not in KINDS:
        faults.append(Fault(pointer="/confidence/kind", detail=f"there is no confidence of kind {kind!r}; use {', '.join(KINDS)}"))
        return Signal()
    known = {"log_probability": (), "agreement": ("temperature",)}.get(kind)
    if known is not None:
        for name in sorted(set(data) - set(known)):
            faults.append(Fault(pointer=f"/confidence/{name}", detail=f"a confidence of kind {kind} has no {name!r}; leave it out"))
    temperature = data.get("temperature", SAMPLE_TEMPERATURE)
    if kind == "agreement" and not (isinstance(temperature, int | float) and not isinstance(temperature, bool) and 0 < temperature <= 2):
        detail = f"the second sample is drawn at a temperature above 0 and up to 2, not {temperature!r}"
        faults.append(Fault(pointer="/confidence/temperature", detail=detail))
    return Signal(kind=kind, data=data)


def confidence_of(
    signal: Signal,
    answer: ModelAnswer,
    *,
    model: str,
    input: Mapping[str, Any],
    output: Output,
    other: str | None = None,
    issues: tuple[str, ...] = (),
    predictor: Predictor | None = None,
) -> float | None:
    """None where it cannot be measured: no log-probabilities given, no second sample, no predictor for this model.

    Args:
        other: another answer's text, of the same model to the same request.
        issues: what the validator found in the answer.
    """
    if signal.kind == "log_probability":
        return None if answer.log_probability is None else min(1.0, exp(answer.log_probability))
    if signal.kind == "agreement":
        return None if other is None else likeness(output, answer.text, other)
    return None if predictor is None else predictor.after(model, input, answer, issues)
