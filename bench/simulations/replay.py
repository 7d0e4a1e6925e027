"""Recorded outcomes of an A/B test, dealt out again in random order to whatever rule asks:
what the replays of real logs share.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rules.ramps import Ramp


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Recorded units: ``n`` of them, ``good`` with the better outcome."""

    n: int
    good: int

    def __add__(self, other: Arm) -> Arm:
        return Arm(n=self.n + other.n, good=self.good + other.good)

    @property
    def mean(self) -> float:
        return self.good / self.n

    def halves(self, rng: np.random.Generator) -> tuple[Arm, Arm]:
        """Split in two by chance: A against A."""
        n = self.n // 2
        good = int(rng.hypergeometric(self.good, self.n - self.good, n))
        return Arm(n=n, good=good), Arm(n=self.n - n, good=self.good - good)


class Deck:
    """What is left of an arm; dealt without replacement, since units that were not dealt yet are in no order."""

    def __init__(self, arm: Arm) -> None:
        self.good, self.bad = arm.good, arm.n - arm.good

    @property
    def left(self) -> int:
        return self.good + self.bad

    def deal(self, rng: np.random.Generator, n: int) -> int:
        """Good ones among the next ``n``."""
        good = int(rng.hypergeometric(self.good, self.bad, n)) if n else 0
        self.good, self.bad = self.good - good, self.bad - (n - good)
        return good


def replay(
    rng: np.random.Generator, ramp: Ramp, candidate: Arm, champion: Arm, *, block: int, ships_at_end: bool
) -> tuple[str, int, float]:
    """How the rule ends the rollout, outcomes used, and those of the candidate.

    When the log of an arm is used up, a rule by the clock ships, any other is inconclusive.
    """
    deck_c, deck_b, seen, on_candidate = Deck(candidate), Deck(champion), 0, 0
    while True:
        n_c = int(rng.binomial(block, ramp.share))
        rest = 1 - ramp.share
        n_b = (
            block - n_c
            if ramp.champion_share >= rest - 1e-12
            else int(rng.binomial(block - n_c, ramp.champion_share / rest))
        )
        if n_c > deck_c.left or n_b > deck_b.left:
            return "promote" if ships_at_end else "inconclusive", seen, on_candidate
        seen, on_candidate = seen + n_c + n_b, on_candidate + n_c
        ending = ramp.after(n_c, deck_c.deal(rng, n_c), n_b, deck_b.deal(rng, n_b))
        if ending:
            return ending, seen, on_candidate


def cookie_cats(folder: Path, field: str) -> dict[str, Arm]:
    """Users per version and how many came back (retention_1 or retention_7)."""
    counts: dict[str, list[int]] = {}
    for row in _rows(folder / "cookie_cats"):
        counts.setdefault(row["version"], []).append(int(row[field]))
    return {version: Arm(n=len(values), good=sum(values)) for version, values in counts.items()}


def open_bandit(folder: Path) -> dict[str, Arm]:
    """Impressions and clicks per recorded policy."""
    counts: dict[str, list[int]] = {}
    for row in _rows(folder / "open_bandit"):
        counts.setdefault(row["policy"], []).append(int(row["click"]))
    return {policy: Arm(n=len(values), good=sum(values)) for policy, values in counts.items()}


@dataclass(frozen=True, kw_only=True)
class HeadlineTest:
    """One headline test; ``risky`` = run in the weeks for which the archive warns of faulty assignment."""

    arms: tuple[Arm, ...]
    risky: bool


def upworthy(folder: Path) -> list[HeadlineTest]:
    rows = []
    for path in sorted((folder / "upworthy").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            expected: dict[str, Any] = json.loads(line)["expected"]
            arms = tuple(Arm(n=a["impressions"], good=a["clicks"]) for a in expected["arms"])
            rows.append(HeadlineTest(arms=arms, risky=bool(expected["srm_risk_period"])))
    return rows


def _rows(folder: Path) -> list[dict[str, str]]:
    rows = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows += list(csv.DictReader(file))
    return rows
