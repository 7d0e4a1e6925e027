"""The page of a study that really ran: what it shows, and what it must not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.mlflow.fields import study_metrics
from optimizer.adapters.mlflow.pages import label_tables
from optimizer.adapters.reports.study_report import study_page
from optimizer.adapters.store import Database
from optimizer.adapters.store.repositories.examples import HoldoutTable
from optimizer.core.base.errors import NotFound
from optimizer.core.base.values import Budget
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.label_report import NO_LABEL
from optimizer.core.family.family import Family
from optimizer.core.family.masking import Masker
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.search.study import ENOUGH, LEAKS, UNPRICED, Study, Trigger
from optimizer.jobs.request import ItemRequest
from optimizer.jobs.studies.report_study import read_study_report, report_study
from optimizer.runtime.use_cases import use_case_of
from optimizer.runtime.wiring import sealed_holdout
from tests.cases import named
from tests.rows import mlflow_story as story
from tests.worlds.contexts import context_of
from tests.worlds.study_world import START, TOPICS, TopicModel, World, topic_examples, topic_family

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", html)))


def page(world: World, study: Study, family: Family | None) -> str:
    """Drawn of the report as a client reads it."""
    asked = use_case_of(read_study_report)
    report = report_study(study, family=family, store=world.store, clock=world.clock)
    return study_page(asked.answer.validate_json(asked.written(report)))


class Talkative(TopicModel):
    """Writes markup and an address where it does not know."""

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        answer = await super().complete(request)
        known = answer.text in TOPICS
        return answer if known else ModelAnswer(**{**_fields(answer), "text": f"{HOSTILE} ask ann@example.com"})


def _fields(answer: ModelAnswer) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in ModelAnswer.__dataclass_fields__}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Study]]:
    """A study whose winner was confirmed, with markup in texts, in answers and in a name. Tests read it; the last one
    adds a look.
    """
    world = World(tmp_path_factory.mktemp("ran"), model=Talkative())
    examples = [*topic_examples(30, "train"), *topic_examples(12, "dev"), *topic_examples(24, "holdout")]
    world.fill(examples=[_hostile(e) for e in examples])
    study = world.run(world.create(actor=HOSTILE))
    assert study.outcome == "nominated"
    yield world, study
    world.store.close()


def _hostile(example: Example) -> Example:
    words = f"{HOSTILE} {example.input['document']} Of ben@example.com."
    values = {name: getattr(example, name) for name in Example.__dataclass_fields__}
    return Example(**{**values, "input": {"document": words}})


def test_what_people_and_models_wrote_cannot_become_markup_and_nothing_is_loaded(ran: tuple[World, Study]) -> None:
    world, study = ran
    html = page(world, study, world.family)
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    assert "http" not in html
    tags = re.findall(r"<[a-z][^>]*>", html)
    assert not [tag for tag in tags if re.search(r"\b(src|href|on[a-z]+)=", tag)]
    assert "url(" not in html
    assert "@import" not in html


def test_the_page_tells_the_winner_the_lift_the_gates_the_trials_and_the_cost(ran: tuple[World, Study]) -> None:
    world, study = ran
    found = study.confirmation or {}
    said = text(page(world, study, world.family))
    assert f"{study.winner} improved on the champion of topics and was nominated; " in said
    assert f"Holdout lift {found['lift']:+.3f}" in said
    assert f"it led by {found['selection_lift']:+.3f}" in said
    for gate in found["gates"]:
        assert gate["reason"] in said
    for trial in world.trials(study):
        assert trial.variant in said
    assert f"It took {len(world.calls(study))} of 500 calls" in said
    assert re.search(r"confirmation 40 \$0\.0004", said), "the confirmation's own calls are told apart"
    assert "+[example 1: train-" in said, "the diff shows what was added"


def test_a_study_whose_model_has_no_price_says_no_dollars_of_the_front_and_of_the_confirmation(tmp_path: Path) -> None:
    world = World(tmp_path).fill()
    world.model.price = None
    study = world.run(world.create(budget=Budget(calls=500)))
    assert (study.outcome, study.findings[UNPRICED]) == ("nominated", ["fake"])
    assert (study.confirmation["champion_cost_usd"], study.confirmation["winner_cost_usd"]) == (None, None)
    report = report_study(study, family=world.family, store=world.store, clock=world.clock)
    dollars = {point.usd_per_answer for point in report.front.points}
    assert dollars | {report.usd_of(one.trial) for one in report.history.trials} == {None}, "it is not free"


def test_of_the_sealed_holdout_no_example_is_shown_by_text_id_or_result(tmp_path: Path) -> None:
    store = story.open_database(tmp_path)
    study = story.tell(store)
    html = study_page(report_study(study, family=topic_family(name=story.FAMILY), store=store, clock=story.after_it()))
    store.close()
    assert "Document number" in html, "dev examples are shown"
    assert story.HELD_OUT_TEXT not in html
    assert "kept out" not in html, "the answers of the confirmation"
    assert not [id for id in (study.dataset or {})["holdout"] if id in html]


def test_an_example_that_nobody_released_stands_under_a_hash_without_its_text_and_answers(tmp_path: Path) -> None:
    world = World(tmp_path).fill(
        examples=[
            *topic_examples(30, "train"),
            *topic_examples(12, "dev", released=False),
            *topic_examples(24, "holdout"),
        ]
    )
    study = world.run(world.create())
    html = page(world, study, world.family)
    assert "of dev." not in html
    assert "I would rather not say" not in html
    assert not re.search(r"dev-0\d\d", html)
    assert "Examples whose text may not be shown stand under a hash." in html


@pytest.mark.parametrize(
    ("released", "seen"), [pytest.param(False, False, id="nobody released it"), pytest.param(True, True, id="released")]
)
def test_a_few_shot_example_is_quoted_only_where_somebody_released_it_whoever_may_be_served_it(
    tmp_path: Path, released: bool, seen: bool
) -> None:
    world = World(tmp_path, family=topic_family(privacy={"examples_from": "any"}))
    world.fill(
        examples=[
            *topic_examples(30, "train", released=released),
            *topic_examples(12, "dev"),
            *topic_examples(24, "holdout"),
        ]
    )
    study = world.run(world.create())
    html = page(world, study, world.family)
    assert study.outcome == "nominated"
    assert "+[example 1: train-" in text(html), "the candidate was given examples of train"
    assert ("of train." in html, "(text not shown)" in html) == (seen, not seen)
    assert "of dev." in html, "what was released is shown beside it"


@named(
    ("family", "shows", "hides"),
    {
        "nothing to mask": ({}, ["ben@example.com", "ann@example.com"], []),
        "masked since": ({"privacy": {"mask": ["email"]}}, ["[email]", "of dev."], ["@example.com"]),
        "a rule gets through no text": (
            {"privacy": {"mask": [{"pattern": "(?:.|..|...)+[!?]$"}]}},
            ["(text not shown)"],
            ["@example.com", "of dev.", "of train."],
        ),
        "only metadata": (
            {"privacy": {"store": "metadata"}},
            ["(text not shown)"],
            ["@example.com", "of dev.", "of train."],
        ),
        "the family's file is gone": (None, ["(text not shown)"], ["@example.com", "of dev.", "of train."]),
    },
)
def test_texts_are_shown_as_the_familys_privacy_allows_now(
    ran: tuple[World, Study],
    family: dict[str, Any] | None,
    shows: list[str],
    hides: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(Masker.__init__.__kwdefaults__, "own_rule_s", 0.001)
    world, study = ran
    html = page(world, study, None if family is None else topic_family(**family))
    assert [word for word in shows if word not in html] == []
    assert [word for word in hides if word in html] == []


def test_a_search_that_the_budget_cut_short_names_whose_turn_never_came(tmp_path: Path) -> None:
    world = World(tmp_path).fill()
    study = world.run(world.create(budget=Budget(calls=64), definition={"n_candidates": 4}))
    said = text(page(world, study, world.family))
    assert "The search was cut short, so not everything was tried." in said
    assert "settings and nearest never had a turn." in said
    assert "Cannot tell: " in said


def test_a_report_says_everything_that_a_reader_has_to_know_before_believing_the_rest(ran: tuple[World, Study]) -> None:
    world, study = ran
    report = report_study(study, family=world.family, store=world.store, clock=world.clock)
    quiet = text(study_page(report))
    spend = replace(study.spend, search_cut="the cap of 64 calls was met", remark="Do not cascade.", n_from_journal=2)
    found = replace(
        study,
        simulated_clock=True,
        spend=spend,
        strategy="bootstrap+race",
        budget=replace(study.budget, minutes=5.0),
        confirmation={**(study.confirmation or {}), "n_unscored": 2, "looks": 3},
        findings={**(study.findings or {}), ENOUGH: {"calls": 1380}, LEAKS: {"n": 2, "by": {"gepa": 2}}},
    )
    changed = replace(
        report,
        study=found,
        history=replace(report.history, n_unread=1, n_unmeasured=4),
        sensitivity=(),
        spent={**report.spent, "search": replace(report.spent["search"], n_lost=2)},
    )
    told = text(study_page(changed))
    for note in (
        "This study ran under a simulated clock.",
        "Nothing was spent: a dollar on this page stands for one item that is processed in full",
        (
            "not everything was tried. the cap of 64 calls was met. race never had a turn. Enough for every part:"
            " --budget-calls 1380."
        ),
        "Do not cascade.",
        "Refused: 2 proposals of gepa: they quote eight words in a row of an example that is sealed or not released.",
        "2 calls in flight at a kill: counted at the reserved price",
        "On 2 holdout examples one of the two could not be scored",
        "Studies had looked at these holdout examples before: confidence pays for 3 looks.",
        "1 answer of the trials could not be read and scores 0.",
        "4 dev examples of the trials got no answer: no score",
        "2 calls more were answered from the journal. At most 5 minutes were allowed.",
    ):
        assert note in told
        assert note not in quiet


def test_a_study_that_found_nothing_says_that_the_holdout_was_left_alone(tmp_path: Path) -> None:
    world = World(tmp_path, model=TopicModel(needs=99)).fill()
    study = world.run(world.create())
    html = page(world, study, world.family)
    assert "No improvement: none of" in text(html)
    assert "was not looked at and stays fresh" in text(html)
    assert "candidate dot" not in html, "nothing is drawn as a winner"


def test_a_queued_study_has_a_page_without_plots_and_an_unknown_one_has_none(tmp_path: Path) -> None:
    world = World(tmp_path).fill()
    html = page(world, world.create(), world.family)
    assert "The study of topics is queued." in text(html)
    assert "<figure" not in html
    with pytest.raises(NotFound, match="no study 'st_nothing'"):
        read_study_report(context_of(world.store, world.clock), ItemRequest(id="st_nothing"))


def test_a_study_that_started_by_itself_says_why_and_is_not_called_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path).fill()
    asked = world.create(actor="local:ann")
    said = text(page(world, asked, world.family))
    assert "asked for by local:ann, 2026-11-20" in said
    assert "By itself" not in said
    world.change(asked, status="cancelled")
    trigger = Trigger(kind="feedback", reason="12 ratings since Monday, on average 0.310, below 0.5 <now>")
    study = world.create(actor="system:feedback", trigger=trigger)
    html = page(world, study, world.family)
    assert "By itself feedback: 12 ratings since Monday, on average 0.310, below 0.5 &lt;now&gt;" in text(html)
    assert re.search(r"Time by itself, 2026-11-20 [0-9:]+ UTC", text(html))
    assert "asked for" not in html
    assert "system:" not in html


def test_the_report_reads_no_result_of_the_confirmation(
    ran: tuple[World, Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, study = ran
    read: list[str] = []
    tables = type(world.store.studies)
    results = tables.results

    def watched(self: Any, tx: Any, id: str, purpose: str, variant: str | None = None) -> Any:
        read.append(purpose)
        return results(self, tx, id, purpose, variant)

    monkeypatch.setattr(tables, "results", watched)
    monkeypatch.setattr(HoldoutTable, "open", None)
    page(world, study, world.family)
    assert set(read) == {"search"}


def test_spending_is_told_apart_by_purpose_and_adds_up(ran: tuple[World, Study]) -> None:
    world, study = ran
    database: Database = world.store
    with database.read() as tx:
        parts, whole = database.journal.spend_by_purpose(tx, study.id), database.journal.spend(tx, study.id)
        assert database.journal.spend_by_purpose(tx, "st_other") == {}
    assert set(parts) == {"search", "confirmation"}
    assert parts["confirmation"].n_calls == 2 * 20
    assert sum(p.n_calls for p in parts.values()) == whole.n_calls
    assert sum(p.usd for p in parts.values()) == pytest.approx(whole.usd)


def test_a_label_family_is_told_label_by_label_for_champion_and_winner(ran: tuple[World, Study]) -> None:
    world, study = ran
    found = (study.findings or {})["labels"]
    assert set(found) == {study.champion, study.winner}
    right = {
        f["label"]: found[study.winner]["confusion"][f["label"]].get(f["label"], 0)
        for f in found[study.winner]["figures"]
    }
    (winner,) = [trial for trial in world.trials(study) if trial.variant == study.winner]
    assert sum(right.values()) / found[study.winner]["n"] == pytest.approx(winner.score)
    assert found[study.champion]["macro_f1"] == 0.0  # it never says a label
    told = text(page(world, study, world.family))
    assert (
        f"Macro F1: champion 0.000 on {found[study.champion]['n']} answered dev examples; winner"
        f" {found[study.winner]['macro_f1']:.3f}" in told
    )
    assert "Precision, champion Precision, winner Recall, champion Recall, winner" in told
    assert "What the winner takes for what" in told
    assert {name for name, *_ in study_metrics(study, world.trials(study))} >= {"champion_macro_f1", "winner_macro_f1"}
    tables = label_tables(study)
    assert set(tables) == {
        f"labels/{mark}-{id}{kind}.json"
        for mark, id in (("champion", study.champion), ("winner", study.winner))
        for kind in ("", "-confusion")
    }
    crossed = tables[f"labels/champion-{study.champion}-confusion.json"]
    assert crossed["columns"] == ["expected", NO_LABEL]
    assert sum(row[1] for row in crossed["data"]) == found[study.champion]["n"]


def test_a_later_look_at_the_same_holdout_is_told_on_the_earlier_page(ran: tuple[World, Study]) -> None:
    world, study = ran
    assert "the first look at these examples." in text(page(world, study, world.family))
    ids = (study.dataset or {})["holdout"]

    def look(tx: Any) -> None:
        sealed_holdout().open(tx, "topics", "st_later", ids, START)

    world.store.write(look)
    assert "the first look at these examples; by now there have been 2." in text(page(world, study, world.family))
