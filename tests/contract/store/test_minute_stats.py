"""What ports.MinuteStats and ports.DriftDetectors must do."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

from optimizer.adapters.store import Database
from optimizer.core.base.minute_sums import DAY, HOUR, MinuteSums, bucket_of, judge_mark
from optimizer.core.family.settings import Metric
from optimizer.core.rollout.drift import ChampionWatch
from optimizer.ports import WatchedTenure
from tests.stores import FAMILY, NOW, arm, feedback, interaction, keep_events, minutes, reading, writing

VARIANT = "v_aaaaaaaaaaaa"


class TestSums:
    def test_an_interaction_counts_in_its_minute_of_receipt_with_errors_latency_and_cost(
        self, database: Database
    ) -> None:
        used = {"cost_usd": 0.5, "input_tokens": 30, "output_tokens": 7}
        rows = [
            interaction("in_1", occurred_at=minutes(-9), model="m", latency_ms=100.0, error="x", **used),
            interaction("in_2", received_at=minutes(0.9), model="m", latency_ms=0.0, cost_usd=None),
            interaction("in_3", received_at=minutes(1), model="m", latency_ms=None),
            interaction("in_4", received_at=minutes(2), model="m"),
        ]
        keep_events(database, rows)
        first, second = reading(database).minute_stats.sums(NOW, minutes(2))
        assert first == MinuteSums(
            **{"family": FAMILY, "minute": NOW, "variant": VARIANT, "model": "m", "n": 2, "n_errors": 1},
            **{"n_latency": 2, "latency_sum_ms": 100.0, "latency_histogram": {bucket_of(100.0): 1, "zero": 1}},
            **{"n_cost": 1, "cost_sum_usd": 0.5, "cost_histogram": {bucket_of(0.5): 1}},
            **{"n_tokens": 1, "input_tokens": 30, "output_tokens": 7},
        )
        assert (second.minute, second.n, second.n_latency) == (minutes(1), 1, 0)

    def test_outcomes_count_by_who_judged_under_the_model_of_their_interaction(self, database: Database) -> None:
        tags = {"judge": "j", "signs": "role, what a user wrote"}
        rows = [
            feedback("fb_1", interaction="in_1", success=True, score=0.5),
            feedback("fb_2", interaction="in_1", success=False, score=1.0),
            feedback("fb_3", source="judge", success=None, score=0.25, tags=tags),
        ]
        keep_events(database, [interaction("in_1", model="m", received_at=minutes(-60)), *rows])
        with database.read() as tx:
            by_user, by_judge = sorted(database.minute_stats.sums(tx, NOW, minutes(1)), key=lambda row: -row.n)
        assert (by_user.source, by_user.model, by_user.n) == ("user", "m", 2)
        assert (by_user.n_success, by_user.success_sum) == (2, 1)
        assert (by_user.n_score, by_user.score_sum, by_user.score_squares) == (2, 1.5, 1.25)
        assert by_user.scores == {"": {"0.5": 1, "1": 1}}
        assert (by_judge.scores, by_judge.issues) == ({judge_mark("j"): {"0.25": 1}}, {"judge role": 1})
        assert (by_judge.source, by_judge.model) == ("judge", "")
        assert (by_judge.n, by_judge.n_success, by_judge.n_score) == (1, 0, 1)

    def test_families_variants_and_the_unknown_variant_stand_apart(self, database: Database) -> None:
        arms = [arm(), arm(variant=None), arm(variant="v_b"), arm(family="triage")]
        keep_events(database, [interaction(f"in_{i}", of=one) for i, one in enumerate(arms)])
        found = {(row.family, row.variant): row.n for row in reading(database).minute_stats.sums(NOW, minutes(1))}
        assert found == {(FAMILY, VARIANT): 1, (FAMILY, ""): 1, (FAMILY, "v_b"): 1, ("triage", VARIANT): 1}

    def test_the_first_event_of_any_kind_and_family_is_found(self, database: Database) -> None:
        later = interaction(received_at=minutes(5))
        keep_events(database, [later, feedback(of=arm(family="triage"), received_at=minutes(3))])
        oldest = {n: reading(database).minute_stats.oldest(minutes(n)) for n in (0, 3, 4, 6)}
        assert oldest == {0: minutes(3), 3: minutes(3), 4: minutes(5), 6: None}

    def test_the_newest_hour_grows_with_each_minute_of_events_and_with_none_without(self, database: Database) -> None:
        assert reading(database).minute_stats.newest_hour() is None
        told = []
        for minute, n in ((1, 2), (2, 3), (61, 1)):
            rows = [MinuteSums(family=FAMILY, minute=minutes(minute), n=n)]
            writing(database).minute_stats.put(rows)
            told.append(reading(database).minute_stats.newest_hour())
        assert told == [(NOW, 2), (NOW, 5), (minutes(60), 1)]


class TestLongerSums:
    """Sums of hours and days say what the minutes in them say, however those came."""

    def rows(self, draw: random.Random, n: int) -> list[MinuteSums]:
        """At most one of each minute and kind, over four days."""
        rows: dict[Any, MinuteSums] = {}
        for _ in range(n):
            row = MinuteSums(
                family=draw.choice((FAMILY, "triage")),
                minute=minutes(draw.randrange(4 * DAY)),
                variant=draw.choice(("", VARIANT)),
                source=draw.choice(("", "judge")),
                n=draw.randint(1, 5),
                latency_sum_ms=float(draw.randint(0, 9)),
                latency_histogram={str(draw.randint(1, 3)): draw.randint(1, 5)},
                n_score=1,
                issues={draw.choice(("check a", "check b")): 1},
                scores={draw.choice(("", "mark")): {"0.5": draw.randint(1, 3)}},
            )
            rows[row.family, row.minute, row.variant, row.source] = row
        return list(rows.values())

    @staticmethod
    def total(rows: Iterable[MinuteSums]) -> MinuteSums:
        total = MinuteSums(family="", minute=NOW)
        for row in rows:
            total.add(row)
        total.scores = {judge: counts for judge, counts in total.scores.items() if counts}
        return total

    def test_every_window_has_what_its_minutes_have_also_where_some_were_summed_up_again(
        self, database: Database
    ) -> None:
        draw, stats = random.Random(3), database.minute_stats
        stored: dict[Any, MinuteSums] = {}
        for _ in range(6):
            rows = self.rows(draw, 40)
            database.write(lambda tx, rows=rows: stats.put(tx, rows))  # type: ignore[misc]
            stored |= {(row.family, row.minute, row.variant, row.source): row for row in rows}
            database.write(lambda tx: stats.set_watermark(tx, "minute_stats", minutes(4 * DAY)))
        edges = sorted(draw.randrange(4 * DAY + 100) for _ in range(14))
        with database.read() as tx:
            for since, until in [(minutes(a), minutes(b)) for a, b in pairwise(edges) if a < b]:
                for family in (FAMILY, "triage"):
                    inside = [r for r in stored.values() if r.family == family and since <= r.minute < until]
                    for lengths in ((HOUR,), (HOUR, DAY)):
                        assert self.total(stats.within(tx, family, since, until, lengths=lengths)) == self.total(inside)
            for since in (minutes(0), minutes(5 * HOUR), minutes(30 * HOUR)):
                for families in ({FAMILY, "triage"}, {FAMILY}):
                    inside = [r for r in stored.values() if r.family in families and since <= r.minute]
                    of_all = stats.of_all(tx, families, since, minutes(4 * DAY))
                    assert of_all is not None
                    assert self.total(of_all) == self.total(inside)
            judged = [row for row in stored.values() if row.source == "judge"]
            counts = stats.n_judged(tx, minutes(0), minutes(4 * DAY))
            assert counts == Counter({f: sum(r.n_score for r in judged if r.family == f) for f in (FAMILY, "triage")})
            assert stats.of_all(tx, {FAMILY}, minutes(7), minutes(4 * DAY)) is None, "no minutes of all are kept"

    def test_of_an_older_home_minutes_are_read_for_the_time_before_its_first_sums(self, database: Database) -> None:
        stats = database.minute_stats
        database.write(lambda tx: stats.set_watermark(tx, "minute_stats", minutes(90)))
        first = MinuteSums(family=FAMILY, minute=minutes(90), n=1)
        database.write(lambda tx: stats.put(tx, [first]))
        database.write(lambda tx: stats.set_watermark(tx, "minute_stats", minutes(91)))
        with database.read() as tx:
            assert stats.summed(tx) == (minutes(90), minutes(91))
            assert stats.within(tx, FAMILY, minutes(0), minutes(100)) == [first]
            assert stats.of_all(tx, {FAMILY}, minutes(0), minutes(100)) is None


class TestRows:
    def row(self, minute: float = 0, **changes: object) -> MinuteSums:
        return replace(MinuteSums(family=FAMILY, minute=minutes(minute), variant=VARIANT, n=1), **changes)

    def test_a_row_takes_the_place_of_the_one_of_the_same_minute_and_kind(self, database: Database) -> None:
        later = self.row(n=7, latency_histogram={"3": 7})
        for rows in ([self.row(), self.row(source="user")], [later], []):
            writing(database).minute_stats.put(rows)
        assert reading(database).minute_stats.of_family(FAMILY, NOW) == [later, self.row(source="user")]

    def test_rows_are_read_in_order_from_the_minute_on(self, database: Database) -> None:
        rows = [self.row(2), self.row(0), self.row(1, variant="v_b")]
        rows += [self.row(1, source="user"), self.row(1, family="triage")]
        writing(database).minute_stats.put(rows)
        with database.read() as tx:
            of_family = database.minute_stats.of_family
            assert [row.minute for row in of_family(tx, FAMILY, minutes(0.5))] == [minutes(n) for n in (0, 1, 1, 2)]
            assert of_family(tx, FAMILY, minutes(1), variant=VARIANT) == [rows[3], rows[0]]
            assert of_family(tx, FAMILY, minutes(1), variant=VARIANT, source="") == [rows[0]]

    def test_numbers_by_minute_are_of_all_variants_and_of_one_source(self, database: Database) -> None:
        rows = [self.row(0, n=9), self.row(1, n=2), self.row(1, variant="v_b", n=3), self.row(2, n=0)]
        rows += [self.row(1, source="user", n=4), self.row(1, family="triage")]
        writing(database).minute_stats.put(rows)
        of_source = {
            source: reading(database).minute_stats.n_by_minute(FAMILY, minutes(1.5), source=source)
            for source in ("", "user", "judge")
        }
        assert of_source == {"": {minutes(1): 5}, "user": {minutes(1): 4}, "judge": {}}

    def test_each_watermark_stands_where_it_was_put_last(self, database: Database) -> None:
        for name, at in (("a", NOW), ("b", minutes(1)), ("a", minutes(-5))):
            writing(database).minute_stats.set_watermark(name, at)
        assert [reading(database).minute_stats.watermark(name) for name in "abc"] == [minutes(-5), minutes(1), None]


class TestDriftDetectors:
    def test_a_family_has_one_state_which_comes_back_exactly(self, database: Database) -> None:
        watch = ChampionWatch(variant=VARIANT, metric=Metric(field="score", source="judge"), tenure_since=NOW)
        for i in range(300):
            watch = watch.after(NOW + timedelta(minutes=i), (i % 7) / 7)
        row = WatchedTenure(family=FAMILY, tenure=3, watch=watch, read_until=minutes(60))
        other = replace(row, watch=replace(watch, metric=Metric()), read_until=minutes(90))
        for rows in ([replace(row, tenure=2)], [row, other]):
            writing(database).drift_detectors.put(rows)
        assert reading(database).drift_detectors.get(FAMILY) == [row, other]
        assert reading(database).drift_detectors.get("triage") == []

    def test_outcomes_of_one_variant_field_and_source_come_in_order_of_receipt(self, database: Database) -> None:
        rows = [
            feedback("fb_1", received_at=minutes(3), occurred_at=minutes(-9), success=False),
            feedback("fb_2", received_at=minutes(1), of=arm(unit_hmac=None)),
            feedback("fb_3", received_at=minutes(2), source="judge"),
            feedback("fb_4", received_at=minutes(2), of=arm(variant="v_b")),
            feedback("fb_5", received_at=minutes(2), success=None, score=0.5),
            feedback("fb_6", received_at=minutes(4)),
            feedback("fb_7", received_at=minutes(2), of=arm(family="triage")),
        ]
        keep_events(database, rows)
        with database.read() as tx:
            of = lambda metric: list(  # noqa: E731
                database.drift_detectors.outcomes(tx, FAMILY, VARIANT, metric, NOW, minutes(4))
            )
            assert of(Metric()) == [(minutes(1), "fb_2", 1.0), (minutes(3), "u1", 0.0)]
            assert of(Metric(field="score")) == [(minutes(2), "u1", 0.5)]
