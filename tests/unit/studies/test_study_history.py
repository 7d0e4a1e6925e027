"""A study told from its trials and dev results: what led, what was dropped and why,
and the sentences that open its report.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from optimizer.core.base.values import Budget, ExampleResult, Spend
from optimizer.core.family.variant import Variant
from optimizer.core.search.study import UNPRICED, Study, Trial, ranked
from optimizer.core.statistics.interval import score_band
from optimizer.core.views.study_front import front_of, on_front, unpriced_of
from optimizer.core.views.study_headline import cost_text, headline, lift_text, next_step, view_of_study
from optimizer.core.views.study_story import StudyStory, common_order, history_of
from tests import stores
from tests.cases import named

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DEV = tuple(f"d{n}" for n in range(10))


def study(**changes: Any) -> Study:
    usual = {"family": "f", "status": "finished", "champion": "v_old", "created_at": NOW, "dataset": {"dev": list(DEV)}}
    usual |= {"outcome": "nominated", "winner": "v_new"}
    return stores.study(**{**usual, **changes})


def trial(number: int, variant: str, score: float | None, **changes: Any) -> Trial:
    values: dict[str, Any] = {
        "proposer": "bootstrap" if number else "champion",
        "params": {},
        "status": "complete",
        "n": len(DEV),
    }
    return Trial(
        **{"study": "st_1", "number": number, "variant": variant, "score": score, "n_calls": 10, **values, **changes}
    )


def results(*scores: float | None, first: int = 0) -> list[ExampleResult]:
    return [ExampleResult(example=DEV[first + n], score=s, output=None) for n, s in enumerate(scores)]


def told(trials: list[Trial], found: dict[str, list[ExampleResult]], **changes: Any) -> StudyStory:
    return history_of(study(**changes), trials, found)


OLD = results(*[0.5] * 10)


def test_examples_that_most_variants_met_come_first_so_that_every_trial_is_a_beginning() -> None:
    found = {"v_old": OLD, "v_new": OLD, "v_short": results(0.1, 0.1, first=7)}
    assert common_order(study(), found) == ("d7", "d8", *DEV[:7], "d9")


@named(
    ("changes", "ending"),
    {
        "evaluated in full": ({}, ""),
        "dropped": ({"status": "dropped", "n": 4}, "dropped after 4 of 10 examples: too far behind to win"),
        "stopped by the budget": ({"status": "stopped", "n": 4}, "stopped after 4 of 10 examples: No call is left."),
        "the end of a race": ({"n": 4}, "compared after 4 of 10 examples: No call is left."),
        "running": ({"status": "running", "n": 4}, "still running, 4 of 10 examples so far"),
        "nothing measured": ({"score": None}, "no example could be measured"),
    },
)
def test_every_trial_says_why_it_went_no_further(changes: dict[str, Any], ending: str) -> None:
    other = replace(trial(1, "v_new", 0.4), **changes)
    seen = told(
        [trial(0, "v_old", 0.5), other], {"v_old": OLD, "v_new": OLD}, spend=Spend(search_cut="No call is left.")
    ).trials[1]
    assert seen.ending == ending


def test_a_high_score_with_examples_missing_that_the_champion_has_cannot_win_and_says_so() -> None:
    found = {"v_old": OLD, "v_new": results(None, *[0.9] * 9)}
    seen = told([trial(0, "v_old", 0.5), trial(1, "v_new", 0.9)], found).trials[1]
    assert seen.ending == "cannot win: 1 example that the champion has a score on could not be measured"


def test_an_example_forgotten_since_drops_nobody() -> None:
    nine = [trial(0, "v_old", 0.5, n=9), trial(1, "v_new", 0.6, n=9)]
    assert [t.ending for t in told(nine, {"v_old": OLD[:9], "v_new": OLD[:9]}).trials] == ["", ""]


def test_the_best_so_far_follows_trials_measured_in_full_and_calls_add_up() -> None:
    trials = [trial(0, "v_old", 0.5), trial(1, "v_a", 0.9, n=4), trial(2, "v_b", 0.4), trial(3, "v_new", 0.6)]
    seen = told(trials, {"v_old": OLD}).trials
    assert [t.best for t in seen] == [0.5, 0.5, 0.5, 0.6]
    assert [t.calls for t in seen] == [10, 20, 30, 40]


def test_a_lead_is_counted_on_the_examples_measured_for_both() -> None:
    found = {"v_old": results(0.0, 1.0), "v_new": results(1.0, None)}
    seen = told([trial(0, "v_old", 0.5), trial(1, "v_new", 1.0)], found).trials
    assert (seen[0].lead, seen[1].lead) == (None, 1.0)


def test_a_learning_curve_shows_both_means_on_the_same_examples_in_their_order() -> None:
    (curve,) = told(
        [trial(0, "v_old", 0.5), trial(1, "v_new", 0.6)], {"v_old": OLD, "v_new": results(1.0, 0.0, None, 0.5)}
    ).curves
    assert [(p.n, p.mean, p.champion) for p in curve.points] == [(1, 1.0, 0.5), (2, 0.5, 0.5), (3, 0.5, 0.5)]
    assert curve.mark == "winner"


def test_the_winner_is_shown_first_even_where_another_trial_scored_as_much() -> None:
    trials = [trial(0, "v_old", 0.5), trial(1, "v_a", 0.7), trial(2, "v_new", 0.6)]
    history = told(trials, dict.fromkeys(("v_old", "v_a", "v_new"), OLD))
    assert [c.trial.number for c in history.curves] == [2, 1]
    assert history.duel.trial.number == 2


def test_a_duel_counts_wins_ties_losses_and_what_one_of_them_has_no_score_on_with_the_largest_gain_first() -> None:
    found = {"v_old": results(0.5, 0.5, 0.5, 0.5), "v_new": results(0.2, 0.9, 0.5, None)}
    duel = told([trial(0, "v_old", 0.5), trial(1, "v_new", 0.6)], found).duel
    assert (duel.wins, duel.ties, duel.losses, duel.n_unmeasured) == (1, 1, 1, 1)
    assert [c.other.example for c in duel.cases] == ["d1", "d2", "d0"]


def test_the_front_is_that_of_all_pairs_also_where_figures_are_equal() -> None:
    draw = random.Random(7)
    figures = [(draw.randint(0, 5) / 5, draw.randint(0, 5) / 5, float(draw.randint(0, 5))) for _ in range(120)]
    trials = [trial(n, f"v_{n}", s, cost_usd=usd, p95_ms=ms) for n, (s, usd, ms) in enumerate(figures)]
    lost = [(-s, usd, ms) for s, usd, ms in figures]
    beaten = {
        n
        for n, own in enumerate(lost)
        if any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in lost)
    }
    assert on_front(trials) == set(range(120)) - beaten


def test_a_p95_that_others_do_not_have_puts_nothing_on_the_front() -> None:
    draw = random.Random(8)
    figures = [(draw.randint(0, 4) / 4, draw.randint(0, 4) / 4, draw.choice([None, 1.0, 2.0, 3.0])) for _ in range(150)]
    trials = [trial(n, f"v_{n}", s, cost_usd=usd, p95_ms=ms) for n, (s, usd, ms) in enumerate(figures)]

    def beats(one: tuple[float, float, float | None], other: tuple[float, float, float | None]) -> bool:
        both = [(-one[0], -other[0]), (one[1], other[1])]
        both += [(one[2], other[2])] if one[2] is not None and other[2] is not None else []
        return all(a <= b for a, b in both) and any(a < b for a, b in both)

    for few in ([*range(150)], *([draw.randrange(150) for _ in range(6)] for _ in range(200))):
        front = {n for n in few if not any(beats(figures[other], figures[n]) for other in few)}
        assert on_front([trials[n] for n in few]) == front
    champion = trial(0, "v_old", 0.8, cost_usd=2.0, p95_ms=90.0)
    assert on_front([champion, trial(1, "v_new", 0.9, cost_usd=1.0)]) == {1}


def test_dollars_that_differ_as_sums_of_floats_do_are_the_same_and_twins_stand_on_the_front_once() -> None:
    noisy = trial(1, "v_noisy", 0.5, n=1, cost_usd=9.704999999999998e-06, p95_ms=105.0)
    quick = trial(2, "v_quick", 0.5, n=1, cost_usd=9.705e-06, p95_ms=95.0)
    twin = replace(quick, number=3, variant="v_new", cost_usd=9.704999999999999e-06)
    assert on_front([noisy, quick]) == {2}

    def shown(*trials: Trial) -> list[str]:
        front = front_of(study(), trials, {}, {}, requests_per_month=0, front=on_front(trials))
        return [point.variant for point in front.points]

    assert shown(noisy, quick, replace(twin, variant="v_late")) == ["v_quick"]
    assert shown(noisy, quick, twin) == ["v_new"], "the winner"


def test_a_band_is_agresti_and_coulls_for_scores_of_0_and_1_and_holds_the_mean() -> None:
    band = score_band(10, 8.0, 8.0)
    assert (round(band.lower, 3), round(band.upper, 3)) == (0.478, 0.951)
    for n, total in ((1, 0.0), (1, 1.0), (40, 0.0), (40, 40.0), (7, 3.5)):
        band = score_band(n, total, total * total / n)
        assert 0.0 <= band.lower <= total / n <= band.upper <= 1.0


def test_no_setting_is_called_important_with_few_trials_equal_scores_or_scores_that_luck_explains() -> None:
    def why(scores: list[float], n: int = 12, noise: float = 0.0) -> str | None:
        rng = random.Random(1)
        found = {
            f"v_{i}": results(*[min(1.0, max(0.0, s + rng.uniform(-noise, noise))) for _ in DEV])
            for i, s in enumerate(scores)
        }
        trials = [trial(i, f"v_{i}", s) for i, s in enumerate(scores)]
        return told(trials[:n], found, champion="v_0").cannot_tell

    spread = [0.3 + 0.05 * i for i in range(12)]
    assert why(spread) is None
    assert "9 measured trials" in (why(spread, n=9) or "")
    assert "all 12 measured trials have the same score" in (why([0.5] * 12) or "")
    assert "luck" in (why([0.5 + 0.001 * i for i in range(12)], noise=0.4) or "")


def test_answers_that_could_not_be_read_are_told_from_those_that_never_came() -> None:
    broken = [replace(OLD[0], score=0.0, error="no label"), replace(OLD[1], score=None, error="unreachable"), OLD[2]]
    history = told([trial(0, "v_old", 0.5)], {"v_old": broken})
    assert (history.n_unread, history.n_unmeasured) == (1, 1)


IMPROVEMENT = {"name": "improvement", "verdict": "fail", "required": 0.15}
CONFIRMED = {
    **{"n": 100, "champion_mean": 0.4, "winner_mean": 0.5, "lift": 0.1, "lift_low": 0.02, "lift_high": 0.18},
    **{"p": 0.004, "looks": 1, "confidence": 0.996, "selection_lift": 0.2},
    "gates": [{"name": "n", "verdict": "pass"}],
}


@named(
    ("changes", "says"),
    {
        "improved": ({"confirmation": CONFIRMED}, "v_new improved on the champion of f and was nominated."),
        "nominated only": (
            {"confirmation": {**CONFIRMED, "confidence": 0.94}},
            "with a confidence of 0.940 it is not yet called improved, for which 0.95 is needed.",
        ),
        "cheaper, and perhaps worse": (
            {"aim": "cost", "confirmation": {**CONFIRMED, "confidence": 0.843, "saving_p": 1e-4, "quality_p": 0.157}},
            "not yet called cheaper, for which 0.95 is needed: that its quality is not lower has a confidence of 0.843;"
            " that it is cheaper has 0.999, which is enough.",
        ),
        "not confirmed": (
            {"outcome": "not_confirmed", "confirmation": {"gates": [{"name": "risk", "verdict": "fail"}]}},
            "v_new was the best of 1 candidate on dev, but the sealed holdout did not confirm it. Not met: risk.",
        ),
        "no improvement": ({"outcome": "no_improvement", "winner": None}, "No improvement: none of 1 candidate beat"),
        "budget after the search": ({"outcome": "budget_exhausted"}, "ended before v_new could be confirmed"),
        "budget before": (
            {"outcome": "budget_exhausted", "winner": None},
            "ended before a candidate could be compared",
        ),
        "cancelled": (
            {"status": "cancelled", "outcome": None},
            "cancelled after 1 candidate; best on dev so far: v_new",
        ),
        "failed": ({"status": "failed", "outcome": None, "error": "No model."}, "The study of f failed: No model."),
        "running": ({"status": "running", "outcome": None, "winner": None}, "v_new leads on dev, not confirmed"),
        "confirming": ({"status": "confirming", "outcome": None}, "is being confirmed on the sealed holdout"),
    },
)
def test_the_first_sentence_says_what_became_of_the_study(changes: dict[str, Any], says: str) -> None:
    assert says in headline(study(**changes), [trial(0, "v_old", 0.5), trial(1, "v_new", 0.6)])


def test_a_winner_that_others_outscore_says_how_it_was_chosen() -> None:
    of_cost = view_of_study(study(aim="cost", strategy="settings"))
    assert of_cost.choice.endswith("on the dev rows that they all answered, this is the cheapest.")
    steps = [{"variant": id, "p": p, "lift": 0.0, "passed": p < 0.2} for id, p in (("v_a", 0.1), ("v_new", 0.3))]
    replayed = replace(of_cost, strategy="settings+replay", confirmation={"sequence": steps[:1]})
    assert "margin" not in replayed.choice, "dev was not what chose it"
    assert "chosen by predictions on rows to which they were not fitted" in replayed.choice
    assert replayed.choice.endswith("this is the last that passed.")
    assert replace(replayed, confirmation={"sequence": steps[1:]}).choice.endswith("this is the safest.")
    assert replace(replayed, confirmation=None).choice == "", "a key that reads no texts is told of no sequence"
    frozen = {"sequence": {"proposals": [{"variant": "v_new"}], "hash": "x"}}
    assert replace(replayed, confirmation=None, findings=frozen).choice.endswith("this is the safest.")


def test_a_winner_that_only_lacks_holdout_examples_names_the_forced_start() -> None:
    few, weak = {"name": "n", "verdict": "fail"}, {"name": "confidence", "verdict": "fail"}
    said = {
        len(gates): next_step(study(outcome="not_confirmed", confirmation={"gates": gates}))
        for gates in ([few], [few, weak])
    }
    assert "detent rollout start f v_new --confirm f" in said[1]
    assert "--confirm" not in said[2]


@named(
    ("changes", "is_offered"),
    {
        "about as good": ({}, True),
        "worse by the margin": ({"lift": -0.05}, False),
        "saves too little": ({"winner_cost_usd": 0.95}, False),
        "no known price": ({"winner_cost_usd": None}, False),
        "asked for a gain in points": ({"champion_mean": 0.09}, False),
        "loses too many examples": ({"gates": [IMPROVEMENT, {"name": "risk", "verdict": "fail"}]}, False),
    },
)
def test_a_winner_that_is_only_cheaper_names_the_look_for_that(changes: dict[str, Any], is_offered: bool) -> None:
    figures = {"champion_mean": 0.8, "lift": -0.01, "margin": 0.05, "gates": [IMPROVEMENT]}
    figures |= {"champion_cost_usd": 1.0, "winner_cost_usd": 0.54}
    ended = study(outcome="not_confirmed", confirmation={**figures, **changes})
    look = f"it costs 46% less: detent study nominate {ended.id} v_new --aim cost --dry-run"
    assert (next_step(ended) == look) == is_offered


def test_a_study_says_how_it_ended_to_a_key_that_reads_no_definition() -> None:
    figures: Any = {"definition": None, "findings": None}
    for outcome in ("no_improvement", "not_confirmed", "budget_exhausted"):
        ended, confirmed = (study(outcome=outcome, confirmation=seen) for seen in (None, {"gates": []}))
        for whole in (ended, confirmed):
            hidden = replace(whole, **figures)
            assert (next_step(hidden), headline(hidden, [])) == (next_step(whole), headline(whole, []))


def test_a_study_whose_money_ended_says_what_to_pay_for_next() -> None:
    assert "detent study confirm f v_new --dry-run" in next_step(study(outcome="budget_exhausted"))
    without = next_step(study(outcome="budget_exhausted", winner=None))
    assert ("nothing was better" in without, "detent study run f --dry-run" in without) == (False, True)


def test_a_better_score_says_what_it_costs_beside_the_champion() -> None:
    champion = replace(trial(0, "v_old", 0.5), n=10, cost_usd=0.01, p95_ms=400.0)
    dearer = replace(trial(1, "v_new", 0.6), n=20, cost_usd=0.094, p95_ms=410.0)
    improved = study(confirmation=CONFIRMED)
    assert "and was nominated, at 4.7 times the cost on dev." in headline(improved, [champion, dearer])
    slower = replace(dearer, cost_usd=0.02, p95_ms=1000.0)
    assert "and was nominated, at 2.5 times the p95 latency on dev." in headline(improved, [champion, slower])
    much_dearer = replace(dearer, cost_usd=2468 * champion.cost_usd)
    assert "and was nominated, at 1,234 times the cost on dev." in headline(improved, [champion, much_dearer])
    anew: Any = {**CONFIRMED, "winner_p95_ms": 6000.0, "champion_p95_ms": 1000.0}
    sealed = headline(study(confirmation=anew), [champion, dearer])
    assert "at 4.7 times the cost on dev and 6 times the p95 latency." in sealed, "the confirmation asked both anew"
    free = replace(dearer, cost_usd=0.0)
    assert "and was nominated, at none of the cost on dev." in headline(improved, [champion, free])
    unpriced = replace(improved, findings={UNPRICED: ["weak"]})
    assert "and was nominated." in headline(unpriced, [champion, free]), "what has no known price is not free"
    assert "and was nominated." in headline(improved, [replace(champion, cost_usd=0.0, p95_ms=None), dearer]), (
        "not measured, not said"
    )


def test_of_equal_scores_the_champion_comes_first_and_then_the_cheaper() -> None:
    trials = [
        replace(trial(number, f"v_{number}", 0.5), proposer=proposer, n=10, cost_usd=usd)
        for number, (proposer, usd) in enumerate([("champion", 3.0), ("bootstrap", 2.0), ("bootstrap", 1.0)])
    ]
    assert [t.variant for t in ranked(trials)] == ["v_0", "v_2", "v_1"]


def test_the_lift_stands_beside_what_selection_promised_and_every_look_is_named() -> None:
    said = lift_text(study(confirmation=CONFIRMED), 1) or ""
    for part in (
        "Holdout lift +0.100",
        "+0.020 to +0.180",
        "p 0.004",
        "led by +0.200",
        "flatters",
        "the first look at these examples.",
    ):
        assert part in said
    third = lift_text(study(confirmation={**CONFIRMED, "looks": 3}), 5) or ""
    assert "look 3 at these examples, hence confidence 1 − 3 p = 0.988; by now there have been 5." in third
    assert lift_text(study(), None) is None


def test_the_cost_is_everything_that_was_spent_against_its_caps() -> None:
    spent = Spend(usd=0.75, n_calls=110)
    capped = study(budget=Budget(usd=2.0, calls=1500), spend=Spend(n_from_journal=12))
    assert (
        cost_text(capped, spent) == "It took 110 of 1,500 calls and $0.75 of $2.00, 12 more answered from the journal."
    )
    assert cost_text(study(status="running", budget=Budget()), Spend()) == "So far it took 0 calls and $0.00."


def answered(by: str | None, *scores: float, first: int = 0) -> list[ExampleResult]:
    return [replace(result, output="x", answered_by=by) for result in results(*scores, first=first)]


def test_a_point_of_the_front_says_who_answers_which_share_how_right_and_what_it_saves_a_month() -> None:
    cascade = Variant(
        messages=({"role": "user", "content": "x"},), model={"name": "strong"}, policy={"tiers": ["student", "strong"]}
    )
    plain = replace(cascade, policy={})
    trials = [trial(0, "v_old", 0.7, cost_usd=1.0), trial(1, "v_new", 0.8, cost_usd=0.4)]
    by_variant = {
        "v_old": answered(None, *[0.7] * 10),
        "v_new": [*answered("student", *[1.0] * 5, 0.0), *answered("strong", 1.0, 1.0, 1.0, 0.0, first=6)],
    }
    variants, shown = {"v_old": plain, "v_new": cascade}, on_front(trials)
    front = front_of(study(), trials, by_variant, variants, requests_per_month=1000, front=shown)
    cheap, champion = front.points
    assert (cheap.mark, cheap.on_front, champion.mark, champion.on_front) == ("winner", True, "champion", False)
    better = replace(champion, score=0.9)
    outscored = [replace(front, points=points).is_winner_outscored for points in ([cheap, champion], [cheap, better])]
    assert outscored == [False, True]
    assert cheap.answered_in_words == "student 60% (score 0.833), strong 40% (score 0.750)"
    assert champion.answered_in_words == "strong 100% (score 0.700)"
    assert (cheap.usd_per_month, cheap.saved_usd_per_month) == (pytest.approx(40), pytest.approx(60))
    assert (cheap.saved_in_words, champion.saved_in_words) == ("60%, $60.00 of $100.00 a month", "")
    untold = front_of(study(), trials, by_variant, variants, requests_per_month=0, front=shown).points[0]
    assert (untold.usd_per_month, untold.saved_usd_per_month) == (None, None), "no traffic is not nothing saved"
    dearer = replace(cheap, saved_share=-1 / 3, usd_per_month=40.0, saved_usd_per_month=-10.0)
    assert dearer.saved_in_words == "none, 33% dearer, $10.00 more than $30.00 a month"
    assert replace(untold, saved_share=-0.001).saved_in_words == "0%"
    assert (untold.saved_in_words, untold.usd_per_1000) == ("60%", pytest.approx(40)), "a share needs no traffic"
    unpriced = unpriced_of(
        study(findings={UNPRICED: ["weak"]}), {**variants, "v_bad": replace(plain, model={"name": "weak"})}
    )
    assert unpriced == {"v_bad"}
    with_free = [*trials, trial(2, "v_bad", 0.9, cost_usd=0.0)]
    assert on_front(with_free, unpriced) == shown, "what no price is known of is not free, and beats nobody"
    assert on_front(with_free, {one.variant for one in with_free}) == {2}, "without any price the score is left"
    front = front_of(study(), trials, by_variant, variants, requests_per_month=1000, front={0, 1}, unpriced={"v_old"})
    figures = [(one.variant, one.usd_per_answer, one.usd_per_month, one.saved_usd_per_month) for one in front.points]
    assert figures == [("v_new", pytest.approx(0.04), pytest.approx(40), None), ("v_old", None, None, None)]
    assert [front.usd_of(one) for one in trials] == [None, pytest.approx(0.04)]
    unrecorded = {"v_new": answered(None, *[1.0] * 10)}
    front = front_of(study(), trials[1:], unrecorded, variants, requests_per_month=0, front=shown)
    assert front.points[0].answered_by == []
