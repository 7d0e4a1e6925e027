"""What a student learns, and what it may not: its reader says the same as its learner, words of few people are no
features, and a row is answered out of fold by what did not learn from its group.
"""

from __future__ import annotations

import json
import random
import re
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from optimizer.adapters.predictors import student_learning
from optimizer.adapters.predictors.student_learning import (
    METHODS,
    METHODS_OF_MANY,
    _UnseenAnswer,
    _weighed,
    counted_texts,
    features_of,
    fitted_students,
    learn_student,
)
from optimizer.core.base.errors import DatasetTooSmall, InvalidInput
from optimizer.core.predictor.student import (
    MARGIN_ALONE,
    MOST_CHARS,
    MOST_TEXT,
    Student,
    TaughtStudent,
    rows_within,
    signs_of,
    sureness,
    words_of,
)
from optimizer.core.predictor.teaching import TeachingRow
from optimizer.jobs.studies import teach_student
from tests.cases import named
from tests.worlds.study_world import topic_family

TOPICS = {"billing": "invoice refund charge", "delivery": "parcel courier late", "login": "password account locked"}


def row(i: int, *, unit: str | None = None, group: str | None = None, said: str = "") -> TeachingRow:
    draw = random.Random(i)
    label = list(TOPICS)[i % 3]
    words = draw.choices(TOPICS[label].split(), k=3) + draw.choices(
        ["please", "help", "me", "with", "this", "today"], k=4
    )
    draw.shuffle(words)
    text = " ".join([*words, said]).strip()
    return TeachingRow(id=f"r{i:03}", text=text, label=label, group=group or f"g{i}", unit=unit or f"u{i}")


@pytest.fixture(scope="module")
def taught() -> TaughtStudent:
    return learn_student([row(i) for i in range(120)], trained_on={"family": "desk"})


@pytest.fixture(scope="module")
def signed() -> TaughtStudent:
    """One whose sureness rests on all signs, as that of many rows; one row in ten has another's label."""
    labels = list(TOPICS)
    rows = [row(i) if i % 10 else replace(row(i), label=labels[(i + 1) % 3]) for i in range(300)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(student_learning, "LEAST_SIGNED", 300)
        return learn_student(rows, trained_on={})


WORDS = st.sampled_from([*" ".join(TOPICS.values()).split(), "please", "Straße", "ﬁne", "日本語", "\ud800", "x1"])


@settings(max_examples=60, deadline=None)
@given(text=st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=60))
def test_a_student_read_from_json_says_to_six_decimals_what_the_learner_computes(signed, text):
    student = signed.student
    assert student.seen is not None
    features = features_of(student.vocabulary, counted_texts([text], least=1))
    odds = ((features @ student.weights) * student.scale + student.intercept)[0]
    label, signs = signs_of(odds, (features @ np.asarray(student.seen, dtype=float))[0])
    (one,) = student.classifiers
    expected = sureness(one.calibration, float(signs @ one.sign_weights)) if features.nnz else 0.0
    read = Student.from_data(json.loads(json.dumps(student.to_data())))
    answer = read.answer({"text": text})
    assert answer.label == one.labels[label]
    assert round(answer.confidence, 6) == round(expected, 6)
    assert read.hash == student.hash


@pytest.mark.parametrize("n_labels", [2, 3])
def test_its_log_odds_are_those_of_scikit_learn_but_for_the_rounding_of_weights(n_labels: int) -> None:
    from sklearn.linear_model import LogisticRegression

    rows = [one for one in map(row, range(90)) if one.label in [*TOPICS][:n_labels]]
    counted = counted_texts([one.text for one in rows], least=3)
    learn = METHODS["logistic_regression"]
    student = fitted_students(counted, rows, {"logistic_regression": learn})["logistic_regression"]
    features = features_of(student.vocabulary, counted)
    labels = [student.classifiers[0].labels.index(one.label) for one in rows]
    model = LogisticRegression(C=20.0, solver="newton-cg", tol=1e-3).fit(features, labels)
    odds = (features @ student.weights) * student.scale + student.intercept
    for place, chances in enumerate(model.predict_proba(features)):
        label, signs = signs_of(odds[place], np.zeros(n_labels))
        assert label == int(chances.argmax())
        assert 1 / (1 + 2.718281828459045 ** -signs[0]) == pytest.approx(chances.max(), abs=1e-3)


