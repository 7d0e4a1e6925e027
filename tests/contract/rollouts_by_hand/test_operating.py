"""Rollouts as operators move them, one or two at a time."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import Conflict, DetentError, InvalidInput, NotFound, StaleVersion
from optimizer.jobs.outbox.mirror_outbox import TOPICS
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from tests.contract.rollouts_by_hand.world import Acts, F, audited, champion, family, load, version


def test_a_rollout_goes_up_the_ladder_and_becomes_champion(acts, store, candidate, deploying):
    first = champion(store)
    assert deploying.share == 0.1
    told = acts.operate(deploying.id, "advance", reason="fine", confirm=F)
    assert told.what == "stage 1 -> 2 (10 % -> 50 %)"
    assert told.forced
    assert told.undo == f"detent rollout rollback {F}"
    with pytest.raises(Conflict, match="last stage") as refused:
        acts.operate(deploying.id, "advance", confirm=F)
    assert refused.value.members["possible"] == ["hold", "promote", "rollback"]
    told = acts.operate(deploying.id, "promote", reason="fine", confirm=F)
    assert told.undo == f"detent champion rollback {F}"
    ended = load(store, deploying.id)
    assert (ended.status, ended.outcome, ended.lease_expires_at) == ("deployed", "promoted", None)
    with store.read() as tx:
        tenures = store.champions.history(tx, F)
    assert [(r.variant, r.previous, r.rollout) for r in tenures] == [(first, None, None), (candidate, 1, deploying.id)]
    assert tenures[0].until == tenures[1].since


def test_a_held_rollout_only_goes_back(acts, store, deploying):
    acts.operate(deploying.id, "hold", reason="wait")
    again = acts.operate(deploying.id, "hold", reason="wait")
    assert not again.changed
    for act in ("advance", "promote"):
        with pytest.raises(Conflict, match="held"):
            acts.operate(deploying.id, act, confirm=F)
    acts.operate(deploying.id, "rollback", reason="enough")
    assert (load(store, deploying.id).status, load(store, deploying.id).outcome) == ("rolled_back", "cancelled")
    with pytest.raises(Conflict, match="has ended"):
        acts.operate(deploying.id, "rollback", reason="enough")


def test_a_rejected_rollout_has_failed_and_was_never_served(acts, store, candidate):
    started = acts.start(candidate, confirm=F)
    acts.operate(started.id, "reject", actor="bob", reason="no")
    ended = load(store, started.id)
    assert (ended.status, ended.outcome, tuple(ended.stage_history)) == ("failed", "cancelled", ())


def test_the_undo_of_a_rejection_starts_the_same_rollout_by_its_aim_and_study(acts, store, candidate):
    started = acts.start(candidate, confirm=F, aim="cost")
    now = load(store, started.id)
    store.write(lambda tx: store.rollouts.save(tx, replace(now, study="st_1", version=now.version + 1), None))
    rejected = acts.operate(started.id, "reject", actor="bob", reason="no")
    assert rejected.undo.startswith(f"detent rollout start {F} {candidate} --aim cost")
    assert "--study st_1" in rejected.undo


def test_an_act_meant_for_an_older_version_is_stale_but_rollback_never_is(acts, deploying):
    with pytest.raises(StaleVersion):
        acts.operate(deploying.id, "advance", confirm=F, if_match="1")
    acts.operate(deploying.id, "rollback", if_match="1")


def test_promote_and_champion_change_at_once_end_in_one_valid_state(acts, url, clock, store, candidate, deploying):
    other = Database(url)
    edited = family("Summarize.", "Be brief.", current="2")
    gate = threading.Barrier(2)
    errors: list[DetentError] = []

    def run(act) -> None:
        gate.wait()
        try:
            act()
        except DetentError as error:
            errors.append(error)

    both = [
        lambda: acts.operate(deploying.id, "promote", confirm=F),
        lambda: Acts(other, clock).adopt(edited, confirm=F),
    ]
    threads = [threading.Thread(target=run, args=(act,)) for act in both]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    other.close()
    outcome = load(store, deploying.id).outcome
    assert champion(store) == edited.variant().id
    assert (outcome, len(errors)) in [("promoted", 0), ("champion_changed", 1)]
    assert verify_rollout(deploying.id, store).ok


def test_every_change_is_audited_mirrored_and_seen_by_the_serving_processes(acts, store, clock, deploying):
    before = version(store)
    acts.operate(deploying.id, "advance", reason="fine", confirm=F)
    assert version(store) == before + 1
    assert "rollout.advance" in audited(store)
    with store.read() as tx:
        due = [(i.topic, i.subject) for i in store.outbox.due(tx, clock.now(), 50, topics=TOPICS)]
    assert ("rollout", deploying.id) in due


@pytest.mark.parametrize(("reason", "kept"), [("", "no reason given"), ("  ok ", "ok")])
def test_the_reason_is_part_of_the_record(acts, store, deploying, reason, kept):
    acts.operate(deploying.id, "hold", reason=reason)
    with store.read() as tx:
        assert store.rollouts.decisions(tx, deploying.id)[-1].reason == kept


@pytest.mark.parametrize("reason", ["x" * 2001, "\ud800"], ids=["too long", "half a surrogate pair"])
def test_a_reason_that_cannot_be_kept_is_invalid(acts, deploying, reason):
    with pytest.raises(InvalidInput):
        acts.operate(deploying.id, "hold", reason=reason)


def test_an_unknown_rollout_is_not_found(acts, store):
    with pytest.raises(NotFound):
        acts.operate("ro_none", "hold")
    with pytest.raises(NotFound):
        verify_rollout("ro_none", store)
