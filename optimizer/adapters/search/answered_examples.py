"""Training examples as a variant answers them, with what a proposer is told of each answer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from optimizer.core.base.errors import InvalidInput, ModelFailed
from optimizer.core.dataset.examples import Example
from optimizer.core.family.rendering import expected_text
from optimizer.core.family.variant import Variant
from optimizer.core.search.playbook.clusters import AnsweredExample
from optimizer.core.search.strategy import SearchSetting


def answers(setting: SearchSetting, variant: Variant, batch: Sequence[Example]) -> list[AnsweredExample]:
    """Every example of the batch in turn, through journal and budget; a call that fails measures nothing."""
    return [_answered(setting, variant, example) for example in batch]


def batches(
    examples: Sequence[Example], size: int, draw: random.Random, *, whole: bool = False
) -> Iterator[list[Example]]:
    """Each example once before any comes again, in a new order every time.

    ``whole``: what is left for a smaller batch at the end of an order is left out, unless it is all there is.
    """
    while examples:
        order = draw.sample(examples, len(examples))
        end = max(1, len(order) - size + 1) if whole else len(order)
        yield from (order[i : i + size] for i in range(0, end, size))


def pairs_of(before: Sequence[AnsweredExample], after: Sequence[AnsweredExample]) -> list[tuple[float, float]]:
    """The scores of the same examples before and after, where both could be measured."""
    both = zip(before, after, strict=True)
    return [(b.score, a.score) for b, a in both if b.score is not None and a.score is not None]


def _answered(setting: SearchSetting, variant: Variant, example: Example) -> AnsweredExample:
    try:
        text = setting.answer(variant, example)
    except ModelFailed as failure:
        return AnsweredExample(example=example, text="", score=None, feedback=f"No answer: {failure.detail}")
    try:
        score = setting.scorer.score(example.expected, text, example.input)
        # Empty where the example has no expected output, and the score needs none.
        wanted = (
            ""
            if not setting.family.needs_expected and example.expected.get(setting.family.output.field) in (None, "")
            else f" The expected answer: {expected_text(setting.family.output, example.expected)}"
        )
    except InvalidInput as failure:
        feedback = f"It could not be measured: {failure.detail}"
        return AnsweredExample(example=example, text=text, score=None, feedback=feedback)
    if score.value is None:
        return AnsweredExample(
            example=example, text=text, score=None, feedback=f"It could not be measured: {score.error}"
        )
    unread = f" It cannot be read: {score.error}." if score.error else ""
    judged = f" {score.reasoning}" if score.reasoning else ""
    feedback = f"This answer scores {score.value:.2f} of 1.{unread}{judged}{wanted}"
    return AnsweredExample(example=example, text=text, score=score.value, feedback=feedback)
