"""The watch on a champion: an alarm needs a drop, nothing is read twice, and nothing but an alert comes of it."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.adapters.store.repositories.minute_stats import DriftDetectorTable
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.family.family import Family
from optimizer.core.family.settings import JudgeSettings, Metric
from optimizer.core.rollout.alert_causes import BROKEN
from optimizer.core.rollout.alert_rules import AlertRule
from optimizer.core.rollout.drift import MIN_REFERENCE, STORED_CHAMPION_WATCH, ChampionWatch, alarm_text, usual_dip
from optimizer.core.serving.champion import first, next_tenure
from optimizer.core.serving.rollout import Champion
from optimizer.core.statistics.outcomes import Sums
from optimizer.jobs.champions.watch_champion import ALERT, SETTLED, watch_champion
from optimizer.ports import Alert, WatchedTenure
from tests.clock import Clock
from tests.rows.ingestion import family
from tests.stores import FAMILY, NOW, arm, feedback, keep_events, new_database

CHAMPION = "v_aaaaaaaaaaaa"
RULES = [
    AlertRule(name="failures", metric="success", below=0.7),
    AlertRule(name="tried", metric="success", scope="variant", below=0.7),
    AlertRule(name="by_system", metric="success", source="system", below=0.7),
]
Rate = Callable[[datetime], float]


def outcomes(
    rate: Rate, *, start: datetime = NOW, n: int = 1000, per_day: int = 144, seed: int = 0
) -> list[tuple[datetime, float]]:
    drawn = random.Random(seed)
    times = [start + timedelta(days=i / per_day) for i in range(n)]
    return [(at, float(drawn.random() < rate(at))) for at in times]


def watched(found: list[tuple[datetime, float]], watch: ChampionWatch | None = None, **changes: Any) -> ChampionWatch:
    watch = watch or ChampionWatch(**{"variant": CHAMPION, "metric": Metric(), "tenure_since": NOW, **changes})
    for at, y in found:
        watch = watch.after(at, y)
    return watch


class TestReference:
    def test_the_first_two_hundred_outcomes_of_the_tenure_make_it(self) -> None:
        found = outcomes(lambda at: 0.8, n=MIN_REFERENCE + 1)
        waiting = watched(found[:MIN_REFERENCE])
        assert waiting.detector is None
        begun = watched(found[MIN_REFERENCE:], waiting)
        assert begun.usual == sum(y for _, y in found[:MIN_REFERENCE]) / MIN_REFERENCE
        assert begun.detector.reference < begun.usual
        assert len(begun.detector.log_m) == 3  # the 201st outcome was its first

    def test_outcomes_before_the_tenure_are_its_reference_and_never_alarm(self) -> None:
        before = outcomes(
            lambda at: 0.9 if at < NOW - timedelta(days=9) else 0.1, start=NOW - timedelta(days=10), n=1440
        )
        watch = watched(before)
        assert (watch.detector, watch.reference.n) == (None, 1440)
        assert watch.after(NOW, 1.0).detector is not None

    def test_after_a_week_the_weak_days_are_known(self) -> None:
        def weekly(at: datetime) -> float:
            return 0.5 if at.weekday() == 6 else 0.85

        found = outcomes(weekly, start=NOW - timedelta(days=14), n=29 * 144, seed=3)
        week = watched(found)
        assert week.is_settled
        assert not week.alarmed
        assert week.detector.reference == pytest.approx(week.usual - 0.3, abs=0.06)

    def test_what_chance_does_to_the_weakest_day_is_no_usual_dip(self) -> None:
        drawn = random.Random(5)

        def day(p: float, n: int = 60) -> Sums:
            total = sum(drawn.random() < p for _ in range(n))
            return Sums(n=n, total=total, squares=total)

        dips = [usual_dip([day(0.8) for _ in range(7)]) for _ in range(200)]
        assert sum(dips) / 200 < 0.025
        assert usual_dip([day(0.8, 500) for _ in range(6)] + [day(0.6, 500)]) > 0.1
        assert usual_dip([day(0.8, 500) for _ in range(6)] + [day(0.0, 29)]) == 0


class TestAlarm:
    @pytest.mark.parametrize(("at_first", "draws", "most"), [(0.8, 4, 1), (0.7, 1, 0)], ids=["the same", "better"])
    def test_a_champion_that_does_not_fall_raises_few_alarms(self, at_first: float, draws: int, most: int) -> None:
        """1,500 watched outcomes each: at a run length of 10,000 about one in seven may alarm,
        and the cautious reference leaves far fewer.
        """
        n, better = 1500 + MIN_REFERENCE, NOW + timedelta(days=3)
        found = [outcomes(lambda at: at_first if at < better else 0.8, n=n, seed=seed) for seed in range(draws)]
        assert sum(watched(each).alarmed for each in found) <= most

    def test_a_provisional_reference_already_raises_an_alarm_which_stays_as_it_was(self) -> None:
        watch = watched(outcomes(lambda at: 0.8 if at < NOW + timedelta(days=2) else 0.5))
        assert (watch.alarmed, watch.is_settled, watch.usual) == (True, False, pytest.approx(0.8, abs=0.06))
        assert watch.after(NOW + timedelta(days=20), 1.0) == watch

    @pytest.mark.parametrize(("drop", "most"), [(0.2, 200), (0.1, 800)])
    def test_a_drop_is_found_within_the_outcomes_that_it_needs(self, drop: float, most: int) -> None:
        fell = NOW + timedelta(days=10)
        found = outcomes(lambda at: 0.8 if at < fell else 0.8 - drop, n=1440 + most)
        assert not watched(found[:1440]).alarmed
        assert watched(found).alarmed

    def test_it_says_from_what_to_what_and_since_when(self) -> None:
        fell = NOW + timedelta(days=10)
        watch = watched(outcomes(lambda at: 0.8 if at < fell else 0.4, n=2000))
        assert abs(watch.decline.since - fell) < timedelta(hours=8)
        assert watch.decline.outcomes.mean == pytest.approx(0.4, abs=0.15)
        text = alarm_text(watch, family=FAMILY, has_way_back=True)
        assert f"success by user went from about {watch.usual:.2f} to about {watch.decline.outcomes.mean:.2f}" in text
        assert f"detent champion rollback {FAMILY}" in text
        assert f"detent study run {FAMILY}" in text
        assert "rollback" not in alarm_text(watch, family=FAMILY, has_way_back=False)


class Watching:
    """A family with a champion in a database, its users, and the job."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.database = database
        self.clock = Clock(NOW)
        self.families: dict[str, Family] = {FAMILY: family().model_copy(update=settings)}
        self.n = 0
        self.tenure = first(family=FAMILY, variant=CHAMPION, at=NOW, by="test", why="first")
        self.crown(self.tenure)

    def crown(self, tenure: Champion) -> None:
        self.tenure = tenure
        self.database.write(lambda tx: self.database.champions.put(tx, tenure))

    def users(self, hours: int, share: float, *, per_hour: int = 25, look: bool = True, **changes: Any) -> None:
        """Every hour ``per_hour`` units report, that share of them a success; then the job looks."""
        for _ in range(hours):
            rows = []
            for i in range(per_hour):
                self.n += 1
                at = self.clock.now() + timedelta(minutes=59) * i / per_hour
                kind = {"success": (i * 7919) % per_hour < share * per_hour, "received_at": at, **changes}
                rows.append(feedback(f"fb_{self.n}", of=arm(variant=self.tenure.variant, unit_hmac=f"u{i}"), **kind))
            keep_events(self.database, rows)
            self.clock.pass_time(timedelta(hours=1))
            if look:
                self.look()

    def look(self) -> list[str]:
        return watch_champion(self.database, self.clock, self.families, RULES)

    @property
    def states(self) -> list[WatchedTenure]:
        with self.database.read() as tx:
            return self.database.drift_detectors.get(tx, FAMILY)

    @property
    def state(self) -> WatchedTenure:
        """By the first metric."""
        return self.states[0]

    def alerts(self, *, open_only: bool = True) -> list[Alert]:
        with self.database.read() as tx:
            return [alert for alert in self.database.alerts.all(tx, open_only=open_only) if alert.kind == ALERT]


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    database = new_database(tmp_path)
    yield Watching(database)
    database.close()


