"""A frozen list of released examples, and which of them are most like a request.

They are ranked by BM25 in Lucene's form (k1 1.5, b .75) over words in every script, not stemmed, as bm25s ranks (a test
compares them). bm25s itself would cost the process that serves prompts 90 MB and a second; numpy alone does it here.

Source: Robertson and Zaragoza (2009); Lù 2024, arXiv:2407.03618.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.dataset.examples import Example, normalise
from optimizer.core.dataset.near_duplicates import are_near_duplicates, shingles_of
from optimizer.core.evaluation.metrics.words import words
from optimizer.core.family.rendering import input_text
from optimizer.core.family.variant import FewShot

MOST_EXAMPLES = 10_000  # of a family's released training examples, the ones whose hash comes first
MOST_WORDS = 64  # of a request that are looked up, the rarest: so a look-up stays below 2 ms
MOST_CHARS = 20_000  # of a text that are read
MOST_TEXT = 3_000_000  # characters of all texts of an index, so that a process has it ready in a second or two
K1, B = 1.5, 0.75
DECIMALS = 6  # of a score: libraries of other machines round the last digits otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedExample:
    """An example as a prompt shows it, with its group."""

    group: str
    shot: FewShot


@dataclass(frozen=True, kw_only=True)
class ExampleIndex:
    """Examples in the order of their ids. What its hash names never changes."""

    examples: tuple[IndexedExample, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "examples", tuple(sorted(self.examples, key=lambda example: example.shot.id)))

    def to_data(self) -> list[dict[str, Any]]:
        return [
            {"id": e.shot.id, "group": e.group, "input": dict(e.shot.input), "output": e.shot.output}
            for e in self.examples
        ]

    @classmethod
    def from_data(cls, data: Sequence[Mapping[str, Any]]) -> ExampleIndex:
        return cls(
            examples=tuple(
                IndexedExample(group=e["group"], shot=FewShot(id=e["id"], input=e["input"], output=e["output"]))
                for e in data
            )
        )

    @classmethod
    def of(cls, examples: Iterable[IndexedExample]) -> ExampleIndex:
        """As many of the first as an index may hold."""
        first = list(islice(examples, MOST_EXAMPLES))
        n_chars = accumulate(min(MOST_CHARS, len(input_text(example.shot.input))) for example in first)
        return cls(examples=tuple(first[: sum(n <= MOST_TEXT for n in n_chars)]))

    @cached_property
    def hash(self) -> str:
        return "xi_" + digest(canonical_json(self.to_data()))[:12]

    def prepare(self) -> None:
        """Makes what ``ranked`` looks up; of a large list that takes a second or two. ``ranked`` does it where nobody
        did.
        """
        self._postings  # noqa: B018

    def ranked(
        self, input: Mapping[str, Any], *, scope: str | None = None, apart: Example | None = None
    ) -> Iterator[FewShot]:
        """The examples that share a word with the request, nearest first, of equals the one with the first id.

        Args:
            scope: an input; only examples that have the request's own value of it count.
            apart: the example that asks: itself, its group and near-duplicates of it are left out.
        """
        text = input_text(input)
        scores = self._postings.scores(text)
        wanted = input.get(scope) if scope is not None else None
        near = np.flatnonzero(scores > 0)
        own, words_of_own = (shingles_of(input), normalise(text)) if apart is not None else ({}, "")
        for at in near[np.argsort(-scores[near], kind="stable")]:
            example = self.examples[at]
            if scope is not None and not _are_equal(example.shot.input.get(scope), wanted):
                continue
            if apart is not None and (example.shot.id == apart.id or example.group == apart.group):
                continue
            if apart is not None and normalise(input_text(example.shot.input)) == words_of_own:
                continue
            if own and are_near_duplicates(own, shingles_of({name: example.shot.input.get(name) for name in input})):
                continue
            yield example.shot

    @cached_property
    def _postings(self) -> _Postings:
        return _Postings([input_text(example.shot.input) for example in self.examples])


def _are_equal(own: Any, wanted: Any) -> bool:
    """Of values as JSON has them; for Python 1 and true are equal. What is missing equals nothing."""
    return own is not None and own == wanted and canonical_json(own) == canonical_json(wanted)


class _Postings:
    """Word > the texts that hold it, each with what the word adds to its score."""

    def __init__(self, texts: Sequence[str]) -> None:
        counted = [Counter(_words(text)) for text in texts]
        lengths = [counts.total() for counts in counted]
        mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
        holders: dict[str, list[tuple[int, float]]] = {}
        for at, (counts, length) in enumerate(zip(counted, lengths, strict=True)):
            for word, n in counts.items():
                holders.setdefault(word, []).append((at, n / (n + K1 * (1 - B + B * length / mean))))
        self._n = len(texts)
        self._of: dict[str, tuple[NDArray[np.intp], NDArray[np.float64]]] = {}
        for word, pairs in holders.items():
            rarity = math.log(1 + (self._n - len(pairs) + 0.5) / (len(pairs) + 0.5))
            places, shares = zip(*pairs, strict=True)
            self._of[word] = np.array(places, dtype=np.intp), rarity * np.array(shares)

    def scores(self, text: str) -> NDArray[np.float64]:
        """One per text, 0 where it shares no word with this one."""
        known = {word: n for word, n in Counter(_words(text)).items() if word in self._of}
        scores = np.zeros(self._n)
        for word in sorted(known, key=lambda word: (len(self._of[word][0]), word))[:MOST_WORDS]:
            places, weights = self._of[word]
            scores[places] += known[word] * weights
        return np.round(scores, DECIMALS)


def _words(text: str) -> list[str]:
    return words(text[:MOST_CHARS])
