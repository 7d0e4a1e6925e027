"""Well-behaved clients: they fetch prompts, report events until these are acknowledged, and chat.

What each was told is kept.

Work comes in rounds of a fixed mixture. In a closed loop the rounds of a second are the capacity; in an open loop
requests come at random moments (Poisson) whether or not the ones before were answered, and a wait counts from the
moment at which the request was due.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from time import monotonic
from typing import Any

import aiohttp

from bench.siege.besieged import FAMILY, FEEDBACK_KEY, SERVE_KEY

PROMPTS, POSTS, EVENTS, CHATS = 20, 2, 10, 1  # a round: so many fetches, posts of so many events each, chats
AT_ONCE = 16  # of the closed loop; connections of a backend that keeps a pool for each kind of request
PATIENCE_S = 2.0  # with a prompt; a client has the one before it
ANSWER_S, DRAIN_S = 15.0, 60.0  # patience with an acknowledgement or a chat; with what is left at the end
UNITS = 5000
LOST = (aiohttp.ClientError, TimeoutError, OSError)


class Clients:
    """Used on one event loop. ``prompts``: (due, seconds or None) of each fetch; times are monotonic."""

    def __init__(self, url: str, pools: Mapping[str, aiohttp.ClientSession]) -> None:
        self._url, self._pools, self._draw = url, pools, random.Random(1)
        self._open: set[asyncio.Task[None]] = set()
        self._n_posts = 0
        self.prompts: list[tuple[float, float | None]] = []
        self.posts: list[int] = []  # acknowledged, by number
        self.chats: list[str] = []  # answered, by id
        self.told: Counter[str] = Counter()  # other answers

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str) -> AsyncIterator[Clients]:
        """Each kind has connections of its own, so that slow chats keep no prompt waiting."""
        async with AsyncExitStack() as pools:
            kinds = ("prompt", "feedback", "chat")
            connectors = (aiohttp.TCPConnector(limit=AT_ONCE) for _ in kinds)
            sessions = [await pools.enter_async_context(aiohttp.ClientSession(connector=one)) for one in connectors]
            yield cls(url, dict(zip(kinds, sessions, strict=True)))

    async def capacity(self, seconds: float) -> float:
        """Rounds a second of clients who each wait for an answer before they ask again."""
        until, began = monotonic() + seconds, monotonic()
        done = await asyncio.gather(*(self._rounds(until) for _ in range(AT_ONCE)))
        return sum(done) / (PROMPTS + POSTS + CHATS) / (monotonic() - began)

    async def _rounds(self, until: float) -> int:
        kinds = [self._prompt] * PROMPTS + [self._post] * POSTS + [self._chat] * CHATS
        self._draw.shuffle(kinds)
        n = 0
        while monotonic() < until:
            await kinds[n % len(kinds)](monotonic())
            n += 1
        return n

    async def load(self, rounds_a_second: float, ended: asyncio.Event) -> None:
        """All kinds at their share of so many rounds, until ``ended``; then what is open is waited for."""
        rates = ((self._prompt, PROMPTS), (self._post, POSTS), (self._chat, CHATS))
        await asyncio.gather(*(self._arrivals(ask, n * rounds_a_second, ended) for ask, n in rates))
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await asyncio.gather(*self._open)

    async def _arrivals(self, ask: Callable[[float], Awaitable[None]], rate: float, ended: asyncio.Event) -> None:
        due = monotonic()
        while not ended.is_set():
            due += self._draw.expovariate(rate)
            await asyncio.sleep(max(0.0, due - monotonic()))
            task = asyncio.ensure_future(ask(due))
            self._open.add(task)
            task.add_done_callback(self._open.discard)

    async def _prompt(self, due: float) -> None:
        took = None
        with suppress(*LOST):
            path = f"/v1/families/{FAMILY}/prompt?unit=u{self._draw.randrange(UNITS)}"
            status, _ = await self._ask("prompt", "GET", path, SERVE_KEY, PATIENCE_S)
            if status == 200:
                took = monotonic() - due
            else:
                self.told[f"prompt {status}"] += 1
        self.prompts.append((due, took))

    async def _post(self, due: float) -> None:
        """The same events again until they are acknowledged, as a client does that must not lose any."""
        n, self._n_posts = self._n_posts, self._n_posts + 1
        events = [event_of(n, i) for i in range(EVENTS)]
        while True:
            with suppress(*LOST):
                status, answer = await self._ask("feedback", "POST", "/v1/feedback", FEEDBACK_KEY, ANSWER_S, events)
                if status == 200 and not answer["rejected"]:
                    self.posts.append(n)
                    return
                self.told[f"feedback {status}"] += 1
                if status < 500 and status != 429:
                    return
            await asyncio.sleep(self._draw.uniform(0.2, 1.0))

    async def _chat(self, due: float) -> None:
        """Asked once: without an answer a client cannot know whether there is one."""
        body = {
            "model": FAMILY,
            "user": f"u{self._draw.randrange(UNITS)}",
            "messages": [{"role": "user", "content": "My bill is wrong"}],
        }
        with suppress(*LOST):
            status, answer = await self._ask("chat", "POST", "/v1/chat/completions", SERVE_KEY, ANSWER_S, body)
            if status == 200:
                self.chats.append(answer["id"])
            else:
                self.told[f"chat {status}"] += 1

    async def _ask(
        self, kind: str, method: str, path: str, key: str, patience_s: float, body: object = None
    ) -> tuple[int, dict[str, Any]]:
        head, timeout = {"authorization": f"Bearer {key}"}, aiohttp.ClientTimeout(total=patience_s)
        async with self._pools[kind].request(
            method, self._url + path, json=body, headers=head, timeout=timeout
        ) as answer:
            return answer.status, await answer.json(content_type=None)


def event_of(post: int, index: int) -> dict[str, object]:
    about = {"family": FAMILY, "unit": f"u{post % UNITS}", "source": "user", "output": "billing", "latency_ms": 12.5}
    return {**about, "id": event_id(post, index), "success": index % 3 > 0}


def event_id(post: int, index: int) -> str:
    return f"siege-{post}-{index}"
