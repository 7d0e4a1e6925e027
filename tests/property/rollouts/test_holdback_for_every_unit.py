"""After a promotion the contract's 5 % stay where they were, for the whole period; a freeze goes before everything."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies as st

from optimizer.core.serving.assignment import Choice, Holdback, bucket, in_candidate, in_holdback, variant_at
from optimizer.core.serving.rollout import Rollout
from tests import stores
from tests.chosen import chosen

T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
WEEK = timedelta(days=7)
units = st.text(max_size=60) | st.integers(0, 10**6).map("user-{}".format)
salts = st.text("0123456789abcdef", min_size=1, max_size=32)
within = st.timedeltas(timedelta(0), WEEK - timedelta(microseconds=1))


def promoted(salt: str, share: float = 0.5) -> Rollout:
    history = ({"share": share, "from": (T0 - timedelta(hours=1)).isoformat(), "to": T0.isoformat()},)
    served = {"candidate": "v_new", "champion": "v_old", "ladder": (share,), "salt": salt, "stage_history": history}
    return stores.rollout(family="f", status="deployed", stage=0, outcome="promoted", ended_at=T0, **served)


def holdback(salt: str) -> Holdback:
    return Holdback(rollout="ro_1", variant="v_old", salt=salt, until=T0 + WEEK, cohort_minutes=60)


def served(salt: str, unit: str, after: timedelta) -> Choice:
    return chosen(unit, T0 + after, unit_hmac="h", champion="v_new", holdback=holdback(salt))


def by_the_book(salt: str, unit: str) -> bool:
    """The contract's sentence by another road: hex digits, and .95 as a fraction."""
    digits = hashlib.sha256(salt.encode() + b"\x00" + unit.encode()).hexdigest()[:8]
    return int(digits, 16) >= 95 * 2**32 // 100


@given(salts, units, within)
def test_the_units_held_back_are_exactly_those_of_the_formula(salt: str, unit: str, after: timedelta) -> None:
    held = by_the_book(salt, unit)
    expected = ("v_old", "holdback") if held else ("v_new", "champion")
    choice = served(salt, unit, after)
    assert (choice.variant, choice.role) == expected
    assert (choice.rollout, choice.stage, choice.counted) == ("ro_1", None, True)


@given(salts, units, within, within)
def test_a_unit_never_changes_its_variant_within_the_period(salt, unit, one, other):
    assert served(salt, unit, one) == served(salt, unit, other)


@given(salts, units, st.timedeltas(WEEK, 10 * WEEK))
def test_after_the_period_everybody_gets_the_champion_outside_any_arm(salt: str, unit: str, after: timedelta) -> None:
    assert served(salt, unit, after) == Choice(variant="v_new", role="champion")


@given(salts, units, st.floats(0, 0.95))
def test_whom_a_stage_gave_the_candidate_no_promotion_takes_it_from(salt: str, unit: str, share: float) -> None:
    b = bucket(salt, unit)
    assert not (in_candidate(b, share) and in_holdback(b))


@given(salts, units, within)
def test_events_without_a_token_are_placed_where_the_unit_was_served(salt: str, unit: str, after: timedelta) -> None:
    at = T0 + after
    assert variant_at(promoted(salt), unit, at, holdback(salt).until) == served(salt, unit, after).variant
    assert variant_at(promoted(salt), unit, at) is None
    assert variant_at(promoted(salt), unit, T0 + WEEK, holdback(salt).until) is None


@given(
    salts,
    st.none() | units,
    st.sampled_from(["pending", "validating", "approved", "deploying"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_a_freeze_goes_before_everything(salt, unit, status, with_rollout, with_override, with_holdback):
    deploying = replace(
        promoted(salt, 0.99),
        status=status,
        outcome=None,
        ended_at=None,
        lease_expires_at=T0 + timedelta(minutes=1),  # type: ignore[arg-type]
    )
    choice = chosen(
        unit,
        T0,
        unit_hmac="h",
        champion="v_old",
        rollout=deploying if with_rollout else None,
        overrides={"h": ("v_x", T0 + timedelta(hours=1))} if with_override else {},
        holdback=holdback(salt) if with_holdback else None,
        frozen=True,
    )
    assert choice == Choice(variant="v_old", role="champion")
