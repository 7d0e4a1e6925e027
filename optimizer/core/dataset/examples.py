"""Examples, their split at ingestion, frozen Datasets drawn from them, and the similarity of texts without a model.

Two texts are compared by the cosine of their words and letter triples, where rare ones count most. Letter triples make
"refund" and "refunded" alike, and serve languages that are written without spaces. Rare terms count by log((1 + n) /
df) (Sparck Jones 1972). It is plain Python: 300 short texts against one another take about a second.

Texts that are nearly the same are found among thousands by the resemblance of their shingles (Broder 1997): of their
pairs of adjacent words, the share that two texts have in common. A text is compared only with those that share one of
its rarer pairs, as every text that is similar enough does (Bayardo, Ma, Srikant 2007).
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, pairwise
from typing import Any, Literal

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.phrasing import count

Split = Literal["train", "dev", "holdout"]
Origin = Literal["curated", "import", "correction", "interaction"]

_TRAIN_SHARE, _DEV_SHARE = 0.6, 0.2
_OF_INPUT = re.compile(r"in_[0-9a-f]{32}")  # a group that stands for one input


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One input with its expected output. ``split`` is fixed by the group's hash when the example arrives, for ever.

    ``released`` says whether its text may become a few-shot example
    (a person released it, or it was imported as curated).
    """

    id: str
    family: str
    input: Mapping[str, Any]
    expected: Mapping[str, Any]
    group: str
    split: Split
    origin: Origin
    released: bool
    created_at: datetime
    unit_hmac: str | None = None
    interaction: str | None = None


def make_example(
    *,
    family: str,
    input: Mapping[str, Any],
    expected: Mapping[str, Any],
    created_at: datetime,
    origin: Origin,
    id: str | None = None,
    group: str | None = None,
    released: bool | None = None,
    unit_hmac: str | None = None,
    interaction: str | None = None,
) -> Example:
    """An Example with its id (given, else from its input), its group and its split.

    ``released`` None: only what is curated is.
    """
    belongs_to = group_of(input, group)
    return Example(
        id=id or "ex_" + digest(canonical_json(input))[:16],
        family=family,
        input=dict(input),
        expected=dict(expected),
        group=belongs_to,
        split=split_of(belongs_to),
        origin=origin,
        released=origin == "curated" if released is None else released,
        created_at=created_at,
        unit_hmac=unit_hmac,
        interaction=interaction,
    )


def normalise(input: Any) -> str:
    """The text that inputs share which differ only in Unicode form (NFKC), case or white space; else canonical JSON."""
    return _fold(input) if isinstance(input, str) else canonical_json(_folded(input)).decode()


def input_hash(input: Mapping[str, Any]) -> str:
    """Equal for inputs of the same texts, whatever their fields are called; case and white space do not count."""
    return digest("\x00".join(sorted(map(normalise, input.values()))).encode(errors="surrogatepass"))


def correction_example(event: str) -> str:
    """The id of the example that a correction makes: one per event, whatever ids the imported ones have."""
    return f"co_{event}"


def group_of(input: Mapping[str, Any], group: str | None) -> str:
    """The group whose hash decides the split: the given one, else one per normalised input."""
    return (
        str(group)
        if group is not None and str(group)
        else "in_" + digest(normalise(input).encode(errors="surrogatepass"))[:32]
    )


def text_without_group(example: Example) -> str | None:
    """All that its input says, one field a line; None where the example came with a group."""
    if _OF_INPUT.fullmatch(example.group) is None:  # the form decides, since the input may have been cut meanwhile
        return None
    return "\n".join(map(normalise, example.input.values()))


def split_of(group: str) -> Split:
    """60 % train, 20 % dev, 20 % holdout, by the first 8 bytes (big-endian) of the SHA-256 of the group."""
    share = int.from_bytes(hashlib.sha256(group.encode(errors="surrogatepass")).digest()[:8], "big") / 2**64
    if share < _TRAIN_SHARE:
        return "train"
    return "dev" if share < _TRAIN_SHARE + _DEV_SHARE else "holdout"


def class_of(expected: Mapping[str, Any], balance: str | None) -> str | None:
    """The class by which a balanced selection draws, from the field in ``sample.balance``; None where there is none."""
    value = expected.get(balance) if balance else None
    return None if value is None else value if isinstance(value, str) else canonical_json(value).decode()


def select(ids_with_labels: Iterable[tuple[str, str | None]], n: int, *, balance: bool, seed_text: str) -> list[str]:
    """At most ``n`` ids in an order that depends only on the hash of (seed_text, id).

    With ``balance`` the classes take turns, so that each gives equally many until it has no more; ids without a label
    are a class of their own. A larger ``n`` with the same seed begins with the smaller selection.
    """
    labels = dict(ids_with_labels)
    ordered = sorted(labels, key=lambda id: _rank(seed_text, id))
    if not balance:
        return ordered[:n]
    classes: dict[str | None, list[str]] = {}
    for id in ordered:
        classes.setdefault(labels[id], []).append(id)
    queues = [classes[label] for label in sorted(classes, key=lambda label: _rank(seed_text, f"class {label}"))]
    return [queue[i] for i in range(max(map(len, queues), default=0)) for queue in queues if i < len(queue)][:n]


def _rank(seed_text: str, id: str) -> bytes:
    return hashlib.sha256(f"{seed_text}\x00{id}".encode(errors="surrogatepass")).digest()


def _fold(text: str) -> str:
    # folding can undo the normal form and the other way round, hence NFKC on both sides (Unicode, definition D146)
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def _folded(value: Any) -> Any:
    if isinstance(value, str):
        return _fold(value)
    if isinstance(value, Mapping):
        return {k: _folded(v) for k, v in value.items()}
    return [_folded(v) for v in value] if isinstance(value, list | tuple) else value


WORD = re.compile(r"\w+")
TRIPLE = 3

ALIKE = 0.5  # share of two texts' pairs of words, from which on they are nearly the same
LEAST_WORDS = 4  # of a text; with fewer words two texts may look alike by chance
MOST_WORDS = 64  # of a text that are read
LEAST_SHARE = 0.05  # from this share of near duplicates on, it matters that rows are not independent
MOST_TEXTS = 2000  # texts that are compared with one another, so that it takes seconds at most

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
        """The near duplicates as a question to the person."""
        return (
            f"{self.n_rows} of {count(self.n_compared, 'row')} without a group look alike, in"
            f" {count(self.n_sets, 'set')} (such as {' and '.join(self.such_as)}). Is each set one case, such as a"
            " customer or a document? Then give its rows one `group` (a member of each JSON line, or a column of the"
            " CSV). Without it they count as independent, and in groups of five a variant that loses the margin passed"
            " as not lower in .25 of the trials in place of .06. Rows keep the group with which they came, so give it"
            " before they are imported."
        )


def near_duplicates(texts: Mapping[str, str]) -> NearDuplicates | None:
    """The near duplicates among the first MOST_TEXTS; None where fewer than one in twenty looks like another.

    Args:
        texts: name of a row -> its text.
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
