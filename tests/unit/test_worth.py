"""What a family's examples say before a model is asked: nothing is answered by who has seen it, and a doubling of the
labels is called what its interval says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.dataset.examples import Example, make_example
from optimizer.core.evaluation import trivial_baselines as trivial
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.evaluation.worth import N_FOLDS, Doubling, OutOfFold, fold_of, out_of_fold
from optimizer.core.family.metrics import METRICS
from optimizer.jobs.request import FamilyRequest
from optimizer.jobs.studies.read_worth import read_worth
from optimizer.runtime.wiring import classify
from tests.contexts import context_of
from tests.study_world import World, topic_examples
from tests.unit.test_trivial_baselines import NOW, family

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


def measured(examples: Sequence[Example], learn: trivial.Classify = classify) -> OutOfFold:
    declared = family()
    scorer = Scorer(declared.output, declared.scorer, [METRICS["exact_match"]])
    return out_of_fold(declared, examples, scorer, classify=learn)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80))
def test_rows_of_a_group_share_a_fold_and_folds_differ_by_no_more_than_a_group(groups: list[int]) -> None:
    examples = [replace(row, group=f"g{group}") for row, group in zip(rows(len(groups)), groups, strict=True)]
    folds = fold_of(examples)
    assert len({(group, fold) for group, fold in zip(groups, folds, strict=True)}) == len(set(groups))
    sizes = [folds.count(fold) for fold in range(N_FOLDS)]
    assert max(sizes) - min(sizes) <= max(groups.count(group) for group in groups)


def test_no_row_is_answered_by_who_has_seen_its_group_or_a_row_that_nobody_released() -> None:
    examples = [replace(row, released=i % 3 > 0) for i, row in enumerate(rows(60, group="user"))]
    by_text = {str(row.input["text"]): row for row in examples}
    answered: list[str] = []

    def learn(texts: Sequence[str], labels: Sequence[str], questions: Sequence[str]) -> Sequence[str]:
        taught = [by_text[text] for text in texts]
        assert all(row.released for row in taught)
        assert not {row.group for row in taught} & {by_text[text].group for text in questions}
        answered.extend(questions)
        return classify(texts, labels, questions)

    found = measured(examples, learn)
    assert found.n == 60
    assert sorted(answered) == sorted(3 * list(by_text))  # at a quarter, half and all of the labels
    assert [point.n_train for point in found.curve] == [8, 16, 32]


def test_words_that_tell_labels_apart_lead_the_majority() -> None:
    found = measured(rows(80))
    by_name = {row.name: row.score for row in found.baselines}
    assert by_name[trivial.LOGISTIC] == found.curve[-1].score == 1.0
    assert (by_name[trivial.MAJORITY] or 0) <= 0.5
    assert by_name[trivial.FIRST] is None


def test_one_label_teaches_no_classifier_and_has_no_curve() -> None:
    found = measured([replace(row, expected={"answer": "card"}) for row in rows(40)])
    why = next(row.why for row in found.baselines if row.name == trivial.LOGISTIC)
    assert (why, found.curve, found.last_doubling) == (trivial.ONE_LABEL, [], None)


def test_a_doubling_is_called_what_its_interval_says() -> None:
    def called(low: float, high: float) -> str:
        return Doubling(n_from=100, n_to=200, gain=(low + high) / 2, low=low, high=high).more_labels

    assert called(0.01, 0.09) == "pay"
    assert called(-0.03, 0.015) == "hardly"
    assert called(-0.03, 0.05) == called(0.0, 0.05) == "cannot_tell"


def test_sealed_rows_of_a_home_are_not_read_unreleased_ones_teach_nothing_and_few_are_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    rows = [*topic_examples(20, "train"), *topic_examples(12, "dev"), *topic_examples(24, "holdout")]
    world.fill(examples=[replace(row, released=row.split != "dev") for row in rows])
    seen: set[str] = set()
    taught: set[str] = set()

    def learn(texts: Sequence[str], labels: Sequence[str], questions: Sequence[str]) -> Sequence[str]:
        taught.update(texts)
        seen.update(questions)
        return classify(texts, labels, questions)

    ports = {"family": lambda _: world.family, "scorer_for": lambda _: world.scorer, "classify": learn}
    context, request = context_of(world.store, world.clock, **ports), FamilyRequest(family=world.family.name)
    report = read_worth(context, request)
    assert (report.n_known, report.measured.n, report.n_unreleased, report.champion) == (32, 32, 12, None)
    by_split = {split: {str(row.input["document"]) for row in rows if row.split == split} for split in ("train", "dev")}
    assert seen == by_split["train"] | by_split["dev"]
    assert taught == by_split["train"]

    (tmp_path / "few").mkdir()
    few = World(tmp_path / "few").fill(n_train=10, n_dev=9)
    with pytest.raises(DatasetTooSmall, match="19 train and dev examples"):
        read_worth(replace(context, store=few.store), request)
