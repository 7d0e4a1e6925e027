"""The kind ``prompt``: a Variant is messages for a model, an example a text that may be quoted,
and a study asks models under a budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.declaration.policy_rules import declared_faults, policy_faults
from optimizer.core.family.family import Family, PromptVersion, kind
from optimizer.core.family.metrics import usual_metric
from optimizer.core.family.rendering import expected_text, parse_output
from optimizer.core.family.variant import DEFAULT_SPACE, Variant
from optimizer.core.search.strategy import DEFAULT_STRATEGY, REPLAY

# Training examples at most that every tier of a cascade answers, and a third of it in dev and holdout.
ASKED_OF_TIERS = 1_200
STEPS_TESTED = 32  # proposals of a cascade that one look may test in sequence: twice as many keep hardly more


@kind(name="prompt")
class PromptKind:
    asks_models = True
    runs_pipeline = False
    may_lack_inputs = False
    default_space = DEFAULT_SPACE
    default_strategy = DEFAULT_STRATEGY

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
            # several ``model.tiers`` are a cascade in every version whose policy names no tiers of its own
            policy=version.policy
            if len(declared.tiers) < 2 or "tiers" in version.policy
            else {"tiers": list(declared.tiers), **version.policy},
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
        faults += family.example_faults(variant)
        return faults + [replace(fault, pointer=f"/policy{fault.pointer}") for fault in policy_faults(variant.policy)]

    def default_metrics(self, family: Family) -> Mapping[str, float]:
        return {usual_metric(family.output.parser): 1.0}

    def example_fault(self, family: Family, input: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
        missing = [name for name in family.inputs if input.get(name) in (None, "")]
        if missing:
            return f"the input {missing[0]!r} is missing or empty"
        unknown = [name for name in input if name not in family.inputs]
        if unknown:
            return f"the family has no input {unknown[0]!r}" + did_you_mean(unknown[0], family.inputs)
        wrong = [
            n for n, declared in family.inputs.items() if declared.type == "text" and not isinstance(input[n], str)
        ]
        if wrong:
            return f"the input {wrong[0]!r} is no text"
        if expected.get(family.output.field) in (None, ""):
            return f"expected has no {family.output.field!r}" if family.needs_expected else None
        try:
            parsed = parse_output(family.output, expected_text(family.output, expected))
        except InvalidInput as e:
            return e.detail
        if parsed.error and family.output.labels:
            return f"{expected[family.output.field]!r} is no label of the family" + did_you_mean(
                str(expected[family.output.field]), family.output.labels
            )
        if parsed.error:
            return f"the expected {family.output.field} does not pass the family's own parser ({family.output.parser})"
        return None

    def check_correction(self, family: Family, input: Mapping[str, Any] | None, expected: Mapping[str, Any]) -> None:
        field, labels = family.output.field, family.output.labels
        if labels and parse_output(family.output, expected_text(family.output, expected)).error:
            meant = did_you_mean(str(expected[field]), labels)  # what was said is not quoted: it may name a person
            detail = f"has as {field!r} no label of family {family.name!r}{meant}"
            raise InvalidInput(
                f"/expected {detail}" + ("" if meant else "."), [Fault(pointer="/expected", detail=detail)]
            )
        missing = [name for name in family.inputs if input is not None and name not in input]
        if missing:
            detail = f"has no {', '.join(missing)}, which family {family.name!r} needs to learn from a correction"
            raise InvalidInput(f"/input {detail}.", [Fault(pointer="/input", detail=detail)])

    def kept_of(self, input: Mapping[str, Any]) -> dict[str, Any]:
        return dict(input)

    def strategy_fault(self, names: Sequence[str]) -> str | None:
        return None

    def study_sizes(self, family: Family, names: Sequence[str]) -> Mapping[str, int]:
        """Thresholds of a cascade are found on every example there is, within reason, and so is their loss: each is
        asked about once per tier, and what 80 examples prove is mostly nothing.
        """
        n_holdout = family.rollout.gates.n
        if tuple(names) != (REPLAY,):
            return {"n_holdout": n_holdout}
        third = ASKED_OF_TIERS // 3
        return {
            "n_train": ASKED_OF_TIERS,
            "n_dev": third,
            "n_holdout": max(third, n_holdout),
            "n_settings": STEPS_TESTED,
        }
