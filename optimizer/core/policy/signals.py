"""Confidence in an answer, in [0, 1]: from the model's own log-probabilities, from the agreement of two samples,
or from a learned predictor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from typing import Any, Literal, get_args

from optimizer.core.base.errors import Fault
from optimizer.core.family.settings import Output
from optimizer.core.models.language import ModelAnswer
from optimizer.core.policy.votes import similarity
from optimizer.core.predictor.attach import AttachedPredictors, read_predicted

SignalKind = Literal["log_probability", "agreement", "predictor"]
KINDS: tuple[SignalKind, ...] = get_args(SignalKind)
SAMPLE_TEMPERATURE = 0.7  # of the second sample, where the signal names none


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """``sample_temperature`` is of the second sample (agreement), ``predicted`` holds what was learned (predictor)."""

    kind: SignalKind = "log_probability"
    sample_temperature: float = SAMPLE_TEMPERATURE
    predicted: AttachedPredictors = field(default_factory=AttachedPredictors)

    @property
    def needs_log_probabilities(self) -> bool:
        return self.kind == "log_probability" or (self.kind == "predictor" and self.predicted.reads_log_probabilities)


def read_signal(value: Mapping[str, Any], faults: list[Fault]) -> Signal:
    """The knob ``confidence`` as a Signal; what is wrong goes to ``faults``."""
    kind = value.get("kind")
    data = {name: part for name, part in value.items() if name != "kind"}
    if kind not in KINDS:
        faults.append(
            Fault(pointer="/confidence/kind", detail=f"there is no confidence of kind {kind!r}; use {', '.join(KINDS)}")
        )
        return Signal()
    known = {"log_probability": (), "agreement": ("temperature",)}.get(kind)
    if known is not None:
        for name in sorted(set(data) - set(known)):
            faults.append(
                Fault(
                    pointer=f"/confidence/{name}", detail=f"a confidence of kind {kind} has no {name!r}; leave it out"
                )
            )
    if kind == "predictor":
        return Signal(kind=kind, predicted=read_predicted(data, faults))
    temperature = data.get("temperature", SAMPLE_TEMPERATURE)
    if kind == "agreement" and not (
        isinstance(temperature, int | float) and not isinstance(temperature, bool) and 0 < temperature <= 2
    ):
        detail = f"the second sample is drawn at a temperature above 0 and up to 2, not {temperature!r}"
        faults.append(Fault(pointer="/confidence/temperature", detail=detail))
        return Signal(kind=kind)
    return Signal(kind=kind, sample_temperature=float(temperature) if kind == "agreement" else SAMPLE_TEMPERATURE)


def confidence_of(
    signal: Signal,
    answer: ModelAnswer,
    *,
    model: str,
    input: Mapping[str, Any],
    output: Output,
    other: str | None = None,
    issues: Mapping[str, bool] | None = None,
) -> float | None:
    """None where it cannot be measured: no log-probabilities given, no second sample, no predictor for this model.

    Args:
        other: another answer's text, of the same model to the same request.
        issues: what was looked for in the answer, for a predictor: True where it was found.
    """
    if signal.kind == "log_probability":
        return None if answer.log_probability is None else min(1.0, exp(answer.log_probability))
    if signal.kind == "agreement":
        return None if other is None else similarity(output, answer.text, other)
    return signal.predicted.confidence_after(model, input, answer, other=other, issues=issues or {})
