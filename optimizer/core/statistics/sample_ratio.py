"""Do the sizes of the arms fit the shares they were given?

If not, units were lost or counted twice, and no comparison is valid.
"""

from __future__ import annotations

from math import lgamma, log

from optimizer.core.statistics.outcomes import threshold

PRIOR_STRENGTH = 100.0  # how near to the share the alternatives lie, in units
ALPHA_RATIO = 0.001
ALPHA_LABELS = 0.01


def sample_ratio_log_e(n_c: int, n_b: int, *, pi: float) -> float:
    """Log e-value against "each unit is the candidate's with probability pi", valid at every look of one stage.

    Args:
        n_c, n_b: units so far in the stage, >= 0.
        pi: the candidate's share, in (0, 1), the same through the stage.
    Returns:
        140 and 860 units at pi .1 give 6.00; an alarm at .001 needs 6.91.
    Source:
        Lindon and Malek (2022), NeurIPS 35 (anytime-valid multinomial tests); Beta prior centred on pi.
    """
    if not 0 < pi < 1 or n_c < 0 or n_b < 0:
        raise ValueError(f"a sample ratio needs counts from 0 and a share in (0, 1), got {n_c}, {n_b} and {pi}")
    a, b = PRIOR_STRENGTH * pi, PRIOR_STRENGTH * (1 - pi)
    return _log_beta(a + n_c, b + n_b) - _log_beta(a, b) - n_c * log(pi) - n_b * log(1 - pi)


def label_rates_differ(labelled_c: int, labelled_b: int, *, units_c: int, units_b: int) -> bool:
    """Do the arms' matured units give feedback at different rates?

    Then the next step waits. Where few users of one kind stay silent, this does not show.
    """
    if not units_c or not units_b:
        return False
    return sample_ratio_log_e(labelled_c, labelled_b, pi=units_c / (units_c + units_b)) >= threshold(ALPHA_LABELS)


def is_silent(reports_c: int, reports_b: int, *, fetches_c: int, fetches_b: int, window: int = 1) -> bool:
    """Does the candidate report less than half as often per fetch as the champion, beyond chance?

    It may crash the application. A fetch counts for one report at most: one session may send twenty, and those are not
    twenty independent signs of life.

    Args:
        window: which look of its stage this is, from 1 on; look k may err at .001 / (k (k + 1)), all of a stage
            together at .001.
    """
    reports_c, reports_b = min(reports_c, fetches_c), min(reports_b, fetches_b)
    if not fetches_c or not fetches_b or reports_c / fetches_c >= reports_b / fetches_b / 2:
        return False
    return sample_ratio_log_e(reports_c, reports_b, pi=fetches_c / (fetches_c + fetches_b)) >= threshold(
        ALPHA_RATIO / (window * (window + 1))
    )


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
