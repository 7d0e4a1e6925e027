"""What is wrong with the policy of a prompt: checked where a family is loaded and where a Variant is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.family.family import Family
from optimizer.core.policy.policy import KNOBS, parse_policy
from optimizer.core.policy.refinement import JUDGE, SCORER, SCORERS
from optimizer.core.policy.validator import VALIDATE_FACTS
from optimizer.core.search.answer_bounds import options_of
from optimizer.core.search.cascade.learned import signal_faults

ASKING_JUDGE = (SCORER.name, VALIDATE_FACTS.name)
NO_JUDGE = "the family has no judge, so no answer would have a score; name one in its family.yaml: judge: {model: ...}"


def policy_faults(policy: Mapping[str, Any]) -> Sequence[Fault]:
    """Every fault with its JSON pointer into the policy; none for a policy that can be executed."""
    try:
        parse_policy(policy)
    except InvalidInput as error:
        return error.faults
    return ()


def own_function_unknown(dotted: Any, family: str) -> str:
    """Why a gate may not score with a function that the family's file does not name, as a sentence."""
    return (
        f"the file of family {family!r} names no function {dotted!r:.80}, and only what a file names is imported; write"
        " it as gate.scorer of a version's policy, or as a choice of space policy.gate.scorer, in"
        f" families/{family}/family.yaml"
    )


def own_function_faults(policy: Mapping[str, Any], family: Family, pointer: str = "/policy") -> Iterator[Fault]:
    """A gate's function in a policy from outside the files, where the family's file does not name it, and a judge that
    the file does not name.
    """
    scorer = policy.get("gate.scorer")
    if family.judge is None:
        for knob in _asking_judge(policy):
            yield Fault(pointer=pointer + pointer_of([knob]), detail=NO_JUDGE)
    if isinstance(scorer, str) and scorer not in (*SCORERS, *family.own_functions):
        yield Fault(pointer=pointer + pointer_of(["gate.scorer"]), detail=own_function_unknown(scorer, family.name))


def space_policy_faults(space: Mapping[str, Any], family: Family, pointer: str) -> Iterator[Fault]:
    """A study's own space over the knobs of a prompt family's policy: each checked as the file's,
    and no function but the file's.
    """
    for slot, entry in space.items():
        if not (isinstance(slot, str) and slot.startswith("policy.") and isinstance(entry, Mapping)):
            continue
        yield from (replace(fault, pointer=pointer + fault.pointer) for fault in _slot_faults(slot, entry))
        if slot in (f"policy.{SCORER.name}", f"policy.{VALIDATE_FACTS.name}"):
            for value in entry.get("choices", ()):
                for fault in own_function_faults({slot.removeprefix("policy."): value}, family):
                    yield replace(fault, pointer=pointer + pointer_of(["space", slot]))


def declared_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Of a family file of kind prompt: the policies of its versions and the knobs that its space varies,
    each at its place in the file.
    """
    prompt, model, has_judge = _mapping(data.get("prompt")), _mapping(data.get("model")), data.get("judge") is not None
    is_cascade = isinstance(model.get("tiers"), list | tuple) and len(model["tiers"]) > 1
    for name, version in _mapping(prompt.get("versions")).items():
        policy = _mapping(_mapping(version).get("policy"))
        at = pointer_of(["prompt", "versions", name, "policy"])
        for fault in policy_faults(policy):
            yield replace(fault, pointer=at + fault.pointer)
        if not has_judge:
            yield from (Fault(pointer=at + pointer_of([knob]), detail=NO_JUDGE) for knob in _asking_judge(policy))
        if not is_cascade and "tiers" not in policy:
            for knob in ("accept", "accept.2", "accept.3", "refine", "skip", "fall_back", "audit_share"):
                if knob in policy:
                    yield Fault(
                        pointer=at + pointer_of([knob]),
                        detail=(
                            f"{knob} belongs to a cascade, and there is none; name at least two models in model.tiers,"
                            " or remove it"
                        ),
                    )
    for slot, entry in _mapping(data.get("space")).items():
        if isinstance(slot, str) and slot.startswith("policy."):
            yield from _slot_faults(slot, _mapping(entry))
    if not has_judge:
        space = _mapping(data.get("space"))
        for knob in ASKING_JUDGE:
            if JUDGE in options_of(space, f"policy.{knob}"):
                yield Fault(pointer=pointer_of(["space", f"policy.{knob}"]), detail=NO_JUDGE)


def _asking_judge(policy: Mapping[str, Any]) -> list[str]:
    """The knobs with which this policy asks the family's judge."""
    return [knob for knob in ASKING_JUDGE if policy.get(knob) == JUDGE]


def _slot_faults(slot: str, entry: Mapping[str, Any]) -> Iterator[Fault]:
    """A knob that is none, and values that leave its range; the entry's form is judged with every space."""
    name, pointer = slot.removeprefix("policy."), pointer_of(["space", slot])
    knob = next((knob for knob in KNOBS if knob.name == name), None)
    if knob is None:
        yield from (replace(fault, pointer=pointer) for fault in policy_faults({name: None}))
        return
    values = next(iter(entry.values()), None)
    if name == "confidence":
        yield from signal_faults({slot: entry})
        return
    for value in values if isinstance(values, list | tuple) else ():
        detail = None if value is None else knob.fault(value)
        if detail is not None:
            yield Fault(pointer=pointer, detail=detail)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
