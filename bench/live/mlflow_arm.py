"""mlflow.genai.optimize_prompts, as its users write it: the instruction as a registered prompt, GEPA as the optimizer.

Its reflection model is the deterministic proposer, through LiteLLM's own way of adding a provider. Its tracking store
lies in the cell's folder.
"""

from __future__ import annotations

import os
from typing import Any

from live.setup import Counted, Found, Setup, written
from optimizer.core.dataset.examples import Example


def optimize_prompts(setup: Setup) -> Found:
    os.environ.update(
        MLFLOW_DISABLE_TELEMETRY="true",
        DO_NOT_TRACK="true",
        MLFLOW_GENAI_EVAL_MAX_WORKERS="1",
        GIT_PYTHON_REFRESH="quiet",
    )
    import litellm
    import mlflow
    from mlflow.genai.optimize import GepaPromptOptimizer
    from mlflow.genai.scorers import scorer

    litellm.custom_provider_map = [{"provider": "lines", "custom_handler": _handler(setup)}]
    litellm.utils.custom_llm_setup()
    mlflow.set_tracking_uri(f"sqlite:///{setup.folder / 'mlflow.db'}")
    prompt = mlflow.genai.register_prompt(name=setup.task.name, template=setup.task.instructions[0])
    counted, rows = Counted(setup), {e.id: e for e in setup.dev}

    def predict(row: str) -> str:
        return counted.ask(setup.variant(str(mlflow.genai.load_prompt(prompt.uri).format())), rows[row])

    @scorer(name="score")  # type: ignore[untyped-decorator]
    def score(inputs: dict[str, Any], outputs: str) -> float:
        return setup.score(rows[inputs["row"]], outputs)

    found = mlflow.genai.optimize_prompts(
        predict_fn=predict,
        train_data=[
            {"inputs": {"row": e.id}, "expectations": {"expected_response": _expected(setup, e)}} for e in setup.dev
        ],
        prompt_uris=[prompt.uri],
        optimizer=GepaPromptOptimizer(
            reflection_model="lines:/instructions",
            max_metric_calls=setup.sizes.metric_calls,
            gepa_kwargs={"seed": setup.seed},
        ),
        scorers=[score],
        enable_tracking=False,
    )
    return counted.found(setup.variant(str(found.optimized_prompts[0].template)), found.final_eval_score)


def _expected(setup: Setup, example: Example) -> str:
    from optimizer.core.family.rendering import expected_text

    return expected_text(setup.family.output, example.expected)


def _handler(setup: Setup) -> Any:
    import litellm

    texts = written(setup.task)

    class Lines(litellm.CustomLLM):  # type: ignore[misc]
        def completion(self, *args: Any, **options: Any) -> Any:
            return litellm.completion(model="openai/lines", messages=[], mock_response=f"```\n{next(texts)}\n```")

    return Lines()
