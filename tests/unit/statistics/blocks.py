"""Blocks of outcomes as short as a test can say them."""

from __future__ import annotations

from functools import reduce

from optimizer.core.statistics.outcomes import Block, Outcomes

LADDER = (0.10, 0.25, 0.50, 0.75)


def block(n_c: int, s_c: int, n_b: int, s_b: int, *, stage: int = 0) -> Block:
    return Block(stage=stage, candidate=Outcomes.binary(n_c, s_c), champion=Outcomes.binary(n_b, s_b))


def scores(c: list[float], b: list[float]) -> Block:
    return Block(stage=0, candidate=Outcomes.of(c), champion=Outcomes.of(b))


def after_all(gate, blocks):
    return reduce(lambda so_far, each: so_far.after(each), blocks, gate)
