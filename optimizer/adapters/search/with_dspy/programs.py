"""A Family as a one-step DSPy program.

Our adapter renders its prompt through the one render function and reads its answer with the family's parser; our engine
sends the call through the journal. The proposer model, too, is asked through journal and budget.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any, TypeVar

import dspy
import structlog
from dspy.lm15 import Message, Response, Usage
from dspy.teleprompt import bootstrap

from optimizer.core.base.errors import InvalidInput, ModelFailed
from optimizer.core.dataset.examples import Example
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import parse_output, render, shown_text
from optimizer.core.family.variant import VARIABLE, FewShot, Variant
from optimizer.core.search.space import instruction_fault
from optimizer.core.search.strategy import SearchSetting

# travels with every DSPy example and demo, so that an example keeps its name all the way into the Variant
KEY = "example_id"
OUTPUT = "output_text"


class Program:
    """A Family and a start variant as DSPy sees them: signature, examples, metric, adapter and engine."""

    def __init__(self, setting: SearchSetting, start: Variant) -> None:
        self.start = start
        self.family = setting.family
        self._setting = setting
        self._examples = {e.id: e for e in (*setting.train, *setting.dev)}
        # DSPy reserves names such as "config" and "demos".
        self._names = {name: f"input_{name}" for name in setting.family.inputs}
        inputs = {name: (Any, dspy.InputField()) for name in (KEY, *self._names.values())}
        # One class per study: some of DSPy's optimizers change the signature they are given.
        self.signature = dspy.Signature(
            {**inputs, OUTPUT: (str, dspy.OutputField())}, setting.family.description or setting.family.name
        )
        self._call = threading.local()

    def student(self) -> Any:
        return dspy.Predict(self.signature)

    def context(self) -> Any:
        """DSPy's settings for this thread; nothing global is touched."""
        lm = dspy.LM(
            f"detent/{self.start.model.get('name', 'model')}", engine=_Engine(self), cache=False, num_retries=0
        )
        return dspy.context(lm=lm, adapter=TemplateAdapter(self), warn_on_type_mismatch=False, provide_traceback=False)

    def as_dspy(self, example: Example) -> Any:
        values = {self._names[name]: value for name, value in example.input.items() if name in self._names}
        return dspy.Example(**{KEY: example.id, OUTPUT: output_of(self.family, example)}, **values).with_inputs(
            KEY, *values
        )

    def metric(self, threshold: float) -> Any:
        """DSPy's metric: the family's score; while bootstrapping, whether the output is good enough for an example."""

        def score(example: Any, prediction: Any, trace: Any = None) -> float | bool:
            text = getattr(prediction, OUTPUT, None)
            ours = self._examples[example[KEY]]
            value = self._setting.scorer.score(ours.expected, text, ours.input).value if text else None
            return value or 0.0 if trace is None else value is not None and value > 0 and value >= threshold

        return score

    def variant(self, demos: Sequence[Mapping[str, Any]]) -> Variant:
        # DSPy's demos as our examples: a labelled one carries the expected text, a bootstrapped one what the model
        # wrote, or its label. One without an answer is left out.
        shots: list[FewShot] = []
        for d in demos:
            # What a demo shows as the answer. Where answers are labels that is the sheet's label: the model's own words
            # around it would be imitated.
            label = output_of(self.family, self.example(d[KEY])) if self.family.output.parser == "label" else ""
            shots.append(
                FewShot(id=d[KEY], input=dict(self.example(d[KEY]).input), output=(label or str(d[OUTPUT]).strip()))
            )
        return self.start.showing([s for s in shots if s.output and not VARIABLE.search(s.output)])

    def example(self, id: str) -> Example:
        return self._examples[id]

    def prepare(self, variant: Variant, example: Example) -> None:
        """Remembers, for this thread, the next call's variant and example: the engine sends our request, not DSPy's
        copy.
        """
        if not self._setting.fits(variant):
            raise InvalidInput(
                f"Variant {variant.id} may make a longer request than this study allows, so it is no candidate."
            )
        self._call.pending = (variant, example)

    def answer(self) -> str:
        variant, example = self._call.pending
        return self._setting.answer(variant, example)


class TemplateAdapter(dspy.Adapter):  # type: ignore[misc]  # DSPy carries no types
    """Formats a call as the family's prompt and parses the answer with the family's parser."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self._program = program

    def format(self, signature: Any, demos: list[Mapping[str, Any]], inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        variant, example = self._program.variant(demos), self._program.example(inputs[KEY])
        self._program.prepare(variant, example)
        return render(variant, example.input, declared=self._program.family.inputs)

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        parsed = parse_output(self._program.family.output, completion)
        if parsed.error is not None:
            raise dspy.AdapterParseError("TemplateAdapter", signature, completion, message=parsed.error)
        return {OUTPUT: completion}


class _Engine:
    """DSPy's engine protocol on top of the journaled model."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def complete(self, request: Any) -> Any:
        return response(request, self._program.answer())


