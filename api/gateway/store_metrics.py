"""What Prometheus reads of the store's own sums: totals since the home was made, whichever process answers the scrape.

Requests are interactions: those that the gateway answered and those that applications report. They are up to two
minutes late, since minutes are summed up once they are settled.
"""

from __future__ import annotations

from collections import Counter, defaultdict
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
_Series = tuple[tuple[str, ...], float]  # the values of its labels, and its own
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
        return [
            *self._of_requests(sums),
            *_of_outcomes(sums),
            *_of_home(tx, store, now, summed, {one.family for one in sums}),
            _of_budgets(tx, store, month, caps),
            _counter(
                "llm_inputs_truncated",
                "Chats and renders of which an input was cut",
                ("family", "input"),
                (((row.family, row.input), row.n_requests) for row in store.exposures.truncated(tx)),
            ),
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
        requests: list[_Series] = []
        for one in served:
            ok, streamed_ok = one.n - one.n_errors, one.n_streamed - one.n_streamed_errors
            for status, streaming, n in (
                ("ok", "true", streamed_ok),
                ("ok", "false", ok - streamed_ok),
                ("error", "true", one.n_streamed_errors),
                ("error", "false", one.n_errors - one.n_streamed_errors),
            ):
                requests.append(((one.family, one.model, status, streaming), n))
        yield _counter(
            "llm_requests",
            "Interactions; streamed are those with a time to the first token",
            ("family", "model", "status", "streaming"),
            requests,
        )
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


def _counter(name: str, about: str, labels: tuple[str, ...], series: Iterable[_Series]) -> Metric:
    counter = CounterMetricFamily(name, about, labels=labels)
    for values, n in series:
        counter.add_metric(values, n)
    return counter


def _gauge(name: str, about: str, labels: tuple[str, ...], series: Iterable[_Series]) -> Metric:
    gauge = GaugeMetricFamily(name, about, labels=labels)
    for values, n in series:
        gauge.add_metric(values, n)
    return gauge


def _counters(
    of: Mapping[str, tuple[str, _Values]], sums: Iterable[MinuteSums], labels: tuple[str, ...]
) -> Iterator[Metric]:
    rows = list(sums)
    for name, (about, value) in of.items():
        totals: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for one in rows:
            totals[tuple(getattr(one, label) for label in labels)] += value(one)
        yield _counter(name, about, labels, totals.items())


def _of_outcomes(sums: Iterable[MinuteSums]) -> Iterator[Metric]:
    outcomes, counts = [one for one in sums if one.source], Counter[tuple[str, ...]]()
    for one in outcomes:
        counts[one.family, one.source, "true"] += one.success_sum
        counts[one.family, one.source, "false"] += one.n_success - one.success_sum
    labels = ("family", "source", "success")
    yield _counter("detent_outcomes", "Outcomes that say success or not", labels, counts.items())
    yield from _counters(_SCORES, outcomes, ("family", "source"))


def _of_home(
    tx: Transaction, store: Store, now: datetime, summed: datetime | None, families: Iterable[str]
) -> Iterator[Metric]:
    decisions = sorted(store.rollouts.decision_counts(tx).items())
    yield _counter("detent_decisions", "Decisions of rollouts, by kind", ("family", "kind"), decisions)
    yield _counter(
        "detent_exposures",
        "Fetches of prompts, also those that clients report",
        ("family", "in_rollout"),
        (((family, str(is_in).lower()), n) for (family, is_in), n in sorted(store.exposures.counts(tx).items())),
    )
    calls = store.journal.counts(tx)
    yield _counter(
        "detent_journal_calls",
        "Calls of studies, by how they ended",
        ("status",),
        (((status,), calls.get(status, 0)) for status in ("settled", "failed", "lost")),
    )
    in_flight = [((), calls.get("sent", 0))]
    yield _gauge("detent_journal_calls_in_flight", "Calls that were sent and are not settled", (), in_flight)
    lag = [] if summed is None else [((), (now - summed).total_seconds())]
    yield _gauge("detent_sums_lag_seconds", "Since when minutes are not summed up; at least a minute", (), lag)
    newest = {family: store.minute_stats.newest(tx, family, now - timedelta(days=8)) for family in sorted(families)}
    yield _gauge(
        "detent_outcome_age_seconds",
        "Since the newest outcome that is summed up, of eight days",
        ("family",),
        (((family,), (now - at).total_seconds()) for family, at in newest.items() if at is not None),
    )
    waiting = {
        "studies": len(store.studies.unfinished(tx)),
        "runs": len(store.runs.unfinished(tx)),
        "mlflow": store.outbox.backlog(tx, topics=TOPICS),
        "alert_messages": sum(messages_waiting(tx, store).values()),
    }
    yield _gauge("detent_queue_length", "What waits", ("queue",), (((queue,), n) for queue, n in waiting.items()))
    levels = Counter(alert.level for alert in store.alerts.all(tx, open_only=True))
    yield _gauge(
        "detent_alerts_open",
        "Alerts that are open",
        ("level",),
        (((level,), levels[level]) for level in ("info", "warning", "critical")),
    )


def _of_budgets(tx: Transaction, store: Store, month: datetime, caps: Mapping[str, float | None]) -> Metric:
    """Family "" is all of them together."""
    budgets: list[_Series] = []
    spends = month_spends(tx, store, month)
    for family in sorted({"", *caps, *(spend.family for spend in spends)}):
        own = [spend for spend in spends if family in ("", spend.family)]
        reserved = sum(spend.counted_usd - spend.usd for spend in own if spend.cap_usd is not None)
        budgets += [((family, "spent"), sum(spend.usd for spend in own)), ((family, "reserved"), reserved)]
        cap = caps.get(family)
        if cap is not None:
            budgets.append(((family, "cap"), cap))
    return _gauge(
        "detent_budget_dollars",
        "Of this month, of studies and runs: spent, reserved beside it by those with a cap, and the cap of the month",
        ("family", "state"),
        budgets,
    )
