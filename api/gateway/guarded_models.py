"""Guards the gateway's models: limits calls at once, pauses a model that keeps failing, and counts."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import NotRequired

import structlog
from typing_extensions import TypedDict

from api.access.answer_lengths import AnswerLengths
from api.access.key_limits import KeyCall, KeySpending
from api.gateway.metrics import Metrics
from api.gateway.model_limiter import Full, Limiter
from api.gateway.reader import ClientGone, Reader
from optimizer.core.base.errors import ModelFailed
from optimizer.core.models.breaker import (
    Breaker,
    BreakerRefusal,
    Pass,
    State,
    after_failure,
    after_success,
    ask,
    withdrawn,
)
from optimizer.core.models.budget import charge_after_failure, output_limit, reservation_usd, worth_a_retry
from optimizer.core.models.language import ModelAnswer, ModelDelta, ModelPrice, ModelRequest, delta_of, size_of
from optimizer.core.models.settings import ModelSettings, calls_at_once
from optimizer.host.tracing import TRACING
from optimizer.jobs.calls.retried_model import WrappedModel
from optimizer.ports import DeltaSink, LanguageModel, ModelSource, StreamingModel

BUSY_RETRY_S = 2
_SHOWN: Mapping[State, float] = {"closed": 0.0, "half_open": 0.5, "open": 1.0}
EMBEDDED_PLACES = 2  # the most processes that `processes: auto` makes; each takes one call at a time

Now = Callable[[], float]
Around = Callable[[], AbstractContextManager[None]]
# Takes a family ("" for none) and the dollars of one attempt on the wire, as soon as they are known.
Bill = Callable[[str, float], None]

log = structlog.get_logger("gateway")


class LastError(TypedDict):
    kind: str
    age_s: float


class ModelHealth(TypedDict):
    """Whether calls to a model go out, and its last error."""

    ok: bool
    breaker: State
    in_flight: int
    waiting: int
    last_error: LastError | None
    tries_again_in_s: NotRequired[float]


class ModelGuard:
    """What the gateway knows of one model, and what it lets through.

    Used in one event loop; ``health`` in any thread.
    """

    def __init__(self, name: str, facts: ModelSettings, metrics: Metrics, now: Now = monotonic) -> None:
        self.name, self.facts = name, facts
        self.metrics, self._now = metrics, now
        self._gate = Limiter(calls_at_once(facts, automatic=EMBEDDED_PLACES), facts.queue)
        self._breaker = Breaker(settings=facts.breaker)
        self._last_error: tuple[str, float] | None = None
        self._shown = metrics.breaker_open.labels(model=name)
        self._shown.set(0)

    @asynccontextmanager
    async def call(self, reader: Reader | None, sender: str = "") -> AsyncIterator[None]:
        """Around one attempt on the wire. ``sender``: whose it is, so that no one's calls keep out another's.

        Raises:
            ModelFailed: paused or busy; the model was not asked.
            ClientGone: the client has gone; the model was not asked.
        """
        if reader is not None:
            reader.check()
        # Before queueing: whoever queues should have a chance at the end. Takes no probe's place
        now = self._now()
        _, verdict = ask(self._breaker, now)
        if isinstance(verdict, BreakerRefusal):
            raise self._paused(verdict, now)
        try:
            async with self._gate.place(
                self.facts.timeout_s, reader.while_wanted if reader is not None else nullcontext, sender
            ):
                permit = self._ask()
                if reader is not None:
                    reader.asked = self.name
                try:
                    yield
                except ModelFailed as error:
                    self._failed(permit, error)
                    raise
                except BaseException:
                    self._become(withdrawn(self._breaker, permit))
                    raise
                self._become(after_success(self._breaker, permit, self._now()))
        except Full:
            raise self._busy() from None

    def health(self) -> ModelHealth:
        breaker, last, now = self._breaker, self._last_error, self._now()
        health: ModelHealth = {
            "ok": breaker.state != "open",
            "breaker": breaker.state,
            "in_flight": self._gate.n_out,
            "waiting": self._gate.n_waiting,
            "last_error": None if last is None else {"kind": last[0], "age_s": round(now - last[1], 1)},
        }
        if breaker.state == "open" and breaker.opened_at is not None:
            health["tries_again_in_s"] = max(0.0, round(breaker.opened_at + breaker.settings.cool_down_s - now, 1))
        return health

    def _ask(self) -> Pass:
        now = self._now()
        breaker, verdict = ask(self._breaker, now)
        self._become(breaker)
        if isinstance(verdict, BreakerRefusal):
            raise self._paused(verdict, now)
        return verdict

    def _failed(self, permit: Pass, error: ModelFailed) -> None:
        self._last_error = (error.kind, self._now())
        log.warning("a model call failed", model=self.name, kind=error.kind, said=error.said)
        is_theirs = is_the_providers(error)
        self._become(
            after_failure(self._breaker, permit, self._now()) if is_theirs else withdrawn(self._breaker, permit)
        )

    def _become(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._shown.set(_SHOWN[breaker.state])

    def _paused(self, refusal: BreakerRefusal, now: float) -> ModelFailed:
        wait_s = max(1, math.ceil(refusal.again_at - now))
        kind = self._last_error[0] if self._last_error is not None else "unknown"
        return ModelFailed(
            f"Model {self.name!r} has failed too often of late (last: {kind}) and is left alone; it is tried again in"
            f" {wait_s} s. Name `fallbacks` for it in config/models.yaml, or send the request again then.",
            kind="paused",
            sent=False,
            model=self.name,
            retry_after_s=wait_s,
        )

    def _busy(self) -> ModelFailed:
        return ModelFailed(
            f"Model {self.name!r} has {self._gate.places} calls out and {self._gate.n_waiting} waiting, which is all it"
            f" takes at once. Send the request again in {BUSY_RETRY_S} s; `concurrency` and `queue` in"
            " config/models.yaml set how many.",
            kind="busy",
            sent=False,
            model=self.name,
            retry_after_s=BUSY_RETRY_S,
        )


def is_the_providers(error: ModelFailed) -> bool:
    """Whether a failure is the provider's, and not that of this one request or of our own queue before it.

    A failure inside a library (kind ``library``) is not: otherwise one caller could have a model paused for all others.
    """
    if error.kind == "timeout" and error.members.get("sent") is False:
        return False
    return error.kind == "malformed" or worth_a_retry(error.kind, error.members.get("status_of_model"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelClient:
    """The caller of a model: its family, for the counts; who waits; whose limits it counts for; who sends."""

    family: str = ""
    reader: Reader | None = None
    spending: KeySpending | None = None
    sender: str = ""


class GuardedModel(WrappedModel):
    """A model behind its guard, for one family and one client: every attempt is counted, paid for and billed."""

    def __init__(
        self,
        inner: LanguageModel,
        guard: ModelGuard,
        client: ModelClient,
        *,
        users: Around,
        bill: Bill,
        lengths: AnswerLengths | None = None,
    ) -> None:
        super().__init__(inner)
        self._guard, self._client, self._users, self._bill, self._lengths = guard, client, users, bill, lengths
        self._metrics, self._labels = guard.metrics, {"model": guard.name, "family": client.family}

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        return await self._attempt(request, lambda: self.inner.complete(request))

    async def stream(self, request: ModelRequest, sink: DeltaSink) -> ModelAnswer:
        """A model that cannot stream hands on its whole answer as the one piece."""
        timed = _FirstPieceTimer(
            sink, lambda seconds: self._metrics.time_to_first_token.labels(**self._labels).observe(seconds)
        )

        async def ask() -> ModelAnswer:
            timed.started = perf_counter()
            if isinstance(self.inner, StreamingModel):
                return await self.inner.stream(request, timed)
            answer = await self.inner.complete(request)
            await timed.put(delta_of(answer.raw_message or {"content": answer.text}))
            return answer

        return await self._attempt(request, ask, timed)

    async def _attempt(
        self, request: ModelRequest, ask: Callable[[], Awaitable[ModelAnswer]], timed: _FirstPieceTimer | None = None
    ) -> ModelAnswer:
        """Counts the attempt for its key, where that has limits of its own, and bills its cost.

        That is its answer's price or, without an answer, the most that the provider may charge.
        """
        spending, metrics = self._client.spending, self._metrics
        async with (
            (
                nullcontext(KeyCall())
                if spending is None
                else spending.call(request, self.price, self.max_output_tokens)
            ) as call,
            self._counted(),
        ):
            call.is_sent = True
            try:
                started = perf_counter()
                with TRACING.model_call(request) as span:
                    answer = await ask()
                    TRACING.answered(span, answer)
                call.answer = answer
                if self._lengths is not None:
                    self._lengths.add(request.model, answer.output_tokens)
                metrics.request_duration.labels(**self._labels).observe(perf_counter() - started)
                for counter, amount in (
                    (metrics.tokens_input, answer.input_tokens),
                    (metrics.tokens_output, answer.output_tokens),
                    (metrics.cost_dollars, answer.cost_usd),
                ):  # a provider may say less than nothing, which no counter takes
                    counter.labels(**self._labels).inc(max(0, amount))
            except BaseException as error:
                call.n_bytes = timed.n_bytes if timed is not None else 0
                # a token has at least one byte
                tokens = max(call.n_bytes, output_limit(request.params, self.max_output_tokens) or 0)
                most = reservation_usd(request, self.price, tokens)
                self._bill(
                    self._client.family, charge_after_failure(error, most, n_bytes=call.n_bytes, of_service=True)
                )
                raise
            self._bill(self._client.family, answer.cost_usd)
        return answer

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        try:
            with self._users():
                async with self._guard.call(self._client.reader, self._client.sender):
                    self._metrics.requests.labels(**self._labels).inc()
                    with self._metrics.active_requests.labels(**self._labels).track_inprogress():
                        yield
        except ModelFailed as error:
            self._metrics.errors.labels(**self._labels, kind=error.kind).inc()
            raise
        except ClientGone:
            self._metrics.errors.labels(**self._labels, kind="client_gone").inc()
            raise


class GuardedModels:
    """A ModelSource whose models share one guard each.

    ``for_request`` binds it to the family, for the counts, to who waits, to whose limits it counts for, and to who
    sends.
    """

    def __init__(
        self,
        source: ModelSource,
        metrics: Metrics,
        *,
        now: Now = monotonic,
        users: Around = nullcontext,
        bill: Bill = lambda family, usd: None,
        lengths: AnswerLengths | None = None,
    ) -> None:
        """Args:
        users: entered around each call, waiting included: background work stands back meanwhile.
        lengths: takes how long answers were; None: nobody asks.
        """
        self._lengths = lengths
        self._source, self._metrics, self._now, self._users, self._bill = source, metrics, now, users, bill
        self._client = ModelClient()
        self._guards: dict[str, ModelGuard] = {}

    def for_request(
        self, family: str, reader: Reader | None, spending: KeySpending | None = None, sender: str = ""
    ) -> GuardedModels:
        bound = GuardedModels(
            self._source, self._metrics, now=self._now, users=self._users, bill=self._bill, lengths=self._lengths
        )
        bound._client = ModelClient(family=family, reader=reader, spending=spending, sender=sender)
        bound._guards = self._guards
        return bound

    def get(self, name: str) -> GuardedModel:
        return GuardedModel(
            self._source.get(name),
            self._guard(name),
            self._client,
            users=self._users,
            bill=self._bill,
            lengths=self._lengths,
        )

    def describe(self, name: str) -> ModelSettings:
        return self._source.describe(name)

    def price(self, name: str) -> ModelPrice | None:
        return self._source.price(name)

    def health(self) -> Mapping[str, ModelHealth]:
        """The health of every model that was asked since the start."""
        return {name: guard.health() for name, guard in sorted(dict(self._guards).items())}

    def _guard(self, name: str) -> ModelGuard:
        facts, guard = self._source.describe(name), self._guards.get(name)
        if guard is None or (guard.facts is not facts and guard.facts != facts):  # the file was edited
            guard = self._guards[name] = ModelGuard(name, facts, self._metrics, self._now)
        return guard


class _FirstPieceTimer:
    """A sink that notes when its first piece came."""

    def __init__(self, sink: DeltaSink, first: Callable[[float], None]) -> None:
        self._sink, self._first, self._has_begun = sink, first, False
        self.started = perf_counter()
        self.n_bytes = 0  # of all pieces

    @property
    def begun(self) -> bool:
        return self._sink.begun

    async def put(self, delta: ModelDelta) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._first(perf_counter() - self.started)
        self.n_bytes += size_of(delta)
        await self._sink.put(delta)

    def while_wanted(self) -> AbstractContextManager[None]:
        return self._sink.while_wanted()
