"""config/alert_rules.yaml: every fault at once, read again when it changes, and a bad edit leaves what was known."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from optimizer.adapters.files.alert_rule_files import AlertRuleFile, read_alert_rules
from optimizer.core.base.errors import InvalidInput
from optimizer.core.rollout.alert_rules import METRICS

SHIPPED = Path(__file__).parents[3] / "config" / "alert_rules.yaml"
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "alert-on-rules.md"
FAULTY = """\
errors: {metric: errors, above: 0.1, windw: 5m}
Slow: {metric: latency_p95, above: 1000}
cost: {metric: prices, above: 1}
failures:
  metric: success
  below: 0.9
  explains: [qualty]
quality: {metric: quality, below: 0.9}
nothing: 3
"""


def test_the_rules_that_come_along_are_valid_and_watch_every_figure() -> None:
    rules = read_alert_rules(SHIPPED)
    assert {rule.metric for rule in rules} == set(METRICS)
    assert [rule.name for rule in rules if not rule.watch] == ["low_scores", "low_conversation"]


def test_the_page_explains_every_figure_and_every_field() -> None:
    text = PAGE.read_text(encoding="utf-8")
    fields = "metric scope families source above below times against window for min_n clear level action explains watch"
    assert [word for word in [*METRICS, *fields.split()] if f"`{word}`" not in text] == []


def test_every_fault_is_said_at_once_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "alert_rules.yaml"
    file.write_text(FAULTY)
    with pytest.raises(InvalidInput) as refused:
        read_alert_rules(file)
    told = {(fault["line"], fault["pointer"]): fault["detail"] for fault in refused.value.members["errors"]}
    places = {1: "/errors/windw", 2: "/Slow", 3: "/cost/metric", 7: "/failures/explains", 9: "/nothing"}
    assert sorted(told) == list(places.items())
    assert "did you mean 'window'" in told[1, "/errors/windw"]
    assert "did you mean 'quality'" in told[7, "/failures/explains"]


def files_of(home: Path) -> tuple[AlertRuleFile, AlertRuleFile]:
    """As the worker reads the home's file, and as every other process does."""
    worker, other = (
        AlertRuleFile(home / "alert_rules.yaml", SHIPPED, home / "kept" / "rules.yaml", watches=watches)
        for watches in (True, False)
    )
    return worker, other


def test_an_edit_holds_at_once_and_a_bad_one_leaves_the_rules_before(tmp_path: Path) -> None:
    path = tmp_path / "alert_rules.yaml"
    file, _ = files_of(tmp_path)
    assert [rule.name for rule in file.rules()] == [rule.name for rule in read_alert_rules(SHIPPED)]
    path.write_text("errors: {metric: errors, above: 0.2}")
    (first,) = file.rules()
    assert (first.above, file.rules() is file.rules()) == (0.2, True)
    path.write_text("errors: {metric: errors, above: 20}")
    assert file.rules() == (first,)
    assert "a share" in file.problem.detail
    path.write_text("errors: {metric: errors, above: 0.30}")
    os.utime(path, (1, 1))
    assert ([rule.above for rule in file.rules()], file.problem) == ([0.3], None)


def test_after_a_start_with_a_bad_file_the_rules_that_come_along_watch(tmp_path: Path) -> None:
    (tmp_path / "alert_rules.yaml").write_text(FAULTY)
    for file in files_of(tmp_path):
        assert (file.rules(), file.problem is None) == (read_alert_rules(SHIPPED), False)
        assert file.rules() is file.rules()


def test_the_last_good_rules_hold_after_a_restart_and_are_what_other_processes_show(tmp_path: Path) -> None:
    path = tmp_path / "alert_rules.yaml"
    worker, other = files_of(tmp_path)
    path.write_text("errors: {metric: errors, above: 0.2}")
    good = worker.rules()
    path.write_text("errors: {metric: errors, above: 0.04}")
    assert [rule.above for rule in other.rules()] == [0.04], "an edit that the worker never saw"
    path.write_text(FAULTY)
    for file in (worker, other, *files_of(tmp_path)):
        assert (file.rules(), file.problem is None) == (good, False)
        assert file.rules() is file.rules()
    (tmp_path / "kept" / "rules.yaml").write_text("errors: {metric: of_another_release}")
    for file in (other, *files_of(tmp_path)):
        assert file.rules() == read_alert_rules(SHIPPED)


def test_the_file_before_put_back_as_it_was_ends_the_problem(tmp_path: Path) -> None:
    path = tmp_path / "alert_rules.yaml"
    file, _ = files_of(tmp_path)
    path.write_text("errors: {metric: errors, above: 0.2}")
    file.rules()
    path.unlink()
    shipped = file.rules()
    path.write_text("errors: {metric: errors, above: 20}")
    assert (file.rules(), file.problem is None) == (shipped, False)
    assert files_of(tmp_path)[0].rules() == shipped, "a file that was taken away leaves no rules"
    path.unlink()
    assert (file.rules(), file.problem) == (shipped, None)


def test_where_the_file_that_comes_along_is_the_home_s_own_a_bad_edit_leaves_the_last_good_rules_too(tmp_path: Path):
    path = tmp_path / "alert_rules.yaml"  # as in a checkout that is a home

    def opened(*, watches: bool) -> AlertRuleFile:
        return AlertRuleFile(path, path, tmp_path / "kept" / "rules.yaml", watches=watches)

    path.write_text("errors: {metric: errors, above: 0.2}")
    good = opened(watches=True).rules()
    path.write_text(FAULTY)
    for file in (opened(watches=True), opened(watches=False)):
        assert (file.rules(), file.shipped, file.problem is None) == (good, (), False)
