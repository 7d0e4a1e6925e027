"""Rules watched on a store: one alert a figure, held rollouts, silences, and one message for one cause."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast
from unittest.mock import Mock, patch

import pytest
import typer

from optimizer.adapters.files.alert_rule_files import read_alert_rules
from optimizer.adapters.files.family_files import FamilyFiles
from optimizer.adapters.store import Database
from optimizer.cli.app import app
from optimizer.core.base.errors import Busy, InvalidInput
from optimizer.core.base.minute_sums import MinuteSums
from optimizer.core.base.phrasing import when
from optimizer.core.rollout.alert_rules import METRICS, AlertRule, Metric, tallies
from optimizer.core.rollout.champion_limits import ChampionLimits
from optimizer.core.serving.champion import first, next_tenure
from optimizer.jobs.champions.read_rules import RulesRequest, RuleStanding, read_rules
from optimizer.jobs.champions.watch_limits import OUT_OF_LIMITS, watch_limits
from optimizer.jobs.champions.watch_rules import DAY, HomeFigures, RuleWatcher, look_at, tell_faulty_file
from optimizer.jobs.families.tell_faulty_families import tell_faulty_families
from optimizer.jobs.feedback.roll_up_minutes import MINUTES, roll_up_minutes
from optimizer.jobs.outbox.send_alerts import families_of_models, send_alerts
from optimizer.jobs.outbox.silence_alerts import EndSilenceRequest, SilenceRequest, end_silence, silence_alerts
from optimizer.jobs.upkeep.read_operations import AlertsRequest, read_alerts
from optimizer.ports import Alert, AlertMessage
from tests.clock import Clock
from tests.rows.ingestion import BY_UNIT, Installation, family
from tests.stores import FAMILY, NOW, new_database, study
from tests.unit.family.test_family_files import GOOD, write
from tests.worlds.contexts import context_of
from tests.worlds.rollout_world import F, World

ERRORS = AlertRule(name="errors", metric="errors", above=0.03, level="critical", explains=("failures",))
FAILURES = AlertRule(name="failures", metric="success", below=0.9)
CHAMPION = "v_aaaaaaaaaaaa"
SHIPPED = Path(__file__).parents[3] / "config" / "alert_rules.yaml"


class Channel:
    """What people hear."""

    name = "slack"

    def __init__(self) -> None:
        self.heard: list[str] = []

    def send(self, message: AlertMessage) -> None:
        self.heard.append(f"{message.event} {message.alert.subject}")

    def check(self) -> None:
        return None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path)
    database.write(
        lambda tx: database.champions.put(
            tx, first(family=FAMILY, variant=CHAMPION, at=NOW - timedelta(days=40), by="ann", why="it serves")
        )
    )
    yield database
    database.close()


def minute(clock: Clock, *, back: float = 1, n: int = 60, failed: int = 0, **changes: Any) -> MinuteSums:
    at = (clock.at - timedelta(minutes=back)).replace(second=0, microsecond=0)
    row = MinuteSums(**{"family": FAMILY, "minute": at, "variant": CHAMPION, "model": "m", **changes})
    for i in range(n):
        if row.source:
            row.add_outcome(success=i >= failed, score=None)
        else:
            row.add_interaction(failed=i < failed, latency_ms=None, cost_usd=None)
    return row


def summed(store: Database, clock: Clock, rows: Sequence[MinuteSums]) -> None:
    until = clock.at.replace(second=0, microsecond=0)
    store.write(lambda tx: store.minute_stats.put(tx, rows))
    store.write(lambda tx: store.minute_stats.set_watermark(tx, MINUTES, until))


def open_alerts(store: Database) -> list[tuple[str | None, str]]:
    with store.read() as tx:
        alerts = store.alerts.all(tx, open_only=True)
    return sorted(((alert.family, alert.subject) for alert in alerts), key=str)


def look(store: Database, clock: Clock, *rules: AlertRule, **figures: Any) -> list[Alert]:
    return RuleWatcher(store, clock).look({FAMILY: family()}, rules, HomeFigures(**figures))


def standings(store: Database, clock: Clock, *rules: AlertRule) -> list[RuleStanding]:
    """Of each rule in the family; a rule ``other`` comes along and is in force nowhere."""
    files = cast("Any", type("Files", (), {"families": {FAMILY: family()}, "problems": {}}))
    context = context_of(
        store,
        clock,
        alert_rules=lambda: rules,
        alert_rules_problem=lambda: None,
        shipped_alert_rules=lambda: [*rules, ERRORS.model_copy(update={"name": "other"})],
        families=lambda: files,
        family=lambda name: family(),
    )
    report = read_rules(context, RulesRequest(family=FAMILY))
    assert report.left_out == ["other"]
    return [standing for item in report.items for standing in item.families]


def test_an_alert_opens_once_keeps_its_figures_and_closes_when_it_is_well(store: Database) -> None:
    clock, watcher = Clock(NOW), RuleWatcher(store, Clock(NOW))
    summed(store, clock, [minute(clock, failed=30)])
    (alert,) = watcher.look({FAMILY: family()}, [ERRORS])
    assert (alert.subject, alert.level) == ("errors", "critical")
    assert alert.detail.startswith(f"errors of {FAMILY}: 50.0% of 60 requests failed, in the last 1 minute;")
    assert alert.detail.endswith(f"Look: detent feedback stats {FAMILY} --by hour")
    clock.pass_time(timedelta(minutes=1))
    summed(store, clock, [minute(clock, failed=40)])
    assert look(store, clock, ERRORS) == []
    with store.read() as tx:
        assert "66.7% of 60" in store.alerts.all(tx, open_only=True)[0].detail
    clock.pass_time(timedelta(minutes=20))
    summed(store, clock, [minute(clock, back=back) for back in range(1, 20)])
    look(store, clock, ERRORS)
    assert open_alerts(store) == []


def test_what_has_cleared_is_not_raised_again_by_its_own_minutes_and_by_new_ones_it_is(store: Database) -> None:
    clock, of_user = Clock(NOW), {"n": 18, "source": "user"}

    def passed(minutes: int, failed: int) -> list[tuple[str | None, str]]:
        for _ in range(minutes):
            clock.pass_time(timedelta(minutes=1))
            summed(store, clock, [minute(clock, failed=failed, **of_user)])
            look(store, clock, FAILURES)
        return open_alerts(store)

    assert passed(6, failed=17) == [(FAMILY, "failures")]
    assert passed(16, failed=0) == []
    assert passed(5, failed=3) == [], "a little worse than the limit by chance, as the newest part of half an hour"
    assert passed(1, failed=17) == [(FAMILY, "failures")]


def test_a_log_of_earlier_days_raises_nothing_and_what_fails_beside_it_does(tmp_path: Path) -> None:
    store = new_database(tmp_path)
    of_models = AlertRule(name="model_errors", metric="errors", scope="model", above=0.03)
    app, rules = Installation(store), [ERRORS, FAILURES, of_models]
    store.write(
        lambda tx: store.champions.put(tx, first(family=FAMILY, variant=CHAMPION, at=NOW, by="ann", why="it serves"))
    )

    def failing(name: str, **more: Any) -> None:
        """Sixty requests, of which half failed, and what users said of them."""
        events = []
        for n in range(60):
            error = {"error": "timeout"} if n % 2 else {"latency_ms": 1.0}
            events += [{**BY_UNIT, "id": f"{name}{n}", "model": "m", **error, **more}]
            events += [{**BY_UNIT, "id": f"{name}_said{n}", "success": not n % 2, **more}]
        app.send(*events)

    def opened() -> list[str]:
        app.clock.pass_time(timedelta(minutes=3))
        roll_up_minutes(store, app.clock)
        watch_limits(store, app.clock, {FAMILY: family()}, ChampionLimits())
        look(store, app.clock, *rules)
        return [subject for _, subject in open_alerts(store)]

    long_ago = {"occurred_at": (NOW - timedelta(days=2)).isoformat()}
    failing("imported", **long_ago)
    assert opened() == []
    good = {**BY_UNIT, "model": "m", "latency_ms": 1.0, **long_ago}
    for part in range(3):  # good ones hide nothing of what fails beside them
        app.send(*({**good, "id": f"good{part}-{n}"} for n in range(400)))
    failing("late", occurred_at=(app.clock.at - timedelta(hours=20)).isoformat())  # an application that was offline
    assert opened() == ["errors", "failures"]
    store.close()


def test_a_minute_whose_alerts_could_not_be_written_is_looked_at_again(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, rules = Clock(NOW), [ERRORS]
    watcher = RuleWatcher(store, clock)
    summed(store, clock, [minute(clock, failed=30)])
    with monkeypatch.context() as locked:
        locked.setattr(store, "write", Mock(side_effect=Busy("The store is locked.")))
        with pytest.raises(Busy):
            watcher.look({FAMILY: family()}, rules)
    (alert,) = watcher.look({FAMILY: family()}, rules)
    assert alert.subject == "errors"
    assert watcher.look({FAMILY: family()}, rules) == []


def test_a_rule_that_is_gone_from_the_file_takes_its_alert_along(store: Database) -> None:
    clock = Clock(NOW)
    summed(store, clock, [minute(clock, failed=30)])
    assert look(store, clock, ERRORS)
    assert look(store, clock, FAILURES) == []
    assert open_alerts(store) == []


def test_a_family_that_always_fails_so_often_raises_nothing_and_one_that_began_to_does(store: Database) -> None:
    clock = Clock(NOW)
    rise = AlertRule(name="rise", metric="errors", above=0.03, times=3, against="earlier_weeks")
    week = timedelta(days=7) // timedelta(minutes=1)
    summed(store, clock, [minute(clock, failed=12), *(minute(clock, back=week + at, failed=12) for at in range(30))])
    assert look(store, clock, rise) == []
    clock.pass_time(timedelta(minutes=1))
    summed(store, clock, [minute(clock, n=600, failed=540)])
    (alert,) = look(store, clock, rise)
    assert "the limit is 64.8% (the same hours of earlier weeks: 21.6%)" in alert.detail


def test_the_days_before_and_then_the_last_day_stand_in_for_weeks_that_nobody_knows(store: Database) -> None:
    clock = Clock(NOW)
    rise = AlertRule(name="rise", metric="errors", times=3, against="earlier_weeks")
    summed(store, clock, [minute(clock, failed=20), *(minute(clock, back=300 + at) for at in range(10))])
    assert [alert.subject for alert in look(store, clock, rise)] == ["rise"]
    other = AlertRule(name="other", metric="success", times=0.9, against="earlier_weeks")
    assert [alert.subject for alert in look(store, clock, other)] == [], "no outcome is known"


def test_where_nothing_usual_is_known_the_numbers_of_shares_hold_alone(store: Database) -> None:
    clock = Clock(NOW)
    failing = [minute(clock, back=back, n=100, failed=100, source="user") for back in range(1, 7)]
    for row in failing:
        row.score_sum, row.n_score, row.score_squares = 0.0, 100, 0.0
    slow = minute(clock, n=0)
    for _ in range(100):
        slow.add_interaction(failed=False, latency_ms=20_000.0, cost_usd=5.0)
    summed(store, clock, [*failing, slow])
    told = {alert.subject: alert.detail for alert in look(store, clock, *read_alert_rules(SHIPPED))}
    assert {"failures", "quality"} == told.keys(), "how long a model usually takes, and what it costs, nobody knows"
    assert "the limit is at least 90.0% (what is usual is not known yet)" in told["failures"]


def followed(store: Database) -> None:
    """Since ten minutes by another champion."""
    with store.read() as tx:
        before = store.champions.current(tx, FAMILY)
    at = NOW - timedelta(minutes=10)
    after = next_tenure(before, variant="v_bbbbbbbbbbbb", by="ann", why="better", at=at, forced=False)
    store.write(lambda tx: store.champions.put(tx, after))


def test_a_new_champion_is_compared_with_the_same_hours_of_the_one_before(store: Database) -> None:
    clock = Clock(NOW)
    rule = AlertRule(name="new", metric="errors", times=2, against="champion_before")
    day = timedelta(days=1) // timedelta(minutes=1)
    nights = [minute(clock, back=day - 600 + at, failed=30) for at in range(30)]  # which fail far more often
    summed(store, clock, [*(minute(clock, back=day + at, failed=1) for at in range(30)), *nights])
    followed(store)
    summed(store, clock, [minute(clock, failed=20, variant="v_bbbbbbbbbbbb")])
    assert [alert.subject for alert in look(store, clock, rule)] == ["new"]


def test_a_model_is_watched_over_all_families_that_ask_it(store: Database) -> None:
    clock = Clock(NOW)
    rule = AlertRule(name="model_errors", metric="errors", scope="model", above=0.03)
    summed(store, clock, [minute(clock, n=10, failed=5), minute(clock, n=10, failed=5, family="other")])
    families = {FAMILY: family(), "other": family("other")}
    with patch("optimizer.jobs.champions.watch_rules.tallies", wraps=tallies) as counted:
        (alert,) = RuleWatcher(store, clock).look(families, [rule])
    assert counted.call_count == 2, "once for each family: no alert was open"
    assert (alert.family, alert.subject) == (None, "model_errors m")
    assert f"Families: {FAMILY}, other." in alert.detail


def test_of_a_model_that_fails_in_one_family_alone_the_familys_own_rule_speaks(store: Database) -> None:
    clock = Clock(NOW)
    rule = AlertRule(name="model_errors", metric="errors", scope="model", above=0.03)
    summed(store, clock, [minute(clock, failed=30), minute(clock, family="other")])
    assert RuleWatcher(store, clock).look({FAMILY: family(), "other": family("other")}, [rule]) == []


@pytest.mark.parametrize("scope", ["family", "model"])
def test_what_was_slow_is_open_until_it_is_as_quick_as_its_rule_asks(
    scope: Literal["family", "model"], store: Database
):
    clock, families = Clock(NOW), {FAMILY: family(), "other": family("other")}
    rule = AlertRule(name="slow", metric="latency_p95", scope=scope, above=3000, clear=1000)
    n_open = []
    for latency_ms in (9000.0, 2500.0, 500.0):
        rows = [minute(clock, back=back, n=0, family=name) for back in range(1, 19) for name in families]
        for row in rows:
            for _ in range(50):
                row.add_interaction(failed=False, latency_ms=latency_ms, cost_usd=None)
        summed(store, clock, rows)
        RuleWatcher(store, clock).look(families, [rule])
        n_open.append(len(open_alerts(store)))
        clock.pass_time(timedelta(minutes=70))
    assert n_open == ([2, 2, 0] if scope == "family" else [1, 1, 0])


def test_a_variant_has_figures_of_its_own(store: Database) -> None:
    clock = Clock(NOW)
    rule = ERRORS.model_copy(update={"scope": "variant"})
    summed(store, clock, [minute(clock, n=5000), minute(clock, n=40, failed=20, variant="v_b")])
    assert [alert.subject for alert in look(store, clock, rule)] == ["errors v_b"]
    assert look(store, clock, ERRORS.model_copy(update={"name": "all"})) == []


def test_numbers_that_no_minute_holds_are_watched_too(store: Database) -> None:
    clock = Clock(NOW)
    rules = [
        AlertRule(name="disk", metric="disk", above=0.9, level="critical"),
        AlertRule(name="budget", metric="budget", above=0.8),
        AlertRule(name="age", metric="outcome_age", above=24, min_n=10),
    ]
    old = minute(clock, back=30 * 60, source="user")
    summed(store, clock, [minute(clock), old])
    (disk, age) = sorted(look(store, clock, *rules, disk=0.95, all_usd=10.0), key=lambda alert: alert.family or "")
    assert "95% of the disk are used; the limit is 90.0%. Look: detent doctor" in disk.detail
    assert "the newest outcome is 30.0 hours old" in age.detail
    look(store, clock, *rules, disk=0.88)
    assert open_alerts(store) == [(FAMILY, "age"), (None, "disk")], "not far enough below"
    look(store, clock, *rules, disk=0.8)
    assert open_alerts(store) == [(FAMILY, "age")]


def test_a_failure_counts_for_a_day_which_its_alert_says_though_a_later_study_succeeds(store: Database) -> None:
    clock, rule = Clock(NOW), AlertRule(name="failed_jobs", metric="failed_jobs", above=0)
    failed = study("st_1", status="failed", finished_at=NOW, error="The provider is ill.")
    store.write(lambda tx: store.studies.add(tx, failed))
    store.write(lambda tx: store.studies.add(tx, study("st_2", status="finished", finished_at=NOW)))
    (alert,) = look(store, clock, rule)
    assert f"1 failed within a day; the limit is 0 (last study st_1, which counts until {when(NOW + DAY)}: The" in (
        alert.detail
    )
    for pause, subjects in ((DAY - timedelta(minutes=1), [(FAMILY, "failed_jobs")]), (timedelta(minutes=2), [])):
        clock.pass_time(pause)
        look(store, clock, rule)
        assert open_alerts(store) == subjects


def test_before_the_first_event_the_disk_is_watched_and_rules_of_requests_say_that_they_watch_nothing(
    store: Database,
) -> None:
    clock, disk = Clock(NOW), AlertRule(name="disk", metric="disk", above=0.9)
    assert [alert.subject for alert in look(store, clock, ERRORS, disk, disk=0.95)] == ["disk"]
    assert standings(store, clock, disk) == [], "it is no family's"
    (of_requests,) = standings(store, clock, ERRORS)
    assert (of_requests.unwatched, of_requests.minutes_half) == ("not watched yet: no event came", None)


def test_outcomes_that_do_not_come_are_told_of_once_however_few_requests_come_and_however_long(store: Database) -> None:
    clock, age = Clock(NOW), AlertRule(name="age", metric="outcome_age", above=24, min_n=10, source="user")
    judged = minute(clock, source="judge")
    summed(store, clock, [minute(clock), judged, minute(clock, back=30 * 60, source="user")])
    (alert,) = look(store, clock, age)
    assert "30.0 hours old" in alert.detail
    for days in (1, 9):
        clock.pass_time(timedelta(days=days))
        summed(store, clock, [minute(clock, n=3)])
        assert look(store, clock, age) == []
        assert open_alerts(store) == [(FAMILY, "age")]
    summed(store, clock, [minute(clock, n=3), minute(clock, source="user")])
    look(store, clock, age)
    assert open_alerts(store) == []


def test_what_is_open_waits_for_good_requests_also_where_every_window_is_short(store: Database) -> None:
    clock, short = Clock(NOW), ERRORS.model_copy(update={"window": 5})
    summed(store, clock, [minute(clock, failed=30)])
    assert look(store, clock, short)
    clock.pass_time(timedelta(minutes=30))
    summed(store, clock, [])
    look(store, clock, short)
    assert open_alerts(store) == [(FAMILY, "errors")]


def test_an_alert_of_a_rule_that_says_so_holds_the_rollout_until_a_person_resumes_it(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    world = World(store=database)
    world.history()
    world.start()
    holds = ERRORS.model_copy(update={"action": "hold"})
    summed(database, world.clock, [minute(world.clock, failed=30, family=F, variant=world.champion)])
    (alert,) = RuleWatcher(database, world.clock).look({F: world.family}, [holds])
    assert f"Its rollout is held; to go on: detent rollout resume {F}." in alert.detail
    assert (world.rollout.held, world.rollout.held_by) == (True, "rule:errors")
    world.tick()
    assert world.rollout.held, "the tick takes back only its own hold"
    assert world.operate("resume").changed
    assert not world.verified().problems
    world.clock.pass_time(timedelta(minutes=1))
    summed(database, world.clock, [minute(world.clock, failed=30, family=F, variant=world.champion)])
    RuleWatcher(database, world.clock).look({F: world.family}, [holds])
    with database.read() as tx:
        (alert,) = [one for one in database.alerts.all(tx, open_only=True) if one.subject == "errors"]
    assert "held" not in alert.detail, "a person resumed it"
    database.close()


def test_of_a_family_without_a_rollout_no_alert_says_that_one_is_held(store: Database) -> None:
    clock = Clock(NOW)
    summed(store, clock, [minute(clock, failed=30)])
    (alert,) = look(store, clock, ERRORS.model_copy(update={"action": "hold"}))
    assert "held" not in alert.detail


@cache
def commands() -> Any:
    """The tree of all commands, which takes a tenth of a second to make."""
    return typer.main.get_command(app)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("family_name", [FAMILY, None])
def test_every_alert_ends_with_a_command_that_there_is(metric: Metric, family_name: str | None) -> None:
    root = commands()
    line = shlex.split(look_at(metric, family_name))
    group, verb, *words = line[1:] if len(line) > 2 else [*line[1:], ""]
    command = root.commands[group]  # type: ignore[attr-defined]
    command = command.commands[verb] if verb else command
    command.make_context(verb or group, words, resilient_parsing=False)


def test_while_the_file_of_rules_is_faulty_an_alert_says_so(store: Database) -> None:
    for problem, subjects in (("line 3", [(None, "")]), ("line 4", [(None, "")]), (None, [])):
        tell_faulty_file(store, Clock(NOW), problem)
        assert open_alerts(store) == subjects


def test_while_the_file_of_a_family_is_faulty_one_alert_of_that_family_says_so(store: Database, tmp_path: Path) -> None:
    clock, files = Clock(NOW), FamilyFiles(tmp_path / "families")
    triage, mail = (write(tmp_path / "families", GOOD + "[", name) for name in ("triage", "mail"))

    def told() -> list[tuple[str | None, str]]:
        files.load()
        tell_faulty_families(store, clock, files.problems)
        return open_alerts(store)

    assert (told(), told()) == ([("mail", ""), ("triage", "")],) * 2
    triage.write_text(GOOD, encoding="utf-8")
    assert told() == [("mail", "")]
    shutil.rmtree(mail.parent)
    assert told() == []
    with store.read() as tx:
        (first_raised, _) = store.alerts.all(tx, open_only=False)
    assert (first_raised.level, "family.yaml:" in first_raised.detail) == ("warning", True)


class TestMessages:
    def heard(self, store: Database, channel: Channel, clock: Clock, minutes: float = 0) -> list[str]:
        clock.pass_time(timedelta(minutes=minutes))
        send_alerts(store, [cast("Any", channel)], clock, rules=[ERRORS, FAILURES])
        return channel.heard

    def rows(self, clock: Clock, failed: int) -> list[MinuteSums]:
        return [minute(clock, failed=failed), minute(clock, failed=failed, source="user")]

    def test_one_cause_is_one_message_though_both_are_listed(self, store: Database) -> None:
        clock, channel = Clock(NOW), Channel()
        summed(store, clock, self.rows(clock, 30))
        assert len(look(store, clock, ERRORS, FAILURES)) == 2
        assert self.heard(store, channel, clock) == ["raised errors"]
        context = context_of(store, clock, alert_rules=lambda: [ERRORS, FAILURES])
        listed = {alert.subject: alert for alert in read_alerts(context, AlertsRequest()).items}
        assert listed["failures"].told_by == listed["errors"].id
        assert listed["errors"].told_by is None
        store.write(lambda tx: store.alerts.close(tx, "alert_rule", FAMILY, "errors", clock.at))
        assert self.heard(store, channel, clock, 1) == ["raised errors", "cleared errors"]
        store.write(lambda tx: store.alerts.close(tx, "alert_rule", FAMILY, "failures", clock.at))
        assert self.heard(store, channel, clock, 60) == ["raised errors", "cleared errors"], "it cleared meanwhile"

    def test_what_is_open_is_listed_critical_first_then_the_oldest_first_on_pages_too(self, store: Database) -> None:
        for id, level, back in (("w", "warning", 9), ("old", "critical", 5), ("i", "info", 7), ("new", "critical", 2)):
            opened_at = NOW - timedelta(minutes=back)
            alert = Alert(id=id, kind="frozen", subject=id, level=cast("Any", level), opened_at=opened_at, detail="")
            store.write(lambda tx, alert=alert: store.alerts.open(tx, alert))
        context, pages = context_of(store, Clock(NOW), alert_rules=lambda: ()), list[list[str]]()
        cursor = None
        while cursor is not None or not pages:
            page = read_alerts(context, AlertsRequest(cursor=cursor, limit=3))
            pages.append([alert.id for alert in page.items])
            cursor = page.next_cursor
        assert pages == [["old", "new", "w"], ["i"]]

    def test_a_provider_that_is_gone_is_one_message_for_the_families_that_ask_it_and_for_no_other(
        self, store: Database
    ) -> None:
        clock, channel, rules = Clock(NOW), Channel(), read_alert_rules(SHIPPED)
        models = {FAMILY: "m", "other": "m", "apart": "n"}
        week = timedelta(days=7) // timedelta(minutes=1)
        rows = [minute(clock, back=week + at, family=name, model=models[name]) for name in models for at in range(10)]
        rows += [minute(clock, family=name, failed=60, model=model) for name, model in models.items()]
        rows += [minute(clock, family=name, failed=60, source="user", model="") for name in models]
        summed(store, clock, rows)
        RuleWatcher(store, clock).look({name: family(name) for name in models}, rules)
        raised = {(None, "model_errors m"), (FAMILY, "errors"), ("other", "errors"), ("apart", "errors")}
        assert raised <= set(open_alerts(store))
        send_alerts(store, [cast("Any", channel)], clock, rules=rules)
        assert sorted(channel.heard) == ["raised errors", "raised model_errors m"]
        told_by = {
            alert.family: alert.told_by
            for alert in read_alerts(context_of(store, clock, alert_rules=lambda: rules), AlertsRequest()).items
            if alert.subject == "errors"
        }
        assert [name for name, cause in told_by.items() if cause is None] == ["apart"]
        only = [
            rule.model_copy(update={"families": (FAMILY,)}) if rule.name == "model_errors" else rule for rule in rules
        ]
        with store.read() as tx:
            alerts = store.alerts.all(tx, open_only=True)
            assert families_of_models(tx, store, alerts, only, clock.at) == {"model_errors m": {FAMILY}}
            later = clock.at + timedelta(hours=2)
            assert families_of_models(tx, store, alerts, rules, later) == {"model_errors m": set()}, "they left it"

    def test_what_is_still_open_when_its_cause_is_long_gone_is_told(self, store: Database) -> None:
        clock, channel = Clock(NOW), Channel()
        summed(store, clock, self.rows(clock, 30))
        look(store, clock, ERRORS, FAILURES)
        self.heard(store, channel, clock)
        store.write(lambda tx: store.alerts.close(tx, "alert_rule", FAMILY, "errors", clock.at))
        assert self.heard(store, channel, clock, 1)[1:] == ["cleared errors"]
        assert self.heard(store, channel, clock, 30)[2:] == ["raised failures"]

    def test_a_limit_of_the_champion_and_a_rule_do_not_tell_the_same_twice(self, store: Database) -> None:
        clock, channel = Clock(NOW), Channel()
        summed(store, clock, self.rows(clock, 30))
        of = {"kind": OUT_OF_LIMITS, "family": FAMILY, "subject": f"{CHAMPION} errors", "level": "critical"}
        limit = Alert(id="al_limit", detail="", opened_at=clock.at - timedelta(seconds=1), **of)
        store.write(lambda tx: store.alerts.open(tx, limit))
        look(store, clock, ERRORS, FAILURES)
        assert self.heard(store, channel, clock) == [f"raised {CHAMPION} errors"]

    def silence(self, store: Database, clock: Clock, name: str, **members: Any) -> Any:
        files = cast("Any", type("Files", (), {"families": {FAMILY: family()}, "problems": {}}))
        context = context_of(store, clock, alert_rules=lambda: [ERRORS, FAILURES], families=lambda: files)
        if members.pop("end", False):
            return end_silence(context, EndSilenceRequest(name=name, **members))
        return silence_alerts(context, SilenceRequest(name=name, minutes=120, reason="moving", **members))

    @pytest.mark.parametrize("name", ["errors", FAMILY])
    def test_what_is_silent_sends_nothing_until_the_silence_ends(self, store: Database, name: str) -> None:
        clock, channel = Clock(NOW), Channel()
        report = self.silence(store, clock, name)
        assert report.undo == f"detent alerts silence {name} --end"
        summed(store, clock, [minute(clock, failed=30)])
        look(store, clock, ERRORS)
        context = context_of(store, clock, alert_rules=lambda: [ERRORS])
        assert self.heard(store, channel, clock) == self.heard(store, channel, clock, 60) == []
        (listed,) = read_alerts(context, AlertsRequest()).items
        assert listed.silenced_until == NOW + timedelta(hours=2)
        assert self.heard(store, channel, clock, 61) == ["raised errors"]

    def test_what_clears_while_it_is_silent_is_never_sent(self, store: Database) -> None:
        clock, channel = Clock(NOW), Channel()
        self.silence(store, clock, "errors", family=FAMILY)
        summed(store, clock, [minute(clock, failed=30)])
        look(store, clock, ERRORS)
        self.heard(store, channel, clock)
        store.write(lambda tx: store.alerts.close(tx, "alert_rule", FAMILY, "errors", clock.at))
        assert self.heard(store, channel, clock, 300) == []

    def test_a_silence_that_is_ended_lets_the_message_out_within_five_minutes(self, store: Database) -> None:
        clock, channel = Clock(NOW), Channel()
        self.silence(store, clock, "errors")
        summed(store, clock, [minute(clock, failed=30)])
        look(store, clock, ERRORS)
        self.heard(store, channel, clock)
        assert self.silence(store, clock, "errors", end=True).changed
        assert not self.silence(store, clock, "errors", end=True).changed
        assert self.heard(store, channel, clock, 5.1) == ["raised errors"]

    def test_an_alert_that_nobody_hears_speaks_for_no_other(self, store: Database) -> None:
        clock, channel = Clock(NOW), Channel()
        champions = Alert(
            id="al_limit",
            kind=OUT_OF_LIMITS,
            level="critical",
            family=FAMILY,
            subject=f"{CHAMPION} errors",
            opened_at=NOW,
            detail="half of the requests failed",
        )
        store.write(lambda tx: store.alerts.open(tx, champions))
        self.silence(store, clock, OUT_OF_LIMITS)
        summed(store, clock, [minute(clock, failed=30)])
        look(store, clock, ERRORS)
        assert self.heard(store, channel, clock, 1) == ["raised errors"]

    def test_raises_that_cleared_while_they_waited_keep_no_other_one_waiting(
        self, store: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("optimizer.jobs.outbox.send_alerts.BATCH", 2)
        clock, channel = Clock(NOW), Channel()
        usual = Alert(id="al_0", kind=OUT_OF_LIMITS, level="critical", subject="0", opened_at=NOW, detail="x")
        silent = [usual, replace(usual, id="al_1", subject="1")]
        for one in silent:
            store.write(lambda tx, one=one: store.alerts.open(tx, one))  # type: ignore[misc]
        self.silence(store, clock, OUT_OF_LIMITS)
        self.heard(store, channel, clock)
        for one in silent:
            store.write(lambda tx, one=one: store.alerts.close(tx, one.kind, None, one.subject, clock.at))  # type: ignore[misc]
        store.write(lambda tx: store.alerts.open(tx, replace(usual, id="al_2", kind="disk_full", subject="2")))
        for minutes in (6, 0, 0):
            self.heard(store, channel, clock, minutes)
        assert channel.heard == ["raised 2"]
        with store.read() as tx:
            assert store.outbox.backlog(tx, topics=("alert",)) == 0

    def test_the_undo_of_a_silence_and_of_its_end_is_of_the_same_family(self, store: Database) -> None:
        silenced = self.silence(store, Clock(NOW), "errors", family=FAMILY)
        ended = self.silence(store, Clock(NOW), "errors", family=FAMILY, end=True)
        assert (silenced.undo, ended.undo) == (
            f"detent alerts silence errors --family {FAMILY} --end",
            f"detent alerts silence errors --family {FAMILY} --for 1h",
        )

    def test_a_kind_of_alert_that_was_raised_once_may_be_silenced(self, store: Database) -> None:
        way_back = Alert(id="al_1", kind="way_back_broken", level="critical", subject="v", opened_at=NOW, detail="x")
        store.write(lambda tx: store.alerts.open(tx, way_back))
        store.write(lambda tx: store.alerts.close(tx, way_back.kind, None, "v", NOW))
        assert self.silence(store, Clock(NOW), "way_back_broken").changed

    def test_what_nobody_knows_is_not_silenced(self, store: Database) -> None:
        with pytest.raises(Exception, match="did you mean 'errors'"):
            self.silence(store, Clock(NOW), "erors")

    def test_the_kind_of_every_rule_is_none_that_can_be_silenced(self, store: Database) -> None:
        summed(store, Clock(NOW), [minute(Clock(NOW), failed=30)])
        assert look(store, Clock(NOW), ERRORS)
        with pytest.raises(InvalidInput, match="No rule, kind of alert or family is called 'alert_rule'"):
            self.silence(store, Clock(NOW), "alert_rule")


def test_rules_say_what_they_allow_a_family_and_how_soon_they_tell(store: Database) -> None:
    clock = Clock(NOW)
    rise = AlertRule(name="rise", metric="success", times=0.9, against="earlier_weeks")
    summed(store, clock, [minute(clock, back=back) for back in range(1, 61)])
    standing, not_yet = standings(store, clock, ERRORS, rise)
    assert (standing.per_minute, standing.limit, standing.minutes_half) == (60.0, 0.03, 3)
    assert standing.minutes_double > 5
    assert (not_yet.limit, not_yet.minutes_half) == (None, None)
    assert "not watched yet" in (not_yet.unwatched or "")
