"""A judge that people vouch for, by the commands: answers are drawn, rated, and then the judge may decide."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api_world import World, make_home, serving
from tests.command_line import detent
from tests.rated_world import F, add_judged_family, rating


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Whose server has been stopped."""
    with serving(make_home(tmp_path)) as world:
        add_judged_family(world)
        yield world
    monkeypatch.undo()


def test_twenty_ratings_vouch_for_a_judge(home: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETENT_HOME", str(home.settings.home))
    before = detent("judge", "show", F)
    assert "It never decides alone: the judge is uncalibrated" in before.out
    assert "Quality: cannot tell. No answers of this judge were drawn for rating." in before.err
    drawn = detent("review", "draw", F, "--n", "25")
    assert (drawn.code, "25 of 200 judged answers were drawn, each with a chance of 12" in drawn.err) == (0, True)
    listed = detent("review", "list", "--family", F, "--json").json["items"]
    assert [one["why"].split(":")[0] for one in listed[:2]] == [
        "drawn at random, 1 of 25",
        "drawn at random, 2 of 25",
    ]
    first = listed[0]
    assert first["output"] == f"answer {first['subject'][3:]}"  # the text that is rated is shown
    refused = detent("review", "answer", first["id"], "release")
    assert (refused.code, "a number from 0 to 1" in refused.err) == (2, True)
    assert detent("review", "answer", first["id"], "1", "--as-answered").code == 2
    early = detent("judge", "calibrate", F)
    assert (early.code, "have rated 0, and 20 are needed" in early.err) == (3, True)
    for one in listed:
        said = detent("review", "answer", one["id"], f"{rating(int(one['subject'][3:])):g}")
        assert said.code == 0, said.err
    assert f"detent judge calibrate {F}" in said.err
    done = detent("judge", "calibrate", F)
    assert (done.code, "25 ratings, map platt" in done.out) == (0, True), done.err
    assert "rank correlation with the ratings" in done.out
    after = detent("judge", "show", F)
    assert "It may decide: people's ratings vouch for it." in after.out
    assert "Quality of 200 judged answers: 0." in after.err
    assert "50 more ratings would narrow the interval from" in after.err
    figure = detent("judge", "show", F, "--json").json["figure"]
    assert figure["low"] < sum(map(rating, range(200))) / 200 < figure["high"]


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
