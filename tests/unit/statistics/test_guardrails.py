"""What alarms beside the gate: guardrails, failures in a row, arms of the wrong size, a champion that drifts."""

from __future__ import annotations

from math import exp, log, prod

import pytest

from optimizer.core.rollout.drift import DriftDetector, reference_mean
from optimizer.core.statistics.guardrails import FailureRun, Guardrail
from optimizer.core.statistics.outcomes import RATE_FLOOR, Sums
from optimizer.core.statistics.sample_ratio import is_silent, label_rates_differ, sample_ratio_log_e
from tests.unit.statistics.blocks import after_all, block, scores


class TestGuardrails:
    calm = Guardrail.start("errors", champion_mean=0.01)

    def test_errors_of_the_candidate_alone_alarm(self):
        assert after_all(self.calm, [block(2, 1, 18, 0)] * 8).alarmed
        assert not after_all(self.calm, [block(2, 0, 18, 0)] * 500).alarmed

    def test_an_outage_of_both_arms_does_not_alarm(self):
        assert not after_all(self.calm, [block(4, 2, 36, 18)] * 200).alarmed

    def test_tokens_of_an_earlier_stage_do_not_break_up_what_is_carried(self):
        sparse = [block(1, 1, 0, 0, stage=1), block(0, 0, 3, 0, stage=1)]
        stragglers = [sparse[0], block(0, 0, 1, 0), sparse[1], block(0, 0, 1, 0)]
        alone = after_all(self.calm, sparse * 20)
        beside = after_all(self.calm, [block(0, 0, 1, 0, stage=1), *stragglers * 20])
        assert alone.alarmed
        assert beside.alarmed
        assert beside.n_candidate == alone.n_candidate == 20
        late = self.calm.after(sparse[0]).after(block(1, 0, 3, 0))
        assert (late.n_candidate, late.n_blocks) == (1, 1), "an earlier stage's own comparison counts"

    def test_latency_may_be_worse_by_its_margin(self):
        calm = Guardrail.start("latency", champion_mean=0.05)
        assert not after_all(calm, [block(20, 1, 180, 9)] * 50).alarmed
        assert after_all(calm, [block(20, 6, 180, 9)] * 20).alarmed

    def test_cost_is_compared_as_a_ratio(self):
        calm = Guardrail.start("cost", champion_mean=0.1, champion_variance=0.005)
        dear, fair = scores([0.2, 0.25, 0.15], [0.1] * 9), scores([0.11, 0.1, 0.12], [0.1] * 9)
        assert after_all(calm, [dear] * 40).alarmed
        assert not after_all(calm, [fair] * 40).alarmed

    def test_a_cost_ratio_approved_with_the_nomination_is_no_alarm(self):
        dear = scores([0.15, 0.16, 0.14], [0.1] * 9)
        usual = Guardrail.start("cost", champion_mean=0.1, champion_variance=0.005)
        approved = Guardrail.start("cost", champion_mean=0.1, champion_variance=0.005, margin=1.65)
        assert after_all(usual, [dear] * 150).alarmed
        assert not after_all(approved, [dear] * 150).alarmed

    def test_where_the_cap_leaves_no_room_for_a_dearer_candidate_nothing_is_staked(self):
        full = after_all(Guardrail.start("cost", champion_mean=0.95), [scores([1.0, 1.0], [0.9] * 8)] * 5)
        assert full.evidence.log_e == pytest.approx(0.0)

    def test_an_alarm_stays(self):
        alarmed = after_all(self.calm, [block(4, 4, 36, 0)] * 4)
        assert after_all(alarmed, [block(4, 0, 36, 2)] * 300).alarmed

    def test_a_block_without_the_candidate_waits(self):
        assert self.calm.after(block(0, 0, 9, 1)).after(block(1, 1, 9, 0)) == self.calm.after(block(1, 1, 18, 1))


