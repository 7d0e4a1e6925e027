"""Rules that ask where a model of the scores says: Thompson sampling on paired differences,
and a Rasch model on scattered cells.
"""

from __future__ import annotations

import numpy as np

from fixed_pool.pools import Array

FIRST, LEAST_STEP, STEPS = (
    4,
    4,
    30,
)  # examples met by all at first; examples of a step, of which a variant makes at most so many
PRIOR_COUNT = 4.0  # differences' worth of belief in a variance of .25
RIDGE = 1.0  # precision of variants' and examples' effects on the logit scale
ROUNDS = 12


def thompson(scores: Array, calls: int) -> Array:
    """Of each the difference to the leader on the examples that both have met: normal,
    drawn from; the highest draw goes on.

    Where the leader itself is drawn highest, the second highest goes on every other time (top-two: Russo 2020,
    Operations Research 68(6), 1625-1647). The choice is the highest mean difference of those that have met at least as
    many examples as the average variant.
    """
    return np.array([_thompson(one, calls, np.random.default_rng(number)) for number, one in enumerate(scores)])


def _thompson(scores: Array, calls: int, rng: np.random.Generator) -> int:
    n_variants, n_examples = scores.shape
    step = max(LEAST_STEP, n_examples // STEPS)
    met = np.full(n_variants, max(1, min(FIRST, n_examples, calls // n_variants)))
    spent, leader = int(met.sum()), int(scores[:, : met[0]].sum(axis=1).argmax())
    columns = np.arange(n_examples)
    while True:
        mean, error = _behind(scores, columns < np.minimum(met, met[leader])[:, None], leader)
        goes_on = _drawn(rng, mean, error, leader, met < n_examples)
        leader = int(np.where(met >= met.mean(), mean, -np.inf).argmax())
        if goes_on is None or spent >= calls:
            return leader
        upto = min(n_examples, int(met[goes_on]) + min(step, calls - spent))
        spent += upto - int(met[goes_on])
        met[goes_on] = upto


def _behind(scores: Array, common: Array, leader: int) -> tuple[Array, Array]:
    """(mean, standard error) of each variant's difference to the leader."""
    n = common.sum(axis=1)
    differences = (scores - scores[leader]) * common
    mean = differences.sum(axis=1) / n
    squares = (differences**2).sum(axis=1) - n * mean**2
    error = np.sqrt((squares + 0.25 * PRIOR_COUNT) / (n + PRIOR_COUNT) / n)
    error[leader] = 0.0
    return mean, error


def _drawn(rng: np.random.Generator, mean: Array, error: Array, leader: int, is_open: Array) -> int | None:
    """Who goes on. One that has met every example lets the next draw go on."""
    if not is_open.any():
        return None
    drawn = rng.normal(mean, error)
    order = np.argsort(-drawn)
    first = int(order[0]) if order[0] != leader or rng.random() < 0.5 else int(order[1] if len(order) > 1 else order[0])
    return first if is_open[first] else int(next(v for v in order if is_open[v]))


def rasch(scores: Array, calls: int) -> Array:
    """Equally many cells of every variant, scattered evenly over the examples;
    what was not asked is told by a Rasch model.

    After PromptEval (Maia Polo et al. 2024, NeurIPS 37), its model without covariates: logit of the expected score =
    effect of the variant + effect of the example, both drawn towards 0; fitted by Newton steps by turns.
    """
    n_draws, n_variants, n_examples = scores.shape
    m = max(1, min(n_examples, calls // n_variants))
    is_asked = np.zeros((n_variants, n_examples), bool)
    for v in range(n_variants):
        is_asked[v, (v * m + np.arange(m)) % n_examples] = True
    known = np.where(is_asked, scores, 0.0)
    variant, example = np.zeros((n_draws, n_variants, 1)), np.zeros((n_draws, 1, n_examples))
    for _ in range(ROUNDS):
        for effect, axis in ((variant, 2), (example, 1)):
            expected = is_asked / (1 + np.exp(-(variant + example)))
            slope = (known - expected).sum(axis=axis, keepdims=True) - RIDGE * effect
            curve = (expected * (1 - expected)).sum(axis=axis, keepdims=True) + RIDGE
            effect += np.clip(slope / curve, -1, 1)
    estimates = np.where(is_asked, scores, 1 / (1 + np.exp(-(variant + example))))
    best: Array = estimates.mean(axis=2).argmax(axis=1)
    return best
