"""The closing page of the demo in HTML: the three stories, each as announced or not, and the next three commands. Loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from optimizer.demo.plain import in_words
from optimizer.demo.stories import Bar, Story


def page_parts(stories: Sequence[Story], nexts: Sequence[tuple[str, str]], *, took: str, model: str) -> Iterator[str]:
    """What stands in the page's body.

    Args:
        nexts: (command, what it is for).
        took: minutes and seconds, such as ``8:31``.
        model: what answered, in words that go on after "with".
    """
    n = sum(story.as_announced for story in stories)
    total = len(stories)
    verdict = "All came out as announced." if n == total else f"{n} of {total} came out as announced."
    yield "<h1>What the demo showed</h1>"
    yield f'<p class="verdict {"good" if n == total else "bad"}">{verdict}</p>'
    yield (
        f"<p>Everything here was measured in {escape(took)} minutes, with {escape(model)}. Rollout time ran faster "
        "(simulated clock); the gates are those that serve.</p>"
    )
    for number, story in enumerate(stories, start=1):
        yield _story(number, story)
    yield "<section><h2>Next</h2>" + "".join(_command(command, why) for command, why in nexts) + "</section>"


def _story(number: int, story: Story) -> str:
    mark, words = ("good", "as announced") if story.as_announced else ("bad", "not as announced")
    return (
        f'<section class="story"><h2>{number}. {escape(story.title)} <span class="mark {mark}">{words}</span></h2>'
        f'<p class="soft">Announced: {escape(story.announced)}</p><p>{escape(in_words(story.happened))}</p>{_picture(story)}</section>'
    )


def _picture(story: Story) -> str:
    """A bar per prompt from 0 to 100 right answers, with its interval, and a line at what guessing scores."""
    if not story.bars:
        return ""
    rows = "".join(_bar(bar, story.chance) for bar in story.bars)
    guessing = "" if story.chance is None else f" The dashed line is what guessing scores: {100 * story.chance:.0f}."
    return (
        f'<figure class="scores">{rows}<figcaption>Right answers of 100 sealed examples; the thin line is the 95 % interval.'
        f"{guessing}</figcaption></figure>"
    )


def _bar(bar: Bar, chance: float | None) -> str:
    cost = "" if bar.usd is None else f", ${bar.usd:.3f} per 1,000 requests"
    line = "" if chance is None else f'<i class="chance" style="left:{100 * chance:.1f}%"></i>'
    return (
        f'<div class="score-name">{escape(bar.name)}: <strong>{100 * bar.score:.0f}</strong> ({100 * bar.low:.0f} to {100 * bar.high:.0f}){cost}</div>'
        f'<div class="score-track"><i class="score-bar" style="width:{100 * bar.score:.1f}%"></i>'
        f'<i class="score-interval" style="left:{100 * bar.low:.1f}%;width:{100 * (bar.high - bar.low):.1f}%"></i>{line}</div>'
    )


def _command(command: str, why: str) -> str:
    return f"<p>{escape(why[:1].upper() + why[1:])}:</p><pre>{escape(command)}</pre>"
