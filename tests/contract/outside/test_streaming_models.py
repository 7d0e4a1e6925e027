"""What every model that streams promises, through the two ways to a provider: our own wire and LiteLLM's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from optimizer.adapters.models import openai_wire
from optimizer.core.base.errors import ModelFailed
from optimizer.core.models.language import MessageInPieces, ModelDelta
from tests.contract.outside.test_language_models import both, failure, own_wire
from tests.stand_ins.faulty_provider import PIECES, FaultyProvider, faulty_provider
from tests.stand_ins.scripted_model import request


@pytest.fixture
def behind() -> Iterator[FaultyProvider]:
    with faulty_provider() as state:
        yield state


class Gone(Exception):
    """The reader has left."""


class Sink:
    """Keeps what comes; ``leave_after`` pieces it goes away."""

    def __init__(self, leave_after: int | None = None) -> None:
        self.deltas: list[ModelDelta] = []
        self.leave_after = leave_after
        self.end: Callable[[], Any] | None = None
        self.took = threading.Event()
        self.gone = False

    @property
    def begun(self) -> bool:
        return bool(self.deltas)

    @property
    def text(self) -> str:
        return "".join(delta.get("content") or "" for delta in self.deltas)

    async def put(self, delta: ModelDelta) -> None:
        if self.gone:
            raise Gone
        self.deltas.append(delta)
        self.took.set()
        if len(self.deltas) == self.leave_after:
            raise Gone

    @contextmanager
    def while_wanted(self) -> Iterator[None]:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        self.end = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            yield
        finally:
            if self.gone:  # whether the end looks like a fault or like the end of the answer is the library's affair
                raise Gone


@both
def test_a_stream_brings_pieces_and_then_the_answer_that_they_make(make: Any, behind: FaultyProvider):
    sink = Sink()
    answer = make(behind.url).stream(request(max_tokens=None), sink)
    assert [delta["content"] for delta in sink.deltas] == list(PIECES)
    assert (answer.text, answer.input_tokens, answer.output_tokens, answer.finish_reason) == (
        "Stars burn hydrogen.",
        1000,
        100,
        "stop",
    )
    assert answer.cost_usd == pytest.approx(1000 / 1e6 + 100 * 10 / 1e6)
    assert behind.bodies[-1]["stream"] is True
    assert behind.bodies[-1]["max_tokens"] == 77


FAULTS = [
    pytest.param("rate_limit", "rate_limit", id="429"),
    pytest.param("broken", "http", id="500"),
    pytest.param("timeout", "timeout", id="no answer in time"),
    pytest.param("drip", "timeout", id="an answer that drips"),
    pytest.param("disconnect", "unreachable", id="a broken connection"),
]


@both
@pytest.mark.parametrize(("fault", "kind"), FAULTS)
def test_every_fault_of_a_stream_is_a_model_failed(make: Any, behind: FaultyProvider, fault: str, kind: str):
    behind.fault = lambda n: fault
    timeout_s = 1.0 if fault in ("timeout", "drip") else 20.0
    with pytest.raises(ModelFailed) as caught:
        make(behind.url, timeout_s).stream(request(), Sink())
    assert caught.value.kind == kind, caught.value.detail


@both
@pytest.mark.parametrize("fault", ["disconnect", "malformed"])
def test_a_stream_that_breaks_in_the_middle_has_handed_on_what_came(make: Any, behind: FaultyProvider, fault: str):
    behind.fault, behind.break_after = lambda n: fault, 2
    sink = Sink()
    with pytest.raises(ModelFailed):
        make(behind.url).stream(request(), sink)
    assert sink.text in ("Stars burn", "Stars")  # a reset may swallow what was on its way


@both
def test_a_stream_that_goes_on_and_on_is_ended_and_what_came_was_handed_on(
    make: Any, behind: FaultyProvider, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(openai_wire, "MessageInPieces", lambda: MessageInPieces(max_bytes=1000))
    behind.pieces = ["word "] * 1000
    sink = Sink()
    with pytest.raises(ModelFailed, match="more than 1,000 bytes") as caught:
        make(behind.url).stream(request(), sink)
    assert caught.value.kind == "malformed"
    assert "word " in sink.text
    assert len(sink.text) <= 1000


def test_a_whole_answer_that_is_too_long_is_refused(behind: FaultyProvider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openai_wire, "MAX_BODY_BYTES", 50)
    failed = failure(own_wire(behind.url))
    assert (failed.kind, "more than 50 bytes" in failed.detail) == ("malformed", True)


@both
def test_an_answer_that_drips_whole_is_too_slow(make: Any, behind: FaultyProvider):
    behind.fault = lambda n: "drip"
    assert failure(make(behind.url, 0.5)).kind == "timeout"


@both
def test_a_reader_who_leaves_ends_the_call_at_the_provider(make: Any, behind: FaultyProvider):
    behind.pieces, behind.pause_s = ["word "] * 500, 0.02
    with pytest.raises(Gone):
        make(behind.url).stream(request(), Sink(leave_after=2))
    assert behind.hung_up.wait(10)


@both
def test_a_reader_who_leaves_while_the_provider_is_silent_ends_the_call_too(make: Any, behind: FaultyProvider):
    behind.pieces, behind.pause_s = ["one", "two"], 30.0
    sink, ended = Sink(), threading.Event()

    def read() -> None:
        with pytest.raises(Gone):
            make(behind.url, 60.0).stream(request(), sink)
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert sink.took.wait(10)
    assert sink.end is not None
    sink.gone = True
    sink.end()
    assert ended.wait(10), "the call went on although nobody reads it"


def test_a_server_that_does_not_stream_answers_in_one_piece(behind: FaultyProvider):
    from tests.stand_ins.scripted_model import provider

    with provider() as plain:
        sink = Sink()
        assert own_wire(plain.url).stream(request(), sink).text == "hi"
        assert [delta["content"] for delta in sink.deltas] == ["hi"]
