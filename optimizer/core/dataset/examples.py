"""Examples, their split at ingestion, and frozen Datasets drawn from them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from optimizer.core.base.canonical import canonical_json, digest

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
    """What two inputs share when they differ only in Unicode form (NFKC), case or white space;
    canonical JSON unless it is a text.
    """
    return _fold(input) if isinstance(input, str) else canonical_json(_folded(input)).decode()


def input_hash(input: Mapping[str, Any]) -> str:
    """Equal for inputs of the same texts, whatever their fields are called; case and white space do not count."""
    return digest("\x00".join(sorted(map(normalise, input.values()))).encode(errors="surrogatepass"))


def group_of(input: Mapping[str, Any], group: str | None) -> str:
    """The group whose hash decides the split: the given one, else one per normalised input."""
    return (
        str(group)
        if group is not None and str(group)
        else "in_" + digest(normalise(input).encode(errors="surrogatepass"))[:32]
    )


def text_without_group(example: Example) -> str | None:
    """All that its input says, one field a line; None where the example came with a group."""
    if _OF_INPUT.fullmatch(example.group) is None:  # by its form, since the input may have been cut meanwhile
        return None
    return "\n".join(map(normalise, example.input.values()))


def split_of(group: str) -> Split:
    """60 % train, 20 % dev, 20 % holdout, by the first 8 bytes (big-endian) of the SHA-256 of the group."""
    share = int.from_bytes(hashlib.sha256(group.encode(errors="surrogatepass")).digest()[:8], "big") / 2**64
    if share < _TRAIN_SHARE:
        return "train"
    return "dev" if share < _TRAIN_SHARE + _DEV_SHARE else "holdout"


def class_of(expected: Mapping[str, Any], balance: str | None) -> str | None:
    """The class by which a balanced selection draws: the text of the field that ``sample.balance`` names; None
    where there is none.
    """
    value = expected.get(balance) if balance else None
    return None if value is None else value if isinstance(value, str) else canonical_json(value).decode()


def select(ids_with_labels: Iterable[tuple[str, str | None]], n: int, *, balance: bool, seed_text: str) -> list[str]:
    """At most ``n`` ids in an order that the hash of (seed_text, id) fixes, whatever the order given.

    With ``balance`` the classes take turns, so that each gives equally many until it has no more; without a label is a
    class of its own. A larger ``n`` with the same seed begins with the smaller selection.
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
