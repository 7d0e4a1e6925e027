"""What ``detent serve`` refuses before any process starts."""

from __future__ import annotations

from typer.testing import CliRunner

from optimizer.cli.app import app
from optimizer.core.base.errors import Refused
from optimizer.host import run_files
from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from tests.stores import migrate_store
from tests.worlds.rollout_world import World


def test_a_scaled_clock_is_refused_while_a_rollout_runs_on_real_time(tmp_path, monkeypatch):
    (tmp_path / "families").mkdir()
    settings = load_settings(home=tmp_path)
    migrate_store(settings)
    store = wiring.open_store(settings)
    world = World(store=store)  # type: ignore[arg-type]
    world.history()
    world.start()
    store.close()
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setenv("DETENT_CLOCK_SCALE", "1440")
    refused = CliRunner().invoke(app, ["serve", "--no-mlflow", "--port", "0"]).exception
    assert isinstance(refused, Refused)
    assert "1440 times as fast" in refused.detail
    assert run_files.find(settings, "serve") is None
