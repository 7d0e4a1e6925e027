"""DSPy's arms, as its users write them: one Predict, their optimizer, their choice.

Only the prompt's form and the model are ours.

MIPROv2 and GEPA have instructions written by a deterministic proposer: the embedded model cannot write any.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import dspy
from dspy.lm15 import Message, Response, Usage

from live.setup import MAX_EXAMPLES, CountedModel, Found, Setup, written
from optimizer.core.dataset.examples import Example
from optimizer.core.family.rendering import clip_inputs, expected_text
from optimizer.core.family.variant import FewShot

KEY, ANSWER = "row", "answer"
NEVER = 10**9  # errors before DSPy gives up


def miprov2(setup: Setup) -> Found:
    from dspy.teleprompt import MIPROv2

    program = _Program(setup)
    search = MIPROv2(
        metric=program.metric,
        prompt_model=_proposer(written(setup.task)),
        task_model=program.lm,
        max_bootstrapped_demos=MAX_EXAMPLES,
        max_labeled_demos=MAX_EXAMPLES,
        auto=None,
        num_candidates=max(2, setup.sizes.candidates),
        num_threads=1,
        max_errors=NEVER,
        seed=setup.seed,
        verbose=False,
    )
    best = program.run(
        lambda: search.compile(
            program.student(),
            trainset=program.train,
            valset=program.dev,
            num_trials=setup.sizes.trials,
            minibatch=False,
            seed=setup.seed,
        )
    )
    return program.winner(best, best.score / 100)


def gepa(setup: Setup) -> Found:
    program = _Program(setup)
    search = dspy.GEPA(
        metric=program.feedback,
        max_metric_calls=setup.calls,
        reflection_lm=_proposer(written(setup.task)),
        num_threads=1,
        seed=setup.seed,
    )
    best = program.run(lambda: search.compile(program.student(), trainset=program.train, valset=program.dev))
    return program.winner(best, None)


class _Program:
    """The task as a DSPy program; its calls are counted."""

    def __init__(self, setup: Setup) -> None:
        silence()
        self.setup, self.counted = setup, CountedModel(setup)
        self.rows = {e.id: e for e in (*setup.train, *setup.dev)}
        self.train, self.dev = [self._as_dspy(e) for e in setup.train], [self._as_dspy(e) for e in setup.dev]
        self.lm = dspy.LM("bench/embedded", engine=_Engine(self), cache=False, num_retries=0)
        self.pending: tuple[Any, Example] | None = None

    def student(self) -> Any:
        inputs: dict[str, Any] = {name: (str, dspy.InputField()) for name in (KEY, *self.setup.task.inputs)}
        return dspy.Predict(
            dspy.Signature({**inputs, ANSWER: (str, dspy.OutputField())}, self.setup.task.instructions[0])
        )

    def run(self, search: Callable[[], Any]) -> Any:
        with (
            dspy.context(lm=self.lm, adapter=_plain_adapter(self)),
            contextlib.redirect_stdout(sys.stderr),
        ):  # stdout is the report's
            return search()

    def metric(self, row: Any, prediction: Any, trace: Any = None) -> float:
        return self.setup.score(self.rows[row[KEY]], str(getattr(prediction, ANSWER, "") or ""))

    def feedback(
        self, row: Any, prediction: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
    ) -> Any:
        score = self.metric(row, prediction)
        return dspy.Prediction(score=score, feedback=f"Scores {score:.2f} of 1. Expected: {row[ANSWER]}")

    def shots(self, demos: Any) -> list[FewShot]:
        examples = []
        for demo in demos:
            example = self.rows[demo[KEY]]
            values = clip_inputs(self.setup.family, {name: example.input[name] for name in self.setup.task.inputs})
            examples.append(FewShot(id=example.id, input=values, output=str(demo[ANSWER]).strip()))
        return examples

    def winner(self, best: Any, dev_score: float | None) -> Found:
        (predictor,) = best.predictors()
        return self.counted.winner(
            self.setup.variant(predictor.signature.instructions, self.shots(predictor.demos)), dev_score
        )

    def _as_dspy(self, example: Example) -> Any:
        values = {KEY: example.id, **{name: str(example.input[name]) for name in self.setup.task.inputs}}
        return dspy.Example(
            **values, **{ANSWER: expected_text(self.setup.family.output, example.expected)}
        ).with_inputs(*values)


def _plain_adapter(program: _Program) -> Any:
    class PlainAdapter(dspy.Adapter):  # type: ignore[misc]
        """The task's prompt and the text that comes back, nothing else.

        What a proposer is asked goes DSPy's own way.
        """

        def format(self, signature: Any, demos: list[Any], inputs: dict[str, Any]) -> list[dict[str, Any]]:
            if KEY not in signature.input_fields:
                return list(chat.format(signature, demos, inputs))
            program.pending = (
                program.setup.variant(signature.instructions, program.shots(demos)),
                program.rows[inputs[KEY]],
            )
            return [{"role": "user", "content": inputs[KEY]}]

        def parse(self, signature: Any, completion: str) -> dict[str, Any]:
            return (
                {ANSWER: completion.strip()}
                if ANSWER in signature.output_fields
                else dict(chat.parse(signature, completion))
            )

    chat = dspy.ChatAdapter()
    return PlainAdapter()


class _Engine:
    """DSPy's engine protocol over the counted model: it sends the request that the adapter made, not DSPy's copy
    of it.
    """

    def __init__(self, program: _Program) -> None:
        self._program = program

    def __deepcopy__(self, memo: Any) -> _Engine:
        return self

    def complete(self, request: Any) -> Any:
        assert self._program.pending is not None
        return _response(request, self._program.counted.ask(*self._program.pending))


class _Written:
    """The deterministic proposer in the form that each of DSPy's optimizers reads."""

    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts

    def __deepcopy__(self, memo: Any) -> _Written:
        return self

    def complete(self, request: Any) -> Any:
        prompt = f"{request.system or ''} {request.messages[-1].parts}"
        if "proposed_instruction" in prompt:
            return _response(request, f"[[ ## proposed_instruction ## ]]\n{next(self._texts)}\n\n[[ ## completed ## ]]")
        if "new_instruction" in prompt:  # of GEPA, which reads JSON
            return _response(request, json.dumps({"new_instruction": next(self._texts)}))
        if "[[ ## " in prompt:
            return _response(
                request,
                "[[ ## observations ## ]]\nShort texts.\n\n[[ ## summary ## ]]\nShort texts.\n\n[[ ## completed ## ]]",
            )
        raise ValueError(f"The deterministic proposer does not know what is asked here: {prompt[:200]}")


def _proposer(texts: Iterator[str]) -> Any:
    return dspy.LM("bench/proposer", engine=_Written(texts), cache=False, num_retries=0)


def _response(request: Any, text: str) -> Any:
    usage = Usage(input_tokens=None, output_tokens=None)
    return Response(id=None, model=request.model, message=Message.assistant(text), finish_reason="stop", usage=usage)


def silence() -> None:
    """DSPy's optimizers print and log every failed example."""
    import logging

    from optimizer.adapters.search.with_dspy.programs import silence_dspy

    silence_dspy()
    logging.getLogger("gepa").setLevel(logging.CRITICAL)
