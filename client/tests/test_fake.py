"""The fake for an application's own tests."""

from __future__ import annotations

import asyncio
import threading

from detent_client.testing import FakeAsyncClient, FakeClient


def answer(detent, user: str, text: str) -> str:
    """As an application has it."""
    with detent.prompt("triage", unit=user, message=text) as p:
        p.record(p.messages[-1]["content"].upper())
    detent.feedback(p, success=user != "bob")
    return p.messages[-1]["content"]


def test_a_fake_serves_what_it_was_given_and_keeps_what_it_was_told() -> None:
    before = threading.active_count()
    detent = FakeClient({"triage": "Is it {{message}}?"}, units={("triage", "bob"): "For Bob: {{message}}"})
    assert [answer(detent, user, "slow") for user in ("ann", "bob")] == ["Is it slow?", "For Bob: slow"]
    assert [event["output"] for event in detent.interactions] == ["IS IT SLOW?", "FOR BOB: SLOW"]
    assert [event["success"] for event in detent.outcomes] == [True, False]
    assert detent.outcomes[0]["interaction"] == detent.interactions[0]["id"]
    assert detent.flush()
    detent.close()
    assert threading.active_count() == before


def test_a_fake_on_asyncio_does_the_same() -> None:
    async def main() -> None:
        detent = FakeAsyncClient({"triage": [{"role": "user", "content": "{{message}}"}]})
        async with detent.prompt("triage", unit="ann", message="x") as p:
            p.record("y")
        assert len(detent.events) == 1
        await detent.aclose()

    asyncio.run(main())
