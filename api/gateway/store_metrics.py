"""What Prometheus reads of the store's own sums: totals since the home was made, whichever process answers the scrape.

Requests are interactions: those that the gateway answered and those that applications report. They are up to two
minutes late, since minutes are summed up once they are settled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from api.gateway.metrics import BUCKETS_S
from optimizer.core.base.minute_sums import DAY, Histogram, MinuteSums, edge, floor
from optimizer.jobs.feedback.roll_up_minutes import MINUTES
from optimizer.jobs.outbox.mirror_outbox import TOPICS
from optimizer.jobs.outbox.send_alerts import messages_waiting
from optimizer.jobs.studies.read_spending import month_spends
from optimizer.ports import Store, Transaction

MOST_MODELS = 200  # pairs of family and model with a series of their own, the first that came; the others are one
OTHER = "other"
READ_ALL_AGAIN = timedelta(hours=1)  # of the days before this one, which change where a clock went back
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_Values = Callable[[MinuteSums], float]
_REQUESTS: Mapping[str, tuple[str, _Values]] = {
    "llm_tokens_input": ("Tokens of prompts, of interactions that say so", lambda sums: sums.input_tokens),
    "llm_tokens_output": ("Tokens of answers, of interactions that say so", lambda sums: sums.output_tokens),
    "llm_errors": ("Interactions that failed", lambda sums: sums.n_errors),
    "llm_cost_dollars": ("Dollars of interactions, where they are known", lambda sums: sums.cost_sum_usd),
}
_TIMES: Mapping[str, tuple[str, Callable[[MinuteSums], tuple[Histogram, float]]]] = {
    "llm_request_duration_seconds": (
        "Time of an interaction, to its last token",
        lambda sums: (sums.latency_histogram, sums.latency_sum_ms),
    ),
    "llm_time_to_first_token_seconds": (
        "Time to the first token of what was streamed",
        lambda sums: (sums.first_token_histogram, sums.first_token_sum_ms),
    ),
}
_POLICIES: Mapping[str, tuple[str, _Values]] = {
    "detent_policy_requests": ("Requests that a policy answered", lambda sums: sums.n_with_parts),
    "detent_policy_retries": ("Of these, those that it asked for again", lambda sums: sums.n_retried),
    "detent_tools_ignored": ("Of these, answers without their tools' results", lambda sums: sums.n_tools_ignored),
}
_SCORES: Mapping[str, tuple[str, _Values]] = {
    "detent_scores": ("Outcomes with a score", lambda sums: sums.n_score),
    "detent_score_points": ("The sum of these scores", lambda sums: sums.score_sum),
    "detent_scores_low": ("Scores below .80", lambda sums: sums.n_low_scores),
}


@dataclass(slots=True)
class StoreMetrics:
    """Reads days that have ended once an hour, and the present one at each scrape."""

    _totals: dict[tuple[str, str, str], MinuteSums] = field(default_factory=dict)  # of the days before ``_until``
    _until: datetime = BEGINNING
    _read_at: datetime = BEGINNING
    _labels: dict[tuple[str, str], str] = field(default_factory=dict)  # of a model in a family

    def collect(
        self, tx: Transaction, store: Store, *, now: datetime, month: datetime, caps: Mapping[str, float | None]
    ) -> list[Metric]:
        """``caps``: dollars a month by family, and of all as ""; ``month``: when this one began."""
        summed = store.minute_stats.watermark(tx, MINUTES)
        until = now if summed is None else min(now, summed)
        today = floor(until, DAY)
        if self._until != today or until - self._read_at > READ_ALL_AGAIN:
            self._totals = self._added({}, store.minute_stats.days(tx, BEGINNING, today))
            self._until, self._read_at = today, until
        sums = list(self._added(self._totals, store.minute_stats.days(tx, today, today + timedelta(days=2))).values())
        counts = CounterMetricFamily(
            "llm_inputs_truncated", "Chats and renders of which an input was cut", labels=("family", "input")
        )
        for row in store.exposures.truncated(tx):
            counts.add_metric((row.family, row.input), row.n_requests)
        return [
            *self._of_requests(sums),
            *_of_outcomes(sums),
            *_of_home(tx, store, now, summed, {one.family for one in sums}),
            *_of_budgets(tx, store, month, caps),
            counts,
        ]

    def _added(
        self, totals: Mapping[tuple[str, str, str], MinuteSums], rows: Iterable[MinuteSums]
    ) -> dict[tuple[str, str, str], MinuteSums]:
        sums: dict[tuple[str, str, str], MinuteSums] = {}
        for row in (*totals.values(), *sorted(rows, key=lambda row: (row.minute, row.family, row.model))):
            # Applications name models as they like, so that there is a bound on series.
            if row.model != OTHER and (row.family, row.model) not in self._labels:
                self._labels[row.family, row.model] = row.model if len(self._labels) < MOST_MODELS else OTHER
            model = self._labels.get((row.family, row.model), OTHER)
            key = row.family, model, row.source
            if key not in sums:
                sums[key] = MinuteSums(family=row.family, minute=BEGINNING, model=model, source=row.source)
            sums[key].add(row)
        return sums

    def _of_requests(self, sums: Iterable[MinuteSums]) -> Iterator[Metric]:
        served = [one for one in sums if one.source == ""]
        requests = CounterMetricFamily(
            "llm_requests",
            "Interactions; streamed are those with a time to the first token",
            labels=("family", "model", "status", "streaming"),
        )
        for one in served:
            ok, streamed_ok = one.n - one.n_errors, one.n_streamed - one.n_streamed_errors
            for status, streaming, n in (
                ("ok", "true", streamed_ok),
                ("ok", "false", ok - streamed_ok),
                ("error", "true", one.n_streamed_errors),
                ("error", "false", one.n_errors - one.n_streamed_errors),
            ):
                requests.add_metric((one.family, one.model, status, streaming), n)
        yield requests
        yield from _counters(_REQUESTS, served, ("family", "model"))
        for name, (text, of) in _TIMES.items():
            histogram = HistogramMetricFamily(name, text, labels=("family", "model"))
            for one in served:
                buckets, sum_ms = of(one)
                histogram.add_metric((one.family, one.model), _cumulative(buckets), sum_value=sum_ms / 1000)
            yield histogram
        yield from _counters(_POLICIES, served, ("family",))


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    """Right to the 5 % of the store's buckets: one that reaches beyond an edge counts above it."""
    counts = [
        (f"{limit}", sum(n for bucket, n in histogram.items() if edge(bucket) <= limit * 1000)) for limit in BUCKETS_S
    ]
    return [*((limit, float(n)) for limit, n in counts), ("+Inf", float(sum(histogram.values())))]


