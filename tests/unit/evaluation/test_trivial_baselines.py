"""What answers without a model score: learnt from the training rows alone,
scored as the model is, left out with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape
from rich.console import Console

from optimizer.adapters.mlflow.fields import study_metrics
from optimizer.adapters.reports.study_report import study_page
from optimizer.cli.family.evaluate_view import view_trivial
from optimizer.core.dataset.examples import Example, make_example
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation import trivial_baselines as trivial
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.metrics import METRICS
from optimizer.core.family.variant import FewShot, Variant
from optimizer.core.search.study import Study
from optimizer.jobs.studies import run_study
from optimizer.jobs.studies.confirm_winner import ConfirmationResult
from optimizer.jobs.studies.context import StudyRun
from optimizer.jobs.studies.plan_evaluation import EvaluationScope, estimate_evaluation
from optimizer.jobs.studies.report_study import report_study
from optimizer.runtime.wiring import classify
from tests.cases import named
from tests.rows import evaluations
from tests.worlds.study_world import World, topic_examples

NOW = datetime(2026, 11, 20, tzinfo=UTC)
TRAIN = [
    ("my card was stolen", "card"),
    ("the card does not work", "card"),
    ("a new card please", "card"),
    ("give my money back", "refund"),
    ("money back for the broken lamp", "refund"),
]
ROWS = [
    ("where is my card", "card"),
    ("I want the money back", "refund"),
    ("card stolen at night", "card"),
    ("money back now", "refund"),
]


def family(parser: str = "label") -> Family:
    more = {"label": {"labels": ["card", "refund"]}, "json": {"schema": {"type": "object"}}}.get(parser, {})
    content = [{"role": "user", "content": "{{text}}"}]
    return parse_family(
        {
            "name": "triage",
            "inputs": {"text": {"type": "text"}},
            "output": {"field": "answer", "parser": parser, **more},
            "prompt": {"current": "1", "versions": {"1": {"content": content}}},
            "scorer": {"exact_match": 1.0},
        }
    )


def examples(pairs: Sequence[tuple[str, Any]]) -> list[Example]:
    return [
        make_example(
            family="triage", input={"text": text}, expected={"answer": answer}, created_at=NOW, origin="curated"
        )
        for text, answer in pairs
    ]


def measured(
    train: Sequence[tuple[str, Any]],
    rows: Sequence[tuple[str, Any]],
    *,
    parser: str = "label",
    scores: Mapping[int, float] | None = None,
    classify: Any = classify,
    **more: Any,
) -> dict[str, Any]:
    declared, asked = family(parser), examples(rows)
    scorer = Scorer(declared.output, declared.scorer, [METRICS["exact_match"]])
    by_example = {asked[at].id: score for at, score in (scores or {}).items()}
    without_model = trivial.trivial_scores(declared, examples(train), asked, scorer, classify=classify)
    given = {"variant": "v_1", "scores": by_example, "bare": "not asked", **more}
    return asdict(trivial.measure_trivial(examples(train), asked, without_model, **given))


def by_name(found: Mapping[str, Any]) -> dict[str, Any]:
    return {row["name"]: row["score"] if row["score"] is not None else row["why"] for row in found["rows"]}


def test_labels_have_a_majority_a_nearest_neighbour_and_a_regression() -> None:
    found = by_name(measured(TRAIN, ROWS))
    assert found[trivial.MAJORITY] == 0.5
    assert found[trivial.NEAREST] == 1.0
    assert found[trivial.LOGISTIC] == 1.0
    assert found[trivial.FIRST] == trivial.NO_SENTENCE


def test_what_is_learnt_does_not_hang_on_the_labels_of_the_rows_that_are_scored() -> None:
    told: list[tuple[Sequence[str], Sequence[str], Sequence[str]]] = []

    def watched(texts: Sequence[str], labels: Sequence[str], asked: Sequence[str]) -> Sequence[str]:
        told.append((texts, labels, asked))
        return classify(texts, labels, asked)

    turned = [(text, {"card": "refund", "refund": "card"}[label]) for text, label in ROWS]
    right, wrong = (by_name(measured(TRAIN, rows, classify=watched)) for rows in (ROWS, turned))
    assert told[0] == told[1]
    for name in (trivial.MAJORITY, trivial.NEAREST, trivial.LOGISTIC):
        assert right[name] + wrong[name] == pytest.approx(1.0), (
            "the same answers, so each row is right under one of the two"
        )


def test_a_free_text_has_its_first_sentence_and_nothing_else() -> None:
    rows = [("Sorts a list. Takes time.", "Sorts a list."), ("Reads a file!\nThen more.", "Writes a file.")]
    found = by_name(measured(rows[:1], rows, parser="text"))
    assert found[trivial.FIRST] == 0.5
    assert {found[name] for name in (trivial.MAJORITY, trivial.NEAREST)} == {trivial.FREE_TEXT}
    assert found[trivial.LOGISTIC] == trivial.NO_LABELS


def test_a_list_has_its_majority_and_nearest_neighbour_but_no_regression() -> None:
    pairs = [("red and green", ["red", "green"]), ("green and red", ["red", "green"]), ("blue", ["blue"])]
    found = by_name(measured(pairs, [("blue sky", ["blue"])], parser="list"))
    assert (found[trivial.MAJORITY], found[trivial.NEAREST], found[trivial.LOGISTIC]) == (0.0, 1.0, trivial.NO_LABELS)


@pytest.mark.parametrize(
    ("parser", "wrapped"),
    [("list", lambda label: [label]), ("json", lambda label: {"topic": label}), ("text", lambda label: label)],
    ids=["list of one", "JSON with one value", "text"],
)
def test_values_that_are_labels_in_fact_have_a_regression(parser: str, wrapped: Any) -> None:
    train, rows = ([(text, wrapped(label)) for text, label in pairs] for pairs in (TRAIN, ROWS))
    found = by_name(measured(train, rows, parser=parser))
    assert [found[name] for name in (trivial.MAJORITY, trivial.NEAREST, trivial.LOGISTIC)] == [0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("train", "why"),
    [([], trivial.NO_TRAINING), (TRAIN[:3], trivial.ONE_LABEL), ([("?!", "card"), ("…", "refund")], trivial.NO_WORDS)],
    ids=["none", "one label", "no words"],
)
def test_too_little_to_learn_from_leaves_the_regression_out_with_the_reason(train, why):
    assert by_name(measured(train, ROWS))[trivial.LOGISTIC] == why


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("One. Two.", "One."),
        ("Is it 3.5 of 4? Yes.", "Is it 3.5 of 4?"),
        ("no end", "no end"),
        ("a line\nanother", "a line"),
        ("Wait... what", "Wait..."),
        ("  ", ""),
        ("", ""),
    ],
)
def test_a_first_sentence_ends_where_a_reader_would_end_it(text: str, sentence: str) -> None:
    assert trivial.first_sentence(text) == sentence


@pytest.mark.parametrize(
    ("scores", "begins"),
    [
        ([0.0] * 40, "No model is needed here so far: nearest neighbour"),
        ([1.0] * 40, "Whether a model earns its calls cannot be told from 40 rows"),
    ],
)
def test_a_reader_is_told_whether_the_model_leads_what_needs_none(scores: list[float], begins: str) -> None:
    rows = [(f"{text} {at}", label) for at in range(10) for text, label in ROWS]
    found = measured(TRAIN, rows, scores=dict(enumerate(scores)))
    assert trivial.said(found).startswith(begins)
    assert (found["n"], found["n_train"]) == (40, 5)


NEAR, BEHIND = (-0.348, 0.329), (-0.5, -0.3)
LEADS = "leads v_1 by 0.400 (95 %: +0.300 to +0.500)."


@named(
    ("best", "lead", "interval", "ends", "more"),
    {
        "no model is needed": (trivial.NEAREST, -0.4, BEHIND, trivial.STUDENT_INSTEAD, {}),
        "nor anything to teach": (trivial.FIRST, -0.4, BEHIND, LEADS, {}),
        "a student was searched": (trivial.NEAREST, -0.4, BEHIND, LEADS, {trivial.STUDENT_SEARCHED: True}),
        "behind, perhaps by chance": (trivial.FIRST, -0.047, NEAR, "leads v_1 by 0.047 (95 %: -0.329 to +0.348).", {}),
        "level": (trivial.FIRST, 0.0, NEAR, "v_1 and first sentence, which needs none, score the same.", {}),
        "ahead, perhaps by chance": (trivial.FIRST, 0.047, NEAR, "needs none, by 0.047 (95 %: -0.348 to +0.329).", {}),
    },
)
def test_who_leads_is_said_with_its_interval_and_where_no_model_is_needed_how_to_do_without(
    best: str, lead: float, interval: tuple[float, float], ends: str, more: dict[str, bool]
) -> None:
    worth = {"variant": "v_1", "best": best, "lead": lead, "low": interval[0], "high": interval[1]}
    assert trivial.said({"n": 40, "worth": worth, **more}).endswith(ends)


def test_a_model_that_leads_the_best_baseline_earns_its_calls() -> None:
    rows = [(f"{at} zzz", "card" if at % 2 else "refund") for at in range(40)]
    found = measured(TRAIN, rows, scores=dict.fromkeys(range(40), 1.0))
    assert trivial.said(found).startswith("A model earns its calls here: v_1 leads ")
    assert found["worth"]["lead"] == pytest.approx(1 - max(row["score"] or 0 for row in found["rows"]))


def test_the_bare_prompt_stands_among_them_and_is_not_taken_for_one_that_needs_no_model() -> None:
    asked = examples(ROWS)
    found = measured(TRAIN[:3], ROWS, scores={0: 1.0}, bare={e.id: 1.0 for e in asked})
    assert by_name(found)[trivial.BARE] == 1.0
    assert found["worth"]["best"] != trivial.BARE


def test_nothing_that_was_not_measured_is_compared() -> None:
    found = measured(TRAIN, ROWS)
    assert found["worth"] is None
    assert trivial.said(found) == "No baseline without a model could be compared with it."


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Study]:
    """A world and its study, which tests only read."""
    world = World(tmp_path_factory.mktemp("studied")).fill()
    return world, world.run(world.create(strategy="bootstrap"))


def test_a_study_keeps_what_answers_without_a_model_score_on_its_dev_rows(studied: tuple[World, Study]) -> None:
    world, study = studied
    found = study.findings[trivial.WITHOUT_MODEL]
    assert (found["n"], found["n_train"]) == (6, 9)
    rows = by_name(found)
    assert rows[trivial.LOGISTIC] == 1.0, "each document names its topic"
    assert rows[trivial.BARE] == next(t.score for t in world.trials(study) if t.variant == study.champion), (
        "the champion shows no examples"
    )
    assert found["worth"]["variant"] == (study.winner or study.champion)
    assert not found[trivial.STUDENT_SEARCHED]


def test_what_stands_beside_the_winner_is_of_the_proposal_that_was_confirmed(tmp_path, monkeypatch):
    world = World(tmp_path).fill()

    def confirm_another(run: StudyRun, variants: Sequence[Variant], **_: Any) -> ConfirmationResult:
        first = {variants[0].id, run.champion.id}
        another = next(trial.variant for trial in world.trials(run.study) if trial.variant not in first)
        return ConfirmationResult(winner=another, outcome="nominated", record={"summary": "a bolder one passed"})

    monkeypatch.setattr(run_study, "confirm_winner", confirm_another)
    study = world.run(world.create(strategy="bootstrap"))
    assert study.findings[trivial.WITHOUT_MODEL]["worth"]["variant"] == study.winner
    assert set(study.findings["labels"]) == {study.champion, study.winner}


def test_a_comparison_that_cannot_be_made_costs_no_study_its_outcome(tmp_path, monkeypatch):
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a family's own metric may raise anything")

    monkeypatch.setattr(run_study, "measure_trivial", broken)
    world = World(tmp_path).fill()
    study = world.run(world.create(strategy="settings", definition={"n_settings": 1}))
    assert (study.status, study.error) == ("finished", None)
    assert trivial.WITHOUT_MODEL not in (study.findings or {})


def test_a_page_and_mlflow_show_them(studied: tuple[World, Study]) -> None:
    world, study = studied
    page = study_page(report_study(study, family=world.family, store=world.store, clock=world.clock))
    assert escape(trivial.said(study.findings[trivial.WITHOUT_MODEL])) in page
    assert trivial.LOGISTIC in page
    metrics = {name: value for name, value, *_ in study_metrics(study, world.trials(study))}
    assert metrics["without_model.TF-IDF_and_logistic_regression"] == 1.0
    assert "without_model.first_sentence" not in metrics
    assert metrics["bare_prompt_score"] == metrics["champion_score"]


def test_an_evaluation_learns_from_no_row_of_a_group_that_it_scores(tmp_path: Path) -> None:
    world = World(tmp_path).fill(n_train=30)
    learnt: list[str] = []

    def watched(texts: Sequence[str], labels: Sequence[str], asked: Sequence[str]) -> Sequence[str]:
        learnt.extend(texts)
        assert not set(texts) & set(asked)
        return classify(texts, labels, asked)

    batch = evaluated(world, split="train", n=10, classify=watched)
    assert batch[trivial.WITHOUT_MODEL]["n"] == 10
    assert len(learnt) == batch[trivial.WITHOUT_MODEL]["n_train"] == 20


def test_an_evaluation_asks_the_bare_prompt_where_it_is_wanted_and_says_so_beforehand(tmp_path: Path) -> None:
    world = World(tmp_path).fill(n_dev=5)
    shots = tuple(FewShot(id=e.id, input=e.input, output=e.expected["topic"]) for e in topic_examples(3, "train"))
    variant = replace(world.family.variant(), examples=shots)
    assert "--bare" in by_name(evaluated(world, variant)[trivial.WITHOUT_MODEL])[trivial.BARE]
    planned = estimate_evaluation(
        world.family, variant, EvaluationScope(n=5, bare=True), store=world.store, models=world
    )
    assert planned.calls.high == 10
    n = len(world.model.requests)
    assert by_name(evaluated(world, variant, bare=True)[trivial.WITHOUT_MODEL])[trivial.BARE] == 0.0
    assert len(world.model.requests) == n + 5, "the journal answered the others"


def evaluated(world: World, variant: Variant | None = None, **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "store": world.store,
        "clock": world.clock,
        "models": world,
        "scorer_for": lambda family: world.scorer,
    }
    given |= {"actor": "person", "classify": classify, **options}
    return evaluations.evaluated(world.family, variant or world.family.variant(), **given)


def test_a_terminal_shows_each_with_its_interval_or_why_it_is_left_out() -> None:
    out = Console(width=160, record=True, file=StringIO())
    found = measured(TRAIN, ROWS, scores={0: 1.0, 1: 0.0, 2: 0.0, 3: 0.0})
    view_trivial(out, found)
    shown = out.export_text()
    assert (
        "On the same 4 rows without a model (the bare prompt has one, and no examples), learnt from 5 training"
        " examples:" in shown
    )
    assert f"left out: {trivial.NO_SENTENCE}" in shown
    assert trivial.said(found) in " ".join(shown.split())
