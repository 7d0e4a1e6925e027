"""The spool keeps records in order, on disk, through kills and full disks, within its bound,
and gives them back until they are drained.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from optimizer.adapters.files.spool import ROOM_BYTES, Spool, claim, left_behind, waiting_ids
from optimizer.core.base.errors import Busy
from tests.examples import n_examples
from tests.stand_ins.small_disk import fill, small_disk


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool" / "interactions", most_bytes=2 * 1024 * 1024)
    yield made
    made.close()


def waiting(spool: Spool) -> list[Any]:
    return list(spool.waiting()[0])


def again(spool: Spool) -> Spool:
    """What the next process finds."""
    spool.close()
    return Spool(spool.path, most_bytes=2 * 1024 * 1024)


def test_records_wait_in_order_until_they_are_drained(spool: Spool) -> None:
    for n in range(3):
        spool.append({"n": n, "text": "Füße\n\r"})
    records, place = spool.waiting()
    spool.append({"n": 3})
    assert [record["n"] for record in records] == [0, 1, 2]
    spool.drained(place)
    assert waiting(spool) == [{"n": 3}]
    spool.drained(spool.waiting()[1])
    assert (waiting(spool), spool.is_empty) == ([], True)
    assert set(spool.path.read_bytes()) <= {0}, "texts that are in the store do not stay here"


def test_only_its_owner_may_read_it(spool: Spool) -> None:
    spool.append({"n": 1})
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.path.parent.stat().st_mode) == 0o700


def test_what_was_not_drained_is_there_for_the_next_process(spool: Spool) -> None:
    spool.append({"n": 1})
    later = again(spool)
    assert waiting(later) == [{"n": 1}]
    later.append({"n": 2})
    assert waiting(later) == [{"n": 1}, {"n": 2}]
    later.close()


@settings(max_examples=n_examples(60), deadline=None)
@given(st.data())
def test_a_line_torn_anywhere_costs_nothing_but_itself(tmp_path_factory, data):
    spool = Spool(tmp_path_factory.mktemp("torn") / "interactions")
    spool.append({"n": 1})
    first = spool.waiting()[1]
    spool.append({"n": 2, "text": "x" * 50})
    behind = spool.waiting()[1]
    kept = data.draw(st.integers(first, behind - 1))
    spool.close()
    with spool.path.open("r+b") as file:  # the rest of the line never reached the disk
        file.seek(kept)
        file.write(b"\0" * (behind - kept))
    torn = again(spool)
    assert waiting(torn) == [{"n": 1}]
    torn.append({"n": 3})
    last = again(torn)
    assert waiting(last) == [{"n": 1}, {"n": 3}]
    last.close()


def test_room_that_was_promised_is_there_and_none_beyond_the_bound_is_promised(spool: Spool) -> None:
    with ExitStack() as stack:
        stack.enter_context(spool.promise(1_500_000))
        with pytest.raises(Busy, match="No model was asked"):
            stack.enter_context(spool.promise(1_000_000))
        spool.append({"text": "x" * 1_400_000})
    with pytest.raises(Busy):
        spool.append({"text": "x" * 1_400_000})
    assert len(waiting(spool)) == 1


def test_room_that_is_allocated_is_promised_without_the_disk_and_given_back(spool, monkeypatch):
    assert not spool.promise_at_once(1)  # the file is not open yet
    with spool.promise(1):
        monkeypatch.setattr("os.fsync", None)
        assert spool.promise_at_once(ROOM_BYTES - 1)
        assert not spool.promise_at_once(1)
        spool.give_back(ROOM_BYTES - 1)
        assert spool.promise_at_once(1)
        with spool._lock:  # the disk is at work
            assert not spool.promise_at_once(1)


def test_it_needs_nothing_that_a_mac_has_not(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("posix_fallocate", "fdatasync"):
        monkeypatch.delattr(os, name, raising=False)
    with spool.promise(100):
        spool.append({"n": 1})
    assert waiting(spool) == [{"n": 1}]


def test_another_process_is_refused_until_the_first_has_ended(spool: Spool) -> None:
    spool.append({"n": 1})
    other = Spool(spool.path)
    with pytest.raises(Busy, match="could not be kept safe"):
        other.append({"n": 2})
    spool.close()
    other.append({"n": 2})
    assert waiting(other) == [{"n": 1}, {"n": 2}]
    other.close()


KILLED = """
import sys
from pathlib import Path
from optimizer.adapters.files.spool import ROOM_BYTES, Spool
spool, n = Spool(Path(sys.argv[1])), 0
while True:
    spool.append({"n": n})
    print(n, flush=True)
    n += 1
"""


def test_every_record_that_append_returned_from_outlives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "interactions"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    for _ in range(50):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    acknowledged = 50 + len(process.stdout.read().splitlines())
    process.wait()
    spool = Spool(path)
    found = [record["n"] for record in spool.waiting()[0]]
    spool.close()
    assert found == list(range(len(found)))
    assert len(found) >= min(acknowledged, 200)  # so many are handed out at once


def test_a_full_disk_keeps_what_was_promised_and_promises_no_more(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=2) as disk:
        spool = Spool(disk / "spool" / "interactions")
        with spool.promise(100_000):
            fill(disk)
            spool.append({"text": "x" * 90_000})
            with pytest.raises(Busy, match="Free some space"), spool.promise(1024 * 1024):
                pass
            assert len(waiting(spool)) == 1
        spool.close()


def test_each_process_has_a_spool_of_its_own_and_the_next_one_takes_what_an_ended_one_left(tmp_path: Path) -> None:
    first, second = claim(tmp_path), claim(tmp_path)
    assert first.path != second.path
    first.append({"id": "in_1"})
    second.append({"id": "in_2"})
    assert list(left_behind(second)) == [], "its process lives"
    first.close()
    assert [list(spool.waiting()[0]) for spool in left_behind(second)] == [[{"id": "in_1"}]]
    assert claim(tmp_path).path == first.path, "and is held only while it is looked at"
    second.close()


def test_ids_that_wait_are_seen_by_every_process_until_their_file_is_drained(spool: Spool) -> None:
    assert waiting_ids(spool.path.parent) == set()
    first, second, torn = (f"in_{sign * 26}" for sign in "abc")
    for id in (first, second):
        spool.append({"actor": "gateway", "values": {"id": id, "output": '"id":"in_' + "d" * 26 + '"'}})
    _, place = spool.waiting()
    with spool.path.open("r+b") as file:
        file.seek(place)
        file.write(b'00000000 {"values":{"id":"%s"}}' % torn.encode())
    assert waiting_ids(spool.path.parent) == {first, second}
    spool.set_aside({"values": {"id": torn}})
    spool.drained(place)
    assert waiting_ids(spool.path.parent) == set()
