"""The first schema: every table as the first release has it.

Written out, and frozen: it does not follow ``tables.py``. What changes a table later is a step of its own, on top of
this one. Revisions before 0100 are of the time before the first release; a store of theirs is refused.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import sqlalchemy as sa
from alembic import op

from optimizer.adapters.store.tables import Utc

revision = "0100"
down_revision = None


def upgrade() -> None:
    _events()
    _examples()
    _variants()
    _studies()
    _rollouts()
    _serving()
    _figures()
    _operation()


def _columns(kind: sa.types.TypeEngine[Any], *names: str, default: Any = None) -> list[sa.Column[Any]]:
    """Columns of one type; one whose name ends in a question mark may be NULL."""
    return [sa.Column(name.rstrip("?"), kind, nullable=name.endswith("?"), server_default=default) for name in names]


text = partial(_columns, sa.String())
integer = partial(_columns, sa.Integer())
numbered = partial(_columns, sa.BigInteger().with_variant(sa.Integer(), "sqlite"))
real = partial(_columns, sa.Float())
boolean = partial(_columns, sa.Boolean())
json = partial(_columns, sa.JSON())
time = partial(_columns, Utc())
key = sa.PrimaryKeyConstraint


def _events() -> None:
    """What applications report, and what was fetched."""
    op.create_table(
        "interactions",
        *text("family", "id", "variant?", "rollout?", "role?"),
        *real("stage?"),
        *time("cohort_start?"),
        *text("unit_hmac?", "conversation?", "model?"),
        *json("input?"),
        *text("output?"),
        *real("latency_ms?", "time_to_first_token_ms?", "cost_usd?"),
        *integer("input_tokens?", "output_tokens?"),
        *text("error?"),
        *json("tags"),
        *text("content_hash"),
        *time("occurred_at", "received_at"),
        *json("parts?"),
        *text("sent_by?"),
        *boolean("by_gateway", "recomputed", default=sa.false()),
        key("family", "id"),
    )
    op.create_index("ix_interactions_family_received", "interactions", ["family", "received_at"])
    op.create_index("ix_interactions_id", "interactions", ["id"])
    op.create_index("ix_interactions_rollout_cohort", "interactions", ["rollout", "cohort_start"])
    op.create_index("ix_interactions_rollout_occurred", "interactions", ["rollout", "occurred_at"])
    op.create_index("ix_interactions_unit", "interactions", ["unit_hmac"])
    op.create_table(
        "feedback_events",
        *text("family", "id", "variant?", "rollout?", "role?"),
        *real("stage?"),
        *time("cohort_start?"),
        *text("unit_hmac?", "interaction?", "source"),
        *real("score?"),
        *boolean("success?"),
        *text("label?"),
        *json("expected?", "tags"),
        *text("content_hash"),
        *time("occurred_at", "received_at"),
        *text("sent_by?"),
        *boolean("recomputed", default=sa.false()),
        key("family", "id"),
    )
    op.create_index("ix_feedback_family_received", "feedback_events", ["family", "received_at"])
    op.create_index("ix_feedback_interaction", "feedback_events", ["family", "interaction"])
    op.create_index("ix_feedback_rollout_cohort", "feedback_events", ["rollout", "cohort_start"])
    op.create_index("ix_feedback_unit_received", "feedback_events", ["unit_hmac", "received_at"])
    op.create_table(
        "later_parts",
        *text("family", "interaction"),
        *json("parts"),
        *real("cost_usd"),
        *time("received_at"),
        key("family", "interaction"),
    )
    op.create_index("ix_later_parts_family_received", "later_parts", ["family", "received_at"])
    op.create_table(
        "idempotency_keys",
        *text("key", "scope", "body_hash"),
        *json("answer"),
        *time("created_at"),
        key("key", "scope"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_table(
        "exposure_counts",
        *text("family", "variant", "rollout", "stage"),
        *time("window_start"),
        *text("client"),
        *integer("n_exposed"),
        *text("sent_by?"),
        key("family", "variant", "rollout", "stage", "window_start", "client"),
    )
    op.create_index("ix_exposure_counts_rollout", "exposure_counts", ["rollout"])


def _examples() -> None:
    """What searches learn from, and what a person is asked."""
    op.create_table(
        "examples",
        *text("family", "id"),
        *json("input", "expected"),
        *text("group", "split", "origin"),
        *boolean("released"),
        *text("released_by?", "unit_hmac?", "interaction?", "content_hash"),
        *time("created_at"),
        key("family", "id"),
    )
    op.create_index("ix_examples_family_split", "examples", ["family", "split"])
    op.create_index("ix_examples_unit", "examples", ["unit_hmac"])
    op.create_table(
        "holdout_looks", *text("family", "example", "study"), *time("looked_at"), key("family", "example", "study")
    )
    op.create_table(
        "reviews",
        *text("id", "family", "kind", "subject"),
        *json("payload"),
        *text("status", "answer?", "answered_by?"),
        *time("created_at", "answered_at?"),
        key("id"),
    )
    op.create_index("ix_reviews_family", "reviews", ["family"])


def _variants() -> None:
    """Settings of families, and how each did."""
    op.create_table(
        "variants",
        *text("family", "id"),
        *json("content"),
        *text("source", "note", "file_version?", "parent?", "study?", "created_by"),
        *time("created_at"),
        key("family", "id"),
    )
    op.create_table(
        "variant_performance",
        *text("family", "variant", "model", "day"),
        *integer("n_interactions", "n_errors"),
        *real("mean_latency_ms?", "p95_latency_ms?", "cost_usd"),
        *integer("n_labelled", "n_success", "n_scored"),
        *real("mean_score?"),
        key("family", "variant", "model", "day"),
    )
    op.create_table(
        "evaluation_batches",
        *text("id", "family", "variant", "model", "dataset_hash", "split", "scorer_version"),
        *integer("n", "n_errors"),
        *real("mean_score?", "score_low?", "score_high?", "cost_usd", "p95_latency_ms?"),
        *integer("n_calls"),
        *text("created_by"),
        *time("created_at"),
        *text("suite?"),
        *json("checks?"),
        key("id"),
    )
    op.create_index("ix_evaluation_batches_family", "evaluation_batches", ["family"])


def _studies() -> None:
    """Searches, when they start by themselves, and the journal of their calls."""
    op.create_table(
        "studies",
        *text("id", "family", "active_family?", "strategy", "aim", "status", "outcome?"),
        *integer("seed"),
        *json("budget", "definition", "dataset?"),
        *text("scorer_version?", "champion", "winner?"),
        *json("confirmation?", "spend"),
        *boolean("stop_requested"),
        *text("error?"),
        *boolean("simulated_clock"),
        *text("mlflow_run_id?", "created_by"),
        *time("created_at", "started_at?", "finished_at?"),
        *json("trigger?", "findings?"),
        key("id"),
        sa.UniqueConstraint("active_family"),
    )
    op.create_index("ix_studies_created_at", "studies", ["created_at"])
    op.create_index("ix_studies_family", "studies", ["family"])
    op.create_index("ix_studies_status", "studies", ["status"])
    op.create_table(
        "trials",
        *text("study"),
        *integer("number"),
        *text("variant", "proposer"),
        *json("params"),
        *text("status"),
        *integer("n", "n_errors"),
        *real("score?", "cost_usd", "p95_ms?"),
        *integer("n_calls"),
        *time("started_at?", "finished_at?"),
        *text("mlflow_run_id?"),
        key("study", "number"),
    )
    op.create_table(
        "trial_results",
        *text("study", "purpose", "variant", "example"),
        *real("score?"),
        *text("output?", "error?"),
        *real("cost_usd", "latency_ms?"),
        *boolean("from_journal"),
        *text("call_key?"),
        *integer("n_retries", default="0"),
        key("study", "purpose", "variant", "example"),
    )
    op.create_table("tier_answers", *text("study"), *json("tiers", "rows"), key("study"))
    op.create_table(
        "schedules",
        *text("family", "cron?", "strategy?", "aim?", "reason", "by"),
        *time("since"),
        *boolean("from_file", "holdout", default=sa.false()),
        key("family"),
    )
    op.create_table(
        "lm_calls",
        *text("id", "key", "study?", "family?", "purpose", "model"),
        *integer("attempt"),
        *text("status"),
        *real("temperature"),
        *json("request?", "answer?"),
        *text("error?"),
        *real("reserved_usd", "cost_usd?"),
        *integer("input_tokens?", "output_tokens?"),
        *real("latency_ms?"),
        *time("sent_at", "settled_at?"),
        key("id"),
    )
    op.create_index("ix_lm_calls_key_status", "lm_calls", ["key", "status"])
    op.create_index("ix_lm_calls_study", "lm_calls", ["study", "status", "cost_usd", "reserved_usd"])


def _rollouts() -> None:
    """Rollouts, what they counted, and what was decided on it."""
    op.create_table(
        "rollouts",
        *text("id", "family", "active_family?", "candidate", "champion", "aim"),
        *json("ladder"),
        *text("salt", "status"),
        *integer("stage"),
        *boolean("held"),
        *integer("version"),
        *boolean("forced"),
        *text("outcome?", "reason?", "study?"),
        *json("settings", "stage_history"),
        *time("lease_expires_at?", "stage_entered_at?"),
        *text("created_by"),
        *time("created_at", "started_at?", "ended_at?"),
        *boolean("simulated_clock"),
        *text("held_by?"),
        key("id"),
        sa.UniqueConstraint("active_family"),
    )
    op.create_index("ix_rollouts_family_status", "rollouts", ["family", "status"])
    op.create_table(
        "decisions",
        *text("rollout"),
        *integer("seq"),
        *text("kind", "actor", "reason"),
        *boolean("forced"),
        *text("content", "previous_hash", "hash"),
        *time("at"),
        key("rollout", "seq"),
    )
    op.create_table(
        "cohort_blocks",
        *text("rollout"),
        *integer("seq"),
        *text("kind", "content", "previous_hash", "hash"),
        *time("closed_at"),
        key("rollout", "seq"),
    )
    op.create_index("ix_cohort_blocks_kind", "cohort_blocks", ["rollout", "kind", "seq"])
    op.create_table(
        "rollout_units", *text("rollout"), *integer("n_blocks"), *text("counts"), key("rollout", "n_blocks")
    )
    op.create_table(
        "rollout_watches", *text("rollout"), *integer("n_blocks"), *text("state"), *time("updated_at"), key("rollout")
    )


def _serving() -> None:
    """What is served to whom."""
    op.create_table(
        "champions",
        *text("family"),
        *integer("seq"),
        *boolean("current?"),
        *text("variant"),
        *integer("previous?"),
        *text("rollout?", "why", "by"),
        *boolean("forced"),
        *time("since", "until?"),
        key("family", "seq"),
        sa.UniqueConstraint("family", "current", name="uq_champions_one_current"),
    )
    op.create_table(
        "overrides",
        *text("family", "unit_hmac", "variant"),
        *time("until"),
        *text("created_by"),
        *time("created_at"),
        key("family", "unit_hmac"),
    )
    op.create_table("freezes", *text("scope", "reason", "by"), *time("since"), key("scope"))
    op.create_table("serving_version", *integer("id", "version"), *time("ticked_at?"), key("id"))


def _figures() -> None:
    """Sums by minute and hour, how far they are read, and what watches them."""
    op.create_table(
        "minute_stats",
        *text("family"),
        *time("minute"),
        *text("variant", "model", "source"),
        *integer("n", "n_errors", "n_latency"),
        *real("latency_sum_ms"),
        *json("latency_histogram"),
        *integer("n_cost"),
        *real("cost_sum_usd"),
        *json("cost_histogram"),
        *integer("n_success", "success_sum", "n_score"),
        *real("score_sum", "score_squares"),
        key("family", "minute", "variant", "model", "source"),
    )
    op.create_table("watermarks", *text("name"), *time("at"), key("name"))
    op.create_table(
        "drift_detectors", *text("family"), *integer("reign"), *text("state"), *time("read_until"), key("family")
    )
    op.create_table(
        "pipeline_records",
        *text("id"),
        *time("received_at"),
        *text("processing_type", "content_type"),
        *real("quality_score?", "processing_time_s?"),
        *text("exit_checkpoint", "exit_reason"),
        *real("exit_confidence?", "time_saved_share?"),
        key("id"),
    )
    op.create_index("ix_pipeline_records_received_at", "pipeline_records", ["received_at"])
    op.create_table(
        "pipeline_hours",
        *time("hour"),
        *text("processing_type", "content_type", "exit_checkpoint", "exit_reason"),
        *integer("n", "n_quality"),
        *real("quality_sum"),
        *integer("n_time"),
        *real("time_sum_s"),
        *integer("n_saved"),
        *real("saved_share_sum"),
        *integer("n_saved_time"),
        *real("saved_time_sum_s"),
        *integer("n_confidence"),
        *real("confidence_sum"),
        key("hour", "processing_type", "content_type", "exit_checkpoint", "exit_reason"),
    )


def _operation() -> None:
    """Who may do what, what was done, and what is still to be told."""
    op.create_table(
        "api_keys",
        *text("name", "role", "secret_hash"),
        *time("created_at", "revoked_at?"),
        *json("sources", default="[]"),
        *json("families?"),
        *time("expires_at?"),
        *json("limits", default="{}"),
        *text("previous_hash?"),
        *time("previous_until?"),
        key("name"),
    )
    op.create_index("ix_api_keys_secret_hash", "api_keys", ["secret_hash"])
    op.create_table("key_usage", *text("key", "limit"), *time("window"), *real("used"), key("key", "limit", "window"))
    op.create_table(
        "audit",
        *numbered("seq"),
        *time("at"),
        *text("actor", "action", "family?", "subject"),
        *json("detail"),
        *text("request_id?"),
        key("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_audit_subject", "audit", ["subject", "seq"])
    op.create_table(
        "alerts",
        *text("id", "kind", "family?", "subject", "detail", "level"),
        *time("opened_at", "closed_at?"),
        key("id"),
    )
    op.create_index("ix_alerts_closed_kind", "alerts", ["closed_at", "kind"])
    op.create_index("ix_alerts_kind", "alerts", ["kind"])
    op.create_table(
        "outbox",
        *numbered("seq"),
        *text("topic", "subject"),
        *json("payload"),
        *integer("attempts"),
        *text("last_error?"),
        *time("created_at", "not_before", "sent_at?"),
        key("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_not_before", "outbox", ["not_before"])
    op.create_index("ix_outbox_sent_at", "outbox", ["sent_at"])
