"""What stands between a request and a model in the gateway: places, breakers, retries, fallbacks, counts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from api.access.key_limits import KeySpending
from api.gateway.guarded_models import GuardedModels
from api.gateway.metrics import Metrics
from api.gateway.model_limiter import Full, Limiter
from api.gateway.reader import ClientGone, Reader
from optimizer.adapters.store.tables.operators import KEY_USAGE
from optimizer.core.base.errors import ModelFailed, NotFound
from optimizer.core.models.breaker import Backoff, BreakerSettings
from optimizer.core.models.budget import reservation_usd
from optimizer.core.models.language import AnswerTooLong, MessageInPieces, ModelDelta, ModelPrice, delta_of
from optimizer.core.serving.access import KeyLimits
from optimizer.jobs.calls.ask_model import ask_model, pause_before_retry
from optimizer.jobs.calls.blocking import wait_for
from tests.clock import Clock
from tests.stand_ins.scripted_model import ScriptedModel, always, failed, request
from tests.stores import NOW, new_database

QUICK = Backoff(initial_s=0.001, max_s=0.002, jitter_s=0.0)


@dataclass(frozen=True, kw_only=True)
class Facts:
    embedded: bool = False
    concurrency: int = 4
    queue: int = 4
    timeout_s: float = 20.0
    retries: int = 0
    backoff: Backoff = QUICK
    breaker: BreakerSettings = field(default_factory=lambda: BreakerSettings(failures=3, cool_down_s=10.0, successes=1))
    processes: int | str = "auto"
    student: bool = False
    max_output_tokens: int | None = None
    fallbacks: tuple[str, ...] = ()


class Shelf:
    """Models by name, with what a file would say of them."""

    def __init__(self, *models: ScriptedModel, **facts: Facts) -> None:
        self.models = {model.name: model for model in models}
        self.facts = facts

    def get(self, name: str) -> ScriptedModel:
        if name not in self.models:
            raise NotFound(f"no model {name}")
        return self.models[name]

    def describe(self, name: str) -> Facts:
        return self.facts.get(name, Facts())

    def price(self, name: str) -> ModelPrice | None:
        return self.models[name].price


@dataclass
class Monotonic:
    """time.monotonic that stands still."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Sink:
    def __init__(self) -> None:
        self.deltas: list[ModelDelta] = []

    @property
    def begun(self) -> bool:
        return bool(self.deltas)

    async def put(self, delta: ModelDelta) -> None:
        self.deltas.append(delta)

    def while_wanted(self) -> AbstractContextManager[None]:
        return nullcontext()


class Streaming(ScriptedModel):
    """Hands on each word of its script's text; "!" breaks it off there."""

    async def stream(self, request: Any, sink: Any) -> Any:
        answer = await self.complete(request)
        for word in answer.text.split():
            if word == "!":
                raise failed("unreachable")
            await sink.put({"content": word})
        return answer


def ask(models: Any, name: str, **options: Any) -> Any:
    return wait_for(ask_model(models, name, lambda model: request(), **options))


# --- retries and fallbacks --------------------------------------------------------------------------------------------


def test_a_passing_fault_is_tried_again_as_often_as_the_model_allows() -> None:
    model = ScriptedModel(lambda r, n: "yes" if n == 3 else always("http", status=503)(r, n), name="a", retries=2)
    assert ask(Shelf(model), "a").answer.text == "yes"
    assert len(model.requests) == 3


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(failed("timeout"), False, id="the user has waited long enough"),
        pytest.param(failed("http", status=400), False, id="the request is at fault"),
        pytest.param(failed("malformed"), False, id="it would say that again"),
        pytest.param(failed("http", status=500), True, id="a passing fault"),
        pytest.param(failed("rate_limit", status=429), True, id="a limit without a time"),
        pytest.param(failed("rate_limit", status=429, retry_after_s=1), 1.0, id="as long as the provider asks for"),
        pytest.param(failed("rate_limit", status=429, retry_after_s=60), False, id="longer than anybody waits"),
        pytest.param(failed("rate_limit", status=429, retry_after_s=0), True, id="at once"),
        pytest.param(failed("paused", sent=False, retry_after_s=1), False, id="a model that is left alone"),
    ],
)
def test_what_is_worth_another_attempt(error: ModelFailed, expected: bool | float) -> None:
    assert pause_before_retry(error, Backoff()) == expected


def test_the_chain_of_fallbacks_is_followed_in_order_and_named_in_the_failure() -> None:
    shelf = Shelf(*(ScriptedModel(always("timeout"), name=name) for name in "abc"), a=Facts(fallbacks=("b", "c")))
    with pytest.raises(ModelFailed) as caught:
        ask(shelf, "a")
    assert caught.value.members["models_asked"] == ["a", "b", "c"]