class TestHardStop:
    def run(self, units: list[str], champion_failures: int, *, meanwhile: int = 1) -> FailureRun:
        """A champion that worked, ``meanwhile`` its requests before each of the candidate's,
        and how many of its next ten failed.
        """
        found = FailureRun(champion=(False,) * 10)
        for unit in units:
            for _ in range(meanwhile):
                found = found.after_champion([False])
            found = found.after_candidate(unit, failed=True)
        for i in range(10 if champion_failures else 0):
            found = found.after_champion([i < champion_failures])
        return found.after_candidate("z", failed=True) if champion_failures else found

    def test_ten_failures_of_three_units_in_a_row_stop(self):
        assert self.run(["a", "b", "c", "a"] * 2 + ["a", "b"], 4).finding == "failing"

    def test_nine_do_not_and_one_success_starts_again(self):
        assert self.run(["a", "b", "c"] * 3, 0).finding == "none"
        broken = self.run(["a", "b", "c"] * 4, 0).after_candidate("d", failed=False)
        assert broken.finding == "none"

    def test_one_heavy_user_alone_does_not_stop(self):
        assert self.run(["a", "b"] * 5, 0).finding == "none"

    def test_a_champion_that_fails_as_well_makes_it_a_shared_incident(self):
        assert self.run(["a", "b", "c", "d", "e"] * 2, 5).finding == "shared_incident"

    def test_of_a_champion_with_little_traffic_the_few_requests_during_the_run_count(self):
        """At a share of 75 % the champion answers three times while the candidate fails ten times."""
        found = FailureRun(champion=(False,) * 10)
        for i, unit in enumerate(["a", "b", "c", "d", "e"] * 2):
            found = found.after_champion([True]) if i in (3, 6, 9) else found
            found = found.after_candidate(unit, failed=True)
        assert found.finding == "shared_incident"

    def test_when_an_incident_ends_the_champion_recovers_first_and_the_candidate_is_not_blamed(self):
        found = self.run(["a", "b", "c", "d", "e"] * 2, 10)
        assert found.finding == "shared_incident"
        for _ in range(20):
            found = found.after_champion([False])
        assert found.finding == "shared_incident"
        assert found.after_candidate("a", failed=False).finding == "none"

    def test_of_a_champion_that_was_not_asked_meanwhile_nobody_knows_whether_it_works(self):
        units = ["a", "b", "c", "d", "e"] * 2
        assert self.run(units, 0, meanwhile=0).finding == "alone"
        assert (
            self.run(units, 0, meanwhile=0).after_champion([False]).after_candidate("a", failed=True).finding
            == "failing"
        )
        outage = self.run(units, 0, meanwhile=0).after_champion([True]).after_candidate("a", failed=True)
        assert outage.finding == "shared_incident"
        for unit in units:
            outage = outage.after_candidate(unit, failed=True)
        assert outage.finding == "shared_incident", "until one of the two works again"

    def test_a_candidate_that_goes_on_failing_after_the_incident_is_stopped(self):
        found = self.run(["a", "b", "c", "d", "e"] * 2, 10)
        for unit in ["a", "b", "c"] * 4:
            for _ in range(9):
                found = found.after_champion([False])
            found = found.after_candidate(unit, failed=True)
        assert found.finding == "failing"


class TestSampleRatio:
    def test_it_is_the_beta_mixture_of_likelihood_ratios(self):
        def slow(n_c: int, n_b: int, pi: float, strength: float) -> float:
            steps, a, b = 20000, strength * pi, strength * (1 - pi)
            points = [(i + 0.5) / steps for i in range(steps)]
            prior = [x ** (a - 1) * (1 - x) ** (b - 1) for x in points]
            lifted = sum(p * (x / pi) ** n_c * ((1 - x) / (1 - pi)) ** n_b for p, x in zip(prior, points, strict=True))
            return log(lifted / sum(prior))

        assert sample_ratio_log_e(14, 40, pi=0.25) == pytest.approx(slow(14, 40, 0.25, 100), abs=1e-4)

    def test_labels_that_come_at_the_same_rate_raise_nothing(self):
        assert not label_rates_differ(20, 180, units_c=100, units_b=900)
        assert label_rates_differ(50, 180, units_c=100, units_b=900)
        assert not label_rates_differ(0, 3, units_c=0, units_b=10)

    def test_silence_is_less_than_half_the_reports_beyond_chance(self):
        assert is_silent(5, 900, fetches_c=100, fetches_b=900)
        assert not is_silent(600, 9000, fetches_c=1000, fetches_b=9000)  # fewer, beyond chance, but more than half
        assert not is_silent(0, 9, fetches_c=1, fetches_b=9)  # too few to tell
        assert not is_silent(0, 0, fetches_c=0, fetches_b=0)

    def test_long_sessions_of_one_arm_are_no_silence_of_the_other(self):
        assert not is_silent(30, 1800, fetches_c=12, fetches_b=108)  # 2.5 reports per fetch against 16.7
        assert is_silent(1, 1800, fetches_c=30, fetches_b=270)
        assert not is_silent(
            1, 1800, fetches_c=30, fetches_b=270, window=200
        )  # all looks of a stage together may err at .001

    def test_a_share_of_zero_is_refused(self):
        with pytest.raises(ValueError, match="share"):
            sample_ratio_log_e(1, 1, pi=0.0)


class TestDrift:
    def test_it_alarms_soon_after_a_drop_and_stays_alarmed(self):
        detector = DriftDetector(reference=0.8)
        for y in [1, 1, 1, 0, 1] * 60:
            detector = detector.after(y)
        assert not detector.alarmed
        for y in [1, 0] * 100:
            detector = detector.after(y)
        assert detector.alarmed
        for _ in range(200):
            detector = detector.after(1)
        assert detector.log_value < log(detector.run_length)
        assert detector.alarmed

    def test_it_is_the_sum_over_all_starting_points(self):
        """Shiryaev-Roberts: M after n outcomes = sum over k of the likelihood ratio of outcomes k..n."""
        outcomes = [1, 0, 0.5, 0]
        detector = DriftDetector(reference=0.6, drops=(0.2,), weights=(1.0,))
        for y in outcomes:
            detector = detector.after(y)
        ratios = [y * 0.4 / 0.6 + (1 - y) * 0.6 / 0.4 for y in outcomes]
        assert exp(detector.log_value) == pytest.approx(sum(prod(ratios[k:]) for k in range(4)))

    def test_the_reference_is_cautious_and_leaves_room_for_the_weak_day(self):
        earlier = Sums(n=1000, total=800, squares=800)
        assert reference_mean(earlier) == pytest.approx(0.7833, abs=2e-4)
        assert reference_mean(earlier, weekly_dip=0.04) == pytest.approx(0.7433, abs=2e-4)

    def test_of_a_champion_that_never_succeeds_nothing_can_get_worse(self):
        detector = DriftDetector(reference=RATE_FLOOR)
        for _ in range(20_000):
            detector = detector.after(0.0)
        assert not detector.alarmed
