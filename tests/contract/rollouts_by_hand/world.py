"""A family, and what a test reads of its store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from optimizer.adapters.store import Database
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.core.rollout.transitions import OperatorAct
from optimizer.core.serving.rollout import Rollout
from optimizer.jobs.families.create_variant import CreatedVariant, VariantRequest, store_draft
from optimizer.jobs.record_change import ChangeReport, RolloutChange
from optimizer.jobs.rollouts.start_rollout import StartReport
from tests.chosen import chosen
from tests.clock import Clock
from tests.rows import rollout_acts

T0 = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
F = "summarization"


def family(*texts: str, current: str = "1", **rollout: object) -> Family:
    versions = {
        str(n): {"content": [{"role": "system", "content": t}, {"role": "user", "content": "{{document}}"}]}
        for n, t in enumerate(texts or ("Summarize.",), start=1)
    }
    return parse_family(
        {
            "name": F,
            "inputs": {"document": {"type": "text"}},
            "prompt": {"current": current, "versions": versions},
            "rollout": {"ladder": [0.1, 0.5], **rollout},
        }
    )


class Acts:
    """What people do with the family on one store, by name; who does not say otherwise is Ann."""

    def __init__(self, store: Database, clock: Clock) -> None:
        self._on: Any = {"store": store, "clock": clock, "actor": "ann"}

    def draft(self, *, of: Family | None = None, actor: str = "ann", **members: Any) -> CreatedVariant:
        return store_draft(of or family(), VariantRequest(family=F, **members), **{**self._on, "actor": actor})

    def start(self, variant: str, *, of: Family | None = None, **given: Any) -> StartReport:
        return rollout_acts.start_rollout(of or family(), variant, **{**self._on, **given})

    def operate(self, rollout: str, act: OperatorAct, **given: Any) -> RolloutChange:
        return rollout_acts.operate(rollout, act, **{**self._on, **given})

    def adopt(self, definition: Family, **given: Any) -> ChangeReport:
        return rollout_acts.adopt_file_version(definition, **{**self._on, **given})

    def set_champion(self, variant: str, *, family: str = F, **given: Any) -> ChangeReport:
        return rollout_acts.set_champion(family, variant, **{**self._on, **given})

    def roll_back(self, *, family: str = F, **given: Any) -> ChangeReport:
        return rollout_acts.roll_back_champion(family, **{**self._on, **given})


def load(store: Database, id: str) -> Rollout:
    with store.read() as tx:
        found = store.rollouts.get(tx, id)
    assert found is not None
    return found


def champion(store: Database) -> str:
    with store.read() as tx:
        tenure = store.champions.current(tx, F)
    assert tenure is not None
    return tenure.variant


def served(store: Database, clock: Clock, unit: str) -> tuple[str, str | None]:
    with store.read() as tx:
        choice = chosen(unit, clock.now(), family=F, champion=champion(store), rollout=store.rollouts.active(tx, F))
    return choice.role, choice.rollout


def audited(store: Database) -> list[str]:
    with store.read() as tx:
        rows, _ = store.audit.page(tx, None, 100)
    return [row["action"] for row in rows]


def version(store: Database) -> int:
    with store.read() as tx:
        return store.serving_version.read(tx)[0]


def candidate_unit(rollout: Rollout) -> str:
    for n in range(1000):
        choice = chosen(
            f"u{n}", T0, family=F, champion="x", rollout=replace(rollout, lease_expires_at=T0 + timedelta(days=1))
        )
        if choice.role == "candidate":
            return f"u{n}"
    raise AssertionError("no unit of a thousand in a share of 10 %")
