"""Single cases of freezing and holding back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from optimizer.core.base.errors import Conflict
from optimizer.core.base.phrasing import when
from optimizer.core.serving.assignment import HELD_BACK_FROM, held_back_until, holdback_of, in_holdback
from optimizer.core.serving.rollout import Champion, Freeze, Gap, is_frozen, may_run, require_unfrozen
from tests.stores import rollout, study

T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
OWN = Freeze(scope="f", reason="launch", by="ann", since=T0)
EVERY = Freeze(scope="", reason="audit", by="bob", since=T0)
ENDED = {"status": "deployed", "outcome": "promoted", "ended_at": T0}
PROMOTED = rollout(family="f", candidate="v_c", champion="v_a", salt="s", settings={"cohort_minutes": 15}, **ENDED)
TENURE = Champion(family="f", seq=2, variant="v_c", since=T0, why="promoted", by="ann", previous=1, rollout="ro_1")


@pytest.mark.parametrize(
    ("freezes", "family", "found"),
    [([], "f", None), ([OWN], "f", OWN), ([OWN], "g", None), ([EVERY], "g", EVERY), ([EVERY, OWN], "f", OWN)],
    ids=["none", "own", "another's", "all", "both"],
)
def test_a_family_is_frozen_by_itself_or_with_all(freezes, family, found):
    assert is_frozen(freezes, family) == found


@pytest.mark.parametrize(
    ("freeze", "command"), [(OWN, "detent unfreeze f"), (EVERY, "detent unfreeze")], ids=["own", "all"]
)
def test_what_a_freeze_stops_is_told_who_froze_and_what_ends_it(freeze, command):
    with pytest.raises(Conflict) as refused:
        require_unfrozen([freeze], "f", "advance rollout ro_1")
    assert refused.value.detail.startswith("Cannot advance rollout ro_1")
    for part in (freeze.by, freeze.reason, when(freeze.since), command):
        assert part in refused.value.detail
    assert refused.value.members["undo"] == command
    require_unfrozen([OWN], "g", "advance")


@pytest.mark.parametrize(("status", "runs"), [("queued", False), ("running", True), ("confirming", True)])
def test_a_freeze_keeps_studies_from_beginning_and_lets_those_go_on_that_have_begun(status, runs):
    assert may_run(study(family="f", status=status), [OWN]) is runs
    assert may_run(study(family="g", status=status), [OWN])


def test_a_promotion_holds_back_for_a_week_of_the_rollout_clock():
    holdback = holdback_of(TENURE, PROMOTED, 1.0, [])
    assert (holdback.rollout, holdback.variant, holdback.salt, holdback.cohort_minutes) == ("ro_1", "v_a", "s", 15)
    assert holdback.until == T0 + timedelta(days=7)
    assert held_back_until(PROMOTED, 60.0, []) == T0 + timedelta(days=7) / 60


@pytest.mark.parametrize(
    ("champion", "latest"),
    [
        (TENURE, None),
        (replace(TENURE, rollout=None), PROMOTED),
        (TENURE, replace(PROMOTED, id="ro_2", status="validating", outcome=None, ended_at=None)),
        (TENURE, replace(PROMOTED, id="ro_2", status="failed", outcome="cancelled")),
        (TENURE, replace(PROMOTED, status="rolled_back", outcome="worse")),
    ],
    ids=["no rollout", "another champion", "a new rollout", "a new rollout that ended", "never promoted"],
)
def test_nobody_is_held_back_without_a_promotion_or_after_its_end(champion, latest):
    assert holdback_of(champion, latest, 1.0, []) is None


@pytest.mark.parametrize(
    ("frozen", "days"),
    [
        ([(1, 3)], 9),
        ([(2, 4), (1, 3)], 10),  # one of the family, one of all
        ([(1, 5), (2, 3)], 11),
        ([(6, 20), (21, 22)], 21),
        ([(6, 20), (20.5, 22)], 22.5),
        ([(-5, -4), (7, 9)], 7),
    ],
)
def test_the_week_of_a_holdback_does_not_count_freezes(frozen, days):
    freezes = [Gap(since=T0 + timedelta(days=since), until=T0 + timedelta(days=until)) for since, until in frozen]
    assert held_back_until(PROMOTED, 1.0, freezes) == T0 + timedelta(days=days)


def test_the_border_of_the_holdback_is_the_contracts():
    assert HELD_BACK_FROM == 4080218931  # floor(.95 x 2^32)
    assert in_holdback(HELD_BACK_FROM)
    assert not in_holdback(HELD_BACK_FROM - 1)
