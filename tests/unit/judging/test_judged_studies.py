"""A study whose quality is a judge's score: under its cap with all judge calls, resumed for nothing, and never decided
by a judge that no ratings vouch for.
"""

from __future__ import annotations

from dataclasses import fields

import pytest

from optimizer.adapters.files import sources
from optimizer.adapters.reports.study_report import study_page
from optimizer.core.base.errors import BudgetTooSmall, GateNotMet
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.judging.calibration import GATE, Agreement, IntervalEstimate, judge_identity
from optimizer.core.family.family import kind_of
from optimizer.core.views.study_headline import next_step
from optimizer.jobs.families.vouch_for_judge import judge_gates
from optimizer.jobs.studies.report_study import report_study
from optimizer.ports import CalibrationRecord
from tests.rows.rollout_acts import start_rollout
from tests.unit.judging.test_judged_gate import calibrated
from tests.worlds.judged_world import JudgedWorld, judge_model, letters_family, writer_by
from tests.worlds.study_world import START, Killed, copy_store

SPACE = {"temperature": {"float": [0.0, 1.0]}, "max_tokens": {"int": [10, 40]}}
SMALL = {"n_train": 4, "n_dev": 4, "n_holdout": 6, "n_settings": 3}


def short_is_good(answer: str) -> float:
    return max(0.0, 10 - len(answer) / 5)


