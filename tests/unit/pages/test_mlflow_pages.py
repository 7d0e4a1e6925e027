"""The texts and plots that reviewers read: what they say for each outcome, and what they never show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from optimizer.adapters.mlflow import pages
from optimizer.adapters.mlflow.fields import trial_metrics
from optimizer.adapters.reports.study_report import importances, study_page
from optimizer.core.base.values import Budget, ExampleResult
from optimizer.core.dataset.examples import make_example
from optimizer.core.family.variant import FewShot, Variant
from optimizer.core.search.study import Study, Trial, shown_variants
from optimizer.core.views.study_front import pareto_front
from optimizer.core.views.study_story import StudyReport, history_of
from optimizer.core.views.variant import variant_diff
from optimizer.ports import StudyEvidence
from tests import stores
from tests.cases import named

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def variant(n_examples: int = 0, temperature: float = 0.0) -> Variant:
    system, user = {"role": "system", "content": "Say <what> it is."}, {"role": "user", "content": "{{text}}"}
    messages: Any = (system, {"role": "examples"}, user)
    shots = tuple(FewShot(id=f"ex_{n}", input={"text": f"in {n}"}, output=f"out {n}") for n in range(n_examples))
    return Variant(messages=messages, examples=shots, model={"name": "m", "temperature": temperature})


CHAMPION, WINNER = variant(), variant(2)


def study(**changes: Any) -> Study:
    ended = {"status": "finished", "outcome": "nominated", "champion": CHAMPION.id, "winner": WINNER.id}
    return stores.study(**{"family": "f", "created_at": NOW, **ended, **changes})


def trial(number: int, made: Variant, score: float | None, **changes: Any) -> Trial:
    usual: dict[str, Any] = {"study": "st_1", "proposer": "p", "params": {}, "status": "complete", "n": 4}
    return Trial(number=number, variant=made.id, score=score, **{**usual, **changes})


def evidence(**changes: Any) -> StudyEvidence:
    values: dict[str, Any] = {"results": {}, "examples": {}, "confirmation": {}}
    return StudyEvidence(**{"variants": {v.id: v for v in (CHAMPION, WINNER)}, **values, **changes})


def report_page(of: Study, trials: list[Trial]) -> str:
    """What MLflow gets as ``report.html``."""
    empty: dict[Any, Any] = {"texts": {}, "outputs": {}, "spent": {}, "looks": None}
    history, variants = history_of(of, trials, {}), {v.id: v for v in (CHAMPION, WINNER)}
    return study_page(StudyReport(study=of, history=history, variants=variants, made_at=NOW, **empty))


def test_the_diff_shows_the_added_examples_and_nothing_that_stayed_as_changed() -> None:
    diff = variant_diff(CHAMPION, WINNER)
    added = [line for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert "+[example 1: ex_0]" in added
    assert "+=> out 1" in added
    assert not [line for line in diff.splitlines() if line.startswith("-") and not line.startswith("---")]
    assert variant_diff(CHAMPION, CHAMPION) == ""


@named(
    ("changes", "expected"),
    {
        "nominated": ({}, "met every gate on the holdout and was nominated"),
        "nothing better": ({"outcome": "no_improvement", "winner": None}, "nothing beat the champion"),
        "not confirmed": ({"outcome": "not_confirmed", "confirmation": {"lift": 0.01}}, "was not confirmed"),
        "kept from the holdout": ({"outcome": "not_confirmed"}, "the holdout was not looked at"),
        "failed": ({"status": "failed", "outcome": None, "error": "no model"}, "failed: no model"),
        "running": ({"status": "running", "outcome": None}, "running"),
    },
)
def test_the_headline_says_plainly_how_a_study_stands(changes: dict[str, Any], expected: str) -> None:
    assert expected in pages.headline(study(**changes))


def test_only_a_nominated_winner_comes_with_the_command_that_goes_on() -> None:
    trials = [trial(0, CHAMPION, 0.1), trial(1, WINNER, 0.4)]
    assert "detent rollout start f --variant" in pages.note(study(), trials, evidence())
    assert "detent rollout start" not in pages.note(study(outcome="not_confirmed"), trials, evidence())


def test_a_note_leads_back_to_the_study_where_its_page_is_known() -> None:
    note = pages.note(study(), [], evidence(), "../studies")
    assert note.startswith(f"### [f](../studies/{study().id}): "), "MLflow shows the first lines alone at first"
    assert pages.note(study(), [], evidence()).startswith("### f: ")


def test_a_note_fits_into_a_tag_of_mlflow_however_long_the_prompt_is() -> None:
    shots = tuple(FewShot(id=f"e{n}", input={"text": "word " * 200}, output="x") for n in range(40))
    long = replace(WINNER, examples=shots)
    known = evidence(variants={CHAMPION.id: CHAMPION, long.id: long})
    note = pages.note(study(winner=long.id), [trial(1, long, 0.4)], known)
    assert len(note) <= 7900
    longest = max(len(line) for line in note.split("```diff")[1].splitlines())
    assert longest <= 90, "one long line would widen the whole page"


def test_trials_without_a_score_stand_last_and_their_score_stays_empty() -> None:
    table = pages.trials_table(study(), [trial(0, CHAMPION, None), trial(1, WINNER, 0.4)], evidence())
    scores = [row[table["columns"].index("score")] for row in table["data"]]
    assert scores == [0.4, None]


def test_the_examples_table_leaves_out_examples_whose_text_may_not_be_shown() -> None:
    given = {"family": "f", "created_at": NOW, "origin": "curated"}
    shown = make_example(id="a", input={"text": "public"}, expected={"o": "x"}, **given)
    results = [ExampleResult(example=id, score=0.5, output=f"output of {id}") for id in ("a", "hidden")]
    table = pages.examples_table(WINNER.id, study(), evidence(results={WINNER.id: results}, examples={"a": shown}))
    assert [row[0] for row in table["data"]] == ["a"]
    assert pages.examples_table(WINNER.id, study(), evidence(results={WINNER.id: results})) is None


def test_the_confirmation_names_wins_ties_losses_and_what_was_not_measured_by_hash() -> None:
    def results(*scores: float | None) -> list[ExampleResult]:
        return [ExampleResult(example=id, score=score, output=None) for id, score in zip("abcd", scores, strict=True)]

    looked = {CHAMPION.id: results(0.5, 0.5, 0.5, 0.5), WINNER.id: results(0.6, 0.5, 0.4, None)}
    table = pages.confirmation_table(study(), evidence(confirmation=looked))
    assert sorted(row[1] for row in table["data"]) == ["loss", "not measured", "tie", "win"]
    assert all(len(row[0]) == 12 for row in table["data"])


@named(
    ("points", "front"),
    {
        "a dearer and worse one is not on it": ([(1.0, 0.5), (2.0, 0.4), (3.0, 0.9)], [(1.0, 0.5), (3.0, 0.9)]),
        "the better of equally dear ones": ([(1.0, 0.5), (1.0, 0.7)], [(1.0, 0.7)]),
        "equal ones once": ([(1.0, 0.5), (1.0, 0.5)], [(1.0, 0.5)]),
        "nothing": ([], []),
    },
)
def test_the_pareto_front(points: list[tuple[float, float]], front: list[tuple[float, float]]) -> None:
    assert pareto_front(points, of=lambda point: point) == front


def test_while_a_study_runs_no_file_is_named_by_a_place_that_may_change() -> None:
    trials = [trial(0, CHAMPION, 0.1), trial(1, WINNER, 0.4), trial(2, variant(2, 0.5), 0.3)]
    assert shown_variants(study(status="running", winner=None), trials) == {CHAMPION.id: "champion"}
    assert list(shown_variants(study(), trials).values()) == ["champion", "winner", "best-2"]


def test_importance_finds_the_setting_that_decides() -> None:
    made = [variant(n, t) for n in (0, 1, 2, 3) for t in (0.0, 0.5, 1.0)]
    trials = [trial(i, v, 0.2 * len(v.examples)) for i, v in enumerate(made)]
    found = importances(trials, {v.id: v for v in made}, seed=1)
    assert max(found, key=lambda name: found[name]) == "n_examples"


def test_a_study_that_replays_items_shows_shares_of_time_and_no_dollars() -> None:
    replayed = study(budget=Budget(usd=0.0, calls=0), confirmation={"winner_cost_usd": 0.4, "lift": 0.1})
    trials = [trial(0, CHAMPION, 0.5, cost_usd=4.0), trial(1, WINNER, 0.55, cost_usd=1.6)]
    assert pages.confirmation_figures(replayed) == {"winner_time_share": 0.4, "lift": 0.1}
    table = pages.trials_table(replayed, trials, evidence())
    variant_at, share_at = (table["columns"].index(name) for name in ("variant", "time_share"))
    shares = {row[variant_at]: row[share_at] for row in table["data"]}
    assert (shares, "cost_usd" in table["columns"]) == ({CHAMPION.id: 1.0, WINNER.id: 0.4}, False)
    metrics = {name: value for name, value, _, _ in trial_metrics(replayed, trials[1], ())}
    assert (metrics["time_share"], "cost_usd" in metrics) == (0.4, False)
    drawn = report_page(replace(replayed, confirmation=None), trials)
    assert "share of the time of full processing" in drawn
    assert "dollars per call" not in drawn


def test_a_study_that_asks_models_shows_dollars() -> None:
    trials = [trial(0, CHAMPION, 0.5, cost_usd=4.0)]
    assert "cost_usd" in pages.trials_table(study(), trials, evidence())["columns"]
    assert {name: value for name, value, _, _ in trial_metrics(study(), trials[0], ())}["cost_usd"] == 4.0
