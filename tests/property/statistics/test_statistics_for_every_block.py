"""What holds for every bet, every block and every rollout's standing."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import reduce
from math import exp, sqrt

import pytest
from hypothesis import assume, given, strategies as st

from optimizer.core.rollout.evidence_state import EvidenceState, StoredEvidence, as_text, from_text
from optimizer.core.statistics.guardrails import Guardrail
from optimizer.core.statistics.interval import running_intervals
from optimizer.core.statistics.outcomes import (
    Bet,
    Block,
    Outcomes,
    bernoulli_bet,
    bounded_bet,
    clip_rate,
    ratio_bet,
    threshold,
)
from optimizer.core.statistics.quality_gate import (
    ALPHA_ROLL,
    ALPHA_ROLL_DAYS,
    ALPHA_ROLL_HOURS,
    QualityGate,
    margin_needed,
)
from optimizer.core.statistics.stopping_rule import RolloutPosition, stopping_rule

rates = st.floats(0.001, 0.999)
shares = st.floats(0.01, 0.99)
boundaries = st.floats(-0.5, 0.5)
variances = st.floats(0.0004, 0.25)
sizes = st.integers(1, 200)
LADDER = (0.10, 0.25, 0.50, 0.75)
RUNS = pytest.mark.parametrize("runs", [400, pytest.param(3000, marks=pytest.mark.long)])


@st.composite
def arms(draw: st.DrawFn) -> Outcomes:
    return Outcomes.of(draw(st.lists(st.sampled_from([0.0, 0.25, 0.6, 1.0]) | st.floats(0, 1), max_size=12)))


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    return Block(stage=draw(st.integers(0, 1)), candidate=draw(arms()), champion=draw(arms()))


@st.composite
def bets(draw: st.DrawFn) -> tuple[Bet, float, float, float]:
    """A bet of any kind with its ratio k, boundary d0 (null: mean_c - k mean_b on one side of d0) and share w."""
    theta_b, theta_c, w = draw(rates), draw(rates), draw(shares)
    kind = draw(st.sampled_from(["bernoulli", "bounded", "ratio"]))
    if kind == "ratio":
        k = draw(st.floats(1.0, 3.0))
        q = draw(st.floats(1.01, 5.0)) * k
        assume(q * theta_b < 0.999)
        return ratio_bet(mu_b=theta_b, q=q, k=k, w=w, var_c=draw(variances), var_b=draw(variances)), k, 0.0, w
    d0 = draw(boundaries)
    if kind == "bernoulli":
        return bernoulli_bet(theta_c=theta_c, theta_b=theta_b, w=w, d0=d0), 1.0, d0, w
    return (
        bounded_bet(theta_c=theta_c, theta_b=theta_b, d0=d0, w=w, var_c=draw(variances), var_b=draw(variances)),
        1.0,
        d0,
        w,
    )


@given(bets())
def test_no_outcome_makes_a_factor_zero(found):
    bet, _, _, _ = found
    for y in (0.0, 1.0):
        assert 1 + bet.a_c * (y - bet.m_c) > 0
        assert 1 + bet.a_b * (y - bet.m_b) > 0


@given(bets(), rates, st.floats(0, 1))
def test_the_mean_of_e_is_at_most_one_everywhere_on_the_nulls_side(found, q_b, slack):
    """Factors are linear in the outcome, so the mean of a block's e-value is exact,
    whatever the outcomes' distribution.
    """
    bet, k, d0, w = found
    line = k * q_b + d0
    upper_null = bet.a_c >= 0  # a bet on more is a bet against "at most"
    q_c = line - slack if upper_null else line + slack
    assume(0 <= q_c <= 1)
    per_outcome = (1 + bet.a_c * (q_c - bet.m_c)) ** w * (1 + bet.a_b * (q_b - bet.m_b)) ** (1 - w)
    assert per_outcome <= 1 + 1e-9


@given(arms(), arms(), arms())
def test_merging_outcomes_asks_for_no_order(a, b, c):
    assert (a + b) + c == a + (b + c) == (c + a) + b


def after_all(gate, blocks):
    return reduce(lambda so_far, each: so_far.after(each), blocks, gate)


@given(st.lists(blocks(), max_size=8), st.sampled_from(["binary", "score"]))
def test_replaying_the_blocks_gives_the_same_gate(found, kind):
    start = QualityGate.start(margin=0.05, champion_mean=0.7, kind=kind)
    stepwise = start
    for i, block in enumerate(found):
        before, stepwise = stepwise, stepwise.after(block)
        assert stepwise == after_all(start, found[: i + 1])
        assert all(stepwise.peaks[name] >= before.peaks[name] for name in before.peaks)  # latched


@given(st.lists(blocks(), max_size=6), st.lists(blocks(), max_size=3), st.sampled_from(["binary", "score"]))
def test_a_gate_put_away_and_taken_up_again_goes_on_as_if_nothing_had_happened(first, later, kind):
    gate = after_all(QualityGate.start(margin=0.05, champion_mean=0.7, kind=kind), first)
    guardrail = after_all(Guardrail.start("cost", champion_mean=0.1, champion_variance=0.02), first)
    stored = from_text(as_text(StoredEvidence(state=EvidenceState(quality=gate, guardrails={"cost": guardrail})))).state
    assert after_all(stored.quality, later) == after_all(gate, later)
    assert after_all(stored.guardrails["cost"], later) == after_all(guardrail, later)


@given(st.lists(blocks(), max_size=8), st.sampled_from(["errors", "latency", "cost"]), st.floats(0, 1))
def test_a_guardrails_evidence_is_always_a_number_and_its_peak_never_falls(found, kind, mean):
    guardrail = Guardrail.start(kind, champion_mean=mean)
    for block in found:
        before, guardrail = guardrail, guardrail.after(block)
        assert guardrail.evidence.log_e == guardrail.evidence.log_e
        assert guardrail.evidence.peak >= before.evidence.peak


@given(st.integers(1, 30), st.integers(1, 30), st.data(), rates, st.floats(0.005, 0.3))
def test_one_more_success_of_the_candidate_never_speaks_for_rolling_it_back(n_c, n_b, data, mean, margin):
    s_c, s_b = data.draw(st.integers(0, n_c - 1)), data.draw(st.integers(0, n_b))
    start = QualityGate.start(margin=margin, champion_mean=clip_rate(mean), min_block=1)
    fewer, more = (
        start.after(Block(stage=0, candidate=Outcomes.binary(n_c, s), champion=Outcomes.binary(n_b, s_b)))
        for s in (s_c, s_c + 1)
    )
    assert more.of("roll").log_e <= fewer.of("roll").log_e + 1e-9
    for name in ("ship3", "ship2", "ship1", "sup"):
        assert more.of(name).log_e >= fewer.of(name).log_e - 1e-9


@st.composite
def moving_rollouts(draw: st.DrawFn) -> list[Block]:
    """Successes of up to three stages, whose shares and differences may be others in every block; sizes from blocks
    that the gate holds back to ones that decide alone.
    """
    drawn = []
    for stage in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(1, 6))):
            n_c, n_b = draw(st.integers(0, 3) | st.integers(0, 300)), draw(st.integers(0, 3) | st.integers(0, 300))
            s_c, s_b = (round(draw(st.floats(0, 1)) * n) for n in (n_c, n_b))
            drawn.append(Block(stage=stage, candidate=Outcomes.binary(n_c, s_c), champion=Outcomes.binary(n_b, s_b)))
    return drawn


@given(moving_rollouts() | st.lists(blocks(), max_size=8), st.sampled_from(["binary", "score"]), rates)
def test_the_estimate_lies_within_its_interval_whatever_shares_and_differences_do(found, kind, mean):
    start = QualityGate.start(margin=0.05, champion_mean=mean, kind=kind)
    running = running_intervals(start, tuple(found))
    for one in running:
        assert -1 <= one.interval.lower <= one.estimate + 1e-9
        assert one.estimate - 1e-9 <= one.interval.upper <= 1
    gate = after_all(start, found)
    assert len(running) == gate.n_blocks
    assert [one.labelled for one in running[-1:]] == [gate.labelled] * bool(running)


@RUNS
@pytest.mark.parametrize(
    "difference", [0.123, *(pytest.param(difference, marks=pytest.mark.long) for difference in (-0.1, 0.0))]
)
def test_the_interval_holds_a_difference_that_stays_at_every_look(runs: int, difference: float) -> None:
    """Seeded: shares that grow by the ladder and a base that swings; at most .08 of the rollouts may miss it ever."""
    rng, missed = random.Random(14), 0
    runs //= 16
    for _ in range(runs):
        drawn = []
        for i in range(40):
            share, base = LADDER[i // 10], 0.7 + 0.1 * (i % 8 < 4)
            n_c = min(39, max(1, sum(rng.random() < share for _ in range(40))))
            s_c, s_b = (
                sum(rng.random() < p for _ in range(n)) for n, p in ((n_c, base + difference), (40 - n_c, base))
            )
            drawn.append(
                Block(stage=i // 10, candidate=Outcomes.binary(n_c, s_c), champion=Outcomes.binary(40 - n_c, s_b))
            )
        running = running_intervals(QualityGate.start(margin=0.05, champion_mean=0.75), tuple(drawn))
        missed += any(not one.interval.lower <= difference <= one.interval.upper for one in running)
        assert running[-1].interval.upper - running[-1].interval.lower < 0.4
    assert missed / runs <= 0.08 + 2 * sqrt(0.08 * 0.92 / runs)


peaks = st.fixed_dictionaries({name: st.floats(0, 8) for name in ("ship3", "ship2", "ship1", "roll")})
standings = st.builds(
    RolloutPosition,
    ladder=st.just(LADDER),
    stage=st.integers(0, 3),
    peaks=peaks,
    labelled_in_stage=st.integers(0, 400),
    **dict.fromkeys(("dwell_over", "min_duration_over", "held", "sample_ratio_alarm"), st.booleans()),
    guardrail_alarm=st.none() | st.just("errors"),
    budget_spent=st.none() | st.just("labels"),
    waits_for=st.sampled_from(((), ("an alert is open",))),
)


passed = st.builds(
    RolloutPosition,
    ladder=st.just(LADDER),
    stage=st.integers(0, 3),
    peaks=st.fixed_dictionaries(
        {**{name: st.floats(3.1, 8) for name in ("ship3", "ship2", "ship1")}, "roll": st.floats(0, 3.3)}
    ),
    labelled_in_stage=st.integers(200, 400),
    **dict.fromkeys(("dwell_over", "min_duration_over"), st.just(True)),
    **dict.fromkeys(("held", "sample_ratio_alarm"), st.just(False)),
    guardrail_alarm=st.none(),
    budget_spent=st.none() | st.just("labels"),
)
ONE_GATE_MISSING = (
    lambda s, value: {"peaks": {**s.peaks, f"ship{margin_needed(LADDER[s.stage], is_last=s.stage == 3)}": 2.9 * value}},
    lambda s, value: {"labelled_in_stage": int(199 * value)},
    lambda s, value: {"dwell_over": False},
    lambda s, value: {"min_duration_over": False, "stage": 3},
    lambda s, value: {"held": True},
    lambda s, value: {"waits_for": ("an alert is open",)},
    lambda s, value: {"sample_ratio_alarm": True},
    lambda s, value: {"guardrail_alarm": "errors"},
    lambda s, value: {"peaks": {**s.peaks, "roll": 3.6 + value}},
)


@given(passed, st.sampled_from(ONE_GATE_MISSING), st.floats(0, 1))
def test_one_gate_that_has_not_passed_keeps_the_exposure(standing, missing, value):
    assert stopping_rule(standing).action in ("advance", "promote")
    assert stopping_rule(replace(standing, **missing(standing, value))).action not in ("advance", "promote")


@given(standings)
def test_what_hurts_users_always_ends_the_exposure(standing):
    hurts = standing.sample_ratio_alarm or standing.guardrail_alarm or standing.peaks["roll"] >= threshold(ALPHA_ROLL)
    if hurts or standing.budget_spent:
        assert stopping_rule(standing).action != "wait"
    if hurts:
        assert stopping_rule(standing).action in ("invalid", "roll_back")


@RUNS
def test_the_mean_of_e_under_the_null_is_at_most_one_within_its_error(runs):
    """Seeded: shares that change, a base rate that drifts, scores and successes; all hypotheses at their boundary."""
    rng = random.Random(11)
    names = {"roll": 0.0, "ship1": -0.05, "ship3": -0.15}
    for name, gap in names.items():
        values = []
        for _ in range(runs):
            gate = QualityGate.start(margin=0.05, champion_mean=0.8)
            for i, n_c in enumerate((4, 4, 10, 20, 20)):
                base = 0.8 - 0.02 * i
                drawn = [sum(rng.random() < p for _ in range(n)) for n, p in ((n_c, base + gap), (40 - n_c, base))]
                gate = gate.after(
                    Block(
                        stage=0, candidate=Outcomes.binary(n_c, drawn[0]), champion=Outcomes.binary(40 - n_c, drawn[1])
                    )
                )
            values.append(exp(gate.of(name).log_e))
        mean = sum(values) / runs
        error = sqrt(sum((v - mean) ** 2 for v in values) / (runs - 1) / runs)
        assert mean <= 1 + 3 * error
        assert mean > 0.5  # an e-value of almost nothing would be valid and useless


@RUNS
@pytest.mark.parametrize("kind", ["errors", "latency", "cost"])
def test_a_guardrails_mean_e_is_at_most_one_where_the_candidate_is_as_much_worse_as_it_may_be(kind, runs):
    """Seeded: eight blocks of ten seconds at a canary's share, some without a candidate,
    and a champion that gets worse on its way.
    """
    rng, values = random.Random(13), []
    for _ in range(runs):
        guardrail = Guardrail.start(
            kind, champion_mean={"errors": 0.03, "latency": 0.05, "cost": 0.3}[kind], champion_variance=0.03
        )
        for i in range(8):
            base = 1.0 + 0.5 * (i > 4)
            n_c, n_b = rng.choice([0, 1, 1, 2, 4]), rng.choice([5, 9, 12])
            if kind == "cost":  # uniform: means of .2 and, allowed, .22
                drawn = [
                    [rng.uniform(0, 0.4 * base * ratio) for _ in range(n)] for n, ratio in ((n_c, 1.1), (n_b, 1.0))
                ]
            else:
                rate, margin = (0.03, 0.01) if kind == "errors" else (0.05, 0.025)
                drawn = [
                    [float(rng.random() < p) for _ in range(n)]
                    for n, p in ((n_c, rate * base + margin), (n_b, rate * base))
                ]
            guardrail = guardrail.after(Block(stage=0, candidate=Outcomes.of(drawn[0]), champion=Outcomes.of(drawn[1])))
        values.append(exp(guardrail.evidence.log_e))
    mean = sum(values) / runs
    error = sqrt(sum((v - mean) ** 2 for v in values) / (runs - 1) / runs)
    assert 0.3 < mean <= 1 + 3 * error


def test_gates_and_guardrails_share_the_risk_of_rolling_back_an_equal_candidate():
    guardrails = sum(Guardrail.start(kind, champion_mean=0.1).alpha for kind in ("errors", "latency", "cost"))
    assert guardrails + ALPHA_ROLL <= 0.05 + 1e-12
    assert ALPHA_ROLL_DAYS + ALPHA_ROLL_HOURS <= ALPHA_ROLL + 1e-12
