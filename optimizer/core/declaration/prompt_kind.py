"""The kind ``prompt``: a Variant is messages for a model, an example may be quoted, and studies ask models for money.

Faults in the policy of a prompt are found where a family is loaded and where a Variant is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optimizer.core.base.canonical import table_of
from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.family.family import Family, PromptVersion, kind
from optimizer.core.family.metrics import usual_metric
from optimizer.core.family.rendering import expected_text, parse_output
from optimizer.core.family.variant import DEFAULT_SPACE, Variant, repeated_slots
from optimizer.core.policy.policy import KNOBS, parse_policy
from optimizer.core.policy.refinement import JUDGE, SCORER, SCORERS
from optimizer.core.policy.validator import VALIDATE_FACTS
from optimizer.core.search.answer_bounds import options_of
from optimizer.core.search.cascade.learned import signal_faults
from optimizer.core.search.strategy import DEFAULT_STRATEGY, REPLAY

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


def own_function_faults(policy: Mapping[str, Any], family: Family) -> Iterator[Fault]:
    """Functions and judges that a gate's policy from outside the files uses, and that the family's file
    does not name.
    """
    scorer = policy.get("gate.scorer")
    if family.judge is None:
        for knob in _asking_judge(policy):
            yield Fault(pointer=pointer_of(["policy", knob]), detail=NO_JUDGE)
    if isinstance(scorer, str) and scorer not in (*SCORERS, *family.own_functions):
        yield Fault(pointer=pointer_of(["policy", "gate.scorer"]), detail=own_function_unknown(scorer, family.name))


def space_policy_faults(space: Mapping[str, Any], family: Family, pointer: str) -> Iterator[Fault]:
    """The faults of a study's own space over policy knobs: checked like the file's, and with no function but the
    file's.
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
    """The faults of a family file of kind prompt: in its versions' policies and in the knobs of its space, with their
    places.
    """
    prompt, model, has_judge = table_of(data.get("prompt")), table_of(data.get("model")), data.get("judge") is not None
    tiers = model.get("tiers")
    is_cascade = isinstance(tiers, list | tuple) and list(tiers) not in ([], [model.get("default", "embedded")])
    for name, version in table_of(prompt.get("versions")).items():
        policy = table_of(table_of(version).get("policy"))
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
    for slot, entry in table_of(data.get("space")).items():
        if isinstance(slot, str) and slot.startswith("policy."):
            yield from _slot_faults(slot, table_of(entry))
    if not has_judge:
        space = table_of(data.get("space"))
        for knob in ASKING_JUDGE:
            if JUDGE in options_of(space, f"policy.{knob}"):
                yield Fault(pointer=pointer_of(["space", f"policy.{knob}"]), detail=NO_JUDGE)


def _asking_judge(policy: Mapping[str, Any]) -> list[str]:
    """The knobs with which this policy asks the family's judge."""
    return [knob for knob in ASKING_JUDGE if policy.get(knob) == JUDGE]


def _slot_faults(slot: str, entry: Mapping[str, Any]) -> Iterator[Fault]:
    """Unknown knobs, and values out of their range; the form of an entry is checked for every space."""
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


# Training examples at most that every tier of a cascade answers, and a third of it in dev and holdout.
ASKED_OF_TIERS = 1_200
STEPS_TESTED = 32  # proposals of a cascade that one look may test in sequence: twice as many keep hardly more


