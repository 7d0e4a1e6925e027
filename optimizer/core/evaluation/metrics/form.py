"""The form of an answer: the rules it keeps, and how long it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optimizer.core.base.canonical import canonical_json
from optimizer.core.evaluation.metrics.answers import information_retention
from optimizer.core.evaluation.metrics.words import answers_of, fold, source_text, text_of, words
from optimizer.core.family.metrics import metric


@metric(
    sees="answers",
    parameters={
        "schema": "schema",
        "labels": "texts",
        "min_words": "count",
        "max_words": "count",
        "max_chars": "count",
    },
)
def format_compliance(
    wanted: Any,
    output: Any,
    *,
    schema: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    min_words: int | None = None,
    max_words: int | None = None,
    max_chars: int | None = None,
) -> float:
    """Share of the named rules that an answer keeps, in [0, 1]; 1 where none is named, since the answer could be read.

    Args:
        schema: JSON Schema, draft 2020-12, as of ``output.schema``, which would refuse the answer instead.
        labels: the answer, or each item of a list, is one of these, without regard to case.
        min_words, max_words, max_chars: length of the answer as a text; a list's items are lines, an object is its
            JSON.
    Source:
        strict accuracy per instruction of Zhou et al. (2023), IFEval, arXiv:2311.07911.
    """
    rules_met = list(_rules(output, schema, labels, min_words, max_words, max_chars))
    return sum(rules_met) / len(rules_met) if rules_met else 1.0


def _rules(
    output: Any,
    schema: Mapping[str, Any] | None,
    labels: Sequence[str] | None,
    min_words: int | None,
    max_words: int | None,
    max_chars: int | None,
) -> Iterator[bool]:
    if schema is not None:
        from optimizer.core.base.json_schema import schema_fault  # here, because most families need none of it

        yield schema_fault(schema, output) is None
    if labels is not None:
        allowed = {fold(label) for label in labels}
        yield all(fold(answer) in allowed for answer in answers_of(output))
    text = _as_text(output)
    if min_words is not None:
        yield len(words(text)) >= min_words
    if max_words is not None:
        yield len(words(text)) <= max_words
    if max_chars is not None:
        yield len(text) <= max_chars


@metric(sees="answers", parameters={"max_words": "count"})
def efficiency(wanted: Any, output: Any, *, max_words: int | None = None) -> float:
    """1 up to the allowed length, then the allowed length / the answer's, in [0, 1].

    Lengths are in words, of scripts without spaces in characters: a model's own tokens are known to the model alone.

    Args:
        max_words: the allowed length; None: that of the longest recorded answer, and at least one word.
    Source:
        the brevity idea of BLEU (Papineni et al. 2002), turned around, as a plain ratio.
    """
    allowed = max_words or max((len(words(_as_text(answer))) for answer in answers_of(wanted)), default=0)
    return min(1.0, max(allowed, 1) / max(len(words(_as_text(output))), 1))


@metric(sees="input", parsers=("text",), parameters={"input": "the input"})
def compression_ratio(wanted: Any, output: Any, inputs: Mapping[str, Any], *, input: str) -> float:
    """Share of the input's words that were saved, in [0, 1]; 0 where no recorded answer stands in the text any more.

    So the shortest text that keeps an answer is best, and an empty one is worth nothing,
    as is one as long as the input.

    Args:
        input: which input was to be compressed.
    Raises:
        ValueError: that input holds no word, or no recorded answer does.
    Source:
        1 - compression rate of Jiang et al. (2023), LLMLingua, arXiv:2310.05736, counted in words.
    """
    before = len(words(source_text(inputs, input)))
    if not before:
        raise ValueError(f"the input {input!r} holds no word, so there was nothing to compress")
    return 0.0 if not information_retention(wanted, output) else max(0.0, 1 - len(words(text_of(output))) / before)


def _as_text(value: Any) -> str:
    return canonical_json(value).decode() if isinstance(value, Mapping) else text_of(value)
