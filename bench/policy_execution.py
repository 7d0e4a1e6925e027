"""CPU of a policy's execution per request at 64 requests at once,
beside the same request answered by one call of its model.

    python bench/policy_execution.py [--rounds 15] [--requests 640]

What the gateway does between the parsed request and the answer: the prompt is rendered, the policy is run (guards and
retries included), answers are checked and scored, parts are made. HTTP, the store and the provider's wire are not:
models are stand-ins that sleep 5 ms and answer. CPU is of the whole process, all threads, divided by the requests of a
round; rounds of all cases take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any, cast

import numpy as np
from common import Cell, ratio_interval, write_result

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from api.gateway.chat import answer
from api.gateway.chat_answer import AnsweredCall, ChatResult
from api.gateway.model_side import ModelSide
from api.gateway.policy_answer import answer_by_policy
from api.gateway.reader import Reader
from api.served import ServedChoice
from optimizer.adapters.files.spool import Spool
from optimizer.adapters.models.language_models import Models
from optimizer.adapters.models.model_settings import ModelSettings
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import clip_inputs, render
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest, request_for
from optimizer.core.policy.policy import Policy, parse_policy
from optimizer.core.policy.validator import NAMED_CHECKS
from optimizer.core.predictor.answer_features import FEATURES as OF_ANSWER
from optimizer.core.predictor.predictor import FORMAT
from optimizer.core.predictor.request_features import FEATURES as OF_REQUEST

AT_ONCE = 64
MODEL_S = 0.005
BAR_MS = 3.0
DOCUMENT = (
    "The bridge over the Tagus was opened in 1966 and carries six lanes of road and two tracks of railway across the"
    " river. " * 12
)
TEXT = "A suspension bridge carries road and rail over the Tagus. It was opened in 1966. Two tracks were added later."


def predictor() -> dict[str, Any]:
    names = [*OF_REQUEST, *OF_ANSWER]
    linear = {
        "kind": "linear",
        "centre": [0.0] * len(names),
        "scale": [1.0] * len(names),
        "weights": [0.01] * len(names),
        "intercept": 1.0,
    }
    words = {word: [1.5, 0.1] for word in sorted(set(DOCUMENT.lower().replace(".", "").split()))}
    grams = {
        "kind": "grams",
        "text": "request",
        "analyzer": "word",
        "low": 1,
        "high": 1,
        "lower": True,
        "intercept": 0.0,
        "grams": words,
    }
    return {"format": FORMAT, "answers": "probability", "features": names, "parts": [linear, grams], "trained_on": {}}


ALL_CHECKS = list(NAMED_CHECKS)
TWO: dict[str, Any] = {"tiers": ["small", "large"], "audit_share": 0.0}
CASES: Mapping[str, dict[str, Any]] = {
    "two tiers, the first is sure enough (1 call)": {**TWO, "accept": 0.5},
    "two tiers, the second is asked (2 calls)": {**TWO, "accept": 0.95},
    "two tiers by a learned confidence (2 calls)": {
        **TWO,
        "accept": 1.0,
        "skip": 0.01,
        "confidence": {"kind": "predictor", "before": {"small": predictor()}, "after": {"small": predictor()}},
    },
    "two tiers, all checks, gate with 3 retries (5 calls)": {
        **TWO,
        "accept": 0.95,
        "validate": ALL_CHECKS,
        "validate.then": "escalate",
        "gate.threshold": 0.95,
        "gate.retries": 3,
    },
    "votes of three (3 calls)": {"votes.models": ["small", "middle", "large"]},
}


class StandIn:
    """A LanguageModel that sleeps and answers."""

    revision, price, retries, concurrency, max_output_tokens = (
        "r",
        ModelPrice(input_usd_per_mtok=1, output_usd_per_mtok=2),
        0,
        256,
        60,
    )

    def __init__(self, name: str) -> None:
        self.name = name

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        await asyncio.sleep(MODEL_S)
        return ModelAnswer(
            text=TEXT,
            input_tokens=400,
            output_tokens=24,
            cost_usd=0.0005,
            latency_ms=5.0,
            log_probability=-0.2,
            log_probability_min=-1.0,
            raw_message={"role": "assistant", "content": TEXT},
        )


SETTINGS = ModelSettings(openai_compatible="http://127.0.0.1:9/v1", concurrency=256)


class Catalogue:
    """What config/models.yaml would name."""

    def describe(self, name: str) -> ModelSettings:
        return SETTINGS

    def get(self, name: str) -> StandIn:
        return StandIn(name)

    def price(self, name: str) -> ModelPrice:
        return StandIn.price


@dataclass(frozen=True, kw_only=True)
class ServedFamily:
    """As much of what is served as answering looks at."""

    name: str
    definition: Family


def family() -> Family:
    content = [
        {"role": "system", "content": "Summarize the document in one sentence."},
        {"role": "user", "content": "Document: {{document}}\nSummary:"},
    ]
    return parse_family(
        {
            "name": "summarization",
            "inputs": {"document": {"type": "text", "max_chars": 4000}},
            "output": {"field": "summary", "parser": "text"},
            "prompt": {"current": "1", "versions": {"1": {"content": content}}},
            "model": {"default": "small", "tiers": ["small"]},
        }
    )


_ids = count()


def call_of(definition: Family) -> AnsweredCall:
    """The request as the gateway makes it of a parsed body."""
    variant = definition.variant()
    variables = clip_inputs(definition, {"document": DOCUMENT})
    request = request_for(variant, render(variant, variables), revision="")
    served = ServedChoice(
        family=cast(Any, ServedFamily(name=definition.name, definition=definition)), choice=cast(Any, None), token=""
    )
    return AnsweredCall(
        id=f"in_{next(_ids)}",
        served=served,
        variant=variant,
        request=request,
        input=variables,
        sticky=False,
        rendered=lambda shown: render(shown, variables),
    )


async def one(side: ModelSide, definition: Family, policy: Policy | None) -> ChatResult:
    call, reader = call_of(definition), Reader()
    if policy is None:
        return await side.calls.start(lambda: answer(side, call, reader, streaming=False))
    return await answer_by_policy(side, call, reader, policy)


async def round_ms(n: int, request: Callable[[], Awaitable[ChatResult]]) -> float:
    """CPU in ms per request of one round, so many at once."""
    left = iter(range(n))

    async def client() -> None:
        for _ in left:
            await request()

    started = time.process_time()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return (time.process_time() - started) * 1000 / n


async def measure(rounds: int, n: int) -> dict[str, list[float]]:
    definition, side = family(), ModelSide(catalogue=cast(Models, Catalogue()), spool=Spool(Path("unused")))
    policies: dict[str, Policy | None] = {
        "no policy (1 call)": None,
        **{case: parse_policy(policy) for case, policy in CASES.items()},
    }
    found: dict[str, list[float]] = {case: [] for case in policies}
    for number in range(rounds + 1):
        for case, policy in policies.items():
            ms = await round_ms(n, lambda policy=policy: one(side, definition, policy))  # type: ignore[misc]
            if number:  # the first warms up
                found[case].append(ms)
    for case, policy in policies.items():
        if policy is not None:
            made = await one(side, definition, policy)
            assert case.endswith(f"({len(made.parts)} call{'s' if len(made.parts) > 1 else ''})"), (
                case,
                json.dumps(made.parts),
            )
    side.calls.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=640, help="of a round")
    args = parser.parse_args()
    found = asyncio.run(measure(args.rounds, args.requests))
    plain = found["no policy (1 call)"]
    cells = []
    for case, ms in found.items():
        low, high = quantiles(ms, n=40)[0], quantiles(ms, n=40)[-1]
        ratio, between = float(np.mean(ms) / np.mean(plain)), ratio_interval(ms, plain)
        cell = Cell(
            case=case,
            ours=float(np.median(ms)),
            other=float(np.median(plain)),
            other_name="no policy",
            ratio=ratio,
            low=low,
            high=high,
            unit=(
                f"ms of CPU per request, {AT_ONCE} at once; low and high: 95 % of the rounds; ratio within"
                f" {between[0]:.2f}..{between[1]:.2f}"
            ),
            n=args.rounds,
        )
        cells.append(
            cell
            if case in CASES
            else replace(cell, other=None, other_name="", ratio=None, unit=cell.unit.split("; ratio")[0])
        )
    write_result("policy_execution", cells)
    return 0 if all(cell.ours < BAR_MS for cell in cells) else 1


if __name__ == "__main__":
    raise SystemExit(main())
