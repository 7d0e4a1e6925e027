"""A body in which everything is wrong is answered with few faults: making each holds up who is served meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from api.schemas import ChatBody, RenderBody
from bench.siege.worst_texts import LIMITS
from optimizer.content.core.records.record import read_record
from optimizer.core.base.errors import MAX_ALIKE, InvalidInput
from optimizer.jobs.families.create_variant import VariantRequest
from optimizer.jobs.feedback.record_exposures import ExposuresRequest
from optimizer.jobs.rollouts.freeze import FreezeRequest
from optimizer.jobs.studies.create_study import BudgetBody
from optimizer.jobs.upkeep.manage_keys import KeyRequest
from tests.strategies import NOW

N = LIMITS.values
MEMBERS = {f"k{i}": 1 for i in range(N)}
CHAT = {"model": "m", "messages": []}


def errors_of(model: type[BaseModel], body: dict[str, Any]) -> list[Any]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    return caught.value.errors()


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (FreezeRequest, MEMBERS),
        (BudgetBody, MEMBERS),
        (ChatBody, {**CHAT, "detent": MEMBERS}),
        (RenderBody, {"variables": {}, "history": [0] * N}),
        (ExposuresRequest, {"client": "c", "windows": [[]] * N}),
        (ChatBody, {**CHAT, "messages": [None] * N}),
        (ChatBody, {**CHAT, "tools": ["x"] * N}),
        (KeyRequest, {"name": "k", "roles": [0] * N}),
        (KeyRequest, {"name": "k", "roles": ["serve"], "sources": [0] * N}),
    ],
)
def test_however_much_is_wrong_few_faults_are_made(model: type[BaseModel], body: dict[str, Any]) -> None:
    assert len(errors_of(model, body)) <= MAX_ALIKE + 1


def test_lists_of_objects_with_members_of_their_own_are_bounded() -> None:
    assert len(errors_of(VariantRequest, {"family": "f", "from": "v", "examples": [{}] * N})) <= 3 * 1000 + 1


def test_what_is_wrong_is_named_and_counted() -> None:
    (unknown,) = errors_of(FreezeRequest, {"reason": "r", **MEMBERS})
    assert f"{N:,} members are not known, such as k0, k1, k2, k3, k4; known are family, reason" in unknown["msg"]
    (wrong,) = errors_of(RenderBody, {"variables": {}, "history": [{}, *[0] * 100]})
    assert wrong["msg"] == "Value error, 100 entries are no objects, such as those at 1, 2, 3, 4, 5 (counted from 0)"


def test_a_few_are_named_each_with_its_place() -> None:
    def places(model: type[BaseModel], body: dict[str, Any]) -> list[Any]:
        return [one["loc"] for one in errors_of(model, body)]

    assert places(FreezeRequest, {"famliy": "f", "raeson": "r"}) == [("famliy",), ("raeson",)]
    assert places(RenderBody, {"variables": {}, "history": [0, {}, 1]}) == [("history", 0), ("history", 2)]


def test_a_member_under_its_other_name_is_known() -> None:
    assert "from_" not in errors_of(VariantRequest, {"family": "f", "from": "v", **MEMBERS})[0]["msg"]


def test_of_a_records_unknown_members_some_are_named_and_the_others_counted() -> None:
    with pytest.raises(InvalidInput, match=rf"and {N - MAX_ALIKE:,} more are no members of a record\.") as caught:
        read_record({"processing_type": "full", **MEMBERS}, id="r", received_at=NOW)
    assert len(caught.value.faults) == MAX_ALIKE + 1
