"""Studies that learn a confidence: from released training answers alone,
used only where it beats the recorded one, and said either way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.predictors.learning import learn_confidence
from optimizer.core.base.errors import InvalidInput
from optimizer.core.dataset.examples import Example
from optimizer.core.family.policy_text import shown_policy
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.predictor.attach import ReadAnswer
from optimizer.core.search.cascade.learned import (
    JudgedExample,
    TrainingResult,
    asks_to_learn,
    beats,
    recorded_signal,
    replay_faults,
    signal_faults,
    training_row,
)
from optimizer.core.search.study import OUT_OF_FOLD, study_view
from optimizer.jobs.studies.report_study import report_study
from tests.cases import named
from tests.unit.cascades.test_cascade_studies import Models, cascade_world, create as of_cascade
from tests.worlds.study_world import TOPICS, TopicModel, World, topic_examples

LEARN = {"policy.confidence": {"choices": [{"kind": "log_probability"}, {"kind": "predictor"}]}}
SIZES = {"n_train": 200, "n_dev": 30, "n_holdout": 60, "n_settings": 4, "space": LEARN}
HARD = "Why is it so, and how?"


class Guesser(TopicModel):
    """Right where nobody asks why. What it says of its own sureness tells nothing, or with ``candour`` everything."""

    def __init__(
        self, name: str, usd_per_mtok: float, *, easy: float, hard: float, candour: bool = False, before: Any = None
    ) -> None:
        super().__init__(
            price=ModelPrice(input_usd_per_mtok=usd_per_mtok, output_usd_per_mtok=usd_per_mtok), before=before
        )
        self.name, self.easy, self.hard, self.candour = name, easy, hard, candour

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        answer = await super().complete(request)
        text = str(request.messages[-1]["content"])
        luck, noise, *_ = (byte / 256 for byte in hashlib.sha256(f"{self.name}{text}".encode()).digest())
        topic = next(t for t in TOPICS if t in text)
        is_right = luck < (self.hard if HARD in text else self.easy)
        said = topic if is_right else TOPICS[(TOPICS.index(topic) + 1) % 3]
        sure = (0.9 if is_right else 0.5) + 0.05 * noise if self.candour else 0.6 + 0.35 * noise
        cost = self.price.of(8, 2) if self.price else 0.0
        return replace(
            answer, text=said, cost_usd=cost, log_probability=log(sure) if request.params.get("logprobs") else None
        )


def guessers(**changes: Any) -> Models:
    cheap: Any = Guesser("cheap", 0.01, easy=1.0, hard=0.3, **changes)
    strong: Any = Guesser("strong", 0.2, easy=0.97, hard=0.97)
    return Models(cheap, strong)


def documents(n: int, split: str, **changes: Any) -> list[Example]:
    return [
        replace(e, input={"document": f"{e.input['document']} {HARD}"} if i % 5 < 2 else e.input, **changes)
        for i, e in enumerate(topic_examples(n, split))
    ]


def world_of(folder: Path, train: Sequence[Example] | None = None) -> World:
    examples = [*(train or documents(200, "train")), *documents(30, "dev"), *documents(60, "holdout")]
    return cascade_world(folder, examples)


def create(world: World, models: Models, **options: Any) -> Any:
    return of_cascade(world, models, **{"definition": SIZES, **options})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_of(tmp_path / "world")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Any, Models]:
    """(world, study, models): a third of the released training answers is from production,
    and beside each stands one that nobody released.
    """
    train = [*documents(70, "train"), *documents(100, "train", origin="interaction")[70:]]
    hidden = [
        replace(e, id=f"h{e.id}", group=f"h{e.group}", input={"document": f"{e.input['document']} Zanzibar!"})
        for e in documents(40, "train", origin="correction", released=False)
    ]
    world, models = world_of(tmp_path_factory.mktemp("mixed"), [*train, *hidden]), guessers()
    return world, world.run(create(world, models, definition={**SIZES, "n_train": 140}), models=models), models


@pytest.fixture
def found(mixed: tuple[World, Any, Models]) -> tuple[World, Any]:
    """(world, study that learned a confidence)."""
    return mixed[:2]


def test_where_the_recorded_confidence_tells_nothing_a_learned_one_is_proposed_and_confirmed(found):
    world, study = found
    assert study.outcome == "nominated", study.error or study.spend.remark or study.confirmation
    policy = world.winner(study).policy
    assert policy["confidence"]["kind"] == "predictor"
    assert list(policy["confidence"]["after"]) == ["cheap"]
    assert study.confirmation["saving"] > 0.3
    assert "learned confidence of cheap is used" in study.spend.remark
    (found,) = study.findings["confidence"]
    assert found["is_used"]
    assert found["predictor"] == policy["confidence"]["after"]["cheap"]["hash"]
    assert found["learned"]["brier"] < found["recorded"]["brier"]
    assert sum(each["n"] for each in found["learned"]["reliability"]) == 130


def test_the_report_replays_the_learned_confidence_and_not_the_recorded_one(found: tuple[World, Any]) -> None:
    world, study = found
    report = report_study(study, family=world.family, store=world.store, clock=world.clock)
    (curve,) = report.cascade.curves
    (present,) = (point for point in curve.points if point.value == curve.present)
    winner = next(trial for trial in world.trials(study) if trial.variant == study.winner)
    assert present.loss.mean == pytest.approx(winner.params["loss_fitted"], abs=1e-5)
    assert present.escalated_share < 0.6, "the recorded confidence would send on nearly everything"
    assert OUT_OF_FOLD not in (study_view(study).findings or {})


def test_without_a_word_in_the_space_nothing_is_learned(mixed: tuple[World, Any, Models]) -> None:
    world, models = mixed[0], guessers()
    study = world.run(create(world, models, definition={**SIZES, "space": {}}), models=models)
    assert study.outcome == "no_improvement"
    assert "confidence" not in study.findings


@pytest.mark.long
def test_a_recorded_confidence_that_tells_everything_stays(world: World) -> None:
    models = guessers(candour=True)
    study = world.run(create(world, models, definition={**SIZES, "n_train": 100}), models=models)
    assert study.outcome == "nominated", study.spend.remark
    assert world.winner(study).policy.get("confidence", {"kind": "log_probability"}) == {"kind": "log_probability"}
    assert not study.findings["confidence"][0]["is_used"]
    assert "is not used" in study.spend.remark


def test_what_it_was_trained_on_stands_in_the_variant(mixed: tuple[World, Any, Models]) -> None:
    world, study, _ = mixed
    trained_on = world.winner(study).policy["confidence"]["after"]["cheap"]["trained_on"]
    assert (trained_on["study"], trained_on["rows"], trained_on["from_production"]) == (study.id, 130, 30)


def test_no_word_of_an_unreleased_example_reaches_a_predictor_or_is_asked_about(mixed):
    world, study, models = mixed
    assert study.outcome == "nominated"
    told = [str(r.messages) for tier in models.tiers.values() for r in tier.requests]
    assert not any("Zanzibar" in text for text in told)
    with world.store.read() as tx:
        variants = world.store.variants.of_family(tx, "topics")
    assert not any("zanzibar" in json.dumps(record.variant.content()).lower() for record in variants)


def test_too_few_answers_are_no_failure_and_are_said(world: World) -> None:
    models = guessers()
    study = world.run(create(world, models, definition={**SIZES, "n_train": 10, "n_dev": 5}), models=models)
    assert study.status == "finished", study.error
    assert "No confidence was learned for cheap" in study.spend.remark
    assert study.findings["confidence"][0]["learned"] is None


def test_a_learned_champion_is_trained_anew_and_not_judged_by_itself(found: tuple[World, Any]) -> None:
    world, study = found
    winner = world.winner(study)
    assert recorded_signal(LEARN, winner.policy["confidence"]) == {"kind": "log_probability"}
    assert recorded_signal({}, None) is None
    assert recorded_signal({}, winner.policy["confidence"]) == winner.policy["confidence"]
    learned, agreement = {"policy.confidence": {"choices": [{"kind": "predictor"}]}}, {"kind": "agreement"}
    assert recorded_signal(learned, agreement) == agreement


# --- values -----------------------------------------------------------------------------------------------------------


@named(
    ("entry", "says"),
    {
        "a word": ({"choices": ["predictor"]}, "chosen among mappings"),
        "a range": ({"float": [0.0, 1.0]}, "chosen among mappings"),
        "unknown": ({"choices": [{"kind": "predictr"}]}, "no confidence of kind 'predictr'"),
        "two recorded ones": ({"choices": [{"kind": "log_probability"}, {"kind": "agreement"}]}, "one recorded"),
    },
)
def test_a_space_that_cannot_be_learned_in_is_refused_with_its_place(
    mixed: tuple[World, Any, Models], entry: Any, says: str
) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        create(mixed[0], guessers(), definition={**SIZES, "space": {"policy.confidence": entry}})
    assert [f.pointer for f in refused.value.faults] == ["/definition/space/policy.confidence"]


def test_two_recorded_confidences_are_a_good_space_for_other_strategies() -> None:
    space = {"policy.confidence": {"choices": [{"kind": "log_probability"}, {"kind": "agreement"}]}}
    assert signal_faults(space) == []
    assert len(replay_faults(space)) == 1
    assert not asks_to_learn(space)


@pytest.mark.parametrize(
    ("low", "saved", "used"), [(0.01, 0.5, True), (0.01, 0.3, False), (0.0, 0.5, False), (-0.1, 0.5, False)]
)
def test_a_learned_confidence_is_used_where_it_is_less_wrong_and_saves_more(low, saved, used):
    assert beats(low, saved=saved, saved_recorded=0.3) is used


def test_words_of_what_nobody_released_never_leave_the_example() -> None:
    (example,) = documents(1, "train", released=False)
    answered = {"read": ReadAnswer(numbers={"x": 1.0}, texts={"request": "secret"}), "confidence": 0.5, "score": 1.0}
    assert training_row(example, answered).read.texts == {}
    assert training_row(replace(example, released=True), answered).read.texts == {"request": "secret"}


def learned(n: int = 80, *, recorded: Any = lambda i: None) -> TrainingResult:
    def judged(i: int) -> JudgedExample:
        asks_why = i % 3 == 0
        texts = {"request": "why" if asks_why else "what", "answer": "a"}
        read = ReadAnswer(numbers={"request.why": float(asks_why)}, texts=texts)
        return JudgedExample(read=read, recorded=recorded(i), is_right=asks_why == (i % 11 == 0), group=f"g{i}")

    trained_on = {"study": "st_1", "rows": n}
    return learn_confidence([judged(i) for i in range(n)], has_labels=True, trained_on=trained_on, seed=0)


@pytest.fixture(scope="module")
def learned_once() -> TrainingResult:
    return learned()


def test_learning_is_the_same_for_the_same_answers_and_says_what_it_was_trained_on(learned_once):
    one, other = learned_once, learned()
    assert one.predictor == other.predictor
    assert one.predictor["trained_on"]["study"] == "st_1"
    assert one.recorded is None
    assert one.gain_low > 0


def test_a_recorded_confidence_on_a_wrong_scale_is_calibrated_before_it_is_compared() -> None:
    """It knows everything and says so in tenths of what it means: that alone must not make a learned one better."""
    found = learned(recorded=lambda i: 0.1 if (i % 3 == 0) == (i % 11 == 0) else 0.05)
    assert found.gain_low < 0
    assert found.recorded.auc == 1.0


def test_a_policy_is_shown_without_the_predictors_numbers(learned_once: TrainingResult) -> None:
    policy = {"accept": 0.9, "confidence": {"kind": "predictor", "after": {"cheap": dict(learned_once.predictor)}}}
    shown = shown_policy(policy)
    assert shown["confidence"]["kind"] == "predictor"
    assert set(shown["confidence"]["after"]["cheap"]) == {"hash", "trained_on"}
    assert shown_policy({"accept": 0.9}) == {"accept": 0.9}
