"""What holds for every pair of score lists."""

from __future__ import annotations

from hypothesis import given, strategies as st

from optimizer.core.evaluation.comparison import compare_scores, mcnemar_p, sign_flip_p
from optimizer.core.evaluation.gates import ConfirmationEvidence, GateSettings, confidence_of, evaluate_gates

scores = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=25)


@given(scores)
def test_p_lies_in_zero_to_one_and_the_counts_add_up(pairs):
    found = compare_scores([b for b, _ in pairs], [c for _, c in pairs], seed=1, n_draws=50)
    assert 0 < found.p <= 1
    assert found.wins + found.ties + found.losses == found.n == len(pairs)
    assert found.interval.lower <= found.interval.upper


@given(scores)
def test_a_gain_and_the_same_loss_are_never_both_significant(pairs):
    differences = [c - b for b, c in pairs]
    assert (
        sign_flip_p(differences, seed=1, n_draws=50) + sign_flip_p([-d for d in differences], seed=1, n_draws=50) >= 0.9
    )


@given(st.integers(0, 40), st.integers(0, 40))
def test_one_more_win_never_raises_mcnemars_p_and_one_more_loss_never_lowers_it(wins, losses):
    assert mcnemar_p(wins + 1, losses) <= mcnemar_p(wins, losses) + 1e-15
    assert mcnemar_p(wins, losses + 1) >= mcnemar_p(wins, losses) - 1e-15


@given(st.floats(0, 1), st.integers(1, 50))
def test_another_look_never_raises_confidence(p, looks):
    assert confidence_of(p, looks + 1) <= confidence_of(p, looks) <= 1


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.lists(st.floats(-1, 1), max_size=150))
def test_every_gate_always_has_a_verdict_and_a_sentence(champion, candidate, p, drops):
    evidence = ConfirmationEvidence(
        champion=champion, candidate=candidate, champion_quality=champion, p=p, looks=1, drops=drops
    )
    found = evaluate_gates(evidence, GateSettings())
    assert [g.name for g in found] == ["improvement", "confidence", "risk", "n"]
    assert all(g.reason for g in found)
