"""The minute sums: complete, made once, the same after a repetition or a kill,
and what the champion's baseline is read from.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.minute_sums import MinuteSums, bucket_of, edge
from optimizer.core.rollout.baseline import UNKNOWN_RATE, Baseline
from optimizer.jobs.feedback.roll_up_minutes import HISTORY, MINUTES, roll_up_minutes
from optimizer.jobs.rollouts.watch_rollout import champion_baseline
from tests.clock import Clock
from tests.stores import FAMILY, NOW, arm, feedback, interaction, keep_events, minutes

CHAMPION = arm().variant


def receive(database: Database, *times: datetime, prefix: str = "in", **changes: Any) -> None:
    rows = [interaction(f"{prefix}_{i}_{at.timestamp()}", received_at=at, **changes) for i, at in enumerate(times)]
    keep_events(database, rows)


def kept(database: Database, since: datetime = NOW - HISTORY, family: str = FAMILY) -> list[MinuteSums]:
    with database.read() as tx:
        return database.minute_stats.of_family(tx, family, since)


class TestRollUp:
    def test_a_minute_is_summed_up_sixty_seconds_after_its_end_and_not_before(self, database: Database) -> None:
        receive(database, minutes(0.5))
        clock = Clock(minutes(1.99))
        roll_up_minutes(database, clock)
        assert kept(database) == []
        clock.pass_time(timedelta(seconds=1))
        assert roll_up_minutes(database, clock) == minutes(1)
        assert [(row.minute, row.n) for row in kept(database)] == [(NOW, 1)]

    def test_every_event_counts_once_however_often_and_in_however_many_steps_it_is_done(self, database):
        times = [minutes(n * 1.7) for n in range(20)]
        receive(database, *times)
        clock = Clock(minutes(10))
        for _ in range(40):
            roll_up_minutes(database, clock)
            roll_up_minutes(database, clock)
            clock.pass_time(timedelta(minutes=1))
        assert sum(row.n for row in kept(database)) == 20
        assert len(kept(database)) == len({at.replace(second=0, microsecond=0) for at in times})

    def test_a_killed_run_goes_on_where_it_was_and_leaves_the_same_rows(self, database, monkeypatch):
        receive(database, *[minutes(n) for n in range(100)])
        summed, n_chunks = database.minute_stats.sums, []

        def dies(tx: Any, start: datetime, until: datetime) -> list[MinuteSums]:
            n_chunks.append(start)
            if len(n_chunks) == 3:
                raise KeyboardInterrupt
            return summed(tx, start, until)

        monkeypatch.setattr(database.minute_stats, "sums", dies)
        with pytest.raises(KeyboardInterrupt):
            roll_up_minutes(database, Clock(minutes(120)))
        assert sum(row.n for row in kept(database)) == 30
        roll_up_minutes(database, Clock(minutes(120)))
        assert [row.n for row in kept(database)] == [1] * 100
        assert n_chunks[3] == n_chunks[2]  # the chunk that was lost, and none before it

    def test_the_first_run_begins_thirty_days_back_and_skips_the_time_in_which_nothing_came(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        receive(database, NOW - timedelta(days=31), NOW - timedelta(days=20), minutes(0))
        read = []
        summed = database.minute_stats.sums
        monkeypatch.setattr(
            database.minute_stats, "sums", lambda tx, start, until: read.append(start) or summed(tx, start, until)
        )
        assert roll_up_minutes(database, Clock(minutes(60))) == minutes(59)
        assert [row.minute for row in kept(database, NOW - timedelta(days=60))] == [NOW - timedelta(days=20), NOW]
        assert read == [NOW - timedelta(days=20), NOW, minutes(59)]

    def test_a_clock_that_goes_back_loses_and_doubles_nothing(self, database: Database) -> None:
        receive(database, minutes(0), minutes(30))
        roll_up_minutes(database, Clock(minutes(60)))
        receive(database, minutes(12), prefix="later")
        clock = Clock(minutes(10))
        assert roll_up_minutes(database, clock) == minutes(9)
        clock.pass_time(timedelta(minutes=40))
        roll_up_minutes(database, clock)
        assert [(row.minute, row.n) for row in kept(database)] == [(minutes(0), 1), (minutes(12), 1), (minutes(30), 1)]

    def test_others_write_while_a_chunk_is_summed_up(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        receive(database, NOW)
        other = Database(database.url)
        summed = database.minute_stats.sums

        def slowly(tx: Any, start: datetime, until: datetime) -> list[MinuteSums]:
            keep_events(other, [interaction(f"in_{start}")])
            return summed(tx, start, until)

        monkeypatch.setattr(database.minute_stats, "sums", slowly)
        roll_up_minutes(database, Clock(minutes(5)))
        other.close()
        with database.read() as tx:
            assert database.minute_stats.watermark(tx, MINUTES) == minutes(4)


class TestBaseline:
    def baseline(self, database: Database, now: datetime, variant: str | None = CHAMPION) -> Baseline:
        roll_up_minutes(database, Clock(now))
        assert variant is not None
        with database.read() as tx:
            return champion_baseline(tx, database, FAMILY, variant, now)

    def test_limits_are_edges_and_the_shares_above_them_are_those_of_the_requests(self, database: Database) -> None:
        latencies, rows = [float(100 + i) for i in range(1000)], []
        for i, latency_ms in enumerate(latencies):
            more = {"cost_usd": 0.001 * (1 + i % 4), "error": "x" if i % 50 == 0 else None}
            rows.append(interaction(f"in_{i}", received_at=minutes(i / 100), latency_ms=latency_ms, **more))
        keep_events(database, rows)
        found = self.baseline(database, minutes(20))
        assert (found.n, found.error_rate, found.frozen_at) == (1000, 0.02, minutes(20))
        assert found.latency_limit_ms == edge(bucket_of(1049.0))  # the 950th of them
        assert found.latency_exceed == sum(ms > found.latency_limit_ms for ms in latencies) / 1000 <= 0.05
        assert found.cost_cap_usd == edge(bucket_of(0.004))
        assert found.cost_mean == pytest.approx(0.625, abs=0.03)
        assert found.cost_variance == pytest.approx(0.078, abs=0.01)

    def test_only_the_requests_of_the_variant_count(self, database: Database) -> None:
        receive(database, minutes(0), minutes(1))
        receive(database, minutes(0), prefix="other", of=arm(variant="v_bbbbbbbbbbbb"), error="always")
        keep_events(database, [feedback(received_at=minutes(0))])
        found = self.baseline(database, minutes(5))
        assert (found.n, found.error_rate) == (2, 0.0)
        assert self.baseline(database, minutes(5), "v_bbbbbbbbbbbb").error_rate == 1.0

    @pytest.mark.parametrize(("n_today", "n_found"), [(499, 999), (500, 500)])
    def test_the_last_day_is_enough_when_it_holds_five_hundred_requests(self, database, n_today, n_found):
        receive(database, *[NOW - timedelta(days=3)] * 500, prefix="old", error="then")
        receive(database, *[NOW] * n_today)
        receive(database, *[NOW - timedelta(days=31)] * 10, prefix="too old")
        assert self.baseline(database, minutes(5)).n == n_found

    def test_a_champion_that_costs_nothing_has_no_cap(self, database: Database) -> None:
        receive(database, *[minutes(i) for i in range(10)], cost_usd=0.0)
        found = self.baseline(database, minutes(20))
        assert (found.cost_cap_usd, found.cost_mean, found.cost_variance) == (None, None, None)

    def test_without_requests_nothing_is_known(self, database: Database) -> None:
        found = self.baseline(database, NOW)
        assert (found.n, found.error_rate) == (0, UNKNOWN_RATE)
        assert (found.latency_limit_ms, found.latency_exceed) == (None, None)
