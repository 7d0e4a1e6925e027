"""The other arm: a plain DSPy program, as its users write it."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from floor.task import MAX_EXAMPLES, Arm, Bench, Counted, Row, plain_messages, score, topic
from optimizer.core.family.family import Family
from optimizer.core.search.study import Study


def by_dspy(bench: Bench, family: Family, study: Study, rows: Mapping[str, Sequence[Row]], seed: int) -> Arm:
    """DSPy as its users write it.

    It sees the rows in the order in which our search sees them, so that a seed means the same.
    """
    import dspy
    from dspy.teleprompt import BootstrapFewShotWithRandomSearch

    from optimizer.adapters.search.with_dspy.programs import silence_dspy

    silence_dspy()
    started = time.monotonic()
    by_id = {row["id"]: row for some in rows.values() for row in some}
    assert study.dataset is not None
    train = [_as_dspy(by_id[id]) for id in study.dataset["train"]]
    random.Random(seed).shuffle(train)
    dev = [_as_dspy(by_id[id]) for id in study.dataset["dev"]]
    counted = Counted(bench, family, label=f"seed {seed}, DSPy")
    lm = dspy.LM("bench/embedded", engine=_Engine(counted), cache=False, num_retries=0)

    def metric(example: Any, prediction: Any, trace: Any = None) -> float:
        return score(example.topic, prediction.topic)

    search = BootstrapFewShotWithRandomSearch(
        metric=metric,
        max_bootstrapped_demos=MAX_EXAMPLES,
        max_labeled_demos=MAX_EXAMPLES,
        num_candidate_programs=bench.sizes.candidates,
        num_threads=1,
        max_errors=10**9,
    )
    with dspy.context(lm=lm, adapter=_plain_adapter()()):
        best = search.compile(dspy.Predict("document, topics_allowed -> topic"), trainset=train, valset=dev)
        n_calls = len(counted.keys)
        scores = []
        for row in rows["holdout"]:
            example = _as_dspy(row)
            try:
                scores.append(metric(example, best(**example.inputs())))
            except dspy.utils.exceptions.AdapterParseError:
                scores.append(0.0)
    return Arm(
        scores=scores,
        dev_score=best.candidate_programs[0]["score"] / 100,
        n_calls=n_calls,
        seconds=time.monotonic() - started,
    )


def _plain_adapter() -> Any:
    import dspy

    class PlainAdapter(dspy.Adapter):  # type: ignore[misc]
        """A prompt template and the text that comes back, nothing else."""

        def format(self, signature: Any, demos: list[Any], inputs: dict[str, Any]) -> list[dict[str, Any]]:
            return plain_messages({"input": inputs}, demos)

        def parse(self, signature: Any, completion: str) -> dict[str, Any]:
            return {"topic": completion.strip()}

    return PlainAdapter


class _Engine:
    """DSPy's engine protocol over the same model with the same parameters."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted

    def complete(self, request: Any) -> Any:
        from dspy.lm15 import Message, Response, Usage

        turns = [{"role": m.role, "content": "".join(part.text for part in m.parts)} for m in request.messages]
        text = self._counted.ask([{"role": "system", "content": request.system}, *turns])
        usage = Usage(input_tokens=None, output_tokens=None)
        return Response(
            id=None, model=request.model, message=Message.assistant(text), finish_reason="stop", usage=usage
        )


def _as_dspy(row: Row) -> Any:
    import dspy

    values = {**row["input"], "topic": topic(row)}
    return dspy.Example(**values).with_inputs("document", "topics_allowed")
