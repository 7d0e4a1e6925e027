"""Ways to answer the requests of one family, compared on the rows that its users send: each row is asked by ``POST
/v1/chat/completions``, one after another, and scored by the product's scorer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter
from typing import Any

import httpx

from optimizer.core.base.values import REFUSED, ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.scoring import Scorer
from optimizer.demo.screen import Screen
from optimizer.demo.stories import Bar


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedVariant:
    """``variant`` None: there is none, and ``why`` is the sentence that says why."""

    name: str
    variant: str | None
    why: str = ""


class GatewayComparison:
    """The gateway, asked about ``rows``, which no search saw."""

    def __init__(self, *, family: str, rows: Sequence[Example], scorer: Scorer, gateway: str) -> None:
        self._family, self._scorer = family, scorer
        self.rows = rows
        self._http = httpx.Client(base_url=gateway, timeout=120.0, trust_env=False)

    def ask(self, example: Example, *, user: str | None = None, variant: str | None = None) -> dict[str, Any]:
        """The gateway's answer. It may take a moment to hear of a new variant."""
        detent: dict[str, Any] = {"variables": dict(example.input)} | (
            {"variant": variant} if variant is not None else {}
        )
        body: dict[str, Any] = {"model": self._family, "messages": [], "detent": detent} | (
            {"user": user} if user is not None else {}
        )
        answered: dict[str, Any] = self._http.post("/v1/chat/completions", json=body).raise_for_status().json()
        return answered

    def compare(self, screen: Screen, variants: Sequence[ComparedVariant]) -> tuple[Bar, ...]:
        """Every variant that there is on every row, told as a table."""
        say, bars, answering = screen.say, list[Bar](), dict[str, Counter[str]]()
        n_calls = len(self.rows) * sum(one.variant is not None for one in variants)
        with screen.bars() as progress:
            for one in variants:
                if one.variant is None:
                    continue
                results = list[ExampleResult]()
                for example in self.rows:
                    results.append(self._result(example, one.variant))
                    n = len(bars) * len(self.rows) + len(results)
                    progress.show("comparison", n, n_calls, f"{one.name}, {n} of {n_calls} requests")
                answering[one.name] = Counter(r.answered_by for r in results if r.answered_by is not None)
                waited = median(result.latency_ms or 0.0 for result in results)
                bars.append(replace(Bar.of(one.name, results), ms=waited))
        say(
            f"  The {len(self.rows)} rows that users send, answered in each way, one after another. No search saw them,"
        )
        say("  or another row of their parameters' names:")
        say(f"    {'':<44}right answers (95 % interval)   $ per 1,000 calls   ms a call, median")
        for bar in bars:
            interval = f"{bar.score:.2f} ({bar.low:.2f} to {bar.high:.2f})"
            say(f"    {bar.name:<44}{interval:>29}{bar.usd or 0.0:>20.4f}{bar.ms or 0.0:>20.0f}")
        say("    Milliseconds are those of this machine, as busy as it is now.")
        for name, tiers in answering.items():
            if tiers:
                who = (f"{n} {'' if tier == REFUSED else 'by '}{tier}" for tier, n in tiers.most_common())
                say(f"    Of the answers by {name}: {', '.join(who)}")
        for one in variants:
            if one.variant is None:
                say(f"    {one.name}: not measured. {one.why}")
        return tuple(bars)

    def close(self) -> None:
        self._http.close()

    def _result(self, example: Example, variant: str) -> ExampleResult:
        """A refusal has no content, and scores what the empty answer scores."""
        began = perf_counter()
        answer = self.ask(example, variant=variant)
        waited_ms = 1000 * (perf_counter() - began)
        text, detent = answer["choices"][0]["message"]["content"] or "", answer["detent"]
        return ExampleResult(
            example=example.id,
            score=self._scorer.score(example.expected, text, example.input).value,
            output=text,
            cost_usd=detent["cost_usd"],
            latency_ms=waited_ms,
            answered_by=REFUSED if detent.get("refused") else detent.get("tier"),
        )
