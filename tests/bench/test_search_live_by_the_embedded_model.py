"""The live comparison's MLflow arm, with MLflow's own store."""

from __future__ import annotations

from tests.live_world import SMALL, TASK, Models, run_arms, write_rows

MLFLOW = "MLflow optimize_prompts"


def test_mlflow_finds_the_instruction_that_helps_and_its_calls_are_counted(tmp_path):
    models = Models()
    outcome = run_arms(tmp_path, write_rows(tmp_path / "data"), [MLFLOW], models)[TASK, MLFLOW, 1]
    assert outcome.mean == 1.0
    assert "kitchen" in outcome.instruction
    assert 0 < outcome.n_calls <= SMALL.metric_calls + SMALL.dev
    assert outcome.n_calls + SMALL.holdout >= len(models.model.requests)
