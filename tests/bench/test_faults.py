"""The messages of a channel are put to the fault that they tell of; what is promised of them is what is asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import faults
import pytest
from common import Cell
from faults import DISK, WORKER, Board, Lane

from optimizer.adapters.webhooks import text_of
from optimizer.ports import Alert, AlertMessage

AT = datetime(2026, 11, 20, tzinfo=UTC)
RESULT = json.loads((Path(faults.__file__).parent / "results" / "faults.json").read_text(encoding="utf-8"))


def message(event: Literal["raised", "cleared"], kind: str, detail: str, family: str | None = None) -> str:
    alert = Alert(id="al_1", kind=kind, family=family, level="critical", opened_at=AT, closed_at=AT, detail=detail)
    return text_of(AlertMessage(event=event, alert=alert), "home")


def board(*lanes: Lane) -> Board:
    made = Board()
    made.lanes = {lane.name: lane for lane in lanes}
    return made


def test_a_message_belongs_to_its_family_or_to_what_it_names() -> None:
    family, worker = Lane(case="errors 50 %", name="f2_0", rate=60), Lane(case=WORKER, name="worker")
    messages = board(family, worker)
    messages.take(message("raised", "alert_rule", "errors of f2_0: 50 % failed. Look: detent status", "f2_0"))
    messages.take(message("raised", "process_restarted", "worker (pid 7) was killed by signal 9"))
    messages.take(message("cleared", "process_restarted", "worker (pid 7) was killed by signal 9"))
    messages.take(message("raised", "store_damaged", "A page of the store is damaged."))
    assert family.messages == ["errors of f2_0: 50 % failed. Look: detent status"]
    assert family.told_at is not None
    assert family.cleared_at is None
    assert worker.cleared_at is not None
    assert len(messages.others) == 1


def cells(**of: float | None) -> list[Cell]:
    usual: dict[str, float | None] = {"stated": 2.0, "told": 1.0, "resolved": 1.0, "messages": 1.0, "longest": 1.5}
    names = {"longest": "until told, longest"}
    return [
        Cell(case=f"{DISK}, {names.get(name, name)}", ours=value, unit="", n=3)
        for name, value in {**usual, **of}.items()
    ]


@pytest.mark.parametrize(
    ("of", "why"),
    [
        ({"longest": 2.5}, "told after 2.5 minutes"),
        ({"longest": None}, "told after None minutes"),
        ({"messages": 2.0}, "2.0 messages"),
        ({"resolved": 2 / 3}, "not resolved by itself"),
    ],
)
def test_a_promise_that_was_not_kept_is_named(of: dict[str, float | None], why: str) -> None:
    assert faults.faults_in(cells()) == []
    (missed,) = faults.faults_in(cells(**of))
    assert why in missed


def test_every_fault_that_was_measured_was_told_and_ended_by_itself() -> None:
    of = {cell["case"]: cell for cell in RESULT["cells"]}
    cases = [case.removesuffix(", told") for case in of if case.endswith(", told")]
    assert len(cases) >= 11
    for case in cases:
        assert (of[f"{case}, told"]["ours"], of[f"{case}, resolved"]["ours"]) == (1.0, 1.0), case
        assert of[f"{case}, told"]["n"] >= 3
