"""Families of kind policy: their versions hold knobs in place of messages, which are checked when the file is read.

Also whether a recorded item can be learned from, at its import and where a user corrects its quality.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from optimizer.content.core.policy.pipeline import knob_of, read_policy, unknown_knob, value_fault
from optimizer.content.core.records.fields import BY_NAME, is_of_kind, range_of, values_of
from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.base.knob import is_share
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.family.variant import Variant, is_to_be_learned


def policy_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """The faults in the policies of a family's versions, and in the rest of the file that concerns them.

    Without versions only the rest is checked.
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
    """A slot of the space that is no knob, or whose values leave the knob's range; the form is checked
    for every space.
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


def item_fault(
    input: Mapping[str, Any], expected: Mapping[str, Any], *, known: Collection[str], worth: str
) -> str | None:
    """Why not, in words that quote no value; None where it can. Values that are missing or empty were not measured.

    Args:
        known: the family's inputs.
        worth: the field of ``expected`` that says what the item turned out to be worth, from 0 to 1.
    """
    unknown = [name for name in input if name not in known]
    if unknown:
        return f"the family has no input {unknown[0]!r}" + did_you_mean(unknown[0], known)
    measured = measured_of(input)
    if not measured:
        return "nothing was measured of the item"
    try:
        values_of(measured)
    except InvalidInput as fault:
        # What is wrong with these fields; the same words for every item with the same fields, so that an import counts
        # them together.
        wrong = [f.pointer.strip("/") for f in fault.faults]
        kinds = [name for name in wrong if not is_of_kind(BY_NAME[name], measured[name])]
        ranges = [f"{name} lies {range_of(BY_NAME[name])}" for name in wrong if name not in kinds]
        parts = [f"of another kind than declared: {', '.join(kinds)}"] if kinds else []
        return "; ".join([*parts, f"out of range: {', '.join(ranges)}"] if ranges else parts)
    quality = expected.get(worth)
    return f"expected has no {worth!r} from 0 to 1" if not is_share(quality) else None


def measured_of(input: Mapping[str, Any]) -> dict[str, Any]:
    """The values that were measured."""
    return {name: value for name, value in input.items() if value not in (None, "")}
