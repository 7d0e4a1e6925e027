"""What /metrics holds: the documented names with their labels, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from api.gateway.guarded_models import GuardedModels
from api.gateway.metrics import Metrics
from api.gateway.store_metrics import MOST_MODELS, StoreMetrics
from optimizer.adapters.store import Database
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.scheduling.monthly_budget import month_of
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes
from tests.clock import Clock
from tests.stand_ins.scripted_model import ScriptedModel, request
from tests.stores import FAMILY, call, feedback, interaction, keep_events, new_database
from tests.strategies import NOW
from tests.unit.models.test_model_guards import Shelf, Sink
from tests.waited import Waited

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "watch-with-prometheus.md"
CALL = frozenset({"family", "model"})
OF_THE_GATEWAY = {
    "llm_calls_total": CALL,
    "llm_call_tokens_input_total": CALL,
    "llm_call_tokens_output_total": CALL,
    "llm_call_cost_dollars_total": CALL,
    "llm_call_errors_total": CALL | {"kind"},
    "llm_cached_answers_total": CALL,
    "llm_inputs_flagged_total": {"family", "sign"},
    "llm_active_requests": CALL,
    "llm_breaker_open": {"model"},
    "llm_call_duration_seconds": CALL,
    "llm_call_time_to_first_token_seconds": CALL,
}
OF_A_HISTOGRAM = re.compile(r"(?<=_seconds)_(bucket|sum|count)$")


class Owing(ScriptedModel):
    """Its provider counts fewer than no tokens."""

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        return replace(await super().complete(request), input_tokens=-10, output_tokens=-5, cost_usd=-0.5)


def counted() -> Metrics:
    """Each metric with one series."""
    metrics = Metrics()
    models = GuardedModels(Shelf(ScriptedModel(name="m")), metrics).for_request("f", None)
    Waited(models.get("m")).stream(request(), Sink())
    metrics.errors.labels(family="f", model="m", kind="http").inc()
    metrics.cached_answers.labels(family="f", model="m").inc()
    metrics.inputs_flagged.labels(family="f", sign="override").inc()
    return metrics


def names(text: str) -> set[tuple[str, frozenset[str]]]:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(OF_A_HISTOGRAM.sub("", sample.name), frozenset(sample.labels) - {"le"}) for sample in samples}


def of_store(store: Database, metrics: StoreMetrics | None = None) -> str:
    clock = Clock(NOW + timedelta(minutes=5))
    roll_up_minutes(store, clock)
    with store.read() as tx:
        read = (metrics or StoreMetrics()).collect(
            tx, store, now=clock.now(), month=month_of(clock.now()), caps={FAMILY: 10.0, "": None}
        )
    return Metrics().text(read)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    """What applications reported: three requests, of which one was streamed and one failed, and two outcomes."""
    database = new_database(tmp_path)
    usual: dict[str, Any] = {"model": "gpt", "input_tokens": 100, "output_tokens": 10, "cost_usd": 0.5}
    parts = [{"purpose": "retry"}]
    keep_events(
        database,
        [
            interaction("i1", latency_ms=300.0, received_at=NOW, **usual),
            interaction("i2", latency_ms=3000.0, time_to_first_token_ms=200.0, received_at=NOW, parts=parts, **usual),
            interaction("i3", error="no answer", latency_ms=90_000.0, received_at=NOW, **usual),
            feedback("f1", success=True, score=0.5, received_at=NOW),
            feedback("f2", success=False, received_at=NOW),
        ],
    )
    yield database
    database.close()


def test_the_metrics_have_the_documented_names_and_there_are_no_others(store: Database) -> None:
    assert names(counted().text()) == {(name, frozenset(labels)) for name, labels in OF_THE_GATEWAY.items()}
    documented = set(re.findall(r"`((?:llm|detent)_[a-z_]+)`", PAGE.read_text(encoding="utf-8")))
    lines = (counted().text() + of_store(store)).splitlines()
    told = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert documented == told


def test_reported_interactions_count_with_status_streaming_and_times(store: Database) -> None:
    text = of_store(store)
    for line in (
        'llm_requests_total{family="%s",model="gpt",status="ok",streaming="true"} 1.0',
        'llm_requests_total{family="%s",model="gpt",status="ok",streaming="false"} 1.0',
        'llm_requests_total{family="%s",model="gpt",status="error",streaming="false"} 1.0',
        'llm_requests_total{family="%s",model="gpt",status="error",streaming="true"} 0.0',  # so that a rise is seen
        'llm_tokens_input_total{family="%s",model="gpt"} 300.0',
        'llm_errors_total{family="%s",model="gpt"} 1.0',
        'llm_cost_dollars_total{family="%s",model="gpt"} 1.5',
        'llm_request_duration_seconds_bucket{family="%s",le="0.5",model="gpt"} 1.0',
        'llm_request_duration_seconds_bucket{family="%s",le="60.0",model="gpt"} 2.0',
        'llm_request_duration_seconds_count{family="%s",model="gpt"} 3.0',
        'llm_time_to_first_token_seconds_bucket{family="%s",le="0.25",model="gpt"} 1.0',
        'detent_policy_retries_total{family="%s"} 1.0',
        'detent_outcomes_total{family="%s",source="user",success="true"} 1.0',
        'detent_scores_low_total{family="%s",source="user"} 1.0',
        'detent_budget_dollars{family="%s",state="cap"} 10.0',
    ):
        assert line % FAMILY in text, line
    assert "detent_sums_lag_seconds 60.0" in text


def test_totals_stay_when_a_day_has_ended_and_another_process_reads_them(store: Database) -> None:
    metrics = StoreMetrics()
    first = of_store(store, metrics)
    keep_events(store, [interaction("i4", model="gpt", received_at=NOW + timedelta(days=2))])
    clock = Clock(NOW + timedelta(days=2, minutes=5))
    roll_up_minutes(store, clock)
    for process in (metrics, StoreMetrics()):
        with store.read() as tx:
            read = process.collect(tx, store, now=clock.now(), month=month_of(clock.now()), caps={})
        line = f'llm_requests_total{{family="{FAMILY}",model="gpt",status="ok",streaming="false"}}'
        assert f"{line} 1.0" in first
        assert f"{line} 2.0" in Metrics().text(read)


def test_the_count_of_calls_does_not_fall_when_old_ones_are_pruned(store: Database) -> None:
    for id, study in (("ca_1", "st_1"), ("ca_2", None)):
        sent = call(id, study=study, status="failed")
        store.write(lambda tx, sent=sent: store.journal.send(tx, sent))  # type: ignore[misc]
    line = 'detent_journal_calls_total{status="failed"} 1.0'
    assert line in of_store(store)
    store.write(lambda tx: store.retained.remove(tx, "model_calls", FAMILY, [("ca_2",)]))
    assert line in of_store(store)


def test_models_that_applications_name_are_bounded(store: Database) -> None:
    keep_events(
        store, [interaction(f"m{i}", model=f"m{i}", received_at=NOW + timedelta(seconds=i / 10)) for i in range(300)]
    )
    text = of_store(store)
    series = re.findall(r'llm_tokens_input_total\{family="\w+",model="(\w+)"\}', text)
    assert len(series) <= MOST_MODELS + 1
    assert "other" in series


def test_two_instances_share_no_count_and_the_process_has_none_of_them() -> None:
    counted()
    assert "} " not in Metrics().text()
    assert [metric.name for metric in REGISTRY.collect() if metric.name.startswith("llm_")] == []


def test_an_answer_whose_provider_counts_fewer_than_no_tokens_is_given_and_takes_nothing_off_the_counters() -> None:
    metrics = Metrics()
    answer = Waited(GuardedModels(Shelf(Owing(name="m")), metrics).for_request("f", None).get("m")).complete(request())
    assert answer.text == "answer 1"
    assert 'llm_call_tokens_input_total{family="f",model="m"} 0' in metrics.text()
    assert 'llm_call_cost_dollars_total{family="f",model="m"} 0' in metrics.text()