def response(request: Any, text: str) -> Any:
    """What DSPy expects of an engine; tokens are counted by the journal."""
    usage = Usage(input_tokens=None, output_tokens=None)
    return Response(id=None, model=request.model, message=Message.assistant(text), finish_reason="stop", usage=usage)


def signature_of(family: Family, instruction: str) -> Any:
    """What a family's prompt asks for, as DSPy's optimizers read it; DSPy reserves names such as "config"."""
    inputs: dict[str, Any] = {f"input_{name}": (Any, dspy.InputField()) for name in family.inputs}
    return dspy.Signature({**inputs, OUTPUT: (str, dspy.OutputField())}, instruction)


def example_of(family: Family, example: Example) -> Any:
    """An example as programs of ``signature_of`` take it."""
    values = {f"input_{name}": example.input.get(name) for name in family.inputs}
    return dspy.Example(**values, **{OUTPUT: output_of(family, example)}).with_inputs(*values)


def output_of(family: Family, example: Example) -> str:
    """The expected output as an example shows it; empty where there is none, and then no demo shows it."""
    try:
        return shown_text(family.output, example.expected)
    except InvalidInput:
        return ""


def silence_dspy() -> None:
    """DSPy's optimizers print, draw progress bars and log every failed example. The study reports these itself."""
    logging.getLogger("dspy").setLevel(logging.CRITICAL)
    bootstrap.print = lambda *_, **__: None
    bootstrap.tqdm = SimpleNamespace(tqdm=iter)


WRITTEN = re.compile(r"\[\[ ## proposed_instruction ## \]\](.*?)(?:\[\[ ## |\Z)", re.DOTALL)
ASKED_ONCE = dspy.ChatAdapter(use_json_adapter_fallback=False)  # not again in JSON where an answer cannot be parsed
T = TypeVar("T")
log = structlog.get_logger(__name__)


class ProposerEngine:
    """DSPy's engine protocol on top of the journaled proposer."""

    def __init__(self, strategy: str, setting: SearchSetting) -> None:
        self._strategy, self._setting = strategy, setting
        self._n_calls = 0
        self._broken: Exception | None = None
        self._text = ""
        self._failure: str | None = None  # of the proposer, since it was last asked
        self.lm = dspy.LM("detent/proposer", engine=self, cache=False, num_retries=0)

    def as_model(self, adapter: dspy.Adapter = ASKED_ONCE) -> AbstractContextManager[None]:
        """Within this context DSPy's programs ask the proposer."""
        within: AbstractContextManager[None] = dspy.context(
            lm=self.lm, adapter=adapter, warn_on_type_mismatch=False, provide_traceback=False
        )
        return within

    def proposed(self, ask: Callable[[], T], **at: int) -> T | None:
        """What DSPy makes of the proposer's answer; None where that failed, and the log says why.

        Args:
            at: which proposal it is, for the log.
        """
        self._failure, self._text = None, ""
        try:
            return ask()
        except Exception as failure:  # DSPy wraps what its model raises, and a weak model's answer cannot be parsed
            self.require_whole()
            log.warning("proposal_failed", strategy=self._strategy, why=str(self._failure or failure)[:500], **at)
            return None

    def is_usable(self, start: Variant, variant: Variant, seen: Collection[str], **at: int) -> bool:
        """Whether a study may measure it; if not, the log says why."""
        why_not = instruction_fault(start, variant, seen, self._setting.fits, self._setting.leaks)
        if why_not is not None:
            log.warning("proposal_unusable", strategy=self._strategy, why=why_not, **at)
        return why_not is None

    def require_whole(self) -> None:
        """Raises a failure that was not the proposer's, since DSPy swallows every failure."""
        if self._broken is not None:
            raise self._broken

    def written(self) -> str | None:
        """The instruction as the proposer wrote it: DSPy takes "Answer with one label:" for a heading and
        cuts it off.
        """
        match = WRITTEN.search(self._text)
        return match[1].strip() if match else None

    def __deepcopy__(self, memo: Any) -> ProposerEngine:
        return self  # DSPy copies its model for every proposal; the calls are counted in one place

    def complete(self, request: Any) -> Any:
        self._n_calls += 1
        system = [{"role": "system", "content": _text(request.system)}] if request.system else []
        messages = [*system, *({"role": m.role, "content": _text(m.parts)} for m in request.messages)]
        try:
            self._text = self._setting.propose(messages, f"{self._strategy}:{self._n_calls}")
        except ModelFailed as failure:
            self._failure = failure.detail
            raise
        except Exception as broken:
            self._broken = broken
            raise
        return response(request, self._text)


def _text(parts: Any) -> str:
    return (
        parts if isinstance(parts, str) else "\n".join(part if isinstance(part, str) else part.text for part in parts)
    )
