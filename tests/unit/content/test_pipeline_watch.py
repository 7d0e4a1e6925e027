"""A content pipeline's figures against their levels: one alert while out of range, cleared with hysteresis,
and none from too few items.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.content.adapters.content_files import read_levels
from optimizer.content.core.records.report import MIN_ITEMS, Level, WindowFigure, level_of, out_of_range
from optimizer.content.jobs.watch_pipeline import OUT_OF_RANGE, watch_pipeline
from optimizer.core.base.errors import InvalidInput
from optimizer.core.feedback.pipeline_record import TARGETS, PipelineRecord, Target
from tests.cases import named
from tests.clock import Clock
from tests.stores import NOW

BYPASS = TARGETS["bypass_rate"]  # warning below .50 and above .80, critical below .40


@pytest.mark.parametrize(
    ("value", "was", "level"),
    [
        pytest.param(0.60, None, None, id="on target"),
        pytest.param(0.50, None, None, id="at the level itself"),
        pytest.param(0.49, None, "warning", id="below"),
        pytest.param(0.51, "warning", "warning", id="back, but not by enough"),
        pytest.param(0.52, "warning", None, id="back by enough"),
        pytest.param(0.81, None, "warning", id="above"),
        pytest.param(0.79, "warning", "warning", id="back below, but not by enough"),
        pytest.param(0.78, "warning", None, id="back below by enough"),
        pytest.param(0.39, "warning", "critical", id="worse"),
        pytest.param(0.41, "critical", "critical", id="hardly better"),
        pytest.param(0.42, "critical", "warning", id="better, and not well"),
        pytest.param(0.53, "critical", None, id="well at once"),
    ],
)
def test_what_is_open_needs_more_to_clear_than_it_needed_to_open(value, was, level):
    assert level_of(value, BYPASS, was) == level


def test_a_figure_without_levels_is_never_out_of_range() -> None:
    assert level_of(0.0, Target(target=0.5), None) is None


def test_too_few_items_raise_nothing_and_clear_nothing_and_none_at_all_clears() -> None:
    def found(value: float | None, n: int, before: dict[str, Level]) -> list[str]:
        return [
            one.figure
            for one in out_of_range({"bypass_rate": WindowFigure(value=value, n=n)}, {"bypass_rate": BYPASS}, before)
        ]

    assert found(0.1, MIN_ITEMS - 1, {}) == []
    assert found(0.1, MIN_ITEMS, {}) == ["bypass_rate"]
    assert found(0.6, MIN_ITEMS - 1, {"bypass_rate": "critical"}) == ["bypass_rate"]
    assert found(0.6, MIN_ITEMS, {"bypass_rate": "critical"}) == []
    assert found(None, 0, {"bypass_rate": "critical"}) == []


@pytest.mark.parametrize(
    ("value", "says"), [(0.39, "below 0.40, the"), (0.41, "below 0.40, the target is 0.60, and near")]
)
def test_what_is_open_is_told_of_as_it_is_now(value: float, says: str) -> None:
    (one,) = out_of_range(
        {"bypass_rate": WindowFigure(value=value, n=MIN_ITEMS)}, {"bypass_rate": BYPASS}, {"bypass_rate": "critical"}
    )
    assert says in one.detail
    assert ("near that still" in one.detail) == (value > 0.4)


def report(store: Database, clock: Clock, *, full: int, light: int = 0, exits: int = 0, tag: str = "") -> None:
    kinds = ["full"] * full + ["lightweight"] * light + ["early_exit"] * exits
    of: dict[str, Any] = {"received_at": clock.now(), "content_type": "news", "quality_score": 0.8}
    records = [PipelineRecord(id=f"{tag}{i}", processing_type=kind, **of) for i, kind in enumerate(kinds)]
    store.write(lambda tx: store.pipeline_stats.add(tx, records))


def open_alerts(store: Database) -> dict[str, tuple[str, str]]:
    with store.read() as tx:
        return {a.subject: (a.level, a.id) for a in store.alerts.all(tx, open_only=True, kind=OUT_OF_RANGE)}


def levels(store: Database) -> dict[str, str]:
    return {subject: level for subject, (level, _) in open_alerts(store).items()}


def test_an_alert_is_raised_once_becomes_another_when_it_gets_worse_and_clears_when_the_items_do(store):
    clock = Clock(NOW)
    report(store, clock, full=55, exits=45)
    assert watch_pipeline(store, clock, TARGETS) != []
    assert levels(store) == {"bypass_rate critical": "critical"}, (
        "nothing was sent the light way; of quality and time nothing is wrong, or nothing known"
    )
    before = open_alerts(store)
    for _ in range(3):
        clock.pass_time(timedelta(minutes=1))
        watch_pipeline(store, clock, TARGETS)
    assert open_alerts(store) == before, "the same alert, not a new one per look"
    report(store, clock, full=0, light=80, tag="b")
    watch_pipeline(store, clock, TARGETS)
    assert levels(store) == {"bypass_rate warning": "warning"}, (
        "45 of 100 that were not bypassed were given up, which is in range"
    )
    report(store, clock, full=0, light=70, exits=60, tag="c")
    watch_pipeline(store, clock, TARGETS)
    assert levels(store) == {"bypass_rate warning": "warning", "early_exit_rate warning": "warning"}, (
        "105 of 160 that were not bypassed"
    )
    clock.pass_time(timedelta(hours=25))
    watch_pipeline(store, clock, TARGETS)
    assert levels(store) == {}, "of no item nothing can be out of range"


def test_the_detail_says_what_was_found_what_is_asked_and_when_it_clears(store: Database) -> None:
    clock = Clock(NOW)
    report(store, clock, full=100)
    found = {one.figure: one.detail for one in watch_pipeline(store, clock, TARGETS)}
    assert (
        "bypass_rate was 0.00 over the last 24 hours: critical below 0.40, the target is 0.60. It clears at 0.42 or"
        " more." in found["bypass_rate"]
    )


def written(folder: Path, text: str) -> Path:
    (folder / "monitoring.yaml").write_text(text, encoding="utf-8")
    return folder / "monitoring.yaml"


@named(
    ("text", "says"),
    {
        "percent": ("bypass_rate: {target: 60}\n", "monitoring.yaml:1 .*from 0 to 1, not 60"),
        "a mistyped figure": ("bypass_rte: {target: 0.6}\n", "bypass_r"),
        "a figure that nothing measures": ("cost_per_item: {target: 0.6}\n", "cost_per_item, and nothing is known"),
        "levels that contradict": ("bypass_rate: {critical_low: 0.6, warning_low: 0.5}\n", "lies above warning_low"),
    },
)
def test_a_faulty_file_of_levels_is_refused_with_its_line(tmp_path: Path, text: str, says: Any) -> None:
    with pytest.raises(InvalidInput, match=says):
        read_levels(written(tmp_path, text))
