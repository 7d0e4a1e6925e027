"""Teaches a student with scikit-learn, which is loaded when the learning starts."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from optimizer.adapters.predictors.export import fitted_platt
from optimizer.core.base.canonical import DECIMALS, canonical_json, digest
from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.predictor.parts import Platt
from optimizer.core.predictor.student import (
    LEAST_UNITS,
    MARGIN_ALONE,
    Classifier,
    Method,
    Student,
    TaughtStudent,
    Values,
    Vocabulary,
    quantised,
    runs_within,
    signs_of,
    sureness,
    words_and_pairs,
    words_of,
)
from optimizer.core.predictor.teaching import (
    LEAST_ROWS,
    N_FOLDS,
    StudentAnswer,
    TeachingRow,
    fold_of,
    whole_answer,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

STRENGTH = 20.0  # inverse of the L2 penalty, fixed on training rows of two sets (bench/students.py)
SMOOTHING = 0.3  # of complement naive Bayes
MOST_WEIGHTS = 1_500_000  # of 16 bits: at most 4 MB as text, without the words
MOST_FEATURES = 50_000  # words and runs of letters
MANY = 200_000  # rows times labels, above which a logistic regression is learned in batches
LEAST_SIGNED = 1000  # rows, below which only the margin says how sure an answer is
EPOCHS, BATCH, RATE = 8, 512, 0.7
Methods = Mapping[Method, Callable[[Any, Sequence[int], Sequence[float]], tuple[Values, Values]]]
UNCALIBRATED = Platt(slope=1.0, intercept=0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CountedTexts:
    """How often each text has each word, pair of words and run of letters; counted once for all students of a study.

    ``grams``: in order, ``n_words`` words and pairs of words before the runs; ``counts``: a row for each text and a
    column for each of them. ``counts`` of a fold are some of its rows.
    """

    grams: Sequence[str]
    n_words: int
    counts: csr_matrix

    def take(self, places: Sequence[int]) -> CountedTexts:
        return replace(self, counts=self.counts[places])


def learn_student(rows: Sequence[TeachingRow], *, trained_on: Mapping[str, Any]) -> TaughtStudent:
    """core.predictor.student.LearnStudent with scikit-learn.

    Of each field the method with more right answers out of fold is kept, of equals logistic regression.

    Raises:
        DatasetTooSmall: too few rows, units or labels, or no word that enough units said.
    """
    import numpy as np
    import sklearn.linear_model  # noqa: F401  before the limit, which binds the libraries that are loaded then
    from threadpoolctl import threadpool_limits

    rows = sorted(rows, key=lambda row: row.id)
    _require_enough(rows)
    folds = fold_of([row.group for row in rows])
    with threadpool_limits(1):  # so few rows: further threads only wait for one another
        counted = counted_texts([row.text for row in rows], least=LEAST_UNITS)
        by_field: dict[str | None, Sequence[TeachingRow]] = {
            name: [replace(row, label=row.fields[name]) for row in rows] for name in rows[0].fields
        }
        learned = {name: _learned(counted, own, folds, name) for name, own in (by_field or {None: rows}).items()}
    answers = [whole_answer({name: of_rows[at] for name, (_, of_rows) in learned.items()}) for at in range(len(rows))]
    n_right = sum(row.weight * (one.label == row.label) for row, one in zip(rows, answers, strict=True))
    taught = {
        **trained_on,
        "n_rows": len(rows),
        "n_units": len({row.unit for row in rows}),
        "rows": digest(
            canonical_json([[row.id, row.label, *([row.weight] if row.weight != 1 else ())] for row in rows])
        ),
        # What a model said is no truth.
        "agreement_out_of_fold" if "n_answers" in trained_on else "right_out_of_fold": round(
            n_right / sum(row.weight for row in rows), DECIMALS
        ),
    }
    students = [student for student, _ in learned.values()]
    classifiers = [one for student in students for one in student.classifiers]
    is_signed = any(one.sign_weights != MARGIN_ALONE for one in classifiers)
    student = replace(  # all have the vocabulary of the first
        students[0],
        classifiers=classifiers,
        weights=np.hstack([one.weights for one in students]),
        scale=np.concatenate([one.scale for one in students]),
        intercept=np.concatenate([one.intercept for one in students]),
        seen=np.hstack([one.seen for one in students if one.seen is not None]) if is_signed else None,
        taught=taught,
    )
    return TaughtStudent(
        student=student, out_of_fold={row.id: answer for row, answer in zip(rows, answers, strict=True)}
    )


def _learned(
    counted: CountedTexts, rows: Sequence[TeachingRow], folds: Sequence[int], field: str | None
) -> tuple[Student, Sequence[StudentAnswer]]:
    """The student of a field, or of whole answers, that serves, and the answer to each row out of fold."""
    is_large = len(rows) * len({row.label for row in rows}) > MANY
    methods = METHODS_OF_MANY if is_large else METHODS
    answers = _unseen_answers(counted, rows, folds, methods)
    n_right = {
        method: sum(row.weight * (own[at].label == row.label) for at, row in enumerate(rows))
        for method, own in answers.items()
    }
    method = max(methods, key=lambda one: n_right[one])
    own = [answers[method][at] for at in range(len(rows))]
    is_right = [float(one.label == row.label) for one, row in zip(own, rows, strict=True)]
    known = [at for at, one in enumerate(own) if one.is_known]
    if not known:
        raise DatasetTooSmall(
            "A student cannot be taught: no released training example shares a word with those of other groups."
            " Import more examples, or release more."
        )
    sign_weights, scores = _weighed(own, rows, folds)
    calibration = Platt.model_validate(
        fitted_platt([scores[at] for at in known], [is_right[at] for at in known], [rows[at].weight for at in known])
    )
    learn = {method: methods[method]}
    answered_folds = range(2 if is_large else N_FOLDS)  # of many rows two folds show how margins differ
    fewer = _unseen_answers(counted, rows, folds, learn, answered_folds=answered_folds, n_left_out=2)[method]
    student = fitted_students(counted, rows, learn)[method]
    classifier = Classifier(
        field=field,
        method=method,
        labels=student.classifiers[0].labels,
        sign_weights=tuple(sign_weights),
        calibration=_after_refit(calibration, sign_weights, fewer, own),
    )
    return replace(student, classifiers=[classifier]), [
        StudentAnswer(label=one.label, confidence=sureness(calibration, score) if one.is_known else 0.0)
        for one, score in zip(own, scores, strict=True)
    ]


def _weighed(
    own: Sequence[_UnseenAnswer], rows: Sequence[TeachingRow], folds: Sequence[int]
) -> tuple[Sequence[float], Sequence[float]]:
    """How much each sign says, and of each row the weighed signs, by weights that did not see its fold: weights fitted
    to the row itself would make it look surer than a new text.

    Of fewer than ``LEAST_SIGNED`` rows the margin alone counts. On 200 train rows of sentiment, drawn 200 times,
    weights that had seen the row let thresholds lose more than the margin in .155 of draws; the margin alone in .085.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    signs = np.array([one.signs for one in own])
    is_right = np.array([one.label == row.label for one, row in zip(own, rows, strict=True)])
    is_known, its = np.array([one.is_known for one in own]), np.asarray(folds)
    n_folds = min(len(np.unique(its[is_known & (is_right == one)])) for one in (True, False))
    if len(rows) < LEAST_SIGNED or n_folds < 2:  # other folds have to say both
        return MARGIN_ALONE, signs[:, 0].tolist()
    weights, apart = np.array([row.weight for row in rows]), np.maximum(signs.std(axis=0), 1e-9)

    def fitted(rows_used: NDArray[np.bool_]) -> NDArray[np.float64]:
        model = LogisticRegression(max_iter=1000)
        model.fit(signs[rows_used] / apart, is_right[rows_used], sample_weight=weights[rows_used])
        return np.append(model.coef_[0] / apart, model.intercept_)

    whole, scores = fitted(is_known), np.zeros(len(rows))
    for fold in np.unique(its):
        of_others = fitted(is_known & (its != fold))
        # Brought to the intercept of the whole, which the student that serves is calibrated with.
        scores[its == fold] = signs[its == fold] @ of_others[:-1] + of_others[-1] - whole[-1]
    return whole[:-1].tolist(), scores.tolist()