def test_once_a_piece_was_handed_on_nobody_else_answers() -> None:
    shelf = Shelf(Streaming(lambda r, n: "one !", name="a"), Streaming(name="b"), a=Facts(fallbacks=("b",)))
    sink = Sink()
    with pytest.raises(ModelFailed):
        ask(shelf, "a", sink=sink)
    assert [delta["content"] for delta in sink.deltas] == ["one"]
    assert (len(shelf.models["a"].requests), len(shelf.models["b"].requests)) == (1, 0)


def test_before_the_first_piece_a_stream_is_tried_again_and_falls_back() -> None:
    broken, whole = Streaming(lambda r, n: "!", name="a", retries=1), Streaming(lambda r, n: "two words", name="b")
    shelf, sink = Shelf(broken, whole, a=Facts(fallbacks=("b",))), Sink()
    assert ask(shelf, "a", sink=sink).models == ("a", "b")
    assert [delta["content"] for delta in sink.deltas] == ["two", "words"]
    assert len(shelf.models["a"].requests) == 2


# --- breakers ---------------------------------------------------------------------------------------------------------


def test_a_model_whose_breaker_is_open_is_skipped_and_says_when_it_is_tried_again() -> None:
    shelf = Shelf(ScriptedModel(always("timeout"), name="a"), ScriptedModel(name="b"), a=Facts(fallbacks=("b",)))
    models = GuardedModels(shelf, Metrics(), now=(clock := Monotonic()))
    for _ in range(3):
        assert ask(models, "a").models == ("a", "b")
    clock.now = 4.0
    assert ask(models, "a").models == ("b",)
    with pytest.raises(ModelFailed) as caught:
        ask(models, "a", fallbacks=False)
    assert (caught.value.kind, caught.value.members["retry_after_s"]) == ("paused", 6)
    assert caught.value.members["models_asked"] == []
    assert len(shelf.models["a"].requests) == 3
    clock.now = 10.0
    assert ask(models, "a").models == ("a", "b")
    assert len(shelf.models["a"].requests) == 4, "one probe"


def test_of_several_models_that_are_left_alone_the_one_that_is_back_first_is_named() -> None:
    shelf = Shelf(*(ScriptedModel(always("timeout"), name=name) for name in "ab"), a=Facts(fallbacks=("b",)))
    models = GuardedModels(shelf, Metrics(), now=(clock := Monotonic()))
    for clock.now in (0.0, 1.0, 2.0):
        with pytest.raises(ModelFailed):
            ask(models, "b")
    clock.now = 5.0
    for _ in range(3):
        with pytest.raises(ModelFailed):
            ask(models, "a")
    with pytest.raises(ModelFailed) as caught:
        ask(models, "a")
    assert (caught.value.members["model"], caught.value.members["retry_after_s"]) == ("b", 7)


def test_retries_stop_when_the_breaker_opens_and_the_real_failure_is_told() -> None:
    model = ScriptedModel(always("http", status=500), name="a", retries=9)
    with pytest.raises(ModelFailed) as caught, capture_logs() as logs:
        ask(GuardedModels(Shelf(model), Metrics()), "a")
    assert (caught.value.kind, len(model.requests)) == ("http", 3)
    pauses = [entry for entry in logs if entry["event"] == "stamina.retry_scheduled"]
    assert len(pauses) == 3, "the third meets the open breaker, and nothing is waited for after it"


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_request_that_is_at_fault_itself_opens_no_breaker(status: int) -> None:
    models = GuardedModels(Shelf(ScriptedModel(always("http", status=status), name="a")), Metrics())
    for _ in range(10):
        with pytest.raises(ModelFailed) as caught:
            ask(models, "a")
        assert caught.value.kind == "http"
    assert models.health()["a"]["breaker"] == "closed"


def test_all_families_share_a_models_breaker_and_each_has_its_own_counts() -> None:
    metrics = Metrics()
    models = GuardedModels(Shelf(ScriptedModel(always("timeout"), name="a")), metrics)
    for family in ("one", "one", "two", "two"):
        with pytest.raises(ModelFailed):
            ask(models.for_request(family, None), "a")
    text = metrics.text()
    assert 'llm_call_errors_total{family="one",kind="timeout",model="a"} 2' in text
    assert 'llm_call_errors_total{family="two",kind="timeout",model="a"} 1' in text
    assert 'llm_call_errors_total{family="two",kind="paused",model="a"} 1' in text
    assert 'llm_calls_total{family="two",model="a"} 1' in text


# --- places and queue -------------------------------------------------------------------------------------------------


