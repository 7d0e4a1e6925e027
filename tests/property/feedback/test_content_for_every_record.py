"""The content pipeline's policy, for every record and every setting."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from optimizer.content.core.policy import filter
from optimizer.content.core.policy.files import PipelineFiles, read_files, write_optimal
from optimizer.content.core.policy.pipeline import BY_NAME, parse_pipeline
from optimizer.content.core.records.fields import CHECKPOINTS
from optimizer.content.core.search.replay import outcome, read_rows, ways
from optimizer.core.base.errors import Fault, InvalidInput
from tests.examples import n_examples
from tests.rows.content_records import policies, records, shares

rows = st.lists(records(), min_size=1, max_size=12)


@given(rows, policies())
@settings(max_examples=n_examples(12))
def test_replay_sends_every_record_where_the_decision_sends_it(rows, policy):
    pipeline = parse_pipeline(policy)
    found = ways(read_rows(rows), pipeline)
    for i, row in enumerate(rows):
        decision = pipeline.decide(row)
        assert bool(found.full[i]) is (decision.processing_type == "full")
        assert bool(found.lightweight[i]) is (decision.processing_type == "lightweight")
        assert [c for c in CHECKPOINTS if found.exits[c][i]] == ([decision.checkpoint] if decision.checkpoint else [])


@given(rows, policies(), st.lists(shares, min_size=12, max_size=12))
def test_an_outcome_adds_up_and_its_quality_is_the_mean_of_the_full(rows, policy, quality):
    judged = [{**row, "quality": q} for row, q in zip(rows, quality, strict=False)]
    pipeline = parse_pipeline(policy)
    found = outcome(read_rows(judged), pipeline)
    decisions = [pipeline.decide(row) for row in judged]
    full = [row for row, d in zip(judged, decisions, strict=True) if d.processing_type == "full"]
    assert found.full_share + found.lightweight_share + found.early_exit_share == pytest.approx(1)
    assert found.time_saved_share == pytest.approx(1 - sum(decision.time_share for decision in decisions) / len(judged))
    if full:
        assert found.quality == pytest.approx(sum(r["quality"] for r in full) / len(full))
    else:
        assert found.quality is None


@given(records(), policies(), st.sampled_from([f"filter.{k}" for k in filter.FIELD_OF]), shares)
def test_a_stricter_filter_never_sends_more_to_full_processing(record, policy, knob, by):
    loose = {name: value for name, value in policy.items() if not name.startswith(f"{knob}.")}
    loose[knob] = loose.get(knob, BY_NAME[knob].default or 0)
    strict = {
        **loose,
        knob: loose[knob] + int(1000 * by) if BY_NAME[knob].kind == "integer" else min(1.0, loose[knob] + by),
    }
    if parse_pipeline(loose).decide(record).processing_type == "lightweight":
        assert parse_pipeline(strict).decide(record).processing_type == "lightweight"


@given(records(), policies(), shares)
def test_more_confidence_asked_for_never_ends_more_items_early(record, policy, by):
    asked = {name: min(1.0, value + by) if "min_confidence" in name else value for name, value in policy.items()}
    asked["exit.min_confidence"] = min(1.0, policy.get("exit.min_confidence", 0.80) + by)
    if parse_pipeline(policy).decide(record).processing_type != "early_exit":
        assert parse_pipeline(asked).decide(record).processing_type != "early_exit"


@given(records(), policies(), st.data())
def test_the_filter_bypasses_nothing_because_of_a_value_that_was_not_measured(record, policy, data):
    """Taking a measurement away from a record that is not bypassed never bypasses it.

    Without exits: those end items for other reasons.
    """
    policy["exit.enabled"] = False
    fields = [name for name in record if name != "content_type" and name not in filter.WEIGHTS]
    if fields and parse_pipeline(policy).decide(record).processing_type == "full":
        less = {name: value for name, value in record.items() if name != data.draw(st.sampled_from(fields))}
        assert parse_pipeline(policy).decide(less).processing_type == "full"


@given(policies(), st.dictionaries(st.just("n"), shares))
def test_writing_an_optimal_config_and_reading_it_loses_no_knob(policy, evidence):
    written = {"optimal_config.yaml": write_optimal(policy, evidence)}
    assert read_files(written) == PipelineFiles(policy=policy)


@given(
    st.dictionaries(
        st.sampled_from(["quality_filtering.yaml", "content_routing.yaml", "early_exit.yaml", "monitoring.yaml"]),
        policies(),
    )
)
def test_files_with_anything_in_them_are_read_or_refused_with_a_place(files: dict[str, Any]) -> None:
    """Knobs' flat names are no keys of any file: they decide nothing,
    or are refused as typing errors; nothing else is raised.
    """
    found: list[Fault] = []
    try:
        read = read_files(files)
    except InvalidInput as refused:
        found = list(refused.faults)
        read = PipelineFiles()
    assert not read.policy
    assert {fault.file for fault in found} <= set(files)
    assert all(fault.pointer for fault in found)
