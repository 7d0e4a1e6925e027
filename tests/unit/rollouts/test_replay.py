"""A recorded past, dealt anew: who stands in which arm and stage, and which outcomes count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from optimizer.core.feedback.traffic import PastLabel, PastRequest
from optimizer.core.forecast.selftest import RecordedRollout, Recording
from optimizer.core.serving.assignment import bucket, in_candidate
from optimizer.core.serving.rollout import Rollout, iso
from tests import stores

T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
UNITS = [f"u{n}" for n in range(200)]
SALT = "a fresh one"


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def request(unit: str, minutes: float, **changes: Any) -> PastRequest:
    return PastRequest(unit_hmac=unit, at=at(minutes), failed=False, **changes)


def label(unit: str, minutes: float, value: float = 1.0) -> PastLabel:
    return PastLabel(unit_hmac=unit, at=at(minutes), value=value)


def replay(
    requests: Sequence[PastRequest], labels: Sequence[PastLabel] = (), *, flipped: Sequence[int] = ()
) -> RecordedRollout:
    recording = Recording(requests, labels, cohort_minutes=60, on_clock=lambda at: at)
    return RecordedRollout(recording, salt=SALT, flipped=flipped)


def rollout(*stages: tuple[float, float, float | None]) -> Rollout:
    """``stages``: (share, from, to) in minutes."""
    history = tuple(
        {
            "share": s,
            "from": iso(at(a)),
            "to": None if b is None else iso(at(b)),
            "clock_from": iso(at(a)),
            "clock_to": None,
        }
        for s, a, b in stages
    )
    return stores.rollout(
        salt=SALT, status="deploying", stage=len(stages) - 1, version=len(stages), stage_history=history
    )


ONE = rollout((0.5, 0, None))
TWO = rollout((0.1, 0, 60), (0.5, 60, None))


def test_units_are_dealt_by_the_products_bucket() -> None:
    found = replay([request(u, 1) for u in UNITS]).requests(ONE, T0, at(2))
    assert {r.unit_hmac: r.arm for r in found} == {
        u: "candidate" if in_candidate(bucket(SALT, u), 0.5) else "champion" for u in UNITS
    }


def test_a_cohort_holds_the_units_of_its_hour_and_stage() -> None:
    world = replay([request("u1", 5), request("u2", 59), request("u3", 61), request("u1", 70)])
    assert world.cohort_units(TWO, 0, T0, at(300)).keys() == {"u1", "u2"}
    assert world.cohort_units(TWO, 1, at(60), at(300)).keys() == {"u1", "u3"}
    assert world.cohort_units(TWO, 1, T0, at(300)) == {}


def means(outcomes: Mapping[str, tuple[float, datetime]]) -> dict[str, float]:
    return {unit: mean for unit, (mean, _) in outcomes.items()}


def test_an_outcome_counts_where_the_request_before_it_was_served_and_not_after_its_window() -> None:
    world = replay(
        [request("u1", 5), request("u1", 65)], [label("u1", 62, 1.0), label("u1", 66, 0.0), label("u1", 400, 0.0)]
    )
    assert means(world.outcomes(TWO, 0, ["u1"], at(0), at(300))) == {"u1": 1.0}
    assert means(world.outcomes(TWO, 1, ["u1"], at(0), at(300))) == {"u1": 0.0}
    assert world.outcomes(TWO, 1, ["u1"], at(0), at(64)) == {}


def test_an_outcome_of_an_assignment_before_the_cohort_came_too_late() -> None:
    world = replay([request("u1", 5), request("u1", 130)], [label("u1", 128, 0.0), label("u1", 131, 1.0)])
    assert means(world.outcomes(ONE, 1, ["u1"], at(0), at(300))) == {"u1": 0.5}
    assert means(world.outcomes(ONE, 1, ["u1"], at(120), at(300))) == {"u1": 1.0}


def test_only_the_candidates_successes_are_lost() -> None:
    labels = [label(u, 2) for u in UNITS]
    world = replay([request(u, 1) for u in UNITS], labels, flipped=range(len(labels)))
    arms = world.cohort_units(ONE, 1, T0, at(300))
    found = means(world.outcomes(ONE, 1, UNITS, at(0), at(300)))
    assert {arms[u] for u, value in found.items() if value == 0} == {"candidate"}
    assert {arms[u] for u, value in found.items() if value == 1} == {"champion"}


def test_before_the_rollout_and_in_a_gap_nobody_stands_in_an_arm() -> None:
    lapsed = rollout((0.1, 10, 20), (0.1, 30, None))
    world = replay([request("u1", 5), request("u1", 15), request("u1", 25), request("u1", 35)])
    assert [r.at for r in world.requests(lapsed, T0, at(60))] == [at(15), at(35)]
