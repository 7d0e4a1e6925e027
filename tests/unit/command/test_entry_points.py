"""Commands that the installation names: the demo stands above the command line, which does not import it."""

from __future__ import annotations

import tomllib
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from optimizer.cli import entry_points
from optimizer.cli.entry_points import COMMANDS, DISTRIBUTION, GROUP
from optimizer.core.base.errors import NotFound

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def only_command() -> typer.Typer:
    app = typer.Typer()
    entry_points.register(app)
    return app


def test_the_project_declares_each_command_that_the_command_line_looks_for() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    assert set(PROJECT["entry-points"][GROUP]) == set(COMMANDS)


def test_this_installation_names_them_as_the_project_does() -> None:
    assert {point.name: point.value for point in entry_points._declared()} == PROJECT["entry-points"][GROUP]


def test_a_named_command_is_the_one_of_its_module() -> None:
    from optimizer.demo.command import demo

    assert [command.callback for command in only_command().registered_commands] == [demo]


def test_an_installation_older_than_the_command_says_so_when_it_is_called(monkeypatch, tmp_path):
    (tmp_path / "METADATA").write_text("Name: detent-server\n")
    monkeypatch.setattr(entry_points, "distribution", lambda name: Distribution.at(tmp_path))
    with pytest.raises(NotFound, match=r"has no `detent demo`.*Install Detent anew"):
        CliRunner().invoke(only_command(), ["--keep"], catch_exceptions=False)


def test_files_that_are_not_installed_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> Distribution:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(entry_points, "distribution", none)
    with pytest.raises(NotFound, match="or there is none"):
        CliRunner().invoke(only_command(), [], catch_exceptions=False)
