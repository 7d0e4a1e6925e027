"""The recorded cascades, read in place: what each model answered to each query, how surely,
at what cost, and whether it was right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from common import SHARED

from optimizer.core.search.cascade.records import TierRecords

FOLDER = SHARED / "data" / "cascade_logs"
CONFIDENT_SETS = ("rlc_mmlu", "rlc_medmcqa", "rlc_triviaqa", "rlc_gsm8k", "rlc_truthfulqa")
QUERY_SETS = ("routellm_mmlu", "routellm_gsm8k", "routellm_mtbench")
# Dollars per million tokens as RouteLLM's paper has them (Ong et al. 2024, arXiv:2406.18665, section 5); nothing was
# recorded per query.
SET_PRICES = {"mistralai/Mixtral-8x7B-Instruct-v0.1": 0.24, "gpt-4-1106-preview": 24.7}


@dataclass(frozen=True, kw_only=True)
class Logs:
    """One set. Tiers by mean cost on train, cheapest first; queries in the same order as the rows."""

    name: str
    train: TierRecords
    dev: TierRecords
    train_queries: tuple[str, ...]
    dev_queries: tuple[str, ...]

    @property
    def pool(self) -> TierRecords:
        """Train and dev together: the truth from which training rows are drawn."""
        both = {
            f: np.concatenate([getattr(self.train, f), getattr(self.dev, f)])
            for f in ("score", "cost_usd", "latency_ms", "confidence", "weight")
        }
        return replace(self.train, **both)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Every ordered pair, the cheaper first; models that cost the same are no pair."""
        usd = dict(zip(self.train.tiers, self.train.cost_usd.mean(axis=0), strict=True))
        yield from ((a, b) for a, b in combinations(self.train.tiers, 2) if usd[a] < usd[b])


def read(name: str) -> Logs | None:
    """None: the data is not there."""
    if not (FOLDER / name / "train.jsonl").exists():
        return None
    parts = {
        split: [
            json.loads(line)
            for line in (FOLDER / name / f"{split}.jsonl").read_text(encoding="utf-8").split("\n")
            if line
        ]
        for split in ("train", "dev")
    }
    models = [
        m
        for m in parts["train"][0]["expected"]["models"]
        if all(m in row["expected"]["models"] for part in parts.values() for row in part)
    ]
    usd = {m: np.mean([_usd(row["expected"]["models"][m], m) for row in parts["train"]]) for m in models}
    tiers = sorted(models, key=lambda m: (usd[m], m))
    records = {
        split: TierRecords.from_rows([{"tiers": _tiers(row, tiers)} for row in rows], tiers)
        for split, rows in parts.items()
    }
    queries = {split: tuple(str(row["input"]["query"]) for row in rows) for split, rows in parts.items()}
    return Logs(
        name=name,
        train=records["train"],
        dev=records["dev"],
        train_queries=queries["train"],
        dev_queries=queries["dev"],
    )


def _tiers(row: Mapping[str, Any], tiers: list[str]) -> dict[str, dict[str, Any]]:
    tables = {}
    for name in tiers:
        one = row["expected"]["models"][name]
        tables[name] = {
            "score": one["correct"] if "correct" in one else one["quality"],
            "cost_usd": _usd(one, name),
            "latency_ms": one["latency_ms"],
            "confidence": one["confidence"],
        }
    return tables


def _usd(one: Mapping[str, Any], model: str) -> float:
    return (
        float(one["cost_usd"]) if one["cost_usd"] is not None else SET_PRICES[model] / 1000
    )  # a thousand tokens a query