def _after_refit(
    calibration: Platt,
    sign_weights: Sequence[float],
    fewer: Mapping[int, _UnseenAnswer],
    own: Sequence[_UnseenAnswer],
) -> Platt:
    """The calibration of the student that serves, which learned from all folds and is surer than those of four.

    Its weighed signs on unseen texts are taken to differ from theirs as theirs (``own``) do from those of students that
    learned from three (``fewer``, by row), by mean and standard deviation. Without this a threshold found out of fold
    let a fifth more of unseen texts through than were judged: document_analysis and intent_routing_banking77, 200 train
    rows drawn 100 to 200 times, 2026-11-26.
    """
    import numpy as np

    both = [
        (fewer[at].signs @ sign_weights, own[at].signs @ sign_weights)
        for at in sorted(fewer)
        if fewer[at].is_known and own[at].is_known
    ]
    if len(both) < 2:
        return calibration
    (of_fewer, of_own), (apart_fewer, apart_own) = np.mean(both, axis=0), np.std(both, axis=0)
    stretch = float(apart_own / apart_fewer) if apart_fewer > 0 and apart_own > 0 else 1.0
    shift = float(of_own - stretch * of_fewer)
    return Platt(
        slope=calibration.slope / stretch, intercept=calibration.intercept - calibration.slope * shift / stretch
    )


