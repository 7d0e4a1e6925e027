"""A store that a later version migrated is served by this one, as docs/runbook.md says of a downgrade."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from optimizer.adapters.store import migrations
from optimizer.core.base.errors import Conflict
from optimizer.host.config import Settings
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from optimizer.runtime import wiring
from tests.clock import Clock
from tests.command_line import detent
from tests.recordings import recipe
from tests.recordings.fixed import fixed
from tests.worlds.api_world import make_home, serving

ROOT = Path(__file__).resolve().parents[3]

STEP = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, additive = "{revision}", "{before}", {additive}


def upgrade() -> None:
    op.add_column("interactions", sa.Column("mood_{revision}", sa.String(), nullable=True))
    op.create_table("moods_{revision}", sa.Column("id", sa.String(), primary_key=True))
"""


def migrated_by_a_later_version(
    settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch, **steps: bool
) -> None:
    """``steps``: revision behind an r, and whether it is additive."""
    shutil.copytree(migrations.HERE, folder)
    before = migrations.revisions()[-1]
    for name, additive in steps.items():
        text = STEP.format(revision=name[1:], before=before, additive=additive)
        (folder / "versions" / f"{name}_mood.py").write_text(text)
        before = name[1:]
    with monkeypatch.context() as later:
        later.setattr(migrations, "HERE", folder)
        wiring.migrate_store(settings)


def test_a_store_after_an_additive_step_is_served_and_written_and_the_later_version_finds_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_home(home := tmp_path / "home")
    migrated_by_a_later_version(settings, tmp_path / "next", monkeypatch, r9000=True)
    monkeypatch.setenv("DETENT_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "400")
    with serving(settings) as world:
        rollout = world.deploying()
        outcome = {"id": "fb_1", "family": "triage", "unit": "anna", "success": True, "source": "user"}
        posted = world.post("/v1/feedback", outcome)
        assert posted.json()["accepted"] == 1, posted.text
        asked = world.get("/v1/families/triage/prompt?unit=anna")
        assert (asked.status_code, asked.json()["variant"]) in {(200, rollout["champion"]), (200, rollout["candidate"])}
        world.tick()
    doctor = detent("doctor")
    assert "a later version made its tables (at 9000)" in doctor.out
    for words in (["data", "export", str(tmp_path / "out.tar.gz")], ["data", "forget", "--unit", "anna", "--dry-run"]):
        refused = detent(*words)
        assert refused.code == 1
        assert "Do it with the version that made them" in " ".join(refused.err.split())
    migrated_by_a_later_version(settings, tmp_path / "after", monkeypatch, r9000=True, r9001=True)
    with closing(wiring.open_store(settings)) as store, store.read() as tx:
        assert store.tables.later_revision(tx) == "9001"
        assert [row["mood_9001"] for row in tx.exec_driver_sql("SELECT * FROM interactions").mappings()] == [None]
        assert {row.id for row in tx.exec_driver_sql("SELECT id FROM feedback_events")} == {"fb_1"}
        assert tx.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    assert detent("rollout", "verify", rollout["id"]).code == 0


def test_a_store_after_one_step_that_is_not_additive_is_refused_with_the_two_ways_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_home(tmp_path / "home")
    migrated_by_a_later_version(settings, tmp_path / "next", monkeypatch, r9000=False, r9001=True)
    with pytest.raises(Conflict, match=r"by a later version.*at 9001.*version that made it, restore a backup"):
        wiring.migrate_store(settings)


BEFORE = """
import sys
from datetime import datetime, timedelta
from pathlib import Path
from optimizer.host.config import load_settings
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from optimizer.runtime import wiring
from tests.clock import Clock
from tests.recordings.fixed import api_of, fixed

clock = Clock()
clock.at = datetime.fromisoformat(sys.argv[2])
with fixed(clock):
    settings = load_settings("dev", Path(sys.argv[1]))
    wiring.migrate_store(settings)
    with api_of(settings, clock) as world:
        store = world.shared.store
        world.add_key("before", "admin", secret="before")
        world.client.headers["Authorization"] = "Bearer before"
        paths = ["status", "alerts", "jobs", "audit", "studies", "interactions", "snapshot", "quality/analytics"]
        for name in (row["name"] for row in world.get("/v1/families").json()["items"]):
            paths += [f"families/{name}", f"families/{name}/prompt?unit=u", f"families/{name}/variants"]
            event = {"id": f"before_{name}", "family": name, "unit": "u", "success": True, "source": "user"}
            assert world.post("/v1/feedback", event).json()["accepted"] == 1, name
        paths += [f"studies/{row['id']}" for row in world.get("/v1/studies").json()["items"]]
        for path in paths:
            answer = world.get(f"/v1/{path}")
            assert answer.status_code == 200, (path, answer.text)
        for _ in range(2):
            world.tick()
            clock.at += timedelta(minutes=10)
            roll_up_minutes(store, clock)
        with store.read() as tx:
            rollouts = [rollout.id for rollout in store.rollouts.all_latest(tx).values()]
        assert not [id for id in rollouts if verify_rollout(id, store).problems]
print(clock.at.isoformat())
"""


def git(*words: str) -> str:
    ran = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return ran.stdout.strip() if ran.returncode == 0 else ""


def release_before() -> str:
    """The newest tag of a release; before the first one, the code that did not know the newest step of the tables."""
    newest = max((migrations.HERE / "versions").glob("r[0-9]*.py"))
    added = git("log", "-1", "--format=%H", "--diff-filter=A", "--", str(newest))
    return git("describe", "--tags", "--abbrev=0", "--match", "v*") or (added and git("rev-parse", f"{added}^"))


@pytest.mark.long
def test_the_release_before_reads_and_writes_a_home_of_this_code_and_what_it_decides_follows(tmp_path: Path) -> None:
    if not (before := release_before()):
        pytest.skip("the history that holds the version before is not here")
    code, home = tmp_path / "code", tmp_path / "home"
    code.mkdir()
    home.mkdir()
    archive = subprocess.run(["git", "archive", before], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(code)], input=archive, check=True)
    with fixed(Clock()) as clock:
        settings = recipe.build(home, clock)
    path = os.pathsep.join([str(code), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, "-c", BEFORE, str(home), clock.at.isoformat()]
    ran = subprocess.run(words, cwd=code, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    if "ModuleNotFoundError" in ran.stderr:
        pytest.skip(f"{before} needs a package that this version does not: {ran.stderr.splitlines()[-1]}")
    assert ran.returncode == 0, ran.stderr[-4000:]
    with fixed(clock):
        wiring.migrate_store(settings)
        with closing(wiring.open_store(settings)) as store, store.read() as tx:
            assert tx.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert tx.exec_driver_sql("SELECT count(*) FROM feedback_events WHERE id LIKE 'before_%'").scalar()
            rollouts = list(store.rollouts.all_latest(tx).values())
        with closing(wiring.open_store(settings)) as store:
            assert {rollout.id: verify_rollout(rollout.id, store).problems for rollout in rollouts} == {
                rollout.id: () for rollout in rollouts
            }
