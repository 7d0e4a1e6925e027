"""What clients of the benchmark report: an answer with its outcome, and an outcome alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

N_IN_TURN = 200  # families of a grown home that report in turn, each with the same successes and scores in the long run
ANSWER = "The customer asks about an invoice that was charged twice; the topic of the request is billing."


def answered(token: str, i: int) -> dict[str, Any]:
    """An interaction and its outcome: two rows."""
    return {
        "assignment": token,
        "output": ANSWER,
        "model": "small",
        "latency_ms": 120.0 + i % 50,
        "cost_usd": 0.0004,
        "input_tokens": 310,
        "output_tokens": 24,
        **_judged(i),
    }


def outcome(token: str, i: int) -> dict[str, Any]:
    """An outcome: one row."""
    return {"assignment": token, **_judged(i), "source": "user"}


def _judged(i: int) -> dict[str, Any]:
    """As a grown home has them, so that no rule of alerts sees a family do worse than in the weeks before."""
    step = i + i // N_IN_TURN
    return {"success": step % 5 > 0, "score": (step % 10 + 0.5) / 10}


KINDS = {"answers with outcomes (two rows each)": answered, "outcomes (one row each)": outcome}


def posts(tokens: Sequence[str], kind: str, *, batch: int, n: int) -> list[str]:
    """n requests; each event of one has another unit's token. None has an id, so that each counts whenever it comes."""
    make = KINDS[kind]
    bodies = []
    for post in range(n):
        events = [make(tokens[(post * batch + i) % len(tokens)], post * batch + i) for i in range(batch)]
        bodies.append(json.dumps(events if batch > 1 else events[0], separators=(",", ":")))
    return [f"POST /v1/feedback {body}" for body in bodies]
