"""A student: classifiers that answer in a model's place, as data. Of a whole answer or of each closed field of JSON
it gives one of the labels it has seen, and how sure it is.

Its features are TF-IDF of words, pairs of words and runs of letters; its weights come from scikit-learn
(``adapters/predictors/student_learning.py``), which nothing here loads. Weights are kept as 16-bit integers and one
scale a label, and are learned with what that rounds away, so learner and reader compute with the same numbers. Nothing
of it is executed, and no text of an example can be read from it but single words and pairs of at least three units.

How sure it is rests on the chances of its labels, and on how much of the text was seen with the label that it gives: a
request of a kind that it does not know has words of many labels, and chances over known labels alone do not show that.
"""

from __future__ import annotations

import base64
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.rendering import input_text
from optimizer.core.predictor.parts import Number, PartData, Platt, logistic
from optimizer.core.predictor.teaching import StudentAnswer, TeachingRow, whole_answer

FORMAT, FORMAT_OF_FIELDS = "detent-student-1", "detent-student-2"  # of whole answers; of fields
LEAST_UNITS = 3  # that said a word or a run of letters before it becomes a feature
RUNS = (3, 4)  # letters of a run, the white space around a word included
MOST_CHARS = 20_000  # of a text that are read
MOST_TEXT = 3_000_000  # characters of all texts that teach
MOST_MARGIN = 30.0  # of log odds; beyond it a float tells nothing apart
STEPS = 32_767  # of a weight, either side of 0
MARGIN_ALONE = (1.0, 0.0, 0.0, 0.0)  # weights of the signs of how sure an answer is (``signs_of``)

Method = Literal["logistic_regression", "complement_naive_bayes"]
Weights = NDArray[np.int16]
Values = NDArray[np.float64]
_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text[:MOST_CHARS]).casefold()[:MOST_CHARS])


def words_and_pairs(words: Sequence[str]) -> list[str]:
    return [*words, *map(" ".join, pairwise(words))]


def runs_within(word: str) -> list[str]:
    padded = f" {word} "
    return [padded[at : at + length] for length in RUNS for at in range(len(padded) - length + 1)]


