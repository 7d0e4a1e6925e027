"""Teaches a student with scikit-learn, which is loaded when the learning starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from optimizer.adapters.predictors.export import fitted_platt
from optimizer.core.base.canonical import DECIMALS, canonical_json, digest
from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.predictor.parts import Platt
from optimizer.core.predictor.student import (
    LEAST_UNITS,
    Grams,
    Method,
    Student,
    TaughtStudent,
    Values,
    Vocabulary,
    grams,
    most_likely,
    quantised,
    sureness,
)
from optimizer.core.predictor.teaching import LEAST_ROWS, N_FOLDS, StudentAnswer, TeachingRow, fold_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

STRENGTH = 20.0  # inverse of the L2 penalty, fixed on training rows of two sets (bench/students.py)
SMOOTHING = 0.3  # of complement naive Bayes
MOST_WEIGHTS = 1_500_000  # of 16 bits: at most 4 MB as text, without the words
MOST_FEATURES = 50_000  # words and runs of letters
UNCALIBRATED = Platt(slope=1.0, intercept=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRow:
    """A row and what its text has of words and runs of letters, which takes most of the time."""

    row: TeachingRow
    counted: Grams


def learn_student(rows: Sequence[TeachingRow], *, trained_on: Mapping[str, Any]) -> TaughtStudent:
    """core.predictor.student.LearnStudent with scikit-learn.

    The method with more right answers out of fold is kept, of equals logistic regression.

    Raises:
        DatasetTooSmall: too few rows, units or labels, or no word that enough units said.
    """
    from threadpoolctl import threadpool_limits

    rows = sorted(rows, key=lambda row: row.id)
    _require_enough(rows)
    folds = fold_of([row.group for row in rows])
    read = read_rows(rows)
    with threadpool_limits(1):  # so few rows: further threads only wait for one another
        answers = _out_of_fold(read, folds)
        n_right = {
            method: sum(row.weight * (one.label == row.label) for one, row in zip(own, rows, strict=True))
            for method, own in answers.items()
        }
        method = max(_METHODS, key=lambda one: n_right[one])
        own = answers[method]
        known = [
            (one.margin, float(one.label == row.label), row.weight)
            for one, row in zip(own, rows, strict=True)
            if one.is_known
        ]
        if not known:
            raise DatasetTooSmall(
                "A student cannot be taught: no released training example shares a word with those of other groups."
                " Import more examples, or release more."
            )
        calibration = Platt.model_validate(fitted_platt(*zip(*known, strict=True)))
        taught = {
            **trained_on,
            "n_rows": len(rows),
            "n_units": len({row.unit for row in rows}),
            "rows": digest(
                canonical_json([[row.id, row.label, *([row.weight] if row.weight != 1 else ())] for row in rows])
            ),
            "right_out_of_fold": round(n_right[method] / sum(row.weight for row in rows), DECIMALS),
        }
        student = replace(fitted_student(read, method), calibration=calibration, taught=taught)
    return TaughtStudent(
        student=student,
        out_of_fold={
            row.id: StudentAnswer(
                label=one.label, confidence=sureness(calibration, one.margin) if one.is_known else 0.0
            )
            for row, one in zip(rows, own, strict=True)
        },
    )


def read_rows(rows: Sequence[TeachingRow]) -> list[ReadRow]:
    """With what at least three rows have: the rest is no feature of any student, and would take most of the memory."""
    words, letters = Counter[str](), Counter[str]()
    for row in rows:
        own = grams(row.text)
        words.update(own.words.keys())
        letters.update(own.letters.keys())
    known_words, known_letters = _of_several(words), _of_several(letters)
    del words, letters
    read = []
    for row in rows:
        own = grams(row.text)
        counted = Grams(words=_known(own.words, known_words), letters=_known(own.letters, known_letters))
        read.append(ReadRow(row=row, counted=counted))
    return read


def _of_several(holding: Counter[str]) -> dict[str, str]:
    return {gram: gram for gram, n in holding.items() if n >= LEAST_UNITS}


def _known(counts: Counter[str], known: Mapping[str, str]) -> Counter[str]:
    """By the strings of ``known``, which all rows share."""
    return Counter({known[gram]: n for gram, n in counts.items() if gram in known})


def fitted_student(read: Sequence[ReadRow], method: Method) -> Student:
    """A student of this method, uncalibrated, with the weights that it serves with."""
    return _fitted(read, (method,))[method]


def _fitted(read: Sequence[ReadRow], methods: Iterable[Method]) -> dict[Method, Student]:
    import numpy as np

    labels = sorted({one.row.label for one in read})
    vocabulary = vocabulary_of(read, n_labels=len(labels))
    features = features_of(vocabulary, [one.counted for one in read])
    places = {label: at for at, label in enumerate(labels)}
    students = dict[Method, Student]()
    for method in methods:
        # Where the rows outside a fold have one label, nothing is learned: it is what they say.
        weights, intercept = (
            _METHODS[method](features, [places[one.row.label] for one in read], [one.row.weight for one in read])
            if len(labels) > 1
            else (np.zeros((len(vocabulary), 1)), np.zeros(1))
        )
        steps, scale = quantised(weights)
        students[method] = Student(
            method=method,
            labels=labels,
            vocabulary=vocabulary,
            weights=steps,
            scale=scale,
            intercept=intercept,
            calibration=UNCALIBRATED,
        )
    return students


def vocabulary_of(read: Sequence[ReadRow], *, n_labels: int) -> Vocabulary:
    """Words and runs of letters of at least three units; of too many the ones that most texts hold.

    Raises DatasetTooSmall where there is none.
    """
    units: dict[tuple[bool, str], tuple[str, ...]] = {}
    holding: Counter[tuple[bool, str]] = Counter()
    for one in read:
        own = [*((False, word) for word in one.counted.words), *((True, run) for run in one.counted.letters)]
        holding.update(own)
        for gram in own:
            known = units.get(gram, ())
            if len(known) < LEAST_UNITS and one.row.unit not in known:
                units[gram] = (*known, one.row.unit)
    enough = [gram for gram, of_gram in units.items() if len(of_gram) >= LEAST_UNITS]
    if not enough:
        raise DatasetTooSmall(
            f"A student cannot be taught: no word of {len(read)} released training examples was said by"
            f" {LEAST_UNITS} units. Import more examples, or release more."
        )
    most = min(MOST_FEATURES, MOST_WEIGHTS // n_labels)
    features = sorted(sorted(enough, key=lambda gram: (-holding[gram], gram))[:most])
    return Vocabulary(
        words=[gram for is_run, gram in features if not is_run],
        letters=[gram for is_run, gram in features if is_run],
        n_holding=[holding[gram] for gram in features],
        n_texts=len(read),
    )


def features_of(vocabulary: Vocabulary, counted: Sequence[Grams]) -> csr_matrix:
    """A row of the vocabulary's features for each text."""
    import numpy as np
    from scipy.sparse import csr_matrix

    columns, values = list[Any](), list[Any]()
    for one in counted:
        of_text, its = vocabulary.read(one)
        columns.append(np.asarray(of_text, dtype=np.int32))  # lists of all texts would take three times the memory
        values.append(np.asarray(its, dtype=np.float64))
    ends = np.cumsum([0, *map(len, columns)])
    return csr_matrix((np.concatenate(values), np.concatenate(columns), ends), shape=(len(counted), len(vocabulary)))


