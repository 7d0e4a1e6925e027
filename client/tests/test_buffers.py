"""What waits to be sent is bounded, and what is lost is counted."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable

import httpx
import pytest

from detent_client.exposures import MAX_WINDOWS, Exposures
from detent_client.outbox import MAX_BYTES, MAX_EVENT_BYTES, Outbox


def test_where_there_is_no_room_the_oldest_event_goes_and_is_counted(server, stopped, until) -> None:
    server.fault = stopped
    with server.client(max_events=10, fallback={"triage": "Own"}) as client:
        for n in range(25):
            client.prompt("triage").record(str(n))
        status = client.status()
        assert (status.events_waiting, status.events_dropped) == (10, 15)
        server.fault = lambda request: None
        until(client.flush)
    assert [event["output"] for event in server.events] == [str(n) for n in range(15, 25)]


def test_events_are_bounded_in_bytes_too() -> None:
    outbox = Outbox()
    assert not outbox.add({"output": "x" * MAX_EVENT_BYTES})
    for _ in range(20):
        assert outbox.add({"output": "x" * (MAX_EVENT_BYTES - 100)})
    assert sum(map(len, outbox.waiting())) <= MAX_BYTES
    assert outbox.dropped == 21 - len(outbox.waiting())


def assert_ends(work: Callable[[], object]) -> None:
    errors = list[BaseException]()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert (thread.is_alive(), errors) == (False, [])


class CollectingQueue(deque):
    """With each event that comes or goes the garbage collector ends a stream, which adds an event of its own."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self.outbox, self.n_streams, self.is_collecting = outbox, 0, False

    def append(self, event) -> None:
        super().append(event)
        self.collect()

    def popleft(self):
        event = super().popleft()
        self.collect()
        return event

    def collect(self) -> None:
        if not self.is_collecting:
            self.is_collecting = True
            self.outbox.add({"output": "x" * self.n_streams})
            self.n_streams += 1
            self.is_collecting = False


@pytest.mark.parametrize("max_events", [3, 1_000])
def test_a_stream_that_ends_within_the_outbox_waits_for_nothing_and_is_counted(max_events: int) -> None:
    outbox = Outbox(max_events)
    outbox._events = queue = CollectingQueue(outbox)

    def fill_and_take() -> None:
        for _ in range(20):
            outbox.add({"output": "one of the application's own"})
            outbox.settle(again=outbox.take())

    assert_ends(fill_and_take)
    assert outbox.n_waiting + outbox.dropped == 20 + queue.n_streams
    assert outbox._n_bytes == sum(map(len, outbox.waiting()))


def test_a_stream_that_ends_while_the_threads_are_being_started_waits_for_nothing(client, server) -> None:
    p = client.prompt("triage", unit="ann", message="x")
    background = client._session.background
    background.is_started = False  # as in a forked child
    with background._starting:  # as the thread holds it that collects garbage
        assert_ends(lambda: p.record("y"))
    background.is_started = True
    assert client.flush()
    assert len(server.events) == 1


def test_what_a_destructor_counts_while_the_counts_are_gone_through_waits_for_nothing() -> None:
    exposures = Exposures()

    class CollectedCounts(dict):
        def get(self, window, default=None):
            exposures.count("triage", "another", None, None, 10.0)
            return super().get(window, default)

    exposures.count("triage", "v", None, None, 10.0)
    exposures._acknowledged = CollectedCounts()
    assert_ends(exposures.due)
    assert sum(exposures._counts.values()) == 2


def test_a_signal_alone_is_an_outcome_and_another_tag_is_none(client, server) -> None:
    p = client.prompt("triage", unit="ann", message="x")
    assert client.feedback(p, tags={"retried": False})
    with pytest.raises(ValueError, match="at least one of"):
        client.feedback(p, tags={"shop": "no signal"})
    client.flush()
    assert [event["tags"] for event in server.events] == [{"retried": False}]


def test_what_cannot_be_written_as_json_is_dropped_and_everything_else_is_sent(client, server) -> None:
    circle: dict = {}
    circle["circle"] = circle
    p = client.prompt("triage", unit="ann", message="x")
    assert not client.feedback(p, score=float("nan"))
    assert not client.feedback(p, success=True, tags=circle)
    assert client.feedback(p, success=True, tags={"object": object})
    client.flush()
    assert (len(server.events), client.status().events_dropped) == (1, 2)


