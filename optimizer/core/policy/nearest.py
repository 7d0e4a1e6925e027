"""Nearest examples: which examples of a frozen index one request is shown in place of the Variant's own.

The Variant's own examples are its fixed rendering: what goes out where nothing of the index is like the request, and
where who renders has no index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.knob import Knob
from optimizer.core.family.rendering import render_open
from optimizer.core.family.variant import FewShot, Variant
from optimizer.core.models.budget import BYTES_PER_TOKEN, prompt_bytes

NEAREST: Final = "nearest"  # beside the models of knob ``examples``; no model of a policy has this name
MOST_NEAREST = 32
DEFAULT_MAX_TOKENS = 2000

INDEX = Knob(
    name="examples.index",
    kind="text",
    meaning=(
        "The hash of the list from which nearest examples are taken; strategy nearest makes one of the released"
        " training examples. Where it is gone the prompt's own examples are shown."
    ),
)
SCOPE = Knob(
    name="examples.scope",
    kind="text",
    meaning=(
        "An input, such as a customer's name: only examples with the request's own value of it are found; absent: a"
        " release says that an example may be shown to every user."
    ),
)
MAX_TOKENS = Knob(
    name="examples.max_tokens",
    kind="integer",
    low=1,
    high=1_000_000,
    default=DEFAULT_MAX_TOKENS,
    meaning=(
        "Tokens of nearest examples at most, four bytes for one; those farther from the request are left out first;"
        " raising it: dearer, slower and mostly better."
    ),
)
KNOBS = (INDEX, SCOPE, MAX_TOKENS)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestExamples:
    """``k``: how many are shown at most."""

    k: int
    index: str
    scope: str | None = None
    max_tokens: int = DEFAULT_MAX_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownExamples:
    """The Variant as one request is shown it.

    ``is_nearest``: its examples are the nearest ones, of which the last ones are most like the request. ``is_missing``:
    they should be, and the index is not at hand.
    """

    variant: Variant
    is_nearest: bool = False
    is_missing: bool = False

    @property
    def kind(self) -> Literal["nearest", "fixed"]:
        return NEAREST if self.is_nearest else "fixed"

    def fewer(self, n: int) -> tuple[FewShot, ...]:
        """The first ``n`` examples; of nearest ones those that are most like the request."""
        examples = self.variant.examples
        return examples[max(0, len(examples) - n) :] if self.is_nearest else examples[:n]


def nearest_of(policy: Mapping[str, Any]) -> NearestExamples | None:
    """What a valid policy says; None where it shows the Variant's own examples."""
    examples = policy.get("examples")
    if not isinstance(examples, Mapping) or not examples.get(NEAREST):
        return None
    return NearestExamples(
        k=examples[NEAREST],
        index=str(policy.get(INDEX.name)),
        scope=policy.get(SCOPE.name),
        max_tokens=policy.get(MAX_TOKENS.name) or DEFAULT_MAX_TOKENS,
    )


def fixed_rendering(variant: Variant) -> Variant | None:
    """The Variant as who cannot look up nearest examples shows it; None for one that shows no nearest ones."""
    if nearest_of(variant.policy) is None:
        return None
    policy = {name: value for name, value in variant.policy.items() if name not in {knob.name for knob in KNOBS}}
    of_models = {model: n for model, n in policy.pop("examples").items() if model != NEAREST}
    return replace(variant, policy={**policy, "examples": of_models} if of_models else policy)


def needs_server(variant: Variant) -> bool:
    """Whether who fills in messages cannot answer as the Variant says: its policy asks models, or fills in records."""
    return not variant.messages or bool((fixed_rendering(variant) or variant).policy)


def read_nearest(values: Mapping[str, Any], faults: list[Fault]) -> NearestExamples | None:
    """The same of well-typed knobs; what is wrong goes to ``faults``."""
    k = values.get("examples", {}).get(NEAREST)
    if k is None:
        faults += [
            Fault(pointer=f"/{knob.name}", detail=f"{knob.name} needs examples: {{{NEAREST}: 4}}; leave it out")
            for knob in KNOBS
            if knob.name in values
        ]
        return None
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= MOST_NEAREST:
        detail = f"of the nearest examples 1 to {MOST_NEAREST} are shown, not {k!r}"
        faults.append(Fault(pointer=f"/examples/{NEAREST}", detail=detail))
        return None
    if INDEX.name not in values:
        detail = f"nearest examples need {INDEX.name}, the hash of a list of examples; strategy nearest makes one"
        faults.append(Fault(pointer=f"/examples/{NEAREST}", detail=detail))
        return None
    return nearest_of(values)


def with_nearest(variant: Variant, nearest: NearestExamples, ranked: Iterator[FewShot]) -> ShownExamples:
    """The Variant with the nearest examples, the nearest one last; as it is where none can be shown.

    An example that the prompt cannot show, since it lacks an input, is passed over.

    Args:
        ranked: examples, the nearest one first.
    """
    own, left = prompt_bytes(render_open(Variant(messages=variant.messages)), {}), nearest.max_tokens * BYTES_PER_TOKEN
    shown: list[FewShot] = []
    for shot in ranked:
        try:
            n_bytes = prompt_bytes(render_open(Variant(messages=variant.messages, examples=(shot,))), {}) - own
        except InvalidInput:
            continue
        left -= n_bytes
        if left < 0:
            break
        shown.append(shot)
        if len(shown) == nearest.k:
            break
    if not shown:
        return ShownExamples(variant=variant)
    return ShownExamples(variant=Variant(messages=variant.messages, examples=tuple(shown[::-1])), is_nearest=True)
