"""How the parts of a study share a cap of calls, and which cap is enough for all of them: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping

from optimizer.core.base.values import NONE, Spread
from optimizer.core.search.run_off import RUN_OFF

CONFIRMATION, CHAMPION, PROPOSALS = "confirmation", "champion", "proposals"  # parts beside the strategies
FIRST = (CHAMPION, PROPOSALS)  # paid for before, or along with, the first strategy


def total(parts: Mapping[str, Spread]) -> Spread:
    return sum(parts.values(), start=NONE)


def within(parts: Mapping[str, Spread], cap: int | None) -> dict[str, Spread]:
    """The parts under a cap: the confirmation is set aside, the champion comes first,
    then one strategy after the other until nothing is left.

    Expected calls add up to what the whole study is expected to make. The least a part has is what others leave that
    take their most, and the other way round.
    """
    if cap is None:
        return dict(parts)
    room = max(0.0, cap - parts.get(CONFIRMATION, NONE).high)
    rest = Spread(low=room, expected=room, high=room)
    spreads = {CONFIRMATION: parts[CONFIRMATION].capped(cap)} if CONFIRMATION in parts else {}
    for name in _in_turn(parts):
        part = parts[name]
        got = Spread(
            low=min(part.low, rest.low), expected=min(part.expected, rest.expected), high=min(part.high, rest.high)
        )
        rest = Spread(
            low=max(0.0, rest.low - part.high), expected=rest.expected - got.expected, high=rest.high - got.low
        )
        spreads[name] = got
    return {name: spreads[name] for name in parts}


def without_a_sure_turn(parts: Mapping[str, Spread], cap: int | None) -> tuple[str, ...]:
    """The strategies for which nothing is left under the cap if those before them take their most."""
    if cap is None:
        return ()
    room = cap - parts.get(CONFIRMATION, NONE).high
    unsure = []
    for name in _in_turn(parts):
        if room <= 0 and name not in (*FIRST, RUN_OFF) and parts[name].high > 0:
            unsure.append(name)
        room -= parts[name].high
    return tuple(unsure)


def _in_turn(parts: Mapping[str, Spread]) -> list[str]:
    others = [name for name in parts if name not in (*FIRST, CONFIRMATION)]
    return [name for name in FIRST if name in parts] + others
