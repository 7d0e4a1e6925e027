"""Labels of a sheet that may be one, and how they differ from those that the prompt names."""

from __future__ import annotations

import pytest

from optimizer.core.dataset.labels import labels_in_prompt, look_alikes
from tests.cases import named


@pytest.mark.parametrize(
    ("one", "other", "is_offered"),
    [
        pytest.param("Account Access", "account_access", True, id="case and underscore"),
        pytest.param("account access", "account-access", True, id="hyphen"),
        pytest.param("log in", "login", True, id="a space less"),
        pytest.param("AccountAccess", "account_access", True, id="camel case"),
        pytest.param("billing", "biling", True, id="a letter less"),
        pytest.param("billing", "billings", True, id="a letter more"),
        pytest.param("refund", "refnud", True, id="two letters swapped"),
        pytest.param("refund", "refumd", True, id="another letter"),
        pytest.param("account access", "acount_access", True, id="a slip in one of two words"),
        pytest.param("level 1", "level 2", False, id="another digit"),
        pytest.param("class 1", "class 11", False, id="a digit more"),
        pytest.param("stage II", "stage III", False, id="a short word"),
        pytest.param("yes", "no", False, id="other words"),
        pytest.param("in", "on", False, id="short words"),
        pytest.param("card payment", "card refund", False, id="one word of two is another"),
        pytest.param("billing", "ibllnig", False, id="two slips"),
        pytest.param("import", "export", False, id="two letters"),
    ],
)
@pytest.mark.parametrize("n", [5, 20])
def test_labels_that_may_be_one_are_offered_however_often_each_stands_there(one, other, is_offered, n):
    found = look_alikes({one: 20, other: n, "something else": 20})
    assert [{pair.rare, pair.common} for pair in found] == [{one, other}] * is_offered


def test_a_rare_label_that_is_nearly_a_frequent_one_is_offered() -> None:
    assert [pair.common for pair in look_alikes({"refund": 20, "rfundd": 2})] == ["refund"]
    assert look_alikes({"refund": 20, "rfundd": 3}) == []


LABELS = ("account_access", "billing", "refund")


@named(
    ("prompt", "unnamed", "spelled", "unknown"),
    {
        "all named": ("One of account_access, billing or Refund.\n\n{{text}}", (), {}, ()),
        "none named": ("Sort the message.\n\n{{text}}", LABELS, {}, ()),
        "one is not named": ("One of account_access, billing.\n\n{{text}}", ("refund",), {}, ()),
        "a slip of a label": ("Say billing, refunds or account_access.", ("refund",), {}, ("refunds",)),
        "written otherwise": ("Account Access, billing or refund?", (), {"account_access": "Account Access"}, ()),
        "one that no row has": (
            "Answer with one of: account_access, billing, refund, other. Be brief, please, and kind.",
            (),
            {},
            ("other",),
        ),
        "a placeholder is none": ("Choose refund, billing, account_access or\n{{text}}", (), {}, ()),
        "a list of JSON": ('["account_access", "billing", "refund", "spam"]', (), {}, ("spam",)),
        "bars": ("refund|billing|account_access|none", (), {}, ("none",)),
        "bullets": (
            "Labels:\n- billing: money, and more\n- refund (money back)\n- account_access\n- bug report\n\nText:",
            (),
            {},
            ("bug report",),
        ),
        "no list": ("Tell billing from refund for account_access users", (), {}, ()),
    },
)
def test_what_prompt_and_sheet_do_not_share_is_told(prompt, unnamed, spelled, unknown):
    found = labels_in_prompt(prompt, LABELS)
    assert (found.unnamed, found.spelled, found.unknown) == (unnamed, spelled, unknown)
