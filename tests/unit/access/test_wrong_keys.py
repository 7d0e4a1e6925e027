"""Wrong keys bring pauses to the address that they came from, and to no other; the memory for it has an end."""

from __future__ import annotations

import pytest

from api.access import wrong_keys
from api.access.wrong_keys import FREE, LONGEST_S, WrongKeys
from optimizer.host.ports_in_use import network_of


class Now:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def wrong(now: Now) -> WrongKeys:
    return WrongKeys(now)


def after_free(wrong: WrongKeys, address: str = "192.0.2.1") -> None:
    assert [wrong.came_from(address) for _ in range(FREE)] == [None] * FREE


def test_a_person_may_mistype_a_few_times(wrong: WrongKeys) -> None:
    after_free(wrong)
    refused = wrong.came_from("192.0.2.1")
    assert refused.members["retry_after_s"] == 1


def test_each_further_wrong_key_doubles_the_pause_up_to_a_minute(wrong: WrongKeys, now: Now) -> None:
    after_free(wrong)
    pauses = []
    for _ in range(9):
        refused = wrong.came_from("192.0.2.1")
        pauses.append(refused.members["retry_after_s"])
        now.s += pauses[-1]
        assert wrong.came_from("192.0.2.1") is None  # the pause is over, and this one counts
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert max(pauses) == LONGEST_S


def test_what_comes_within_a_pause_does_not_lengthen_it(wrong: WrongKeys, now: Now) -> None:
    after_free(wrong)
    for _ in range(100):
        assert wrong.came_from("192.0.2.1") is not None
    now.s += 1.0
    assert wrong.came_from("192.0.2.1") is None


def test_other_addresses_do_not_wait(wrong: WrongKeys) -> None:
    after_free(wrong)
    assert wrong.came_from("192.0.2.2") is None


def test_an_address_that_was_quiet_for_long_begins_anew(wrong: WrongKeys, now: Now) -> None:
    after_free(wrong)
    now.s += wrong_keys.FORGOTTEN_S + 1
    after_free(wrong)


def test_a_host_with_many_ipv6_addresses_counts_as_one(wrong: WrongKeys) -> None:
    for i in range(FREE):
        assert wrong.came_from(f"2001:db8:1:2::{i:x}") is None
    assert wrong.came_from("2001:db8:1:2:ffff::1") is not None
    assert wrong.came_from("2001:db8:1:3::1") is None
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("testclient") == "testclient"


def test_addresses_without_end_take_no_memory_without_end(wrong: WrongKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrong_keys, "MOST", 100)
    for i in range(1000):
        wrong.came_from(f"10.0.{i // 256}.{i % 256}")
    assert len(wrong._counts) == 100
