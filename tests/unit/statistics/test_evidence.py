"""What a block is worth as evidence, against slow computations that share no code with it."""

from __future__ import annotations

from math import exp, log

import pytest

from optimizer.core.statistics.outcomes import (
    Evidence,
    Outcomes,
    PlugIn,
    Sums,
    bernoulli_bet,
    bounded_bet,
    log_e,
    log_sum_exp,
)
from optimizer.core.statistics.projection import null_projection
from tests.unit.statistics.blocks import block, scores


def slow_kl(p: float, q: float) -> float:
    return sum(a * (log(a) - log(b)) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0)


class TestNullProjection:
    @pytest.mark.parametrize(
        ("theta_c", "theta_b", "w", "d0"),
        [
            (0.8, 0.8, 0.5, -0.05),
            (0.95, 0.8, 0.1, -0.15),
            (0.02, 0.01, 0.1, -0.05),
            (0.99, 0.5, 0.9, 0.3),
            (0.1, 0.999, 0.25, 0.0),
        ],
    )
    def test_no_other_point_of_the_null_is_nearer(self, theta_c, theta_b, w, d0):
        found = null_projection(theta_c, theta_b, w=w, d0=d0)

        def distance(m_b: float) -> float:
            return w * slow_kl(theta_c, m_b + d0) + (1 - w) * slow_kl(theta_b, m_b)

        low, high = max(0.0, -d0), min(1.0, 1.0 - d0)
        for _ in range(6):  # brute force: a grid, then a finer one around the best point
            grid = [low + (high - low) * (i + 0.5) / 400 for i in range(400)]
            best = min(grid, key=distance)
            step = (high - low) / 400
            low, high = best - step, best + step
        assert found.m_b == pytest.approx(best, abs=1e-6)
        assert found.growth == pytest.approx(distance(best), abs=1e-10)
        assert found.m_c - found.m_b == pytest.approx(d0, abs=1e-12)

    def test_an_alternative_on_the_line_is_its_own_projection_and_grows_nothing(self):
        found = null_projection(0.75, 0.8, w=0.3, d0=-0.05)
        assert (found.m_c, found.m_b, found.growth) == pytest.approx((0.75, 0.8, 0.0), abs=1e-9)

    @pytest.mark.parametrize("bad", [{"w": 0.0}, {"w": 1.0}, {"theta_c": 1.0}, {"theta_b": 0.0}, {"d0": 1.0}])
    def test_rates_and_shares_at_the_edge_are_refused(self, bad):
        arguments = {"theta_c": 0.8, "theta_b": 0.8, "w": 0.5, "d0": 0.0, **bad}
        with pytest.raises(ValueError, match="lie in"):
            null_projection(arguments["theta_c"], arguments["theta_b"], w=arguments["w"], d0=arguments["d0"])


class TestBlockEvalue:
    def test_a_bernoulli_bet_is_the_likelihood_ratio_of_its_two_points(self):
        bet = bernoulli_bet(theta_c=0.85, theta_b=0.8, w=0.5, d0=-0.05)
        point = null_projection(0.85, 0.8, w=0.5, d0=-0.05)
        ratio = (
            3 * log(0.85 / point.m_c)
            + log(0.15 / (1 - point.m_c))
            + 2 * log(0.8 / point.m_b)
            + 2 * log(0.2 / (1 - point.m_b))
        )
        assert log_e(bet, block(4, 3, 4, 2)) == pytest.approx(ratio)

    def test_scores_that_only_take_the_ends_count_as_successes_do(self):
        bet = bernoulli_bet(theta_c=0.7, theta_b=0.8, w=0.5, d0=0.0)
        assert log_e(bet, scores([0, 1, 1], [1, 1, 0])) == pytest.approx(log_e(bet, block(3, 2, 3, 2)))

    def test_low_variance_scores_gain_more_from_the_bet_that_knows_their_variance(self):
        found = scores([0.80, 0.75, 0.85, 0.78, 0.82] * 4, [0.80, 0.78, 0.82, 0.75, 0.85] * 4)
        aware = bounded_bet(theta_c=0.8, theta_b=0.8, d0=-0.05, w=0.5, var_c=0.0025, var_b=0.0025)
        blind = bernoulli_bet(theta_c=0.8, theta_b=0.8, w=0.5, d0=-0.05)
        assert log_e(aware, found) > 3 * log_e(blind, found) > 0

    def test_where_the_nulls_line_leaves_the_square_nothing_is_staked(self):
        bet = bounded_bet(theta_c=0.001, theta_b=0.01, d0=-0.15, w=0.5, var_c=0.01, var_b=0.01)
        assert log_e(bet, scores([0.0, 1.0], [0.5])) == 0.0


class TestOutcomes:
    def test_sums_of_parts_are_the_sums_of_the_whole(self):
        whole = Outcomes.of([0.1, 0.4, 0.4, 1.0])
        parts = Outcomes.of([0.4, 1.0]) + Outcomes.of([0.1, 0.4])
        assert parts == whole
        assert parts.sums == Sums(n=4, total=pytest.approx(1.9), squares=pytest.approx(1.33))

    @pytest.mark.parametrize("bad", [[1.2], [-0.1], [float("nan")]])
    def test_an_outcome_outside_zero_to_one_is_refused(self, bad):
        with pytest.raises(ValueError, match="lie in"):
            Outcomes.of(bad)

    def test_more_successes_than_outcomes_are_refused(self):
        with pytest.raises(ValueError, match="between 0"):
            Outcomes.binary(3, 4)

    def test_blocks_of_two_stages_are_never_merged(self):
        with pytest.raises(ValueError, match="never merged"):
            _ = block(1, 1, 1, 1, stage=0) + block(1, 1, 1, 1, stage=1)


class TestPlugIn:
    def test_after_one_half_life_earlier_outcomes_count_half(self):
        known = (
            PlugIn(prior_mean=0.5, prior_n=0.0001, half_life=100)
            .after(Outcomes.binary(100, 100))
            .after(Outcomes.binary(100, 0))
        )
        assert known.mean == pytest.approx(50 / 150, abs=1e-5)

    def test_variance_is_that_of_the_outcomes_and_never_zero(self):
        known = PlugIn(prior_mean=0.7, prior_n=0.0001, half_life=None)
        assert known.after(Outcomes.of([0.6, 0.8] * 500)).variance == pytest.approx(0.01, abs=1e-4)
        assert known.after(Outcomes.of([0.7] * 500)).variance == 0.02**2

    def test_a_mean_stays_away_from_the_ends(self):
        assert PlugIn(prior_mean=0.0).mean == 0.001
        assert PlugIn(prior_mean=1.0).after(Outcomes.binary(100, 100)).mean == 0.999


class TestMixture:
    def test_the_mixture_is_the_weighted_sum_of_products(self):
        evidence = Evidence.none((0.6, 0.4)).after((0.5, -1.0)).after((0.25, 2.0))
        assert exp(evidence.log_e) == pytest.approx(0.6 * exp(0.75) + 0.4 * exp(1.0))

    def test_the_peak_is_kept_when_the_evidence_falls_again(self):
        evidence = Evidence.none((1.0,)).after((3.0,)).after((-5.0,))
        assert (evidence.log_e, evidence.peak) == (-2.0, 3.0)

    def test_large_exponents_do_not_overflow(self):
        assert log_sum_exp([2000.0, 2000.0]) == pytest.approx(2000 + log(2))
