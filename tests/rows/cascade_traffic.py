"""Requests that a cascade of two tiers served, drawn by chance and written as the gateway writes them;
what is true of them is known.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.feedback.events import FeedbackEvent, Interaction, LaterParts
from optimizer.core.policy.steps import draw_of
from tests.rows.event_rows import rows_of
from tests.stores import arm
from tests.worlds.study_world import START, TOPICS, World, topic_family

CHEAP, STRONG = "cheap", "strong"
USD = (1.0, 10.0)
RIGHT_STRONG = 0.9
HERE = START - timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """``right``: cheap, strong. ``corrected``: a correction came."""

    sure: float
    right: tuple[bool, bool]
    corrected: bool
    topic: int

    def said(self, tier: int) -> str:
        return TOPICS[(self.topic + (not self.right[tier]) * (1 + tier)) % 3]

    def score(self, tier: int) -> float:
        reference = TOPICS[self.topic] if self.corrected else self.said(1)
        return float(self.said(tier) == reference)

    def of(self, accept: float) -> tuple[float, float, float]:
        """(quality, cost_usd, loss) at a threshold."""
        tier = 0 if self.sure >= accept else 1
        return self.score(tier), USD[0] + tier * USD[1], self.score(1) - self.score(tier)


def drawn(rng: random.Random, *, corrected: float = 0.3, loss: float = 0.8) -> Request:
    """The surer the cheap tier, the more often it is right."""
    sure = round(rng.random(), 2)
    right = rng.random() < RIGHT_STRONG - loss * (1 - sure), rng.random() < RIGHT_STRONG
    return Request(sure=sure, right=right, corrected=rng.random() < corrected, topic=rng.randrange(3))


def cascade_family(name: str = "topics", **changes: Any) -> Family:
    return topic_family(name=name, model={"default": STRONG, "tiers": [CHEAP, STRONG], "max_tokens": 8}, **changes)


def cascade_variant(family: Family, accept: float, **policy: Any) -> Variant:
    return replace(family.variant(), policy={"tiers": [CHEAP, STRONG], "accept": accept, **policy})


def part(
    request: Request, tier: int, purpose: str = "answer", *, taken: bool = False, **changes: Any
) -> dict[str, Any]:
    made = {"tier": tier, "model": (CHEAP, STRONG)[tier], "purpose": purpose, "cost_usd": USD[tier], "latency_ms": 5.0}
    sure = {"confidence": request.sure if tier == 0 else 0.9}
    return {**made, **sure, **({"taken": True} if taken else {"output": request.said(tier)}), **changes}


@dataclass
class Traffic:
    """Writes requests for one variant of a world's family."""

    world: World
    variant: Variant
    rng: random.Random
    n: int = 0

    def serve(self, requests: list[Request], *, lost: float = 0.0) -> None:
        """As the gateway does: audits by the id's own draw.

        ``lost``: share of the audits of which nothing is written.
        """
        accept, share = float(self.variant.policy["accept"]), float(self.variant.policy.get("audit_share", 0.02))
        interactions, later, feedback = [], [], []
        for request in requests:
            self.n += 1
            id, of = (
                f"in_{self.rng.getrandbits(80):020x}",
                arm(family=self.world.family.name, variant=self.variant.id, rollout=None),
            )
            tier = 0 if request.sure >= accept else 1
            at = HERE + timedelta(milliseconds=self.n)
            when = {"occurred_at": at, "received_at": at, "content_hash": id}
            parts = [part(request, place, taken=place == tier) for place in range(tier + 1)]
            interactions.append(Interaction(id=id, arm=of, output=request.said(tier), parts=parts, **when))
            if draw_of(id) < share and tier == 0 and self.rng.random() >= lost:
                audit = [part(request, 1, "audit")]
                later.append(LaterParts(family=of.family, interaction=id, parts=audit, cost_usd=USD[1], received_at=at))
            if request.corrected:
                told = {"interaction": id, "expected": {"topic": TOPICS[request.topic]}, "source": "person"}
                feedback.append(FeedbackEvent(id=f"fb_{id}", arm=of, **when, **told))

        def write(tx: Any) -> None:
            events = self.world.store.events
            events.add_new(tx, rows_of(interactions), rows_of(feedback))
            for row in later:
                events.add_later_parts(tx, row)

        self.world.store.write(write)
