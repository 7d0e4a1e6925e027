"""What ports.Graphs must do: keep a verified graph once per interaction, and each decision on it once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import Conflict, InvalidInput, StaleVersion
from optimizer.core.graph.repair import DeleteEntity, MergeEntities
from optimizer.core.graph.verified import ProposedRepair, Unreadable, VerifiedGraph, decide
from tests.stores import FAMILY, NOW, minutes, reading, writing


def verified(id: str = "gr_1", **changes: Any) -> VerifiedGraph:
    repairs = (
        ProposedRepair(id=f"{id}.1", repair=DeleteEntity(entity="York")),
        ProposedRepair(id=f"{id}.2", repair=MergeEntities(keep="mill", remove="Mill")),
    )
    given = {"entities": ["York", "mill", "Mill"], "relations": []}
    usual: dict[str, Any] = {
        "family": FAMILY,
        "interaction": f"in of {id}",
        "given": given,
        "repairs": repairs,
        "unreadable": (Unreadable(index=2, detail="it is no object"),),
        "unit_hmac": "u1",
        "received_at": NOW,
        "created_by": "app",
        "created_at": NOW,
    }
    return VerifiedGraph(id=id, **{**usual, **changes})


def keep(database: Database, *graphs: VerifiedGraph) -> None:
    for graph in graphs:
        writing(database).graphs.add(graph)


def test_a_graph_comes_back_as_it_was_kept(database: Database) -> None:
    keep(database, verified())
    with database.read() as tx:
        assert database.graphs.get(tx, "gr_1") == verified()
        assert database.graphs.of_interaction(tx, FAMILY, "in of gr_1") == verified()
        assert database.graphs.get(tx, "gr_2") is None
        assert database.graphs.of_interaction(tx, "other", "in of gr_1") is None


def test_an_interaction_has_one_graph(database: Database) -> None:
    keep(database, verified())
    with pytest.raises(Conflict, match="has its repairs already"):
        keep(database, verified("gr_2", interaction="in of gr_1"))
    keep(database, verified("gr_2", interaction="in of gr_1", family="other"))


def test_a_decision_is_kept_and_one_that_was_overtaken_is_not(database: Database) -> None:
    before = verified()
    keep(database, before)
    approved = decide(before, "gr_1.1", "approved", by="ann", reason="so", at=minutes(1))
    rejected = decide(before, "gr_1.2", "rejected", by="ben", reason="no", at=minutes(2))
    writing(database).graphs.decide(before, approved)
    with pytest.raises(StaleVersion, match="at the same moment"):
        writing(database).graphs.decide(before, rejected)
    assert reading(database).graphs.get("gr_1") == approved


def test_a_page_holds_what_was_asked_for_oldest_first(database: Database) -> None:
    done = replace(verified("gr_0"), repairs=(), created_at=minutes(9))
    keep(database, done, verified("gr_2", created_at=minutes(1)), verified("gr_3", family="other"), verified("gr_1"))

    def ids(family: str | None = None, pending: bool | None = None, limit: int = 10, cursor: str | None = None) -> Any:
        found, following = reading(database).graphs.page(family=family, pending=pending, cursor=cursor, limit=limit)
        return [one.id for one in found], following

    assert ids()[0] == ["gr_1", "gr_3", "gr_2", "gr_0"]
    assert ids(pending=True)[0] == ["gr_1", "gr_3", "gr_2"]
    assert ids(pending=False)[0] == ["gr_0"]
    assert ids(family="other")[0] == ["gr_3"]
    first, following = ids(limit=2)
    assert (first, ids(limit=2, cursor=following)) == (["gr_1", "gr_3"], (["gr_2", "gr_0"], None))
    with pytest.raises(InvalidInput, match="cursor"):
        ids(cursor="made up")
