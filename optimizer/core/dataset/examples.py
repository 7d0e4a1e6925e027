"""Examples, their split at ingestion, frozen Datasets drawn from them, and the similarity of texts without a model.

Two texts are compared by the cosine of their words and letter triples, where rare ones count most. Letter triples make
"refund" and "refunded" alike, and serve languages that are written without spaces. Rare terms count by log((1 + n) /
df) (Sparck Jones 1972). It is plain Python: 300 short texts against one another take about a second.
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
from typing import Any, Literal

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.values import grouped

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


def more_for_holdout(n_missing: int) -> int:
    """How many more examples bring about that many sealed ones: a little over five for each, since hashes draw them."""
    return round(n_missing / 0.18)


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
    classes = grouped((labels[id], id) for id in ordered)
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


def _terms(text: str) -> list[str]:
    words = WORD.findall(text.casefold())
    marked = [f"<{word}>" for word in words]
    return [*words, *(m[i : i + TRIPLE] for m in marked for i in range(len(m) - TRIPLE + 1))]


def _unit(weights: Mapping[str, float]) -> Vector:
    length = math.sqrt(sum(w * w for w in weights.values()))
    return {term: w / length for term, w in weights.items()} if length else {}
