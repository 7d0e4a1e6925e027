"""The pipeline's own configuration files: read, refused with their places, and written back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimizer.content.adapters.content_files import read_folder, write_optimal_config
from optimizer.content.core.policy.files import PipelineFiles, read_files, write_optimal
from optimizer.content.core.policy.presets import PRESETS
from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.feedback.pipeline_record import TARGETS, Target
from tests.rows.content_records import GOOD, decide

AS_FOUND = {
    "quality_filtering.yaml": """\
thresholds:
  min_overall: 0.65  # adjust later
  min_coherence: 0.60
  min_completeness: 0.60
  min_informativeness: 0.55
""",
    "content_routing.yaml": """\
content_types:
  discussion: {priority: high, processing_mode: full, keywords: [talk, debate]}
  entertainment: {priority: low, processing_mode: lightweight}
custom_types:
  podcast: {priority: medium, processing_mode: quality_check}
default_routing: {default_mode: quality_check}
""",
    "early_exit.yaml": """\
enabled: true
global:
  min_exit_confidence: 0.80
  log_exit_decisions: true
checkpoints:
  post_download:
    priority: 1
    min_confidence: 0.85
    conditions:
      - "duration_seconds < 60"
  post_initial_analysis:
    exit_conditions:
      - {name: unsure, enabled: false, condition: "analysis_confidence < 0.40", confidence: 0.70, reason: "unsure"}
    on_exit: {create_summary: true}
content_type_overrides:
  discussion:
    checkpoints: {post_download: {enabled: false}}
  entertainment:
    global: {min_exit_confidence: 0.70}
fallback: {on_error: continue}
""",
    "monitoring.yaml": """\
