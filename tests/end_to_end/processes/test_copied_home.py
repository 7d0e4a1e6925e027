"""A copy of a home does not act on the home that serves, and a store named by mistake serves nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from optimizer.core.base.errors import Refused
from optimizer.host import run_files
from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from tests.command_line import detent
from tests.worlds.api_world import make_home, serving


@pytest.fixture
def home(tmp_path: Path) -> Path:
    settings = make_home(tmp_path / "home")
    with serving(settings):
        pass
    return tmp_path / "home"


def test_a_command_in_the_copy_of_a_home_finds_no_server_there(home: Path, tmp_path: Path) -> None:
    settings = load_settings(home=home)
    run_files.announce(settings, "api", "http://127.0.0.1:1")
    shutil.copytree(home, tmp_path / "copy")
    assert run_files.find(settings, "api") is not None
    assert run_files.find(load_settings(home=tmp_path / "copy"), "api") is None
    home.rename(tmp_path / "moved")
    assert run_files.find(load_settings(home=tmp_path / "moved"), "api") is not None


def test_a_lock_that_was_copied_is_held_by_nobody(home: Path, tmp_path: Path) -> None:
    lock = wiring.worker_lock(load_settings(home=home))
    assert lock.acquire()
    shutil.copytree(home, tmp_path / "copy")
    copied = wiring.worker_lock(load_settings(home=tmp_path / "copy"))
    assert (lock.is_held(), copied.is_held()) == (True, False)
    assert copied.acquire()


@pytest.mark.parametrize("exists", [False, True], ids=["no file", "an empty file"])
def test_a_store_named_by_mistake_is_not_made(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    typo = tmp_path / "typo.db"
    if exists:
        typo.touch()
    monkeypatch.setenv("DETENT_HOME", str(home))
    monkeypatch.setenv("DETENT_DATABASE_URL", f"sqlite:///{typo}")
    for command in (["status"], ["serve", "--no-mlflow"]):
        ran = detent(*command)
        assert ran.code == 3
        assert "serve what the family files say" in ran.err
        assert str(typo) in ran.err
    assert typo.exists() is exists
    assert not exists or typo.stat().st_size == 0
    with pytest.raises(Refused):
        wiring.migrate_store(load_settings(home=home))


def test_a_store_that_was_moved_is_used(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in (home / "var").glob("detent.db*"):
        file.rename(tmp_path / file.name.replace("detent", "moved"))
    monkeypatch.setenv("DETENT_HOME", str(home))
    monkeypatch.setenv("DETENT_DATABASE_URL", f"sqlite:///{tmp_path / 'moved.db'}")
    ran = detent("status")
    assert ran.code == 0, ran.err
    assert "triage" in ran.out


def test_the_first_key_marks_the_store_where_no_server_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETENT_HOME", str(home))
    assert detent("keys", "create", "boss", "--role", "admin").code == 0
    assert (home / "var" / "detent.db.keyed").exists()
