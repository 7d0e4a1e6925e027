"""Tables rollouts and decisions: the state machine's rows and its hash chain, one transaction for both."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, bindparam, insert, or_, select, update

from optimizer.adapters.store import cursors
from optimizer.adapters.store.rows import columns_of, first, narrowed, record_of
from optimizer.adapters.store.tables import DecisionRow, RolloutRow
from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import Conflict, NotFound, StaleVersion
from optimizer.core.serving.rollout import Decision, Rollout

ROLLOUTS = RolloutRow.__table__
DECISIONS = DecisionRow.__table__
# Built once: every tick asks for them, and building one takes longer than running it.
_BY_ID = select(ROLLOUTS).where(ROLLOUTS.c.id == bindparam("of_id"))
_ACTIVE = select(ROLLOUTS).where(ROLLOUTS.c.active_family == bindparam("of_family"))
_ALL_ACTIVE = select(ROLLOUTS).where(ROLLOUTS.c.active_family.is_not(None)).order_by(ROLLOUTS.c.active_family)
_RENEW = update(ROLLOUTS).where(ROLLOUTS.c.id == bindparam("of_id")).values(lease_expires_at=bindparam("until"))
_LATEST = (
    select(ROLLOUTS)
    .where(ROLLOUTS.c.family == bindparam("of_family"))
    .order_by(ROLLOUTS.c.created_at.desc(), ROLLOUTS.c.id.desc())
    .limit(1)
)


class RolloutTables:
    """ports.Rollouts on the database."""

    def add(self, tx: Connection, rollout: Rollout) -> None:
        active = self.active(tx, rollout.family) if rollout.is_active else None
        if active is not None:
            raise Conflict(
                f"Family {rollout.family!r} has rollout {active.id} ({active.status}) already, and a family has one at"
                f" a time. End it first: `detent rollout rollback {rollout.family}` or `detent rollout promote"
                f" {rollout.family}`.",
                rollout=active.id,
            )
        tx.execute(insert(ROLLOUTS), [_columns(rollout)])

    def get(self, tx: Connection, id: str) -> Rollout | None:
        return first(tx, _BY_ID, _rollout, {"of_id": id})

    def active(self, tx: Connection, family: str) -> Rollout | None:
        return first(tx, _ACTIVE, _rollout, {"of_family": family})

    def latest(self, tx: Connection, family: str) -> Rollout | None:
        return first(tx, _LATEST, _rollout, {"of_family": family})

    def last_against(self, tx: Connection, family: str, *, candidate: str, champion: str) -> Rollout | None:
        r = ROLLOUTS.c
        both = select(ROLLOUTS).where(r.family == family, r.candidate == candidate, r.champion == champion)
        return first(tx, both.order_by(r.created_at.desc(), r.id.desc()).limit(1), _rollout)

    def all_active(self, tx: Connection) -> list[Rollout]:
        return [_rollout(row) for row in tx.execute(_ALL_ACTIVE).mappings()]

    def page(
        self, tx: Connection, *, family: str | None, cursor: str | None, limit: int
    ) -> tuple[list[Rollout], str | None]:
        query = narrowed(cursors.newest_first(select(ROLLOUTS), ROLLOUTS, cursor, limit), (ROLLOUTS.c.family, family))
        rollouts = [_rollout(row) for row in tx.execute(query).mappings()]
        return cursors.page(rollouts, limit, lambda rollout: (rollout.created_at, rollout.id))

    def following(self, tx: Connection, rollout: Rollout) -> Rollout | None:
        r = ROLLOUTS.c
        later = or_(r.created_at > rollout.created_at, and_(r.created_at == rollout.created_at, r.id > rollout.id))
        query = select(ROLLOUTS).where(r.family == rollout.family, later).order_by(r.created_at, r.id).limit(1)
        return first(tx, query, _rollout)

    def save(self, tx: Connection, rollout: Rollout, decision: Decision | None) -> None:
        before = ROLLOUTS.c.version == rollout.version - 1
        change = update(ROLLOUTS).where(ROLLOUTS.c.id == rollout.id, before).values(**_columns(rollout))
        if tx.execute(change).rowcount == 0:
            stored = tx.execute(select(ROLLOUTS.c.version).where(ROLLOUTS.c.id == rollout.id)).scalar()
            if stored is None:
                raise NotFound(f"There is no rollout {rollout.id!r}.")
            raise StaleVersion(
                f"Rollout {rollout.id} is at version {stored} by now, and this change was made for version"
                f" {rollout.version - 1}. Look at it again, then repeat the change if it still makes sense.",
                version=stored,
            )
        if decision is not None:
            content = canonical_json(decision.content).decode()
            tx.execute(insert(DECISIONS), [columns_of(decision, content=content)])

    def renew_lease(self, tx: Connection, id: str, until: datetime) -> None:
        tx.execute(_RENEW, {"of_id": id, "until": until})

    def decisions(self, tx: Connection, rollout: str) -> list[Decision]:
        query = select(DECISIONS).where(DECISIONS.c.rollout == rollout).order_by(DECISIONS.c.seq)
        return [_decision(row) for row in tx.execute(query).mappings()]

    def last_decision(self, tx: Connection, rollout: str) -> Decision | None:
        query = select(DECISIONS).where(DECISIONS.c.rollout == rollout).order_by(DECISIONS.c.seq.desc()).limit(1)
        return first(tx, query, _decision)


def _columns(rollout: Rollout) -> dict[str, Any]:
    return columns_of(
        rollout,
        ladder=list(rollout.ladder),
        settings=dict(rollout.settings),
        stage_history=[dict(stage) for stage in rollout.stage_history],
        active_family=rollout.family if rollout.is_active else None,
    )


def _rollout(row: RowMapping) -> Rollout:
    return record_of(Rollout, row, ladder=tuple(row["ladder"]), stage_history=tuple(row["stage_history"]))


def _decision(row: RowMapping) -> Decision:
    return record_of(Decision, row, content=_content(row["content"]))


def _content(text: str) -> Any:
    """The content of a decision; what is not the canonical JSON that was hashed is handed on as it is,
    for verification to name.
    """
    try:
        content = json.loads(text)
        if canonical_json(content).decode() == text:
            return content
    except ValueError:  # broken JSON, or values that canonical JSON cannot hold
        pass
    return {"unreadable": text}
