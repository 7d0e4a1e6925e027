"""A store that a later version migrated is served by this one, as docs/runbook.md says of a downgrade."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from optimizer.adapters.store import migrations
from optimizer.core.base.errors import Conflict
from optimizer.host.config import Settings
from optimizer.runtime import wiring
from tests.command_line import detent
from tests.worlds.api_world import make_home, serving

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
