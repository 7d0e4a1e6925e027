"""Whether answers use what tools have found, told without a model: for the suites of families whose inputs hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.core.family.fields import Output
from optimizer.core.family.rendering import value_text
from optimizer.core.policy.answer_checks import (
    CheckedAnswer,
    holds_facts,
    is_empty,
    says_not_found,
    tool_results_ignored,
)


def uses_tools(output: Output, input: Mapping[str, Any], tools: Sequence[str], text: str) -> bool | None:
    """Whether an answer says something of what the tools found, and not that nothing was found.

    Args:
        tools: the inputs that hold what tools found.
    Returns:
        None: the tools found nothing that an answer could use, such as an error or an empty list.
    """
    results = [(name, value_text(input[name])) for name in tools if name in input]
    if not any(holds_facts(result) for _, result in results):
        return None
    others = {name: value for name, value in input.items() if name not in tools}
    answered = CheckedAnswer(text=text, output=output, input=others, tool_results=results)
    return not (is_empty(answered) or tool_results_ignored(answered) or says_not_found(answered))
