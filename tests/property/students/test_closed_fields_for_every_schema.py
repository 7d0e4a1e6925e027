"""Whatever closed values a schema names, a student's answer of them reads back as them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, strategies as st

from optimizer.core.family.closed_fields import open_field
from optimizer.core.family.rendering import parse_output
from optimizer.core.predictor.teaching import StudentAnswer, teaching_rows, whole_answer
from tests.strategies import json_values, texts
from tests.worlds.study_world import topic_examples, topic_family


@st.composite
def closed_fields(draw: st.DrawFn) -> tuple[dict[str, Any], Any]:
    """The schema of a field, and a value of it."""
    values = draw(st.lists(json_values, min_size=1, max_size=4))
    label = draw(st.sampled_from(values))
    labels = draw(st.lists(st.sampled_from(values), max_size=3))
    flag = draw(st.booleans())
    cases: list[tuple[dict[str, Any], Any]] = [
        ({"enum": values}, label),
        ({"const": label}, label),
        ({"type": "boolean"}, flag),
        ({"anyOf": [{"enum": values}, {"type": "null"}]}, label if flag else None),
        ({"type": "array", "items": {"enum": values}}, labels),
    ]
    return draw(st.sampled_from(cases))


@given(
    fields=st.dictionaries(texts, closed_fields(), min_size=1, max_size=4),
    left_out=st.sets(st.integers(0, 3)),
    confidence=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_an_answer_of_closed_fields_is_written_as_the_family_reads_it(
    fields: dict[str, tuple[dict[str, Any], Any]], left_out: set[int], confidence: list[float]
) -> None:
    schema = {"type": "object", "properties": {name: one for name, (one, _) in fields.items()}}
    value = {name: own for at, (name, (_, own)) in enumerate(fields.items()) if at not in left_out}
    family = topic_family(output={"field": "topic", "parser": "json", "schema": schema}, scorer={"exact_match": 1.0})
    assert open_field(family.output) is None
    rows = teaching_rows(family, [replace(one, expected={"topic": value}) for one in topic_examples(6, "train")])
    of_fields = {
        name: StudentAnswer(label=label, confidence=sure)
        for (name, label), sure in zip(rows[0].fields.items(), confidence, strict=False)
    }
    answer = whole_answer(of_fields)
    assert answer.label == rows[0].label
    assert answer.confidence == min(confidence[: len(fields)])
    parsed = parse_output(family.output, answer.label)
    assert parsed.error is None
    assert parsed.value == value
