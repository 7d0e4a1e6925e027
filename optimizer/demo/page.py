"""The closing page of the demo in HTML: the three stories, each as announced or not, with the prompts before and after
and the evidence over time, and the next three commands. Loads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from optimizer.core.family.variant import Variant
from optimizer.core.views.variant_text import variant_text
from optimizer.demo.plain import in_words
from optimizer.demo.stories import Story
from optimizer.runtime import wiring

Marked = list[tuple[str, str]]  # (CSS class, line)


def demo_page(stories: Sequence[Story], nexts: Sequence[tuple[str, str]], *, took: str, model: str) -> str:
    """The whole page.

    Args:
        nexts: (command, what it is for).
        took: minutes and seconds, such as ``8:31``.
        model: what answered, in words that go on after "with".
    """
    n = sum(story.as_announced for story in stories)
    return wiring.html_page(
        "demo.html",
        stories=stories,
        n_as_announced=n,
        nexts=nexts,
        took=took,
        model=model,
        in_words=in_words,
        side_by_side=side_by_side,
    )


def side_by_side(before: Variant, after: Variant) -> tuple[Marked, Marked]:
    """Both as readable lines, each marked ``same``, or ``gone`` before and ``added`` after."""
    old, new = (variant_text(variant).splitlines() for variant in (before, after))
    blocks = SequenceMatcher(a=old, b=new, autojunk=False).get_matching_blocks()
    same_lines = {n for block in blocks for n in range(block.a, block.a + block.size)}
    taken_over = {n for block in blocks for n in range(block.b, block.b + block.size)}
    return (
        [("same" if n in same_lines else "gone", line or " ") for n, line in enumerate(old)],
        [("same" if n in taken_over else "added", line or " ") for n, line in enumerate(new)],
    )
