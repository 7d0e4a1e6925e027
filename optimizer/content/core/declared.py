"""Families of kind policy: their prompt versions hold knobs in place of messages, checked when the file is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from optimizer.content.core.policy.pipeline import knob_of, read_policy, unknown_knob, value_fault
from optimizer.core.base.errors import Fault, pointer_of
from optimizer.core.family.variant import Variant, is_to_be_learned


def policy_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with the policies of a family's versions and with what stands around them.

    Without versions only that is checked.
    """
    if data.get("targets") is not None:
        yield Fault(
            pointer="/targets",
            detail="targets are checked by asking a model, and a family of kind policy asks none; remove targets",
        )
    prompt = data.get("prompt")
    versions = prompt.get("versions") if isinstance(prompt, Mapping) else None
    if not isinstance(versions, Mapping):
        return
    for name, version in versions.items():
        at = ["prompt", "versions", name]
        if isinstance(version, Mapping):
            yield from _version_faults(version, at)
    space = data.get("space")
    for slot, entry in space.items() if isinstance(space, Mapping) else ():
        yield from slot_faults(str(slot), entry)


def variant_faults(variant: Variant) -> list[Fault]:
    """What is wrong with a Variant of such a family, with pointers into its content."""
    faults = read_policy(variant.policy, "/policy")[1]
    if variant.messages:
        faults.append(
            Fault(pointer="/messages", detail="a family of kind policy calls no model; leave the messages out")
        )
    return faults


def _version_faults(version: Mapping[str, Any], at: list[Any]) -> Iterator[Fault]:
    for key in ("content", "tools", "response_format"):
        if version.get(key):
            detail = f"a family of kind policy calls no model; remove {key}, or make it kind: prompt"
            yield Fault(pointer=pointer_of([*at, key]), detail=detail)
    policy = version.get("policy")
    if not policy and not (policy is not None and not isinstance(policy, Mapping)):
        yield Fault(
            pointer=pointer_of(at),
            detail="there is no policy; give at least one knob, such as policy: {filter.min_overall: 0.65}",
        )
    elif isinstance(policy, Mapping):
        yield from read_policy(policy, pointer_of([*at, "policy"]))[1]


def slot_faults(slot: str, entry: Any) -> Iterator[Fault]:
    """A slot of the space whose name is no knob, or whose values leave the knob's range;
    its form is judged with every space.
    """
    pointer = pointer_of(["space", slot])
    name = slot.removeprefix("policy.")
    if name == slot:
        yield Fault(
            pointer=pointer,
            detail=f"a family of kind policy varies policy.<knob> only, and {slot!r} belongs to a prompt",
        )
        return
    knob = knob_of(name)
    if knob is None:
        yield Fault(pointer=pointer, detail=unknown_knob(name))
        return
    values = next(iter(entry.values()), None) if isinstance(entry, Mapping) and len(entry) == 1 else None
    for value in values if isinstance(values, list | tuple) else ():
        if is_to_be_learned(slot, value):
            continue
        problem = None if knob.kind == "list" else value_fault(knob, name, value)
        faults = read_policy({name: value})[1] if knob.kind in ("list", "data") else []
        if problem or faults:
            yield Fault(pointer=pointer, detail=problem or faults[0].detail)
            return
