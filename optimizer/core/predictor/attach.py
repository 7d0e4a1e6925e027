"""Learned predictors in use: the knob ``confidence: {kind: predictor, before: …, after: …}``, and users' liking as a
score.

``before`` and ``after`` map a model to data. The score predicts users' thumbs, and is learned from production; it reads
only numbers of request and answer, and holds no word of either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.base.word_lists import STOP, WORD
from optimizer.core.family.metrics import metric
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
        return min(1.0, max(0.0, predictor.predict(_of_request(texts[REQUEST]), texts)))

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
            issues: what the checks looked for in the answer: True where it was found.
        """
        predictor = self.after.get(model)
        if predictor is None:
            return None
        read = read_answer(input, answer, other=other, issues=issues)
        return min(1.0, max(0.0, predictor.predict(read.numbers, read.texts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAnswer:
    """What a predictor reads of a request and its answer: features by name (None: not measured), and texts."""

    numbers: Mapping[str, float | None]
    texts: Mapping[str, str]


def read_answer(
    input: Mapping[str, Any], answer: ModelAnswer, *, other: str | None, issues: Mapping[str, bool]
) -> ReadAnswer:
    """The features of an answer, the same in training and in use."""
    texts = {**_texts(input), ANSWER: answer.text}
    features = answer_features(
        answer.text,
        log_probability=answer.log_probability,
        log_probability_min=answer.log_probability_min,
        second=other,
        issues=issues,
    )
    return ReadAnswer(numbers={**_of_request(texts[REQUEST]), **features}, texts=texts)


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


LEAST_THUMBS = 100
LEAST_OF_A_KIND = 10  # up and down, among the later thumbs
EARLIER = 0.7  # the share of the thumbs that is learned from
LEAST_AREA = 0.6  # how often a liked answer has to score above a disliked one; chance is .5
_OF_ANSWER = ("answer.log_words", "answer.refusal", "answer.hedges", "answer.log_numbers", "answer.ends")
LENGTH = "answer.log_words"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """What was learned, and how well it tells later thumbs apart: area under the ROC curve with its 95 % interval.

    ``length_area``: that of the answer's length alone, longer or shorter, whichever tells more.
    """

    predictor: Predictor
    n_earlier: int
    n_later: int
    area: float
    low: float
    high: float
    length_area: float

    @property
    def is_enough(self) -> bool:
        return self.area >= LEAST_AREA and self.low > 0.5

    def as_data(self) -> dict[str, Any]:
        """The alignment as plain JSON, without the predictor."""
        return {name: value for name, value in asdict(self).items() if name != "predictor"} | {
            "is_enough": self.is_enough
        }


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value).decode()


def alignment_features(input: Mapping[str, Any], answer: str) -> dict[str, float | None]:
    """Features of the request, of the answer, and of how much of the request the answer takes up."""
    request = "\n".join(text_of(value) for value in input.values())
    request_words, answer_words = _words(request), _words(answer)
    shared = request_words & answer_words
    own = answer_features(answer)
    return {
        **request_features(request),
        **{name: own[name] for name in _OF_ANSWER},
        "answer.log_length_ratio": math.log1p(len(answer)) - math.log1p(len(request)),
        "answer.share_from_request": len(shared) / len(answer_words) if answer_words else 0.0,
        "answer.share_of_request": len(shared) / len(request_words) if request_words else 0.0,
        "answer.log_lines": math.log1p(answer.count("\n")),
    }


@metric(name="aligned", sees="input", parameters={"predictor": "predictor"}, needs_expected=False)
def aligned_score(wanted: Any, output: Any, input: Mapping[str, Any], *, predictor: Predictor) -> float:
    """How likely users are to like the answer, as `detent family align` learned.

    It reads 40 numbers of request and answer, such as length, hedges, a refusal, and how much of the request comes
    back, and no word of either: a search may learn to please it by them, so look at what wins. Its version is the
    file's hash. It needs no expected output.

    Args:
        predictor: the file that the command wrote, from the project folder.
    """
    return predictor.predict(alignment_features(input, text_of(output)))


def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in WORD.findall(text)) - STOP


FEATURES: Sequence[str] = tuple(alignment_features({}, ""))
