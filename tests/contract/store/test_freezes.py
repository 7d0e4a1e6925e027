"""What every store does with freezes, and with the rollout that follows another."""

from __future__ import annotations

from optimizer.adapters.store import Database
from optimizer.core.serving.rollout import Freeze
from tests.stores import FAMILY, NOW, minutes, reading, rollout, writing


class TestFreezes:
    def test_a_freeze_stays_until_it_is_removed(self, database: Database) -> None:
        writing(database).freezes.put(FAMILY, "launch", "anna", NOW)
        writing(database).freezes.put("", "audit", "bob", minutes(1))
        assert reading(database).freezes.all() == [
            Freeze(scope="", reason="audit", by="bob", since=minutes(1)),
            Freeze(scope=FAMILY, reason="launch", by="anna", since=NOW),
        ]
        assert writing(database).freezes.remove(FAMILY) is True
        assert writing(database).freezes.remove(FAMILY) is False
        assert [one.scope for one in reading(database).freezes.all()] == [""]


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
            writing(database).rollouts.add(row)
        assert reading(database).rollouts.following(rows[0]) == rows[3]
        assert reading(database).rollouts.following(rows[3]) == rows[2]
        assert reading(database).rollouts.following(rows[2]) is None