def counted_texts(texts: Sequence[str], *, least: int) -> CountedTexts:
    """Of what at least ``least`` texts have: the rest is no feature of any student, and would take most of the
    memory.
    """
    import numpy as np
    from scipy.sparse import csr_matrix, hstack

    kinds = list[tuple[list[str], csr_matrix]]()
    columns, ends = (array("i"), array("i")), (array("i", [0]), array("i", [0]))
    places: tuple[dict[str, int], dict[str, int]] = {}, {}
    runs_of: dict[str, array[int]] = {}  # by word, since words come again and again
    for text in texts:
        words = words_of(text)
        for gram in words_and_pairs(words):
            columns[0].append(places[0].setdefault(gram, len(places[0])))
        for word in words:
            if (own := runs_of.get(word)) is None:
                own = array("i", [places[1].setdefault(run, len(places[1])) for run in runs_within(word)])
                runs_of[word] = own
            columns[1].extend(own)
        for of_kind, ends_of_kind in zip(columns, ends, strict=True):
            ends_of_kind.append(len(of_kind))
    for of_kind, ends_of_kind, places_of_kind in zip(columns, ends, places, strict=True):
        shape = (len(texts), len(places_of_kind))
        counts = csr_matrix((np.ones(len(of_kind), dtype=np.int32), of_kind, ends_of_kind), shape=shape)
        counts.sum_duplicates()
        names = list(places_of_kind)
        of_several = np.flatnonzero(counts.getnnz(axis=0) >= least)
        ordered = sorted(of_several.tolist(), key=names.__getitem__)
        kinds.append(([names[at] for at in ordered], counts[:, ordered]))
    (words_of_several, of_words), (runs_of_several, of_runs) = kinds
    return CountedTexts(
        grams=[*words_of_several, *runs_of_several],
        n_words=len(words_of_several),
        counts=hstack([of_words, of_runs], format="csr"),
    )


def fitted_students(counted: CountedTexts, rows: Sequence[TeachingRow], methods: Methods) -> dict[Method, Student]:
    """Students of these methods, uncalibrated, with the weights that they serve with."""
    import numpy as np
    from scipy.sparse import csr_matrix

    labels = sorted({row.label for row in rows})
    n_of_fields = len({value for row in rows for value in row.fields.items()})  # whose columns stand side by side
    vocabulary = vocabulary_of(counted, [row.unit for row in rows], n_labels=n_of_fields or len(labels))
    features = features_of(vocabulary, counted)
    places = {label: at for at, label in enumerate(labels)}
    of_label = (np.ones(len(rows), dtype=np.int32), ([places[row.label] for row in rows], np.arange(len(rows))))
    seen = ((csr_matrix(of_label, shape=(len(labels), len(rows))) @ (features > 0)) > 0).toarray().T
    students = dict[Method, Student]()
    for method, learn in methods.items():
        # Where the rows outside a fold have one label, nothing is learned: it is what they say.
        weights, intercept = (
            learn(features, [places[row.label] for row in rows], [row.weight for row in rows])
            if len(labels) > 1
            else (np.zeros((len(vocabulary), 1)), np.zeros(1))
        )
        steps, scale = quantised(weights)
        students[method] = Student(
            classifiers=[Classifier(method=method, labels=tuple(labels), calibration=UNCALIBRATED)],
            vocabulary=vocabulary,
            weights=steps,
            scale=scale,
            intercept=intercept,
            seen=seen,
        )
    return students


