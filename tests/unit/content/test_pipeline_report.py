"""What a content pipeline reports about an item, its sums, and the figures beside their targets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.content.core.records.record import read_record
from optimizer.content.core.records.report import content_types, overall, standings, total, trends, worst
from optimizer.content.jobs.report_performance import _SpanSums
from optimizer.core.base.errors import InvalidInput
from optimizer.core.feedback.pipeline_record import TARGETS, PipelineRecord, PipelineSums, sums_of

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def read(**values: Any) -> PipelineRecord:
    return read_record({"processing_type": "full", "content_type": "news", **values}, id="pr_1", received_at=NOW)


def sums(n: int = 1, **values: Any) -> PipelineSums:
    return total([sums_of(read(**values))] * n)


def test_texts_of_a_query_and_values_of_json_give_the_same_record() -> None:
    values = {"quality_score": 0.8, "processing_time": 12, "exit_confidence": 1.0, "time_saved_pct": 0}
    assert read(**values) == read(**{name: str(value) for name, value in values.items()})


def test_an_empty_text_and_null_stand_for_what_was_not_measured() -> None:
    assert read(quality_score="", processing_time=None, exit_reason="") == read()


def test_full_processing_that_names_no_saving_has_saved_nothing_and_of_the_others_it_is_not_known() -> None:
    assert read().time_saved_share == 0.0
    assert read(processing_type="lightweight").time_saved_share is None
    assert read(time_saved_pct=0.1).time_saved_share == 0.1


def test_the_other_name_of_a_checkpoint_is_read_as_the_checkpoint() -> None:
    assert (
        read(processing_type="early_exit", exit_checkpoint="post_initial_analysis").exit_checkpoint == "post_analysis"
    )


def test_white_space_in_a_reason_is_evened_out() -> None:
    assert read(exit_reason=" too\n short ").exit_reason == "too short"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("processing_type", "fast", "is one of full, lightweight, early_exit"),
        ("processing_type", None, "is missing"),
        ("processing_type", ["full"], "is one of full"),
        ("content_type", " ", "1 to 100 printable"),
        ("content_type", "x" * 101, "1 to 100 printable"),
        ("content_type", "a\x00b", "1 to 100 printable"),
        ("content_type", 5, "1 to 100 printable"),
        ("exit_reason", "x" * 501, "1 to 500 printable"),
        ("quality_score", 1.01, "65 % is 0.65"),
        ("quality_score", -0.1, "lies from 0 to 1"),
        ("quality_score", "good", "must be a number"),
        ("quality_score", "nan", "must be a number"),
        ("quality_score", True, "must be a number"),
        ("quality_score", {}, "must be a number"),
        ("quality_score", 10**400, "must be a number"),
        ("time_saved_pct", "65", "65 % is 0.65"),
        ("processing_time", -1, "number of seconds"),
        ("processing_time", "inf", "must be a number"),
        ("processing_time", 1e9, "number of seconds"),
        ("qualty_score", 0.5, "is no member of a record; it has processing_type"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_reason(name: str, value: Any, why: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read(**{name: value})
    assert [fault.pointer for fault in error.value.faults] == [f"/{name}"]
    assert why in error.value.faults[0].detail


@pytest.mark.parametrize("absent", [{}, {"content_type": None}, {"content_type": ""}])
def test_a_record_that_names_no_content_type_counts_as_unknown(absent: dict[str, Any]) -> None:
    assert read_record({"processing_type": "full", **absent}, id="pr_1", received_at=NOW).content_type == "unknown"


@pytest.mark.parametrize(
    ("time_s", "share", "saved_s"),
    [(30, 0.5, 30), (15, 0.85, 85), (10, 0.0, 0), (10, 1.0, None), (None, 0.5, None), (10, None, None)],
)
def test_the_time_saved_is_what_full_processing_would_have_taken_beyond_what_was_spent(time_s, share, saved_s):
    record = read(processing_type="lightweight", processing_time=time_s, time_saved_pct=share)
    assert record.time_saved_s == (None if saved_s is None else pytest.approx(saved_s))


def test_sums_add_up_and_keep_what_was_measured_apart_from_what_was_not() -> None:
    both = sums_of(read(quality_score=0.5)) + sums_of(read(processing_time=7, time_saved_pct=0.5))
    assert (both.n, both.n_quality, both.quality_sum, both.n_time, both.time_sum_s) == (2, 1, 0.5, 1, 7)
    assert (both.n_saved, both.saved_share_sum, both.n_saved_time, both.saved_time_sum_s) == (2, 0.5, 1, 7)
    assert both + PipelineSums() == both


def test_the_overall_figures_of_ten_records() -> None:
    found = overall(
        {
            "full": sums(2, quality_score=0.8, processing_time=100),
            "lightweight": sums(
                5, processing_type="lightweight", quality_score=0.5, processing_time=15, time_saved_pct=0.85
            ),
            "early_exit": sums(3, processing_type="early_exit", processing_time=10, time_saved_pct=0.9),
        }
    )
    assert (found.total_processed, found.quality_bypassed, found.early_exits, found.full_processing) == (10, 5, 3, 2)
    assert (found.bypass_rate, found.early_exit_rate) == (0.5, 0.6), "three of the five that were not bypassed"
    assert found.avg_time_savings == pytest.approx((5 * 0.85 + 3 * 0.9) / 10)
    assert found.total_time_saved_hours == pytest.approx((5 * 85 + 3 * 90) / 3600, abs=1e-6)
    assert (found.quality_score_avg, found.quality_score_avg_all) == (0.8, pytest.approx(4.1 / 7, abs=1e-6))
    assert found.avg_processing_time_s == pytest.approx(30.5)


def test_without_records_counts_are_zero_and_shares_are_not_measured() -> None:
    found = overall({})
    assert (found.total_processed, found.total_time_saved_hours) == (0, 0.0)
    assert {found.bypass_rate, found.early_exit_rate, found.avg_time_savings, found.quality_score_avg} == {None}
    assert worst(standings(found)) == "no data"


def test_where_everything_was_bypassed_no_early_exit_could_be_measured() -> None:
    found = overall({"lightweight": sums(4, processing_type="lightweight")})
    assert (found.bypass_rate, found.early_exit_rate) == (1.0, None)


LEVELS: dict[str, dict[float | None, str]] = {
    "bypass_rate": {
        **dict.fromkeys((0.6, 0.5, 0.8), "ok"),
        **dict.fromkeys((0.49, 0.4, 0.81), "warning"),
        0.39: "critical",
    },
    "early_exit_rate": {0.3: "ok", 0.29: "warning", 0.19: "critical", 0.61: "warning"},
    "avg_time_savings": {0.6: "ok", 1.0: "ok", 0.59: "warning", 0.49: "critical"},
    "quality_score_avg": {0.7: "ok", 0.69: "warning", 0.64: "critical", None: "no data"},
}


@pytest.mark.parametrize(
    ("figure", "value", "status"), [(figure, *one) for figure, of in LEVELS.items() for one in of.items()]
)
def test_each_figure_stands_beside_its_levels(figure: str, value: float | None, status: str) -> None:
    found = overall({})
    object.__setattr__(found, figure, value)
    stand = standings(found)
    assert stand[figure].status == status
    assert (stand[figure].value, stand[figure].target) == (value, TARGETS[figure].target)
    assert worst(stand) == status


def test_checkpoints_stand_in_the_order_of_the_pipeline_with_the_most_frequent_reasons_first() -> None:
    one = sums(1, processing_type="early_exit", exit_confidence=0.9, time_saved_pct=0.8)
    exits = {("post_analysis", "b"): one, ("post_analysis", "a"): one, ("post_analysis", ""): one + one}
    exits |= {("own", "c"): one, ("", "d"): one, ("unknown", ""): one, ("unknown", "unknown"): one}
    cells = {("early_exit", "news", *names): own for names, own in exits.items()}
    stats: Any = SimpleNamespace(pipeline_stats=SimpleNamespace(sums=lambda tx, since, by: cells))
    found = _SpanSums(None, stats, {"since": NOW}).checkpoints({"early_exit": sums(12)})
    known = ["post_download", "post_transcription", "post_quality_filtering", "post_analysis"]
    assert list(found) == [*known, "own", "unknown"]
    assert (found["unknown"].exits, found["unknown"].reasons) == (3, {"unknown": 2, "d": 1})
    last = found["post_analysis"]
    shares = (pytest.approx(4 / 12, abs=1e-6), pytest.approx(4 / 8, abs=1e-6))
    assert (last.exits, (last.exit_rate, last.share_of_exits)) == (4, shares)
    assert (last.avg_confidence, last.avg_time_savings) == (0.9, 0.8)
    assert list(last.reasons.items()) == [("unknown", 2), ("a", 1), ("b", 1)]
    assert (found["post_download"].exits, found["post_download"].avg_confidence) == (0, None)


def test_content_types_and_hours_have_the_same_figures_as_the_whole() -> None:
    one = sums(1, quality_score=0.6)
    by_type = content_types({("news", "full"): one, ("news", "lightweight"): one + one, ("talk", "full"): one})
    assert (by_type["news"].bypass_rate, by_type["talk"].bypass_rate) == (pytest.approx(2 / 3, abs=1e-6), 0.0)
    hours = trends({(NOW, "full"): one, (NOW - timedelta(hours=1), "early_exit"): one})
    assert [(hour.hour, hour.early_exit_rate) for hour in hours] == [(NOW - timedelta(hours=1), 1.0), (NOW, 0.0)]
