"""What of a question, of the topics or of the structure of a document an answer covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.core.base.canonical import canonical_json
from optimizer.core.evaluation.metrics.words import (
    Overlap,
    Wrong,
    fold,
    found_items,
    source_text,
    stands_in,
    text_of,
    wanted_items,
    words,
)
from optimizer.core.family.metrics import metric

_FUNCTION_WORDS = """
a an and any are as at be been but by can could did do does for from had has have he her his how i if in into is it its
me my no not of on or our she should so some such than that the their them then there these they this those to us was
we were what when where which who whom whose why will with would you your
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


@metric(sees="input", parsers=("text", "list"), parameters={"input": "the input"})
def query_coverage(wanted: Any, output: Any, inputs: Mapping[str, Any], *, input: str) -> float:
    """Share in [0, 1] of a question's content words that stand in the query, or in one of several; each word once.

    English function words do not count, unless the question has no others. "rivers" does not cover "river".

    Args:
        input: which input is the question.
    Raises:
        ValueError: the question holds no word.
    Source:
        recall of unigrams, ROUGE-1 of Lin (2004), over distinct content words.
    """
    query_words = set(words(source_text(inputs, input)))
    if not query_words:
        raise ValueError(f"the input {input!r} holds no word that could be covered")
    query_words = query_words - FUNCTION_WORDS or query_words
    return len(query_words & set(words(text_of(output)))) / len(query_words)


@metric(sees="answers", parsers=("text", "label", "list", "json"), parameters={"key": "text"})
def topic_coverage(wanted: Any, output: Any, *, key: str = "topics") -> float:
    """Share in [0, 1] of the expected topics that the answer names: as an item of a list, or as words of a text.

    Topics are compared without regard to case and white space; each counts once.
    Where none is expected all are covered.

    Source: recall, as ``words.Overlap`` has it, over topics.
    """
    topics = {fold(topic) for topic in ([wanted] if isinstance(wanted, str) else wanted_items(wanted, key))}
    if not topics:
        return 1.0
    if isinstance(output, str):
        answer_words = words(output)
        return sum(
            stands_in(words(topic), answer_words) if words(topic) else topic in fold(output) for topic in topics
        ) / len(topics)
    return len(topics & {fold(topic) for topic in found_items(output, key) if topic is not Wrong}) / len(topics)


@metric(sees="answers", parsers=("json", "list"), parameters={"key": "text"})
def structure_detection(wanted: Any, output: Any, *, key: str = "structure") -> float:
    """F1 in [0, 1] of the parts that stand in both lists in the same order; 1 for two empty lists.

    A part is a heading, without regard to case and white space, or an object, by its content.

    Source: ROUGE-L of Lin (2004), the longest common subsequence, with parts in place of words.
    """
    expected = [_part(item) for item in wanted_items(wanted, key)]
    parts = [_part(item) for item in found_items(output, key)]
    return Overlap(right=longest_common(expected, parts), n_found=len(parts), n_wanted=len(expected)).f1


def longest_common(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for item in one:
        diagonal = 0
        for j, candidate in enumerate(other, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if item == candidate else max(row[j], row[j - 1])
    return row[-1]


def _part(value: Any) -> Any:
    if isinstance(value, Mapping | list):
        return canonical_json(value)
    return value if value is Wrong else fold(value)