def vocabulary_of(counted: CountedTexts, units: Sequence[str], *, n_labels: int) -> Vocabulary:
    """Words and runs of letters of at least three units; of too many the ones that most texts hold.

    Raises DatasetTooSmall where there is none.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    n_texts = len(units)
    n_holding = counted.counts.getnnz(axis=0)
    place_of = {unit: at for at, unit in enumerate(dict.fromkeys(units))}
    said = (np.ones(n_texts, dtype=np.int32), ([place_of[unit] for unit in units], np.arange(n_texts)))
    n_units = (csr_matrix(said, shape=(len(place_of), n_texts)) @ counted.counts).getnnz(axis=0)
    enough = np.flatnonzero(n_units >= LEAST_UNITS)
    if not len(enough):
        raise DatasetTooSmall(
            f"A student cannot be taught: no word of {n_texts} released training examples was said by"
            f" {LEAST_UNITS} units. Import more examples, or release more."
        )
    most = min(MOST_FEATURES, MOST_WEIGHTS // n_labels)
    features = np.sort(enough[np.argsort(-n_holding[enough], kind="stable")[:most]])
    n_words = int(np.searchsorted(features, counted.n_words))
    names = [counted.grams[at] for at in features]
    return Vocabulary(
        words=names[:n_words], letters=names[n_words:], n_holding=n_holding[features].tolist(), n_texts=n_texts
    )


def features_of(vocabulary: Vocabulary, counted: CountedTexts) -> csr_matrix:
    """``Vocabulary.read`` of each text, a row of the vocabulary's features."""
    import numpy as np
    from scipy.sparse import csr_matrix

    places = [
        (of_kind.get(gram), at)
        for of_kind, grams, first in (
            (vocabulary.of_words, counted.grams[: counted.n_words], 0),
            (vocabulary.of_letters, counted.grams[counted.n_words :], counted.n_words),
        )
        for at, gram in enumerate(grams, first)
    ]
    known = [(column, at) for column, at in places if column is not None]
    columns, own = zip(*known, strict=True) if known else ((), ())
    shape = (len(counted.grams), len(vocabulary))
    features = counted.counts @ csr_matrix((np.ones(len(known)), (own, columns)), shape=shape)
    features.data = vocabulary.rarity[features.indices] * (1.0 + np.log(features.data))
    blocks = 2 * np.repeat(np.arange(features.shape[0]), np.diff(features.indptr))
    blocks += features.indices >= len(vocabulary.words)
    features.data /= np.sqrt(np.bincount(blocks, weights=features.data**2))[blocks]
    return features


