"""A family, and what a test reads of its store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from optimizer.adapters.store import Database
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.core.serving.rollout import Rollout
from tests.chosen import chosen
from tests.clock import Clock

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
