"""What ports.Variants, Reviews, Outbox, Alerts, ApiKeys, Audit, Exposures and Performance must do."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.adapters.store.repositories.api_keys import MOST_CALLERS
from optimizer.core.base.errors import Conflict, InvalidInput, NotFound
from optimizer.core.family.variant import VariantRecord
from optimizer.core.serving.access import access_of
from optimizer.core.views.rollout_status import ArmExposures
from optimizer.ports import Alert, DaySums, KeyRecord
from optimizer.ports.alerts import ALERT_TOPIC, message_of
from tests.rows.evaluations import batch_of, check_of
from tests.stores import (
    FAMILY,
    NOW,
    arm,
    daily_performance,
    feedback,
    interaction,
    keep_events,
    minutes,
    reading,
    rollout,
    variant,
    writing,
)


def alert(id: str = "al_1", **changes: Any) -> Alert:
    usual = {"kind": "frozen", "detail": "…", "level": "info", "opened_at": NOW, "family": FAMILY}
    return Alert(id=id, **{**usual, **changes})


class TestVariants:
    def test_equal_content_is_stored_once_per_family(self, database: Database) -> None:
        def record(family: str, note: str) -> VariantRecord:
            return VariantRecord(
                family=family, variant=variant(), source="person", created_at=NOW, created_by="anna", note=note
            )

        added = [
            writing(database).variants.add(r) for r in (record(FAMILY, "1"), record(FAMILY, "2"), record("triage", "3"))
        ]
        assert added == [True, False, True]
        with database.read() as tx:
            assert database.variants.get(tx, FAMILY, variant().id) == record(FAMILY, "1")
            assert database.variants.of_family(tx, FAMILY) == [record(FAMILY, "1")]
            assert database.variants.ids(tx, FAMILY) == {variant().id}
            assert database.variants.get(tx, "other", variant().id) is None


class TestReviews:
    @pytest.fixture
    def asked(self, database: Database) -> Database:
        writing(database).reviews.open("rv_1", FAMILY, "release_example", "ex_1", {"split": "train"}, NOW)
        return database

    def test_an_answer_stays(self, asked: Database) -> None:
        answered = writing(asked).reviews.answer("rv_1", "release", "anna", minutes(1))
        assert (answered.status, answered.answer) == ("answered", "release")
        assert (answered.answered_by, answered.answered_at) == ("anna", minutes(1))
        assert writing(asked).reviews.answer("rv_1", "release", "ben", minutes(2)) == answered
        with pytest.raises(Conflict, match="anna"):
            writing(asked).reviews.answer("rv_1", "keep_back", "ben", minutes(2))

    def test_open_ones_can_be_listed(self, asked: Database) -> None:
        assert [review.id for review in reading(asked).reviews.page(FAMILY, "open")] == ["rv_1"]
        assert reading(asked).reviews.page("triage", None) == []
        assert reading(asked).reviews.page(None, "answered") == []

    def test_a_list_is_read_in_parts_and_what_waits_is_counted(self, asked: Database) -> None:
        for n in (2, 3):
            writing(asked).reviews.open(f"rv_{n}", FAMILY, "release", f"ex_{n}", {}, minutes(n))
        writing(asked).reviews.answer("rv_2", "keep_back", "anna", minutes(4))
        with asked.read() as tx:
            parts = [asked.reviews.page(tx, FAMILY, "open", start=start, n=1) for start in range(3)]
            assert [[review.id for review in part] for part in parts] == [["rv_1"], ["rv_3"], []]
            n_open = partial(asked.reviews.n_open, tx, among=(FAMILY, "triage"))
            assert [n_open(family) for family in (FAMILY, None, "triage")] == [2, 2, 0]
            assert asked.reviews.n_open(tx, None, among=["triage"]) == 0
            assert asked.reviews.page(tx, None, "open", among=["triage"]) == []

    def test_reviews_of_one_kind_are_found_by_subject_answered_or_not(self, asked: Database) -> None:
        writing(asked).reviews.open("rv_2", FAMILY, "label_interaction", "in_1", {}, minutes(1))
        writing(asked).reviews.open("rv_3", FAMILY, "label_interaction", "in_2", {}, minutes(2))
        writing(asked).reviews.answer("rv_2", "keep_back", "anna", minutes(3))
        assert reading(asked).reviews.of_kind(FAMILY, "label_interaction") == {"in_1": minutes(1), "in_2": minutes(2)}
        assert reading(asked).reviews.of_kind("triage", "label_interaction") == {}

    def test_an_unknown_review_is_named(self, database: Database) -> None:
        with pytest.raises(NotFound, match="rv_9"):
            writing(database).reviews.answer("rv_9", "release", "anna", NOW)


class TestOutbox:
    @staticmethod
    def due(database: Database, at: Any = NOW, topics: tuple[str, ...] = ("study",)) -> list[Any]:
        return reading(database).outbox.due(at, 10, topics=topics)

    def test_what_was_not_sent_is_replaced_by_the_next_of_its_subject(self, database: Database) -> None:
        for topic, subject, n in (("study", "st_1", 1), ("study", "st_2", 2), ("study", "st_1", 3)):
            writing(database).outbox.add(topic, subject, {"n": n}, NOW)
        assert [(item.subject, item.payload["n"]) for item in self.due(database)] == [("st_2", 2), ("st_1", 3)]

    def test_a_change_made_while_the_one_before_is_being_sent_is_not_marked_as_sent(self, database: Database) -> None:
        writing(database).outbox.add("study", "st_1", {"n": 1}, NOW)
        (sending,) = self.due(database)
        writing(database).outbox.add("study", "st_1", {"n": 2}, NOW)
        writing(database).outbox.sent(sending.seq, NOW)
        assert [item.payload for item in self.due(database)] == [{"n": 2}]

    def test_a_failure_comes_back_later_and_a_sent_item_never(self, database: Database) -> None:
        writing(database).outbox.add("study", "st_1", {}, NOW)
        (item,) = self.due(database)
        writing(database).outbox.failed(item.seq, "refused", minutes(1))
        assert self.due(database) == []
        (again,) = self.due(database, minutes(1))
        assert again.attempts == 1
        writing(database).outbox.sent(again.seq, minutes(1))
        assert self.due(database, minutes(9)) == []
        assert reading(database).outbox.backlog(topics=("study",)) == 0

    def test_topics_are_queues_of_their_own(self, database: Database) -> None:
        for topic, subject in (("study", "st_1"), ("alert", "a"), ("alert", "b")):
            writing(database).outbox.add(topic, subject, {}, NOW)
        with database.read() as tx:
            assert [item.subject for item in database.outbox.due(tx, NOW, 10, topics=("alert",))] == ["a", "b"]
            assert database.outbox.backlog(tx, topics=("alert", "study")) == 3
            assert database.outbox.backlog(tx, topics=()) == 0
            assert database.outbox.oldest(tx, "prompt") is None

    def test_the_oldest_is_found_before_its_time_with_what_went_wrong(self, database: Database) -> None:
        for subject in ("a", "b"):
            writing(database).outbox.add("alert", subject, {}, NOW)
        (first, _) = self.due(database, topics=("alert",))
        writing(database).outbox.failed(first.seq, "refused", minutes(5))
        found = reading(database).outbox.oldest("alert")
        assert found is not None
        assert (found.subject, found.not_before, found.last_error, found.attempts) == ("a", minutes(5), "refused", 1)

    def test_what_is_discarded_of_a_topic_was_unsent(self, database: Database) -> None:
        for subject in ("a", "b"):
            writing(database).outbox.add("alert", subject, {"s": subject}, NOW)
        writing(database).outbox.add("study", "st_1", {}, NOW)
        (first, _) = self.due(database, topics=("alert",))
        writing(database).outbox.sent(first.seq, NOW)
        assert writing(database).outbox.discard("alert") == 1
        assert reading(database).outbox.last("alert", "a") == {"s": "a"}
        assert reading(database).outbox.backlog(topics=("study", "alert")) == 1


class TestAlerts:
    def test_each_raise_and_each_clear_is_told_once_in_the_transaction_that_made_it(self, database: Database) -> None:
        first = alert(detail="a", subject="s")

        def told() -> list[tuple[str, Any]]:
            due = reading(database).outbox.due(minutes(60), 10, topics=(ALERT_TOPIC,))
            found = [message_of(item.payload) for item in due]
            return [(message.event, message.alert) for message in found]

        for _ in range(2):
            writing(database).alerts.open(first)
        assert told() == [("raised", first)]
        writing(database).alerts.reword(replace(first, detail="b"))
        for _ in range(2):
            writing(database).alerts.close("frozen", FAMILY, "s", minutes(5))
        assert told() == [("raised", first), ("cleared", replace(first, detail="b", closed_at=minutes(5)))]

        def broken(tx: Any) -> None:
            database.alerts.open(tx, alert("al_2", subject="s"))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            database.write(broken)
        assert len(told()) == 2, "what was not raised after all is told to nobody"

    def test_one_alert_of_a_kind_is_open_at_a_time(self, database: Database) -> None:
        def opened(id: str, **changes: Any) -> bool:
            return writing(database).alerts.open(alert(id, **changes))

        assert opened("al_1")
        assert not opened("al_2")
        assert opened("al_3", family=None)
        assert not opened("al_4", family=None)
        assert [writing(database).alerts.close("frozen", FAMILY, "", minutes(1)) for _ in range(2)] == [1, 0]
        assert opened("al_5")
        assert {alert.id for alert in reading(database).alerts.all(open_only=True)} == {"al_3", "al_5"}
        assert {alert.id for alert in reading(database).alerts.all(open_only=False)} == {"al_1", "al_3", "al_5"}

    def test_only_an_open_alert_is_reworded_and_only_when_it_says_something_else(self, database: Database) -> None:
        writing(database).alerts.open(alert(subject="a", detail="before"))

        def reword(detail: str, subject: str = "a") -> bool:
            return writing(database).alerts.reword(alert(subject=subject, detail=detail))

        assert [reword("before"), reword("now", subject="b"), reword("now"), reword("now")] == [
            False,
            False,
            True,
            False,
        ]
        writing(database).alerts.close("frozen", FAMILY, "a", minutes(1))
        assert not reword("later")
        assert [a.detail for a in reading(database).alerts.all(open_only=False)] == ["now"]

    def test_alerts_are_told_of_one_kind_family_or_subject(self, database: Database) -> None:
        for id, kind, family, subject in (
            ("al_1", "rollout_ended", FAMILY, "ro_1"),
            ("al_2", "rollout_ended", "other", "ro_2"),
            ("al_3", "frozen", None, ""),
            ("al_4", "frozen", FAMILY, FAMILY),
        ):
            writing(database).alerts.open(alert(id, kind=kind, family=family, subject=subject))
        writing(database).alerts.close("frozen", FAMILY, FAMILY, minutes(1))

        def ids(open_only: bool = True, **wanted: Any) -> list[str]:
            return [a.id for a in reading(database).alerts.all(open_only=open_only, **wanted)]

        assert ids(kind="frozen") == ["al_3"]
        assert ids(most=2) == ["al_3", "al_2"]
        assert ids(open_only=False, kind="frozen", most=1) == ["al_4"]
        assert ids(open_only=False, kind="frozen") == ["al_4", "al_3"]
        assert ids(family=FAMILY) == ["al_1"]
        assert ids(open_only=False, family=FAMILY, kind="frozen") == ["al_4"]
        assert ids(subject="ro_2") == ["al_2"]

    def test_alerts_that_are_over_come_the_last_closed_first(self, database: Database) -> None:
        for id, family in (("al_1", FAMILY), ("al_2", "other"), ("al_3", None), ("al_4", FAMILY)):
            writing(database).alerts.open(alert(id, kind=id, family=family))
        for n, (id, family) in enumerate((("al_2", "other"), ("al_1", FAMILY), ("al_3", None))):
            writing(database).alerts.close(id, family, "", minutes(n))
        with database.read() as tx:
            closed = database.alerts.closed
            assert [one.id for one in closed(tx, None, 0, 9)] == ["al_3", "al_1", "al_2"]
            assert [one.id for one in closed(tx, None, 1, 1)] == ["al_1"]
            assert [one.id for one in closed(tx, ["other"], 0, 9)] == ["al_2"]
            assert closed(tx, [], 0, 9) == []


class TestApiKeys:
    def test_a_key_comes_back_as_it_was_made_and_stays_when_revoked(self, database: Database) -> None:
        access = access_of(
            ["feedback", "read"],
            sources=["judge"],
            families=["triage"],
            expires_at=minutes(60),
            limits={"requests_per_minute": 60, "usd_per_day": 1.5},
            now=NOW,
        )
        writing(database).api_keys.add("app", access, "hash", NOW)
        for at in (minutes(1), minutes(2)):
            writing(database).api_keys.revoke("app", at)
        writing(database).api_keys.replace_secret("app", "new", "hash", minutes(9))
        (key,) = reading(database).api_keys.all()
        assert reading(database).api_keys.get("app") == key
        assert reading(database).api_keys.get("nobody") is None
        assert key == KeyRecord(
            name="app",
            access=access,
            secret_hash="new",
            created_at=NOW,
            revoked_at=minutes(1),
            previous_hash="hash",
            previous_until=minutes(9),
        )


class TestCallers:
    def test_requests_add_up_by_caller_and_who_stayed_away_for_a_day_is_forgotten(self, database: Database) -> None:
        def add(at: datetime, **counts: int) -> None:
            seen: dict[Any, int] = {("keyless", name): n for name, n in counts.items()}
            writing(database).api_keys.add_callers(seen, at)

        def shown(since: datetime) -> list[tuple[str, int, datetime]]:
            return [(one.name, one.n_requests, one.last_at) for one in reading(database).api_keys.callers(since)]

        add(NOW, shop=3, board=1)
        add(minutes(60), shop=2)
        assert shown(NOW) == [("shop", 5, minutes(60)), ("board", 1, NOW)]
        assert shown(minutes(1)) == [("shop", 5, minutes(60))]
        add(minutes(1441), other=1)
        assert shown(NOW) == [("other", 1, minutes(1441)), ("shop", 5, minutes(60))]

    def test_of_very_many_callers_those_that_were_seen_least_give_way(self, database: Database) -> None:
        seen: dict[Any, int] = {("refused", "board"): 1, ("keyless", "shop"): 3, ("keyless", "board"): 2}
        writing(database).api_keys.add_callers(seen, NOW)
        for i in range(1, 4):
            strangers: dict[Any, int] = {("keyless", f"stranger {i}-{j}"): 1 for j in range(100)}
            writing(database).api_keys.add_callers(strangers, minutes(i))
        callers = reading(database).api_keys.callers(NOW)
        assert {one.name for one in callers if not one.name.startswith("stranger")} == {"shop", "board"}
        assert len(callers) == MOST_CALLERS + 1
        assert ("keyless", "stranger 3-0") in {(one.kind, one.name) for one in callers}


class TestAudit:
    def test_pages_go_from_new_to_old(self, database: Database) -> None:
        for i in range(5):
            writing(database).audit.add(
                at=NOW, actor="anna", action=f"act {i}", family=None, subject="", detail={"i": i}
            )
        with database.read() as tx:
            first, cursor = database.audit.page(tx, None, 3)
            second, end = database.audit.page(tx, cursor, 3)
            assert [row["action"] for row in first + second] == ["act 4", "act 3", "act 2", "act 1", "act 0"]
            assert end is None
            with pytest.raises(InvalidInput):
                database.audit.page(tx, "x", 3)

    def test_what_was_done_to_one_thing_is_told_in_order(self, database: Database) -> None:
        for action, subject in (("one", "ro_1"), ("other", "ro_2"), ("two", "ro_1")):
            writing(database).audit.add(at=NOW, actor="anna", action=action, family=None, subject=subject, detail={})
        assert [row["action"] for row in reading(database).audit.of_subject("ro_1")] == ["one", "two"]


class TestLateFeedback:
    def test_it_is_counted_by_arm_as_one_by_one(self, database: Database) -> None:
        """300 cohorts of ten minutes, each closed an hour later; most with something late."""
        draw = Random(5)
        watched = rollout(candidate="v_c", champion="v_b")
        events = []
        for i in range(2000):
            begun = minutes(10 * draw.randrange(300))
            of = arm(
                variant=draw.choice(["v_c", "v_b", "v_other", None]),
                rollout=draw.choice([watched.id, "ro_9"]),
                cohort_start=begun,
            )
            events.append(
                feedback(f"fb_{i}", of=of, received_at=begun + timedelta(minutes=draw.choice([5, 59, 60, 61, 500])))
            )
        keep_events(database, events)
        since, until = minutes(200), minutes(2800)
        naive = {"candidate": [0, 0], "champion": [0, 0]}
        for e in events:
            which = {"v_c": "candidate", "v_b": "champion"}.get(e.arm.variant or "")
            if (
                which
                and e.arm.rollout == watched.id
                and e.arm.cohort_start is not None
                and since <= e.arm.cohort_start <= until
            ):
                naive[which][0] += e.received_at > e.arm.cohort_start + timedelta(hours=1)
                naive[which][1] += 1
        with database.read() as tx:
            found = database.observations.late_feedback(
                tx, watched, since, until, lambda begun: begun + timedelta(hours=1)
            )
        assert found == {which: tuple(counts) for which, counts in naive.items()}
        assert all(0 < late < n for late, n in found.values())


class TestExposures:
    ROW = (FAMILY, "v_a", "ro_1", 0.1, NOW, "api", 3)

    def test_counts_of_one_window_add_up(self, database: Database) -> None:
        other_client, outside = (*self.ROW[:5], "app", 1), (FAMILY, "v_a", None, None, NOW, "api", 7)
        for rows in ([self.ROW, self.ROW], [self.ROW, other_client, outside]):
            writing(database).exposures.add(rows)
        with database.read() as tx:
            inside = ArmExposures(variant="v_a", rollout="ro_1", stage=0.1, n_exposed=10)
            assert database.exposures.totals(tx, FAMILY, "ro_1") == [inside]
            outside_it = ArmExposures(variant="v_a", rollout=None, stage=None, n_exposed=7)
            assert outside_it in database.exposures.totals(tx, FAMILY, None)

    def test_a_client_that_repeats_a_window_is_counted_once_at_its_largest(self, database: Database) -> None:
        def put(n: int) -> list[bool]:
            return writing(database).exposures.put([(*self.ROW[:6], n)], "app")

        assert [put(3), put(3), put(2), put(5)] == [[True], [False], [False], [True]]
        assert reading(database).exposures.totals(FAMILY, "ro_1")[0].n_exposed == 5


class TestPerformance:
    def test_a_day_is_summed_up_by_variant_and_model_however_often(self, database: Database) -> None:
        about = {"model": "m", "cost_usd": 0.25, "input_tokens": 10, "output_tokens": 1}
        timed = [interaction(f"in_{i}", latency_ms=float(i), **about) for i in range(1, 21)]
        untimed = interaction("in_x", model="m", latency_ms=None, error="timeout")
        next_day = interaction("in_y", model="m", received_at=NOW + timedelta(days=1))
        outcomes = [
            feedback("fb_1", interaction="in_1", score=0.5),
            feedback("fb_2", interaction="in_2", success=False),
            feedback("fb_3", of=arm(variant=None), score=1.0, success=None),
        ]
        keep_events(database, [*timed, untimed, next_day, *outcomes])
        for _ in range(2):
            sums = reading(database).performance.day_sums("2026-11-20")
            writing(database).performance.put_day("2026-11-20", sums)
        day = {"family": FAMILY, "day": "2026-11-20"}
        of_variant = {"variant": "v_aaaaaaaaaaaa", "model": "m", "n_labelled": 2, "n_success": 1, "mean_score": 0.5}
        times = {"mean_latency_ms": 10.5, "p95_latency_ms": 19.0}
        served = {"n_interactions": 21, "n_errors": 1, "cost_usd": 5.0, "input_tokens": 200, "output_tokens": 20}
        assert daily_performance(database) == [
            asdict(DaySums(**day, variant="", model="", n_scored=1, mean_score=1.0)),
            asdict(DaySums(**day, **of_variant, **served, **times, n_scored=1)),
        ]

    def test_batches_are_kept_and_repeating_one_changes_nothing(self, database: Database) -> None:
        evidence = {"timed_as": "t", "rows": [[7.0, 0.2, 0.0]]}
        checks = [check_of("errors", "met"), replace(check_of("latency", "undecided"), found=0.2, evidence=evidence)]
        batch = batch_of(family=FAMILY, suite="s1", checks=checks, created_at=NOW)
        for _ in range(2):
            writing(database).performance.add_batch(batch)
        assert reading(database).performance.batches(FAMILY) == [batch]