def _logistic_regression(features: Any, labels: Sequence[int], weights: Sequence[float]) -> tuple[Values, Values]:
    """By Newton's method in 32 bits: on rows of three sets nearer to the optimum than L-BFGS, in half its time."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=STRENGTH, solver="newton-cg", max_iter=200, tol=1e-3)
    model.fit(features.astype(np.float32), labels, sample_weight=weights)
    if len(model.classes_) == 2:  # scikit-learn then has the second label's log odds alone
        return (
            np.column_stack([np.zeros(features.shape[1]), model.coef_[0]]),
            np.array([0.0, float(model.intercept_[0])]),
        )
    return model.coef_.T, model.intercept_


def _logistic_regression_by_batches(
    features: Any, labels: Sequence[int], weights: Sequence[float]
) -> tuple[Values, Values]:
    """AdaGrad (Duchi, Hazan and Singer 2011) from complement naive Bayes on, stretched to the least loss.

    On 5,000 rows of 108 labels it is right as often on unseen texts as Newton's method, in a sixth of its time. The
    order of the batches is drawn by a fixed seed.
    """
    import numpy as np

    features, places, n = features.astype(np.float32), np.asarray(labels), len(labels)
    share = np.asarray(weights, dtype=np.float32) / np.float32(np.mean(weights))
    coefficients = _complement_naive_bayes(features, labels, weights)[0]
    coefficients = np.ascontiguousarray(coefficients - coefficients.mean(axis=1, keepdims=True), dtype=np.float32)
    intercept = np.zeros(coefficients.shape[1], dtype=np.float32)
    odds = features @ coefficients

    def loss(stretch: float) -> float:
        own = stretch * odds
        own -= own.max(axis=1, keepdims=True)
        return float(share @ (np.log(np.exp(own).sum(axis=1)) - own[np.arange(n), places]))

    coefficients *= np.float32(min((0.5, 1.0, 2.0, 3.0, 4.0, 6.0), key=loss))
    penalty, rate = np.float32(1 / STRENGTH / n), np.float32(RATE)
    squares, squares_of_intercept = np.full_like(coefficients, 1e-8), np.full_like(intercept, 1e-8)
    scratch, draws = np.empty_like(coefficients), np.random.default_rng(0)
    for _ in range(EPOCHS):
        order = draws.permutation(n)
        for at in range(0, n, BATCH):
            batch = order[at : at + BATCH]
            own = features[batch]
            errors = own @ coefficients + intercept
            errors -= errors.max(axis=1, keepdims=True)
            np.exp(errors, out=errors)
            errors /= errors.sum(axis=1, keepdims=True)
            errors[np.arange(len(batch)), places[batch]] -= 1
            errors *= (share[batch] / len(batch))[:, None]
            gradient, step = own.T @ errors, errors.sum(axis=0)
            gradient += np.multiply(coefficients, penalty, out=scratch)
            squares += np.multiply(gradient, gradient, out=scratch)
            gradient /= np.sqrt(squares, out=scratch)
            gradient *= rate
            coefficients -= gradient
            squares_of_intercept += step * step
            intercept -= rate * step / np.sqrt(squares_of_intercept)
    return coefficients.astype(np.float64), intercept.astype(np.float64)


def _complement_naive_bayes(features: Any, labels: Sequence[int], weights: Sequence[float]) -> tuple[Values, Values]:
    import numpy as np
    from sklearn.naive_bayes import ComplementNB

    model = ComplementNB(alpha=SMOOTHING).fit(features, labels, sample_weight=weights)
    return model.feature_log_prob_.T, np.zeros(len(model.classes_))


METHODS: Methods = {
    "logistic_regression": _logistic_regression,
    "complement_naive_bayes": _complement_naive_bayes,
}
METHODS_OF_MANY: Methods = {**METHODS, "logistic_regression": _logistic_regression_by_batches}


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnseenAnswer:
    """A label with the signs of how sure it is, and whether anything of the text was known."""

    label: str
    signs: Values
    is_known: bool


def _unseen_answers(
    counted: CountedTexts,
    rows: Sequence[TeachingRow],
    folds: Sequence[int],
    methods: Methods,
    *,
    answered_folds: Iterable[int] = range(N_FOLDS),
    n_left_out: int = 1,
) -> dict[Method, dict[int, _UnseenAnswer]]:
    """By method and row the answer of a student that learned from folds other than the row's.

    Args:
        answered_folds: the folds whose rows are answered.
        n_left_out: folds that it did not learn from, the row's own and those that follow.
    """
    import numpy as np

    answers = {method: dict[int, _UnseenAnswer]() for method in methods}
    for fold in sorted(set(folds).intersection(answered_folds)):
        others = [at for at, its in enumerate(folds) if (its - fold) % N_FOLDS >= n_left_out]
        own = [at for at, its in enumerate(folds) if its == fold]
        students = fitted_students(counted.take(others), [rows[at] for at in others], methods)
        features = features_of(next(iter(students.values())).vocabulary, counted.take(own))  # the same of all
        seen = features @ np.asarray(next(iter(students.values())).seen, dtype=float)
        for method, student in students.items():
            odds = (features @ student.weights) * student.scale + student.intercept
            for place, at in enumerate(own):
                label, signs = signs_of(odds[place], seen[place])
                is_known = bool(features.indptr[place + 1] > features.indptr[place])
                answers[method][at] = _UnseenAnswer(
                    label=student.classifiers[0].labels[label], signs=signs, is_known=is_known
                )
    return answers


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
