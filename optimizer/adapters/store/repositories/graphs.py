"""Table graphs: what was verified, what was proposed for it, and what a person decided."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select, tuple_, update

from optimizer.adapters.store.engine import insert_new
from optimizer.adapters.store.rows import columns_of, first, page_of, position_of, record_of, where_equal
from optimizer.adapters.store.tables.examples import GRAPHS
from optimizer.core.base.errors import Conflict, StaleVersion
from optimizer.core.graph.repair import read_repair
from optimizer.core.graph.verified import ProposedRepair, Unreadable, VerifiedGraph


class GraphTable:
    """ports.Graphs on the database."""

    def add(self, tx: Connection, graph: VerifiedGraph) -> None:
        if not insert_new(tx, GRAPHS, [_columns(graph)]):
            raise Conflict(f"The graph of interaction {graph.interaction!r} has its repairs already.")

    def get(self, tx: Connection, id: str) -> VerifiedGraph | None:
        return first(tx, select(GRAPHS).where(GRAPHS.c.id == id), _graph)

    def of_interaction(self, tx: Connection, family: str, interaction: str) -> VerifiedGraph | None:
        named = (GRAPHS.c.family == family, GRAPHS.c.interaction == interaction)
        return first(tx, select(GRAPHS).where(*named), _graph)

    def page(
        self, tx: Connection, *, family: str | None, pending: bool | None, cursor: str | None, limit: int
    ) -> tuple[list[VerifiedGraph], str | None]:
        oldest_first = select(GRAPHS).order_by(GRAPHS.c.created_at, GRAPHS.c.id).limit(limit + 1)
        query = where_equal(oldest_first, (GRAPHS.c.family, family))
        if pending is not None:
            query = query.where(GRAPHS.c.n_pending > 0 if pending else GRAPHS.c.n_pending == 0)
        if cursor is not None:
            after = position_of(cursor, datetime, str)
            query = query.where(tuple_(GRAPHS.c.created_at, GRAPHS.c.id) > tuple_(*after))
        graphs = [_graph(row) for row in tx.execute(query).mappings()]
        return page_of(graphs, limit, lambda graph: (graph.created_at, graph.id))

    def decide(self, tx: Connection, before: VerifiedGraph, after: VerifiedGraph) -> None:
        # Each decision leaves one fewer pending, so their number says whether another came in between.
        unchanged = (GRAPHS.c.id == before.id, GRAPHS.c.n_pending == len(before.pending))
        changes = {name: value for name, value in _columns(after).items() if name in ("repairs", "n_pending")}
        if tx.execute(update(GRAPHS).where(*unchanged).values(**changes)).rowcount == 0:
            raise StaleVersion(f"A repair of graph {before.id} was decided at the same moment. Look again, and repeat.")


def _columns(graph: VerifiedGraph) -> dict[str, Any]:
    return columns_of(
        graph,
        given=dict(graph.given),
        repairs=[
            {**asdict(one), "decided_at": None if one.decided_at is None else one.decided_at.isoformat()}
            for one in graph.repairs
        ],
        unreadable=[asdict(one) for one in graph.unreadable],
        n_pending=len(graph.pending),
    )


def _graph(row: RowMapping) -> VerifiedGraph:
    return record_of(
        VerifiedGraph,
        row,
        repairs=tuple(map(_repair, row["repairs"])),
        unreadable=tuple(Unreadable(**record) for record in row["unreadable"]),
    )


def _repair(record: dict[str, Any]) -> ProposedRepair:
    at = None if record["decided_at"] is None else datetime.fromisoformat(record["decided_at"])
    return ProposedRepair(**{**record, "repair": read_repair(record["repair"]), "decided_at": at})
