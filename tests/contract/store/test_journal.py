"""What every ports.Journal must do: no answer is lost, asked for twice, or spent without being counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import NotFound
from optimizer.core.base.values import Spend
from tests.stores import NOW, answer, call, minutes, reading, writing

LONG_AGO = NOW - timedelta(days=365)


class TestFinding:
    def test_a_study_finds_its_own_answer_at_any_age_and_temperature(self, database: Database) -> None:
        writing(database).journal.send(call(temperature=0.7))
        writing(database).journal.settle("ca_1", answer(), LONG_AGO)
        assert reading(database).journal.find("key 1", study="st_1", not_before=NOW) == replace(
            answer(), from_journal=True
        )

    @pytest.mark.parametrize("study", ["st_2", None])
    @pytest.mark.parametrize(
        ("temperature", "settled_at", "found"),
        [(0.0, NOW, True), (0.0, NOW - timedelta(seconds=1), False), (0.1, NOW, False)],
        ids=["cold and young", "too old", "warm"],
    )
    def test_others_find_it_only_cold_and_young(
        self, database: Database, study: str | None, temperature: float, settled_at: object, found: bool
    ) -> None:
        writing(database).journal.send(call(temperature=temperature))
        writing(database).journal.settle("ca_1", answer(), settled_at)
        assert (reading(database).journal.find("key 1", study=study, not_before=NOW) is not None) == found

    def test_its_own_answer_comes_before_an_older_one_of_another_study(self, database: Database) -> None:
        writing(database).journal.send(call("ca_1", study="st_2"))
        writing(database).journal.settle("ca_1", answer("theirs"), NOW)
        writing(database).journal.send(call("ca_2"))
        writing(database).journal.settle("ca_2", answer("own"), minutes(1))
        found = reading(database).journal.find("key 1", study="st_1", not_before=NOW)
        assert found.text == "own"

    def test_what_was_sent_failed_or_lost_is_no_answer(self, database: Database) -> None:
        for id in ("ca_1", "ca_2", "ca_3"):
            writing(database).journal.send(call(id, study="st_2" if id == "ca_3" else "st_1"))
        writing(database).journal.fail("ca_1", "timeout", 0.0, NOW)
        writing(database).journal.mark_lost("st_2", NOW)
        assert reading(database).journal.find("key 1", study="st_1", not_before=LONG_AGO) is None

    def test_another_key_is_another_answer(self, database: Database) -> None:
        writing(database).journal.send(call())
        writing(database).journal.settle("ca_1", answer(), NOW)
        assert reading(database).journal.find("key 2", study="st_1", not_before=NOW) is None

    def test_of_many_keys_at_once_each_finds_its_own_study_s_answer_first(self, database: Database) -> None:
        made = [
            ("ca_1", "key 1", "st_2", 0.0),
            ("ca_2", "key 1", "st_1", 0.0),
            ("ca_3", "key 2", "st_2", 0.0),
            ("ca_4", "key 3", "st_2", 0.7),
        ]
        for n, (id, key, study, temperature) in enumerate(made):
            writing(database).journal.send(replace(call(id, study=study, temperature=temperature), key=key))
            writing(database).journal.settle(id, answer(id), minutes(n))
        for study, expected in (
            ("st_1", {"key 1": "ca_2", "key 2": "ca_3"}),
            ("st_2", {"key 1": "ca_1", "key 2": "ca_3", "key 3": "ca_4"}),
            (None, {"key 1": "ca_1", "key 2": "ca_3"}),
        ):
            found = reading(database).journal.find_all(
                ["key 1", "key 2", "key 3", "key 4"], study=study, not_before=NOW
            )
            assert {key: one.text for key, one in found.items()} == expected
            assert all(one.from_journal for one in found.values())
        assert reading(database).journal.find_all([], study="st_1", not_before=NOW) == {}

    def test_more_keys_than_one_query_takes(self, database: Database) -> None:
        for n in (3, 1203):
            writing(database).journal.send(replace(call(f"ca_{n}"), key=f"key {n}"))
            writing(database).journal.settle(f"ca_{n}", answer(str(n)), NOW)
        found = reading(database).journal.find_all([f"key {n}" for n in range(1300)], study="st_1", not_before=NOW)
        assert {key: one.text for key, one in found.items()} == {"key 3": "3", "key 1203": "1203"}


class TestReading:
    def test_a_study_has_its_first_answer_per_key_and_the_latencies_per_model(self, database: Database) -> None:
        made = {
            "ca_1": ("st_1", "key 1", 30.0),
            "ca_2": ("st_1", "key 1", 20.0),
            "ca_3": ("st_1", "key 2", 10.0),
            "ca_4": ("st_2", "key 3", 5.0),
        }
        for n, (id, (study, key, latency_ms)) in enumerate(made.items()):
            writing(database).journal.send(replace(call(id, study=study), key=key))
            writing(database).journal.settle(id, replace(answer(id), latency_ms=latency_ms), minutes(n))
        writing(database).journal.send(call("ca_5"))
        assert {key: found.text for key, found in reading(database).journal.answers("st_1").items()} == {
            "key 1": "ca_1",
            "key 2": "ca_3",
        }
        assert reading(database).journal.latencies("st_1", call().model) == [10.0, 20.0, 30.0]
        assert reading(database).journal.latencies("st_1", "another") == []


class TestSpending:
    def test_calls_in_flight_and_lost_count_at_their_reserved_price_and_others_at_their_cost(
        self, database: Database
    ) -> None:
        for id in ("settled", "failed", "lost"):
            writing(database).journal.send(call(id))
        writing(database).journal.settle("settled", answer(cost_usd=0.25), NOW)
        writing(database).journal.fail("failed", "http 500", 0.125, NOW)
        assert writing(database).journal.mark_lost("st_1", NOW) == 1
        writing(database).journal.send(call("sent"))
        writing(database).journal.send(call("of another study", study="st_2", reserved_usd=100.0))
        assert reading(database).journal.spend("st_1") == Spend(usd=0.25 + 0.125 + 0.5 + 0.5, n_calls=4, n_lost=1)

    def test_a_study_without_calls_has_spent_nothing(self, database: Database) -> None:
        assert reading(database).journal.spend("st_1") == Spend()

    def test_marking_lost_twice_counts_once(self, database: Database) -> None:
        writing(database).journal.send(call())
        assert [writing(database).journal.mark_lost("st_1", NOW), writing(database).journal.mark_lost("st_1", NOW)] == [
            1,
            0,
        ]

    def test_an_answer_to_a_lost_call_is_kept_when_it_comes_after_all(self, database: Database) -> None:
        writing(database).journal.send(call())
        writing(database).journal.mark_lost("st_1", NOW)
        writing(database).journal.settle("ca_1", answer(), minutes(1))
        assert reading(database).journal.find("key 1", study="st_1", not_before=NOW) is not None
        assert reading(database).journal.spend("st_1") == Spend(usd=0.25, n_calls=1, n_lost=0)


class TestRows:
    def test_calls_come_back_as_they_were_written_in_the_order_sent(self, database: Database) -> None:
        second, first = call("ca_1", sent_at=minutes(1), request={"messages": []}), call("ca_2", attempt=2)
        writing(database).journal.send(second)
        writing(database).journal.send(first)
        writing(database).journal.settle("ca_1", answer(raw_message={"tool_calls": []}), minutes(2))
        writing(database).journal.fail("ca_2", "timeout", 0.0, minutes(3))
        assert reading(database).journal.calls("st_1") == [
            replace(first, status="failed", error="timeout", settled_at=minutes(3)),
            replace(second, status="settled", answer=answer(raw_message={"tool_calls": []}), settled_at=minutes(2)),
        ]

    def test_a_call_that_was_never_journaled_cannot_be_settled(self, database: Database) -> None:
        with pytest.raises(NotFound, match="journaled"):
            writing(database).journal.settle("ca_9", answer(), NOW)
        with pytest.raises(NotFound, match="journaled"):
            writing(database).journal.fail("ca_9", "timeout", 0.0, NOW)
