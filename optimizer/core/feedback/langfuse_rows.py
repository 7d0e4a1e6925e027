"""Observations and scores of Langfuse's API (v2 and v3) as events: generations that link a prompt, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.base.canonical import json_of, table_of
from optimizer.core.feedback.mlflow_traces import answer_of, input_of

ASSIGNMENT = "detent.assignment"  # member of an observation's metadata: the token that came with the prompt
# The source: Langfuse's evaluators count as "system", since only Detent's judges have an identity.
SOURCES = {"ANNOTATION": "person", "API": "user", "EVAL": "system"}


def event_of_generation(observation: Mapping[str, Any], inputs: list[str], output: str) -> dict[str, Any]:
    """``inputs``, ``output``: fields of the family. Inputs of their names in the metadata come before the messages."""
    metadata, usage = table_of(json_of(observation.get("metadata"))), table_of(observation.get("usageDetails"))
    token = metadata.get(ASSIGNMENT)
    is_error = observation.get("level") == "ERROR"
    sent, received = json_of(observation.get("input")), json_of(observation.get("output"))
    if isinstance(sent, list):  # messages alone, as its integrations keep them
        sent = {"messages": sent}
    if "role" in table_of(received):
        received = {"choices": [{"message": received}]}
    event = {
        "id": observation.get("id"),
        "conversation": observation.get("sessionId"),
        "input": {name: json_of(metadata[name]) for name in inputs if name in metadata} or input_of(sent, inputs),
        "output": answer_of(received, output),
        "model": observation.get("providedModelName"),
        "latency_ms": _ms(observation.get("latency")),
        "time_to_first_token_ms": _ms(observation.get("timeToFirstToken")),
        "input_tokens": usage.get("input"),
        "output_tokens": usage.get("output"),
        "cost_usd": observation.get("totalCost"),
        "error": (observation.get("statusMessage") or "its level is ERROR") if is_error else None,
        "occurred_at": observation.get("startTime"),
    }
    if isinstance(token, str) and token.count(".") == 1:  # as the server signs them
        event["assignment"] = token
    else:
        event["unit"] = observation.get("userId") or observation.get("sessionId") or observation.get("traceId")
    return {name: value for name, value in event.items() if value not in (None, "", {})}


def event_of_score(
    score: Mapping[str, Any], interactions: Mapping[str, str], output: str
) -> tuple[dict[str, Any] | None, str]:
    """The outcome, or None and why the score gives none.

    ``interactions``: by the ids of observations and of traces.
    """
    subject, value, kind = table_of(score.get("subject")), score.get("value"), score.get("dataType")
    name = f"the score {str(score.get('name'))!r:.60}"
    interaction = interactions.get(str(subject.get("id")))
    if interaction is None:
        return None, f"{name} is of a {subject.get('kind')} that was not taken"
    event: dict[str, Any] = {
        "id": score.get("id"),
        "interaction": interaction,
        "source": SOURCES.get(str(score.get("source")), "system"),
        "tags": {"score": str(score.get("name"))},
        "occurred_at": score.get("timestamp"),
    }
    if kind == "CORRECTION" and isinstance(value, str) and value:
        corrected = json_of(value)
        event["expected"] = {output: corrected if isinstance(corrected, dict | list) else value}
    elif kind == "BOOLEAN" and value in (True, False):
        event["success"] = bool(value)
    elif kind == "NUMERIC" and isinstance(value, int | float) and 0 <= value <= 1:
        event["score"] = float(value)
    elif kind == "CATEGORICAL" and isinstance(value, str) and value:
        event["label"] = value
    else:
        return None, f"{name} ({kind}) has a value of {value!r:.40}, and a score is from 0 to 1"
    return event, ""


def _ms(seconds: Any) -> float | None:
    return seconds * 1000 if isinstance(seconds, int | float) else None
