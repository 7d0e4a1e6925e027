"""What a gate or guardrail knows, as plain JSON values and back: a tick then reads only the blocks that are new.

The values come back exactly only if floats are written in full (``json.dumps``), not rounded as in a Variant's canonical form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from optimizer.core.statistics.drift import DriftDetector
from optimizer.core.statistics.guardrails import Guardrail
from optimizer.core.statistics.quality_gate import QualityGate

QUALITY_GATE: TypeAdapter[Any] = TypeAdapter(QualityGate)
GUARDRAIL: TypeAdapter[Any] = TypeAdapter(Guardrail)
DRIFT_DETECTOR: TypeAdapter[Any] = TypeAdapter(DriftDetector)


def as_record(state: QualityGate | Guardrail | DriftDetector) -> dict[str, Any]:
    adapter = QUALITY_GATE if isinstance(state, QualityGate) else GUARDRAIL if isinstance(state, Guardrail) else DRIFT_DETECTOR
    found: dict[str, Any] = adapter.dump_python(state, mode="json")
    return found


def quality_gate_from(record: Mapping[str, Any]) -> QualityGate:
    """The inverse of ``as_record``; raises pydantic's ValidationError where the record is damaged."""
    gate: QualityGate = QUALITY_GATE.validate_python(dict(record))
    return gate


def guardrail_from(record: Mapping[str, Any]) -> Guardrail:
    guardrail: Guardrail = GUARDRAIL.validate_python(dict(record))
    return guardrail


def drift_detector_from(record: Mapping[str, Any]) -> DriftDetector:
    detector: DriftDetector = DRIFT_DETECTOR.validate_python(dict(record))
    return detector
