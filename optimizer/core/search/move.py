"""A move to another model: what a search varies then, and whether its winner may take the champion's place.

The old model is to go, so nothing has to be gained. The question is whether quality is kept: a loss of the family's
margin or more has to be ruled out on the sealed examples. Where it is not, the answer says whether the new model was
shown to be worse, or whether the examples cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import TypedDict

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.phrasing import dollars

if TYPE_CHECKING:
    from optimizer.core.family.variant import Variant

NAMING = ("tiers", "votes.models")  # knobs of a policy that name models

MoveVerdict = Literal["safe", "not_safe", "cannot_tell"]


class MoveRecord(TypedDict):
    """``not_safe``: the score was shown to be lower, or too many examples lose; ``cannot_tell``: neither that nor
    that it is kept.
    """

    from_model: str
    to_model: str
    verdict: MoveVerdict


def moved(variant: Variant, model: str) -> Variant:
    """The same prompt and settings with ``model`` in the place of its own, also where its policy names that one."""
    before = variant.model["name"]
    named: dict[str, Any] = {
        knob: [model if name == before else name for name in variant.policy[knob]]
        for knob in NAMING
        if variant.policy.get(knob)
    }
    if before in (shown := dict(variant.policy.get("examples") or {})):
        shown[model] = shown.pop(before)
        named["examples"] = shown
    return replace(variant, model={**variant.model, "name": model}, policy={**variant.policy, **named})


def space_of_move(space: Mapping[str, Any], model: str) -> dict[str, Any]:
    """What a study may vary beside the model, which stays the new one."""
    fixed = {"model", *(f"policy.{knob}" for knob in NAMING)}
    return {**{name: entry for name, entry in space.items() if name not in fixed}, "model": {"choices": [model]}}


def check_move(champion: Variant, model: str, *, unusable: Sequence[str]) -> None:
    """Raises InvalidInput where there is nothing to move.

    Args:
        unusable: strategies of the study that cannot search for another model.
    """
    if champion.model["name"] == model:
        detail = f"The champion asks {model!r} already, so there is nothing to move."
    elif any(model in (champion.policy.get(knob) or ()) for knob in NAMING):
        detail = (
            f"The champion's policy asks {model!r} already, beside {champion.model['name']!r}. Serve it without its"
            " other models: detent variant create, then detent study confirm."
        )
    elif unusable:
        detail = (
            f"Strategy {' and '.join(unusable)} compares with the champion's own model all the way. Name others, such"
            " as bootstrap+settings."
        )
    else:
        return
    raise InvalidInput(detail, [Fault(pointer="/move_to", detail=detail)])


def verdict_of(*, is_confirmed: bool, is_lower: bool, is_risky: bool) -> MoveVerdict:
    """``is_lower``: the score was shown to be lower at the confidence that the move needs; ``is_risky``: more examples
    lose than may.
    """
    if is_confirmed:
        return "safe"
    return "not_safe" if is_lower or is_risky else "cannot_tell"


HEADINGS: Mapping[MoveVerdict, str] = {
    "safe": "Safe to switch",
    "not_safe": "Not safe to switch",
    "cannot_tell": "Cannot tell whether to switch",
}


def beside_in_words(figures: Mapping[str, Any]) -> str:
    """Dollars of a call and p95 of both models on the sealed examples; what was not measured for both is said so."""

    def change(name: str, shown: Any, what: str) -> str:
        before, after = figures.get(f"champion_{name}"), figures.get(f"winner_{name}")
        return f"{what} not measured" if before is None or after is None else f"{shown(before)} to {shown(after)}"

    cost = change("cost_usd", lambda usd: f"{dollars(usd)} a call", "dollars")
    return f"{cost}; {change('p95_ms', lambda ms: f'p95 {ms:.0f} ms', 'latency')}"
