"""How long each way through the pipeline takes, as a share of full processing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from optimizer.content.core.records.fields import CHECKPOINTS

_EXITS = dict(zip(CHECKPOINTS, (0.02, 0.08, 0.10, 0.60), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeModel:
    """Shares of the time of full processing, each from 0 to 1; ``exits`` by checkpoint.

    That the light way takes .15 is given. The exits are assumed: what stands before them has been paid for, and an exit
    after the filter costs less than the light way, which goes on from there.
    Give your own where you have measured them.
    """

    full: float = 1.0
    lightweight: float = 0.15
    exits: Mapping[str, float] = field(default_factory=lambda: dict(_EXITS))


TIMES = TimeModel()
