"""Limits of a minute that several processes count in one file."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from structlog.testing import capture_logs

from api.access.limits import MinuteWindows
from api.access.shared_windows import IN_ROW, ROW_BYTES, ROWS, SharedWindows, minute_windows

MANY = """
import sys
from pathlib import Path
from api.access.limits import MinuteWindows
from api.access.shared_windows import SharedWindows
windows = MinuteWindows(500, "events", lambda: 100.0, SharedWindows(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
print(sum(windows.take("a")[1] is None for _ in range(400)))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run" / "minutes"


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from("ab"), st.integers(1, 5), st.floats(0, 40)), max_size=40))
def test_two_that_share_a_file_count_as_one_does(tmp_path_factory, requests):
    now = [100.0]
    clock: Any = lambda: now[0]  # noqa: E731
    file = tmp_path_factory.mktemp("shared") / "minutes"
    shared = [SharedWindows(file), SharedWindows(file)]
    two = [MinuteWindows(7, "events", clock, one) for one in shared]
    alone = MinuteWindows(7, "events", clock)
    for which, sender, n, later in requests:
        now[0] += later
        quota, refusal = two[which].take(sender, n)
        expected, refused = alone.take(sender, n)
        assert (quota, refusal is None) == (expected, refused is None)
    for one in shared:
        os.close(one._fd)  # else each example leaves one open


def test_processes_that_count_at_once_never_pass_the_limit_together(file: Path) -> None:
    command = [sys.executable, "-c", MANY, str(file)]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for one in both:
        assert one.stdout.readline() == "ready\n"
    for one in both:
        one.stdin.write("go\n")
        one.stdin.flush()
    assert sum(int(one.communicate(timeout=60)[0]) for one in both) == 500


def test_limits_of_the_same_file_do_not_use_each_other_up(file: Path) -> None:
    counted = minute_windows(2, file)
    events, changes = counted(1, "events"), counted(1, "changes")
    assert events.take("a")[1] is None
    assert changes.take("a")[1] is None
    assert events.take("a")[1] is not None
    assert os.stat(file).st_mode & 0o077 == 0


def test_a_minute_that_was_written_before_the_machine_started_counts_for_nothing(file: Path) -> None:
    later = MinuteWindows(1, "events", lambda: 9_000.0, SharedWindows(file))
    assert later.take("a")[1] is None
    assert MinuteWindows(1, "events", lambda: 10.0, SharedWindows(file)).take("a")[1] is None


def test_in_a_full_row_the_sender_that_used_least_begins_anew(file: Path) -> None:
    shared = SharedWindows(file)
    for n in range(ROWS * IN_ROW * 2):
        with shared.of(f"sender {n}", 1.0) as window:
            window.used += 1
    with shared.of("busy", 1.0) as window:
        window.used += 50
    for n in range(2000):
        with shared.of(f"later {n}", 2.0) as window:
            window.used += 1
    with shared.of("busy", 3.0) as window:
        assert window.used == 50
    assert os.stat(file).st_size == ROWS * ROW_BYTES


@pytest.mark.parametrize(("most", "share"), [(100, 25), (3, 1)])
def test_without_the_file_each_holds_to_its_share_and_at_least_to_one(tmp_path: Path, most: int, share: int) -> None:
    (tmp_path / "taken").write_text("no folder")
    assert minute_windows(4, tmp_path / "taken" / "minutes")(most, "changes").limit == share


def test_a_file_that_was_cut_off_begins_anew(file: Path) -> None:
    counted = minute_windows(2, file)(3, "events")
    assert counted.take("a", 3)[1] is None
    assert counted.take("a")[1] is not None
    for n_bytes in (0, 100):
        os.truncate(file, n_bytes)
        assert [counted.take("a", 3)[1] is None, counted.take("a")[1] is None] == [True, False]


@pytest.mark.parametrize("failing", ["pread", "pwrite"])
def test_while_the_file_cannot_be_used_each_holds_to_its_share_and_says_so_once(file, monkeypatch, failing):
    counted = minute_windows(4, file)(8, "events")
    assert counted.take("a", 8)[0].remaining == 0

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(f"api.access.shared_windows.os.{failing}", broken)
        told = [counted.take("b") for _ in range(3)]
    assert [refusal is None for _, refusal in told] == [True, True, False]
    assert [quota.remaining for quota, _ in told] == [1, 0, 0]
    assert [(one["what"], one["error"]) for one in logs] == [("events", "[Errno 5] Input/output error")]
    assert counted.take("a")[1] is not None, "what was counted together still counts"


def test_the_lock_of_a_row_is_free_again(file: Path) -> None:
    shared = SharedWindows(file)
    with pytest.raises(RuntimeError), shared.of("a", 1.0):
        raise RuntimeError("whatever happens inside")
    script = f"import fcntl; f = open({str(file)!r}, 'r+'); fcntl.lockf(f, {fcntl.LOCK_EX | fcntl.LOCK_NB})"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
