"""Feature flags of the environment: a pure function of a mapping, applied to a policy.

The result is a Variant of its own (docs/adr/0014): no study searched or confirmed it, so it is served under its own id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.family.variant import Variant
from optimizer.core.views.family import EnvironmentView

SWITCHES: Mapping[str, str] = {
    "ENABLE_QUALITY_FILTERING": "filter.enabled",
    "ENABLE_CONTENT_ROUTING": "route.enabled",
    "ENABLE_EARLY_EXIT": "exit.enabled",
}
THRESHOLDS: Mapping[str, str] = {
    "QUALITY_MIN_OVERALL": "filter.min_overall",
    "QUALITY_MIN_COHERENCE": "filter.min_coherence",
}
METRICS = "ENABLE_DASHBOARD_METRICS"
REASON = "overridden by environment"
_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the environment says.

    ``knobs`` are laid over the policy; ``records_metrics`` is whether outcomes are recorded (default: yes).
    """

    knobs: Mapping[str, Any] = field(default_factory=dict)
    records_metrics: bool = True

    def view(self, champion: str) -> EnvironmentView | None:
        """What they change of the champion of a family that runs the pipeline; None where they change nothing."""
        if not self.knobs:
            return None
        return EnvironmentView(variables=self.variables, knobs=self.knobs, instead_of=champion)

    def over(self, policy: Mapping[str, Any]) -> dict[str, Any]:
        """The policy with the flags on top.

        A threshold from the environment holds for every content type: types' own numbers go.
        """
        unflagged = {
            name: value
            for name, value in policy.items()
            if not any(name.startswith(f"{knob}.") for knob in self.knobs if knob in THRESHOLDS.values())
        }
        return {**unflagged, **self.knobs}

    @property
    def variables(self) -> dict[str, Any]:
        """The variables of the environment that change a policy, each with its value as read."""
        return {
            variable: self.knobs[knob] for variable, knob in {**SWITCHES, **THRESHOLDS}.items() if knob in self.knobs
        }

    def __str__(self) -> str:
        return ", ".join(f"{variable}={value:g}" for variable, value in self.variables.items())

    def overridden(self, variant: Variant) -> Variant:
        """The Variant that is served instead of this one; another id wherever the flags change anything."""
        return replace(variant, policy=self.over(variant.policy))


def read_flags(environment: Mapping[str, str]) -> Flags:
    """The flags of an environment; a variable that is unset or empty says nothing.

    Raises:
        InvalidInput: names every variable that is no switch, or no number from 0 to 1.
    """
    knobs: dict[str, Any] = {}
    faults: list[Fault] = []
    records_metrics = True
    for variable in (*SWITCHES, METRICS):
        text = environment.get(variable, "").strip().lower()
        if text and text not in _WORDS:
            faults.append(
                Fault(pointer=f"/{variable}", detail=f"{variable} is {environment[variable]!r}; write 1 or 0")
            )
        elif text and variable == METRICS:
            records_metrics = _WORDS[text]
        elif text:
            knobs[SWITCHES[variable]] = _WORDS[text]
    for variable, knob in THRESHOLDS.items():
        text = environment.get(variable, "").strip()
        if text:
            try:
                value = float(text)
            except ValueError:
                value = nan
            if not 0 <= value <= 1:
                faults.append(
                    Fault(
                        pointer=f"/{variable}",
                        detail=f"{variable} is {text!r}; write a number from 0 to 1, such as 0.65",
                    )
                )
            else:
                knobs[knob] = value
    if faults:
        raise InvalidInput(
            "The environment's flags cannot be read: " + "; ".join(f.detail for f in faults) + ".", faults
        )
    return Flags(knobs=knobs, records_metrics=records_metrics)
