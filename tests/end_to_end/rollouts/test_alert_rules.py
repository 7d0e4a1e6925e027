"""Rules of alerts in a real worker: half of the requests fail, one message says so, and one that it is over."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from optimizer.host.config import load_settings
from optimizer.ports import Alert, Store
from optimizer.runtime import wiring
from tests.clock import PROCESSES_S, until
from tests.command_line import detent
from tests.forked import Forked
from tests.stand_ins.alert_server import webhook_server
from tests.stores import arm, interaction, keep_events, migrate_store
from tests.worlds.api_world import FAMILY, make_home

RULES = """\
errors: {metric: errors, above: 0.03, times: 3, against: earlier_weeks, level: critical, explains: [failures]}
failures: {metric: success, below: 0.9}
"""


@pytest.mark.long
def test_half_of_the_requests_failing_is_one_message_and_one_that_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    for name, content in (("families/triage/family.yaml", FAMILY), ("config/alert_rules.yaml", RULES)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    with ExitStack() as stack:
        server = stack.enter_context(webhook_server())
        monkeypatch.setenv("DETENT_ALERT_SLACK_WEBHOOK", server.url)
        monkeypatch.setenv("DETENT_ALARMS__ERROR_SHARE", "0.9")
        settings = load_settings()
        migrate_store(settings)
        store = wiring.open_store(settings)
        stack.callback(store.close)
        _requests(store, "usual", 300, failing=0, hours=5)
        _requests(store, "bad", 60, failing=30, hours=3 / 60)
        worker = Forked(["detent", "worker"], env=os.environ)
        stack.callback(worker.wait, 30)
        stack.callback(worker.terminate)
        until(lambda: server.received, "the message", patience_s=PROCESSES_S)
        assert server.texts == ["Raised (critical): alert_rule, family triage"]
        assert "errors of triage: 50.0% of 60 requests failed" in server.received[0]["text"]
        # Twenty minutes later, in which all went well, in place of waiting for them.
        _requests(store, "well", 60, failing=0, hours=3 / 60)
        _move_back(store, "bad", minutes=23)
        until(lambda: len(server.received) == 2, "that it is over", patience_s=PROCESSES_S)
        assert server.texts[1] == "Cleared: alert_rule, family triage"
        time.sleep(3)  # of nothing else
        assert len(server.received) == 2


def _requests(store: Store, name: str, n: int, *, failing: int, hours: float) -> None:
    at = datetime.now(UTC) - timedelta(hours=hours)
    keep_events(
        store,  # type: ignore[arg-type]
        [
            interaction(
                f"{name}{i}",
                of=arm(family="triage"),
                received_at=at,
                occurred_at=at,
                error="no answer" if i < failing else None,
            )
            for i in range(n)
        ],
    )


def _move_back(store: Store, name: str, *, minutes: int) -> None:
    """These were received so long ago and told of then, and minutes are summed up anew."""
    at = (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%d %H:%M:%S.%f")

    def move(tx: Any) -> None:
        tx.execute(
            text("UPDATE interactions SET received_at = :at WHERE id LIKE :name"), {"at": at, "name": f"{name}%"}
        )
        tx.execute(text("UPDATE alerts SET opened_at = :at"), {"at": at})
        tx.execute(text("DELETE FROM minute_stats"))
        tx.execute(text("DELETE FROM watermarks WHERE name = 'minute_stats'"))

    store.write(move)


@pytest.mark.parametrize("how_long", ["0m", "8d"])
def test_a_silence_of_no_time_or_too_long_is_refused_in_the_words_of_the_option(how_long: str, tmp_path: Path) -> None:
    ran = detent("alerts", "silence", "errors", "--for", how_long, env={"DETENT_HOME": str(make_home(tmp_path).home)})
    assert (ran.code, ran.out) == (2, "")
    assert f"--for '{how_long}': a silence lasts from a minute to 7 days." in ran.err


def test_what_is_silent_is_listed_where_nothing_fires_and_no_rule_has_its_name(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    env, at = {"DETENT_HOME": str(settings.home), "COLUMNS": "200"}, datetime.now(UTC)
    restarted = Alert(id="al_1", kind="process_restarted", level="warning", opened_at=at, detail="")
    store = wiring.open_store(settings)
    store.write(lambda tx: store.alerts.open(tx, restarted))
    store.write(lambda tx: store.alerts.close(tx, restarted.kind, None, "", at))
    store.close()
    silence = detent("alerts", "silence", "process_restarted", "--for", "2h", "--reason", "we move", env=env)
    assert "`detent alerts rules` shows it" in silence.err
    (listed,) = detent("alerts", "rules", "--json", env=env).json["silences"]
    assert (listed["rule"], listed["family"], listed["reason"]) == ("process_restarted", "", "we move")
    (line,) = (line for line in detent("alerts", "rules", env=env).out.splitlines() if "process_restarted" in line)
    assert [line.split()[1], line[-7:]] == ["all", "we move"]


def test_a_file_of_ones_own_names_what_it_leaves_out_and_the_one_that_comes_along_begins_it(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    env = {"DETENT_HOME": str(settings.home), "COLUMNS": "200"}
    settings.alert_rules_file.parent.mkdir()
    settings.alert_rules_file.write_text("errors: {metric: errors, above: 0.5}\n", encoding="utf-8")
    ran = detent("alerts", "rules", env=env)
    assert "leaves out rules that come along, so they watch nothing: " in ran.err + ran.out
    assert {"failures", "quality", "disk"} <= set(detent("alerts", "rules", "--json", env=env).json["left_out"])
    settings.alert_rules_file.write_text(detent("alerts", "rules", "--shipped", env=env).out, encoding="utf-8")
    report = detent("alerts", "rules", "--json", env=env).json
    assert (report["left_out"], len(report["items"]) > 5) == ([], True)
    (errors,) = (rule for rule in report["items"] if rule["name"] == "errors")
    assert {standing["minutes_double"] for standing in errors["families"]} == {None}, "there was no traffic"


def test_what_nothing_here_knows_any_more_can_be_silenced_while_its_alert_is_open(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    store, at = wiring.open_store(settings), datetime.now(UTC)
    ended = Alert(id="al_1", kind="rollout_ended", level="critical", family="gone", opened_at=at, detail="")
    store.write(lambda tx: store.alerts.open(tx, ended))
    store.close()
    env = {"DETENT_HOME": str(settings.home)}
    assert detent("alerts", "silence", "gone", "--for", "2h", env=env).code == 0
    assert "; did you mean 'triage'? See them" in detent("alerts", "silence", "triagee", "--for", "2h", env=env).err


def test_while_the_file_of_rules_is_faulty_an_alert_can_be_silenced_and_leads_to_its_chapter(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    settings.alert_rules_file.parent.mkdir()
    settings.alert_rules_file.write_text("errors: {metric: eror}\n", encoding="utf-8")
    store = wiring.open_store(settings)
    raised = Alert(
        id="al_1",
        kind="alert_rule",
        level="critical",
        family="triage",
        subject="errors",
        detail="",
        opened_at=datetime.now(UTC),
    )
    store.write(lambda tx: store.alerts.open(tx, raised))
    store.close()
    env = {"DETENT_HOME": str(settings.home)}
    assert detent("alerts", "silence", "errors", "--for", "2h", env=env).code == 0
    (listed,) = json.loads(detent("alerts", "list", "--json", env=env).out)["items"]
    assert (listed["silence"]["rule"], listed["chapter"]) == ("errors", "docs/runbook.md#a-provider-is-down")
