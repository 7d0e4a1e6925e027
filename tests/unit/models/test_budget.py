"""What a call may cost at most, and when it still fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from optimizer.core.base.errors import BudgetTooSmall
from optimizer.core.base.values import Budget, Spend
from optimizer.core.models.budget import (
    HeldBack,
    charge_after_failure,
    denial_of,
    require_bounded,
    reservation_usd,
    worth_a_retry,
)
from optimizer.core.models.language import ModelPrice, ModelRequest
from optimizer.core.models.wire import MESSAGE, wire_messages
from tests.stand_ins.scripted_model import failed

PRICE = ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)


def request(*texts: str, **params: object) -> ModelRequest:
    return ModelRequest(
        model="m", revision="r", messages=[{"role": "user", "content": text} for text in texts], params=params
    )


def test_a_reservation_is_bytes_and_sixteen_per_message_at_the_input_price_and_the_limit_at_the_output_price():
    # "aé" is 3 bytes; (3 + 1 + 2 * 16) x $1 + 50 x $10, per million
    assert reservation_usd(request("aé", "b", max_tokens=50), PRICE) == pytest.approx((36 + 500) / 1e6)


def test_tools_and_response_format_are_part_of_what_is_paid_for():
    plain, with_tool = (request("a", max_tokens=1, **more) for more in ({}, {"tools": [{"type": "function"}]}))
    assert reservation_usd(with_tool, PRICE) == pytest.approx(reservation_usd(plain, PRICE) + 21 / 1e6)


@pytest.mark.parametrize("member", [name for name in MESSAGE if name != "role"])
def test_whatever_of_a_message_reaches_the_model_is_part_of_what_is_paid_for(member: str):
    """The list of what is sent is the list of what is counted:
    a member that is sent and not counted passes every cap.
    """
    nested = {"x": "y" * 1000}
    lists: dict[str, Any] = {"tool_calls": [nested], "thinking_blocks": [nested], "function_call": nested}
    value = lists.get(member, "y" * 1000)
    long = replace(request("a", max_tokens=1), messages=[{"role": "user", "content": "", member: value}])
    assert wire_messages(long.messages)[0][member] == value
    assert reservation_usd(long, PRICE) >= (1000 + 16 + 10) / 1e6


@pytest.mark.parametrize("name", ["reasoning_effort", "verbosity"])
def test_a_setting_that_is_a_text_is_part_of_what_is_paid_for(name: str):
    """Some models' templates write it into the prompt as it is."""
    assert reservation_usd(request("a", max_tokens=1, **{name: "y" * 1000}), PRICE) >= (1000 + 16 + 10) / 1e6


def test_the_models_own_limit_counts_where_the_request_has_none():
    assert reservation_usd(request("a"), PRICE, 7) == pytest.approx((17 + 70) / 1e6)


CASES = [
    pytest.param(Budget(calls=3), Spend(n_calls=2), 0.0, None, True, id="the last allowed call"),
    pytest.param(Budget(calls=3), Spend(n_calls=3), 0.0, None, False, id="one call too many"),
    pytest.param(
        Budget(calls=3), Spend(n_calls=1), 0.0, HeldBack(n_calls=2), False, id="calls held back for the confirmation"
    ),
    pytest.param(Budget(usd=0.3), Spend(usd=0.1 + 0.1), 0.1, None, True, id="0.1 three times fits under 0.3"),
    pytest.param(Budget(usd=0.3), Spend(usd=0.2), 0.100001, None, False, id="a little too dear"),
    pytest.param(
        Budget(usd=0.3), Spend(usd=0.1), 0.1, HeldBack(usd=0.2), False, id="dollars held back for the confirmation"
    ),
    pytest.param(Budget(usd=0.0), Spend(), 0.0, None, True, id="a free model fits under a cap of nothing"),
    pytest.param(Budget(), Spend(usd=1e6, n_calls=10**9), 1e6, None, True, id="no cap at all"),
]


@pytest.mark.parametrize(("budget", "spend", "reserve", "held", "fits"), CASES)
def test_a_call_is_allowed_only_when_it_fits_under_every_cap(budget, spend, reserve, held, fits):
    denial = denial_of(budget, spend, reserve, held or HeldBack())
    assert (denial is None) is fits
    assert denial is None or denial.endswith(".")


def test_under_a_dollar_cap_a_model_needs_a_price_and_an_output_limit():
    with pytest.raises(BudgetTooSmall, match="no known price"):
        require_bounded("m", None, 10, Budget(usd=1))
    with pytest.raises(BudgetTooSmall, match="no output limit"):
        require_bounded("m", PRICE, None, Budget(usd=1))
    require_bounded("m", None, None, Budget(calls=5))
    require_bounded("m", ModelPrice(input_usd_per_mtok=0, output_usd_per_mtok=0), None, Budget(usd=1))


@pytest.mark.parametrize(
    ("kind", "status", "sent", "charged", "again"),
    [
        pytest.param("unreachable", None, False, 0.0, True, id="never left"),
        pytest.param("unreachable", None, True, 1.0, True, id="broke off on the way"),
        pytest.param("timeout", None, True, 1.0, True, id="no answer in time may have been billed"),
        pytest.param("rate_limit", 429, True, 0.0, True, id="told to wait"),
        pytest.param("rate_limit", None, True, 0.0, True, id="told to wait without a status"),
        pytest.param("http", 400, True, 0.0, False, id="refused as malformed"),
        pytest.param("http", 500, True, 1.0, True, id="the provider's own fault"),
        pytest.param("malformed", None, True, 1.0, False, id="an answer nobody can read"),
        pytest.param("library", None, True, 1.0, False, id="a fault of the library"),
    ],
)
def test_a_failed_attempt_counts_in_full_unless_it_cannot_have_been_billed(kind, status, sent, charged, again):
    error = failed(kind, status=status, sent=sent)
    assert charge_after_failure(error, 1.0) == charged
    assert charge_after_failure(error, 1.0, n_bytes=1) == 1.0, "pieces are billed whatever ended them"
    assert charge_after_failure(error, 1.0, of_service=True) == (0.0 if status == 500 else charged)
    assert worth_a_retry(kind, status) is again
