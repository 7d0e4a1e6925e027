"""What people see of a rollout that really ran: status, log, verification and report at the command line,
evidence over REST, tags in MLflow.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from optimizer.adapters.mlflow.tracking import MlflowTracker
from optimizer.adapters.store import Database
from optimizer.jobs.outbox.mirror_outbox import mirror_once
from optimizer.runtime.wiring import mirrored_pages
from tests import command_line
from tests.cases import named
from tests.clock import Clock
from tests.stand_ins.mlflow_store import NewMlflow
from tests.stores import new_database
from tests.worlds.rollout_world import Behaviour, F, World

SCALE = 60.0
Detent = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose one rollout has been promoted a moment ago, on a clock sixty times as fast."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "var").mkdir()
    begun = datetime.now(UTC) - timedelta(minutes=40)
    made = new_database(folder / "var")
    world = World(
        store=made, clock=Clock(at=begun, scale=SCALE, anchor=begun), rollout_settings={"ladder": [0.25, 0.5]}
    )
    world.history()
    world.behaviours[world.candidate] = Behaviour(success=0.98)
    world.start()
    world.climb(25)
    assert world.rollout.outcome == "promoted"
    made.close()
    family = folder / "families" / F
    family.mkdir(parents=True)
    (family / "family.yaml").write_text(
        yaml.safe_dump(world.family.model_dump(mode="json", by_alias=True)), encoding="utf-8"
    )
    (folder / "var" / "clock.json").write_text(
        json.dumps({"scale": SCALE, "anchor": begun.isoformat()}), encoding="utf-8"
    )
    return folder


@pytest.fixture
def detent(home: Path, monkeypatch: pytest.MonkeyPatch) -> Detent:
    monkeypatch.setenv("DETENT_HOME", str(home))
    monkeypatch.setenv("DETENT_CLOCK_SCALE", f"{SCALE:g}")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")

    def run(*words: str) -> tuple[int, str, str]:
        ran = command_line.detent(*words)
        return ran.code, ran.out, ran.err

    return run


def test_a_promotion_that_was_taken_back_is_not_offered_to_be_taken_back_again(
    home: Path, detent: Detent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second time would bring back the champion before the one before."""
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.setenv("DETENT_HOME", str(tmp_path / "home"))
    code, out, err = detent("champion", "rollback", F, "--reason", "complaints")
    assert code == 0, err
    code, out, err = detent("rollout", "status", F)
    assert code == 0, err
    assert "Undo" not in out


def test_the_status_shows_evidence_as_bars_against_their_thresholds_and_the_way_back(detent: Detent) -> None:
    code, out, err = detent("rollout", "status", F)
    assert code == 0, err
    for words in (
        "The candidate is better than the champion.",
        "worse by the margin or more",
        "of 20",
        "ruled out",
        "of 33.3",
        "of 125",
    ):
        assert words in out
    assert "█" * 20 in out
    assert f"Undo      detent champion rollback {F}" in out
    assert "candidate - champion +0." in out
    evidence = json.loads(detent("rollout", "status", F, "--json")[1])["evidence"]
    assert [gate["name"] for gate in evidence["gates"]] == ["ship3", "ship2", "ship1", "sup", "roll"]
    assert evidence["holdback"] is not None


def test_the_report_is_one_file_by_family_or_by_id(detent: Detent, home: Path, tmp_path: Path) -> None:
    code, out, err = detent("rollout", "report", F, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert Path(told["path"]) == (home / "var" / "reports" / f"{told['rollout']}.html").resolve()
    page = Path(told["path"]).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "became the champion of" in page
    chosen = tmp_path / "deep" / "report.html"
    assert detent("rollout", "report", told["rollout"], "--out", str(chosen))[:2] == (0, f"{chosen.resolve()}\n")
    assert chosen.stat().st_size > 10_000
    assert detent("rollout", "report", told["rollout"], "--out", "-")[1].endswith("</html>\n")


@named(
    ("words", "code", "said"),
    {
        "unknown family": (["rollout", "report", "nothing"], 1, "no family 'nothing'"),
        "no such folder": (
            ["rollout", "report", F, "--out", "/dev/null/report.html"],
            1,
            "Name another file with --out",
        ),
    },
)
def test_a_report_that_cannot_be_written_says_why(detent: Detent, words: list[str], code: int, said: str) -> None:
    found = detent(*words)
    assert found[0] == code
    assert said in found[2]


def test_mlflow_tells_each_decisions_evidence_as_tag_and_as_metric(
    home: Path, tmp_path: Path, new_mlflow: NewMlflow
) -> None:
    store = Database(f"sqlite:///{home / 'var' / 'detent.db'}")
    with store.read() as tx:
        rollout = store.rollouts.latest(tx, F)
        assert rollout is not None
        decisions = store.rollouts.decisions(tx, rollout.id)
    store.close()
    tracker = MlflowTracker(new_mlflow(tmp_path / "mlflow.db"))
    tracker.mirror_rollout(rollout, decisions)
    tracker.mirror_rollout(rollout, decisions)
    client = tracker._client
    experiment = client.get_experiment_by_name(f"detent/{F}")
    (run,) = client.search_runs([experiment.experiment_id])
    last = decisions[-1]
    evidence: Any = last.content["inputs"]["evidence"]
    assert re.search(rf"\(evidence ship1 \S+ of 20, {evidence['blocks']} blocks\)$", _tag(run, last.seq, rollout.id))
    assert "evidence" not in _tag(run, 1, rollout.id)
    history = client.get_metric_history(run.info.run_id, "rollout.log10_e.ship1")
    assert {point.step for point in history} == {
        d.seq for d in decisions if d.content["inputs"]["evidence"] is not None
    }
    assert run.data.metrics["rollout.log10_e.ship1"] == pytest.approx(evidence["log_e"]["ship1"] / math.log(10))
    assert run.data.metrics["rollout.labelled"] == evidence["labelled"]


def test_mlflow_gets_the_page_of_a_rollout_once_it_has_ended(tmp_path: Path, new_mlflow: NewMlflow) -> None:
    store = new_database(tmp_path)
    world = World(store=store, clock=Clock(scale=SCALE), rollout_settings={"ladder": [0.25, 0.5]})
    world.history()
    world.behaviours[world.candidate] = Behaviour(success=0.98)
    world.start()
    tracker = MlflowTracker(new_mlflow(tmp_path / "mlflow.db"))
    assert pages_in_mlflow(tracker, world) == []
    world.climb(25)
    assert world.rollout.outcome == "promoted"
    assert pages_in_mlflow(tracker, world) == [f"rollouts/{world.rollout.id}.html"]
    store.close()


def pages_in_mlflow(tracker: MlflowTracker, world: World) -> list[str]:
    """The paths of the rollout's pages after everything that waits was sent."""
    while mirror_once(
        world.store, lambda: tracker, world.clock, {F: None}, mirrored_pages({}, world.store, world.clock)
    ):
        pass
    client = tracker._client
    (run,) = client.search_runs(
        [client.get_experiment_by_name(f"detent/{F}").experiment_id], "tags.`detent.kind` = 'rollout'"
    )
    return [item.path for item in client.list_artifacts(run.info.run_id, "rollouts")]


def _tag(run: Any, seq: int, rollout: str) -> str:
    return str(run.data.tags[f"rollout.{rollout}.decision.{seq:03d}"])
