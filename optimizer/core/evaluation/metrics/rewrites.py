"""What a rewritten question gains over the one that was asked: it points at less, and finds what answers it sooner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.evaluation.metrics.retrieval import K, Search, query_mrr
from optimizer.core.evaluation.metrics.words import source_text, text_of, words
from optimizer.core.family.metrics import metric

_POINTING_WORDS = """
he him his himself she her hers herself it its itself they them their theirs themselves this these those
"""
POINTING_WORDS = frozenset(_POINTING_WORDS.split())


@metric(sees="input", parsers=("text",), parameters={"input": "the input"})
def clarity_improvement(wanted: Any, output: Any, inputs: Mapping[str, Any], *, input: str) -> float:
    """Share in [0, 1] of the words with which a question points at what was said before that its rewrite does without.

    These are English pronouns of the third person and this, these, those; each occurrence counts. A rewrite that adds
    some loses by them, of a question that has none as of one that has one. An answer without a word is worth nothing.

    Args:
        input: which input is the question.
    Raises:
        ValueError: the question holds no word.
    Source:
        the ellipses and references that Elgohary et al. (2019), CANARD, have rewritten, counted by their words.
    """
    question, rewrite = words(source_text(inputs, input)), words(text_of(output))
    if not question:
        raise ValueError(f"the input {input!r} holds no word that could be made clearer")
    if not rewrite:
        return 0.0
    before, after = (sum(word in POINTING_WORDS for word in said) for said in (question, rewrite))
    return max(0.0, 1 - after / max(1, before))


@metric(
    sees="input",
    parsers=("text", "list"),
    parameters={"input": "the input", "corpus": "corpus", "id": "text", "k": "count"},
)
def retrieval_boost(
    wanted: Any, output: Any, inputs: Mapping[str, Any], *, input: str, corpus: Search, k: int = K
) -> float:
    """Reciprocal rank of the answer as a query less that of the question as it was asked, from -1 to 1, put into
    [0, 1]: .5 is no change.

    Args:
        input: which input is the question.
        corpus: where both search; ``k``: among how many passages the first relevant one counts.
    Source:
        Voorhees (1999), The TREC-8 question answering track report, as a difference.
    """
    before, after = (query_mrr(wanted, query, corpus=corpus, k=k) for query in (source_text(inputs, input), output))
    return (1 + after - before) / 2
