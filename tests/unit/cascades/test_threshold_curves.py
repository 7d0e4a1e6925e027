"""Curves of a cascade's thresholds from recorded tier answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from optimizer.core.evaluation.gates import quality_margin
from optimizer.core.family.variant import Variant
from optimizer.core.policy.tiers import KNOBS
from optimizer.core.search.cascade import sweep
from optimizer.core.search.cascade.advice import cascade_curves
from optimizer.core.search.cascade.exploration import audit_cost
from optimizer.core.search.cascade.figures import CascadeCurves, CascadeSetting
from optimizer.core.search.cascade.records import TierRecords, replay
from optimizer.core.statistics.noninferiority import clopper_pearson
from tests.cases import named
from tests.rows.policy_records import drawn_records

CHAMPION = "v_aaaaaaaaaaaa"
VARIANT = Variant(messages=({"role": "user", "content": "{{document}}"},))


def rows_of(records: Any) -> list[dict[str, Any]]:
    names = ("score", "cost_usd", "latency_ms", "confidence")
    return [
        {
            "tiers": {
                tier: {name: float(getattr(records, name)[row, at]) for name in names}
                for at, tier in enumerate(records.tiers)
            },
            "weight": float(records.weight[row]),
        }
        for row in range(len(records))
    ]


def curves(
    records: Any,
    policy: dict[str, Any] | None = None,
    rows: list[dict[str, Any]] | None = None,
    *,
    margin: float | None = 0.04,
) -> CascadeCurves | None:
    variant = replace(VARIANT, policy=policy) if policy is not None else None
    options: Any = {"variant": variant, "champion": CHAMPION, "explicit_margin": margin, "recorded": None}
    return cascade_curves(rows or rows_of(records), records.tiers, **options)


def test_thresholds_of_another_confidence_than_the_recorded_one_are_not_marked_on_it() -> None:
    records = drawn_records(100, 2, seed=2)
    for signal in ({"kind": "agreement"}, {"kind": "predictor", "after": {"middle": {"hash": "p_1"}}}):
        found = curves(records, {"tiers": ["middle", "large"], "accept": 0.6, "confidence": signal})
        assert (found.variant, found.curves[0].present, found.audit_cost) == (None, None, None)
        assert "another confidence" in dict((knob.name, why) for knob, why in found.not_replayed)["confidence"]
    same = curves(records, {"tiers": ["middle", "large"], "accept": 0.6, "confidence": {"kind": "log_probability"}})
    assert same.curves[0].present == 0.6


def test_a_curve_is_the_replay_at_each_value_with_the_chosen_one_among_them() -> None:
    records = drawn_records(300, 3, seed=2)
    found = curves(records, {"tiers": list(records.tiers), "accept": 0.6, "accept.2": 0.8, "audit_share": 0.1})
    assert (found.n_records, found.n_incomplete, found.is_found, found.margin) == (300, 0, True, 0.04)
    assert [(c.knob.name, c.tier, c.present) for c in found.curves] == [
        ("accept", "small", 0.6),
        ("accept.2", "middle", 0.8),
    ]
    first, second = found.curves
    for curve, setting in ((first, lambda x: (x, 0.8)), (second, lambda x: (0.6, x))):
        assert [p.value for p in curve.points] == sorted({p.value for p in curve.points})
        assert {curve.present, 1.0} <= {p.value for p in curve.points}
        for point in curve.points:
            same = replay(records, CascadeSetting(tiers=records.tiers, accept=setting(point.value)))
            assert (point.quality, point.loss, point.cost_usd) == (same.quality, same.loss, same.cost_usd)
    at = next(p for p in second.points if p.value == 0.8)
    beyond = (records.confidence[:, 0] < 0.6) & (records.confidence[:, 1] < 0.8)
    assert at.escalated_share == pytest.approx(beyond.mean())
    setting = CascadeSetting(tiers=records.tiers, accept=(0.6, 0.8))
    assert found.audit_cost == audit_cost(records, setting, 0.1)


def test_the_margin_follows_from_the_quality_of_the_queries_that_the_rows_stand_for() -> None:
    records = drawn_records(40, 2, seed=2)
    wrong = records.score[:, -1] < 1
    weighted = replace(records, weight=np.where(wrong, 9.0, 1.0))
    assert 0 < wrong.mean() < 1
    mean = float(weighted.weight @ records.score[:, -1] / weighted.weight.sum())
    assert curves(weighted, margin=None).margin == pytest.approx(quality_margin(mean, None))


def test_raising_a_threshold_does_what_its_knob_says() -> None:
    """More goes on and it is dearer: the direction stands with the knob, and nowhere else."""
    found = curves(drawn_records(400, 2, seed=3, loss=0.8), {"tiers": ["middle", "large"], "accept": 0.5})
    (curve,) = found.curves
    assert curve.knob in KNOBS
    assert (
        "raising it sends more to the tiers behind it: dearer, slower, and better where they are" in curve.knob.meaning
    )
    escalated, cost = ([getattr(p, name) for p in curve.points] for name in ("escalated_share", "cost_usd"))
    assert escalated == sorted(escalated)
    assert [c.mean for c in cost] == sorted(c.mean for c in cost)
    assert curve.points[0].loss.mean > curve.points[-1].loss.mean


def test_rows_without_a_tier_are_left_out_and_counted() -> None:
    records = drawn_records(40, 2)
    rows = rows_of(records)
    del rows[0]["tiers"]["large"]
    found = curves(records, {"tiers": ["middle", "large"], "accept": 0.5}, rows)
    assert (found.n_records, found.n_incomplete) == (39, 1)


def test_without_a_variant_the_cheapest_tier_stands_before_the_strongest_and_nothing_is_marked() -> None:
    found = curves(drawn_records(40, 3))
    assert (found.tiers, found.variant, found.is_found, found.audit_cost) == (("small", "large"), None, False, None)
    assert [c.present for c in found.curves] == [None]


@named(
    "policy",
    {
        "a tier that was not asked": {"tiers": ["middle", "another"], "accept": 0.5},
        "another strongest": {"tiers": ["large", "middle"], "accept": 0.5},
        "none": {},
    },
)
def test_thresholds_of_other_tiers_are_not_drawn(policy: dict[str, Any]) -> None:
    found = curves(drawn_records(40, 2), policy)
    assert found.variant is None


def test_what_needs_further_calls_is_named_with_its_reason() -> None:
    found = curves(drawn_records(40, 2), {"tiers": ["middle", "large"], "accept": 0.5})
    assert [(knob.name, "record" in why) for knob, why in found.not_replayed] == [("refine", True), ("skip", True)]


def test_one_row_draws_nothing() -> None:
    records = drawn_records(40, 2)
    assert curves(records, {}, rows_of(records)[:1]) is None


def test_confidences_that_were_not_recorded_never_stand() -> None:
    records = drawn_records(30, 2)
    blank = replace(records, confidence=np.full_like(records.confidence, np.nan))
    rows = [
        {"tiers": {name: {**one, "confidence": None} for name, one in row["tiers"].items()}} for row in rows_of(blank)
    ]
    found = curves(blank, {"tiers": ["middle", "large"], "accept": 0.5}, rows)
    assert all(p.escalated_share == 1.0 for p in found.curves[0].points)


def test_the_exact_bound_of_whole_losses_is_that_of_clopper_and_pearson_and_a_gain_ends_it() -> None:
    right = [1.0] * 6 + [0.0, 1.0, 1.0, 1.0]
    strong = [1.0] * 9 + [0.0]  # the last answer gains
    pair = TierRecords.from_rows(
        [
            {
                "tiers": {
                    "student": {"score": score, "cost_usd": 0.0, "confidence": (99 - at) / 100},
                    "strong": {"score": other, "cost_usd": 1.0, "confidence": 1.0},
                }
            }
            for at, (score, other) in enumerate(zip(right, strong, strict=True))
        ],
        ("student", "strong"),
    )
    exact, usual = sweep.curve(pair, exact=True).upper, sweep.curve(pair).upper
    for n_answered, n_lost in ((1, 0), (6, 0), (7, 1), (9, 1)):
        assert exact[n_answered] == pytest.approx(clopper_pearson(n_lost, len(pair), 0.1)[1], abs=1e-6)
    assert exact[10] == usual[10]
