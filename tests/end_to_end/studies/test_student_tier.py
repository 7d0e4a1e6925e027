"""The whole way of a student: released examples > a study teaches it and finds its threshold > the sealed holdout > the
gateway answers by it, and passes on what it is not sure of > a person who taught it is forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from rich.console import Console
from ruamel.yaml import YAML

from optimizer.adapters.reports.study_report import study_page
from optimizer.cli.study.view import view
from optimizer.core.base.errors import InvalidFamily, InvalidInput
from optimizer.core.base.values import Aim
from optimizer.core.dataset.examples import make_example
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.trivial_baselines import WITHOUT_MODEL, said
from optimizer.core.family.family import Family
from optimizer.core.predictor.student import TaughtStudent
from optimizer.core.search.cost_estimate import CostEstimate
from optimizer.core.search.study import Study
from optimizer.core.views.study_headline import view_of_study
from optimizer.jobs.champions.read_variants import ExportRequest, read_export
from optimizer.jobs.families.check_models import require_known_models
from optimizer.jobs.families.create_variant import VariantRequest, create_variant
from optimizer.jobs.families.sync_families import sync_families
from optimizer.jobs.request import ItemRequest
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
from optimizer.jobs.studies.read_front import read_front
from optimizer.jobs.studies.report_study import report_study
from optimizer.ports import Bypass
from optimizer.runtime import wiring
from tests.clock import until
from tests.stand_ins.scripted_model import chat_answer
from tests.worlds.contexts import study_context
from tests.worlds.study_world import TOPICS, run_here
from tests.worlds.topics_home import PERSON, TopicsHome, price, topics_home

FAMILY = """
name: topics
inputs: {document: {type: text, max_chars: 200}}
output: {field: topic, parser: label, labels: [biology, physics, music]}
prompt:
  current: "1"
  versions:
    "1": {created_at: 2026-11-20, description: base, content: [
      {role: system, content: "Name the topic."}, {role: history}, {role: user, content: "Document: {{document}}"}]}
