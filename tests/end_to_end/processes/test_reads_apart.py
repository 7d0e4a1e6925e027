"""What takes processor time is read by a process of its own, one at a time, and says what the function would say."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.jobs.request import ItemRequest
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from optimizer.runtime import apart, fit_apart, wiring
from optimizer.runtime.use_cases import USE_CASES, use_case_named
from tests.clock import until
from tests.end_to_end.access.test_idempotency import rated
from tests.forked import run_forked
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.seeded_world import seeded


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Its processes are forked from one that has loaded the modules."""
    for module in (apart, fit_apart):
        monkeypatch.setattr(module, "subprocess", SimpleNamespace(**{**vars(subprocess), "run": run_forked}))
    with serving(make_home(tmp_path), reads_apart=True) as world:
        yield world


def test_the_answer_is_that_of_the_function(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once by a process that starts as it does in production."""
    monkeypatch.setattr(apart, "subprocess", subprocess)
    rollout = world.deploying()["id"]
    found = world.get(f"/v1/rollouts/{rollout}/verification").json()
    expected = verify_rollout(rollout, world.shared.store)
    assert (found["ok"], found["head"], found["n_decisions"]) == (True, expected.head, expected.n_decisions)


def test_a_read_that_asks_for_the_definition_of_a_family_finds_it(world: World) -> None:
    answer = world.get("/v1/families/triage/rollout/selftest")
    assert answer.status_code == 200, answer.text


def test_it_finds_a_renamed_family_by_a_name_that_it_had(world: World) -> None:
    renamed = world.client.post("/v1/families/triage/rename", json={"name": "sorting", "confirm": "triage"})
    assert renamed.status_code == 200, renamed.text
    answer = world.get("/v1/families/triage/rollout/selftest")
    assert answer.status_code == 200, answer.text


def test_what_the_function_refuses_is_refused_in_its_words(world: World) -> None:
    answer = world.get("/v1/rollouts/ro_none/verification")
    assert (answer.status_code, answer.json()["detail"].split(".")[0]) == (404, "There is no rollout 'ro_none'")
    sides = {"conservative": {"name": "mine.yaml", "policy": {"filter.min_words": 3}}}
    answer = world.client.post("/v1/families/triage/thresholds/comparison", json=sides)
    assert (answer.status_code, "is for content pipelines" in answer.json()["detail"]) == (422, True)


def test_what_is_logged_meanwhile_stands_in_a_log_and_not_in_the_answer(world: World) -> None:
    last_good = world.settings.var() / "last_good"
    shutil.rmtree(last_good, ignore_errors=True)
    last_good.write_text("")  # as on a disk that takes no file
    answers = [world.get(f"/v1/families/{name}/rollout/selftest") for name in ("triage", "nosuch")]
    assert [answer.status_code for answer in answers] == [200, 404], answers[0].text
    assert str(last_good) in (world.settings.log_dir() / "apart.log").read_text(encoding="utf-8")


def test_an_answer_that_begins_with_something_else_is_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = subprocess.CompletedProcess([], 0, stdout=b"a warning\nanswered\n{}")
    monkeypatch.setattr(apart.subprocess, "run", lambda *command, **options: printed)
    answer = world.get("/v1/rollouts/ro_none/verification")
    assert (answer.status_code, "something else" in answer.json()["detail"]) == (503, True)


def test_role_read_sees_no_text_and_a_key_for_another_family_nothing(world: World) -> None:
    rollout = world.deploying()["id"]
    world.add_key("figures", "read", secret="secret-figures")
    world.add_key("others", "read-texts", secret="secret-others", families=["elsewhere"])
    by = {"headers": {"Authorization": "Bearer secret-figures"}}
    report = world.get(f"/v1/rollouts/{rollout}/report", **by).json()
    assert report["rollout"]["id"] == rollout
    assert report["decisions"]
    assert {one["reason"] for one in report["decisions"]} == {None}
    assert "a try" not in str(report), "why it was started"
    refused = world.get(f"/v1/rollouts/{rollout}/report", headers={"Authorization": "Bearer secret-others"})
    assert refused.status_code == 404


def test_one_waits_for_another_and_is_refused_where_that_takes_too_long_or_others_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/v1/rollouts/ro_none/verification"
    with ThreadPoolExecutor(1) as second, apart._turn:
        waiting = second.submit(world.get, path)
        until(lambda: apart._places._value == 3, "the second to wait")
        monkeypatch.setattr(apart, "TURN_S", 0.01)
        third = world.get(path)
        monkeypatch.setattr(apart, "_places", threading.Semaphore(0))
        fourth = world.get(path)
    assert waiting.result().status_code == 404, "it had its turn"
    for refused in (third, fourth):
        assert (refused.status_code, "Other reads" in refused.json()["detail"]) == (503, True)


@pytest.mark.parametrize(
    ("what", "function"),
    [
        ("report", "optimizer.jobs.studies.report_study:read_study_report"),
        ("audit-cost", "optimizer.jobs.studies.read_front:read_audit_cost"),
    ],
)
def test_what_a_study_has_to_tell_is_read_by_another_process(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str, function: str
) -> None:
    seeded(world)
    asked, run = list[str](), run_forked

    def seen(*command: Any, **options: Any) -> Any:
        asked.append(json.loads(options["input"])["function"])
        return run(*command, **options)

    monkeypatch.setattr(apart.subprocess, "run", seen)
    found = world.get(f"/v1/studies/st_1/{what}", headers={"Authorization": "Bearer secret-read-texts"})
    assert (found.status_code, asked) == (200, [function]), found.text
    context, use_case = wiring.open_context(world.settings, actor="ann"), use_case_named(function)
    expected = json.loads(use_case.written(use_case.call(context, ItemRequest(id="st_1"))))
    assert {**found.json(), "made_at": None} == {**expected, "made_at": None}


def test_a_page_that_shows_what_is_read_apart_answers_at_once_and_asks_again(world: World) -> None:
    rollout = world.deploying()["id"]
    report = f"/dashboard/rollouts/{rollout}/report"
    with apart._turn:
        made = [world.get(report) for _ in range(2)]
        missing = world.get("/dashboard/rollouts/ro_none/report")
    assert [answer.status_code for answer in (*made, missing)] == [202, 202, 404]
    assert all("The report is being made" in answer.text and 'http-equiv="refresh"' in answer.text for answer in made)
    until(lambda: world.get(report).status_code == 200, "the report to be there")
    assert "Back to triage" in world.get(report).text
    world.add_key("figures", "read", secret="secret-figures")
    other = world.get(report, headers={"Authorization": "Bearer secret-figures"})
    assert other.status_code == 202, "what was read for a key that may read texts is not shown to one that may not"


def test_a_judge_is_fitted_by_another_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path, body = rated(world)
    fitted, run = list[str](), run_forked
    monkeypatch.setattr(fit_apart.subprocess, "run", lambda *a, **more: fitted.append(a[0][-1]) or run(*a, **more))
    answer = world.post(path, body)
    assert (answer.status_code // 100, fitted) == (2, ["optimizer.runtime.fit_apart"]), answer.text


def test_what_is_read_apart_changes_nothing() -> None:
    assert all(one.change is None and one.is_read for one in USE_CASES if one.apart)
