"""A prompt that is filled in between prepared bytes is, byte for byte, what ``fill`` and JSON make of it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from api.http.bodies import MAX_INTEGER, checked, read_json
from api.http.body_limits import BodyLimit
from api.prompt import Unfilled
from api.quick import plain_body
from api.schemas import RenderBody
from optimizer.core.base.errors import DetentError, InvalidInput
from optimizer.core.family.rendering import fill, render_open
from optimizer.core.family.variant import Variant
from tests.examples import n_examples
from tests.strategies import variables_for, variants

ODD = st.text(
    st.sampled_from("aé\"\\/'{}<>&\b\t\n\r\x0b\x1f\x7f\x80\u2028\u2029\ue000\ue001\uf8ff\ufffe\U0001f600")
) | st.sampled_from(["{{text}}", "\ue0000\ue000", "\\u0041", "\ud800", "x" * 16_000, ""])
TEXTS = st.text() | ODD


def unfilled(variant: Variant, declared: list[str]) -> Unfilled:
    shape = {"family": "f", "variant": "v", "messages": render_open(variant), "variables": [], "model": {"name": "m"}}
    return Unfilled.of(shape, declared)


@settings(max_examples=n_examples(150))
@given(variants(), TEXTS, st.data())
def test_prepared_bytes_with_texts_between_them_are_the_json_of_the_filled_in_messages(
    variant: Variant, literal: str, data: st.DataObject
) -> None:
    literal = literal.replace("{", "(").encode(errors="replace").decode()
    messages = [{"role": "system", "content": literal}, *variant.messages]
    variant = Variant(messages=messages, examples=variant.examples, model=variant.model, policy=variant.policy)
    known = data.draw(variables_for(variant))
    texts = {name: data.draw(TEXTS) for name in known}
    change = data.draw(st.sampled_from(["none", "none", "unknown", "declared", "missing", "no text"]))
    if change in ("unknown", "declared"):
        texts["other"] = data.draw(TEXTS)
    elif change == "missing" and texts:
        del texts[next(iter(texts))]
    no_text = next(iter(texts), None) if change == "no text" else None
    values: dict[str, Any] = texts if no_text is None else {**texts, no_text: {"a": None}}
    declared = ["other"] if change == "declared" else []
    prepared = unfilled(variant, declared)
    try:
        expected = prepared.filled(fill(prepared.messages, values, declared=declared), b"token", ())
    except (InvalidInput, UnicodeEncodeError):
        assert prepared.filled_with(values, b"token", ()) is None
    else:
        assert prepared.filled_with(values, b"token", ()) == (expected if no_text is None else None)
        assert json.loads(expected)["assignment"] == "token"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER - 2, MAX_INTEGER + 2) | st.floats() | TEXTS | st.just("a\0b"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "unit": VALUES | st.text(min_size=1, max_size=20) | st.sampled_from(["u" * 512, "u" * 513]),
        "variables": VALUES | st.dictionaries(st.text(max_size=3) | st.just("a\0"), TEXTS, max_size=3),
        "history": VALUES,
        "colour": VALUES,
    },
)
LIMIT = BodyLimit(n_bytes=10**6, n_values=10**6, setting="", values_setting="")


@settings(max_examples=n_examples(300))
@example({"variables": {"text": "a\0b"}}, True)
@example({"variables": {"a\0b": "text"}}, True)
@example({"unit": "u" * 513, "variables": {}}, True)
@example({"unit": "", "variables": {}}, True)
@example({"unit": "u", "variables": {}, "colour": None}, True)
@example({"variables": {}, "history": []}, True)
@example({"variables": {}, "history": None}, True)
@example({"variables": {}, "history": {}}, True)
@example({"variables": {}, "history": [{"role": "user", "content": "text"}]}, True)
@given(BODIES | VALUES, st.booleans())
def test_a_body_that_is_taken_for_plain_is_what_the_schema_reads(value: Any, ascii_only: bool) -> None:
    try:
        body = json.dumps(value, ensure_ascii=ascii_only).encode()
        plain = plain_body(read_json(body, LIMIT), body)
    except (DetentError, UnicodeEncodeError):  # no JSON text of UTF-8
        return
    try:
        expected = RenderBody.model_validate(checked(read_json(body, LIMIT)))
    except (DetentError, ValidationError):
        assert plain is None
    else:
        is_simple = not expected.history and "\\u0000" not in body.decode()
        has_texts = all(isinstance(text, str) for text in expected.variables.values())
        assert (plain is not None) == (is_simple and has_texts)
        if plain is not None:
            assert (plain.unit, plain.variables, list(plain.history)) == (
                expected.unit, expected.variables, expected.history,
            )  # fmt: skip
