"""Reigns are a stack: what was rolled back does not come up again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from optimizer.core.base.errors import Conflict
from optimizer.core.serving.champion import beneath, fall_back, first, reigning, succeed
from optimizer.core.serving.rollout import Champion

T0 = datetime(2026, 11, 20, tzinfo=UTC)


def reigns(*variants: str) -> list[Champion]:
    history = [first(family="f", variant=variants[0], at=T0, by="ann", why="first")]
    for variant in variants[1:]:
        history.append(succeed(history[-1], variant=variant, at=T0, by="ann", why="promoted", forced=False))
    return history


def down(history: list[Champion], **kw: str | None) -> list[Champion]:
    return [*history, fall_back(history, **{"expect": None, "at": T0, "by": "ann", "why": "back", **kw})]


def test_three_champions_go_down_one_by_one():
    history = reigns("A", "B", "C")
    seen = []
    for _ in range(2):
        history = down(history)
        seen.append((history[-1].variant, history[-1].previous))
    assert seen == [("B", 1), ("A", None)]
    with pytest.raises(Conflict, match="no champion before"):
        down(history)


def test_a_new_champion_after_a_rollback_falls_back_to_what_reigned_then():
    history = down(reigns("A", "B"))
    history.append(succeed(history[-1], variant="C", at=T0, by="ann", why="promoted", forced=True))
    assert beneath(history) == history[2]
    assert down(history)[-1].variant == "A"


def test_the_expected_champion_guards_against_saying_it_twice():
    history = down(reigns("A", "B", "C"), expect="C")
    with pytest.raises(Conflict, match="meant for C, but B"):
        down(history, expect="C")


def test_who_reigns_cannot_succeed_itself():
    with pytest.raises(Conflict, match="already is the champion"):
        succeed(reigns("A")[0], variant="A", at=T0, by="ann", why="again", forced=False)


def test_the_order_of_the_history_does_not_matter():
    history = reigns("A", "B")
    assert reigning(history[::-1]).variant == "B"
    assert beneath([replace(r) for r in history[::-1]]) == history[0]
