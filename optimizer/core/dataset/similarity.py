"""How alike texts are. No model is asked.

Two texts are compared by the cosine of their words and letter triples, the rare ones counting most.

Letter triples make "refund" and "refunded" alike, and serve languages that are written without spaces. Rare terms count
by log((1 + n) / df) (Sparck Jones 1972). Plain Python: 300 short texts against one another take about a second.

Texts that are nearly the same are found among thousands by the resemblance of their shingles (Broder 1997): of their
pairs of adjacent words, the share that two texts have in common. A text is compared with those alone that share one of
its rarer pairs, as every text that is alike enough does (Bayardo, Ma, Srikant 2007).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from optimizer.core.base.phrasing import count

WORD = re.compile(r"\w+")
TRIPLE = 3

ALIKE = 0.5  # share of two texts' pairs of words, from which on they are nearly the same
LEAST_WORDS = 4  # of a text; of fewer words it cannot be told whether two mean the same
MOST_WORDS = 64  # of a text that are read
LEAST_SHARE = 0.05  # of the rows, from which on it matters that they are not independent
MOST_TEXTS = 2000  # that are compared with one another, so that the look takes seconds at most

Vector = Mapping[str, float]  # term -> weight, of length 1; empty for a text without words


def vectors(texts: Sequence[str]) -> list[Vector]:
    """One per text; these texts themselves say which words are rare."""
    counted = [Counter(_terms(text)) for text in texts]
    n_with = Counter(term for counts in counted for term in counts)
    rarity = {term: math.log((1 + len(texts)) / n) for term, n in n_with.items()}
    return [_unit({term: (1 + math.log(n)) * rarity[term] for term, n in counts.items()}) for counts in counted]


def similarities(rows: Sequence[Vector], columns: Sequence[Vector]) -> list[list[float]]:
    """Every row with every column, in [0, 1]: 0 nothing in common, 1 the same terms."""
    holders: dict[str, list[tuple[int, float]]] = {}
    for at, column in enumerate(columns):
        for term, weight in column.items():
            holders.setdefault(term, []).append((at, weight))
    shares = []
    for row in rows:
        sums = [0.0] * len(columns)
        for term, weight in row.items():
            for at, other in holders.get(term, ()):
                sums[at] += weight * other
        shares.append([min(1.0, s) for s in sums])
    return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicates:
    """Rows without a group whose texts are nearly those of another."""

    n_rows: int
    n_sets: int
    n_compared: int
    such_as: Sequence[str]  # names of two rows of one set

    @property
    def text(self) -> str:
        """As a question."""
        return (
            f"{self.n_rows} of {count(self.n_compared, 'row')} without a group look alike, in"
            f" {count(self.n_sets, 'set')} (such as {' and '.join(self.such_as)}). Is each set one case, such as a"
            " customer or a document? Then give its rows one `group` (a member of each JSON line, or a column of the"
            " CSV). Without it they count as independent, and in groups of five a variant that loses the margin passed"
            " as not lower in .25 of the trials in place of .06. Rows keep the group with which they came, so give it"
            " before they are imported."
        )


def near_duplicates(texts: Mapping[str, str]) -> NearDuplicates | None:
    """Of the first MOST_TEXTS; None where fewer than one in twenty looks like another.

    Args:
        texts: name of a row > its text.
    """
    names = list(islice(texts, MOST_TEXTS))
    sets = _alike([texts[name] for name in names])
    n_rows = sum(map(len, sets))
    if n_rows < max(2, LEAST_SHARE * len(names)):
        return None
    return NearDuplicates(
        n_rows=n_rows, n_sets=len(sets), n_compared=len(names), such_as=[names[at] for at in sets[0][:2]]
    )


def _alike(texts: Sequence[str]) -> list[list[int]]:
    """Places of texts that are nearly the same, two or more to a list: each text beside the first that it resembles."""
    shingled = [_shingles(text) for text in texts]
    n_with = Counter(pair for pairs in shingled for pair in pairs)
    beside: dict[int, list[int]] = {}  # place of a first text > its own and those of the texts that resemble it
    holders: dict[tuple[str, str], list[int]] = {}  # pair of words > first texts that hold it among their rarer ones
    for at, pairs in enumerate(shingled):
        rarer = sorted(pairs, key=lambda pair: (n_with[pair], pair))[: len(pairs) - math.ceil(ALIKE * len(pairs)) + 1]
        candidates = dict.fromkeys(first for pair in rarer for first in holders.get(pair, ()))
        first = next((candidate for candidate in candidates if _resemblance(pairs, shingled[candidate]) >= ALIKE), None)
        if first is not None:
            beside[first].append(at)
        elif pairs:
            beside[at] = [at]
            for pair in rarer:
                holders.setdefault(pair, []).append(at)
    return [places for places in beside.values() if len(places) > 1]


def _shingles(text: str) -> frozenset[tuple[str, str]]:
    words = [match.group() for match in islice(WORD.finditer(text.casefold()), MOST_WORDS)]
    return frozenset(pairwise(words)) if len(words) >= LEAST_WORDS else frozenset()


def _resemblance(one: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def _terms(text: str) -> list[str]:
    words = WORD.findall(text.casefold())
    marked = [f"<{word}>" for word in words]
    return [*words, *(m[i : i + TRIPLE] for m in marked for i in range(len(m) - TRIPLE + 1))]


def _unit(weights: Mapping[str, float]) -> Vector:
    length = math.sqrt(sum(w * w for w in weights.values()))
    return {term: w / length for term, w in weights.items()} if length else {}
