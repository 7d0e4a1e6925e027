"""Traces of MLflow that link a prompt are imported as interactions, outcomes and corrections."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.prompt_sources.mlflow import read_traces
from optimizer.core.base.errors import InvalidInput
from optimizer.core.feedback.mlflow_traces import events_of_trace, is_mlflow_trace
from tests.children import exit_code
from tests.command_line import detent
from tests.worlds.api_world import make_home

LINKED = json.dumps([{"name": "triage-prompt", "version": "1"}])


# An application, in a process of its own: MLflow keeps where it sends to for all of one.
TRACED = """
import sys
import mlflow

mlflow.set_experiment("support")

@mlflow.trace
def answer(text):
    mlflow.update_current_trace(tags={"mlflow.linkedPrompts": sys.argv[1]}, metadata={"mlflow.trace.user": "anna"})
    return "billing"

answer("My card")
mlflow.flush_trace_async_logging()
id = mlflow.get_last_active_trace_id()
mlflow.log_feedback(trace_id=id, name="good", value=True)
print(id)
"""


def trace(asked: Any = None, answered: Any = "billing", **info: Any) -> dict[str, Any]:
    """As MLflow 3 writes one: attributes, tags and metadata are texts of JSON."""
    inputs = {"mlflow.spanInputs": json.dumps({"text": "My card"} if asked is None else asked)}
    attributes = {**inputs, "mlflow.spanOutputs": json.dumps(answered)}
    span = {"parent_span_id": None, "status": {"code": "STATUS_CODE_OK", "message": ""}, "attributes": attributes}
    model = {"parent_span_id": "w9e", "attributes": {"mlflow.llm.model": '"gpt-4o-mini"'}}
    usual = {
        "trace_id": "tr-1",
        "request_time": "2026-11-20T09:00:00.542Z",
        "execution_duration_ms": 1858,
        "state": "OK",
        "trace_metadata": {
            "mlflow.trace.user": "anna",
            "mlflow.trace.session": "s-1",
            "mlflow.trace.tokenUsage": '{"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}',
            "mlflow.trace.cost": '{"total_cost": 0.002}',
        },
        "tags": {"mlflow.linkedPrompts": LINKED},
    }
    return {"info": {**usual, **info}, "data": {"spans": [model, span]}}


def assessment(name: str, **said: Any) -> dict[str, Any]:
    source = said.pop("by", "HUMAN")
    return {"assessment_id": f"a-{name}", "assessment_name": name, "source": {"source_type": source}, **said}


def events(of: Mapping[str, Any], inputs: list[str] | None = None) -> list[Any]:
    return [event or why for event, why in events_of_trace(of, {"triage-prompt"}, inputs or ["text"], "topic")]


def test_a_trace_is_an_interaction_of_its_user() -> None:
    assert is_mlflow_trace(trace())
    assert events(trace()) == [
        {
            "id": "tr-1",
            "unit": "anna",
            "conversation": "s-1",
            "input": {"text": "My card"},
            "output": "billing",
            "model": "gpt-4o-mini",
            "latency_ms": 1858,
            "input_tokens": 12,
            "output_tokens": 3,
            "cost_usd": 0.002,
            "occurred_at": "2026-11-20T09:00:00.542Z",
        }
    ]


def test_a_trace_of_another_prompt_is_named() -> None:
    assert events(trace(tags={})) == ["it links no prompt, and not triage-prompt"]
    other = {"mlflow.linkedPrompts": json.dumps([{"name": "other", "version": "2"}])}
    assert events(trace(tags=other)) == ["it links other, and not triage-prompt"]


@pytest.mark.parametrize(
    ("asked", "inputs", "input"),
    [
        ({"text": "a", "k": 3}, ["text"], {"text": "a"}),
        ({"text": "a", "style": "b", "k": 3}, ["text", "style"], {"text": "a", "style": "b"}),
        ({"message": "a"}, ["text"], {"text": "a"}),
        ("a", ["text"], {"text": "a"}),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}, ["text"], {"text": "b"}),
        ({"x": "a", "y": "b"}, ["text"], {}),
        ({"messages": 3}, ["text"], {}),
        (3, ["text", "style"], {}),
    ],
)
def test_arguments_are_the_input(asked: Any, inputs: list[str], input: dict[str, Any]) -> None:
    assert events(trace(asked), inputs)[0]["input"] == input


@pytest.mark.parametrize(
    ("answered", "output"),
    [
        ({"topic": "billing", "k": 1}, "billing"),
        ({"choices": [{"message": {"content": "billing"}}]}, "billing"),
        ({"k": 1}, '{"k": 1}'),
        (None, None),
    ],
)
def test_what_was_answered_is_read_in_the_usual_forms(answered: Any, output: str | None) -> None:
    assert events(trace(answered=answered))[0].get("output") == output


def test_an_error_is_one() -> None:
    assert events(trace(state="ERROR"))[0]["error"] == "its state is ERROR"


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (assessment("good", feedback={"value": True}), {"success": True, "source": "person"}),
        (assessment("good", feedback={"value": "no"}, by="LLM_JUDGE"), {"success": False, "source": "system"}),
        (assessment("stars", feedback={"value": 0.5}, by="CODE"), {"score": 0.5, "source": "system"}),
        (assessment("expected_response", expectation={"value": "technical"}), {"expected": {"topic": "technical"}}),
        (
            assessment("topic", expectation={"serialized_value": {"value": '"technical"'}}),
            {"expected": {"topic": "technical"}},
        ),
        (assessment("stars", feedback={"value": 4}), "a score is from 0 to 1"),
        (assessment("facts", expectation={"value": "x"}), "the expectation 'facts'"),
    ],
)
def test_an_assessment_is_an_outcome_and_an_expectation_a_correction(said: dict[str, Any], outcome: Any) -> None:
    _, event = events(trace(assessments=[said]))
    if isinstance(outcome, str):
        assert outcome in event
    else:
        assert (event["id"], event["interaction"]) == (said["assessment_id"], "tr-1")
        assert {name: event[name] for name in outcome} == outcome


def test_an_assessment_that_was_overwritten_is_none() -> None:
    old = assessment("good", feedback={"value": True}, valid=False)
    assert len(events(trace(assessments=[old]))) == 1


def trace_one(told: Path) -> None:
    """As an application does it, in a process of its own."""
    sys.argv = ["application", LINKED]
    os.chdir(told.parent)  # MLflow keeps artifacts beside where it is started
    with told.open("w") as file, redirect_stdout(file):
        exec(TRACED, {"__name__": "application"})


def test_an_experiment_s_traces_and_a_file_of_them_are_imported(new_mlflow, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_mlflow(tmp_path / "mlflow.db"))
    assert exit_code(trace_one, tmp_path / "id") == 0
    id = (tmp_path / "id").read_text().split()[-1]
    monkeypatch.setattr("optimizer.adapters.prompt_sources.mlflow.TRACES_AT_ONCE", 1)
    ((where, read, _),) = read_traces("support")
    assert (where, read["info"]["trace_id"]) == (f"trace {id}", id)
    with pytest.raises(InvalidInput, match="no experiment 'none'"):
        list(read_traces("none"))
    make_home(tmp_path / "home")
    env = {"DETENT_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
    words = ("--family", "triage", "--prompt", "triage-prompt", "--json")
    ran = detent("import", "mlflow:support", *words, env=env)
    assert (ran.json["accepted"], ran.json["rejected"]) == (2, []), ran.err
    file = tmp_path / "traces.jsonl"
    file.write_text(json.dumps(read) + "\n" + json.dumps(trace(tags={})))
    again = detent("import", str(file), *words, env=env)
    assert (again.json["duplicates"], [each["where"] for each in again.json["rejected"]]) == (2, ["line 2"]), again.err