@kind(name="prompt")
class PromptKind:
    asks_models = True
    runs_pipeline = False
    may_lack_inputs = False
    default_space = DEFAULT_SPACE

    def default_strategy(self, family: Family, *, is_moved: bool = False) -> str:
        return DEFAULT_STRATEGY if len(family.searched_tiers) < 2 or is_moved else f"{DEFAULT_STRATEGY}+{REPLAY}"

    def declared_faults(self, data: Mapping[str, Any]) -> Iterator[Fault]:
        return declared_faults(data)

    def variant(self, family: Family, version: PromptVersion) -> Variant:
        declared = family.model
        model: dict[str, Any] = {
            "name": declared.default,
            "temperature": declared.temperature,
            "max_tokens": declared.max_tokens,
        }
        if declared.stop:
            model["stop"] = list(declared.stop)
        return Variant(
            messages=tuple(dict(m) for m in version.content),
            model=model,
            tools=version.tools,
            response_format=version.response_format,
            # ``model.tiers`` with several models is a cascade in each version whose policy names no tiers of its own
            policy=version.policy
            if len(family.served_tiers) < 2 or "tiers" in version.policy
            else {"tiers": list(family.served_tiers), **version.policy},
        )

    def variant_faults(self, family: Family, variant: Variant) -> list[Fault]:
        faults = []
        if not variant.variables:
            known = ", ".join(family.inputs)
            faults.append(
                Fault(
                    pointer="/messages",
                    detail=f"no input stands in the messages; write at least one of {{{{name}}}}: {known}",
                )
            )
        roles = [message["role"] for message in variant.messages]
        faults += [Fault(pointer="/messages", detail=detail) for detail in repeated_slots(roles)]
        faults += family.example_faults(variant)
        before, labels = set[str](), family.output.labels if family.output.shown is None else None
        for i, example in enumerate(variant.examples):
            if example.id in before:
                detail = f"{example.id!r:.80} is the id of an example before it"
                faults.append(Fault(pointer=f"/examples/{i}/id", detail=detail))
            before.add(example.id)
            if labels and parse_output(family.output, example.output).error:
                detail = f"is no label of {family.name}{did_you_mean(example.output, labels)}"
                faults.append(Fault(pointer=f"/examples/{i}/output", detail=detail))
        return faults + [replace(fault, pointer=f"/policy{fault.pointer}") for fault in policy_faults(variant.policy)]

    def default_metrics(self, family: Family) -> Mapping[str, float]:
        return {usual_metric(family.output.parser): 1.0}

    def example_fault(self, family: Family, input: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
        if (fault := family.input_fault(input)) is not None:
            return fault
        field = family.output.field
        if expected.get(field) in (None, ""):
            return f"expected has no {field!r}" if family.needs_expected else None
        try:
            parsed = parse_output(family.output, expected_text(family.output, expected))
        except InvalidInput as e:
            return e.detail
        if parsed.error and family.output.labels:
            meant = did_you_mean(str(expected[field]), family.output.labels)
            return f"expected has as {field!r} no label of the family{meant}"
        if parsed.error:
            return f"the expected {field} does not pass the family's own parser ({family.output.parser})"
        return None

    def check_correction(self, family: Family, input: Mapping[str, Any] | None, expected: Mapping[str, Any]) -> None:
        field, labels = family.output.field, family.output.labels
        if labels and parse_output(family.output, expected_text(family.output, expected)).error:
            meant = did_you_mean(str(expected[field]), labels)  # what was said is not quoted: it may name a person
            detail = f"has as {field!r} no label of family {family.name!r}{meant}"
            raise InvalidInput(
                f"/expected {detail}" + ("" if meant else "."), [Fault(pointer="/expected", detail=detail)]
            )
        fault = None if input is None else family.input_fault(family.declared_inputs(input), may_be_empty=True)
        if fault is not None:
            detail = f"teaches family {family.name!r} nothing: {fault}"
            raise InvalidInput(f"/input {detail}.", [Fault(pointer="/input", detail=detail)])

    def kept_of(self, input: Mapping[str, Any]) -> dict[str, Any]:
        return dict(input)

    def strategy_fault(self, names: Sequence[str]) -> str | None:
        return None

    def study_sizes(self, family: Family, names: Sequence[str]) -> Mapping[str, int]:
        """Thresholds of a cascade, and their loss, are found on as many examples as is reasonable.

        Each is asked about once per tier, and 80 examples prove next to nothing. Where other strategies search first,
        each of their candidates is asked about every dev example, so those stay few.
        """
        n_holdout = family.rollout.gates.n
        if REPLAY not in names:
            return {"n_holdout": n_holdout}
        third = ASKED_OF_TIERS // 3
        if len(names) > 1:
            return {"n_train": third, "n_holdout": n_holdout}
        return {
            "n_train": ASKED_OF_TIERS,
            "n_dev": third,
            "n_holdout": max(third, n_holdout),
            "n_settings": STEPS_TESTED,
        }