def test_many_rows_are_learned_by_batches_whose_student_is_as_often_right_and_as_sure(monkeypatch, taught):
    rows, others = [row(i) for i in range(1500)], [row(i) for i in range(1500, 1800)]
    counted = counted_texts([one.text for one in rows], least=3)
    losses = []
    for methods in (METHODS, METHODS_OF_MANY):
        learn = methods["logistic_regression"]
        student = fitted_students(counted, rows, {"logistic_regression": learn})["logistic_regression"]
        features = features_of(student.vocabulary, counted_texts([one.text for one in others], least=1))
        odds = (features @ student.weights) * student.scale + student.intercept
        sure = np.array([signs_of(one, np.zeros(len(one)))[1][0] for one in odds])
        is_right = np.array(
            [
                student.classifiers[0].labels[at] == one.label
                for at, one in zip(odds.argmax(axis=1), others, strict=True)
            ]
        )
        losses.append(float(np.log1p(np.exp(np.where(is_right, -sure, sure))).mean()))
        assert is_right.mean() > 0.99
    assert losses[1] < losses[0] + 0.01
    monkeypatch.setattr(student_learning, "MANY", 0)
    by_batches = [learn_student([row(i) for i in range(120)], trained_on={}) for _ in range(2)]
    assert by_batches[0].student.hash == by_batches[1].student.hash != taught.student.hash
    assert len(by_batches[0].out_of_fold) == 120


def test_every_row_is_answered_out_of_fold_and_the_order_of_rows_changes_nothing(taught: TaughtStudent) -> None:
    again = learn_student([row(i) for i in reversed(range(120))], trained_on={"family": "desk"})
    assert again.student.hash == taught.student.hash
    assert again.out_of_fold == taught.out_of_fold
    assert set(taught.out_of_fold) == {f"r{i:03}" for i in range(120)}
    n_right = sum(
        answer.label == row(i).label for i, answer in ((int(id[1:]), a) for id, a in taught.out_of_fold.items())
    )
    assert n_right / 120 == pytest.approx(taught.student.taught["right_out_of_fold"], abs=1e-6)
    assert n_right > 100


def test_a_word_of_two_people_is_no_feature_however_often_they_say_it() -> None:
    rows = [row(i, said="zanzibar" if i < 40 else "quixotic" if i < 60 else "") for i in range(120)]
    of_two = [replace(one, unit=f"u{i % 2}") if i < 40 else one for i, one in enumerate(rows)]
    words = set(learn_student(of_two, trained_on={}).student.vocabulary.words)
    assert "quixotic" in words
    assert "zanzibar" not in words


def test_nothing_of_a_group_teaches_the_answer_to_its_own_rows() -> None:
    """Labels drawn by chance can be known only from the row's own group, whose rows all say the same."""
    draw = random.Random(7)
    labels = [draw.choice(["a", "b"]) for _ in range(60)]
    rows = [
        TeachingRow(id=f"r{i}-{k}", text=f"word{i} word{i % 7}", label=labels[i], group=f"g{i}", unit=f"u{i}-{k}")
        for i in range(60)
        for k in range(4)
    ]
    taught = learn_student(rows, trained_on={})
    n_right = sum(taught.out_of_fold[one.id].label == one.label for one in rows)
    assert n_right / len(rows) < 0.65


def test_weights_by_inverse_chance_correct_a_biased_sample() -> None:
    """Of requests that say the same, four in five are about billing; the student was sure of these, so that one in ten
    of them was audited, while all others were passed on.
    """
    texts = {"billing": 80, "login": 200, "delivery": 60}  # as sampled
    sampled = [
        TeachingRow(
            id=f"{label}{i:03}",
            text="parcel courier late" if label == "delivery" else f"please help me today {['account', 'card'][i % 2]}",
            label=label,
            group=f"{label}{i}",
            unit=f"{label}{i}",
        )
        for label, n in texts.items()
        for i in range(n)
    ]
    asked = {"text": "please help me today account"}
    assert learn_student(sampled, trained_on={}).student.answer(asked).label == "login"
    weighed = [replace(one, weight=10.0 if one.label == "billing" else 1.0) for one in sampled]
    student = learn_student(weighed, trained_on={}).student
    answer = student.answer(asked)
    assert answer.label == "billing"
    assert 0.7 < answer.confidence < 0.9
    assert student.taught["right_out_of_fold"] == pytest.approx((800 + 60) / (800 + 60 + 200), abs=0.01)


