"""What every store does with freezes, and with the rollout that follows another."""

from __future__ import annotations

from optimizer.adapters.store import Database
from optimizer.core.serving.rollout import Freeze
from tests.stores import FAMILY, NOW, minutes, rollout


class TestFreezes:
    def test_a_freeze_stays_until_it_is_removed(self, database: Database) -> None:
        database.write(lambda tx: database.freezes.put(tx, FAMILY, "launch", "anna", NOW))
        database.write(lambda tx: database.freezes.put(tx, "", "audit", "bob", minutes(1)))
        with database.read() as tx:
            assert database.freezes.all(tx) == [
                Freeze(scope="", reason="audit", by="bob", since=minutes(1)),
                Freeze(scope=FAMILY, reason="launch", by="anna", since=NOW),
            ]
        assert database.write(lambda tx: database.freezes.remove(tx, FAMILY)) is True
        assert database.write(lambda tx: database.freezes.remove(tx, FAMILY)) is False
        with database.read() as tx:
            assert [one.scope for one in database.freezes.all(tx)] == [""]


class TestFollowingRollout:
    def test_the_next_rollout_of_the_family_is_the_one_made_first_after_it(self, database: Database) -> None:
        ended = {"status": "rolled_back", "outcome": "cancelled"}
        rows = [
            rollout("ro_1", **ended),
            rollout("ro_9", family="triage", created_at=minutes(1), **ended),
            rollout("ro_3", created_at=minutes(3), **ended),
            rollout("ro_2", created_at=minutes(2), **ended),
        ]
        for row in rows:
            database.write(lambda tx, row=row: database.rollouts.add(tx, row))
        with database.read() as tx:
            assert database.rollouts.following(tx, rows[0]) == rows[3]
            assert database.rollouts.following(tx, rows[3]) == rows[2]
            assert database.rollouts.following(tx, rows[2]) is None
