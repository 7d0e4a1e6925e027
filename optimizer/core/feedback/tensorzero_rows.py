"""Rows that TensorZero keeps of inferences and feedback, as events: what was asked, answered, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from optimizer.core.base.canonical import json_of  # columns of JSON are texts in most exports

_INFERENCE = {"function_name", "variant_name", "input"}
MESSAGE = "message"  # the input that a user's text is, beside arguments of the system


def is_tensorzero_row(row: Mapping[str, Any]) -> bool:
    return row.keys() >= _INFERENCE or {"target_id", "value"} <= row.keys() or {"inference_id", "value"} <= row.keys()


def directions_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Declared metric -> which direction the configuration calls better: ``max`` or ``min``."""
    metrics = config.get("metrics")
    declared = metrics.items() if isinstance(metrics, Mapping) else ()
    return {
        str(name): metric["optimize"]
        for name, metric in declared
        if isinstance(metric, Mapping) and metric.get("optimize") in ("max", "min")
    }


def event_of(
    row: Mapping[str, Any], family: str, inputs: list[str], output: str, directions: Mapping[str, str]
) -> tuple[dict[str, Any] | None, str]:
    """The event, or None and why the row gives none.

    Args:
        family: rows of inferences are taken where their function has its name.
        inputs, output: fields of the family.
        directions: of metrics; where small is better, the outcome is the distance from 1.
    """
    if row.get("function_name", family) != family:
        return None, f"of the function {row['function_name']!r}, and not {family!r}"
    if row.keys() >= _INFERENCE:
        return _interaction(row, inputs), ""
    id, value = str(row.get("id", "")), row["value"]
    if "inference_id" in row:
        answer = _text(value)
        expected = {output: answer} if answer else None
        outcome: dict[str, Any] = {"interaction": row["inference_id"], "expected": expected}
        why = "" if expected else "a demonstration without a text"
    else:
        metric = row.get("metric_name")
        outcome, why = {"interaction": row["target_id"], "tags": {"metric": metric}}, ""
        direction = directions.get(str(metric))
        if metric is None and not isinstance(value, bool | int | float):
            why = "a comment, which is no outcome"
        elif direction is None:
            why = (
                f"of the metric {metric!r:.60}, and whether more of it is better stands in TensorZero's configuration:"
                " name that with --metrics tensorzero.toml"
            )
        elif isinstance(value, bool) or value in ("true", "false"):
            outcome["success"] = (value in (True, "true")) == (direction == "max")
        elif isinstance(value, int | float) and 0 <= value <= 1:
            outcome["score"] = float(value) if direction == "max" else 1 - float(value)
        else:
            why = f"a value of {value!r:.40}, and a score is from 0 to 1"
        if direction == "min":
            outcome["tags"] = {"metric": metric, "optimize": "min"}
    event = {"id": id, **outcome, "occurred_at": row.get("timestamp")}
    return ({name: value for name, value in event.items() if value not in (None, "")}, "") if not why else (None, why)


def _interaction(row: Mapping[str, Any], inputs: list[str]) -> dict[str, Any]:
    input = json_of(row["input"])
    variables: dict[str, Any] = {}
    if isinstance(input, Mapping):
        system, messages = input.get("system"), input.get("messages")
        variables |= system if isinstance(system, Mapping) else {}
        turns = [turn for turn in messages if isinstance(turn, Mapping)] if isinstance(messages, list) else []
        users = [turn for turn in turns if turn.get("role") == "user"]
        content, texts = users[-1].get("content") if users else None, list[str]()
        for block in content if isinstance(content, list) else [content]:
            if isinstance(block, Mapping):
                arguments = block.get("arguments", block.get("value"))
                block = arguments if isinstance(arguments, Mapping) else block.get("text", arguments)
            if isinstance(block, Mapping):
                variables |= block
            elif isinstance(block, str):
                texts.append(block)
        if texts:
            variables[inputs[0] if len(inputs) == 1 else MESSAGE] = "\n".join(texts)
    event = {
        "id": row.get("id"),
        "unit": row.get("episode_id"),
        "input": variables,
        "output": _text(row.get("output")),
        "latency_ms": row.get("processing_time_ms"),
        "time_to_first_token_ms": row.get("ttft_ms"),
        "occurred_at": row.get("timestamp"),
        "tags": {"tensorzero_variant": row["variant_name"]},
    }
    return {name: value for name, value in event.items() if value is not None}


def _text(output: Any) -> str:
    """The text blocks of a chat, or the answer of a JSON function."""
    value = json_of(output)
    if isinstance(value, list):
        return "\n".join(str(block.get("text") or "") for block in value if isinstance(block, Mapping))
    if isinstance(value, Mapping):
        return str(value["raw"]) if value.get("raw") is not None else json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)
