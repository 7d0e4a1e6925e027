from __future__ import annotations

import re

from hypothesis import given, strategies as st

from optimizer.core.family.masking import BUILT_IN_RULES, CARD_CHARS, IBAN_CHARS, CardRow, IbanRow, Masker, runs_of
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


@given(
    st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.(com|org)", fullmatch=True),
    st.sampled_from(["{}", "write to {}.", "<{}>", "{}, please"]),
)
def test_an_address_is_gone_wherever_it_stands(address, frame):
    masked = Masker(["email"]).mask({"document": [frame.format(address)], "n": 1})
    assert masked == {"document": [frame.format("[email]")], "n": 1}


@given(
    st.lists(st.integers(0, 9), min_size=12, max_size=18).filter(lambda d: len(set(d)) > 1),
    st.sampled_from(["", " ", "-"]),
)
def test_every_number_with_a_right_check_digit_is_a_card(digits, separator):
    doubled = [d * (2 if i % 2 == 0 else 1) for i, d in enumerate(reversed(digits))]
    check = -sum(d - 9 if d > 9 else d for d in doubled) % 10
    number = "".join(map(str, [*digits, check]))
    shown = separator.join(number[i : i + 4] for i in range(0, len(number), 4))
    assert Masker(["card"]).mask(f"card {shown} ok") == "card [card] ok"


def is_card(digits):
    doubled = [int(d) * (2 if i % 2 else 1) for i, d in enumerate(reversed(digits))]
    return (
        CARD_CHARS[0] <= len(digits) <= CARD_CHARS[1]
        and len(set(digits)) > 1
        and sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0
    )


def is_iban(text):
    if not IBAN_CHARS[0] <= len(text) <= IBAN_CHARS[1] or not re.fullmatch(r"[A-Za-z]{2}\d{2}", text[:4]):
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def runs_tried_one_by_one(groups, is_it):
    first = 0
    while first < len(groups):
        after = next((end for end in range(len(groups), first, -1) if is_it("".join(groups[first:end]))), None)
        if after is not None:
            yield first, after
        first = after or first + 1


def with_right_check_digits(body):
    rest = int("".join(str(int(c, 36)) for c in body + "DE00")) % 97
    return f"DE{98 - rest:02}{body}"


digit_groups = st.lists(st.text("0123", min_size=1, max_size=5), min_size=1, max_size=40)
accounts = st.text("A7", min_size=11, max_size=30).map(with_right_check_digits)
account_groups = st.lists(accounts | st.text("AE89d", min_size=1, max_size=5), min_size=1, max_size=12) | accounts.map(
    list
)


@given(digit_groups)
def test_the_cards_of_a_row_are_those_that_trying_every_run_finds(groups):
    assert list(runs_of(groups, CardRow("".join(groups)))) == list(runs_tried_one_by_one(groups, is_card))


@given(account_groups)
def test_the_accounts_of_a_row_are_those_that_trying_every_run_finds(groups):
    assert list(runs_of(groups, IbanRow("".join(groups)))) == list(runs_tried_one_by_one(groups, is_iban))
