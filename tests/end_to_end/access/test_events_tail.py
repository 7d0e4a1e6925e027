"""Events go out as JSON lines: each at least once, from a cursor that is kept, into files that are rotated."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.adapters.clock import SystemClock
from optimizer.cli.service.events import LineFile, TailPosition
from optimizer.core.base.errors import InvalidInput
from tests.clock import until
from tests.command_line import detent
from tests.forked import Forked
from tests.worlds.api_world import World, make_home, serving

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def event(id: str, second: float) -> Any:
    return SimpleNamespace(family="triage", id=id, received_at=NOW + timedelta(seconds=second))


def ids(items: list[Any]) -> list[str]:
    return [item.id for item in items]


def test_an_event_that_reaches_the_disk_late_is_written_and_none_twice() -> None:
    position = TailPosition(since=NOW)
    assert ids(position.new_of([event("a", 1), event("c", 20)])) == ["a", "c"]
    position.settle(NOW + timedelta(seconds=20))
    assert position.since == NOW  # what was received from then on may still come
    assert ids(position.new_of([event("a", 1), event("b", 5), event("c", 20), event("d", 60)])) == ["b", "d"]
    position.settle(NOW + timedelta(seconds=60))
    assert position.since == NOW + timedelta(seconds=30)
    assert ids(position.new_of([event("late", 45), event("d", 60)])) == ["late"]


def test_what_comes_after_the_clock_was_set_back_is_written_and_what_lies_ahead_not_again() -> None:
    position = TailPosition(since=NOW)
    position.new_of([event("a", 600)])
    position.settle(NOW + timedelta(seconds=600))
    for second in (300, 400):
        position.settle(NOW + timedelta(seconds=second))
        assert position.since == NOW + timedelta(seconds=second - 30)
    assert ids(position.new_of([event("after", 380), event("a", 600)])) == ["after"]
    position.settle(NOW + timedelta(seconds=700))
    assert position.since == NOW + timedelta(seconds=570)


def test_files_are_rotated_and_half_a_line_goes(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    out = LineFile(file, most_bytes=25, files=3)
    for n in range(8):
        out.write([b'{"n": %d}\n' % n])
    out.close()
    kept = {path.name: [json.loads(line)["n"] for line in path.read_text().splitlines()] for path in tmp_path.iterdir()}
    assert kept == {"events.jsonl": [6, 7], "events.jsonl.1": [4, 5], "events.jsonl.2": [2, 3]}
    file.write_bytes(file.read_bytes() + b'{"n": 9')  # killed in the middle of a line
    out = LineFile(file, most_bytes=1000, files=3)
    out.write([b'{"n": 9}\n'])
    out.close()
    assert [json.loads(line)["n"] for line in file.read_text().splitlines()] == [6, 7, 9]


def test_a_file_of_something_else_is_left_as_it_is_and_two_tails_do_not_share_one(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes(b"not a tail's")
    with pytest.raises(InvalidInput, match="in the middle of a line"):
        LineFile(file, most_bytes=1000, files=3, is_of_tail=False)
    assert file.read_bytes() == b"not a tail's"
    out = LineFile(tmp_path / "out.jsonl", most_bytes=5, files=3, is_of_tail=False)
    out.write([b"1\n", b"2345\n"])  # the second in a file of its own, which is held as well
    with pytest.raises(InvalidInput, match="Another `detent events tail` writes"):
        LineFile(tmp_path / "out.jsonl", most_bytes=5, files=3)
    out.close()
    LineFile(tmp_path / "out.jsonl", most_bytes=5, files=3).close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DETENT_HOME", str(tmp_path / "home"))
    with serving(make_home(tmp_path / "home")) as running:
        yield running


def report(world: World, *names: str) -> None:
    for name in names:
        sent = {"id": name, "family": "triage", "unit": "u", "input": {"text": "x"}, "output": "billing"}
        assert world.post("/v1/interactions", sent).json()["accepted"] == 1


def lines(file: Path) -> list[str]:
    return [json.loads(line)["id"] for line in file.read_text(encoding="utf-8").splitlines()]


def test_what_cannot_be_written_or_read_so_long_ago_is_said(world: World, tmp_path: Path) -> None:
    for options in (
        ("--since", "999999d"),
        ("--to", str(tmp_path / "none" / "x.jsonl")),
        ("--to", str(tmp_path)),
        ("--cursor", str(tmp_path / "none" / "c")),
    ):
        refused = detent("events", "tail", "--once", *options)
        assert (refused.code, "Invalid input" in refused.err) == (2, True), refused.err


def test_control_characters_of_users_reach_no_terminal(world: World) -> None:
    text = "\x9b31m\x9d0;owned"
    event = {"family": "triage", "unit": "u", "variant": world.champion(), "input": {"text": text}, "output": "x"}
    assert world.post("/v1/feedback", event).json()["accepted"] == 1
    printed = detent("events", "tail", "--once", "--since", "1h").out
    assert ("\x9b" in printed, json.loads(printed)["input"]["text"]) == (False, text)


def test_from_its_cursor_a_tail_goes_on_where_it_was(world: World, tmp_path: Path) -> None:
    out, command = tmp_path / "out.jsonl", ("events", "tail", "--once", "--since", "1h")
    report(world, "in_1", "in_2")
    printed = detent(*command)
    assert [json.loads(line)["id"] for line in printed.out.splitlines()] == ["in_1", "in_2"]
    assert json.loads(printed.out.splitlines()[0]) == world.get("/v1/interactions").json()["items"][0]
    assert detent(*command, "--to", str(out)).code == 0
    assert lines(out) == ["in_1", "in_2"]
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    with sqlite3.connect(world.settings.var() / "detent.db") as store:  # as if they had been written an hour ago
        store.execute("UPDATE interactions SET received_at = ?", (an_hour_ago.replace("T", " ").split("+")[0],))
    report(world, "in_3")
    assert detent(*command, "--to", str(out)).code == 0  # the cursor holds, and not --since
    assert lines(out)[-1] == "in_3"
    report(world, "in_4")
    assert detent(*command, "--to", str(out)).code == 0
    assert lines(out)[-1] == "in_4"
    assert set(lines(out)) == {"in_1", "in_2", "in_3", "in_4"}
    of_another = detent(*command, "--to", str(out), "--family", "triage")
    assert (of_another.code, "keeps the cursor of interactions of all families" in of_another.err) == (2, True)
    feedback = detent("events", "tail", "--once", "--since", "1h", "--kind", "feedback")
    assert (feedback.code, feedback.out) == (0, "")


def test_half_a_line_goes_only_out_of_the_file_that_the_cursor_names(world: World, tmp_path: Path) -> None:
    out, notes, cursor = tmp_path / "out.jsonl", tmp_path / "notes.txt", tmp_path / "cursor"
    command = ("events", "tail", "--once", "--since", "1h", "--cursor", str(cursor), "--to")
    report(world, "in_1")
    assert detent(*command, str(out)).code == 0
    notes.write_text("first line\nmy own last line", encoding="utf-8")
    refused = detent(*command, str(notes))
    assert (refused.code, "in the middle of a line" in refused.err) == (2, True)
    assert notes.read_text(encoding="utf-8") == "first line\nmy own last line"
    with out.open("a", encoding="utf-8") as half:
        half.write('{"id": "in')  # killed in the middle of a line
    assert detent(*command, str(out)).code == 0
    assert set(lines(out)) == {"in_1"}
    older = {key: value for key, value in json.loads(cursor.read_text(encoding="utf-8")).items() if key != "to"}
    cursor.write_text(json.dumps(older), encoding="utf-8")
    assert detent(*command, str(notes)).code == 2
    assert detent(*command, str(out)).code == 0


def test_a_tail_that_begins_after_the_clock_was_set_back_loses_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.jsonl"
    report(world, "in_1")
    assert detent("events", "tail", "--once", "--since", "1h", "--to", str(out)).code == 0
    monkeypatch.setattr(SystemClock, "now", lambda self: datetime.now(UTC) - timedelta(minutes=5))
    report(world, "in_2")
    assert detent("events", "tail", "--once", "--to", str(out)).code == 0
    assert set(lines(out)) == {"in_1", "in_2"}


def test_a_full_disk_ends_no_tail_and_loses_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, sync, pauses, is_full = tmp_path / "out.jsonl", os.fsync, list[float](), [True]
    command = ("events", "tail", "--since", "1h", "--to", str(out))

    def sync_unless_full(file: int) -> None:
        if is_full and out.exists() and os.fstat(file).st_ino == out.stat().st_ino:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 2:
            raise KeyboardInterrupt
        if len(pauses) == 2:
            is_full.clear()

    monkeypatch.setattr(os, "fsync", sync_unless_full)
    monkeypatch.setattr("optimizer.cli.service.events.sleep", pause)
    report(world, "in_1", "in_2")
    once = detent(*command, "--once")
    assert (once.code, "No space left" in once.err, "Traceback" in once.err) == (1, True, False)
    follows = detent(*command)
    assert (follows.code, follows.err.count("No space left")) == (0, 1)
    assert set(lines(out)) == {"in_1", "in_2"}


def test_a_tail_that_is_killed_loses_nothing(world: World, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    environment = {**os.environ, "DETENT_HOME": str(world.settings.home)}
    report(world, *(f"in_{n}" for n in range(20)))
    process = Forked(["detent", "events", "tail", "--to", str(out), "--since", "1h"], env=environment)
    try:
        until(lambda: out.exists() and len(out.read_text().splitlines()) >= 1, "the first lines", 60.0)
    finally:
        process.kill()
        process.wait()
    report(world, "in_more")
    assert detent("events", "tail", "--once", "--to", str(out)).code == 0
    assert set(lines(out)) == {*(f"in_{n}" for n in range(20)), "in_more"}
