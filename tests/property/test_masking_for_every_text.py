from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from optimizer.core.privacy import BUILT_IN_RULES, Masker
from tests.strategies import json_values, texts

digits_and_signs = st.text("0123456789 -+.:()@abcDE", max_size=60)
own_rules = st.sampled_from(
    [
        {"pattern": r"cust-\d+", "replacement": "[customer]"},
        {"pattern": "ab", "replacement": ""},
        {"pattern": "[aeiou]+", "replacement": "#"},
    ]
)
rules = st.lists(st.sampled_from(BUILT_IN_RULES) | own_rules, max_size=4)


@given(rules, digits_and_signs | texts)
def test_masking_twice_equals_masking_once(given_rules, text):
    masker = Masker(given_rules)
    once = masker.mask(text)
    assert masker.mask(once) == once


@given(json_values)
def test_without_rules_nothing_changes(value):
    assert Masker().mask(value) == value


@given(st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.(com|org)", fullmatch=True), st.sampled_from(["{}", "write to {}.", "<{}>", "{}, please"]))
def test_an_address_is_gone_wherever_it_stands(address, frame):
    masked = Masker(["email"]).mask({"document": [frame.format(address)], "n": 1})
    assert masked == {"document": [frame.format("[email]")], "n": 1}


@given(st.lists(st.integers(0, 9), min_size=12, max_size=18).filter(lambda d: len(set(d)) > 1), st.sampled_from(["", " ", "-"]))
def test_every_number_with_a_right_check_digit_is_a_card(digits, separator):
    doubled = [d * (2 if i % 2 == 0 else 1) for i, d in enumerate(reversed(digits))]
    check = -sum(d - 9 if d > 9 else d for d in doubled) % 10
    number = "".join(map(str, [*digits, check]))
    shown = separator.join(number[i : i + 4] for i in range(0, len(number), 4))
    assert Masker(["card"]).mask(f"card {shown} ok") == "card [card] ok"
