"""Whoever is woken finds the cause of each fault by the first command of the chapter that its one message names."""

from __future__ import annotations

import re
import shlex
import shutil
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import urljoin

import pytest
from sqlalchemy import text

from optimizer.adapters.files.alert_rule_files import read_alert_rules
from optimizer.adapters.webhooks import text_of
from optimizer.cli.service.serve import alarm_into
from optimizer.core.base.minute_sums import MinuteSums
from optimizer.core.rollout.alert_causes import BROKEN
from optimizer.host.run_files import announce
from optimizer.jobs.champions.watch_rules import NO_FIGURES, RuleWatcher
from optimizer.jobs.feedback.roll_up_minutes import MINUTES
from optimizer.jobs.outbox.send_alerts import send_alerts
from optimizer.ports import AlertMessage
from tests.command_line import detent
from tests.unit.alerts.test_alert_chapters import ROOT, first_command
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.dashboard_visitor import raised, visitor

COMMANDS = re.compile(r"`detent ([^`]+)`")
MINUTE = timedelta(minutes=1)
Usage = namedtuple("Usage", "total used free")


class Channel:
    """What people hear."""

    name = "slack"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def send(self, message: AlertMessage) -> None:
        self.texts.append(text_of(message, "home"))

    def check(self) -> None:
        return None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETENT_HOME", str(home))
        patch.setenv("COLUMNS", "400")
        settings = make_home(home)
        with serving(settings) as running:
            yield running


