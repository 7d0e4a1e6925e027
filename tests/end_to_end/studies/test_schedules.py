"""The schedule of a family over REST and from the terminal: what is in force, by whom,
and how it is set and given back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optimizer.cli.app import run
from tests.cases import named
from tests.worlds.api_world import World, make_home

PATH = "/v1/families/triage/schedule"
WEEKLY = {"cron": "0 3 * * 1", "reason": "weekly is enough"}


def put(world: World, body: dict[str, Any], *, if_match: str | None = "*", path: str = PATH) -> Any:
    return world.client.put(path, json=body, headers={"If-Match": if_match} if if_match else {})


def family_row(world: World) -> dict[str, Any]:
    (row,) = world.get("/v1/status").json()["families"]
    found: dict[str, Any] = row
    return found


def test_nothing_is_switched_on_at_first_and_everywhere_the_same(world: World) -> None:
    answer = world.get(PATH)
    schedule = answer.json()
    assert answer.headers["etag"]
    assert {
        name: schedule[name] for name in ("on", "holdout", "cron", "strategy", "aim", "source", "by", "next_study_at")
    } == {
        "on": False,
        "holdout": False,
        "cron": "0 3 * * *",
        "strategy": "bootstrap+settings+nearest",
        "aim": "quality",
        "source": "file",
        "by": None,
        "next_study_at": None,
    }
    assert world.get("/v1/families/triage").json()["schedule"] == schedule
    assert family_row(world)["next_study_at"] is None
    assert family_row(world)["schedule"] == {
        "on": False,
        "holdout": False,
        "cron": "0 3 * * *",
        "source": "file",
        "by": None,
    }


def test_a_schedule_that_is_set_says_by_whom_and_how_to_take_it_back(world: World) -> None:
    tag = world.get(PATH).headers["etag"]
    answer = put(world, WEEKLY, if_match=tag)
    assert answer.status_code == 200, answer.text
    done = answer.json()
    assert (done["changed"], done["undo"], done["why"]) == (
        True,
        "detent family schedule triage --off",
        "weekly is enough",
    )
    assert (done["schedule"]["source"], done["schedule"]["by"]) == ("store", world.shared.actor_without_key)
    assert world.get(PATH).headers["etag"] == answer.headers["etag"] != tag
    assert family_row(world)["schedule"]["cron"] == "0 3 * * 1"
    assert family_row(world)["next_study_at"] == done["schedule"]["next_study_at"]
    (entry,) = [e for e in world.get("/v1/audit").json()["items"] if e["action"] == "schedule.set"]
    assert entry["detail"]["before"]["on"] is False


def test_put_needs_if_match_and_refuses_what_was_read_before_a_change(world: World) -> None:
    tag = world.get(PATH).headers["etag"]
    without = put(world, WEEKLY, if_match=None)
    assert (without.status_code, without.json()["type"]) == (428, "/problems/precondition-required")
    assert put(world, WEEKLY, if_match=tag).status_code == 200
    stale = put(world, {"cron": None}, if_match=tag)
    assert (stale.status_code, stale.json()["type"]) == (412, "/problems/precondition-failed")
    assert stale.json()["current"] == world.get(PATH).headers["etag"]
    assert world.client.delete(PATH, headers={"If-Match": tag}).status_code == 412
    assert world.get(PATH).json()["cron"] == "0 3 * * 1"


@named(
    ("body", "status", "pointers"),
    {
        "every fault": ({"cron": "0 25 * * *", "strategy": "magic"}, 422, {"/cron", "/strategy"}),
        "nothing said": ({}, 422, {"/cron"}),
        "an unknown member": ({"cron": None, "budget": 3}, 422, {"/budget"}),
    },
)
def test_what_cannot_be_a_schedule_is_told_with_its_place(
    world: World, body: dict[str, Any], status: int, pointers: set[str]
) -> None:
    answer = put(world, body)
    assert answer.status_code == status, answer.text
    assert {fault["pointer"] for fault in answer.json()["errors"]} == pointers
    assert world.get(PATH).json()["on"] is False


# --- from the terminal ------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_home(tmp_path)
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    return tmp_path


def test_the_command_line_sets_it_shows_it_and_gives_it_back(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def detent(*words: str) -> str:
        code = run(["family", "schedule", "triage", *words])
        out = capsys.readouterr()
        assert code == 0, out.err
        return out.out + out.err

    assert "off, nothing starts by itself" in detent()
    said = detent("--cron", "0 3 * * 1", "--reason", "weekly")
    assert "studies start by themselves: by the file's triggers and at 0 3 * * 1 UTC" in said
    assert "Undo: detent family schedule triage --off" in said
    assert detent().split(": ")[-1].startswith("weekly")
    assert run(["family", "show", "triage"]) == 0
    assert (
        "Schedule  on, by the file's triggers and at 0 3 * * 1 UTC as bootstrap+settings+nearest for quality"
        in capsys.readouterr().out
    )
    assert 'Undo: detent family schedule triage --cron "0 3 * * 1"' in detent("--off")
    assert '"next_study_at": null' in detent("--json")
    assert "may look at the sealed holdout" in detent("--on", "--holdout")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["--off", "--on"], "exclude each other", id="two at once"),
        pytest.param(["--off", "--holdout"], "give --on", id="a permission for nothing"),
        pytest.param(["--strategy", "gepa"], "give --on", id="a strategy alone"),
        pytest.param(["--cron", "0 3 * * *", "--aim", "beauty"], "quality, cost, latency", id="no such aim"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert run(["family", "schedule", "triage", *words]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("more", [{"cron": "0 3 * * *"}, {"strategy": "settings"}, {"aim": "cost"}, {"holdout": True}])
def test_what_would_be_forgotten_by_switching_off_is_refused_with_what_to_do(
    world: World, more: dict[str, Any]
) -> None:
    assert put(world, {"on": True}).json()["schedule"]["on"] is True
    refused = put(world, {"on": False, **more})
    assert refused.status_code == 422
    assert [one["pointer"] for one in refused.json()["errors"]] == [f"/{name}" for name in more]
    assert 'send "on": true' in refused.json()["detail"]
    assert world.get(PATH).json()["on"] is True
    assert put(world, {"on": False, "cron": None}).json()["schedule"]["on"] is False
