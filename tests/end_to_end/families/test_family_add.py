"""``detent family add``: the families that come with Detent, in a project of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from optimizer.cli.app import app
from optimizer.core.base.errors import Conflict, NotFound
from optimizer.jobs.families.shipped_files import SHIPPED
from tests.command_line import new_project

ASKING = sorted(file.parent.name for file in SHIPPED.glob("*/examples.jsonl"))
Detent = Callable[..., Result]


@pytest.fixture
def detent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Detent:
    """Runs a command in a new project."""
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, list(words))

    new_project(tmp_path)
    return run


def test_every_family_that_ships_can_be_added_with_all_its_examples(detent: Detent, tmp_path: Path) -> None:
    assert len(ASKING) >= 11
    for name in ASKING:
        told = detent("family", "add", name, "--json")
        assert told.exit_code == 0, told.output
        values = json.loads(told.stdout)
        n = len((SHIPPED / name / "examples.jsonl").read_text(encoding="utf-8").splitlines())
        assert (values["import"]["n_accepted"], values["import"]["n_rejected"]) == (n, 0)
        copied = {file.name for file in (tmp_path / "families" / name).iterdir()}
        assert copied == {file.name for file in (SHIPPED / name).iterdir()}
        assert {Path(file).name for file in values["files"]} == copied
    listed = {row["name"]: row for row in json.loads(detent("family", "list", "--json").stdout)["items"]}
    assert set(ASKING) < set(listed)
    assert all(listed[name]["file"]["version"] for name in ASKING)
    shipped = json.loads(detent("family", "add", "--json").stdout)["items"]
    assert {row["family"] for row in shipped if row["here"]} == set(ASKING)


def test_nothing_that_a_project_has_is_overwritten(detent: Detent, tmp_path: Path) -> None:
    own = tmp_path / "families" / "summarization" / "notes.txt"
    own.parent.mkdir()
    own.write_text("mine")
    refused = detent("family", "add", "summarization").exception
    assert isinstance(refused, Conflict)
    assert "summarization already" in refused.detail
    assert [file.name for file in own.parent.iterdir()] == ["notes.txt"]


def test_what_was_cut_off_between_copy_and_import_is_finished_by_the_same_command(
    detent: Detent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("optimizer.cli.session.Session.import_curated", cut_off)
        assert detent("family", "add", "summarization").exit_code != 0
    copy = tmp_path / "families" / "summarization"
    assert (copy / "family.yaml").is_file()

    def imported() -> tuple[int, int]:
        done = json.loads(detent("family", "add", "summarization", "--json").stdout)["import"]
        return done["n_accepted"], done["n_duplicate"]

    n = len((copy / "examples.jsonl").read_text(encoding="utf-8").splitlines())
    assert (imported(), imported()) == ((n, 0), (0, n))

    (copy / "family.yaml").write_text((copy / "family.yaml").read_text(encoding="utf-8") + "# mine\n")
    refused = detent("family", "add", "summarization").exception
    assert isinstance(refused, Conflict)
    assert f"detent import {copy / 'examples.jsonl'} --family summarization --curated" in refused.detail


def test_an_unknown_name_is_told_the_names_there_are(detent: Detent) -> None:
    refused = detent("family", "add", "summaries").exception
    assert isinstance(refused, NotFound)
    assert "summarization" in refused.detail