def rows_within(rows: Sequence[TeachingRow]) -> Sequence[TeachingRow]:
    """The first rows, of whose texts at most ``MOST_TEXT`` characters are read."""
    return rows[: sum(n_chars <= MOST_TEXT for n_chars in accumulate(min(len(row.text), MOST_CHARS) for row in rows))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Which words and runs of letters count, and how many of ``n_texts`` texts hold each, words first."""

    words: Sequence[str]
    letters: Sequence[str]
    n_holding: Sequence[int]
    n_texts: int
    of_words: dict[str, int] = field(init=False, repr=False, compare=False)
    of_letters: dict[str, int] = field(init=False, repr=False, compare=False)
    rarity: Values = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "of_words", {word: at for at, word in enumerate(self.words)})
        object.__setattr__(self, "of_letters", {run: at for at, run in enumerate(self.letters, len(self.words))})
        rarity = np.log((1 + self.n_texts) / (1 + np.asarray(self.n_holding))) + 1
        object.__setattr__(self, "rarity", rarity)

    def __len__(self) -> int:
        return len(self.n_holding)

    def read(self, words: Sequence[str]) -> tuple[NDArray[np.intp], Values]:
        """(columns, values) of the features that a text of these words has; words and letters each have length 1."""
        own_columns, own_values = list[NDArray[np.intp]](), list[Values]()
        for places in (
            [at for gram in words_and_pairs(words) if (at := self.of_words.get(gram)) is not None],
            [at for word in words for run in runs_within(word) if (at := self.of_letters.get(run)) is not None],
        ):
            times = Counter(places)
            columns = np.fromiter(times, dtype=np.intp, count=len(times))
            values = self.rarity[columns] * (1.0 + np.log(np.fromiter(times.values(), dtype=float, count=len(times))))
            own_columns.append(columns)
            own_values.append(values / (math.sqrt(values @ values) or 1.0))
        return np.concatenate(own_columns), np.concatenate(own_values)

    def unknown_share(self, words: Sequence[str]) -> float | None:
        """Of a text's different words, pairs apart, those that do not count; None where it has no word."""
        different = set(words)
        return 1 - sum(word in self.of_words for word in different) / len(different) if different else None


class Classifier(PartData):
    """Chooses among ``labels``: of ``field`` its values as JSON, of None whole answers.

    ``calibration``: of the signs of how sure an answer is, times ``sign_weights``.
    """

    field: str | None = None
    method: Method
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    sign_weights: Annotated[tuple[Number, ...], Field(min_length=4, max_length=4)] = MARGIN_ALONE
    calibration: Platt


class StudentData(PartData):
    """A student as its JSON has it; arrays are base64 of little-endian numbers."""

    format: Literal["detent-student-1", "detent-student-2"]
    fields: Annotated[tuple[Classifier, ...], Field(min_length=1)]
    words: tuple[str, ...]
    letters: tuple[str, ...]
    n_holding: str  # 32-bit integers, one for each feature
    n_texts: Annotated[int, Field(ge=1)]
    weights: str  # 16-bit integers, a row for each feature
    scale: tuple[Number, ...]
    intercept: tuple[Number, ...]
    seen: str | None = None  # a bit for each feature and label, features first; students of before have none
    taught: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _with_its_classifier(cls, data: Any) -> Any:
        """In the format of whole answers the entries of the only classifier stand among the others."""
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            return data
        own = Classifier.model_fields.keys() & data.keys()
        return {**{key: data[key] for key in data.keys() - own}, "fields": [{key: data[key] for key in own}]}


@dataclass(frozen=True, kw_only=True, eq=False)
class Student:
    """``taught``: from how many rows and units, and how well it did out of fold.

    ``weights``: a row for each feature and a column for each label, those of all classifiers side by side; times
    ``scale`` and with ``intercept`` they make its log odds. ``seen``: which features the texts of each label have;
    None: how sure it is rests on the log odds alone.
    """

    classifiers: Sequence[Classifier]
    vocabulary: Vocabulary
    weights: Weights
    scale: Values
    intercept: Values
    seen: NDArray[np.bool_] | None = None
    taught: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, input: Mapping[str, Any]) -> StudentAnswer:
        """The most likely label of each field; a text of which it knows nothing gets some with confidence 0."""
        words = words_of(input_text(input))
        columns, values = self.vocabulary.read(words)
        log_odds = (values @ self.weights[columns]) * self.scale + self.intercept
        seen = np.zeros(len(log_odds)) if self.seen is None else values @ self.seen[columns]
        answers = dict[str | None, StudentAnswer]()
        for one, own in zip(self.classifiers, self._columns, strict=True):
            label, signs = signs_of(log_odds[own], seen[own])
            confidence = sureness(one.calibration, float(signs @ one.sign_weights)) if len(columns) else 0.0
            answers[one.field] = StudentAnswer(label=one.labels[label], confidence=confidence)
        return whole_answer(answers, unknown=self.vocabulary.unknown_share(words))

    @cached_property
    def _columns(self) -> Sequence[slice]:
        """Of each classifier those of its labels."""
        return [slice(*ends) for ends in pairwise(accumulate((len(one.labels) for one in self.classifiers), initial=0))]

    @cached_property
    def hash(self) -> str:
        """Of all that it answers by; the same wherever it was learned from the same rows."""
        return "st_" + digest(canonical_json(self.to_data()))[:12]

    def to_data(self) -> dict[str, Any]:
        """Plain JSON values."""
        unsigned = {"sign_weights"} if self.seen is None else set[str]()  # as one of before has its hash
        own = [one.model_dump(mode="json", exclude=unsigned, exclude_none=True) for one in self.classifiers]
        of_whole = self.classifiers[0].field is None
        return {
            "format": FORMAT if of_whole else FORMAT_OF_FIELDS,
            **(own[0] if of_whole else {"fields": own}),
            "words": list(self.vocabulary.words),
            "letters": list(self.vocabulary.letters),
            "n_holding": _packed(np.asarray(self.vocabulary.n_holding, dtype="<i4")),
            "n_texts": self.vocabulary.n_texts,
            "weights": _packed(self.weights.astype("<i2")),
            "scale": [float(value) for value in self.scale],
            "intercept": [float(value) for value in self.intercept],
            **({} if self.seen is None else {"seen": _packed(np.packbits(self.seen))}),
            "taught": dict(self.taught),
        }

    @classmethod
    def from_data(cls, data: Any) -> Student:
        """Reads what ``to_data`` writes. Raises InvalidInput for anything else."""
        try:
            content = StudentData.model_validate(data)
            n, n_labels = len(content.words) + len(content.letters), sum(len(one.labels) for one in content.fields)
            n_holding = np.frombuffer(_unpacked(content.n_holding, 4 * n), dtype="<i4")
            weights = np.frombuffer(_unpacked(content.weights, 2 * n * n_labels), dtype="<i2").reshape(n, n_labels)
            seen = None
            if content.seen is not None:
                bits = np.frombuffer(_unpacked(content.seen, (n * n_labels + 7) // 8), dtype=np.uint8)
                seen = np.unpackbits(bits, count=n * n_labels).astype(np.bool_).reshape(n, n_labels)
            if not len(content.scale) == len(content.intercept) == n_labels:
                raise ValueError("one scale and one intercept are needed for each label")
            names = {one.field for one in content.fields}
            if len(names) < len(content.fields) or (None in names) != (content.format == FORMAT):
                raise ValueError("a field has one classifier, and a whole answer one alone")
        except (ValidationError, ValueError) as error:
            raise InvalidInput(f"This is no student: {error}. Teach one by a study of strategy replay.") from error
        return cls(
            classifiers=content.fields,
            vocabulary=Vocabulary(
                words=content.words,
                letters=content.letters,
                n_holding=n_holding.tolist(),
                n_texts=content.n_texts,
            ),
            weights=weights.astype(np.int16),
            scale=np.asarray(content.scale, dtype=np.float64),
            intercept=np.asarray(content.intercept, dtype=np.float64),
            seen=seen,
            taught=content.taught,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaughtStudent:
    """``out_of_fold``: by row, what a student says that learned from the other folds alone."""

    student: Student
    out_of_fold: Mapping[str, StudentAnswer]

    def answer(self, input: Mapping[str, Any], row: str | None = None) -> StudentAnswer:
        """A row that taught it is answered out of fold: nothing is measured by what has seen it."""
        own = self.out_of_fold.get(row) if row is not None else None
        return self.student.answer(input) if own is None else own


class LearnStudent(Protocol):
    def __call__(self, rows: Sequence[TeachingRow], *, trained_on: Mapping[str, Any]) -> TaughtStudent:
        """Equal arguments give equal results.

        Raises:
            DatasetTooSmall: too few rows, groups or labels, or no word that enough units said.
        """


def signs_of(log_odds: Values, seen: Values) -> tuple[int, Values]:
    """The label of the greatest log odds, of equals the first, and what says how sure that is: the log odds of its
    being right, their lead over the next label, how much of the text was seen with it (``seen``, by label), and how
    much more than with any other.
    """
    at = int(log_odds.argmax())
    differences = log_odds - log_odds[at]
    others = float(np.exp(differences).sum()) - 1.0
    margin = MOST_MARGIN if others <= 0 else max(-MOST_MARGIN, min(MOST_MARGIN, -math.log(others)))
    of_others = np.arange(len(log_odds)) != at
    lead = min(MOST_MARGIN, -float(differences.max(where=of_others, initial=-MOST_MARGIN)))
    return at, np.array([margin, lead, seen[at], seen[at] - seen.max(where=of_others, initial=0.0)])


def sureness(calibration: Platt, margin: float) -> float:
    return logistic(calibration.slope * margin + calibration.intercept)


def quantised(weights: Values) -> tuple[Weights, Values]:
    """Weights in whole steps of a scale for each label (column), the largest of a label at the last step."""
    scale = np.abs(weights).max(axis=0, initial=0.0) / STEPS
    scale = np.where(scale > 0, scale, 1.0)
    return np.rint(weights / scale).astype(np.int16), scale


def _packed(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def _unpacked(text: str, n_bytes: int) -> bytes:
    """Raises ValueError for what does not hold exactly so many bytes."""
    content = base64.b64decode(text, validate=True)
    if len(content) != n_bytes:
        raise ValueError(f"an array has not the {n_bytes} bytes that its labels and features need")
    return content
