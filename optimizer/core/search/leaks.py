"""No proposed text may quote a golden scenario, or an example that is sealed or not released: every prompt would hold
it.

Texts are compared as sets of fingerprints, one for each eight words in a row, without regard to case, white space and
punctuation. So a search holds numbers, and no text of the holdout. What the family's own file, its champion or a
released example also says is no leak.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.metrics.words import words
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import value_text
from optimizer.core.family.variant import Variant
from optimizer.core.search.strategy import Proposal, SearchSetting, Strategy, StrategyMaker

WINDOW = 8  # words in a row that make a quotation

Fingerprints = set[int]


def fingerprints(text: str) -> Fingerprints:
    """One for every eight words in a row; none for a shorter text.

    Like Python's hashes of texts, they hold within one process only, and are not stored.
    """
    text_words = words("".join(c for c in text if text.isascii() or unicodedata.category(c) != "Cf"))
    return {hash(tuple(text_words[i : i + WINDOW])) for i in range(len(text_words) - WINDOW + 1)}


def of_example(example: Example) -> Fingerprints:
    """The fingerprints of every value of its input and of its expected output."""
    return _of([*map(value_text, example.input.values()), *map(value_text, example.expected.values())])


def texts_of(variant: Variant) -> Iterator[str]:
    """Every text that a model is sent with a variant, its tools and its form of answer included."""
    for message in variant.messages:
        yield str(message.get("content") or "")
    for shot in variant.examples:
        yield from map(value_text, shot.input.values())
        yield shot.output
    for declared in (variant.tools, variant.response_format):
        if declared is not None:
            yield value_text(declared)


class LeakCheck:
    """What the proposals of one search may not quote, and how many did.

    Args:
        own: texts that a proposal may repeat although an example has them, too, such as the champion's.
        hidden: gives the fingerprints of golden scenarios and of all examples that are sealed or not released; called
            once, at the first proposal.
        shown: gives those of all other examples; called once, when a text looks like a leak.
        refused: takes the counts after every refusal, as a study stores them under LEAKS.
    """

    def __init__(
        self,
        own: Iterable[str],
        *,
        hidden: Callable[[], Fingerprints],
        shown: Callable[[], Fingerprints],
        refused: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._own = _of(own)
        self._find_hidden, self._find_shown, self._tell = hidden, shown, refused
        self._refused: dict[str, str] = {}  # variant -> its first proposer

    def leaks(self, proposer: str, variant: Variant) -> bool:
        """Whether the variant quotes a hidden text. It is counted once, for its first proposer."""
        new = _of(texts_of(variant)) - self._own
        hidden = new & self._hidden if new else new
        if not (hidden - self._shown if hidden else hidden):
            return False
        if variant.id not in self._refused:
            self._refused[variant.id] = proposer
            self._tell({"n": len(self._refused), "by": dict(Counter(self._refused.values()))})
        return True

    def watching(self, make: StrategyMaker) -> StrategyMaker:
        """``make``, whose strategies propose nothing that leaks. Every proposal passes here."""

        def without_leaks(name: str, setting: SearchSetting) -> Strategy:
            leaks = partial(self.leaks, name)
            return _LeakFilter(make(name, replace(setting, leaks=leaks)), leaks)

        return without_leaks

    @cached_property
    def _hidden(self) -> Fingerprints:
        return self._find_hidden()

    @cached_property
    def _shown(self) -> Fingerprints:
        return self._find_shown()


class _LeakFilter:
    """A strategy without its proposals that leak. It is told that these were not measured."""

    def __init__(self, strategy: Strategy, leaks: Callable[[Variant], bool]) -> None:
        self._strategy, self._leaks = strategy, leaks

    def ask(self) -> Proposal | None:
        while (proposal := self._strategy.ask()) is not None and self._leaks(proposal.variant):
            self._strategy.tell(proposal, None, ())
        return proposal

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        self._strategy.tell(proposal, score, results)


def own_texts(family: Family, champion: Variant) -> Iterator[str]:
    """What the champion says, and what the family's file says in every version and in its space."""
    yield from texts_of(champion)
    for version in family.prompt.versions.values():
        yield from (str(message.get("content") or "") for message in version.content)
    for entry in family.space.values():
        yield from (one for one in entry.get("choices", ()) if isinstance(one, str))


def _of(texts: Iterable[str]) -> Fingerprints:
    return set[int]().union(*map(fingerprints, texts))