bypass_rate: {target: 0.60, warning_low: 0.50, critical_low: 0.40, warning_high: 0.80}
quality_score_avg: {target: 0.75, warning_low: 0.70, critical_low: 0.65}
data_retention: {hours: 48}
""",
}


def folder(tmp_path: Path, **changed: str) -> Path:
    texts = AS_FOUND | {name.replace("__", "."): text for name, text in changed.items()}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def refused(tmp_path: Path, **changed: str) -> dict[tuple[str, int | None, str], str]:
    with pytest.raises(InvalidInput) as error:
        read_folder(folder(tmp_path, **changed))
    return {(f.file or "", f.line, f.pointer): f.detail for f in error.value.faults}


def test_the_files_become_one_flat_policy(tmp_path: Path) -> None:
    content = read_folder(folder(tmp_path))
    assert content.policy == {
        "filter.min_overall": 0.65,
        "filter.min_coherence": 0.60,
        "filter.min_completeness": 0.60,
        "filter.min_informativeness": 0.55,
        "route.discussion": "full",
        "route.discussion.priority": "high",
        "route.entertainment": "lightweight",
        "route.entertainment.priority": "low",
        "route.podcast": "quality_check",
        "route.podcast.priority": "medium",
        "route.default": "quality_check",
        "exit.enabled": True,
        "exit.min_confidence": 0.80,
        "exit.post_download.min_confidence": 0.85,
        "exit.post_download.conditions": ["duration_seconds < 60"],
        "exit.post_analysis.conditions": [
            {"name": "unsure", "enabled": False, "condition": "analysis_confidence < 0.40"}
            | {"confidence": 0.70, "reason": "unsure"}
        ],
        "exit.post_download.enabled.discussion": False,
        "exit.min_confidence.entertainment": 0.70,
    }
    assert content.monitoring["bypass_rate"] == TARGETS["bypass_rate"]
    assert decide(content.policy, {**GOOD, "duration_seconds": 5}).checkpoint == "post_download"
    discussion = {**GOOD, "duration_seconds": 5, "content_type": "discussion"}
    assert decide(content.policy, discussion).processing_type == "full"


def test_what_no_knob_means_is_named_by_file(tmp_path: Path) -> None:
    content = read_folder(folder(tmp_path))
    assert "content_types.discussion.keywords" in content.without_knob["content_routing.yaml"]
    assert "checkpoints.post_analysis.on_exit.create_summary" in content.without_knob["early_exit.yaml"]
    assert {"fallback.on_error", "global.log_exit_decisions"} <= {*content.without_knob["early_exit.yaml"]}
    assert "monitoring.yaml" not in content.without_knob


def test_figures_below_overall_metrics_are_read() -> None:
    nested = {"monitoring.yaml": {"overall_metrics": {"bypass_rate": {"target": 0.6}}, "ui": {"refresh": 30}}}
    assert read_files(nested) == PipelineFiles(monitoring={"bypass_rate": Target(target=0.6)})


def test_every_fault_of_every_file_comes_at_once_with_its_line(tmp_path: Path) -> None:
    found = refused(
        tmp_path,
        quality_filtering__yaml="thresholds:\n  min_overal: 0.65\n  min_coherence: 60\n",
        content_routing__yaml=(
            "content_types:\n  news:\n    procesing_mode: full\n  talk: {processing_mode: fast}\n  a b: {}\n"
        ),
        early_exit__yaml=(
            "checkpoints:\n  post_downlod: {}\n  post_download:\n    conditions:\n      - duration_seconds < 60\n"
            "      - duration_seconds < sixty\n    exit_conditions: []\n  post_analysis: {min_confidence: 0.5}\n"
            "  post_initial_analysis: {min_confidence: 0.5}\n"
        ),
        monitoring__yaml="bypass_rate: {target: 60, warning_lo: 0.5}\n",
    )
    assert {place: text.split("; ")[-1] for place, text in found.items() if "did you mean" in text} == {
        ("quality_filtering.yaml", 2, "/thresholds/min_overal"): "did you mean 'min_overall'?",
        ("content_routing.yaml", 3, "/content_types/news/procesing_mode"): "did you mean 'processing_mode'?",
        ("early_exit.yaml", 2, "/checkpoints/post_downlod"): "did you mean 'post_download'?",
        ("monitoring.yaml", 1, "/bypass_rate/warning_lo"): "did you mean 'warning_low'?",
    }
    assert "from 0 to 1" in found["quality_filtering.yaml", 3, "/thresholds/min_coherence"]
    assert "full, lightweight, quality_check" in found["content_routing.yaml", 4, "/content_types/talk/processing_mode"]
    assert "cannot be a content type" in found["content_routing.yaml", 5, "/content_types/a b"]
    assert "character 19" in found["early_exit.yaml", 6, "/checkpoints/post_download/conditions/1"]
    assert "says again" in found["early_exit.yaml", 7, "/checkpoints/post_download/exit_conditions"]
    assert "says again" in found["early_exit.yaml", 9, "/checkpoints/post_initial_analysis/min_confidence"]
    assert "from 0 to 1" in found["monitoring.yaml", 1, "/bypass_rate/target"]
    assert len(found) == 11


def test_text_that_is_no_yaml_does_not_hide_the_faults_of_the_other_files(tmp_path: Path) -> None:
    found = refused(
        tmp_path, quality_filtering__yaml="thresholds: [", early_exit__yaml="global: {min_exit_confidence: 8}"
    )
    places = {(file, pointer) for file, _, pointer in found}
    assert places == {("quality_filtering.yaml", ""), ("early_exit.yaml", "/global/min_exit_confidence")}


@pytest.mark.parametrize("data", [None, {}, {"thresholds": None}], ids=str)
def test_a_file_with_nothing_in_it_says_nothing(data: Any) -> None:
    assert read_files({"quality_filtering.yaml": data}) == PipelineFiles()


@pytest.mark.parametrize("data", [3, [1], {"thresholds": [1]}, {"content_types": {"news": 5}}], ids=str)
def test_a_value_where_keys_should_stand_is_a_fault(data: Any) -> None:
    with pytest.raises(InvalidInput, match="where a mapping of keys should stand"):
        read_files({"quality_filtering.yaml": data})


def test_a_folder_without_any_of_the_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"quality_filtering\.yaml, content_routing\.yaml"):
        read_folder(tmp_path)


def test_an_optimal_config_holds_the_three_files_and_its_evidence(tmp_path: Path) -> None:
    policy, evidence = PRESETS["balanced"].policy, {"n_items": 120}
    data = write_optimal(policy, evidence)
    assert write_optimal_config(tmp_path, data).name == "optimal_config.yaml"
    assert read_folder(tmp_path) == PipelineFiles(policy=policy)
    assert list(data) == [*list(AS_FOUND)[:3], "evidence"]
    assert data["evidence"] == evidence


def test_its_parts_may_stand_under_their_names_without_the_ending() -> None:
    written = write_optimal({"filter.min_overall": 0.6}, {})
    parts = {name.removesuffix(".yaml"): data for name, data in written.items()}
    assert read_files({"optimal_config.yaml": parts}).policy == {"filter.min_overall": 0.6}
    with pytest.raises(InvalidInput, match="did you mean 'evidence'"):
        read_files({"optimal_config.yaml": {**parts, "evidnce": {}}})


def test_an_optimal_config_beside_the_files_it_replaces_is_refused(tmp_path: Path) -> None:
    found = refused(tmp_path, optimal_config__yaml="quality_filtering: {thresholds: {min_words: 3}}\n")
    assert any("import one of the two" in text for text in found.values())


def test_a_priority_that_is_a_number_refuses_nothing_and_is_named_as_not_taken_over() -> None:
    content = read_files(
        {"content_routing.yaml": {"content_types": {"news": {"priority": 1, "processing_mode": "full"}}}}
    )
    assert dict(content.policy) == {"route.news": "full"}
    assert [*content.without_knob["content_routing.yaml"]] == ["content_types.news.priority"]