def test_an_event_that_makes_the_server_refuse_a_batch_is_found_and_the_others_are_taken(client, server) -> None:
    p = client.prompt("triage", unit="ann", message="x")
    for n in range(40):
        client.feedback(p, success=True, label="poison" if n == 23 else "fine")
    assert client.flush()
    status = client.status()
    assert (len(server.events), status.events_sent, status.events_rejected) == (39, 39, {"refused": 1})


def test_what_the_server_rejects_is_counted_by_its_word(client, server) -> None:
    server.rejects = lambda event: "assignment_mismatch" if event.get("score") == 0.5 else None
    p = client.prompt("triage", unit="ann", message="x")
    for score in (0.0, 0.5, 1.0, 0.5):
        client.feedback(p, score=score)
    client.flush()
    status = client.status()
    assert (status.events_sent, status.events_rejected) == (2, {"assignment_mismatch": 2})


def test_a_window_that_grows_is_sent_again_with_its_whole_count(client, server) -> None:
    for _ in range(3):
        client.decide("triage", "ann")
    client.flush()
    for _ in range(4):
        client.decide("triage", "ann")
    client.flush()
    assert server.n_exposed == 7
    asked = server.n_asked("/v1/exposures")
    client.flush()
    assert server.n_asked("/v1/exposures") == asked


def test_exposures_of_a_family_that_is_gone_are_dropped_and_the_others_are_taken(server, served) -> None:
    server.families["gone"] = {"champion": served("x", family="gone", id="v_gone")}
    with server.client() as client:
        for _ in range(5):
            client.decide("gone")
            client.decide("triage")
        client.flush()
        assert client.status().exposures_dropped == 5
    assert server.n_exposed == 5


def test_windows_are_bounded_and_forgotten_once_they_are_over() -> None:
    exposures = Exposures()
    for n in range(MAX_WINDOWS + 7):
        exposures.count("triage", "v", None, None, 10.0 * n)
    assert (exposures.n_waiting, exposures.dropped) == (MAX_WINDOWS, 7)
    exposures.acknowledge(exposures.due(), 10.0 * MAX_WINDOWS)
    assert exposures.n_waiting == 0
    exposures.count("triage", "v", None, None, 0.0)
    assert exposures.dropped == 7
    assert len(exposures.due()) == 1


def test_a_window_of_the_future_makes_none_of_now_forgotten() -> None:
    exposures, now = Exposures(), 1_000.0
    exposures.count("triage", "v", None, None, now + 600)  # by a clock that is ahead
    for n in (1, 2):
        exposures.count("triage", "v", None, None, now)
        assert [count for window, count in exposures.due() if window.start == now] == [n]
        exposures.acknowledge(exposures.due(), now)


def test_an_exposure_that_is_taken_back_is_not_sent_or_the_next_one_stands_for_it() -> None:
    exposures, arm = Exposures(), ("triage", "v", None, None, 10.0)
    exposures.count(*arm)
    exposures.take_back(*arm)
    assert (exposures.due(), exposures.n_waiting) == ([], 0)
    exposures.count(*arm)
    exposures.acknowledge(exposures.due(), 10.0)
    exposures.take_back(*arm)
    assert (exposures.due(), exposures.n_waiting) == ([], 0)
    exposures.count(*arm)
    assert exposures.due() == []  # the server has one, and one there was
    exposures.count(*arm)
    assert [n for _, n in exposures.due()] == [2]


def test_windows_that_were_taken_back_take_no_room() -> None:
    exposures = Exposures()
    for n in range(MAX_WINDOWS + 7):
        exposures.count("triage", "v", None, None, 10.0 * n)
        exposures.take_back("triage", "v", None, None, 10.0 * n)
    assert (exposures.dropped, exposures.taken_back) == (0, MAX_WINDOWS + 7)


def test_a_server_that_asks_to_wait_is_left_alone(server, until) -> None:
    with server.client(fallback={"triage": "Own"}) as client:
        assert client.decide("triage").role == "champion"
        client.flush()
        server.fault = lambda request: httpx.Response(429, headers={"retry-after": "30"})
        client.prompt("triage").record("x")
        client.flush()
        until(lambda: server.n_asked(status=429) and server.n_asked("/v1/feedback", 429))
        n_asked = len(server.requests)
        client.decide("triage")
        assert client.status().failure == "status 429"
        assert len(server.requests) <= n_asked + 1
        server.fault = lambda request: None
        assert client.flush()
    assert len(server.events) == 1
    assert json.dumps(server.events).count('"output"') == 1
