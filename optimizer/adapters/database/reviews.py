"""Table reviews: questions that only a person may answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from optimizer.adapters.database.engine import table
from optimizer.adapters.database.tables import ReviewRow
from optimizer.core.errors import Conflict, NotFound

REVIEWS = table(ReviewRow)


class ReviewTable:
    """ports.Reviews on the database."""

    def open(self, tx: Connection, id: str, family: str, kind: str, subject: str, payload: Mapping[str, Any], at: datetime) -> None:
        row = {"id": id, "family": family, "kind": kind, "subject": subject, "payload": dict(payload), "status": "open", "created_at": at}
        tx.execute(insert(REVIEWS), [row])

    def get(self, tx: Connection, id: str) -> dict[str, Any] | None:
        row = tx.execute(select(REVIEWS).where(REVIEWS.c.id == id)).mappings().first()
        return None if row is None else dict(row)

    def page(self, tx: Connection, family: str | None, status: str | None) -> list[dict[str, Any]]:
        query = select(REVIEWS).order_by(REVIEWS.c.created_at, REVIEWS.c.id)
        if family is not None:
            query = query.where(REVIEWS.c.family == family)
        if status is not None:
            query = query.where(REVIEWS.c.status == status)
        return [dict(row) for row in tx.execute(query).mappings()]

    def of_kind(self, tx: Connection, family: str, kind: str) -> dict[str, datetime]:
        query = select(REVIEWS.c.subject, REVIEWS.c.created_at).where(REVIEWS.c.family == family, REVIEWS.c.kind == kind)
        return {row.subject: row.created_at for row in tx.execute(query)}

    def answer(self, tx: Connection, id: str, answer: str, by: str, at: datetime) -> dict[str, Any]:
        review = self.get(tx, id)
        if review is None:
            raise NotFound(f"There is no review {id!r}; `detent review list` shows the open ones.")
        if review["status"] != "open" and review["answer"] != answer:
            raise Conflict(f"Review {id} was answered {review['answer']!r} by {review['answered_by']} before; an answer stays.")
        if review["status"] == "open":
            given = {"status": "answered", "answer": answer, "answered_by": by, "answered_at": at}
            tx.execute(update(REVIEWS).where(REVIEWS.c.id == id).values(**given))
            review.update(given)
        return review