def test_how_much_of_a_text_was_seen_with_its_label_is_a_sign_of_how_sure_that_is(signed: TaughtStudent) -> None:
    """Half of its words stand in texts of one label, half in those of others."""
    student = signed.student
    signs = {}
    for text in ("invoice refund charge", "invoice refund parcel password account locked"):
        columns, values = student.vocabulary.read(words_of(text))
        odds = (values @ student.weights[columns]) * student.scale + student.intercept
        signs[text] = signs_of(odds, values @ student.seen[columns])[1]
    of_one, of_many = signs.values()
    assert of_one[3] > of_many[3]


def test_a_row_is_weighed_by_what_did_not_see_it_and_few_rows_have_the_margin_alone(signed, taught):
    assert taught.student.seen is None
    assert taught.student.classifiers[0].sign_weights == MARGIN_ALONE
    draw = random.Random(3)
    own = [
        _UnseenAnswer(label="a", signs=np.array([draw.gauss(0, 1) for _ in range(4)]), is_known=True)
        for _ in range(1000)
    ]
    rows = [replace(row(i), label=draw.choice("ab")) for i in range(1000)]
    weights, scores = _weighed(own, rows, [i % 5 for i in range(1000)])
    of_whole = np.array([one.signs for one in own]) @ weights
    is_right = [one.label == "a" for one in rows]
    fit, seen = (np.corrcoef(values, is_right)[0, 1] for values in (scores, of_whole))
    assert seen > 0.03 > fit, "by chance alone weights tell something of the rows that they were fitted to"


def test_one_that_was_taught_before_texts_were_looked_up_by_label_reads_as_it_was(signed: TaughtStudent) -> None:
    """Of the format's earlier days: its sureness rests on the log odds alone, and its hash stays what variants name."""
    (one,) = signed.student.classifiers
    before = replace(signed.student, seen=None, classifiers=[one.model_copy(update={"sign_weights": MARGIN_ALONE})])
    data = json.loads(json.dumps(before.to_data()))
    assert not {"seen", "sign_weights"} & data.keys()
    read = Student.from_data(data)
    assert read.hash == before.hash
    text = {"text": "invoice refund charge"}
    columns, values = read.vocabulary.read(words_of(text["text"]))
    odds = (values @ read.weights[columns]) * read.scale + read.intercept
    margin = float(signs_of(odds, np.zeros(len(odds)))[1][0])
    assert read.answer(text).confidence == pytest.approx(sureness(read.classifiers[0].calibration, margin))


