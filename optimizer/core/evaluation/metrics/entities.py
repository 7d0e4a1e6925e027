"""Named entities and relations between them: exact, or with half a credit for what is right in part.

Entities are objects `{"text", "type"}`; relations are `{"subject", "relation", "object"}` with a direction, and a
subject or object may be an object with a `text`. They come in a list, or in a list under `key` (entities, relations).
One is right where its type and texts are those of an expected one, without regard to case and white space. Each counts
once: what is said twice is wrong once. If nothing is expected and nothing found the score is 1; if only one side is
empty it is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeVar

from optimizer.core.evaluation.metrics.words import Overlap, Wrong, fold, found_items, overlap_of, wanted_items, words
from optimizer.core.family.metrics import metric

HALF = 0.5  # the credit for what is right in part, as in MUC-5 and SemEval-2013


@dataclass(frozen=True, slots=True)
class Fact:
    """An entity (type, one mention) or a relation (type, subject and object): the same where type and mentions are."""

    type: str
    mentions: tuple[str, ...]

    def near(self, other: Fact) -> bool:
        """Whether the types are equal and each mention shares a word with its counterpart."""
        return self.type == other.type and all(map(_share_a_word, self.mentions, other.mentions))


def _share_a_word(one: str, other: str) -> bool:
    return one == other or not _word_set(one).isdisjoint(_word_set(other))


@lru_cache(maxsize=4096)
def _word_set(text: str) -> frozenset[str]:
    return frozenset(words(text))


def _text(item: Any, key: str) -> str:
    """The text of a mention, which may be an object with the text under ``key``."""
    value = item.get(key) if isinstance(item, Mapping) else None
    if isinstance(value, Mapping):
        value = value.get("text")
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"an expected item has no text {key!r}")
    return fold(value)


def entity_overlap(wanted: Any, output: Any, *, partial: bool = False, key: str = "entities") -> Overlap:
    """F1 of entities ``{"text", "type"}``, in a list or under ``key``; one mention counts once.

    Args:
        partial: an entity of the same type that shares a word with one that is left over counts half, each side once.
    Raises:
        ValueError: the expected ones have another form. Found ones of another form count as found, and are never
            right.
    Source:
        Tjong Kim Sang and De Meulder (2003), CoNLL (exact); Chinchor and Sundheim (1993), MUC-5 (half credits).
    """
    return _overlap(
        lambda item: Fact(_text(item, "type"), (_text(item, "text"),)),
        wanted_items(wanted, key),
        found_items(output, key),
        partial,
    )


def relation_overlap(wanted: Any, output: Any, *, partial: bool = False, key: str = "relations") -> Overlap:
    """F1 of relations ``{"subject", "relation", "object"}``, directed; ``relation`` is the type. As ``entity_overlap``.

    Source: SemEval-2010 Task 8 scores type and direction; ``partial`` as of entities, in subject and in object.
    """
    return _overlap(
        lambda item: Fact(_text(item, "relation"), (_text(item, "subject"), _text(item, "object"))),
        wanted_items(wanted, key),
        found_items(output, key),
        partial,
    )


def _overlap(read: Callable[[Any], Fact], wanted: Sequence[Any], output: Sequence[Any], partial: bool) -> Overlap:
    expected, answered = [read(item) for item in wanted], list[Any]()
    for item in output:
        try:
            answered.append(read(item))
        except ValueError:
            answered.append(Wrong)
    exact = overlap_of(expected, answered)
    if not partial:
        return exact
    rest = _without(expected, answered), [fact for fact in _without(answered, expected) if isinstance(fact, Fact)]
    near = matched_pairs(*rest, Fact.near)  # taking exact ones first costs nothing: one of them is worth two halves
    return Overlap(right=exact.right + HALF * near, n_found=exact.n_found, n_wanted=exact.n_wanted)


def _without(facts: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """The facts that are left when each of the others has taken its equal."""
    rest, others_left = [], list(others)
    for fact in facts:
        if fact in others_left:
            others_left.remove(fact)
        else:
            rest.append(fact)
    return rest


ABOUT: Mapping[Callable[..., Overlap], tuple[str, str]] = {
    entity_overlap: ("entities", "Tjong Kim Sang and De Meulder (2003), CoNLL."),
    relation_overlap: ("relations", "SemEval-2010 Task 8."),
}
HALF_SOURCE = "Chinchor and Sundheim (1993), MUC-5."


def _compare(overlap: Callable[..., Overlap], partial: bool, measure: str) -> Callable[..., float]:
    def compare(wanted: Any, output: Any, **parameters: Any) -> float:
        value: float = getattr(overlap(wanted, output, partial=partial, **parameters), measure)
        return value

    what, source = ABOUT[overlap]
    credit = ", and half a credit for one of the same type that shares a word with an expected one" if partial else ""
    compare.__doc__ = f"{measure.capitalize()} of the {what}{credit}.\n\nSource: {HALF_SOURCE if partial else source}"
    return compare


_facts = partial(metric, sees="answers", parsers=("json", "list"), parameters={"key": "text"})
entity_f1 = _facts(name="entity_f1")(_compare(entity_overlap, False, "f1"))
entity_f1_partial = _facts(name="entity_f1_partial")(_compare(entity_overlap, True, "f1"))
entity_precision = _facts(name="entity_precision")(_compare(entity_overlap, False, "precision"))
entity_recall = _facts(name="entity_recall")(_compare(entity_overlap, False, "recall"))
relation_f1 = _facts(name="relation_f1")(_compare(relation_overlap, False, "f1"))
relation_f1_partial = _facts(name="relation_f1_partial")(_compare(relation_overlap, True, "f1"))
relation_precision = _facts(name="relation_precision")(_compare(relation_overlap, False, "precision"))
relation_recall = _facts(name="relation_recall")(_compare(relation_overlap, False, "recall"))


T = TypeVar("T")


def matched_pairs(left: Sequence[T], right: Sequence[T], fits: Callable[[T, T], bool]) -> int:
    """The most pairs that fit when each item stands in one pair at most.

    Source: Hopcroft and Karp (1973), SIAM Journal on Computing 2(4), by SciPy.
    """
    from scipy.sparse import csr_array  # at its use: most families score no entities
    from scipy.sparse.csgraph import maximum_bipartite_matching

    pairs = [(i, j) for i, one in enumerate(left) for j, other in enumerate(right) if fits(one, other)]
    if not pairs:
        return 0
    fitting = csr_array(([True] * len(pairs), tuple(zip(*pairs, strict=True))), shape=(len(left), len(right)))
    return int((maximum_bipartite_matching(fitting) >= 0).sum())
