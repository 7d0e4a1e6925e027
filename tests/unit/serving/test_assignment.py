"""Single cases of choosing and signing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.core.serving import assignment
from optimizer.core.serving.assignment import (
    Assignment,
    Override,
    VerifiedTokens,
    overrides_by_family,
    unit_hmac,
    verify_token,
)
from tests.chosen import chosen
from tests.rows.ingestion import sign_token
from tests.stores import rollout

T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
KEYS = (("k2", b"2" * 32), ("k1", b"1" * 32))
LEASED = {"status": "deploying", "stage": 0, "lease_expires_at": T0 + timedelta(seconds=60)}
EVERYBODY = rollout(family="f", candidate="v_c", champion="v_a", ladder=(1.0,), **LEASED)
COHORT = {"rollout": "ro_1", "stage": 0.1, "cohort_start": T0, "unit_hmac": unit_hmac(b"k", "ann")}
ASSIGNMENT = Assignment(family="f", variant="v_c", role="candidate", issued_at=T0, **COHORT)


def served(**changes):
    given = {"unit": "ann", "unit_hmac": "h", "champion": "v_a", "rollout": EVERYBODY, "now": T0}
    return chosen(**{**given, **changes})


def test_without_a_unit_the_champion_is_served_outside_the_arms():
    choice = served(unit=None, unit_hmac=None)
    assert (choice.variant, choice.role, choice.rollout) == ("v_a", "champion", None)


@pytest.mark.parametrize("status", ["pending", "validating", "approved", "deployed", "rolled_back", "failed"])
def test_only_a_deploying_rollout_serves_its_candidate(status):
    assert served(rollout=replace(EVERYBODY, status=status)).variant == "v_a"


def test_a_rollout_of_another_family_has_no_say():
    assert served(rollout=replace(EVERYBODY, family="g")).variant == "v_a"


def test_a_rollout_that_never_had_a_lease_is_unwatched():
    assert served(rollout=replace(EVERYBODY, lease_expires_at=None)).unwatched


def test_a_held_rollout_goes_on_serving_its_share():
    assert served(rollout=replace(EVERYBODY, held=True)).variant == "v_c"


@pytest.mark.parametrize(("variant", "role"), [("v_a", "champion"), ("v_c", "candidate"), ("v_x", "candidate")])
def test_an_override_wins_and_counts_in_no_arm(variant, role):
    choice = served(overrides={"h": (variant, T0 + timedelta(seconds=1))})
    assert (choice.variant, choice.role, choice.rollout, choice.counted) == (variant, role, None, False)


def test_an_override_ends_at_its_time():
    assert served(overrides={"h": ("v_x", T0)}).variant == "v_c"


def test_the_stores_overrides_are_sorted_by_family():
    one, two, three = (Override(f"v_{n}", T0) for n in (1, 2, 3))
    rows = [("f", "h1", one), ("g", "h1", two), ("f", "h2", three)]
    assert overrides_by_family(rows) == {"f": {"h1": one, "h2": three}, "g": {"h1": two}}


def test_a_token_is_what_the_reference_says():
    body, _, signature = sign_token(ASSIGNMENT, KEYS).partition(".")
    payload = json.loads(base64.urlsafe_b64decode(body + "=="))
    served = {"family": "f", "variant": "v_c", "rollout": "ro_1", "role": "candidate", "stage": 0.1}
    times = {"cohort_start": 1795165200, "issued_at": 1795165200}
    assert payload == {"k": "k2", **served, **times, "unit_hmac": unit_hmac(b"k", "ann")}
    expected = hmac.new(b"2" * 32, body.encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=") == expected


def refusal(token: str, *, keys=KEYS, now=T0) -> str:
    with pytest.raises(InvalidInput) as refused:
        verify_token(token, keys, now)
    return refused.value.members["type"]


def test_an_older_key_still_verifies_until_it_is_taken_away():
    token = sign_token(ASSIGNMENT, KEYS[1:])
    assert verify_token(token, KEYS, T0) == ASSIGNMENT
    assert refusal(token, keys=KEYS[:1]) == "unknown_key"


def test_another_installations_key_of_the_same_name_is_forged():
    assert refusal(sign_token(ASSIGNMENT, [("k2", b"x" * 32)])) == "forged_token"


def test_a_token_is_valid_for_thirty_days():
    token = sign_token(ASSIGNMENT, KEYS)
    assert verify_token(token, KEYS, T0 + timedelta(days=30)) == ASSIGNMENT
    assert refusal(token, now=T0 + timedelta(days=30, seconds=1)) == "expired_token"


@pytest.mark.parametrize("token", ["", ".", "a.b", "a.b.c", "e30.e30", "bnVsbA.x", "ü.x", "W10.x", None], ids=str)
def test_what_is_no_token_is_malformed(token):
    assert refusal(token) == "malformed_token"


@pytest.mark.parametrize("payload", [{}, {"role": "king"}, {"issued_at": "noon"}, {"issued_at": 10**30}], ids=str)
def test_a_signed_payload_that_is_no_assignment_is_malformed(payload):

    def encoded(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    unknown = dict.fromkeys(("rollout", "stage", "cohort_start", "unit_hmac"))
    full = {"family": "f", "variant": "v", "role": "champion", **unknown} if payload else {}
    body = encoded(json.dumps({"k": "k2", **full, **payload}).encode())
    signature = encoded(hmac.new(b"2" * 32, body.encode(), hashlib.sha256).digest())
    assert refusal(f"{body}.{signature}") == "malformed_token"


def test_a_token_that_came_before_is_not_verified_again_but_for_its_age(monkeypatch):
    tokens, token = VerifiedTokens(KEYS, most=2), sign_token(ASSIGNMENT, KEYS)
    first = tokens.assignment(token, ASSIGNMENT.issued_at)
    assert first == ASSIGNMENT
    monkeypatch.setattr(assignment, "verify_token", None)
    assert tokens.assignment(token, ASSIGNMENT.issued_at) is first
    with pytest.raises(InvalidInput, match="valid for 30 days"):
        tokens.assignment(token, ASSIGNMENT.issued_at + timedelta(days=31))


def test_no_more_tokens_are_remembered_than_was_said_and_a_forged_one_never_is():
    tokens = VerifiedTokens(KEYS, most=2)
    for i in range(5):
        tokens.assignment(sign_token(replace(ASSIGNMENT, unit_hmac=f"{i:064}"), KEYS), ASSIGNMENT.issued_at)
    assert len(tokens._known) <= 2
    forged = sign_token(ASSIGNMENT, [("k1", b"x" * 32)])
    for _ in range(2):
        with pytest.raises(InvalidInput):
            tokens.assignment(forged, ASSIGNMENT.issued_at)
