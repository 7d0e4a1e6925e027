"""How evidence is shared out among keys, and which units without a token count."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, strategies as st

from optimizer.core.rollout.blocks import excess_of_one_key, key_shares, labelled_by_key, within_exposures

KEYS = st.sampled_from(["a", "b", "c"])
ARMS = st.sampled_from(["candidate", "champion"])


@given(st.lists(st.lists(KEYS, min_size=1, max_size=5), max_size=20))
def test_the_parts_of_all_keys_sum_up_to_the_labelled_units(units: list[list[str]]) -> None:
    found = labelled_by_key(units)
    assert abs(sum(found.values()) - len(units)) < 0.001
    assert abs(sum(one.share for one in key_shares(found)) - (1.0 if units else 0.0)) < 1e-9


def test_a_share_is_too_much_only_above_the_most() -> None:
    assert excess_of_one_key({"a": 6.0, "b": 4.0}, 0.6) is None
    assert "key 'a' brought 61 %" in (excess_of_one_key({"a": 6.1, "b": 3.9}, 0.6) or "")
    assert excess_of_one_key({"a": 1.0}, 1.0) is None
    assert excess_of_one_key({}, 0.1) is None
    assert "not on record" in (excess_of_one_key({"": 1.0}, 0.5) or "")


@given(
    st.dictionaries(st.text(max_size=3), st.tuples(ARMS, st.sets(KEYS, min_size=1))),
    st.dictionaries(st.tuples(ARMS, KEYS), st.integers(0, 4)),
    st.dictionaries(st.tuples(ARMS, KEYS), st.integers(0, 6)),
)
def test_no_key_ever_counts_more_units_than_it_reported_exposures(units, reported, counted) -> None:  # type: ignore[no-untyped-def]
    found = within_exposures(
        {unit: (arm, sorted(keys)) for unit, (arm, keys) in units.items()}, reported=reported, counted=counted
    )
    for which, n in found.counted.items():
        assert n > 0
        assert counted.get(which, 0) + n <= reported.get(which, 0)
    assert sum(found.counted.values()) + len(found.beyond) == len(units)
    for unit, key in found.beyond.items():
        arm, keys = units[unit]
        assert key in keys
        room = Counter(found.counted)
        assert all(counted.get((arm, k), 0) + room[arm, k] >= reported.get((arm, k), 0) for k in keys)