class TestJob:
    def test_a_drop_opens_one_alert_and_changes_nothing_else(self, watching: Watching) -> None:
        watching.families["triage"] = family("triage")  # it has no champion and is left alone
        watching.users(20, 0.8)
        assert (watching.alerts(), watching.look()) == ([], [])
        watching.users(12, 0.4)
        (alert,) = watching.alerts()
        assert (alert.family, alert.level) == (FAMILY, "warning")
        assert "from about 0.80 to about 0.4" in alert.detail
        assert "rollback" not in alert.detail  # there is no champion before this one
        watching.users(3, 0.4)
        assert watching.look() == [FAMILY]
        assert len(watching.alerts(open_only=False)) == 1
        with watching.database.read() as tx:
            current = watching.database.champions.current(tx, FAMILY)
        assert (current.variant, current.seq) == (CHAMPION, 1)

    @pytest.mark.parametrize(
        ("changes", "hours", "is_news"),
        [
            ({}, 4, False),
            ({"level": "info"}, 4, True),
            ({"subject": "tried v_bbbbbbbbbbbb"}, 4, True),
            ({"subject": "tried v_aaaaaaaaaaaa"}, 4, False),
            ({"subject": "by_system"}, 4, True),
            ({}, 40, True),
        ],
        ids=["told", "of less weight", "another variant", "this variant", "another source", "for longer than a day"],
    )
    def test_a_fault_that_a_rule_told_of_is_no_drift_and_a_decline_that_lasts_on_is(
        self, watching, changes, hours, is_news
    ):
        """The fault is told two minutes after the hour in which it began, and the watch looks before."""
        watching.users(20, 0.8)
        watching.users(1, 0.2, look=False)
        watching.clock.pass_time(timedelta(minutes=2))
        watching.look()
        database, at = watching.database, watching.clock.now()
        members = {"id": "al_1", "kind": BROKEN, "family": FAMILY, "subject": "failures", "level": "warning"}
        rule = Alert(**{**members, "opened_at": at, "detail": "many fail", **changes})
        database.write(lambda tx: database.alerts.open(tx, rule))
        watching.users(hours, 0.2)
        end = watching.clock.now()
        database.write(lambda tx: database.alerts.close(tx, BROKEN, FAMILY, rule.subject, end))
        watching.users(6, 0.8)
        assert bool(watching.alerts()) == is_news
        watching.users(14, 0.4)
        assert len(watching.alerts()) == 1

    def test_every_outcome_is_read_once_whether_looks_are_rare_or_often_or_repeated_after_a_restart(self, tmp_path):
        states = []
        for name in ("often", "rare"):
            (tmp_path / name).mkdir()
            database = new_database(tmp_path / name)
            watching = Watching(database)
            watching.look()
            for _ in range(15):
                watching.users(1, 0.8, look=name == "often")
                if name == "often":
                    watching.look()
            database.close()
            again = Database(database.url)  # as another process would
            watching.database = again
            watching.clock.pass_time(SETTLED)
            watching.look()
            before = watching.state
            watching.look()
            assert watching.state == before
            assert before.watch.reference.n == 15 * 25
            states.append(before)
            again.close()
        assert states[0] == states[1]

    def test_a_look_that_is_killed_before_it_is_written_is_as_if_it_had_not_been(self, watching, monkeypatch):
        watching.users(10, 0.8, look=False)
        watching.look()
        watching.users(10, 0.2, look=False)
        before = watching.state

        def dies(tx: Any, alert: Alert) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(watching.database.alerts, "open", dies)
            with pytest.raises(KeyboardInterrupt):
                watching.look()
        assert watching.state == before
        assert watching.look() == [FAMILY]
        assert len(watching.alerts()) == 1

    def test_a_unit_counts_once_an_hour_with_its_mean(self, watching: Watching) -> None:
        rows = [
            feedback(f"fb_{i}", of=arm(unit_hmac="busy"), success=i % 4 == 0, received_at=NOW + timedelta(minutes=i))
            for i in range(60)
        ]
        rows.append(feedback("fb_other", of=arm(unit_hmac="calm"), received_at=NOW + timedelta(minutes=30)))
        keep_events(watching.database, rows)
        watching.clock.pass_time(timedelta(hours=1) + SETTLED)
        watching.look()
        reference = watching.state.watch.reference
        assert (reference.n, reference.total) == (2, 1.25)

    def test_hours_before_the_first_outcome_are_passed_over_and_what_waited_is_read_an_hour_at_a_time(
        self, watching, monkeypatch
    ):
        """A family without outcomes is looked at anew each hour; a day at once took 1.6 GB."""
        detectors, hours = watching.database.drift_detectors, []

        def outcomes(*of: Any, **judge: Any) -> Any:
            hours.append(of[4])
            return DriftDetectorTable.outcomes(detectors, *of, **judge)

        monkeypatch.setattr(detectors, "outcomes", outcomes)
        watching.look()
        assert (watching.state.read_until, hours) == (NOW - timedelta(hours=2), [])
        watching.users(1, 0.8)
        watching.clock.pass_time(SETTLED)
        watching.look()
        assert (watching.state.watch.reference.n, hours) == (25, [NOW])
        watching.users(3, 0.8, look=False)
        watching.look()
        assert hours == [NOW + timedelta(hours=at) for at in (0, 2, 3)]

    def test_an_hour_is_read_once_an_alert_of_it_would_be_there(self, watching: Watching) -> None:
        watching.users(2, 0.8, look=False)
        watching.look()
        assert watching.state.read_until == NOW
        watching.clock.pass_time(timedelta(minutes=1))
        watching.look()
        assert watching.state.read_until == NOW + timedelta(hours=1)

    def test_a_score_that_falls_beside_a_success_that_stays_is_told(self, watching: Watching) -> None:
        watching.users(20, 0.8, score=0.9)
        watching.users(14, 0.8, score=0.3)
        (alert,) = watching.alerts()
        assert "score by user went from about 0.90 to about 0.3" in alert.detail
        assert [state.watch.metric.field for state in watching.states] == ["success", "score"]
        assert [state.watch.alarmed for state in watching.states] == [False, True]
        watching.users(12, 0.3, score=0.3)
        assert {alert.subject for alert in watching.alerts()} == {"success", "score"}

    def test_what_an_older_version_knew_of_one_metric_goes_on(self, watching: Watching) -> None:
        watching.users(20, 0.8)
        before = watching.state
        kept = json.dumps(STORED_CHAMPION_WATCH.dump_python(before.watch, mode="json", by_alias=True))
        with closing(sqlite3.connect(watching.database.url.removeprefix("sqlite:///"))) as store, store:
            store.execute("UPDATE drift_detectors SET state = ?", (kept,))
        assert watching.states == [before]
        watching.users(12, 0.4)
        assert len(watching.alerts()) == 1

    def test_another_champion_closes_the_alert_and_begins_anew(self, watching: Watching) -> None:
        watching.users(20, 0.8)
        watching.users(12, 0.3)
        assert len(watching.alerts()) == 1
        at = watching.clock.now()
        watching.crown(
            next_tenure(watching.tenure, variant="v_bbbbbbbbbbbb", at=at, by="anna", why="better", forced=False)
        )
        watching.look()
        assert watching.alerts() == []
        watch = watching.state.watch
        assert (watching.state.tenure, watch.variant, watch.detector) == (2, "v_bbbbbbbbbbbb", None)
        watching.users(20, 0.8)
        watching.users(12, 0.3)
        (alert,) = watching.alerts()
        assert f"detent champion rollback {FAMILY}" in alert.detail

    def test_the_metric_is_the_familys_own_or_the_one_with_most_labels_when_outcomes_begin(self, watching):
        watching.look()
        assert watching.state.watch.metric == Metric()
        watching.users(2, 0.8, source="judge")
        watching.clock.pass_time(SETTLED)
        watching.look()
        assert watching.state.watch.metric == Metric(source="judge")
        assert watching.state.watch.reference.n == 50
        watching.users(4, 0.8, source="user")
        assert watching.state.watch.metric == Metric(source="judge")
        declared = watching.families[FAMILY].rollout.model_copy(update={"metric": Metric(source="user")})
        watching.families[FAMILY] = watching.families[FAMILY].model_copy(update={"rollout": declared})
        watching.look()
        assert watching.state.watch.metric == Metric(source="user")

    def test_an_edited_judge_begins_anew_since_scores_of_two_judges_are_never_compared(self, watching):
        def judged_by(model: str) -> dict[str, Any]:
            """The file names this judge; its feedback."""
            own = watching.families[FAMILY].model_copy(update={"judge": JudgeSettings(model=model)})
            watching.families[FAMILY] = own
            return {"source": "judge", "tags": {"judge": judge_identity(own)}}

        first = judged_by("kind")
        watching.users(11, 0.8, **first)
        assert watching.state.watch.reference.n > 200
        second = judged_by("strict")
        watching.users(20, 0.3, **second)
        assert watching.alerts() == [], "the judge is another one, and the answers are the same"
        assert watching.state.watch.judge == second["tags"]["judge"]
        watching.users(8, 0.0, per_hour=50, **{**second, "tags": first["tags"]})
        assert watching.alerts() == [], "what the first judge still says is not read"
        for _ in range(30):
            if not watching.alerts():
                watching.users(1, 0.05, **second)
        assert len(watching.alerts()) == 1
