"""A student that learns from what the strongest tier answers: where config/models.yaml says that it may, from released
training examples alone, and without a call that the thresholds would not make.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.reports.study_report import study_page
from optimizer.core.base.errors import InvalidFamily
from optimizer.core.evaluation.trivial_baselines import STUDENT_SEARCHED, WITHOUT_MODEL
from optimizer.core.predictor.student import TaughtStudent
from optimizer.core.search.cost_estimate import CostEstimate
from optimizer.core.search.study import Study
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
from optimizer.jobs.studies.report_study import report_study
from optimizer.runtime import wiring
from tests.stand_ins.scripted_model import chat_answer
from tests.worlds.contexts import study_context
from tests.worlds.study_world import TOPICS, run_here
from tests.worlds.topics_home import PERSON, TOPICS_FAMILY, TopicsHome, price, topics_home

FAMILY = (
    TOPICS_FAMILY
    + """model: {default: strong, tiers: [student, strong], temperature: 0.0, max_tokens: 8}
space: {}
rollout: {gates: {n: 40, improvement: 0.15}}
"""
)
SIZES = {"n_train": 90, "n_dev": 30, "n_holdout": 40, "n_settings": 2}


def strong(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Takes music for physics, which no label says."""
    text = str(body["messages"][-1]["content"])
    topic = next(topic for topic in TOPICS if topic in text)
    return 200, {}, json.dumps(chat_answer("It is Physics." if topic == "music" else topic)).encode()


@contextmanager
def home(folder: Path, teach: str, *, may_teach: bool = True) -> Iterator[TopicsHome]:
    """Of 240 rows every tenth is not released."""
    rows = [
        (
            f"Notes on {TOPICS[i % 3]}, number {i}.",
            TOPICS[i % 3],
            {"id": f"row-{i}", "released": i % 10 != 7, "unit_hmac": PERSON if i < 30 else f"h{i}"},
        )
        for i in range(240)
    ]
    models = {
        "strong": {"concurrency": 4, "price": price(20), "may_teach": may_teach},
        "student": {"provider": "student", "teach": teach},
    }
    with topics_home(folder, FAMILY, strong, models, rows) as place:
        yield place


def student_of(place: TopicsHome, study: Study) -> TaughtStudent:
    assert (study.status, study.error) == ("finished", None)
    with place.store.read() as tx:
        (id,) = place.store.students.ids(tx, "topics")
        student: TaughtStudent | None = place.store.students.get(tx, "topics", id)
    assert student is not None, study.spend.remark
    return student


def train_of(place: TopicsHome) -> dict[str, Any]:
    with place.store.read() as tx:
        return {one.id: one for one in place.store.examples.of_split(tx, "topics", split="train")}


def dry_run(place: TopicsHome) -> CostEstimate:
    models = wiring.open_models(place.home)
    asked = StudyRequest(
        family="topics", strategy="replay", aim="cost", budget=BudgetBody(usd=50.0), definition=SIZES, dry_run=True
    )
    estimate = create_study(study_context(place.store, place.clock, place.family, models), asked)
    models.close()
    assert isinstance(estimate, CostEstimate)
    return estimate


@pytest.fixture(scope="module")
def by_answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TopicsHome, CostEstimate, Study]]:
    with home(tmp_path_factory.mktemp("answers"), "answers") as place:
        yield place, dry_run(place), place.run_study("replay", SIZES, aim="cost", usd=50.0)


Taught = tuple[TopicsHome, CostEstimate, Study]


def test_answers_taught_it_and_its_record_says_whose(by_answers: Taught) -> None:
    place, _, study = by_answers
    student = student_of(place, study)
    taught = student.student.taught
    assert list(student.student.classifiers[0].labels) == ["biology", "physics"], (
        "what the model never says it cannot say"
    )
    assert (taught["teach"], taught["model"]) == ("answers", "strong")
    assert taught["revision"]
    assert taught["n_answers"] == taught["n_rows"] == len(student.out_of_fold)
    assert taught["agreement_out_of_fold"] > 0.9
    assert "right_out_of_fold" not in taught


def test_only_released_training_rows_of_the_study_taught_it_and_others_were_not_asked_about(by_answers: Taught) -> None:
    place, _, study = by_answers
    train, dataset = train_of(place), study.dataset
    assert dataset is not None
    own = set(student_of(place, study).out_of_fold)
    assert own == set(dataset["train"])
    assert all(train[id].released for id in own)
    unreleased = [one.input["document"] for one in train.values() if not one.released]
    asked = json.dumps(place.behind.bodies)
    assert unreleased
    assert not [text for text in unreleased if text in asked]


def test_it_takes_no_call_beside_those_of_the_thresholds_and_the_dry_run_says_how_many(by_answers: Taught) -> None:
    _, estimate, study = by_answers
    dataset = study.dataset
    assert dataset is not None
    n_train, *met_twice = (len(dataset[part]) for part in ("train", "dev", "holdout"))
    assert study.spend.n_calls <= n_train + 2 * sum(met_twice)
    (remark,) = (text for text in estimate.remarks if "learns from" in text)
    assert f"{n_train} answers of strong to released training examples (about $" in remark
    assert "none is made for this alone" in remark


def test_thresholds_go_by_labels_and_the_study_says_how_far_answers_agree_with_them(by_answers: Taught) -> None:
    place, _, study = by_answers
    remark = study.spend.remark or ""
    n = len(student_of(place, study).out_of_fold)
    assert f"Answers of strong to {n} released training examples taught the student. They agree with" in remark
    with place.store.read() as tx:
        answers = place.store.studies.tier_answers(tx, study.id)
    assert answers is not None
    scores = [row["tiers"]["student"]["score"] for row in answers.rows]
    assert 0.5 < sum(scores) / len(scores) < 0.8, "music is physics to it, and is no right answer for that"
    page = study_page(report_study(study, family=place.family, store=place.store, clock=place.clock))
    assert "Answers of strong to" in page


def test_the_study_keeps_that_it_searched_a_student(by_answers: Taught) -> None:
    _, _, study = by_answers
    assert (study.findings or {})[WITHOUT_MODEL][STUDENT_SEARCHED]


def test_forgetting_a_person_takes_the_student_that_answers_to_their_rows_taught(by_answers: Taught) -> None:
    place, _, study = by_answers
    assert study.winner is not None
    place.forget_the_person()
    with place.store.read() as tx:
        assert place.store.students.ids(tx, "topics") == set()
        assert place.store.variants.get(tx, "topics", study.winner) is None


def test_answers_that_may_not_teach_are_refused_before_a_study_and_in_one_that_waited(tmp_path: Path) -> None:
    with home(tmp_path, "answers", may_teach=False) as place:
        with pytest.raises(InvalidFamily, match="write may_teach: true at 'strong' in config"):
            dry_run(place)
        declared = json.loads(place.home.models_file.read_text())

        def write(may_teach: bool) -> None:
            declared["strong"]["may_teach"] = may_teach
            place.home.models_file.write_text(json.dumps(declared))

        write(True)
        models = wiring.open_models(place.home)
        context = study_context(place.store, place.clock, place.family, models)
        asked = StudyRequest(family="topics", strategy="replay", budget=BudgetBody(calls=900), definition=SIZES)
        made = create_study(context, asked)
        assert isinstance(made, Study)
        write(False)
        assert models.refresh()
        study = run_here(made.id, place.home, place.store, place.clock, place.files, models)
        models.close()
        assert study.status == "failed"
        assert "may_teach: true" in (study.error or "")
        with place.store.read() as tx:
            assert place.store.students.ids(tx, "topics") == set()
