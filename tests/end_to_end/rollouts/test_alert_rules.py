"""Rules of alerts at the command line: what is silent, what a file leaves out, and what a faulty one still lets do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from optimizer.ports import Alert
from optimizer.runtime import wiring
from tests.command_line import detent
from tests.worlds.api_world import make_home


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
    mistyped = "mistyped: {metric: errors, above: 0.5, families: [no_such]}\n"
    settings.alert_rules_file.write_text("errors: {metric: errors, above: 0.5}\n" + mistyped, encoding="utf-8")
    ran = detent("alerts", "rules", env=env)
    assert ran.out.count("no family that there is here") == 1
    assert "leaves out rules that come along, so they watch nothing: " in ran.err + ran.out
    assert {"failures", "quality", "disk"} <= set(detent("alerts", "rules", "--json", env=env).json["left_out"])
    settings.alert_rules_file.write_text(detent("alerts", "rules", "--shipped", env=env).out, encoding="utf-8")
    report = detent("alerts", "rules", "--json", env=env).json
    assert (report["left_out"], len(report["items"]) > 5) == ([], True)
    before, _, of_home = detent("alerts", "rules", env=env).out.partition("disk  disk")
    of_jobs = before.partition("failed_jobs  failed_jobs")[2]
    assert (of_home.count("of the whole home"), "triage" in of_home, "Watches" in of_home) == (2, False, False)
    assert ("triage" in of_jobs, "events on" in of_jobs, "Tells of double" in of_jobs) == (True, False, False)
    (errors,) = (rule for rule in report["items"] if rule["name"] == "errors")
    assert {standing["minutes_double"] for standing in errors["families"]} == {None}, "there was no traffic"


def test_rules_that_the_shell_has_emptied_are_not_printed_as_those_that_come_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "alert_rules.yaml").touch()
    monkeypatch.setattr("optimizer.jobs.families.shipped_files.SHIPPED_HOME", tmp_path)
    ran = detent("alerts", "rules", "--shipped")
    assert (ran.code, ran.out, "git checkout config/alert_rules.yaml" in ran.err) == (2, "", True)


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


def test_while_the_file_of_rules_is_faulty_its_faults_are_said_before_the_rules_that_hold(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    settings.alert_rules_file.parent.mkdir()
    settings.alert_rules_file.write_text("errors: {metric: errors, above: 0.03}\n", encoding="utf-8")
    assert [rule.above for rule in wiring.open_alert_rules(settings, watches=True).rules()] == [0.03]
    settings.alert_rules_file.write_text("errors: {metric: errors, abov: 0.03}\n", encoding="utf-8")
    env = {"DETENT_HOME": str(settings.home), "COLUMNS": "200"}
    assert detent("alerts", "silence", "errors", "--for", "2h", "--reason", "we know", env=env).code == 0
    ran = detent("alerts", "rules", env=env)
    assert (ran.code, "line 1 /errors/abov" in ran.err, "above 3.0%" in ran.out, "we know" in ran.out) == (
        2,
        *[True] * 3,
    )
    document = detent("alerts", "rules", "--json", env=env)
    assert (document.code, document.json["items"][0]["says"]) == (2, "above 3.0%")
    assert "line 1 /errors/abov" in document.json["file_problem"]
