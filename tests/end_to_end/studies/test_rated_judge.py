"""A judge that people vouch for, by the commands: answers are drawn, rated, and then the judge may decide."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import detent
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.rated_world import F, add_judged_family


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Whose server has been stopped."""
    with serving(make_home(tmp_path)) as world:
        add_judged_family(world)
        yield world
    monkeypatch.undo()


def test_all_draws_are_rated_in_one_go_at_a_terminal(home: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETENT_HOME", str(home.settings.home))
    assert detent("review", "draw", F, "--n", "5").code == 0
    listed = detent("review", "list", "--family", F, "--json").json["items"]
    typed = [sys.executable, "-c", "import sys; from optimizer.cli import main; sys.exit(main())"]
    ours, theirs = pty.openpty()
    ran = subprocess.Popen(
        [*typed, "review", "answer", "--all", "--family", F, "--json"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    os.write(ours, b"5z1s3u5.")  # five, taken back for one; one skipped; the rest; and the last is sent
    _, err = ran.communicate(timeout=120)
    os.close(ours)
    assert ran.returncode == 0, err.decode()
    assert "4 reviews answered, 1 review open" in err.decode()
    after = {one["id"]: one["answer"] for one in detent("review", "list", "--status", "all", "--json").json["items"]}
    assert [after[one["id"]] for one in listed] == ["0", None, "0.5", "unrated", "1"]


def test_without_a_terminal_the_reviews_are_answered_one_at_a_time(
    home: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETENT_HOME", str(home.settings.home))
    refused = detent("review", "answer", "--all")
    assert (refused.code, "there is no terminal here" in refused.err) == (2, True)
    assert detent("review", "answer", "rv_1").code == detent("review", "answer", "rv_1", "1", "--all").code == 2
