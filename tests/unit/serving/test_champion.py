"""Tenures are a stack: what was rolled back does not come up again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from optimizer.core.base.errors import Conflict
from optimizer.core.serving.champion import (
    beneath,
    current_of,
    fall_back,
    first,
    is_said_again,
    next_tenure,
    taken_back,
)
from optimizer.core.serving.rollout import Champion

T0 = datetime(2026, 11, 20, tzinfo=UTC)


def tenures(*variants: str) -> list[Champion]:
    history = [first(family="f", variant=variants[0], at=T0, by="ann", why="first")]
    for variant in variants[1:]:
        history.append(next_tenure(history[-1], variant=variant, at=T0, by="ann", why="promoted", forced=False))
    return history


def down(history: list[Champion], **kw: str | None) -> list[Champion]:
    return [*history, fall_back(history, **{"expect": None, "at": T0, "by": "ann", "why": "back", **kw})]


def test_three_champions_go_down_one_by_one():
    history = tenures("A", "B", "C")
    seen = []
    for _ in range(2):
        history = down(history)
        seen.append((history[-1].variant, history[-1].previous))
    assert seen == [("B", 1), ("A", None)]
    with pytest.raises(Conflict, match="no champion before"):
        down(history)


def test_a_new_champion_after_a_rollback_falls_back_to_what_was_champion_then():
    history = down(tenures("A", "B"))
    history.append(next_tenure(history[-1], variant="C", at=T0, by="ann", why="promoted", forced=True))
    assert beneath(history) == history[2]
    assert down(history)[-1].variant == "A"


def test_the_expected_champion_guards_against_saying_it_twice():
    history = down(tenures("A", "B", "C"), expect="C")
    with pytest.raises(Conflict, match="meant for C, but B"):
        down(history, expect="C")


@pytest.mark.parametrize(
    ("expect", "to", "minutes", "again"),
    [
        pytest.param(None, None, 9, True, id="without a name"),
        pytest.param("C", None, 9, True, id="the champion that was taken back is expected once more"),
        pytest.param("B", None, 9, False, id="the champion of now is meant"),
        pytest.param("A", None, 9, False, id="some other is expected"),
        pytest.param(None, None, 10, False, id="ten minutes later"),
        pytest.param("C", None, 10, False, id="ten minutes later, for a champion that is none"),
        pytest.param(None, "A", 1, False, id="further back, by name"),
        pytest.param(None, "B", 99, True, id="to where it is"),
    ],
)
def test_a_step_back_that_was_taken_is_not_taken_twice(expect, to, minutes, again):
    history = down(tenures("A", "B", "C"))
    assert is_said_again(history, expect=expect, to=to, at=T0 + timedelta(minutes=minutes)) is again


def test_only_a_rollback_is_said_again_and_no_other_change():
    for history in (tenures("A"), tenures("A", "B"), [*down(tenures("A", "B")), *tenures("A", "B", "C", "D")[3:]]):
        assert taken_back(history) is None
        assert not is_said_again(history, expect=None, to=None, at=T0)


def test_a_named_champion_comes_back_with_its_own_way_back():
    history = tenures("A", "B", "A", "C", "D")
    assert (down(history, to="A")[-1].variant, down(history, to="A")[-1].previous) == ("A", 2)
    assert down(history, to="B")[-1].previous == 1
    with pytest.raises(Conflict, match="X has never been a champion"):
        down(history, to="X")


def test_a_champion_cannot_succeed_itself():
    with pytest.raises(Conflict, match="already is the champion"):
        next_tenure(tenures("A")[0], variant="A", at=T0, by="ann", why="again", forced=False)


def test_the_order_of_the_history_does_not_matter():
    history = tenures("A", "B")
    assert current_of(history[::-1]).variant == "B"
    assert beneath([replace(r) for r in history[::-1]]) == history[0]
