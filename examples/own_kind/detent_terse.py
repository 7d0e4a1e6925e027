"""A kind of family of one's own (docs/how-to/add-a-kind-of-family.md)."""

from dataclasses import replace

from optimizer.core.declaration.prompt_kind import PromptKind
from optimizer.core.family.family import kind
from optimizer.jobs.studies.kinds.kind import studies_of
from optimizer.jobs.studies.kinds.prompt import PromptStudy

LONGEST = 12  # tokens of an answer


@kind(name="terse")
class Terse(PromptKind):
    """Prompts whose answers are a few words, whatever the file says."""

    def default_strategy(self, family, *, is_moved=False):
        return "settings"

    def variant(self, family, version):
        variant = super().variant(family, version)
        return replace(variant, model={**variant.model, "max_tokens": min(LONGEST, variant.model["max_tokens"])})


@studies_of(name="terse")
class TerseStudy(PromptStudy):
    """Priced and evaluated as studies of prompts are."""
