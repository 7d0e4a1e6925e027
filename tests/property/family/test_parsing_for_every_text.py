from __future__ import annotations

from hypothesis import assume, given, strategies as st

from optimizer.core.family.rendering import expected_text, parse_output
from optimizer.core.family.settings import Output
from tests.strategies import LABELS, is_open, outputs_with_values, texts

OUTPUTS = [
    Output(parser="text"),
    Output(parser="label", labels=LABELS),
    Output(parser="json", json_schema={"type": "object", "required": ["a"]}),
    Output(parser="list"),
]


@given(outputs_with_values())
def test_an_expected_value_written_as_a_message_reads_back_as_itself(output_and_value):
    output, value = output_and_value
    parsed = parse_output(output, expected_text(output, {"answer": value}))
    assert parsed.error is None
    assert parsed.value == value


@given(st.sampled_from(OUTPUTS), texts | st.text(alphabet='{}[]"`\n:,a1 -', max_size=40))
def test_any_text_gives_a_value_or_a_reason_and_never_raises(output, text):
    parsed = parse_output(output, text)
    assert parsed.error is None or (parsed.value is None and parsed.error)


@given(
    st.sampled_from(LABELS),
    st.sampled_from(["{}", " {}.", "**{}**", "Topic: {}", "{}\nbecause", '"{}"', "It is {}, I think"]),
    st.booleans(),
)
def test_a_label_is_found_whatever_stands_around_it(label, frame, upper):
    assume(label not in ("C++", "C") or "**" not in frame)
    text = frame.format(label.upper() if upper else label)
    assert parse_output(OUTPUTS[1], text).value == label


@given(texts)
def test_a_text_without_a_label_gives_none(text):
    assume(not any(label.casefold() in text.casefold() for label in LABELS))
    assume(not is_open(text))
    assert parse_output(OUTPUTS[1], text).value is None
