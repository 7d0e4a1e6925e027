"""Requests that are read and kept at the same time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from optimizer.core.base.errors import KeyReused
from optimizer.jobs.feedback.ingest_feedback import AT_ONCE_CHARS, LONG_AT_ONCE, IntakeRequest, Turns
from optimizer.jobs.feedback.keep_events import keep_all
from tests.clock import until
from tests.rows.ingestion import BY_UNIT, Installation, hmac_unit, temporary_installation, token
from tests.stores import FAMILY

Install = Callable[..., Installation]


def test_asyncio_callers_get_the_same_answer() -> None:
    with temporary_installation() as here:
        events = [{"id": "a", "assignment": token(), "success": True}, {"x": 1}]
        answer = asyncio.run(here.intake().atake(events))
        assert answer["accepted"] == 1
        assert here.send(*events) == {**answer, "accepted": 0, "duplicates": 1}


def test_only_an_answer_of_the_gateway_that_is_named_without_a_token_is_waited_for() -> None:
    id, looks = f"in_{'a' * 26}", []
    with temporary_installation() as here:

        def waiting() -> set[str]:
            """The record comes into the store between two looks."""
            looks.append(1)
            here.send({"id": id, "assignment": token(), "output": "x"})
            return {id}

        intake = replace(here.intake(), waiting=waiting)
        for event in ({"interaction": id, "assignment": token(), "success": True}, {"interaction": "in", "score": 1}):
            asyncio.run(intake.atake([{"family": FAMILY, "unit": "u1", **event}]))
        assert looks == []
        answer = asyncio.run(intake.atake([{"interaction": id, "success": True}]))
        assert (answer["accepted"], looks) == (1, [1])


@pytest.mark.parametrize(
    ("chars", "privacy", "beside"),
    [
        pytest.param(100, {}, False, id="a short event"),
        pytest.param(20_000, {}, True, id="a long event"),
        pytest.param(100, {"mask": [{"pattern": "cust-[0-9]+"}]}, True, id="an expression of the user's own"),
    ],
)
def test_what_may_take_long_is_read_beside_the_event_loop(
    install: Install, chars: int, privacy: dict[str, Any], beside: bool
) -> None:
    here, readers = install(**privacy), []

    def hmac(unit: str) -> str:
        readers.append(threading.get_ident())
        return hmac_unit(unit)

    event = {"id": "a", **BY_UNIT, "output": "x" * chars}
    answer = asyncio.run(replace(here.intake(), hmac_unit=hmac).atake([event]))
    assert answer["accepted"] == 1
    assert (threading.get_ident() not in readers) is beside


def test_an_expression_that_a_family_takes_or_gives_up_is_seen_by_the_next_event(install: Install) -> None:
    masked = install(mask=[{"pattern": "cust-[0-9]+"}]).intake()
    plain = replace(masked, families={})
    events = [{"id": "a", **BY_UNIT}]
    at_once = [IntakeRequest(one).reads_quickly(events, AT_ONCE_CHARS) for one in (plain, masked, masked, plain)]
    assert at_once == [True, False, False, True]


LONG = "x" * (AT_ONCE_CHARS + 1)


def test_between_two_readings_on_the_event_loop_others_have_their_turn(here: Installation) -> None:
    told = []

    def hmac(unit: str) -> str:
        told.append("read")
        return hmac_unit(unit)

    async def serve(until: asyncio.Future[Any]) -> None:
        while not until.done():
            told.append("served")
            await asyncio.sleep(0)

    async def together() -> None:
        turns = Turns()
        asked = [
            replace(here.intake(), hmac_unit=hmac, turns=turns).atake([{"id": f"e{i}", **BY_UNIT, "output": LONG}])
            for i in range(5)
        ]
        all_of_them = asyncio.gather(*asked)
        await asyncio.gather(all_of_them, serve(all_of_them))

    asyncio.run(together())
    assert told.count("read") == 5
    assert ["read", "read"] not in [told[i : i + 2] for i in range(len(told))]


def test_few_long_readings_share_the_interpreter_with_what_serves(here: Installation) -> None:
    under_way, most = set[int](), [0]

    def hmac(unit: str) -> str:
        under_way.add(threading.get_ident())
        most[0] = max(most[0], len(under_way))
        until(lambda: most[0] >= LONG_AT_ONCE, "as many as may be under way at once")
        time.sleep(0.02)  # in which another one would show
        under_way.discard(threading.get_ident())
        return hmac_unit(unit)

    async def together() -> None:
        turns = Turns()
        long = [{"id": f"e{i}", **BY_UNIT, "output": "x" * 20_000} for i in range(6)]
        await asyncio.gather(*(replace(here.intake(), hmac_unit=hmac, turns=turns).atake([event]) for event in long))

    asyncio.run(together())
    assert most[0] == LONG_AT_ONCE


class TestRequestsThatShareACommit:
    """What each is answered, and what is stored, is as if they had come one after the other."""

    REQUESTS: Sequence[Sequence[Mapping[str, Any]]] = (
        [{"id": "a", "assignment": "T", "output": "x", "success": True}, {"assignment": "T", "output": "unnamed"}],
        [{"id": "a", "assignment": "T", "output": "x", "success": True}, {"id": "b", "assignment": "T", "score": 0.5}],
        [{"id": "b", "assignment": "T", "score": 0.25}, {"id": "c", "assignment": "nonsense", "score": 1}],
        [{"id": "d", "assignment": "T", "expected": {"summary": "short"}, "input": {"document": "long"}}],
    )

    def told(self, here: Installation, *, together: bool) -> list[dict[str, Any]]:
        jobs = []
        for events in self.REQUESTS:
            sent = [{**one, "assignment": token() if one["assignment"] == "T" else one["assignment"]} for one in events]
            request = IntakeRequest(here.intake())
            jobs.append(request.job(request.read(sent)))
        assert all(job.together is keep_all for job in jobs)
        if together:
            return here.store.write(lambda tx: keep_all(tx, jobs))
        return [here.store.write(job) for job in jobs]

    def test_at_once_and_one_by_one_give_the_same(self, install: Install) -> None:
        found = []
        for name, together in (("one", True), ("other", False)):
            here = install(name=name)
            told = self.told(here, together=together)
            named = [event.id for event in here.feedback() if len(event.id) == 1]
            with here.store.read() as tx:
                n = here.store.examples.counts(tx, FAMILY)
            found.append((told, sorted(named), n))
        assert found[0] == found[1]
        told = found[0][0]
        assert [(one["accepted"], one["duplicates"]) for one in told] == [(2, 0), (1, 1), (0, 0), (1, 0)]
        assert [one["type"] for one in told[2]["rejected"]] == ["id_conflict", "malformed_token"]

    def test_an_outcome_of_an_interaction_is_kept_after_what_came_before_it(self, here: Installation) -> None:
        request = IntakeRequest(here.intake())
        job = request.job(request.read([{"interaction": "in", "assignment": token(), "success": True}]))
        assert job.together is None

    @pytest.fixture
    def jobs(self, here: Installation) -> list[Any]:
        """The second has an idempotency key that came before with another body."""
        here.intake(("me", "k", "one body")).take([{"id": "a", "assignment": token(), "score": 1}])
        jobs = []
        for id, keyed in (("b", None), ("c", ("me", "k", "another body")), ("d", None)):
            request = IntakeRequest(here.intake(keyed))
            jobs.append(request.job(request.read([{"id": id, "assignment": token(), "score": 1}])))
        return jobs

    def test_one_whose_idempotency_key_was_used_otherwise_keeps_no_other_from_being_kept(self, here, jobs):
        async def sent() -> list[Any]:
            return await asyncio.gather(*(here.store.awrite(job) for job in jobs), return_exceptions=True)

        first, refused, last = asyncio.run(sent())
        assert (first["accepted"], last["accepted"]) == (1, 1)
        assert isinstance(refused, KeyReused)
        assert sorted(event.id for event in here.feedback()) == ["a", "b", "d"]

    def test_a_key_that_was_used_otherwise_takes_no_second_turn_of_all(self, here, jobs):
        kept, refused = here.store.write(lambda tx: keep_all(tx, jobs[:2]))
        assert kept["accepted"] == 1
        assert isinstance(refused, KeyReused)
        with pytest.raises(KeyReused):
            here.store.write(jobs[1])
        assert sorted(event.id for event in here.feedback()) == ["a", "b"]
