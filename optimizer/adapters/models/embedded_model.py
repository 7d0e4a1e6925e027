"""The embedded model as a LanguageModel: finds or becomes the owner of its processes, and keeps prefixes warm."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any

from optimizer.adapters.models.connections import LoopSessions
from optimizer.adapters.models.embedded_pool import (
    EmbeddedPool,
    Owner,
    living_owner,
    require_engine,
    revision_of,
    weights_file,
)
from optimizer.adapters.models.openai_wire import IN_THE_LOG, Look, body_of, post, post_streaming, read_answer
from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import Busy, Conflict, ModelFailed
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.ports import DeltaSink

OWNER_WAIT_S = 30.0  # how long a call waits for an owner that starts or restarts
POLL_S = 0.1
WARM_PREFIXES = 16  # per process: about what its prompt cache holds
RESTART_RETRIES = 3
# What the engine answers to a request that it cannot read, such as one with an image; while it loads it is 503.
UNREAD = 500


_Ask = Callable[[str, Mapping[str, Any], float], Awaitable[dict[str, Any]]]  # (process, body, deadline) -> its answer


class _CachedWhole(Exception):
    """The engine had this very prompt cached, and it has to be read again."""


class EmbeddedModel:
    """SmolLM2-135M-Instruct on loopback: free, weak and real. One request at a time per server process."""

    def __init__(
        self,
        name: str,
        run_dir: Path,
        *,
        size: int | None = None,
        timeout_s: float = 300.0,
        retries: int = 2,
        max_output_tokens: int = 256,
        price: ModelPrice | None = None,
    ) -> None:
        """``price``: None is free."""
        require_engine()
        self.name = name
        self.revision = revision_of(weights_file(), run_dir)
        self.price: ModelPrice | None = price or ModelPrice(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)
        self.retries = retries
        self.max_output_tokens: int | None = max_output_tokens
        self._run_dir = run_dir
        self._size = size
        self._timeout_s = timeout_s
        self._pool: EmbeddedPool | None = None
        self._pool_lock = threading.Lock()
        self._slots = _ProcessSlots()
        self._connections = LoopSessions({})
        self._last_size: int | None = None  # of the owner
        self._starting: asyncio.Future[Owner] | None = None
        self._closed = False

    @property
    def concurrency(self) -> int:
        """One call per server process.

        The first question starts them where no process owns any; later ones do not wait.
        """
        owner = living_owner(self._run_dir)
        if owner is None and self._last_size is None:
            owner = self._owner()
        if owner is not None:
            self._last_size = max(1, owner.size)
        return self._last_size or 1

    def own(self) -> bool:
        """Become the owner of the server processes unless another process is; True when this process is."""
        with self._pool_lock:
            if self._pool is None and not self._closed and living_owner(self._run_dir) is None:
                try:
                    self._pool = EmbeddedPool(self._run_dir, self._size)
                except Conflict:
                    return False
            return self._pool is not None

    def owner(self) -> Owner | None:
        """The owner of the processes now; None while there is none."""
        return living_owner(self._run_dir)

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        async def ask(url: str, body: Mapping[str, Any], deadline: float) -> dict[str, Any]:
            values = await self._post(url, body, deadline)
            if request.params.get("temperature") == 0 and _was_cached_whole(values):
                values = await self._post(url, {**body, "cache_prompt": False}, deadline)
            return values

        return await self._answer(request, ask, lambda: True)

    async def stream(self, request: ModelRequest, sink: DeltaSink) -> ModelAnswer:
        async def ask(url: str, body: Mapping[str, Any], deadline: float) -> dict[str, Any]:
            def look(chunk: Mapping[str, Any]) -> None:
                if request.params.get("temperature") == 0 and not sink.begun and _was_cached_whole(chunk):
                    raise _CachedWhole

            try:
                return await self._post_streaming(url, {**body, "timings_per_token": True}, deadline, sink, look)
            except _CachedWhole:
                return await self._post_streaming(url, {**body, "cache_prompt": False}, deadline, sink)

        return await self._answer(request, ask, lambda: not sink.begun)

    async def _answer(self, request: ModelRequest, ask: _Ask, may_repeat: Callable[[], bool]) -> ModelAnswer:
        body = {**body_of(request, "embedded", self.max_output_tokens), "cache_prompt": True}
        # The same request draws the same answer, and another sample number another one.
        body.setdefault("seed", int(request.key[:7], 16))
        # What calls of one Variant share: every message but the last of the user.
        last = max(
            (i for i, m in enumerate(request.messages) if m.get("role") == "user"), default=len(request.messages)
        )
        prefix = digest(canonical_json(list(request.messages[:last])))[:16]
        deadline = monotonic() + self._timeout_s
        tries = 0
        while True:
            owner = await self._living()
            async with self._slots.take(owner.urls, prefix, deadline, self.name) as url:
                started = perf_counter()
                try:
                    values = await ask(url, body, deadline)
                except ModelFailed as error:
                    if error.members.get("status_of_model") == UNREAD:
                        # Kind ``library``: the engine is well, and nothing would be gained by asking it again or by
                        # leaving it alone.
                        raise ModelFailed(
                            f"Model {self.name!r} cannot read this request. {IN_THE_LOG}",
                            kind="library",
                            said=error.said,
                            sent=True,
                            model=self.name,
                        ) from error
                    tries += 1
                    if error.kind != "unreachable" or tries > RESTART_RETRIES or not may_repeat():
                        raise
                    self._slots.forget(url)
                else:
                    elapsed_ms = (perf_counter() - started) * 1000
                    return _with_own_times(
                        read_answer(values, model=self.name, request=request, price=self.price, latency_ms=elapsed_ms),
                        values,
                    )
            # Its process was killed or restarts: the owner notices within a fraction of a second.
            await asyncio.sleep(POLL_S * 2**tries)

    async def _post(self, url: str, body: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        async with self._connections.session() as session:
            return await post(session, f"{url}/v1", body, model=self.name, timeout_s=max(0.1, deadline - monotonic()))

    async def _post_streaming(
        self, url: str, body: Mapping[str, Any], deadline: float, sink: DeltaSink, look: Look = lambda chunk: None
    ) -> dict[str, Any]:
        left_s = max(0.1, deadline - monotonic())
        async with self._connections.session() as session:
            return await post_streaming(session, f"{url}/v1", body, sink, model=self.name, timeout_s=left_s, look=look)

    def close(self) -> None:
        with self._pool_lock:
            self._closed = True
            if self._pool is not None:
                self._pool.close()
                self._pool = None
        self._connections.close()

    async def _living(self) -> Owner:
        """``_owner`` for calls.

        While it starts one thread waits for all of them: others have work for the loop's few threads.
        """
        owner = living_owner(self._run_dir)
        if owner is not None and owner.urls:
            return owner
        if self._starting is None or self._starting.done():
            self._starting = asyncio.ensure_future(asyncio.to_thread(self._owner))
        return await asyncio.shield(self._starting)

    def _owner(self) -> Owner:
        """The living owner with at least one process that answers; blocks for a bounded time while one starts."""
        deadline = monotonic() + OWNER_WAIT_S
        while True:
            owner = living_owner(self._run_dir)
            if owner is not None and owner.urls:
                return owner
            if self._closed:
                raise Busy(f"Model {self.name!r} was closed; this process is ending.")
            if owner is None:
                self.own()
            if monotonic() > deadline:
                raise ModelFailed(
                    f"Model {self.name!r} has had no running process for {OWNER_WAIT_S:g} s. `detent status` shows the"
                    " gateway that owns it.",
                    kind="unreachable",
                    sent=False,
                    model=self.name,
                )
            sleep(POLL_S)


class _ProcessSlots:
    """Which process takes which call: one at a time each, preferably one that has read the same prefix before."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self._busy: set[str] = set()
        self._warm: dict[str, OrderedDict[str, None]] = {}

    @asynccontextmanager
    async def take(self, urls: Sequence[str], prefix: str, deadline: float, model: str) -> AsyncIterator[str]:
        while (url := self._best(urls, prefix)) is None:
            changed = asyncio.get_running_loop().create_future()
            self._waiting.append(changed)
            try:
                async with asyncio.timeout(deadline - monotonic()):
                    await changed
            except TimeoutError:
                raise ModelFailed(
                    f"Model {model!r} was busy with other calls until the time was over. Send fewer at once, or raise"
                    " timeout_s.",
                    kind="timeout",
                    sent=False,
                    model=model,
                ) from None
            finally:
                self._waiting.remove(changed)
        self._busy.add(url)
        seen = self._warm.setdefault(url, OrderedDict())
        seen[prefix] = None
        seen.move_to_end(prefix)
        while len(seen) > WARM_PREFIXES:
            seen.popitem(last=False)
        try:
            yield url
        finally:
            self._busy.discard(url)
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_result(None)

    def forget(self, url: str) -> None:
        self._warm.pop(url, None)

    def _best(self, urls: Sequence[str], prefix: str) -> str | None:
        free = [url for url in urls if url not in self._busy]
        # A cold process that is free beats waiting for a warm one: it pays for the prefix once, and the next calls run
        # side by side.
        return min(
            free, key=lambda url: (prefix not in self._warm.get(url, ()), len(self._warm.get(url, ()))), default=None
        )


def _was_cached_whole(values: Mapping[str, Any]) -> bool:
    """Whether the engine had read this very prompt before, so that it computed its last token alone.

    That is the one case in which its arithmetic differs in the last digits and may tip an answer (1 in 10 repeats,
    measured); with any shorter cached prefix it agrees to the bit with a cold start.
    """
    timings = values.get("timings")
    return isinstance(timings, dict) and timings.get("prompt_n") == 1 and bool(timings.get("cache_n"))


def _with_own_times(answer: ModelAnswer, values: Mapping[str, Any]) -> ModelAnswer:
    """Latency as the engine measured it: waiting behind other callers' requests is not this Variant's."""
    timings = values.get("timings")
    if not isinstance(timings, dict):
        return answer
    prompt_ms, predicted_ms = timings.get("prompt_ms"), timings.get("predicted_ms")
    if not isinstance(prompt_ms, int | float) or not isinstance(predicted_ms, int | float):
        return answer
    return replace(answer, latency_ms=float(prompt_ms + predicted_ms), time_to_first_token_ms=float(prompt_ms))
