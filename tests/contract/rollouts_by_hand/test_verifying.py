"""Whatever was changed by hand is found."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine

from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from tests.contract.rollouts_by_hand.world import (
    F,
)
from tests.rollout_acts import operate


def test_a_whole_life_verifies(store, clock, candidate, deploying):
    for act in ("hold", "resume", "advance", "promote"):
        clock.pass_seconds(7)
        operate(deploying.id, act, actor="ann", reason=f"now {act}", confirm=F, store=store, clock=clock)
    report = verify_rollout(deploying.id, store)
    assert report.ok, report.text
    assert report.n_decisions == 8
    assert report.head in report.text


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            "update decisions set content = replace(content, '\"stage\":1', '\"stage\":0') where seq = 5",
            "decision 5 (advance)",
        ),
        ("update decisions set actor = 'eve' where seq = 3", "decision 3 (approve)"),
        ("update decisions set forced = 0 where seq = 5", "decision 5 (advance)"),
        ("delete from decisions where seq = 2", "decision 2 is missing"),
        ("delete from decisions where seq = 5", "version is not what its decisions lead to"),
        ("update decisions set content = substr(content, 2) where seq = 4", "decision 4"),
        ("update decisions set at = 'x' || substr(at, 2) where seq = 4", "cannot be read"),
        ("update rollouts set salt = 'another'", "salt is not what its decisions lead to"),
        ("update rollouts set stage = 0", "stage is not what its decisions lead to"),
        ("update champions set rollout = (select id from rollouts)", "a champion names it"),
    ],
)
def test_whatever_is_changed_by_hand_is_found_and_named(url, store, clock, deploying, change, named):
    operate(deploying.id, "advance", actor="ann", reason="fine", confirm=F, store=store, clock=clock)
    engine = create_engine(url)
    with engine.begin() as connection:
        assert connection.exec_driver_sql(change).rowcount == 1
    engine.dispose()
    report = verify_rollout(deploying.id, store)
    assert not report.ok
    assert named in report.text
