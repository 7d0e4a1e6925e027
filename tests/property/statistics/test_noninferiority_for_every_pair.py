"""For any paired scores: a p is a chance, does not depend on the order, and never falls when a row gets worse."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from optimizer.core.statistics.noninferiority import exact_p, gaffke_p, tango_p
from tests.examples import n_examples

COUNTS = st.integers(1, 60).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda wins: st.tuples(st.just(n), st.just(wins), st.integers(0, n - wins)))
)
MARGINS = st.sampled_from([0.01, 0.02, 0.05, 0.1, 0.3])


@settings(deadline=None, max_examples=n_examples(25))
@given(counts=COUNTS, margin=MARGINS)
def test_p_is_a_chance_and_a_loss_more_never_lowers_it(counts: tuple[int, int, int], margin: float):
    n, wins, losses = counts
    for test in (lambda *c: tango_p(*c, margin), lambda *c: exact_p(*c, margin, restricted=False)):
        p = test(n, wins, losses)
        assert 0 <= p <= 1
        if wins + losses < n:
            assert test(n, wins, losses + 1) >= p - 1e-9
    assert 0 <= exact_p(n, wins, losses, margin) <= 1


@settings(deadline=None, max_examples=n_examples(25))
@given(differences=st.lists(st.floats(-1, 1), min_size=1, max_size=60), margin=MARGINS, data=st.data())
def test_gaffkes_p_is_a_chance_does_not_read_the_order_and_falls_for_no_worse_row(differences, margin, data):
    p = gaffke_p(differences, margin=margin)
    assert 0 <= p <= 1
    assert abs(gaffke_p(data.draw(st.permutations(differences)), margin=margin) - p) < 1e-9
    at = data.draw(st.integers(0, len(differences) - 1))
    worse = [*differences[:at], -1.0, *differences[at + 1 :]]
    assert gaffke_p(worse, margin=margin) >= p - 1e-7
