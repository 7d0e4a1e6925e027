"""Learned predictors at work: the knob ``confidence: {kind: predictor, before: {MODEL:
data}, after: {MODEL: data}}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.family.rendering import value_text
from optimizer.core.models.language import ModelAnswer
from optimizer.core.predictor.answer_features import answer_features
from optimizer.core.predictor.predictor import Predictor
from optimizer.core.predictor.request_features import request_features

OF_LOG_PROBABILITIES = ("answer.log_probability_mean", "answer.log_probability_min")
REQUEST, ANSWER = "request", "answer"  # the texts that a part of kind grams may read, beside each input by its name


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedPredictors:
    """Predictors by model name: of the request alone, and of request and answer."""

    before: Mapping[str, Predictor] = field(default_factory=dict)
    after: Mapping[str, Predictor] = field(default_factory=dict)

    @property
    def reads_log_probabilities(self) -> bool:
        return any(name in OF_LOG_PROBABILITIES for predictor in self.after.values() for name in predictor.features)

    def confidence_before(self, model: str, input: Mapping[str, Any]) -> float | None:
        """In [0, 1]; None for a model without a predictor."""
        predictor = self.before.get(model)
        if predictor is None:
            return None
        texts = _texts(input)
        return _share(predictor.predict(_of_request(texts[REQUEST]), texts))

    def confidence_after(
        self,
        model: str,
        input: Mapping[str, Any],
        answer: ModelAnswer,
        *,
        other: str | None,
        issues: Mapping[str, bool],
    ) -> float | None:
        """In [0, 1]; None for a model without a predictor.

        Args:
            other: another answer of the model to the same request.
            issues: what was looked for in the answer: True where it was found.
        """
        predictor = self.after.get(model)
        if predictor is None:
            return None
        read = read_answer(input, answer, other=other, issues=issues)
        return _share(predictor.predict(read.numbers, read.texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAnswer:
    """What a predictor reads of a request and its answer: features by name (None: not measured), and texts."""

    numbers: Mapping[str, float | None]
    texts: Mapping[str, str]


def read_answer(
    input: Mapping[str, Any], answer: ModelAnswer, *, other: str | None, issues: Mapping[str, bool]
) -> ReadAnswer:
    """The same where a predictor is trained and where it is executed."""
    texts = {**_texts(input), ANSWER: answer.text}
    numbers = {**_of_request(texts[REQUEST]), **answer_features(answer.text, second=other, issues=issues)}
    measured = dict(zip(OF_LOG_PROBABILITIES, (answer.log_probability, answer.log_probability_min), strict=True))
    return ReadAnswer(numbers={**numbers, **measured}, texts=texts)


def read_predicted(data: Mapping[str, Any], faults: list[Fault]) -> AttachedPredictors:
    """The predictors of the knob; what is wrong goes to ``faults``, each at its place inside the knob."""
    read: dict[str, dict[str, Predictor]] = {"before": {}, "after": {}}
    for when, by_model in data.items():
        if when not in read or not isinstance(by_model, Mapping):
            detail = (
                "a confidence of kind predictor has before and after, each a mapping from a model's name to its"
                " predictor"
            )
            faults.append(Fault(pointer=pointer_of(["confidence", when]), detail=detail))
            continue
        for model, content in by_model.items():
            try:
                read[when][str(model)] = Predictor.from_data(content)
            except InvalidInput as error:
                at = pointer_of(["confidence", when, model])
                own = error.faults or (Fault(pointer="", detail=error.detail),)
                faults += [replace(fault, pointer=at + fault.pointer) for fault in own]
    return AttachedPredictors(before=read["before"], after=read["after"])


@lru_cache(maxsize=256)
def _of_request(text: str) -> Mapping[str, float]:
    """Read once for all calls of a request."""
    return request_features(text)


def _texts(input: Mapping[str, Any]) -> dict[str, str]:
    own = {name: value_text(value) for name, value in input.items()}
    return {**own, REQUEST: "\n".join(own.values())}


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
