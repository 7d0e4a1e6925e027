"""What every ports.Rollouts, Champions, Overrides and ServingVersion must do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import Conflict, NotFound, StaleVersion
from optimizer.core.serving.assignment import Override
from optimizer.core.serving.rollout import Champion, Decision
from optimizer.ports import EvidenceRow
from tests.stores import FAMILY, NOW, minutes, reading, rollout, writing

DECISION = Decision(
    rollout="ro_1",
    seq=1,
    kind="start",
    at=NOW,
    actor="anna",
    reason="a try",
    forced=False,
    content={"b": 1, "a": 0.5},
    previous_hash="",
    hash="x",
)


class TestRollouts:
    def test_a_rollout_comes_back_as_it_was_written(self, database: Database) -> None:
        history = ({"share": 0.1, "from": NOW.isoformat(), "to": None},)
        written = rollout(stage_history=history, lease_expires_at=NOW, outcome=None, forced=True, study="st_1")
        writing(database).rollouts.add(written)
        assert reading(database).rollouts.get("ro_1") == written
        assert reading(database).rollouts.active(FAMILY) == written
        assert reading(database).rollouts.get("ro_9") is None

    def test_a_family_has_one_active_rollout(self, database: Database) -> None:
        writing(database).rollouts.add(rollout("ro_1"))
        with pytest.raises(Conflict, match="ro_1"):
            writing(database).rollouts.add(rollout("ro_2"))
        writing(database).rollouts.save(rollout("ro_1", status="failed", version=2), None)
        later = rollout("ro_2", created_at=minutes(1))
        writing(database).rollouts.add(later)
        with database.read() as tx:
            assert database.rollouts.active(tx, FAMILY) == later
            assert database.rollouts.latest(tx, FAMILY) == later
            assert database.rollouts.latest(tx, FAMILY, before=later.created_at).id == "ro_1"
            assert database.rollouts.latest(tx, FAMILY, before=NOW) is None
            assert database.rollouts.all_active(tx) == [later]

    def test_what_is_known_of_all_families_at_once_is_what_is_known_of_each(self, database: Database) -> None:
        ended = {"status": "failed", "outcome": "cancelled"}
        rollouts = [
            rollout("ro_1", **ended),
            rollout("ro_2", **ended, created_at=minutes(1)),
            rollout("ro_3", family="other", **ended, created_at=minutes(2)),
            rollout("ro_4", family="other", created_at=minutes(2)),
        ]
        looked = EvidenceRow(n_blocks=3, state="{}", updated_at=NOW)
        for one in rollouts:
            writing(database).rollouts.add(one)
            writing(database).blocks.put_state(one.id, looked)
        with database.read() as tx:
            latest = {family: database.rollouts.latest(tx, family) for family in (FAMILY, "other")}
            assert database.rollouts.all_latest(tx) == latest
            assert {family: one.id for family, one in latest.items() if one} == {FAMILY: "ro_2", "other": "ro_4"}
            assert database.blocks.states_of_active(tx) == {"ro_4": looked}

    def test_a_change_made_for_an_older_version_is_refused_with_its_decision(self, database: Database) -> None:
        writing(database).rollouts.add(rollout())
        writing(database).rollouts.save(rollout(version=2, held=True), DECISION)
        with pytest.raises(StaleVersion, match="version 2"):
            writing(database).rollouts.save(rollout(version=2), replace(DECISION, seq=2))
        with pytest.raises(NotFound):
            writing(database).rollouts.save(rollout("ro_9", version=2), None)
        assert reading(database).rollouts.get("ro_1") == rollout(version=2, held=True)
        assert reading(database).rollouts.decisions("ro_1") == [DECISION]

    def test_two_decisions_cannot_have_one_number(self, database: Database) -> None:
        writing(database).rollouts.add(rollout())
        writing(database).rollouts.save(rollout(version=2), DECISION)
        with pytest.raises(Exception, match="UNIQUE"):
            writing(database).rollouts.save(rollout(version=3), DECISION)
        assert reading(database).rollouts.get("ro_1") == rollout(version=2)

    def test_a_lease_is_renewed_without_a_new_version(self, database: Database) -> None:
        writing(database).rollouts.add(rollout())
        writing(database).rollouts.renew_lease("ro_1", minutes(1))
        assert reading(database).rollouts.get("ro_1") == rollout(lease_expires_at=minutes(1))


class TestChampions:
    def test_a_new_tenure_ends_the_one_before(self, database: Database) -> None:
        first = Champion(family=FAMILY, seq=1, variant="v_a", since=NOW, why="first", by="anna")
        second = Champion(
            family=FAMILY, seq=2, variant="v_b", since=minutes(5), why="promoted", by="anna", previous=1, rollout="ro_1"
        )
        other = Champion(family="triage", seq=1, variant="v_c", since=NOW, why="first", by="anna")
        for champion in (first, other, second):
            writing(database).champions.put(champion)
        with database.read() as tx:
            assert database.champions.current(tx, FAMILY) == second
            assert database.champions.history(tx, FAMILY) == [replace(first, until=minutes(5)), second]
            assert database.champions.current(tx, "triage") == other
            assert database.champions.current(tx, "unknown") is None


class TestOverrides:
    def test_the_last_word_on_a_unit_holds_until_its_time(self, database: Database) -> None:
        until = NOW + timedelta(hours=1)
        for variant in ("v_a", "v_b"):
            override = Override(variant, until, f"hash of u1 for {variant}")
            writing(database).overrides.put(FAMILY, "u1", override, "anna", NOW)
        assert reading(database).overrides.active(NOW) == [(FAMILY, "u1", override)]
        assert reading(database).overrides.active(until) == []


class TestServingVersion:
    def test_it_rises_with_every_change_and_not_with_a_tick(self, database: Database) -> None:
        def read() -> object:
            return reading(database).serving_version.read()

        assert read() == (0, None)
        writing(database).serving_version.ticked(NOW)
        assert read() == (0, NOW)
        for _ in range(2):
            database.write(database.serving_version.bump)
        writing(database).serving_version.ticked(minutes(1))
        assert read() == (2, minutes(1))

    def test_its_mark_stays_until_anything_at_all_is_committed_by_any_process(self, database: Database) -> None:
        def mark() -> object:
            return reading(database).serving_version.mark()

        other, marks = Database(database.url), [mark()]
        assert mark() == marks[0]
        for writer, scope in ((database, FAMILY), (other, "")):
            writing(writer).freezes.put(scope, "launch", "anna", NOW)
            assert mark() not in marks
            marks.append(mark())
            assert mark() == marks[-1]
        other.close()
        with database.read() as first, database.read() as second:  # the numbers of two connections say nothing
            assert database.serving_version.mark(first) != database.serving_version.mark(second)
