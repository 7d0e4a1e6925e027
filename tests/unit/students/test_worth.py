"""What a family's examples say before a model is asked: nothing is answered by who has seen it, and a doubling of the
labels is called what its interval says.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.dataset.examples import Example, make_example
from optimizer.core.evaluation import trivial_baselines as trivial
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.metrics import METRICS
from optimizer.core.predictor.student import LearnStudent, TaughtStudent
from optimizer.core.predictor.teaching import N_FOLDS, StudentAnswer, TeachingRow, fold_of
from optimizer.core.predictor.worth import STUDENT, Doubling, OutOfFold, out_of_fold
from optimizer.core.search.study import Trial
from optimizer.jobs.request import FamilyRequest
from optimizer.jobs.studies.read_worth import read_worth
from optimizer.runtime.wiring import learn_student
from tests import stores
from tests.rows.evaluations import evaluate
from tests.unit.evaluation.test_trivial_baselines import NOW, family
from tests.worlds.contexts import context_of
from tests.worlds.study_world import World, topic_examples
from tests.worlds.taught_student import TAUGHT

WORDS = {"card": ("card", "stolen", "blocked", "chip"), "refund": ("money", "back", "paid", "twice")}


def rows(n: int, *, group: str | None = None) -> list[Example]:
    """Half of them are of each label, each with two of its words; ``group``: before the number of each four."""
    return [
        make_example(
            family="triage",
            input={"text": f"{words[i % 4]} {words[i % 3]} number {i}"},
            expected={"answer": label},
            created_at=NOW,
            origin="curated",
            group=None if group is None else f"{group}{i // 4}",
        )
        for i in range(n)
        for label, words in [list(WORDS.items())[i % 2]]
    ]


def measured(examples: Sequence[Example], learn: LearnStudent = learn_student) -> OutOfFold:
    declared = family()
    scorer = Scorer(declared.output, declared.scorer, [METRICS["exact_match"]])
    return out_of_fold(declared, examples, scorer, learn=learn)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80))
def test_rows_of_a_group_share_a_fold_and_folds_differ_by_no_more_than_a_group(groups: list[int]) -> None:
    folds = fold_of([f"g{group}" for group in groups])
    assert len({(group, fold) for group, fold in zip(groups, folds, strict=True)}) == len(set(groups))
    sizes = [folds.count(fold) for fold in range(N_FOLDS)]
    assert max(sizes) - min(sizes) <= max(groups.count(group) for group in groups)


def test_no_student_has_seen_the_group_that_it_answers_or_a_row_that_nobody_released() -> None:
    examples = [replace(row, released=i % 3 > 0) for i, row in enumerate(rows(300, group="user"))]
    by_text = {str(row.input["text"]): row for row in examples}
    answered: list[str] = []

    def learn(rows: Sequence[TeachingRow], *, trained_on: Mapping[str, Any]) -> Any:
        assert all(by_text[row.text].released for row in rows)
        groups = {row.group for row in rows}

        def answer(input: Mapping[str, Any]) -> StudentAnswer:
            assert by_text[input["text"]].group not in groups
            answered.append(input["text"])
            return StudentAnswer(label="card", confidence=0.5)

        return SimpleNamespace(student=SimpleNamespace(answer=answer))

    found = measured(examples, learn)
    assert [point.n_train for point in found.curve] == [40, 80, 160]
    assert sorted(answered) == sorted(3 * list(by_text)), "at a quarter, half and all of the labels"


def test_a_text_nearly_repeated_is_not_answered_by_what_learned_from_the_other() -> None:
    """Each text thrice with another last word, stored with a group each; what the labels are says nothing."""
    draw = random.Random(0)
    texts = [(" ".join(f"w{draw.randrange(400)}" for _ in range(20)), draw.choice(list(WORDS))) for _ in range(60)]
    examples = [
        make_example(
            family="triage",
            input={"text": f"{text} z{at}"},
            expected={"answer": label},
            created_at=NOW,
            origin="curated",
        )
        for text, label in texts
        for at in range(3)
    ]
    assert len({example.group for example in examples}) == 180
    scores = {one.name: one.score for one in measured(examples).baselines}
    assert max(score for score in scores.values() if score is not None) < 0.7, scores


def test_words_that_tell_labels_apart_lead_the_majority() -> None:
    found = measured(rows(80))
    by_name = {row.name: row.score for row in found.baselines}
    assert by_name[STUDENT] == found.curve[-1].score == 1.0
    assert (by_name[trivial.MAJORITY] or 0) <= 0.5
    assert by_name[trivial.FIRST] is None


@pytest.mark.parametrize(("n", "labels", "says"), [(80, ["card"], "have one label"), (40, list(WORDS), "it takes 40")])
def test_where_no_student_can_learn_it_is_left_out_with_the_reason_and_has_no_curve(n, labels, says):
    found = measured([row for row in rows(n * 2 // len(labels)) if row.expected["answer"] in labels])
    why = next(row.why for row in found.baselines if row.name == STUDENT)
    assert says in why
    assert (found.curve, found.last_doubling, found.n_more_labels) == ([], None, None)


def test_a_doubling_is_called_what_its_interval_says() -> None:
    def called(low: float, high: float) -> str:
        return Doubling(n_from=100, n_to=200, gain=(low + high) / 2, low=low, high=high).more_labels

    assert called(0.01, 0.09) == "pay"
    assert called(-0.03, 0.015) == "hardly"
    assert called(-0.03, 0.05) == called(0.0, 0.05) == "cannot_tell"


def test_what_few_groups_do_as_one_is_no_sure_gain() -> None:
    examples = [replace(row, group=f"dialogue {i % 8}") for i, row in enumerate(rows(400))]

    def learn(rows: Sequence[TeachingRow], *, trained_on: Mapping[str, Any]) -> Any:
        """With few labels it is right on three dialogues, with all of them on five others."""
        known = dict(zip((row.input["text"] for row in examples), examples, strict=True))

        def answer(input: Mapping[str, Any]) -> StudentAnswer:
            own = known[input["text"]]
            at, label = int(own.group[-1]), own.expected["answer"]
            is_right = 1 <= at < 6 if len(rows) > 200 else at in (0, 6, 7)
            return StudentAnswer(label=label if is_right else "neither", confidence=0.5)

        return SimpleNamespace(student=SimpleNamespace(answer=answer))

    found = measured(examples, learn)
    last = found.last_doubling
    assert last is not None
    assert last.gain == pytest.approx(0.25)
    assert (last.low < 0, last.more_labels, found.n_more_labels) == (True, "cannot_tell", None)
    assert all(one.low is not None and one.high - one.low > 0.3 for one in found.baselines if one.name == STUDENT)


@pytest.mark.parametrize(
    ("gains", "is_sure", "n"),
    [
        ((0.10, 0.08), True, 3 * 200),  # then .064 and .051
        ((0.10, 0.04), True, 0),  # then .016
        ((0.08, 0.03), True, 0),
        ((0.05, 0.025), True, 0),
        ((0.06, 0.045), True, 3 * 200),  # .034 and .025
        ((0.05, 0.035), True, 200),  # .0245 and .017
        ((0.0005, 0.05), True, None),
        ((0.05,), True, None),
        ((0.05, 0.05), False, None),
    ],
)
def test_so_many_more_labels_pay_as_the_shrinking_gains_let_expect(gains, is_sure, n):
    spread = 0.001 if is_sure else 0.1
    doublings = [
        Doubling(n_from=100 * 2**at // 2, n_to=100 * 2**at, gain=gain, low=gain - spread, high=gain + spread)
        for at, gain in enumerate(gains, start=2 - len(gains))
    ]
    assert OutOfFold(n=200, baselines=[], curve=[], doublings=doublings).n_more_labels == n


def test_sealed_rows_of_a_home_are_not_read_unreleased_ones_teach_nothing_and_few_are_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    rows = [*topic_examples(100, "train"), *topic_examples(12, "dev"), *topic_examples(24, "holdout")]
    world.fill(examples=[replace(row, released=row.split != "dev") for row in rows])
    taught: set[str] = set()

    def learn(rows: Sequence[TeachingRow], *, trained_on: Mapping[str, Any]) -> TaughtStudent:
        taught.update(row.text for row in rows)
        return TAUGHT

    ports = {"family": lambda _: world.family, "scorer_for": lambda _: world.scorer, "learn_student": learn}
    context, request = context_of(world.store, world.clock, **ports), FamilyRequest(family=world.family.name)
    report = read_worth(context, request)
    assert (report.n_known, report.measured.n, report.n_unreleased, report.champion) == (112, 112, 12, None)
    evaluate(world)
    kept = replace(context, models=lambda: world)
    assert read_worth(kept, request).champion.usd_per_answer == pytest.approx(0.00001)
    world.model.price = None
    assert read_worth(kept, request).champion.usd_per_answer is None, "what has no price is not free"
    study, at = stores.study(family=world.family.name, status="finished"), world.clock.now()
    champion = {"number": 0, "variant": world.family.variant().id, "proposer": "champion", "params": {}}
    trial = Trial(study=study.id, status="complete", n=4, score=0.25, finished_at=at, **champion)
    world.store.write(lambda tx: world.store.studies.add(tx, study))
    world.store.write(lambda tx: world.store.studies.put_trial(tx, trial))
    last = read_worth(kept, request).champion
    assert (last.n, last.score, last.at) == (4, 0.25, at), "a study measured it later"
    assert taught == {str(row.input["document"]) for row in rows if row.split == "train"}

    (tmp_path / "few").mkdir()
    few = World(tmp_path / "few").fill(n_train=10, n_dev=9)
    with pytest.raises(DatasetTooSmall, match="19 train and dev examples"):
        read_worth(replace(context, store=few.store), request)