def by_settings(request) -> str:
    """Each letter is answered in other words under each setting, and the champion's are the longest."""
    end, signs = request.messages[-1]["content"][-22:], "!" * (request.params["max_tokens"] // 4)
    text = f"{end} {request.temperature:.3f} {signs}"
    return text if request.temperature > 0 else f"Dear customer, we are sorry to hear it. {text}"


def world_of(folder, think=short_is_good, **options):
    folder.mkdir(exist_ok=True)
    options = {"model": writer_by(by_settings), "family": letters_family(space=SPACE), **options}
    return JudgedWorld(folder, judge_model(think, concurrency=1), **options).fill_letters()


def create(world, **options):
    given = {"strategy": "settings", "budget": Budget(calls=400), "definition": SMALL, **options}
    return world.create(**given)


def vouch(world, family=None, **changes):
    given = {"n": 40, "spearman": 0.7, "fitted_at": START, "scored": (0.0, 1.0), "rated": (0.0, 1.0), **changes}
    one = calibrated(family or world.family, **given)
    unknown = IntervalEstimate(value=None)
    figures = {field.name: unknown for field in fields(Agreement) if field.name != "n"}
    about = {"id": f"jc_{id(one)}", "family": "letters", "created_by": "test"}
    record = CalibrationRecord(calibration=one, agreement=Agreement(n=one.n, **figures), **about)
    world.store.write(lambda tx: world.store.calibrations.add(tx, record))


def test_a_family_without_expected_outputs_is_searched_by_its_judge(tmp_path):
    world = world_of(tmp_path)
    study = world.run(create(world))
    assert study.status == "finished"
    assert all(trial.score is not None for trial in world.trials(study))
    asked = world.calls_by_purpose()
    assert asked["judge"] == asked["search"] + asked.get("confirmation", 0)
    with world.store.read() as tx:
        kept = [row for rows in world.store.studies.results(tx, study.id, "search").values() for row in rows]
    assert {row.judgement["opinions"][0]["reasoning"] for row in kept} == {"It reads well."}
    assert all(row.judgement["score"] == row.score for row in kept)


def test_a_study_of_labels_that_only_a_judge_scores_has_no_figures_of_labels(tmp_path):
    labels = {"field": "reply", "parser": "label", "labels": ["billing", "technical"]}
    family, model = letters_family(space=SPACE, output=labels), writer_by(lambda request: "billing")
    world = world_of(tmp_path, lambda answer: 7, family=family, model=model)
    study = world.run(create(world))
    assert study.status == "finished"
    assert "labels" not in (study.findings or {})


def test_the_dry_run_counts_the_judges_calls_and_dollars(tmp_path):
    world = world_of(tmp_path)
    told = create(world, dry_run=True)
    family = letters_family(space=SPACE, scorer={"exact_match": 1.0}, judge=None)
    (tmp_path / "plain").mkdir()
    plain = JudgedWorld(tmp_path / "plain", family=family).fill_letters(expected=lambda i: {"reply": "ok"})
    plain = create(plain, dry_run=True)
    assert told.calls.expected == pytest.approx(2 * plain.calls.expected)
    assert told.calls.high == pytest.approx(3 * plain.calls.high)
    assert told.n_confirmation_calls == 3 * plain.n_confirmation_calls
    assert told.usd.expected > plain.usd.expected
    assert told.reserved_usd > plain.reserved_usd
    assert set(told.models) == {"writer", "judge"}


def test_the_points_that_a_cap_pays_for_are_counted_with_the_judges_calls(tmp_path):
    world = world_of(tmp_path, family=letters_family(space={"temperature": {"choices": [n / 30 for n in range(31)]}}))
    study = create(world, budget=Budget(calls=200), definition={**SMALL, "n_settings": None})
    assert study.definition["n_settings"] == ((200 - 6 * 2 * 3) // 2 - 4) // 4


def test_a_judge_without_a_price_is_not_asked_under_a_cap_in_dollars(tmp_path):
    family = letters_family(space=SPACE)
    world = JudgedWorld(tmp_path, judge_model(price=None), family=family).fill_letters()
    with pytest.raises(BudgetTooSmall, match="'judge' has no known price"):
        create(world, budget=Budget(usd=5.0))


def test_a_study_that_was_killed_goes_on_and_pays_no_judge_twice(tmp_path):
    whole = world_of(tmp_path / "whole")
    undisturbed = whole.run(create(whole))
    n_thoughts = [0]

    def dies_at_the_tenth(answer):
        n_thoughts[0] += 1
        if n_thoughts[0] == 10:
            raise Killed
        return short_is_good(answer)

    world = world_of(tmp_path / "killed", dies_at_the_tenth)
    study = create(world)
    with pytest.raises(Killed):
        world.run(study)
    assert world.run(study).winner == undisturbed.winner
    asked, calls = world.calls_by_purpose(), whole.calls_by_purpose()
    assert {**asked, "judge": asked["judge"] - 1} == calls, "only the one in flight is asked again"


def confirmed_world(folder, *, vouched=False):
    """A study whose candidates are far better than its champion in the judge's eyes."""
    family = letters_family(space=SPACE, rollout={"gates": {"n": 8, "max_risk": 1.0}})
    model = writer_by(lambda request: "Soon." if request.temperature > 0 else "Dear customer, we are sorry to hear it.")
    world = JudgedWorld(folder, judge_model(short_is_good), model=model, family=family).fill_letters(n_holdout=8)
    if vouched:
        vouch(world)
    world.study = world.run(create(world, definition={**SMALL, "n_holdout": 8}))
    return world


@pytest.fixture(scope="module")
def uncalibrated(tmp_path_factory):
    """A world that was confirmed, which tests only read."""
    return confirmed_world(tmp_path_factory.mktemp("uncalibrated"))


def copy_of(world, folder):
    """For a test that writes."""
    copy_store(world.store, folder / "detent.db")
    copied = JudgedWorld(folder, judge_model(short_is_good), family=world.family)
    copied.study = world.study
    return copied


@pytest.fixture(scope="module")
def vouched_for(tmp_path_factory):
    return confirmed_world(tmp_path_factory.mktemp("vouched_for"), vouched=True)


def test_a_confirmation_by_an_uncalibrated_judge_is_not_met_and_says_why(uncalibrated):
    world = uncalibrated
    gates = {gate["name"]: gate for gate in world.study.confirmation["gates"]}
    assert gates[GATE]["verdict"] == "error"
    assert world.study.outcome == "not_confirmed"
    assert "the judge is uncalibrated" in world.study.confirmation["summary"]


def test_a_nomination_is_refused_until_people_vouch_for_the_judge_and_then_needs_no_other_look(uncalibrated, tmp_path):
    world = copy_of(uncalibrated, tmp_path)
    study, winner = world.study, world.study.winner

    def nominated():
        return world.nominate(study.id, winner)

    with pytest.raises(GateNotMet, match="Once people vouch for its judge it starts on evidence, without another look"):
        nominated()
    assert "it starts on evidence once people vouch for its judge" in next_step(study)
    vouch(world)
    assert nominated().id == study.id
    assert not start_of(world, letters_family(space=SPACE, rollout=BY_USERS)).forced


def test_the_pages_of_a_judged_study_say_what_its_scores_are_worth(uncalibrated, tmp_path):
    world = copy_of(uncalibrated, tmp_path)
    study = world.study

    def page():
        return study_page(report_study(study, family=world.family, store=world.store, clock=world.clock))

    assert "Scores are those of an uncalibrated judge, and no quality" in study.confirmation["summary"]
    assert "Scores are those of an uncalibrated judge, and no quality" in page()
    vouch(world, points=((0.0, 0.0), (1.0, 0.5)))
    report = report_study(study, family=world.family, store=world.store, clock=world.clock)
    trials = {trial.variant: trial.score for trial in world.trials(study)}
    assert report.judged["rated"][f"the winner {study.winner}"] == pytest.approx(trials[study.winner] / 2)
    assert "rank correlation of 0.70 on 40 ratings. People would rate the champion" in page().replace("\n", " ")
    world.family = letters_family(space=SPACE, judge={"model": "judge", "dimensions": {"brief": "It is short."}})
    assert "rank correlation of 0.70" in page(), "it is the judge that scored the study"


def test_a_confirmation_by_a_vouched_judge_is_decided_by_the_other_gates_and_says_what_people_would_rate(vouched_for):
    world = vouched_for
    assert {gate["verdict"] for gate in world.study.confirmation["gates"]} == {"pass"}
    assert world.study.outcome == "nominated"
    judged = world.study.confirmation["judged"]
    assert judged["uncalibrated"] is None
    assert judged["rated"][f"the winner {world.study.winner}"] > judged["rated"][f"the champion {world.study.champion}"]
    assert "People would rate the champion" in world.study.confirmation["summary"]


BY_USERS = {"gates": {"n": 8, "max_risk": 1.0}, "metric": {"field": "success", "source": "user"}}


def start_of(world, family):
    world.store.observations.reporters = lambda *_: (1, 0)
    given = {"actor": "ann", "store": world.store, "clock": world.clock, "dry_run": True}
    return start_rollout(family, world.study.winner, **given)


@pytest.mark.parametrize(("judge", "verdict"), [({}, "pass"), ({"judge": "j_another"}, "error")])
def test_the_gate_reads_the_calibration_of_this_judge(tmp_path, judge, verdict):
    world = world_of(tmp_path)
    assert judge_gates(world.family, world.store)[0]["verdict"] == "error"
    vouch(world, **judge)
    assert judge_gates(world.family, world.store)[0]["verdict"] == verdict


def test_a_rollout_by_a_judges_feedback_names_the_judge_that_people_vouch_for(uncalibrated, vouched_for):
    family = letters_family(space=SPACE, rollout={"metric": {"field": "success", "source": "judge"}})
    named = [start_of(world, family).settings.get("judge") for world in (uncalibrated, vouched_for)]
    assert named == [None, judge_identity(family)]


def test_a_family_that_no_judge_scores_has_no_such_gate_until_a_judges_feedback_is_the_metric(tmp_path):
    world = world_of(tmp_path)
    plain = letters_family(scorer={"rouge_l": 1.0}, judge=None)
    assert judge_gates(plain, world.store) == []
    gate = judge_gates(plain, world.store, metric_source="judge")[0]
    assert (gate["verdict"], "names no judge" in gate["reason"]) == ("error", True)


def test_examples_without_an_expected_output_are_taken_where_a_judge_scores_and_nowhere_else():
    judged, matched = letters_family(), letters_family(scorer={"rouge_l": 1.0}, judge=None)
    letter = {"letter": "Where is my parcel?"}
    assert kind_of(judged).example_fault(judged, letter, {}) is None
    assert kind_of(matched).example_fault(matched, letter, {}) == "expected has no 'reply'"


def test_a_file_of_inputs_alone_is_a_file_of_examples(tmp_path):
    file = tmp_path / "letters.jsonl"
    file.write_text('{"id": "a", "input": {"letter": "Where is it?"}}\n')
    assert sources.format_of(file) == "examples"


@pytest.mark.parametrize("strategy", ["bootstrap", "examples"])
def test_strategies_search_a_family_whose_examples_say_nothing_of_the_answer(tmp_path, strategy):
    world = world_of(tmp_path)
    study = world.run(create(world, strategy=strategy))
    assert study.status == "finished"
    assert study.error is None


@pytest.mark.parametrize(
    "now",
    [{"scorer": {"rouge_l": 1.0}}, {"judge": {"model": "judge", "dimensions": {"brief": "It is short."}}}],
    ids=["another scorer", "another rubric"],
)
def test_a_confirmation_by_an_uncalibrated_judge_never_counts_as_another_scorers(uncalibrated, tmp_path, now):
    world = copy_of(uncalibrated, tmp_path)
    family = letters_family(space=SPACE, rollout=BY_USERS, **now)
    if "judge" in now:
        vouch(world, family)
    started = start_of(world, family)
    assert {gate["name"]: gate["verdict"] for gate in started.gates}[GATE] == "error"
