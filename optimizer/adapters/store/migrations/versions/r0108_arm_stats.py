"""Events summed up by rollout and arm: a page of a rollout read every event that the rollout had."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0108"
down_revision = "0107"

KEY = ("family", "rollout", "variant", "role")
COUNTS = ("n_interactions", "n_errors", "n_latency", "n_labelled", "n_success", "n_scored")
SUMS = ("latency_sum_ms", "cost_usd", "score_sum")


def upgrade() -> None:
    arms = op.create_table(
        "arm_stats",
        *(sa.Column(name, sa.String(), primary_key=True) for name in KEY),
        sa.Column("n_interactions", sa.Integer(), nullable=False),
        sa.Column("n_errors", sa.Integer(), nullable=False),
        sa.Column("n_latency", sa.Integer(), nullable=False),
        sa.Column("latency_sum_ms", sa.Float(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("n_labelled", sa.Integer(), nullable=False),
        sa.Column("n_success", sa.Integer(), nullable=False),
        sa.Column("n_scored", sa.Integer(), nullable=False),
        sa.Column("score_sum", sa.Float(), nullable=False),
    )
    names = [*KEY, *COUNTS, *SUMS]
    error, latency_ms, cost_usd = _column("error"), _column("latency_ms"), _column("cost_usd")
    success, score = sa.column("success", sa.Boolean()), _column("score")
    parts = sa.union_all(
        _by_arm(
            "interactions",
            n_interactions=sa.func.count(),
            n_errors=sa.func.count(error),
            n_latency=sa.func.count(latency_ms),
            latency_sum_ms=sa.func.sum(latency_ms),
            cost_usd=sa.func.sum(cost_usd),
        ),
        _by_arm(
            "feedback_events",
            n_labelled=sa.func.count(success),
            n_success=sa.func.sum(sa.case((success.is_(True), 1), else_=0)),
            n_scored=sa.func.count(score),
            score_sum=sa.func.sum(score),
        ),
    ).subquery()
    sums = [sa.func.sum(parts.c[name]) for name in (*COUNTS, *SUMS)]
    keys = [parts.c[name] for name in KEY]
    op.execute(sa.insert(arms).from_select(names, sa.select(*keys, *sums).group_by(*keys)))


def _by_arm(table: str, **sums: sa.ColumnElement[Any]) -> sa.Select[Any]:
    keys = [sa.func.coalesce(_column(name), "").label(name) for name in KEY]
    values = [sa.func.coalesce(sums.get(name), 0).label(name) for name in (*COUNTS, *SUMS)]
    return sa.select(*keys, *values).select_from(sa.table(table)).group_by(*map(_column, KEY))


def _column(name: str) -> sa.ColumnElement[Any]:
    return sa.column(name)
