"""What a kind of family answers, and the table of the kinds there are.

Everything else asks the kind, and compares no names.

What a kind answers about its studies with the store at hand is ``optimizer/jobs/studies/kinds/kind.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from optimizer.core.base.errors import Fault

if TYPE_CHECKING:
    from optimizer.core.family.family import Family, PromptVersion
    from optimizer.core.family.variant import Variant

KindName = Literal["prompt", "policy"]
KINDS: Mapping[
    str, str
] = {  # ``kind`` in family.yaml -> where its answers stand: by name, since they know rooms above this one
    "prompt": "optimizer.core.declaration.prompt_kind:PROMPT",
    "policy": "optimizer.content.core.kind:POLICY",
}


class FamilyKind(Protocol):
    """Stateless: everything it needs to know of a family it is given."""

    asks_models: (
        bool  # then texts are quoted, paid for, reviewed and timed; else Variants are replayed on recorded examples
    )
    runs_pipeline: bool  # a Variant is a configuration of the content pipeline, which the environment may override
    may_lack_inputs: bool  # an example need not have every input: what is missing was not measured

    # its file and its Variants
    default_space: Mapping[str, Mapping[str, Any]]

    def declared_faults(self, data: Mapping[str, Any]) -> Iterable[Fault]:
        """What is wrong with the plain data of a family, beyond the rules of every kind."""

    def variant(self, family: Family, version: PromptVersion) -> Variant:
        """What a version of the file serves."""

    def variant_faults(self, family: Family, variant: Variant) -> list[Fault]:
        """What is wrong with a Variant that a person made, with pointers into its content."""

    # its examples
    def default_metrics(self, family: Family) -> Mapping[str, float]:
        """What scores where the file names no metric."""

    def example_fault(self, family: Family, input: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
        """Why an imported row cannot be an example, in words that many rows share and that quote no value; None
        where it can.
        """

    def check_correction(self, family: Family, input: Mapping[str, Any] | None, expected: Mapping[str, Any]) -> None:
        """Raises InvalidInput where nothing can be learned from a correction.

        It has the family's output; ``input`` None: sent without one.
        """

    def kept_of(self, input: Mapping[str, Any]) -> dict[str, Any]:
        """What of an example's input is stored."""

    # its studies
    default_strategy: str

    def strategy_fault(self, names: Sequence[str]) -> str | None:
        """Why these strategies cannot search it, as the end of a sentence; None where they can."""

    def study_sizes(self, family: Family, names: Sequence[str]) -> Mapping[str, int]:
        """Default sizes for a study's definition, by what an example costs."""


def kind_of(family: Family) -> FamilyKind:
    return _named(family.kind)


def declared_kind(data: Mapping[str, Any]) -> FamilyKind | None:
    """Of the plain data of a family; None where it names no kind that there is."""
    name = data.get("kind", "prompt")
    return _named(name) if isinstance(name, str) and name in KINDS else None


@cache
def _named(name: str) -> FamilyKind:
    return cast(FamilyKind, resolve_name(KINDS[name]))
