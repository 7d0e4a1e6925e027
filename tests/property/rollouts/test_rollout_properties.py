"""Whatever operators, the tick and changes of champion do to a rollout, in whatever order,
the rules of the state machine hold.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from optimizer.core.base.errors import Conflict, GateNotMet
from optimizer.core.rollout.decision_log import compare, next_decision, replay, verify_chain
from optimizer.core.rollout.transitions import (
    FROM,
    OPERATOR_ACTS,
    Transition,
    TransitionRequest,
    apply,
    possible,
    start,
)
from optimizer.core.serving.rollout import Decision, state
from tests import stores

T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
ACTS = tuple(FROM)[1:]  # all but start
GATES = ({"name": "confirmation", "verdict": "inconclusive", "value": None, "required": None, "reason": "no study"},)
ladders = st.lists(st.integers(1, 99), min_size=1, max_size=5, unique=True).map(
    lambda percents: tuple(p / 100 for p in sorted(percents))
)


@st.composite
def requests(draw: st.DrawFn) -> TransitionRequest:
    at = T0 + timedelta(seconds=draw(st.integers(1, 10_000)))
    act = draw(st.sampled_from(ACTS) | st.sampled_from(("approve", "deploy", "advance", "promote")))
    return TransitionRequest(
        act=act,
        at=at,
        clock_at=T0 + (at - T0) * 60,
        actor=draw(st.sampled_from(["ann", "system:tick"])),
        reason=draw(st.text(max_size=20)),
        confirm=draw(st.sampled_from(["f", "f", "g", None])),
        outcome="champion_changed" if act == "end" else "cancelled",
        lapsed_at=at - timedelta(seconds=draw(st.integers(0, 100))) if act == "lapse" else None,
    )


def begun(ladder: tuple[float, ...]) -> Transition:
    rollout = stores.rollout(family="f", candidate="v_c", champion="v_a", ladder=ladder, version=0)
    request = TransitionRequest(act="start", at=T0, clock_at=T0, actor="ann", reason="start", confirm="f", gates=GATES)
    return start(rollout, request, forced=True)


def lived(ladder: tuple[float, ...], wanted: list[TransitionRequest]) -> list[Transition]:
    """The transitions of the moves that were possible, in order."""
    done = [begun(ladder)]
    for request in wanted:
        try:
            transition = apply(done[-1].rollout, request)
        except (Conflict, GateNotMet):
            continue
        if transition.changed:
            done.append(transition)
    return done


def chain(transitions: list[Transition]) -> list[Decision]:
    decisions: list[Decision] = []
    for transition in transitions:
        decisions.append(next_decision(transition, decisions[-1] if decisions else None))
    return decisions


lives = st.builds(lived, ladders, st.lists(requests(), max_size=25))


@given(lives)
def test_the_share_never_shrinks_while_the_candidate_is_served(life: list[Transition]) -> None:
    shares = [t.rollout.share for t in life if t.rollout.share is not None]
    assert shares == sorted(shares)
    served = [t.rollout.share is not None for t in life]
    assert "".join(map(str, map(int, served))).strip("0").count("0") == 0  # once taken away, it is not given back


@given(lives, requests())
def test_what_has_ended_stays_as_it_is(life: list[Transition], request: TransitionRequest) -> None:
    rollout = life[-1].rollout
    if rollout.is_active:
        return
    assert possible(rollout) == ()
    assert rollout.share is None
    with pytest.raises(Conflict, match="has ended"):
        apply(rollout, request)


@given(lives)
def test_while_held_nothing_goes_up(life: list[Transition]) -> None:
    for before, after in pairwise(life):
        if before.rollout.held:
            assert after.request.act not in ("deploy", "advance", "promote", "adopt")
            assert after.rollout.stage == before.rollout.stage
            assert after.rollout.status != "deployed"


@given(lives)
def test_nobody_goes_up_without_the_familys_name_and_a_forced_mark(life: list[Transition]) -> None:
    for t in life:
        if t.request.act in ("advance", "promote", "adopt"):
            assert t.request.confirm == "f"
            assert t.forced


@given(lives)
def test_only_a_promotion_changes_the_champion_and_outcome_fits_status(life: list[Transition]) -> None:
    for t in life:
        assert (
            (t.champion_change == "v_c")
            == (t.request.act in ("promote", "adopt"))
            == (t.rollout.outcome == "promoted")
            == (t.rollout.status == "deployed")
        )
        if t.rollout.status in ("rolled_back", "failed"):
            assert t.rollout.status == ("rolled_back" if t.rollout.stage_history else "failed")
            assert t.rollout.outcome in ("cancelled", "champion_changed")


@given(lives)
def test_the_stage_history_has_one_open_entry_while_served_and_none_after(life: list[Transition]) -> None:
    for t in life:
        still_open = [s for s in t.rollout.stage_history if s["to"] is None]
        assert len(still_open) == (t.rollout.status == "deploying")
        assert all(s["to"] is None or s["from"] <= s["to"] for s in t.rollout.stage_history)


@given(lives)
def test_versions_and_decisions_count_together(life: list[Transition]) -> None:
    assert [t.rollout.version for t in life] == list(range(1, len(life) + 1)) == [d.seq for d in chain(life)]


@given(lives)
def test_replaying_the_decisions_gives_the_same_state(life: list[Transition]) -> None:
    decisions = chain(life)
    replayed, problems = replay(decisions)
    assert verify_chain(decisions) == problems == []
    assert compare(replayed, life[-1].rollout) == []
    assert replayed is not None
    assert state(replayed) == state(life[-1].rollout)


@given(lives, st.data())
def test_any_changed_member_of_any_decision_is_found_and_named(life: list[Transition], data: st.DataObject) -> None:
    decisions = chain(life)
    place = data.draw(st.integers(0, len(decisions) - 1))
    old = decisions[place]
    member = data.draw(st.sampled_from(["kind", "at", "actor", "reason", "forced", "content", "previous_hash", "hash"]))
    changed = {
        "at": old.at + timedelta(microseconds=1),
        "forced": not old.forced,
        "content": {**old.content, "what": "x" + str(old.content["what"])},
    }.get(member, str(getattr(old, member)) + "x")
    decisions[place] = replace(old, **{member: changed})
    assert old.seq in [p.seq for p in verify_chain(decisions)]


@given(lives)
def test_what_is_said_to_be_possible_is_possible(life: list[Transition]) -> None:
    rollout = life[-1].rollout
    for act in OPERATOR_ACTS:
        request = TransitionRequest(
            act=act, at=T0 + timedelta(days=1), clock_at=T0 + timedelta(days=1), actor="ann", reason="r", confirm="f"
        )
        try:
            changed = apply(rollout, request).changed
        except Conflict:
            changed = False
        assert changed == (act in possible(rollout))
