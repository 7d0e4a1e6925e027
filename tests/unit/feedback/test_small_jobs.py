"""Exposures of clients, the daily roll-up, ids and clocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.adapters.clock import SystemClock
from optimizer.adapters.store import Database
from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.masking import Masker
from optimizer.core.models.language import ModelAnswer
from optimizer.core.policy.attempts import Attempt, Call
from optimizer.host.config import load_settings
from optimizer.jobs.feedback.record_exposures import ExposuresRequest, record_exposures
from optimizer.jobs.feedback.roll_up_minutes import roll_up_performance
from optimizer.jobs.feedback.spooled_records import later_parts
from optimizer.jobs.ids import new_id
from optimizer.ports import DaySums
from optimizer.runtime import wiring
from optimizer.runtime.worker import Worker
from tests.clock import Clock
from tests.rows.rollout_acts import asked
from tests.stores import FAMILY, NOW, daily_performance, interaction, keep_events, minutes, new_database
from tests.worlds.contexts import context_of
from tests.worlds.study_world import topic_family


class TestExposures:
    WINDOW = {  # noqa: RUF012
        **{"family": FAMILY, "variant": "v_a", "rollout": "ro_1", "stage": 0.1, "exposed": 3},
        **{"from": NOW.isoformat(), "to": minutes(1).isoformat()},
    }

    @pytest.fixture(scope="class")
    def untouched(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
        """To which nothing is ever written."""
        with closing(new_database(tmp_path_factory.mktemp("untouched"))) as database:
            yield database

    def record(self, database: Database, *windows: Any, client: Any = "app") -> dict[str, int]:
        context = context_of(
            database,
            Clock(NOW),
            "app",
            settings=SimpleNamespace(limits=SimpleNamespace(batch=1000)),
            families=lambda: SimpleNamespace(families={FAMILY}),
        )
        return asdict(record_exposures(context, asked(ExposuresRequest, client=client, windows=list(windows))))

    def n_exposed(self, database: Database) -> int:
        with database.read() as tx:
            return sum(arm.n_exposed for arm in database.exposures.totals(tx, FAMILY, None))

    def test_a_window_counts_once_per_client(self, database: Database) -> None:
        assert self.record(database, self.WINDOW, self.WINDOW) == {"accepted": 1, "duplicates": 1}
        assert self.record(database, self.WINDOW) == {"accepted": 0, "duplicates": 1}
        assert self.record(database, self.WINDOW, client="other") == {"accepted": 1, "duplicates": 0}
        assert self.n_exposed(database) == 6

    def test_outside_a_rollout_there_is_no_stage(self, database: Database) -> None:
        self.record(database, {**self.WINDOW, "rollout": None, "stage": None})
        assert self.n_exposed(database) == 3

    @pytest.mark.parametrize(
        ("change", "pointer"),
        [
            ({"family": "nobody"}, "/windows/0/family"),
            ({"variant": ""}, "/windows/0/variant"),
            ({"rollout": 1}, "/windows/0/rollout"),
            ({"stage": 1.5}, "/windows/0/stage"),
            ({"exposed": -1}, "/windows/0/exposed"),
            ({"exposed": True}, "/windows/0/exposed"),
            ({"exposed": 1.5}, "/windows/0/exposed"),
            ({"from": "now"}, "/windows/0/from"),
            ({"from": "2026-11-20T09:00:00"}, "/windows/0/from"),
            ({"to": NOW.isoformat()}, "/windows/0/to"),
            ({"to": (NOW + timedelta(hours=2)).isoformat()}, "/windows/0/to"),
            ({"from": "2027-01-01T00:00:00Z", "to": "2027-01-01T00:01:00Z"}, "/windows/0/from"),
            ({"colour": "red"}, "/windows/0/colour"),
        ],
    )
    def test_every_fault_has_a_pointer_and_nothing_is_counted(self, untouched, change, pointer):
        with pytest.raises(InvalidInput) as refused:
            self.record(untouched, {**self.WINDOW, **change}, self.WINDOW)
        assert pointer in [fault.pointer for fault in refused.value.faults]
        assert self.n_exposed(untouched) == 0

    @pytest.mark.parametrize("client", ["api", "gateway", "", None, 7, "a\x00b"])
    def test_a_client_has_a_name_of_its_own(self, untouched: Database, client: Any) -> None:
        with pytest.raises(InvalidInput) as caught:
            self.record(untouched, self.WINDOW, client=client)
        assert [fault["pointer"] for fault in caught.value.members["errors"]] == ["/client"]

    def test_a_window_is_an_object(self, database: Database) -> None:
        with pytest.raises(InvalidInput, match="request: windows 0: ") as caught:
            self.record(database, 7)
        assert [fault["pointer"] for fault in caught.value.members["errors"]] == ["/windows/0"]


def test_yesterday_and_today_are_summed_up(database: Database) -> None:
    rows = [interaction(f"in_{day}", received_at=NOW - timedelta(days=day)) for day in range(3)]
    keep_events(database, rows)
    assert roll_up_performance(store=database, clock=Clock(NOW)) == ["2026-11-19", "2026-11-20"]
    assert [(row["day"], row["n_interactions"]) for row in daily_performance(database)] == [
        ("2026-11-19", 1),
        ("2026-11-20", 1),
    ]


def test_after_a_day_that_took_long_to_sum_up_the_worker_rests_for_long(database, tmp_path, monkeypatch):
    now, summed_at = [0.0], list[float]()

    def sums_up(**_: Any) -> None:
        summed_at.append(now[0])
        now[0] += 100.0 if len(summed_at) == 1 else 0.5

    monkeypatch.setattr("optimizer.runtime.worker.roll_up_performance", sums_up)
    monkeypatch.setattr("optimizer.runtime.worker.time", SimpleNamespace(monotonic=lambda: now[0]))
    worker = Worker(load_settings("dev", tmp_path))
    worker._store, worker._clock = database, Clock(NOW)
    for now[0] in (1.0, 200.0, 4_900.0, 5_001.0, 5_061.0):
        worker._roll_up()
    assert summed_at == [1.0, 5_001.0, 5_061.0]


def test_others_write_while_a_day_is_summed_up(database, tmp_path, monkeypatch):
    other = Database(database.url)
    summed = database.performance.day_sums

    def slowly(tx: Any, day: str) -> list[DaySums]:
        keep_events(other, [interaction(f"in_{day}")])
        return summed(tx, day)

    monkeypatch.setattr(database.performance, "day_sums", slowly)
    days = roll_up_performance(store=database, clock=Clock(NOW))
    with database.read() as tx:
        assert set(database.events.interactions(tx, [f"in_{day}" for day in days])) == {f"in_{day}" for day in days}
    other.close()


class TestIds:
    def test_they_say_what_they_name_and_never_repeat(self) -> None:
        ids = {new_id("st") for _ in range(1000)}
        assert len(ids) == 1000
        assert all(re.fullmatch(r"st_[0-9a-hjkmnp-tv-z]{26}", id) for id in ids)


class TestClocks:
    def test_both_clocks_agree_unless_scaled(self) -> None:
        clock = SystemClock()
        assert clock.now() <= clock.rollout_now() <= clock.now()
        assert clock.now().tzinfo is UTC

    def test_a_scaled_clock_counts_from_its_anchor(self) -> None:
        anchor = datetime.now(UTC) - timedelta(hours=1)
        passed = SystemClock(60.0, anchor).rollout_now() - anchor
        assert timedelta(hours=60) <= passed < timedelta(hours=120)

    @pytest.mark.parametrize("scale", ["0", "-1", "nan"])
    def test_time_cannot_stand_still_or_go_back(
        self, scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DETENT_CLOCK_SCALE", scale)
        with pytest.raises(InvalidInput, match="clock_scale"):
            load_settings(home=tmp_path)

    def test_processes_share_the_anchor(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DETENT_CLOCK_SCALE", "60")
        one, other = (wiring.open_clock(load_settings(home=tmp_path)) for _ in range(2))
        times = [clock.rollout_now() for clock in (one, other, one)]
        assert times == sorted(times)
        assert times[0] > one.now()


def test_later_parts_whose_texts_cannot_be_masked_are_on_record_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were asked and paid for, and whose text it was chose it."""
    monkeypatch.setitem(Masker.__init__.__kwdefaults__, "own_rule_s", 0.05)
    family = topic_family(privacy={"mask": [{"pattern": "(x|xx)+$"}]})
    answer = ModelAnswer(text="x" * 50 + "z", input_tokens=3, output_tokens=2, cost_usd=0.5, latency_ms=1.0)
    attempt = Attempt(call=Call(model="m", purpose="audit", tier=1), answer=answer)
    row = later_parts(family, "in_1", [attempt], Clock(NOW))
    (part,) = row.parts
    assert (row.cost_usd, part["model"], part["cost_usd"]) == (0.5, "m", 0.5)
    assert "output" not in part
