from __future__ import annotations

import pytest

from optimizer.core.family.masking import BUILT_IN_RULES, Masker, MaskTooSlow
from optimizer.core.family.settings import Privacy

ALL = Masker(BUILT_IN_RULES)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        pytest.param("mail jane.doe+x@mail.example.co.uk.", "mail [email].", id="email"),
        pytest.param("call +49 (30) 1234-567 now", "call [phone] now", id="phone with country"),
        pytest.param("(030) 1234567", "[phone]", id="phone with area in brackets"),
        pytest.param("020 7946 0958", "[phone]", id="phone with area"),
        pytest.param("555-867-5309", "[phone]", id="phone in three groups"),
        pytest.param("card 4111 1111 1111 1111, thanks", "card [card], thanks", id="card in fours"),
        pytest.param("378282246310005", "[card]", id="card of fifteen digits"),
        pytest.param("item 12 4111-1111-1111-1111", "item 12 [card]", id="card after another number"),
        pytest.param("to DE89 3704 0044 0532 0130 00 TODAY", "to [iban] TODAY", id="iban in fours"),
        pytest.param("GB82WEST12345698765432", "[iban]", id="iban in one"),
        pytest.param("from 192.168.0.1:80", "from [ip]:80", id="ipv4"),
        pytest.param("at 2001:db8::8a2e:370:7334.", "at [ip].", id="ipv6"),
    ],
)
def test_personal_data_is_masked(text, masked):
    assert ALL.mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        *("4111 1111 1111 1112", "0000000000000000", "GB00WEST12345698765432", "300.1.1.1", "1.2.3.4.5", "12:30:45"),
        *("std::vector", "::", "2026-11-20 09:14", "3.14159265358979", "a@b", "@name", "1234567"),
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert ALL.mask(text) == text


def test_texts_are_masked_at_any_depth_in_keys_too_and_other_values_stay():
    value = {"a": ["x@y.de", {"b@c.de": ("d@e.de", 1, None, True, 2.5)}]}
    assert Masker(["email"]).mask(value) == {"a": ["[email]", {"[email]": ["[email]", 1, None, True, 2.5]}]}


def test_names_that_are_alike_once_masked_keep_their_values():
    value = {"ann@x.de": 1, "bob@y.de": 2, "[email] 2": 3, "cat@z.de": 4}
    assert Masker(["email"]).mask(value) == {"[email]": 1, "[email] 2": 2, "[email] 2 2": 3, "[email] 3": 4}


def test_very_many_names_that_are_alike_once_masked_are_numbered_in_one_pass():
    masked = Masker(["email"]).mask({f"u{n}@x.de": n for n in range(20_000)})
    assert (len(masked), masked["[email] 20000"]) == (20_000, 19_999)


def test_a_rule_of_the_users_own_replaces_literally():
    masker = Masker([{"pattern": r"cust-(\d+)", "replacement": r"\1"}])
    assert masker.mask("cust-12") == r"\1"


def test_a_match_that_a_removal_brings_together_is_masked_too():
    assert Masker([{"pattern": "ab", "replacement": ""}]).mask("xaabby") == "xy"


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        pytest.param("fax", "no mask named 'fax'", id="unknown name"),
        pytest.param({"pattern": "("}, "no regular expression", id="broken pattern"),
        pytest.param({"pattern": "x*"}, "matches the empty text", id="matches nothing"),
        pytest.param({"pattern": "x", "replacement": "xx"}, "its own replacement", id="never ends"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(rule, says):
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        Masker([rule])


def test_store_masked_without_rules_means_all_built_in_ones():
    assert Masker(Privacy(store="masked").rules).mask("x@y.de 10.0.0.1") == "[email] [ip]"
    assert Masker(Privacy(store="masked", mask=("ip",)).rules).mask("x@y.de 10.0.0.1") == "x@y.de [ip]"
    assert not Masker(Privacy(store="full").rules)
    assert Masker(Privacy(store="full", mask=("email",)).rules)


def test_a_text_that_an_own_expression_does_not_get_through_is_refused_and_the_fourth_is_not_even_tried():
    masker = Masker([{"pattern": "(x|xx)+$"}], own_rule_s=0.01)
    for _ in range(3):
        with pytest.raises(MaskTooSlow, match=r"takes more than 0\.01 s for a text of 61 characters"):
            masker.mask("x" * 60 + "z")
    with pytest.raises(MaskTooSlow):
        masker.mask("harmless")
