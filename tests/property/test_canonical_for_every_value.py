from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.core.canonical import canonical_json, digest
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


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_hold_is_refused(number):
    with pytest.raises(ValueError, match=r"."):
        canonical_json({"a": number})


def test_long_whole_numbers_stay_apart():
    assert canonical_json(2**60) != canonical_json(2**60 + 1)
    assert canonical_json(1e16) == canonical_json(10**16)


def test_a_digest_is_the_known_sha256():
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