def minutes(world: World, **fault: Any) -> None:
    """A week ago all was well at this hour; for twenty minutes it is as ``fault`` says."""
    store, now = world.shared.store, world.shared.clock.now().replace(second=0, microsecond=0)
    with store.read() as tx:
        champion = store.champions.current(tx, "triage")
    assert champion is not None
    served_by = {"family": "triage", "variant": champion.variant, "model": "m1"}
    usual = {"n": 60, "failed": 0, "latency_ms": 400.0, "cost_usd": 0.001, "good": 19, "source": "user"}

    def rows(at: datetime, values: dict[str, Any]) -> Iterator[MinuteSums]:
        served = MinuteSums(**served_by, minute=at)
        for i in range(values["n"]):
            served.add_interaction(
                failed=i < values["failed"], latency_ms=values["latency_ms"], cost_usd=values["cost_usd"]
            )
        yield served
        if values["source"]:
            outcomes = MinuteSums(
                family="triage", minute=at, variant=champion.variant, model="m1", source=values["source"]
            )
            for i in range(values["n"] // 3):
                outcomes.add_outcome(success=i < values["good"], score=None)
            yield outcomes

    before = [row for back in range(90) for row in rows(now - timedelta(days=7) - back * MINUTE, usual)]
    before += [row for back in range(180, 190) for row in rows(now - back * MINUTE, usual)]
    today = [row for back in range(1, 21) for row in rows(now - back * MINUTE, {**usual, **fault})]

    def keep(tx: Any) -> None:
        for table in ("minute_stats", "stat_sums", "watermarks", "alerts", "outbox"):
            tx.execute(text(f"DELETE FROM {table}"))
        store.minute_stats.put(tx, [*before, *today])
        store.minute_stats.set_watermark(tx, MINUTES, now)

    store.write(keep)


def restarts(world: World, *processes: str) -> None:
    """As the supervisor writes it down."""
    at = datetime.now(UTC).timestamp()
    whys = [(process, f"{process} (pid {n}) was killed by signal 9 after 40 s") for n, process in enumerate(processes)]
    announce(world.settings, "serve", "http://127.0.0.1:1", restarts=[[at, *why] for why in whys])


def first_look(world: World, **figures: Any) -> str:
    """What the first command of that chapter shows."""
    shared, channel = world.shared, Channel()
    rules = read_alert_rules(ROOT / "config" / "alert_rules.yaml")
    watcher = RuleWatcher(shared.store, shared.clock)
    watcher.look(shared.families.families, rules, replace(NO_FIGURES, **figures))
    send_alerts(shared.store, [channel], shared.clock, rules=rules)
    assert len(channel.texts) == 1, channel.texts
    place = re.search(r"What to do: detent (runbook \S+)\.", channel.texts[0])
    assert place is not None, channel.texts
    chapter = detent(*place[1].split()).out
    return detent(*shlex.split(first_command(chapter))[1:]).out


BY_HOUR: list[tuple[str, dict[str, Any], str, float]] = [
    ("errors 5 %", {"n": 600, "failed": 30, "good": 190}, "errors", 0.05),
    ("errors 20 %", {"failed": 12}, "errors", 0.2),
    ("errors 50 %, as where the provider is gone", {"failed": 30}, "errors", 0.5),
    ("latency x 3", {"latency_ms": 1200.0}, "p95", 1241.0),
    ("cost x 5", {"cost_usd": 0.005}, "cost", 0.005),
]


@pytest.mark.parametrize(("fault", "figure", "value"), [pytest.param(*case[1:], id=case[0]) for case in BY_HOUR])
def test_a_fault_that_shows_by_hour(world: World, fault: dict[str, Any], figure: str, value: float) -> None:
    minutes(world, **fault)
    shown = first_look(world)
    rows = [line.replace(",", "").split() for line in shown.splitlines() if " m1 " in line]
    n, errors, p95, cost = (float(rows[-1][place]) for place in (4, 5, -2, -1))
    assert {"errors": errors / n, "p95": p95, "cost": cost / n}[figure] == pytest.approx(value, rel=0.01), shown


@pytest.mark.parametrize("rule", ["errors", "failures"])
def test_the_texts_of_errors_stand_behind_a_command_of_the_chapter_and_a_link_of_the_page(
    world: World, rule: str
) -> None:
    minutes(world)
    served = {"family": "triage", "variant": world.champion(), "unit": "u", "error": "HTTP 500 from the billing tool"}
    world.post("/v1/interactions", served)
    raised(world, BROKEN, rule, "half of them fail.")
    (alert,) = world.get("/v1/alerts").json()["items"]
    looks = COMMANDS.findall(detent("runbook", alert["chapter"].partition("#")[2]).out.partition("**Act:**")[0])
    assert any(served["error"] in detent(*shlex.split(command)).out for command in looks), looks
    page = visitor(world, None).get("/dashboard/alerts").text
    (place,) = re.findall(r'href="([^"]+)">Failed requests<', page)
    assert served["error"] in visitor(world, None).get(urljoin("/dashboard/alerts", unescape(place))).text


@pytest.mark.parametrize(
    ("fault", "shows"),
    [
        pytest.param({"source": ""}, r"Requests +1,200(?s:(?!Success).)*$", id="feedback stops"),
        pytest.param({"source": "judge"}, r"Success +95\.0% of 400 \(judge\)", id="outcomes come from a judge"),
        pytest.param({"good": 1}, r"Success +5\.0% of 400 \(user\)", id="outcomes turn round"),
    ],
)
def test_a_fault_that_outcomes_show(world: World, fault: dict[str, Any], shows: str) -> None:
    minutes(world, **fault)
    shown = first_look(world)
    assert re.search(shows, shown), shown


@pytest.mark.parametrize("process", ["worker", "mlflow"])
def test_a_process_that_dies(world: World, process: str) -> None:
    minutes(world)
    restarts(world, process)
    alarm_into(world.shared.store)(process, f"{process} (pid 7) was killed by signal 9 after 40 s")
    shown = first_look(world)
    assert re.search(rf"Restarted +{process}, \d+ s ago; why: .* killed by signal 9", shown), shown


def test_a_process_that_keeps_dying(world: World) -> None:
    minutes(world)
    restarts(world, *["worker"] * 3)
    figures = ["worker", "mlflow", "worker", "mlflow", "worker"]
    shown = first_look(world, restarts=figures)
    (line,) = [line for line in shown.splitlines() if "worker," in line]
    assert re.search(r"worker, 3 times, last \d+ s ago; why: worker \(pid 2\) was killed by signal 9", line), line
    with world.shared.store.read() as tx:
        alerts = world.shared.store.alerts.all(tx, open_only=True)
    assert [alert.subject for alert in alerts] == ["restarts worker"]
    assert alerts[0].detail.startswith("restarts of worker: it died and was started again 3 times within an hour;")


def test_a_disk_that_is_full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    minutes(world)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10 * 2**30, 9.7 * 2**30, 0.3 * 2**30))
    shown = first_look(world, disk=0.97)
    assert re.search(r"disk .*\.3", shown), shown
