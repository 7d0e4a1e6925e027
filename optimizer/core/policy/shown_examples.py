"""How many of a Variant's examples each model is shown:
the same model with a short and with a long prompt is a cheap and a dear tier.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optimizer.core.base.errors import Fault, pointer_of
from optimizer.core.base.knob import Knob
from optimizer.core.family.variant import Message, Variant

EXAMPLES = Knob(
    name="examples",
    kind="data",
    meaning=(
        "How many of the prompt's few-shot examples a model is shown, the first ones, by its name; raising one makes"
        " this model dearer, slower and mostly better. A model that is not named is shown all."
    ),
)


def read_examples(values: Mapping[str, Any], models: Collection[str], faults: list[Fault]) -> Mapping[str, int]:
    """Model > number of examples.

    ``models``: all that the policy asks by name; none where it asks the Variant's own alone.
    """
    named: dict[str, int] = {}
    for model, n in values.get(EXAMPLES.name, {}).items():
        at = pointer_of([EXAMPLES.name, model])
        if not isinstance(n, int) or isinstance(n, bool) or n < 0:
            faults.append(Fault(pointer=at, detail=f"a model is shown 0 examples or more, not {n!r}"))
        elif models and model not in models:
            faults.append(
                Fault(
                    pointer=at,
                    detail=(
                        f"this policy asks no model {model!r}; it asks {', '.join(sorted(models))}. Name one of these."
                    ),
                )
            )
        else:
            named[str(model)] = n
    return named


def messages_of_fewer(
    examples: Mapping[str, int], variant: Variant, rendered: Callable[[Variant], Sequence[Message]]
) -> dict[str, Sequence[Message]]:
    """Model > what it is sent, for those that are shown fewer examples than the Variant has.

    All others are sent it whole.

    Args:
        rendered: a Variant's messages for this request: the one way in which it is rendered whole, too.
    Raises:
        What ``rendered`` raises.
    """
    return {
        model: rendered(replace(variant, examples=variant.examples[:n]))
        for model, n in examples.items()
        if n < len(variant.examples)
    }
