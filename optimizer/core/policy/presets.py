"""Named settings of a policy that belong together: how sure an answer must be, and how hard it is tried for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.phrasing import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """``accept``: of a cascade; ``threshold`` and ``retries``: of its quality gate."""

    accept: float
    threshold: float
    retries: int
    meaning: str

    def policy(self, present: Mapping[str, Any]) -> dict[str, Any]:
        """The knobs to lay over a policy; those of a cascade only where it is one."""
        knobs: dict[str, Any] = {"gate.threshold": self.threshold, "gate.retries": self.retries}
        if present.get("tiers"):
            knobs["accept"] = self.accept
            if isinstance(refine := present.get("refine"), int | float) and refine > self.accept:
                knobs["refine"] = self.accept  # which may not lie above
        return knobs


PRESETS: Mapping[str, Preset] = {
    "quick": Preset(accept=0.70, threshold=0.85, retries=2, meaning="fewer calls, some weaker answers"),
    "thorough": Preset(accept=0.90, threshold=0.95, retries=5, meaning="better answers, dearer and slower"),
}


def preset_named(name: str) -> Preset:
    """Raises InvalidInput for an unknown one."""
    preset = PRESETS.get(name)
    if preset is None:
        known = did_you_mean(name, PRESETS) or f"; known: {', '.join(PRESETS)}"
        detail = f"there is no preset {name!r:.80}{known}"
        raise InvalidInput(f"This is no servable variant: {detail}.", [Fault(pointer="/preset", detail=detail)])
    return preset
