"""Rows that TensorZero exported are imported as interactions, outcomes and corrections."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from optimizer.core.feedback.tensorzero_rows import event_of, is_tensorzero_row
from tests.command_line import detent
from tests.worlds.api_world import make_home

ASKED = {"messages": [{"role": "user", "content": [{"type": "text", "text": "My card"}]}]}
ROW: Mapping[str, Any] = {
    **{"id": "0196-1", "function_name": "triage", "variant_name": "base", "episode_id": "ep-1"},
    **{"input": json.dumps(ASKED), "output": json.dumps([{"type": "text", "text": "billing"}])},
    "processing_time_ms": 210,
}
OF_EFFORT = {"metric": "effort", "optimize": "min"}
DIRECTIONS = {"solved": "max", "stars": "max", "effort": "min"}
CONFIG = """
[metrics.solved]
type = "boolean"
optimize = "max"
level = "inference"

[metrics.effort]
type = "float"
optimize = "min"
level = "episode"
"""


def test_an_inference_is_an_interaction_of_its_episode() -> None:
    assert event_of(ROW, "triage", ["text"], "topic", {})[0] == {
        "id": "0196-1",
        "unit": "ep-1",
        "input": {"text": "My card"},
        "output": "billing",
        "latency_ms": 210,
        "tags": {"tensorzero_variant": "base"},
    }
    assert event_of(ROW, "other", ["text"], "topic", {}) == (None, "of the function 'triage', and not 'other'")


def test_blocks_of_text_are_one_text() -> None:
    content = [{"type": "text", "text": "My card"}, {"type": "text", "text": "is lost"}]
    event, _ = event_of(
        {**ROW, "input": {"messages": [{"role": "user", "content": content}]}}, "triage", ["text"], "", {}
    )
    assert event["input"] == {"text": "My card\nis lost"}


def test_feedback_that_names_its_function_is_feedback() -> None:
    row = {"function_name": "triage", "inference_id": "i", "value": "x"}
    assert is_tensorzero_row(row)
    assert event_of(row, "triage", ["text"], "topic", {}) == ({"interaction": "i", "expected": {"topic": "x"}}, "")
    assert event_of(row, "other", ["text"], "topic", {}) == (None, "of the function 'triage', and not 'other'")


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "arguments": {"text": "a", "style": "b"}}],
        [{"type": "text", "value": {"text": "a", "style": "b"}}],
        [{"type": "template", "name": "user", "arguments": {"text": "a", "style": "b"}}],
    ],
)
def test_arguments_are_variables_in_every_spelling(content: Any) -> None:
    asked = {"system": {"shop": "c"}, "messages": [{"role": "user", "content": content}]}
    event, _ = event_of({**ROW, "input": asked}, "triage", ["text", "style", "shop"], "topic", {})
    assert event["input"] == {"text": "a", "style": "b", "shop": "c"}


@pytest.mark.parametrize("asked", [3, "{", {"messages": 3}, {"messages": [3]}, {"messages": [{"role": "user"}]}, None])
def test_an_input_of_another_form_has_no_variables(asked: Any) -> None:
    event, _ = event_of({**ROW, "input": asked}, "triage", ["text"], "topic", {})
    assert event["input"] == {}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"target_id": "i", "metric_name": "solved", "value": True}, {"success": True}),
        ({"target_id": "i", "metric_name": "solved", "value": False}, {"success": False}),
        ({"target_id": "i", "metric_name": "solved", "value": "true"}, {"success": True}),
        ({"target_id": "i", "metric_name": "stars", "value": 0.0}, {"score": 0.0}),
        ({"target_id": "i", "metric_name": "effort", "value": 0.25}, {"score": 0.75, "tags": OF_EFFORT}),
        ({"target_id": "i", "metric_name": "effort", "value": True}, {"success": False, "tags": OF_EFFORT}),
        ({"target_id": "i", "metric_name": "effort", "value": "false"}, {"success": True, "tags": OF_EFFORT}),
        ({"target_id": "i", "metric_name": "effort", "value": 2}, "a score is from 0 to 1"),
        ({"target_id": "i", "metric_name": "other", "value": 0.5}, "the metric 'other'"),
        ({"target_id": "i", "metric_name": "other", "value": True}, "--metrics tensorzero.toml"),
        ({"inference_id": "i", "value": '[{"type":"text","text":"billing"}]'}, {"expected": {"topic": "billing"}}),
        ({"inference_id": "i", "value": '{"raw": "billing"}'}, {"expected": {"topic": "billing"}}),
        ({"target_id": "i", "metric_name": "stars", "value": 4.5}, "a score is from 0 to 1"),
        ({"target_id": "i", "target_type": "inference", "value": "nice"}, "a comment"),
    ],
)
def test_a_metric_is_an_outcome_and_a_demonstration_a_correction(row: Mapping[str, Any], said: Any) -> None:
    assert is_tensorzero_row(row)
    event, why = event_of({"id": "f", **row}, "triage", ["text"], "topic", DIRECTIONS)
    if isinstance(said, str):
        assert (event, said in why) == (None, True)
    else:
        assert event["interaction"] == "i"
        assert {name: event[name] for name in said} == said


def test_exported_files_are_imported_and_what_cannot_be_taken_is_named(tmp_path: Path) -> None:
    make_home(tmp_path)
    env = {"DETENT_HOME": str(tmp_path), "COLUMNS": "200"}
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, [ROW, {**ROW, "id": "x", "function_name": "other"}])))
    ran = detent("import", str(file), "--family", "triage", "--json", env=env)
    assert ran.code == 0, ran.err
    assert (ran.json["accepted"], [each["detail"] for each in ran.json["rejected"]]) == (
        1,
        ["of the function 'other', and not 'triage'"],
    )
    outcomes = [
        {"id": "f1", "target_id": "0196-1", "metric_name": "solved", "value": True},
        {"id": "f2", "inference_id": "0196-1", "value": '[{"type":"text","text":"technical"}]'},
        {"id": "f3", "target_id": "0196-1", "metric_name": "effort", "value": 0.25},
    ]
    file.write_text("\n".join(map(json.dumps, outcomes)))
    ran = detent("import", str(file), "--family", "triage", "--json", env=env)
    assert [rejected["where"] for rejected in ran.json["rejected"]] == ["line 1", "line 3"]
    config = tmp_path / "tensorzero.toml"
    config.write_text(CONFIG)
    ran = detent("import", str(file), "--family", "triage", "--metrics", str(config), "--json", env=env)
    assert (ran.json["accepted"], ran.json["duplicates"], ran.json["rejected"]) == (2, 1, []), ran.err
    config.write_text("[metrics")
    refused = detent("import", str(file), "--family", "triage", "--metrics", str(config), env=env)
    assert (refused.code, "tensorzero.toml cannot be read" in " ".join(refused.err.split())) == (2, True)
