"""Saved metrics of a content pipeline are read as one series."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from optimizer.content.core.records.saved import MetricsSeries, read_metrics, series_of
from optimizer.core.base.errors import InvalidInput

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def saved_file(at: datetime, **overall: Any) -> dict[str, Any]:
    counts = {"total_processed": 100, "quality_bypassed": 40, "early_exits": 18, "full_processing": 42}
    return {
        "hours": 24,
        "from": (at - timedelta(hours=24)).isoformat(),
        "until": at.isoformat(),
        "overall_metrics": {**counts, "avg_time_savings": 0.65, "quality_score_avg": 0.72, **overall},
        "content_type_breakdown": {"news": {"total_processed": 60}, "talk": {"total_processed": 40}},
        "checkpoint_analytics": {"post_download": {"exits": 10}, "post_initial_analysis": {"exits": 8}},
    }


def series(*files: Any) -> MetricsSeries:
    return series_of(read_metrics(f"metrics_{n}.json", file) for n, file in enumerate(files))


def test_files_are_one_series_and_no_hour_counts_twice() -> None:
    days = [NOW - timedelta(days=n) for n in range(3)]
    whole = series(*map(saved_file, days), saved_file(NOW - timedelta(hours=6)))
    assert (whole.n_files, whole.n_overlapping, whole.n_items) == (3, 1, 300)
    assert (whole.since, whole.until) == (NOW - timedelta(days=3), NOW)
    assert whole.exits["post_analysis"] == 24
    assert whole.exit_rates["post_download"] == pytest.approx(0.1)
    assert whole.by_type == {"news": 180, "talk": 120}
    assert whole.lacking == [
        "1 more content types (news, talk)",
        "an exit at post_transcription",
        "an exit at post_quality_filtering",
    ]


def test_a_file_that_is_saved_a_minute_early_costs_no_day() -> None:
    days = [NOW - timedelta(days=n, minutes=n % 2) for n in range(4)]
    assert (series(*map(saved_file, days)).n_files, series(*map(saved_file, days)).n_overlapping) == (4, 0)


def test_a_figure_out_of_range_names_the_knob_and_its_direction() -> None:
    whole = series(saved_file(NOW, quality_bypassed=30))
    assert whole.figures["bypass_rate"].status == "critical"
    assert [text.split(":")[0] for text in whole.advice] == [
        "bypass_rate 0.30 is critical below 0.40",
        "early_exit_rate 0.26 is warning below 0.30",
    ]
    assert "raise filter.min_overall" in whole.advice[0]
    high = series(saved_file(NOW, total_processed=100, quality_bypassed=85, early_exits=5, full_processing=10))
    assert any("above 0.80: lower filter.min_overall" in text for text in high.advice)


def test_means_are_weighted_by_the_items_they_are_of() -> None:
    few = saved_file(NOW - timedelta(days=1), full_processing=14, quality_score_avg=0.9)
    assert series(saved_file(NOW), few).figures["quality_score_avg"].value == pytest.approx((0.72 * 42 + 0.9 * 14) / 56)


def test_the_files_name_says_the_time_where_the_answer_does_not() -> None:
    plain = {"overall_metrics": saved_file(NOW)["overall_metrics"]}
    assert read_metrics("metrics_20261120_0830.json", plain).until == datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    with pytest.raises(InvalidInput, match="no time is said"):
        read_metrics("saved.json", plain)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "/overall_metrics is missing"),
        (saved_file(NOW, total_processed=-1), "a number of items"),
        ({"overall_metrics": {"total_processed": 400}}, "/quality_bypassed is a number of items, not None"),
        (saved_file(NOW) | {"content_type_breakdown": {"news": {}}}, "/news is a number of items, not None"),
        (saved_file(NOW, full_processing=101), "than it has in all"),
        ({"overall_metrics": saved_file(NOW)["overall_metrics"], "hours": 1e9}, "/hours reaches back"),
    ],
)
def test_what_is_no_saved_answer_is_named(data: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read_metrics("metrics_20261120_0830.json", data)
