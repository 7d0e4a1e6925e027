"""What follows from an evidence state: the gravest finding first, and what only a person or time can change."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from optimizer.core.rollout.blocks import (
    FIRST_PREVIOUS_HASH,
    GuardrailLimits,
    ReportedRequest,
    chain_blocks,
    guardrail_content,
)
from optimizer.core.rollout.evidence_state import EvidenceState, Minute, Silence, StageCounts, after, begin
from optimizer.core.rollout.next_action import ACTOR, SILENT_FOR, NextAction, guardrail_alarm, next_action
from optimizer.core.serving.rollout import Rollout, iso
from optimizer.core.statistics.outcomes import Evidence
from optimizer.core.statistics.quality_gate import QualityGate
from tests import stores

T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SETTINGS: dict[str, Any] = {
    "margin": 0.05,
    "champion_mean": 0.8,
    "metric": {"field": "success", "source": "user"},
    "min_labelled_per_stage": 200,
    "min_duration_hours": 24,
    "min_dwell_minutes": 0,
    "max_labelled": 8000,
    "max_days": 30,
    "guardrails": {"min_history": 500},
}
LADDER = (0.1, 0.5, 0.75)
CERTAIN = 10.0  # a log e-value beyond every threshold


def rollout(stage: int = 0, **changes: Any) -> Rollout:
    history = [
        {"share": s, "from": iso(T0), "to": iso(T0), "clock_from": iso(T0), "clock_to": iso(T0)}
        for s in LADDER[: stage + 1]
    ]
    history[-1] = {**history[-1], "to": None, "clock_to": None}
    usual: dict[str, Any] = {"family": "f", "ladder": LADDER, "status": "deploying", "stage": stage, "started_at": T0}
    return stores.rollout(**{**usual, "settings": SETTINGS, "stage_history": tuple(history), **changes})


def state(*, stage: int = 0, labelled: int = 300, **peaks: float) -> EvidenceState:
    """With a baseline, and evidence as named."""
    start = begin(SETTINGS)
    names = ("ship3", "ship2", "ship1", "sup", "roll")
    found = tuple(replace(e, peak=peaks.get(n, 0.0)) for n, e in zip(names, start.quality.evidence, strict=True))
    gate: QualityGate = replace(
        start.quality, evidence=found, stage=stage, labelled=labelled, labelled_in_stage=labelled
    )
    return replace(start, quality=gate, baseline={"frozen_at": iso(T0)}, compared=tuple(range(len(LADDER))))


def judged(of: Rollout, known: EvidenceState, *, hours: float = 48.0) -> NextAction:
    return next_action(of, known, at=T0 + timedelta(hours=hours), clock_at=T0 + timedelta(hours=hours))


def alarmed(known: EvidenceState) -> EvidenceState:
    errors = known.guardrails["errors"]
    return replace(
        known,
        guardrails={"errors": replace(errors, evidence=Evidence(weights=(1.0,), components=(0.0,), peak=CERTAIN))},
    )


def lopsided(known: EvidenceState) -> EvidenceState:
    return replace(known, stages={0: StageCounts(units_c=500, units_b=500, ratio_peak=CERTAIN)})


def test_of_several_findings_the_gravest_decides() -> None:
    known = state(ship3=CERTAIN)
    assert judged(rollout(), known).act == "advance"
    known = replace(known, quality=state(ship3=CERTAIN, roll=CERTAIN).quality)
    assert (judged(rollout(), known).act, judged(rollout(), known).outcome) == ("rollback", "worse")
    assert judged(rollout(), alarmed(known)).outcome == "guardrail"
    assert judged(rollout(), lopsided(alarmed(known))).outcome == "invalid"


def test_labels_alone_carry_nobody_on_while_the_guardrails_are_blind() -> None:
    seen = state(stage=1, ship2=CERTAIN, ship1=CERTAIN)
    assert judged(rollout(1), seen).act == "advance"
    blind = replace(seen, compared=(0,))
    assert judged(rollout(1), blind).act == "wait"
    assert "not compared requests of both arms" in judged(rollout(1), blind).reason


def test_the_last_stage_promotes_and_only_after_the_least_duration() -> None:
    known = state(stage=2, ship1=CERTAIN)
    assert judged(rollout(2), known, hours=25).act == "promote"
    assert judged(rollout(2), known, hours=23).waits_for == ("the rollout's minimum duration is not over",)


def test_evidence_that_is_there_still_waits_for_labels_of_this_stage() -> None:
    assert judged(rollout(1), state(stage=0, ship1=CERTAIN)).waits_for == (
        "0 labelled outcomes in this stage, 200 are needed",
    )


def test_what_is_not_shown_within_the_limits_ends_inconclusive() -> None:
    assert judged(rollout(), state(labelled=8000)).outcome == "inconclusive"
    assert judged(rollout(), state(), hours=30 * 24).outcome == "inconclusive"
    assert judged(rollout(held=True, held_by="ann"), state(ship3=CERTAIN), hours=30 * 24).outcome == "inconclusive"


def test_every_step_waits_for_a_baseline_also_after_one_was_forced_without() -> None:
    unknown = replace(state(ship3=CERTAIN), baseline=None)
    for waits_for in (
        judged(rollout(), unknown).waits_for,
        judged(rollout(1), replace(state(stage=1, ship1=CERTAIN), baseline=None)).waits_for,
    ):
        assert waits_for[0].startswith("the guardrails need 500 reported requests of the champion to compare with")


def test_time_in_which_nobody_was_served_counts_for_no_duration() -> None:
    known = state(stage=2, ship1=CERTAIN)
    *before, last = rollout(2).stage_history
    lapse, end = iso(T0 + timedelta(hours=1)), iso(T0 + timedelta(hours=21))
    lapsed = rollout(
        2, stage_history=(*before, {**last, "to": lapse, "clock_to": lapse}, {**last, "from": end, "clock_from": end})
    )
    assert judged(lapsed, known, hours=25).waits_for == ("the rollout's minimum duration is not over",)
    assert judged(lapsed, known, hours=45).act == "promote"
    dwelling = replace(lapsed, settings={**lapsed.settings, "min_duration_hours": 0, "min_dwell_minutes": 600})
    assert judged(dwelling, known, hours=25).waits_for == ("the stage's minimum time is not over",)
    assert judged(dwelling, known, hours=31).act == "promote"


def failures(of: Rollout, champion: str, *, n: int = 10) -> EvidenceState:
    """One block: ``n`` failures of the candidate's five users, after ``champion``:
    one letter for each of its requests, x = failed.
    """

    def request(i: int, arm: Any, unit: str, failed: bool) -> ReportedRequest:
        at = T0 + timedelta(milliseconds=i)
        return ReportedRequest(unit_hmac=unit, arm=arm, at=at, counted_at=at, stage=of.stage, failed=failed)

    before = [request(i, "champion", f"b{i}", letter == "x") for i, letter in enumerate(champion)]
    meanwhile = [request(100 + i, "candidate", f"c{i % 5}", True) for i in range(n)]
    nobody = {"counted": set(), "fetches": {"candidate": 0, "champion": 0}, "numbers": {}}
    requests = [*before, *meanwhile]
    content = guardrail_content(begun=T0, stage=of.stage, requests=requests, limits=GuardrailLimits(), **nobody)
    (block,) = chain_blocks("ro_1", [("guardrails", content)], n_before=0, head=FIRST_PREVIOUS_HASH, closed_at=T0)
    return after(state(), block, SETTINGS, LADDER)


@pytest.mark.parametrize(("stage", "act"), [(0, "rollback"), (1, "rollback"), (2, "wait")])
def test_ten_failures_while_the_champion_was_not_asked_count_only_where_it_has_half_of_the_units(stage, act):
    of = rollout(stage)
    assert judged(of, failures(of, "..........")).act == act


def test_a_shared_incident_holds_and_is_taken_back_when_it_is_over_but_never_from_a_person() -> None:
    of = rollout()
    outage = failures(of, "....xxxxxx")
    found = judged(of, outage)
    assert (found.act, set(found.alerts)) == ("hold", {"shared_incident"})
    assert judged(replace(of, held=True, held_by=ACTOR), outage).act == "wait"
    assert judged(replace(of, held=True, held_by=ACTOR), state()).act == "resume"
    assert judged(replace(of, held=True, held_by="ann"), state()).act == "wait"


@pytest.mark.parametrize(
    ("costs", "ends"),
    [([0.01] * 19 + [0.9], False), ([0.06, 0.05] * 10, False), ([0.06, 0.07] * 10, True), ([0.06] * 20, True)],
)
def test_a_candidate_is_dearer_than_the_familys_limit_only_beyond_chance(costs: list[float], ends: bool) -> None:
    limited = rollout(settings={**SETTINGS, "limits": {"cost_usd_per_call": 0.05}})
    sums = {"n_cost": len(costs), "cost_usd": sum(costs), "cost_squares": sum(c * c for c in costs)}
    known = replace(state(), minutes=(Minute(minute=int(T0.timestamp()) // 60, **sums),))
    assert (guardrail_alarm(limited, known, at=T0) is not None) == ends


def silent(*, found_at: datetime) -> EvidenceState:
    silence = Silence(stage=0, since=T0, fetches_c=50, fetches_b=450, reports_b=450, found_at=found_at)
    return replace(state(), silence=silence)


def test_a_silence_lasts_only_while_something_is_seen_of_it() -> None:
    """Nobody asks for anything any more: five minutes later no more is known than when it was found."""
    known, at = silent(found_at=T0), T0 + 2 * SILENT_FOR
    assert guardrail_alarm(rollout(), replace(known, seen_until=T0 + SILENT_FOR / 2), at=at) is None
    assert guardrail_alarm(rollout(), replace(known, seen_until=T0 + SILENT_FOR), at=at) is not None


def test_silence_holds_at_once_and_alarms_when_it_lasts() -> None:
    at = T0 + timedelta(hours=48)
    known = silent(found_at=at - SILENT_FOR / 2)
    assert judged(rollout(), known).act == "hold"
    assert guardrail_alarm(rollout(), known, at=at) is None
    assert "0 reports on 50 fetches" in (guardrail_alarm(rollout(), known, at=at + SILENT_FOR / 2) or "")


@pytest.mark.parametrize(
    ("n", "n_slow", "ends"),
    [(100, 6, False), (100, 18, False), (100, 19, True), (1000, 86, False), (1000, 87, True), (99, 99, False)],
)
def test_a_candidate_is_slower_than_the_familys_limit_only_beyond_chance(n: int, n_slow: int, ends: bool) -> None:
    """A candidate that takes that long once in fifty requests, as its champion does,
    would otherwise be rolled back in most days.
    """
    limited = rollout(settings={**SETTINGS, "limits": {"p95_latency_ms": 5000.0}})
    known = replace(state(), minutes=(Minute(minute=int(T0.timestamp()) // 60, n_latency=n, n_slow=n_slow),))
    assert (guardrail_alarm(limited, known, at=T0) is not None) == ends


@pytest.mark.parametrize(("mean", "bet_from"), [(0.0, 0.0), (0.8, 0.8), (None, 0.5)])
def test_a_champion_that_never_succeeds_is_known_to_and_only_an_unknown_mean_is_taken_for_a_half(mean, bet_from):
    assert begin({**SETTINGS, "champion_mean": mean}).quality.champion.prior_mean == bet_from
