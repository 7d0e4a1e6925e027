"""Two configurations are compared on the items that each of them processed."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from optimizer.content.core.records.record import read_record
from optimizer.content.core.search.compare import Preference, compare_live, live_difference, live_shares
from optimizer.core.base.errors import DatasetTooSmall, InvalidInput
from optimizer.core.feedback.pipeline_record import PipelineRecord

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def read(**values: Any) -> PipelineRecord:
    return read_record({"processing_type": "full", **values}, id="pr_1", received_at=NOW)


def test_a_record_says_which_configuration_dealt_with_it_by_each_name() -> None:
    assert read(config_version="balanced").config_version == "balanced"
    assert read(variant="v_0123456789ab").config_version == "v_0123456789ab"
    assert read(CONFIG_VERSION="balanced").config_version == "balanced"
    assert read(variant="a", config_version="a", CONFIG_VERSION="a").config_version == "a"
    assert read().config_version == ""
    with pytest.raises(InvalidInput, match="variant names another configuration than config_version"):
        read(variant="a", config_version="b")
    with pytest.raises(InvalidInput, match="CONFIG_VERSION names another configuration than config_version"):
        read(CONFIG_VERSION="a", config_version="b")


def test_satisfaction_and_failures_are_compared_where_thirty_records_of_each_say_them() -> None:
    rated = [read(satisfaction="0.5", failed="false")] * 30
    better = [read(satisfaction=0.9, failed=i < 3) for i in range(30)]
    more = live_difference(rated, better, "satisfaction")
    assert more.estimate == pytest.approx(0.4)
    assert more.low > 0
    errors = live_difference(rated, better, "failed")
    assert (round(errors.estimate, 3), errors.low < 0 < errors.high) == (0.1, True)
    assert live_difference(rated, better[1:], "failed") is None
    assert live_shares("x", [*better, read()]).n_watched == 30
    with pytest.raises(InvalidInput, match="failed is true or false, not 'yes'"):
        read(failed="yes")


def arm(name: str, *, quality: float, saved: float, n: int = 400) -> tuple[str, list[PipelineRecord]]:
    """Every second item is processed in full; the others save twice ``saved``."""
    rng = random.Random(name)
    records = []
    for i in range(n):
        score = min(1.0, max(0.0, rng.gauss(quality, 0.05)))
        is_full = i % 2 == 0
        kind = "full" if is_full else "lightweight"
        share = 0.0 if is_full else 2 * saved
        records.append(read(processing_type=kind, quality_score=score, time_saved_pct=share, config_version=name))
    return name, records


def decided(quality: float, saved: float) -> Preference:
    """The aggressive one, beside .80 and .30."""
    return compare_live(arm("conservative", quality=0.80, saved=0.30), arm("aggressive", quality=quality, saved=saved))


@pytest.mark.parametrize(
    ("quality", "saved", "choice"),
    [(0.79, 0.45, "aggressive"), (0.60, 0.45, "conservative"), (0.80, 0.30, "balanced"), (0.755, 0.45, None)],
)
def test_the_rule_decides_on_items_that_each_configuration_dealt_with_by_itself(quality, saved, choice):
    verdict = decided(quality, saved)
    assert verdict.choice == choice, verdict.reason


def test_the_quality_is_of_what_was_processed_in_full_and_the_time_of_all() -> None:
    records = [
        read(quality_score=0.8),
        read(processing_type="lightweight", quality_score=0.2, time_saved_pct=0.8),
        read(processing_type="early_exit", time_saved_pct=0.9),
    ]
    shares = live_shares("x", records)
    assert (shares.quality, shares.n_judged) == (0.8, 1)
    assert (shares.time_saved, shares.n_timed) == (pytest.approx(1.7 / 3), 3)
    assert (shares.bypass_rate, shares.early_exit_rate) == (pytest.approx(1 / 3), 0.5)


def test_too_few_measured_records_are_refused_by_name() -> None:
    few = ("few", arm("few", quality=0.8, saved=0.3, n=40)[1])
    with pytest.raises(DatasetTooSmall, match=r"few has 20 records with measured quality.*config_version"):
        compare_live(arm("conservative", quality=0.8, saved=0.3), few)
