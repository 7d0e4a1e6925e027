"""A command finds the running server of its user from any folder, and leaves nothing behind where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from optimizer.cli.app import app
from optimizer.cli.session import Session
from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.host import user_homes
from tests.command_line import detent


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside of every project, and a folder of this user's own for what runs."""
    monkeypatch.delenv("DETENT_HOME", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def project(tmp_path: Path, name: str) -> Path:
    (tmp_path / name / "families").mkdir(parents=True)
    return tmp_path / name


def test_outside_of_a_project_the_running_server_is_meant_and_said(tmp_path, capsys):
    home = project(tmp_path, "a")
    user_homes.enter(home)
    assert Session().settings.home == home
    assert str(home) in capsys.readouterr().err


def test_a_change_outside_of_a_project_is_refused_with_the_home_that_may_be_meant(tmp_path: Path) -> None:
    """Whose server happens to run may be another one than the one that is meant."""
    home = project(tmp_path, "a")
    user_homes.enter(home)
    before = sorted((home / "families").iterdir())
    for command in ("freeze triage", "family add summarization", "keys create bob --role operate"):
        refused = detent(*command.split())
        assert (refused.code, f"DETENT_HOME={home}" in refused.err) == (2, True), refused.err
    assert sorted((home / "families").iterdir()) == before
    assert detent("family", "list").code == 0


def test_a_change_says_in_which_home_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETENT_HOME", str(home := project(tmp_path, "a")))
    assert "Server: http://127.0.0.1:1" in detent("freeze", "--server", "http://127.0.0.1:1").err
    assert f"Home: {home}" in detent("freeze").err
    assert "Home:" not in detent("family", "list").err


def test_the_project_of_the_folder_comes_before_a_server_elsewhere(tmp_path, monkeypatch):
    user_homes.enter(project(tmp_path, "a"))
    here = project(tmp_path, "b")
    monkeypatch.chdir(here / "families")
    assert Session().settings.home == here


def test_several_servers_are_named_and_none_is_guessed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        user_homes.enter(project(tmp_path, name))
    with pytest.raises(InvalidInput, match=r"2 homes.*DETENT_HOME"):
        Session().settings  # noqa: B018


def test_without_a_project_and_a_server_a_command_is_refused_and_leaves_nothing(elsewhere: Path) -> None:
    result = CliRunner().invoke(app, ["status"])
    assert isinstance(result.exception, NotFound)
    assert "detent init DIR" in result.exception.detail
    assert list(elsewhere.iterdir()) == []


def test_the_file_of_a_process_that_died_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user_homes.enter(project(tmp_path, "a"))
    monkeypatch.setattr(user_homes, "lives", lambda start: False)
    assert user_homes.running() == []


def test_the_doctor_says_once_that_there_is_no_project(elsewhere: Path) -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert result.stdout.count("no Detent project") == 1
    assert list(elsewhere.iterdir()) == []
