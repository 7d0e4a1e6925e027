"""Buckets and tokens hold for every input: stable, monotone, uniform,
by the contract's formula; no flipped bit passes.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import sqrt

import pytest
from hypothesis import given, strategies as st

from optimizer.core.base.errors import InvalidInput
from optimizer.core.serving.assignment import (
    Assignment,
    bucket,
    cohort_start,
    in_candidate,
    unit_hmac,
    variant_at,
    verify_token,
)
from optimizer.core.serving.rollout import Rollout
from tests import stores
from tests.chosen import chosen
from tests.rows.ingestion import sign_token

T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
KEYS = (("new", b"n" * 32), ("old", b"o" * 32))
units = st.text(max_size=60)
shares = st.floats(0.0, 1.0, allow_nan=False)
seconds = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
    lambda at: at.replace(microsecond=0)
)
ids = st.text("abcdef0123456789_", min_size=1, max_size=20)
assignments = st.builds(
    Assignment,
    family=ids,
    variant=ids,
    role=st.sampled_from(["champion", "candidate", "holdback"]),
    issued_at=seconds,
    rollout=st.none() | ids,
    stage=st.none() | st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 0.75]).map(lambda share: round(share, 6)),
    cohort_start=st.none() | seconds,
    unit_hmac=st.none() | ids,
)


def rollout(share: float, salt: str = "salt", lease: datetime = T0 + timedelta(seconds=60)) -> Rollout:
    served = {"candidate": "v_c", "champion": "v_a", "ladder": (share,), "status": "deploying", "stage": 0}
    return stores.rollout(family="f", salt=salt, lease_expires_at=lease, **served)


def by_the_book(salt: str, unit: str, share: float) -> bool:
    """The contract's sentence again, by another road: hex digits instead of bytes, integers instead of floor."""
    digits = hashlib.sha256(b"\x00".join([salt.encode("utf-8"), unit.encode("utf-8")])).hexdigest()[:8]
    return int(digits, 16) < int(share * 4294967296)


@given(units, units, shares)
def test_buckets_follow_the_contracts_formula(salt: str, unit: str, share: float) -> None:
    assert in_candidate(bucket(salt, unit), share) == by_the_book(salt, unit, share)


@given(units, units, shares, shares)
def test_a_larger_share_never_takes_a_unit_from_the_candidate(salt: str, unit: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    if in_candidate(bucket(salt, unit), small):
        assert in_candidate(bucket(salt, unit), large)


@given(units, units)
def test_a_bucket_is_stable_and_the_ends_of_the_scale_take_nobody_and_everybody(salt: str, unit: str) -> None:
    b = bucket(salt, unit)
    assert b == bucket(salt, unit)
    assert not in_candidate(b, 0.0)
    assert in_candidate(b, 1.0)


@pytest.mark.parametrize(
    ("share", "bound"), [(0.1, 429496729), (0.25, 2**30), (0.5, 2**31), (0.95, 4080218931)]
)  # floor(share x 2**32)
def test_the_share_ends_before_its_bound(share: float, bound: int) -> None:
    assert in_candidate(bound - 1, share)
    assert not in_candidate(bound, share)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 0.95])
def test_buckets_are_uniform_within_the_binomial_error(share: float) -> None:
    n = 20_000
    taken = sum(in_candidate(bucket("a1b2c3", f"user-{i}"), share) for i in range(n))
    assert abs(taken / n - share) < 4 * sqrt(share * (1 - share) / n)


def test_another_salt_draws_independently() -> None:
    n, share = 20_000, 0.5
    both = sum(
        in_candidate(bucket("one", f"u{i}"), share) and in_candidate(bucket("two", f"u{i}"), share) for i in range(n)
    )
    assert abs(both / n - 0.25) < 4 * sqrt(0.25 * 0.75 / n)


def test_buckets_are_the_same_for_ever() -> None:
    assert bucket("salt", "user-1") == 877505487  # printf 'salt\0user-1' | sha256sum, first 8 hex digits
    assert bucket("0" * 32, "Ünit 🙂") == 242338434


@given(units, shares)
def test_a_choice_says_the_arm_that_the_bucket_gives(unit: str, share: float) -> None:
    choice = chosen(unit, T0, unit_hmac="h", champion="v_a", rollout=rollout(share))
    taken = by_the_book("salt", unit, share)
    assert (choice.variant, choice.role) == (("v_c", "candidate") if taken else ("v_a", "champion"))
    assert (choice.rollout, choice.stage, choice.counted) == ("ro_1", share, True)


@given(units, st.integers(0, 10**6))
def test_without_a_lease_everybody_gets_the_champion_outside_the_rollout(unit: str, late_s: int) -> None:
    now = T0 + timedelta(seconds=60 + late_s)
    choice = chosen(unit, now, champion="v_a", rollout=rollout(1.0))
    assert (choice.variant, choice.role, choice.rollout, choice.stage, choice.unwatched) == (
        "v_a",
        "champion",
        None,
        None,
        True,
    )


@given(units, seconds, shares)
def test_the_stage_history_gives_what_was_served(unit: str, at: datetime, share: float) -> None:
    history = [
        {"share": share / 2, "from": "2026-11-20T09:00:00+00:00", "to": "2026-11-20T10:00:00+00:00"},
        {"share": share, "from": "2026-11-20T11:00:00+00:00", "to": None},
    ]
    given_variant = variant_at(replace(rollout(share), stage_history=history), unit, at)
    if at < T0 or T0 + timedelta(hours=1) <= at < T0 + timedelta(hours=2):
        assert given_variant is None
    else:
        held = share / 2 if at < T0 + timedelta(hours=1) else share
        assert given_variant == ("v_c" if by_the_book("salt", unit, held) else "v_a")


@given(units)
def test_a_unit_is_only_known_by_its_hmac(unit: str) -> None:
    hashed = unit_hmac(b"k" * 32, unit)
    assert len(hashed) == 64
    assert hashed != unit_hmac(b"l" * 32, unit)


@given(seconds, st.integers(1, 10_000))
def test_a_cohort_starts_before_its_members_and_lasts_its_minutes(at: datetime, minutes: int) -> None:
    start = cohort_start(at, minutes)
    assert start <= at < start + timedelta(minutes=minutes)
    assert cohort_start(start, minutes) == start


@given(assignments)
def test_a_token_gives_back_its_assignment(assignment: Assignment) -> None:
    assert verify_token(sign_token(assignment, KEYS), KEYS, assignment.issued_at) == assignment


@given(assignments, st.data())
def test_a_token_with_any_flipped_bit_is_refused(assignment: Assignment, data: st.DataObject) -> None:
    token = bytearray(sign_token(assignment, KEYS).encode())
    place = data.draw(st.integers(0, len(token) - 1))
    token[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(InvalidInput) as refused:
        verify_token(token.decode("latin-1"), KEYS, assignment.issued_at)
    assert refused.value.members["type"] in ("malformed_token", "forged_token", "unknown_key")


@given(st.text() | st.text("abcdefghijklmnopqrstuvwxyzABC0123456789-_.="))
def test_what_was_never_signed_is_refused_whatever_it_is(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        verify_token(text, KEYS, T0)
    assert refused.value.members["type"] in ("malformed_token", "forged_token", "unknown_key")
