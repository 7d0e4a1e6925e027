"""Traces that MLflow stores, as events: those that link a prompt, with input, answer and assessments."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from optimizer.core.base.canonical import (
    json_of,  # attributes, tags and metadata are texts of JSON
    table_of,
)

LINKED = "mlflow.linkedPrompts"
# The source: code and models of MLflow's count as "system", since only Detent's judges have an identity.
SOURCES = {"HUMAN": "person", "LLM_JUDGE": "system", "CODE": "system"}


def is_mlflow_trace(row: Mapping[str, Any]) -> bool:
    info, data = row.get("info"), row.get("data")
    return isinstance(info, Mapping) and "trace_id" in info and isinstance(data, Mapping) and "spans" in data


def events_of_trace(
    trace: Mapping[str, Any], prompts: Collection[str], inputs: list[str], output: str
) -> Iterator[tuple[dict[str, Any] | None, str]]:
    """Each event, or None and why a part of the trace gives none.

    Args:
        prompts: traces are taken where they link one of these.
        inputs, output: fields of the family.
    """
    tag = json_of(table_of(trace["info"].get("tags")).get(LINKED))
    linked = {str(prompt.get("name")) for prompt in _mappings(tag)}
    if linked.isdisjoint(prompts):
        names = ", ".join(sorted(linked)) or "no prompt"
        yield None, f"it links {names}, and not {' or '.join(sorted(prompts))}"
        return
    info = trace["info"]
    id, metadata = str(info["trace_id"]), table_of(info.get("trace_metadata"))
    spans = list(_mappings(trace["data"].get("spans")))
    root = next((span for span in spans if not span.get("parent_span_id")), {})
    tokens, cost = (table_of(json_of(metadata.get(name))) for name in ("mlflow.trace.tokenUsage", "mlflow.trace.cost"))
    message = json_of(table_of(root.get("status")).get("message"))
    event = {
        "id": id,
        "unit": metadata.get("mlflow.trace.user") or metadata.get("mlflow.trace.session") or id,
        "conversation": metadata.get("mlflow.trace.session"),
        "input": input_of(json_of(table_of(root.get("attributes")).get("mlflow.spanInputs")), inputs),
        "output": answer_of(json_of(table_of(root.get("attributes")).get("mlflow.spanOutputs")), output),
        "model": next((model for span in spans if (model := _model(span))), None),
        "latency_ms": info.get("execution_duration_ms"),
        "input_tokens": tokens.get("input_tokens"),
        "output_tokens": tokens.get("output_tokens"),
        "cost_usd": cost.get("total_cost"),
        "error": (str(message) if message else "its state is ERROR") if info.get("state") == "ERROR" else None,
        "occurred_at": info.get("request_time"),
    }
    yield {name: value for name, value in event.items() if value not in (None, "")}, ""
    for assessment in _mappings(info.get("assessments")):
        if assessment.get("valid") is not False:  # one that was overwritten is kept beside the one that holds
            yield _outcome(assessment, id, output)


def input_of(arguments: Any, inputs: list[str]) -> dict[str, Any]:
    """The family's inputs among the arguments.

    In a family with one input it is the only text there, or the last that a user sent.
    """
    values = table_of(arguments)
    if variables := {name: values[name] for name in inputs if name in values}:
        return variables
    users = [message for message in _mappings(values.get("messages")) if message.get("role") == "user"]
    texts = [arguments, *(message.get("content") for message in users[-1:])] if users else [arguments, *values.values()]
    alone = [text for text in texts if isinstance(text, str)]
    return {inputs[0]: alone[0]} if len(inputs) == len(alone) == 1 else {}


def answer_of(answered: Any, output: str) -> str:
    values = table_of(answered)
    message = next((table_of(choice.get("message")) for choice in _mappings(values.get("choices"))), {})
    value = values.get(output, message.get("content", answered))
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _outcome(assessment: Mapping[str, Any], trace: str, output: str) -> tuple[dict[str, Any] | None, str]:
    name = str(assessment.get("assessment_name"))
    event: dict[str, Any] = {
        "id": assessment.get("assessment_id"),
        "interaction": trace,
        "source": SOURCES.get(str(table_of(assessment.get("source")).get("source_type")), "system"),
        "tags": {"assessment": name},
        "occurred_at": assessment.get("create_time"),
    }
    if expected := table_of(assessment.get("expectation")):
        value = expected.get("value", json_of(table_of(expected.get("serialized_value")).get("value")))
        if name not in (output, "expected_response") or value is None:
            return None, f"the expectation {name!r:.60}: one named {output} or expected_response is a correction"
        event["expected"] = {output: value}
    else:
        value = table_of(assessment.get("feedback")).get("value")
        if isinstance(value, bool) or value in ("yes", "no"):  # as MLflow's own judges answer
            event["success"] = value in (True, "yes")
        elif isinstance(value, int | float) and 0 <= value <= 1:
            event["score"] = float(value)
        else:
            return None, f"the assessment {name!r:.60} has a value of {value!r:.40}, and a score is from 0 to 1"
    return {key: value for key, value in event.items() if value is not None}, ""


def _model(span: Mapping[str, Any]) -> str | None:
    model = json_of(table_of(span.get("attributes")).get("mlflow.llm.model"))
    return model if isinstance(model, str) else None


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else iter(())