def _counters(
    of: Mapping[str, tuple[str, _Values]], sums: Iterable[MinuteSums], labels: tuple[str, ...]
) -> Iterator[Metric]:
    rows = list(sums)
    for name, (text, value) in of.items():
        totals: dict[tuple[str, ...], float] = {}
        for one in rows:
            key = tuple(getattr(one, label) for label in labels)
            totals[key] = totals.get(key, 0.0) + value(one)
        counter = CounterMetricFamily(name, text, labels=labels)
        for key, total in totals.items():
            counter.add_metric(key, total)
        yield counter


def _of_outcomes(sums: Iterable[MinuteSums]) -> Iterator[Metric]:
    outcomes = [one for one in sums if one.source]
    family = CounterMetricFamily(
        "detent_outcomes", "Outcomes that say success or not", labels=("family", "source", "success")
    )
    counts: dict[tuple[str, str, str], int] = {}
    for one in outcomes:
        for success, n in (("true", one.success_sum), ("false", one.n_success - one.success_sum)):
            key = one.family, one.source, success
            counts[key] = counts.get(key, 0) + n
    for key, n in counts.items():
        family.add_metric(key, n)
    yield family
    yield from _counters(_SCORES, outcomes, ("family", "source"))


def _of_home(
    tx: Transaction, store: Store, now: datetime, summed: datetime | None, families: Iterable[str]
) -> Iterator[Metric]:
    decisions = CounterMetricFamily("detent_decisions", "Decisions of rollouts, by kind", labels=("family", "kind"))
    for key, n in sorted(store.rollouts.decision_counts(tx).items()):
        decisions.add_metric(key, n)
    exposures = CounterMetricFamily(
        "detent_exposures", "Fetches of prompts, also those that clients report", labels=("family", "in_rollout")
    )
    for (family, is_in), n in sorted(store.exposures.counts(tx).items()):
        exposures.add_metric((family, str(is_in).lower()), n)
    journal = CounterMetricFamily("detent_journal_calls", "Calls of studies, by how they ended", labels=("status",))
    ended = store.journal.counts(tx)
    for status in ("settled", "failed", "lost"):
        journal.add_metric((status,), ended.get(status, 0))
    in_flight = GaugeMetricFamily("detent_journal_calls_in_flight", "Calls that were sent and are not settled")
    in_flight.add_metric((), ended.get("sent", 0))
    lag = GaugeMetricFamily("detent_sums_lag_seconds", "Since when minutes are not summed up; at least a minute")
    if summed is not None:
        lag.add_metric((), (now - summed).total_seconds())
    ages = GaugeMetricFamily(
        "detent_outcome_age_seconds", "Since the newest outcome that is summed up, of eight days", labels=("family",)
    )
    for family in sorted(set(families)):
        newest = store.minute_stats.newest(tx, family, now - timedelta(days=8))
        if newest is not None:
            ages.add_metric((family,), (now - newest).total_seconds())
    queues = GaugeMetricFamily("detent_queue_length", "What waits", labels=("queue",))
    waiting = messages_waiting(tx, store)
    for queue, n in (
        ("studies", len(store.studies.unfinished(tx))),
        ("runs", len(store.runs.unfinished(tx))),
        ("mlflow", store.outbox.backlog(tx, topics=TOPICS)),
        ("alert_messages", sum(waiting.values())),
    ):
        queues.add_metric((queue,), n)
    alerts = GaugeMetricFamily("detent_alerts_open", "Alerts that are open", labels=("level",))
    levels = [alert.level for alert in store.alerts.all(tx, open_only=True)]
    for level in ("info", "warning", "critical"):
        alerts.add_metric((level,), levels.count(level))
    yield from (decisions, exposures, journal, in_flight, lag, ages, queues, alerts)


def _of_budgets(tx: Transaction, store: Store, month: datetime, caps: Mapping[str, float | None]) -> Iterator[Metric]:
    """Family "" is all of them together."""
    budget = GaugeMetricFamily(
        "detent_budget_dollars",
        "Of this month, of studies and runs: spent, reserved beside it by those with a cap, and the cap of the month",
        labels=("family", "state"),
    )
    spends = month_spends(tx, store, month)
    for family in sorted({"", *caps, *(spend.family for spend in spends)}):
        own = [spend for spend in spends if family in ("", spend.family)]
        budget.add_metric((family, "spent"), sum(spend.usd for spend in own))
        budget.add_metric(
            (family, "reserved"), sum(spend.counted_usd - spend.usd for spend in own if spend.cap_usd is not None)
        )
        cap = caps.get(family)
        if cap is not None:
            budget.add_metric((family, "cap"), cap)
    yield budget
