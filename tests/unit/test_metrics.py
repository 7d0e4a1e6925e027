"""What /metrics holds: the documented names with their labels, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from api.gateway.guarded_models import GuardedModels
from api.gateway.metrics import Metrics
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.ports import TruncatedInput
from tests.scripted_model import ScriptedModel, request
from tests.strategies import NOW
from tests.unit.test_model_guards import Shelf, Sink
from tests.waited import Waited

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "models.md"
CALL = frozenset({"family", "model"})
LABELS = {
    "llm_requests_total": CALL,
    "llm_tokens_input_total": CALL,
    "llm_tokens_output_total": CALL,
    "llm_cost_dollars_total": CALL,
    "llm_errors_total": CALL | {"kind"},
    "llm_cached_answers_total": CALL,
    "llm_inputs_flagged_total": {"family", "sign"},
    "llm_inputs_truncated_total": {"family", "input"},
    "llm_active_requests": CALL,
    "llm_breaker_open": {"model"},
    "llm_request_duration_seconds": CALL,
    "llm_time_to_first_token_seconds": CALL,
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


def test_the_metrics_have_the_documented_names_and_labels_and_there_are_no_others() -> None:
    text = counted().text([TruncatedInput("f", "document", 3, NOW)])
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(OF_A_HISTOGRAM.sub("", sample.name), frozenset(sample.labels) - {"le"}) for sample in samples}
    assert found == {(name, frozenset(labels)) for name, labels in LABELS.items()}
    assert set(re.findall(r"`(llm_[a-z_]+)`", PAGE.read_text(encoding="utf-8"))) == set(LABELS)


def test_two_instances_share_no_count_and_the_process_has_none_of_them() -> None:
    counted()
    assert "} " not in Metrics().text()
    assert [metric.name for metric in REGISTRY.collect() if metric.name.startswith("llm_")] == []


def test_an_answer_whose_provider_counts_fewer_than_no_tokens_is_given_and_takes_nothing_off_the_counters() -> None:
    metrics = Metrics()
    answer = Waited(GuardedModels(Shelf(Owing(name="m")), metrics).for_request("f", None).get("m")).complete(request())
    assert answer.text == "answer 1"
    assert 'llm_tokens_input_total{family="f",model="m"} 0' in metrics.text()
    assert 'llm_cost_dollars_total{family="f",model="m"} 0' in metrics.text()
