"""The small parts that every request passes: limits, tags, cursors, keys, bodies."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st
from starlette.datastructures import Headers
from ulid import ULID

from api.access.auth import Keys, identify
from api.access.limits import MOST_HELD, MinuteWindows
from api.http.bodies import MAX_INTEGER, read_json, storable_value
from api.http.in_flight import InFlight, Passage
from api.http.problems import MalformedBody
from api.http.request_names import new_request_id
from optimizer.core.base.answers import check_preconditions, etag_of, is_listed, page_of
from optimizer.core.base.errors import Busy, InvalidInput, NotAuthenticated, PreconditionFailed, TooMany
from optimizer.host.config import ServerLimits
from optimizer.host.ports_in_use import is_loopback


class Ticking:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def test_a_minute_s_allowance_comes_back_a_minute_after_its_first_use() -> None:
    clock = Ticking()
    windows = MinuteWindows(2, "changes", clock)
    assert [windows.take("a")[1] for _ in range(2)] == [None, None]
    clock.s += 59
    quota, refusal = windows.take("a")
    assert (quota.remaining, quota.reset_s, refusal.members["retry_after_s"]) == (0, 1, 1)
    clock.s += 1
    assert windows.take("a")[1] is None


def test_senders_do_not_use_up_each_other_s_allowance() -> None:
    windows = MinuteWindows(1, "changes", Ticking())
    assert windows.take("a")[1] is None
    assert windows.take("b")[1] is None
    assert windows.take("a")[1] is not None


def test_of_too_many_senders_the_one_whose_minute_began_first_begins_anew() -> None:
    windows = MinuteWindows(1, "changes", Ticking())
    for number in range(MOST_HELD + 1):
        windows.take(f"s{number}")
    assert windows.take(f"s{MOST_HELD}")[1] is not None
    assert windows.take("s1")[1] is not None
    assert windows.take("s0")[1] is None


def test_what_does_not_fit_uses_nothing_up() -> None:
    windows = MinuteWindows(10, "events", Ticking())
    windows.take("a", 6)
    assert windows.take("a", 6)[1] is not None
    assert windows.take("a", 4)[1] is None


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 5), st.floats(0, 40)), max_size=60))
def test_nobody_gets_more_than_the_limit_in_any_window(requests: list[tuple[str, int, float]]) -> None:
    clock = Ticking()
    windows = MinuteWindows(7, "events", clock)
    taken: dict[str, list[tuple[float, int]]] = {"a": [], "b": []}
    for sender, n, later in requests:
        clock.s += later
        if windows.take(sender, n)[1] is None:
            taken[sender].append((clock.s, n))
    for sender in taken:
        starts: list[tuple[float, int]] = []
        for at, n in taken[sender]:
            if not starts or at - starts[-1][0] >= 60:
                starts.append((at, 0))
            starts[-1] = (starts[-1][0], starts[-1][1] + n)
        assert all(n <= 7 for _, n in starts)


def flights(**limits: int) -> InFlight:
    return InFlight(
        ServerLimits(held_bytes=4096, held_bytes_per_sender=2048, requests_at_once=2).model_copy(update=limits)
    )


def passage(all: InFlight, sender: str = "key:a") -> Passage:
    made = Passage(all)
    made.admit(sender)
    return made


def test_one_body_always_fits_and_what_is_held_is_given_back_at_the_end() -> None:
    all = flights()
    alone = passage(all)
    alone.take(3000)
    alone.take(3000)
    assert (all.n_bytes, all.bytes_of) == (6000, {"key:a": 6000})
    alone.end()
    assert (all.n_bytes, all.bytes_of, all.requests_of) == (0, {}, {})


def test_a_body_that_has_not_come_holds_nothing() -> None:
    all = flights(requests_at_once=100)
    announced = [passage(all) for _ in range(99)]
    passage(all).take(2048)
    assert all.n_bytes == 2048
    assert len(announced) == 99


def test_bodies_of_one_sender_leave_room_for_those_of_others() -> None:
    all = flights()
    passage(all).take(2000)
    with pytest.raises(TooMany):
        passage(all).take(100)
    passage(all, "key:b").take(2000)
    with pytest.raises(Busy):
        passage(all, "key:c").take(100)


def test_requests_at_once_are_counted_for_each_sender_until_they_end() -> None:
    all = flights()
    first, _ = passage(all), passage(all)
    with pytest.raises(TooMany):
        passage(all)
    passage(all, "key:b").end()
    first.end()
    passage(all)


def test_ids_of_requests_differ_across_threads_and_begin_with_their_time() -> None:
    def some(_: int) -> list[str]:
        return [new_request_id() for _ in range(4000)]

    with ThreadPoolExecutor(4) as threads:
        of_threads = list(threads.map(some, range(4)))
    made = [id for ids in of_threads for id in ids]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch("[0-9a-hjkmnp-tv-z]{26}", id) for id in made)
    assert all([id[:10] for id in ids] == sorted(id[:10] for id in ids) for ids in of_threads)
    assert ULID.from_str(new_request_id().upper()).timestamp == pytest.approx(time.time(), abs=5)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 2000), max_size=4), st.booleans()), max_size=12)
)
def test_more_than_the_limit_is_held_by_a_sole_body_only_and_nothing_stays_held(requests):
    all, under_way = flights(requests_at_once=100), []
    for sender, pieces, ends in requests:
        one = passage(all, sender)
        for n_bytes in pieces:
            with suppress(TooMany, Busy):
                one.take(n_bytes)
        if ends:
            one.end()
        else:
            under_way.append(one)
        assert all.n_bytes == sum(all.bytes_of.values())
        assert all.n_bytes <= max(4096, 4 * 2000)
    for one in under_way:
        one.end()
    assert (all.n_bytes, all.bytes_of, all.requests_of) == (0, {}, {})


LISTED = ('"a"', '"b", "a"', 'W/"a"', "*")


@pytest.mark.parametrize("header", [*LISTED, '"b"', None], ids=str)
def test_a_tag_is_listed_as_the_header_says(header: str | None) -> None:
    assert is_listed('"a"', header) is (header in LISTED)


def test_preconditions_hold_for_a_thing_that_was_never_written() -> None:
    check_preconditions(None, if_match=None, if_none_match="*")
    with pytest.raises(PreconditionFailed):
        check_preconditions(None, if_match="*", if_none_match=None)
    with pytest.raises(PreconditionFailed):
        check_preconditions(etag_of(b"x"), if_match=None, if_none_match="*")


@given(st.lists(st.integers(), max_size=30), st.integers(1, 7))
def test_pages_joined_are_the_list(items: list[int], limit: int) -> None:
    seen: list[int] = []
    cursor: str | None = None
    while True:
        shown = page_of(items, cursor, limit)
        seen += shown.items
        cursor = shown.next_cursor
        if cursor is None:
            break
    assert seen == items


@given(st.text(max_size=20))
def test_a_cursor_that_was_not_made_here_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput):
        page_of([1, 2, 3], cursor, 2)


LOOPBACK = ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "localhost")


@pytest.mark.parametrize("host", [*LOOPBACK, "192.0.2.1", ""])
def test_loopback_is_told_from_other_addresses(host: str) -> None:
    assert is_loopback(host) is (host in LOOPBACK)


NO_KEYS = Keys(any_exist=False)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer"}, {"authorization": "Basic abc"}, {"x-api-key": "nobody's"}]
)
def test_with_keys_nothing_but_a_known_one_opens(headers: dict[str, str]) -> None:
    with pytest.raises(NotAuthenticated):
        identify(Headers(headers), Keys(any_exist=True), NOW)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    )
)
def test_a_body_is_read_as_it_was_written_or_refused(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if _keepable(value):
        assert storable_value(read_json(text)) == value
    else:
        with pytest.raises(MalformedBody):
            storable_value(read_json(text))


def _keepable(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_keepable(k) and _keepable(v) for k, v in value.items())
    if isinstance(value, list):
        return all(_keepable(v) for v in value)
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    if isinstance(value, bool) or value is None:
        return True
    return abs(value) <= MAX_INTEGER if isinstance(value, int) else value == value and abs(value) != float("inf")
