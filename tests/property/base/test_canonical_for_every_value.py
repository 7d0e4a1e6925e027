from __future__ import annotations

import json
import math

import pytest
import rfc8785
from hypothesis import given, strategies as st

from optimizer.core.base import canonical
from optimizer.core.base.canonical import canonical_json, digest
from tests.strategies import json_values, texts


@given(st.dictionaries(texts, json_values, max_size=5), st.randoms())
def test_the_order_of_keys_does_not_matter(value, random):
    keys = list(value)
    random.shuffle(keys)
    assert canonical_json({k: value[k] for k in keys}) == canonical_json(value)


@given(json_values)
def test_canonical_json_read_back_has_the_same_canonical_json(value):
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)


@given(st.floats(-1e6, 1e6))
def test_floats_that_agree_to_six_decimals_have_one_id(number):
    assert canonical_json(number) == canonical_json(round(number, 6))


@given(
    json_values
    | st.floats(-1e-3, 1e-3)
    | st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.floats(-1e17, 1e17), max_size=4)
)
def test_every_value_has_the_bytes_that_rfc_8785_asks_for(value):
    assert canonical_json(value) == rfc8785.dumps(canonical._plain(value))


@pytest.mark.parametrize(
    "value",
    [
        {"\ue000": 1, "\U0001f600": 2},
        1e-05,
        -0.000099,
        1e-4,
        0.1,
        123456.5,
        '\x00\x1f\x7f\u2028"\\/\b',
        {"b": 1, "B": 2},
    ],
)
def test_where_pythons_encoder_would_differ_rfc_8785_holds(value):
    assert canonical_json(value) == rfc8785.dumps(value)


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical_json({"a": "\ud800"})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_hold_is_refused(number):
    with pytest.raises(ValueError, match=r"."):
        canonical_json({"a": number})


def test_long_whole_numbers_stay_apart():
    assert canonical_json(2**60) != canonical_json(2**60 + 1)
    assert canonical_json(1e16) == canonical_json(10**16)


def test_a_digest_is_the_known_sha256():
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
