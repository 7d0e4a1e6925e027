"""The kind ``policy``: a Variant is knobs of the content pipeline, an example a recorded item, a study a replay.

A replay asks no model. Every home asks which kinds there are, so a pipeline's parts are imported only when a family is
of this kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.family.family import Family, PromptVersion, kind
from optimizer.core.family.variant import Variant
from optimizer.core.search.strategy import REPLAY

REPLAYED_ON = 10_000  # recorded items of either split at most, where nothing is paid for one


@kind(name="policy")
class PolicyKind:
    asks_models = False
    runs_pipeline = True
    may_lack_inputs = True
    default_space: Mapping[str, Mapping[str, Any]] = {}

    def default_strategy(self, family: Family, *, is_moved: bool = False) -> str:
        return REPLAY

    def declared_faults(self, data: Mapping[str, Any]) -> Iterator[Fault]:
        from optimizer.content.core.declared import policy_faults

        return policy_faults(data)

    def variant(self, family: Family, version: PromptVersion) -> Variant:
        return Variant(messages=(), policy=version.policy)

    def variant_faults(self, family: Family, variant: Variant) -> list[Fault]:
        from optimizer.content.core.declared import variant_faults

        return [*variant_faults(variant), *family.example_faults(variant)]

    def default_metrics(self, family: Family) -> Mapping[str, float]:
        return {"processed_quality": 1.0}

    def example_fault(self, family: Family, input: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
        from optimizer.content.core.declared import item_fault

        return item_fault(input, expected, known=family.inputs, worth=family.output.field)

    def check_correction(self, family: Family, input: Mapping[str, Any] | None, expected: Mapping[str, Any]) -> None:
        if input is None:
            return
        if (fault := self.example_fault(family, family.declared_inputs(input), expected)) is not None:
            raise InvalidInput(
                f"No item of family {family.name!r} can be learned from: {fault}.",
                [Fault(pointer="/input", detail=fault)],
            )

    def kept_of(self, input: Mapping[str, Any]) -> dict[str, Any]:
        from optimizer.content.core.declared import measured_of

        return measured_of(input)

    def strategy_fault(self, names: Sequence[str]) -> str | None:
        if tuple(names) == (REPLAY,):
            return None
        return (
            "a family of kind policy has no prompt, and its knobs are searched on recorded items. Name strategy"
            f" {REPLAY}, or none"
        )

    def study_sizes(self, family: Family, names: Sequence[str]) -> Mapping[str, int]:
        return {"n_train": REPLAYED_ON, "n_dev": REPLAYED_ON, "n_holdout": 2 * family.rollout.gates.n}
