"""Histograms agree with the amounts they were made of, whatever these are."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from math import ceil

import pytest
from hypothesis import given, strategies as st

from optimizer.core.base.minute_sums import (
    DAY,
    HOUR,
    WIDTH,
    Histogram,
    add,
    bucket_of,
    capped_moments,
    edge,
    floor,
    merge,
    quantile,
    share_above,
    stat_cover,
)

amounts = (
    st.just(0.0) | st.floats(1e-9, 1e12) | st.integers(-200, 400).map(lambda k: WIDTH**k)
)  # on the edges themselves, too
samples = st.lists(amounts, min_size=1, max_size=60)


def histogram_of(values: list[float]) -> Histogram:
    histogram: Histogram = {}
    for value in values:
        add(histogram, value)
    return histogram


@given(amounts)
def test_a_value_lies_at_most_five_percent_below_the_edge_of_its_bucket(value: float) -> None:
    top = edge(bucket_of(value))
    assert value <= top
    assert value == top == 0 or value > top / WIDTH * (1 - 1e-12)


@given(amounts, amounts)
def test_above_an_edge_means_in_a_later_bucket(value: float, other: float) -> None:
    limit = edge(bucket_of(other))
    assert bucket_of(limit) == bucket_of(other)
    assert (value > limit) == (edge(bucket_of(value)) > limit)


@given(samples, samples)
def test_parts_add_up_to_the_whole_and_survive_json(first: list[float], second: list[float]) -> None:
    parts = [histogram_of(first), histogram_of(second)]
    before = [dict(part) for part in parts]
    merged = merge(json.loads(json.dumps(parts)))
    assert merged == histogram_of(first + second) == merge(reversed(parts))
    assert sum(merged.values()) == len(first) + len(second)
    assert parts == before


@given(samples, st.floats(0.01, 1.0))
def test_a_quantile_is_the_edge_above_the_value_of_that_rank(values: list[float], q: float) -> None:
    rank = next(k for k in range(1, len(values) + 1) if k >= q * len(values))
    assert quantile(histogram_of(values), q) == edge(bucket_of(sorted(values)[rank - 1]))


@given(samples, amounts)
def test_the_share_above_an_edge_is_exact(values: list[float], other: float) -> None:
    limit = edge(bucket_of(other))
    assert share_above(histogram_of(values), limit) == sum(value > limit for value in values) / len(values)


@given(samples, st.floats(0.5, 1.0))
def test_at_most_the_rest_lies_above_a_quantile(values: list[float], q: float) -> None:
    histogram = histogram_of(values)
    limit = quantile(histogram, q)
    assert limit is not None
    share = share_above(histogram, limit)
    assert round(share * len(values)) <= len(values) - ceil(q * len(values) - 1e-9)


@given(samples, amounts.filter(bool))
def test_moments_are_those_of_the_capped_values_to_half_a_bucket(values: list[float], other: float) -> None:
    cap = edge(bucket_of(other))
    capped = [min(value / cap, 1.0) for value in values]
    exact = sum(capped) / len(capped)
    moments = capped_moments(histogram_of(values), cap)
    assert moments is not None
    mean, variance = moments
    assert mean == pytest.approx(exact, abs=0.026)
    assert variance == pytest.approx(sum((y - exact) ** 2 for y in capped) / len(capped), abs=0.06)
    assert 0 <= mean <= 1
    assert 0 <= variance <= 0.25 + 1e-12


def test_nothing_counted_has_no_quantile_no_share_and_no_moments() -> None:
    assert (quantile({}, 0.5), share_above({}, 0.0), capped_moments({}, 1.0)) == (None, None, None)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_only_finite_amounts_from_zero_are_counted(value: float) -> None:
    with pytest.raises(ValueError, match="finite amounts"):
        bucket_of(value)


@given(
    since=st.integers(0, 5 * DAY),
    length=st.integers(0, 5 * DAY),
    summed=st.one_of(st.none(), st.tuples(st.integers(0, 3 * DAY), st.integers(1, 3 * DAY))),
    lengths=st.sampled_from([(HOUR,), (HOUR, DAY)]),
)
def test_every_minute_of_a_time_that_is_summed_up_is_covered_once(since, length, summed, lengths):
    start = datetime(2026, 11, 20, tzinfo=UTC)

    def at(minute: int) -> datetime:
        return start + timedelta(minutes=minute)

    stretch = None if summed is None else (at(summed[0]), at(summed[0] + summed[1]))
    cover = stat_cover(at(since), at(since + length), stretch, lengths)
    covered: list[datetime] = []
    for minutes, (begin, end) in (*cover.sums, *((1, part) for part in cover.rest)):
        assert begin == floor(begin, minutes)
        assert minutes == 1 or minutes in lengths
        covered += [begin + timedelta(minutes=n) for n in range(int((end - begin) / timedelta(minutes=1)))]
    wanted = {at(minute) for minute in range(since, since + length)}
    assert len(covered) == len(set(covered))
    summed_until = at(since + length) if stretch is None else stretch[1]
    assert {minute for minute in covered if minute < summed_until} == {m for m in wanted if m < summed_until}
