"""A prompt that is filled in between prepared bytes is, byte for byte, what ``fill`` and JSON make of it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings, strategies as st

from api.prompt import PromptTemplate
from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.rendering import fill, render_open
from optimizer.core.family.variant import Variant
from tests.examples import n_examples
from tests.strategies import variables_for, variants

ODD = st.text(
    st.sampled_from("aé\"\\/'{}<>&\b\t\n\r\x0b\x1f\x7f\x80\u2028\u2029\ue000\ue001\uf8ff\ufffe\U0001f600")
) | st.sampled_from(["{{text}}", "\ue0000\ue000", "\\u0041", "\ud800", "x" * 16_000, ""])
TEXTS = st.text() | ODD


def unfilled(variant: Variant, declared: list[str]) -> PromptTemplate:
    shape = {"family": "f", "variant": "v", "messages": render_open(variant), "variables": [], "model": {"name": "m"}}
    return PromptTemplate.of(shape, declared)


@settings(max_examples=n_examples(60))
@given(variants(), TEXTS, st.data())
def test_prepared_bytes_with_texts_between_them_are_the_json_of_the_filled_in_messages(variant, literal, data):
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
        expected = prepared.filled(fill(prepared.messages, values, declared=declared), b"token", {})
    except (InvalidInput, UnicodeEncodeError):
        assert prepared.filled_with(values, b"token", {}) is None
    else:
        assert prepared.filled_with(values, b"token", {}) == (expected if no_text is None else None)
        assert json.loads(expected)["assignment"] == "token"
