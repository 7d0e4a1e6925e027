"""The closing page of the demo in HTML: the three stories, each as announced or not, and the next three commands.

Loads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.demo.plain import in_words
from optimizer.demo.stories import Story
from optimizer.runtime import wiring


def demo_page(stories: Sequence[Story], nexts: Sequence[tuple[str, str]], *, took: str, model: str) -> str:
    """The whole page.

    Args:
        nexts: (command, what it is for).
        took: minutes and seconds, such as ``8:31``.
        model: what answered, in words that go on after "with".
    """
    n = sum(story.as_announced for story in stories)
    return wiring.html_page(
        "demo.html", stories=stories, n_as_announced=n, nexts=nexts, took=took, model=model, in_words=in_words
    )
