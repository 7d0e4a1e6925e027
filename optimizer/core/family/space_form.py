"""The form of a declared space. ``core/search/space.py`` turns it into the dimensions of a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.base.errors import Fault
from optimizer.core.base.knob import is_number
from optimizer.core.family.generation_settings import NAME, setting_fault

DEFAULT_SPACE: Mapping[str, Mapping[str, Any]] = {
    "instruction": {"propose": True},
    "examples": {"max": 6},
    "temperature": {"float": [0.0, 1.0]},
}

POLICY = "policy."
CONFIDENCE = "policy.confidence"
SCORE_SLOT = "policy.score"
_RANGES = ("float", "int", "choices")
FORMS: Mapping[str, tuple[str, ...]] = {
    "instruction": ("propose", "choices"),
    "examples": ("max",),
    "temperature": ("float", "choices"),
    "max_tokens": ("int", "choices"),
    "top_p": ("float", "choices"),
    "frequency_penalty": ("float", "choices"),
    "presence_penalty": ("float", "choices"),
    "model": ("choices",),
}
_SHOWN = {
    "propose": "{propose: true}",
    "max": "{max: 6}",
    "float": "{float: [0.0, 1.0]}",
    "int": "{int: [16, 64]}",
    "choices": "{choices: [a, b]}",
}


def varied_knobs(space: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs of a policy that a space varies: by name, without the slot's ``policy.``, each with its entry."""
    return {slot.removeprefix(POLICY): entry for slot, entry in space.items() if slot.startswith(POLICY)}


def is_to_be_learned(slot: str, option: Any) -> bool:
    """Whether an option is a predictor or a score without data: strategy replay is to train it."""
    if slot == SCORE_SLOT:
        return isinstance(option, Mapping) and option.get("kind") == "learned" and not option.get("types")
    return (
        slot == CONFIDENCE
        and isinstance(option, Mapping)
        and option.get("kind") == "predictor"
        and not (option.get("before") or option.get("after"))
    )


def space_faults(space: Any, pointer: str = "/space") -> list[Fault]:
    """Everything wrong with a declared space; empty when it can be searched."""
    if not isinstance(space, Mapping):
        return [
            Fault(
                pointer=pointer,
                detail="the space is a mapping of slots to ranges, such as {temperature: {float: [0.0, 1.0]}}",
            )
        ]
    faults = []
    for slot, entry in space.items():
        problem = _slot_problem(str(slot), entry)
        if problem:
            faults.append(Fault(pointer=f"{pointer}/{slot}", detail=problem))
    return faults


def _slot_problem(slot: str, entry: Any) -> str | None:
    is_policy = slot.startswith(POLICY) and len(slot) > len(POLICY)
    forms = _RANGES if is_policy else FORMS.get(slot)
    if forms is None:
        return f"there is no slot {slot!r} to vary; use {', '.join(FORMS)} or policy.<name>"
    expected = f"give {slot} as {' or '.join(_SHOWN[f] for f in forms)}"
    if not isinstance(entry, Mapping):
        return f"{entry!r} is no range; {expected}"
    if slot == "examples" and isinstance(entry.get("order", False), bool):
        entry = {k: v for k, v in entry.items() if k != "order"}
    if slot == "instruction" and "choices" in entry and isinstance(entry.get("propose", False), bool):
        entry = {k: v for k, v in entry.items() if k != "propose"}
    if len(entry) != 1 or next(iter(entry)) not in forms:
        return f"{dict(entry)!r} does not fit; {expected}"
    ((form, value),) = entry.items()
    problem = _value_problem(form, value) or (None if is_policy else _setting_problem(slot, form, value))
    return f"{problem}; {expected}" if problem else None


def _value_problem(form: str, value: Any) -> str | None:
    if form == "propose":
        return None if isinstance(value, bool) else f"propose is true or false, not {value!r}"
    if form == "max":
        return None if _is_int(value) and value >= 0 else f"max is a whole number of 0 or more, not {value!r}"
    if form == "choices":
        return (
            None
            if isinstance(value, list | tuple) and value
            else f"choices is a list of at least one value, not {value!r}"
        )
    fits = _is_int if form == "int" else is_number
    if not (isinstance(value, list | tuple) and len(value) == 2 and all(fits(v) for v in value)):
        return f"{form} takes two finite numbers [low, high], not {value!r:.80}"
    return None if value[0] <= value[1] else f"the low end {value[0]} lies above the high end {value[1]}"


def _setting_problem(slot: str, form: str, value: Any) -> str | None:
    """A value of the range that is none of the setting: what a search puts into a Variant is sent with a call."""
    if slot in ("instruction", "examples"):
        texts = value if form == "choices" else ()
        return next(
            (f"an instruction is a text, not {item!r:.80}" for item in texts if not isinstance(item, str)), None
        )
    name = NAME if slot == "model" else slot
    return next((fault for item in value if (fault := setting_fault(name, item)) is not None), None)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