model: {default: strong, tiers: [student, strong], temperature: 0.0, max_tokens: 8}
scorer: {label_match: 1.0}
space: {}
cache: {enabled: true}
rollout: {gates: {n: 60, improvement: 0.15}}
"""
SIZES = {"n_train": 160, "n_dev": 40, "n_holdout": 60, "n_settings": 5}
SMALL = {"n_train": 120, "n_dev": 24, "n_holdout": 60, "n_settings": 2, "n_candidates": 2}


def document(i: int) -> str:
    """Every third one says nothing that could be learned: only who reads its number knows."""
    return f"See file {i}." if i % 3 == (i // 3) % 3 else f"Notes on {TOPICS[i % 3]}, number {i}."


def strong(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    text = str(body["messages"][-1]["content"])
    if body["model"] != "strong":
        return 200, {}, json.dumps(chat_answer("music")).encode()
    topic = next((t for t in TOPICS if t in text), None) or TOPICS[int(text.split()[-1].strip(".")) % 3]
    return 200, {}, json.dumps(chat_answer(topic)).encode()


@dataclass(frozen=True, kw_only=True)
class Taught(TopicsHome):
    """A home in which a study taught a student; tests after it read, and the last one forgets."""

    study: Study
    policy: dict[str, Any]
    student: TaughtStudent


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taught]:
    rows = (
        (document(i), TOPICS[i % 3], {"released": i % 20 != 7, "unit_hmac": PERSON if i < 40 else f"h{i}"})
        for i in range(330)
    )
    served = {"concurrency": 4, "price": price(20)}
    models = {"strong": served, "guessing": served}
    folder: Path = tmp_path_factory.mktemp("student")
    with topics_home(folder, FAMILY, strong, models, rows) as place:
        study, record = place.nominated("replay", SIZES, aim="cost", usd=50.0)
        with place.store.read() as tx:
            student = place.store.students.get(tx, "topics", record.variant.policy["students"]["student"])
        assert student is not None
        yield Taught(**vars(place), study=study, policy=dict(record.variant.policy), student=student)


def test_it_learned_from_released_training_examples_alone(taught: Taught) -> None:
    with taught.store.read() as tx:
        train = taught.store.examples.of_split(tx, "topics", split="train")
    assert set(taught.student.out_of_fold) == {row.id for row in train if row.released}
    assert any(not row.released for row in train)
    words = " ".join(taught.student.student.vocabulary.words)
    assert "music" in words
    assert not any(character.isdigit() for character in words), "a number is of one unit alone"


def test_the_student_takes_no_call_and_its_threshold_was_found_for_the_whole_chain(taught: Taught) -> None:
    assert taught.policy["tiers"] == ["student", "strong"]
    assert 0 < taught.policy["accept"] <= 1
    remark = taught.study.spend.remark or ""
    assert " % answered by the student" in remark.replace("%", " %"), remark
    dataset = taught.study.dataset
    assert dataset is not None
    n_train, *met_twice = (len(dataset[part]) for part in ("train", "dev", "holdout"))
    assert 0 < taught.study.spend.n_calls <= n_train + 2 * sum(met_twice), "the strong model: alone, and as last tier"


def test_the_report_of_the_study_names_the_student_and_its_share(taught: Taught) -> None:
    page = study_page(report_study(taught.study, family=taught.family, store=taught.store, clock=taught.clock))
    assert "answered by the student" in page
    assert taught.policy["students"]["student"] in page, "in the diff"
    assert "What each threshold does" in page
    assert "Who answers what" in page


def test_the_studys_front_says_who_answers_which_share(taught: Taught) -> None:
    context = taught.context()
    front = read_front(context, ItemRequest(id=taught.study.id))
    winner = next(point for point in front.points if point.mark == "winner")
    student, model = winner.answered_by
    assert (student.tier, model.tier) == ("student", "strong")
    assert student.share + model.share == pytest.approx(1)
    assert student.share >= 0.5
    assert front.requests_per_month == 0
    out = StringIO()
    trials = report_study(taught.study, family=taught.family, store=taught.store, clock=taught.clock).history.trials
    seen = view_of_study(taught.study)
    view(Console(file=out, width=200), seen, [one.trial for one in trials], front=front)
    assert winner.answered_in_words in out.getvalue()
    assert winner.saved_in_words.endswith("%")
    assert winner.saved_in_words in out.getvalue()


def test_the_baselines_learn_from_what_taught_the_student_and_no_model_earns_what_it_answers(taught: Taught) -> None:
    baselines = (taught.study.findings or {})[WITHOUT_MODEL]
    assert baselines["n_train"] == len(taught.student.out_of_fold) > len((taught.study.dataset or {})["train"])
    assert "A model earns its calls" in said({**baselines, "student_share": 0.0})
    assert said(baselines).endswith("of these rows; a student answers the others.")


def ask(gateway: TestClient, text: str, **body: Any) -> dict[str, Any]:
    messages = [*body.pop("history", ()), {"role": "user", "content": text}]
    answered = gateway.post("/v1/chat/completions", json={"model": "topics", "messages": messages, **body})
    assert answered.status_code == 200, answered.text
    value: dict[str, Any] = answered.json()
    return value


def test_the_gateway_answers_by_it_and_says_how_sure_it_was_or_passes_on(taught: Taught) -> None:
    told: dict[str, Any] = {"detent": {"variant": taught.study.winner}}
    n_own = 0
    with taught.gateway() as gateway:
        for i in range(900, 930):
            expected = taught.student.student.answer({"document": document(i)})
            stands = expected.confidence >= taught.policy["accept"]
            answered = ask(gateway, document(i), **told)
            detent = answered["detent"]
            assert detent["tiers"] == (["student"] if stands else ["student", "strong"])
            assert answered["choices"][0]["message"]["content"] == TOPICS[i % 3]
            if stands:
                n_own += 1
                assert round(detent["confidence"], 6) == round(expected.confidence, 6)
                assert detent["cost_usd"] == 0.0
                assert [(other["tier"], other["asked"]) for other in detent["others"]] == [("strong", False)]
        assert n_own >= 15, "of twenty that say their topic"
        turns = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello."}]
        assert ask(gateway, document(901), history=turns, **told)["detent"]["tiers"] == ["strong"]
        for shape, tiers in (("text", ["student"]), ("json_object", ["strong"])):
            shaped = ask(gateway, document(901), response_format={"type": shape}, **told)
            assert shaped["detent"]["tiers"] == tiers, "a student has one shape of answers"


def test_one_that_is_bypassed_answers_nobody_within_seconds_and_again_once_it_is_resumed(taught: Taught) -> None:
    store, at, id = taught.store, taught.clock.now(), taught.policy["students"]["student"]
    told: dict[str, Any] = {"detent": {"variant": taught.study.winner}}
    with taught.gateway() as gateway:

        def tiers(text: str = "Notes on physics, number 901.") -> list[str]:
            asked: list[str] = ask(gateway, text, **told)["detent"]["tiers"]
            return asked

        assert tiers() == tiers() == ["student"]
        store.write(
            lambda tx: store.students.bypass(
                tx, Bypass(family="topics", student=id, since=at, reason="a test", by="anna")
            )
        )
        until(lambda: tiers() == ["strong"])  # though the family keeps answers, and this one was given before
        store.write(lambda tx: store.students.end_bypass(tx, "topics", id, at=at, by="anna"))
        others = count(902)
        until(lambda: tiers(f"Notes on physics, number {next(others)}.") == ["student"])


def test_the_study_keeps_how_far_the_student_agrees_with_the_model_behind_it(taught: Taught) -> None:
    with taught.store.read() as tx:
        answers = taught.store.studies.tier_answers(tx, taught.study.id)
    assert answers is not None
    own = [row["tiers"]["student"] for row in answers.rows]
    assert {one["agreement_with"]["strong"] for one in own} == {0.0, 1.0}
    assert all(one["agreement_with"] == {"strong": one["score"]} for one in own), (
        "the strong model is always right here"
    )


def test_until_it_is_taught_its_tier_is_passed_over(taught: Taught) -> None:
    context = taught.context()
    untaught = VariantRequest(family="topics", from_=taught.study.winner, policy={"students": None})
    made = create_variant(context, untaught)
    with taught.gateway() as gateway:
        answered = ask(gateway, document(901), detent={"variant": made.variant})
    assert answered["detent"]["tiers"] == ["strong"]


def test_an_export_for_a_router_of_models_leaves_it_out_and_there_is_none_of_one_alone(taught: Taught) -> None:
    context = taught.context(models=lambda: wiring.open_models(taught.home))
    untaught = VariantRequest(family="topics", from_=taught.study.winner, policy={"students": None})
    for variant in (create_variant(context, untaught).variant, taught.study.winner):
        text = read_export(context, ExportRequest(family="topics", name=str(variant), format="litellm")).text
        assert YAML(typ="safe").load(text)["router_settings"] == {"model_group_alias": {"topics": "strong"}}
    alone = create_variant(
        context, VariantRequest(family="topics", from_=taught.study.winner, policy={"refuse": True})
    ).variant
    with pytest.raises(InvalidInput, match="a model would answer everything"):
        read_export(context, ExportRequest(family="topics", name=str(alone), format="litellm"))


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"students": {"student": "st_000000000000"}}, "has no student"),
        ({"refine": 0.1}, "leave refine out"),
        ({"gate.threshold": 0.5}, "leave gate.threshold out"),
        ({"votes.models": ["student", "strong"]}, "leave votes.models out"),
        ({"tiers": ["strong", "student"]}, "name one of the tiers but the last"),
    ],
    ids=["unknown", "refine", "gate", "votes", "last"],
)
def test_a_policy_in_which_no_student_can_answer_is_refused(taught: Taught, policy: dict[str, Any], says: str) -> None:
    context = taught.context()
    with pytest.raises(InvalidInput, match=says):
        create_variant(context, VariantRequest(family="topics", from_=taught.study.winner, policy=policy))


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("default: strong, tiers: [student, strong]", "default: student", "answers as a tier alone"),
        ("tiers: [student, strong]", "tiers: [strong, student]", "a model has to stand behind it"),
        ("parser: label, labels: [biology, physics, music]", "parser: text", "answers in free texts"),
    ],
    ids=["default", "last", "open answers"],
)
def test_a_file_that_puts_it_where_it_cannot_answer_is_refused(
    taught: Taught, before: str, after: str, says: str
) -> None:
    text = FAMILY.replace(before, after).replace("label_match", "exact_match" if "text" in after else "label_match")
    assert before not in text
    with pytest.raises(InvalidFamily, match=says):
        require_known_models(parse_family(YAML(typ="safe").load(text)), wiring.open_models(taught.home))


def test_its_rollout_is_of_chats_alone(taught: Taught) -> None:
    """Who fetches a prompt calls a model, and would be counted for a student that was not asked."""
    store, winner = taught.store, taught.study.winner
    rollouts, start = "/v1/families/topics/rollouts", {"variant": winner, "confirm": "topics"}

    with taught.api() as api, taught.gateway() as gateway:

        def arm(unit: str) -> tuple[str, str | None]:
            served = api.get("/v1/families/topics/prompt", headers={"X-Detent-Unit": unit}).json()
            return served["role"], served["rollout"]

        ask(gateway, document(901), user="u")
        until(lambda: api.post(rollouts, json={**start, "dry_run": True}).json()["hindrance"] is None)
        id = api.post(rollouts, json=start).json()["id"]
        with store.read() as tx:
            pending = store.rollouts.get(tx, id)
        lease = taught.clock.now() + timedelta(minutes=5)
        deploying = replace(
            pending, status="deploying", stage=0, ladder=(0.5,), lease_expires_at=lease, version=pending.version + 1
        )
        store.write(lambda tx: store.rollouts.save(tx, deploying, None))
        store.write(store.serving_version.bump)
        units = [f"u{n}" for n in range(40)]

        def roles() -> set[str]:
            return {ask(gateway, document(901), user=unit)["detent"]["role"] for unit in units}

        until(lambda: roles() == {"candidate", "champion"})
        shared = api.app.state.services  # type: ignore[attr-defined]
        until(lambda: getattr(shared.serving.now_served.family("topics").rollout, "id", None) == id)
        assert {arm(unit) for unit in units} == {("champion", None)}
        assert api.get("/v1/snapshot").json()["families"]["topics"]["rollout"] is None
        ended = replace(deploying, status="rolled_back", lease_expires_at=None, version=deploying.version + 1)
        store.write(lambda tx: store.rollouts.save(tx, ended, None))
        store.write(store.serving_version.bump)


def test_one_that_no_variant_names_goes_with_the_next(taught: Taught) -> None:
    store, own = taught.store, taught.policy["students"]["student"]
    other = TaughtStudent(student=replace(taught.student.student, taught={"family": "other"}), out_of_fold={})
    last = TaughtStudent(student=replace(taught.student.student, taught={"family": "last"}), out_of_fold={})

    def teach(tx: Any) -> int:
        for one in (other, last):
            store.students.add(tx, "topics", one, study="st-2", at=taught.clock.now())
        n: int = store.students.drop_unnamed(tx, "topics", but=last.student.hash)
        return n

    assert store.write(teach) == 1
    with store.read() as tx:
        assert store.students.ids(tx, "topics") == {own, last.student.hash}
    store.write(lambda tx: store.students.drop_unnamed(tx, "topics", but=own))


def test_who_taught_it_is_forgotten_with_the_student_and_the_variants_that_ask_it(taught: Taught) -> None:
    taught.forget_the_person()
    store = taught.store
    with store.read() as tx:
        assert store.students.ids(tx, "topics") == set()
        assert store.variants.get(tx, "topics", taught.study.winner) is None
        assert store.champions.current(tx, "topics") is not None


@pytest.mark.parametrize(
    ("aim", "model", "tiers"),
    [
        ("quality", "guessing", ["student"]),
        ("cost", "guessing", ["student", "guessing"]),
    ],
    ids=["quality", "cost"],
)
def test_a_study_that_names_no_strategy_lets_it_answer_where_that_is_better_or_cheaper(
    taught: Taught, aim: Aim, model: str, tiers: list[str]
) -> None:
    """The model guesses, and every text says its topic: whatever is aimed at, the student serves it best."""
    text = FAMILY.replace("name: topics", f"name: {aim}_{model}").replace("strong", model)
    is_alone = tiers == ["student"]
    text = text.replace(f"tiers: [student, {model}]", f"tiers: [{', '.join(tiers)}]")
    family = with_family(taught, text, [f"For {aim}: notes on {TOPICS[i % 3]}, number {i}." for i in range(380)])
    context = study_context(taught.store, taught.clock, family, wiring.open_models(taught.home))
    # 400 calls: what comes before the student would take them all.
    cap = 800 if is_alone else 400
    budget = BudgetBody(calls=cap, usd=50.0)
    asked = StudyRequest(family=family.name, aim=aim, budget=budget, definition=SMALL)
    estimate = create_study(context, asked.model_copy(update={"dry_run": True}))
    made = create_study(context, asked)
    assert isinstance(estimate, CostEstimate)
    assert isinstance(made, Study)
    files, models = wiring.load_families(taught.home), wiring.open_models(taught.home)
    study = run_here(made.id, taught.home, taught.store, taught.clock, files, models)
    models.close()
    assert (study.strategy, study.outcome) == ("bootstrap+settings+nearest+replay", "nominated"), study.confirmation
    assert estimate.calls.low <= study.spend.n_calls <= estimate.calls.high
    dataset = study.dataset
    assert dataset is not None
    n_rows = len(dataset["train"]) + len(dataset["dev"])
    room = cap - 2 * len(dataset["holdout"]) - len(dataset["dev"])
    kept = min(n_rows, room // 2)
    assert estimate.parts["replay"].expected == kept, "a student is no call, and half is kept for it"
    with taught.store.read() as tx:
        record = taught.store.variants.get(tx, family.name, study.winner)
        results = taught.store.studies.trials(tx, study.id)
    assert record is not None
    assert record.variant.policy["tiers"] == ["student", model]
    assert record.variant.policy.get("refuse", False) == is_alone
    # An application that fills in prompts by itself could not serve it, and is told before anything is spent.
    window = (family.name, made.champion, None, None, taught.clock.now(), "py-1", 3)
    taught.store.write(lambda tx: taught.store.exposures.put(tx, [window], "shop"))
    warned = create_study(context, asked.model_copy(update={"dry_run": True}))
    assert isinstance(warned, CostEstimate)
    new = set(warned.remarks) - set(estimate.remarks)
    warning = (
        f"Applications call the model of {family.name} themselves, and a winner with tiers is the server's to carry out"
    )
    assert any(text.startswith(warning) and "--strategy bootstrap+settings+nearest" in text for text in new)
    with taught.gateway() as gateway:
        told = {"model": family.name, "detent": {"variant": study.winner}}
        known, unknown = (ask(gateway, text, **told) for text in ("Notes on biology, number 1.", "zzz qqq"))
        assert known["choices"][0]["message"]["content"] == "biology"
        assert unknown["detent"].get("refused", False) == is_alone
        assert unknown["detent"]["tiers"] == tiers
        assert (unknown["choices"][0]["message"]["refusal"] is not None) == is_alone
    with taught.store.read() as tx:
        outcomes = taught.store.events.feedback_of(tx, [(family.name, unknown["id"])])
    assert [(one.source, one.score, one.success) for one in outcomes] == [("system", 0.0, False)] * is_alone
    best = next(trial for trial in results if trial.variant == study.winner)
    assert best.proposer == "replay"


def with_family(taught: Taught, text: str, documents: list[str]) -> Family:
    """The family of this text in the home, with examples of these documents, all released."""
    family = parse_family(YAML(typ="safe").load(text))
    folder = taught.home.home / "families" / family.name
    folder.mkdir()
    (folder / "family.yaml").write_text(text)
    files = wiring.load_families(taught.home)
    sync_families(files.families, taught.store, taught.clock)
    rows = [
        make_example(
            family=family.name,
            created_at=taught.clock.now(),
            origin="import",
            input={"document": document},
            expected={"topic": next(topic for topic in TOPICS if topic in document)},
            released=True,
        )
        for document in documents
    ]
    taught.store.write(lambda tx: taught.store.examples.add(tx, rows))
    return files.families[family.name]