def test_the_student_that_serves_is_as_sure_of_unseen_texts_as_those_by_which_its_threshold_is_found() -> None:
    """It learned from more rows, and its margins lie further apart: uncorrected it would let more through."""
    shares = []
    for n in (60, 90):
        taught = learn_student([row(i) for i in range(n)], trained_on={})
        judged = sorted(answer.confidence for answer in taught.out_of_fold.values())
        served = [taught.student.answer({"text": row(i).text}).confidence for i in range(1000, 1600)]
        shares.append(sum(one >= judged[n // 2] for one in served) / len(served))
    assert sum(shares) / len(shares) < 0.6  # .68 without the correction, and .51 with it


def test_a_label_that_stands_in_one_fold_alone_is_learned_all_the_same() -> None:
    rows = [row(3 * i) for i in range(60)] + [row(1, group="one")]
    taught = learn_student(rows, trained_on={})
    assert taught.student.classifiers[0].labels == ("billing", "delivery")
    assert taught.out_of_fold["r001"].label == "billing", "the others know of nothing else"


@named(
    ("rows", "says"),
    {
        "few rows": ([row(i) for i in range(39)], "it takes 40 in 5 groups"),
        "one group": ([row(i, group="one") for i in range(60)], "in 1 groups"),
        "one label": ([row(3 * i) for i in range(60)], "have one label"),
        "one unit": ([row(i, unit="one") for i in range(60)], "said by 3 units"),
    },
)
def test_too_little_to_learn_from_is_told(rows: list[TeachingRow], says: str) -> None:
    with pytest.raises(DatasetTooSmall, match=says):
        learn_student(rows, trained_on={})


def test_what_it_reads_and_keeps_is_bounded(monkeypatch: pytest.MonkeyPatch, taught: TaughtStudent) -> None:
    long = [row(i, said="x" * 2 * MOST_CHARS) for i in range(200)]
    assert rows_within(long) == long[: MOST_TEXT // MOST_CHARS]
    assert max(map(len, words_of("\ufdfa" * MOST_CHARS))) <= MOST_CHARS, "one character that becomes eighteen"
    counted = counted_texts([row(i, said=f"n{i}n").text for i in range(120)], least=3)
    rare = counted.grams[: counted.n_words]
    assert "refund" in rare
    assert not any(character.isdigit() for gram in rare for character in gram)
    monkeypatch.setattr(student_learning, "MOST_FEATURES", 50)
    assert len(learn_student([row(i) for i in range(120)], trained_on={}).student.vocabulary) == 50
    assert len(taught.student.vocabulary) > 50


def test_the_newest_fifth_is_judged_by_a_student_of_the_older_rows() -> None:
    """From then on people use other words, which rows of that time teach; rows of one import are of one day."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    words = dict(zip(TOPICS, ["voucher", "pallet", "token"], strict=True))
    rows = [row(i) if i < 120 else replace(row(i), text=f"please {words[row(i).label]}") for i in range(150)]
    times = {one.id: begin + i * timedelta(days=200) / 140 for i, one in enumerate(rows)}
    taught = learn_student(rows, trained_on={})
    at_once = dict.fromkeys(times, begin)
    assert teach_student.judged_on_newest(rows, at_once, learn_student, taught.out_of_fold) == ""
    newest = teach_student.judged_on_newest(rows, times, learn_student, taught.out_of_fold)
    assert re.search(r"newest 30 .*\(from 2026-06-21 on\).* gets [34]\d% right .*, 100%\.", newest)
    of_answers = teach_student.judged_on_newest(rows, times, learn_student, taught.out_of_fold, are_labels=False)
    assert of_answers == re.sub(r"gets (\d+%) right", r"agrees with what taught it on \1", newest)


@pytest.mark.parametrize(("kept", "expected"), [({"st_a", "st_b"}, "st_a"), ({"st_b"}, "st_new")])
def test_a_study_that_goes_on_teaches_again_where_its_student_was_deleted(monkeypatch, kept, expected):
    """Another study's teaching deletes students that no variant names, this one's while it stood still too."""
    findings: dict[str, Any] = {"students": {"students": {"student": "st_a"}, "untaught": {}}}
    run: Any = SimpleNamespace(
        study=SimpleNamespace(strategy="replay", findings=findings),
        family=topic_family(model={"default": "fake", "tiers": ["student", "fake"]}),
        models=SimpleNamespace(describe=lambda name: SimpleNamespace(student=name == "student", teach="labels")),
        store=SimpleNamespace(read=nullcontext, students=SimpleNamespace(ids=lambda tx, family: kept)),
        keep_finding=findings.__setitem__,
    )
    training = teach_student.StudentTraining(students={"student": "st_new"})
    monkeypatch.setattr(teach_student, "_taught", lambda *_: training)
    assert teach_student.teach_student(run).students == {"student": expected}
    assert findings["students"]["students"] == {"student": expected}


def test_none_is_taught_beside_tools_since_a_chat_that_has_some_passes_it_by() -> None:
    family = topic_family(model={"default": "fake", "tiers": ["student", "fake"]})
    findings: dict[str, Any] = {}
    run: Any = SimpleNamespace(
        study=SimpleNamespace(strategy="replay", findings=findings),
        family=family,
        champion=replace(family.variant(), tools=({"type": "function", "function": {"name": "look_up"}},)),
        models=SimpleNamespace(describe=lambda name: SimpleNamespace(student=name == "student", teach="labels")),
        store=SimpleNamespace(read=nullcontext),
        job=SimpleNamespace(learn_student=learn_student),
        keep_finding=findings.__setitem__,
    )
    assert "Its prompt has tools" in teach_student.teach_student(run).untaught["student"]


@named(
    "change",
    {
        "weights": {"weights": "AAAA"},
        "scale": {"scale": [1.0]},
        "labels": {"labels": ["one"]},
        "unknown": {"more": 1},
        "no base64": {"n_holding": "%"},
        "seen": {"seen": "AAAA"},
        "signs": {"sign_weights": [1.0]},
    },
)
def test_what_is_no_student_is_refused(signed: TaughtStudent, change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="This is no student"):
        Student.from_data({**signed.student.to_data(), **change})
