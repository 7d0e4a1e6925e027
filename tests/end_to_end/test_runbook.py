"""Every command of docs/runbook.md is run in the order of the page, beside a server and in the homes that it makes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.host.run_files import announce
from tests.api_world import World, make_home, serving
from tests.command_line import detent
from tests.gateway_world import serving as on_a_socket

PAGE = Path(__file__).resolve().parents[2] / "docs" / "runbook.md"
COMMAND = re.compile(r"`(?:DETENT_HOME=(\S+) )?detent ([^`]+)`")
PROCESSES = {"serve", "worker"}  # stay until they are ended: test_serve.py and tests/crash start and end them
FINDINGS = {"doctor": "at fault", "study cancel triage": "has had no study"}  # exit 1 is a result here


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("DETENT_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "backups").mkdir()
    (tmp_path / "srv").mkdir()
    settings = make_home(home)
    with serving(settings) as running, on_a_socket(running.app, settings) as url:
        announce(settings, "api", url)
        running.add_key("boss", "admin", secret="boss")
        running.add_key("web", "feedback", secret="web")
        running.add_key("batch", "feedback", secret="batch")
        running.client.headers["Authorization"] = "Bearer boss"
        monkeypatch.setenv("DETENT_API_KEY", "boss")
        yield running


def chapters() -> list[tuple[str, list[tuple[str | None, str]]]]:
    """Title and commands of each, a command with the home that stands before it."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return [
        (title, [(home or None, " ".join(words.split())) for home, words in COMMAND.findall(text)])
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def test_every_command_of_the_runbook_does_what_its_chapter_says(world: World, tmp_path: Path) -> None:
    night = world.candidate("Is it billing? Answer with one word.")
    assert detent("champion", "set", "triage", night, "--reason", "before", "--confirm", "triage").code == 0
    world.deploying()
    assert detent("backup", str(tmp_path / "backups" / "monday.tar.gz")).code == 0
    n_run = 0
    for title, commands in chapters():
        if title == "The worker is dead":
            world.deploying()
            assert detent("rollout", "hold", "triage", "--reason", "the clock ran ahead").code == 0
        elsewhere: dict[str, str] = {}
        for home, words in commands:
            if words in PROCESSES:
                continue
            here = words.replace("v_0a1b2c3d4e5f", night).replace("/mnt/backups", str(tmp_path / "backups"))
            if home is not None:
                elsewhere = {"DETENT_HOME": home.replace("/srv", str(tmp_path / "srv")), "DETENT_API_KEY": ""}
            ran = detent(*shlex.split(here), env=elsewhere or None)
            said, n_run = ran.out + ran.err, n_run + 1
            if ran.code == 1 and words in FINDINGS:
                assert FINDINGS[words] in said, f"{title}: {words}\n{said}"
            else:
                assert ran.code == 0, f"{title}: {words}\n{said}"
            if (title, words) == ("Take one family back", "status"):
                assert re.search(r"^Moved .* serves since .* Back: detent champion rollback triage$", said, re.M), said
            world.shared.serving.refresh()
    assert n_run > 40