def _logistic_regression(features: Any, labels: Sequence[int], weights: Sequence[float]) -> tuple[Values, Values]:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=STRENGTH, max_iter=200, tol=1e-3, random_state=0)
    model.fit(features, labels, sample_weight=weights)
    if len(model.classes_) == 2:  # scikit-learn then has the second label's log odds alone
        return (
            np.column_stack([np.zeros(features.shape[1]), model.coef_[0]]),
            np.array([0.0, float(model.intercept_[0])]),
        )
    return model.coef_.T, model.intercept_


def _complement_naive_bayes(features: Any, labels: Sequence[int], weights: Sequence[float]) -> tuple[Values, Values]:
    import numpy as np
    from sklearn.naive_bayes import ComplementNB

    model = ComplementNB(alpha=SMOOTHING).fit(features, labels, sample_weight=weights)
    return model.feature_log_prob_.T, np.zeros(len(model.classes_))


_METHODS: Mapping[Method, Any] = {
    "logistic_regression": _logistic_regression,
    "complement_naive_bayes": _complement_naive_bayes,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnseenAnswer:
    """A label with the log odds of its being right, and whether anything of the text was known."""

    label: str
    margin: float
    is_known: bool


def _out_of_fold(read: Sequence[ReadRow], folds: Sequence[int]) -> dict[Method, list[_UnseenAnswer]]:
    """By method the answer to each row of a student that learned from the other folds."""
    answers = {method: dict[int, _UnseenAnswer]() for method in _METHODS}
    for fold in sorted(set(folds)):
        students = _fitted([one for one, its in zip(read, folds, strict=True) if its != fold], _METHODS)
        own = [at for at, its in enumerate(folds) if its == fold]
        for method, student in students.items():
            features = features_of(student.vocabulary, [read[at].counted for at in own])
            odds = (features @ student.weights) * student.scale + student.intercept
            for place, at in enumerate(own):
                label, margin = most_likely(odds[place])
                is_known = bool(features.indptr[place + 1] > features.indptr[place])
                answers[method][at] = _UnseenAnswer(label=student.labels[label], margin=margin, is_known=is_known)
    return {method: [of_row[at] for at in range(len(read))] for method, of_row in answers.items()}


def _require_enough(rows: Sequence[TeachingRow]) -> None:
    n_groups, n_labels = len({row.group for row in rows}), len({row.label for row in rows})
    if len(rows) < LEAST_ROWS or n_groups < N_FOLDS:
        raise DatasetTooSmall(
            f"A student cannot be taught: there are {len(rows)} released training examples in {n_groups} groups, and it"
            f" takes {LEAST_ROWS} in {N_FOLDS} groups. Import more, or release more.",
            n_rows=len(rows),
            n_required=LEAST_ROWS,
        )
    if n_labels < 2:
        raise DatasetTooSmall(
            "A student cannot be taught: all released training examples have one label. Import examples of the others."
        )