def test_no_more_calls_are_out_than_places_and_all_are_answered() -> None:
    model = ScriptedModel(name="a", delay_s=0.01, together=3)
    models = GuardedModels(Shelf(model, a=Facts(concurrency=3, queue=50)), Metrics())
    threads = [threading.Thread(target=ask, args=(models, "a")) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(model.requests), model.most_in_flight) == (30, 3)
    assert models.health()["a"] == {"ok": True, "breaker": "closed", "in_flight": 0, "waiting": 0, "last_error": None}


async def soon(condition: Callable[[], bool]) -> None:
    """Returns as soon as it holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


def test_a_full_queue_refuses_and_turns_are_taken_in_order() -> None:
    async def story() -> None:
        gate, order, release = Limiter(1, 2), list[int](), asyncio.Event()

        async def caller(i: int) -> None:
            async with gate.place(20.0):
                order.append(i)
                await release.wait()

        callers = [asyncio.create_task(caller(i)) for i in range(3)]
        await soon(lambda: gate.n_out + gate.n_waiting == 3)
        with pytest.raises(Full):
            async with gate.place(20.0):
                pass
        release.set()
        await asyncio.gather(*callers)
        assert order == [0, 1, 2]
        assert (gate.n_out, gate.n_waiting) == (0, 0)

    asyncio.run(story())


class Senders:
    """Callers of a gate in tasks of their own: each holds its place until it is let go."""

    def __init__(self, gate: Limiter) -> None:
        self.gate, self.let_in, self.refused = gate, list[str](), list[str]()
        self._go = asyncio.Semaphore(0)
        self._tasks: list[asyncio.Task[None]] = []

    async def send(self, *senders: str) -> None:
        """One more call of each in turn; returns once every call is in, waits or was refused."""
        for sender in senders:
            self._tasks.append(asyncio.create_task(self._call(sender)))
            await soon(lambda: self.gate.n_waiting + len(self.let_in) + len(self.refused) == len(self._tasks))

    async def end_one(self) -> None:
        """A call ends, and whoever is next begins."""
        n = len(self.let_in)
        self._go.release()
        await soon(lambda: len(self.let_in) > n)

    async def close(self) -> None:
        for _ in self._tasks:
            self._go.release()
        await asyncio.gather(*self._tasks)

    async def _call(self, sender: str) -> None:
        try:
            async with self.gate.place(20.0, sender=sender):
                self.let_in.append(sender)
                await self._go.acquire()
        except Full:
            self.refused.append(sender)


@asynccontextmanager
async def open_senders() -> AsyncIterator[Senders]:
    made = Senders(Limiter(2, 3))
    yield made
    await made.close()


def test_a_sender_of_many_calls_does_not_keep_another_from_the_next_place() -> None:
    async def story() -> None:
        async with open_senders() as senders:
            await senders.send("many", "many", "many", "many", "one")
            await senders.end_one()
            assert senders.let_in == ["many", "many", "one"]
            await senders.end_one()
            assert senders.let_in[-1] == "many"

    asyncio.run(story())


def test_in_a_full_queue_the_newest_call_of_who_has_most_makes_room_for_another() -> None:
    async def story() -> None:
        async with open_senders() as senders:
            await senders.send(*("many",) * 6)
            assert senders.refused == ["many"], "a sender alone may fill the queue, and no more"
            await senders.send("one", "another")
            assert senders.refused == ["many"] * 3
            await senders.send("third")
            assert senders.refused[-1] == "third", "each of those who wait has one call there"
            assert senders.gate.n_waiting == 3

    asyncio.run(story())


def test_who_has_waited_too_long_gives_up_its_turn() -> None:
    async def story() -> None:
        gate = Limiter(1, 5)
        async with gate.place(1.0):
            with pytest.raises(Full):
                async with gate.place(0.01):
                    pass
            assert gate.n_waiting == 0
        assert gate.n_out == 0

    asyncio.run(story())


def test_a_client_who_leaves_the_queue_is_never_asked_for() -> None:
    async def story() -> None:
        reader, gate = Reader(), Limiter(1, 5)

        async def wait_in_line() -> None:
            with pytest.raises(ClientGone):
                async with gate.place(20.0, reader.while_wanted):
                    pass

        async with gate.place(1.0):
            waiting = asyncio.create_task(wait_in_line())
            await soon(lambda: gate.n_waiting == 1)
            reader.leave()
            await asyncio.wait_for(waiting, 10)
        assert (gate.n_out, gate.n_waiting) == (0, 0)
        with pytest.raises(ClientGone):
            await reader.put({"content": "late"})

    asyncio.run(story())


def test_only_the_call_that_was_sent_uses_a_keys_day_where_all_who_wait_leave(tmp_path: Path) -> None:
    store = new_database(tmp_path)
    spending = KeySpending("app", KeyLimits(calls_per_day=9, usd_per_day=9.0), store, Clock(NOW))
    model = ScriptedModel(name="a", price=ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0))

    async def story() -> None:
        models, release = GuardedModels(Shelf(model, a=Facts(concurrency=1)), Metrics()), asyncio.Event()

        async def complete(_: Any) -> Any:
            await release.wait()
            raise ClientGone

        model.complete = complete  # type: ignore[method-assign]
        readers = [Reader() for _ in range(3)]
        calls = []
        for n, reader in enumerate(readers):
            one = models.for_request("f", reader, spending, "app").get("a")
            calls.append(asyncio.create_task(one.complete(request())))
            await soon(lambda n=n: models.health()["a"]["in_flight"] + models.health()["a"]["waiting"] == n + 1)
        readers[1].leave()
        calls[2].cancel()
        await asyncio.wait(calls[1:])
        release.set()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [ClientGone, ClientGone, asyncio.CancelledError]

    asyncio.run(story())
    with store.read() as tx:
        used = {row.limit: row.used for row in tx.execute(select(KEY_USAGE))}
    store.close()
    assert used == {"calls_per_day": 1, "usd_per_day": pytest.approx(reservation_usd(request(), model.price))}


# --- answers in pieces ------------------------------------------------------------------------------------------------


def test_tool_calls_that_come_in_pieces_become_whole() -> None:
    message = MessageInPieces()
    for delta in (
        {"role": "assistant", "content": None},
        {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "id": "c2", "type": "function", "function": {"name": "count", "arguments": "{"}}]},
        {"tool_calls": [{"index": n, "function": {"arguments": text}} for n, text in enumerate(('{"a":', "}"))]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
    ):
        message.add(delta)
    whole = message.message()
    assert whole["content"] is None
    assert [(c["id"], c["type"], c["function"]) for c in whole["tool_calls"]] == [
        ("c1", "function", {"name": "look", "arguments": '{"a":1}'}),
        ("c2", "function", {"name": "count", "arguments": "{}"}),
    ]


@pytest.mark.parametrize("index", [{}, {"index": 0}, {"index": None}])
def test_calls_without_an_index_of_their_own_stay_apart(index: dict[str, Any]) -> None:
    message = MessageInPieces()
    for id, name in (("a", "look"), ("b", "count")):
        head = {"id": id, "type": "function", "function": {"name": name, "arguments": "{"}}
        message.add({"tool_calls": [{**index, **head}]})
        message.add({"tool_calls": [{**index, "function": {"arguments": "}"}}]})
    assert [(c["id"], c["function"]) for c in message.message()["tool_calls"]] == [
        ("a", {"name": "look", "arguments": "{}"}),
        ("b", {"name": "count", "arguments": "{}"}),
    ]


def test_a_whole_message_as_one_piece_makes_the_same_message_again() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    whole = {"role": "assistant", "content": "x", "tool_calls": [call]}
    again = MessageInPieces()
    again.add(delta_of(whole))
    assert again.message() == whole


def test_texts_and_lists_in_pieces_are_put_together_in_their_order() -> None:
    message = MessageInPieces()
    first, second = {"content": "a", "notes": [1]}, {"content": "b", "notes": [2], "more": {"text": "x"}}
    for delta in (first, second, {"more": {"text": "y"}}):
        message.add(delta)
    assert message.text == "ab"
    assert message.message() == {"role": "assistant", "content": "ab", "notes": [1, 2], "more": {"text": "xy"}}


def test_pieces_are_not_joined_before_the_answer_is_asked_for() -> None:
    class Piece(str):
        def __add__(self, other: str) -> str:
            raise AssertionError("joined before it was asked for")

        __radd__ = __add__

    message = MessageInPieces()
    for _ in range(20_000):
        message.add({"content": Piece("word ")})
    assert message.text == "word " * 20_000


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x" * 60},
        {"content": "é" * 30},
        {"reasoning": "x" * 60},
        {"tool_calls": [{"index": 0, "function": {"arguments": "x" * 60}}]},
        {"notes": [1] * 60},
    ],
    ids=["text", "bytes and not characters", "another text", "arguments", "values"],
)
def test_pieces_of_more_bytes_than_an_answer_may_have_are_refused(delta: ModelDelta) -> None:
    message = MessageInPieces(max_bytes=120)
    message.add(delta)
    with pytest.raises(AnswerTooLong, match="120"):
        message.add(delta)


def test_a_piece_nested_without_end_is_refused() -> None:
    nested: Any = {}
    for _ in range(900):
        nested = {"a": nested}
    with pytest.raises(ValueError, match="levels deep"):
        MessageInPieces().add(nested)
