"""The intervals of ppi-python and of cje-eval on the draws on which ours is measured."""

from __future__ import annotations

import logging
import warnings

import numpy as np

logging.getLogger("cje").setLevel(logging.ERROR)


def ppi_python(scores: np.ndarray, ratings: np.ndarray) -> tuple[float, float]:
    """PPI++ with its own choice of lambda; the rated answers apart from the others, as it wants them."""
    from ppi_py import ppi_mean_ci

    n = len(ratings)
    low, high = ppi_mean_ci(ratings, scores[:n], scores[n:], alpha=0.05)
    return float(np.ravel(low)[0]), float(np.ravel(high)[0])


def cje_eval(scores: np.ndarray, ratings: np.ndarray) -> tuple[float, float]:
    """The calibrated mean with its default, cluster-robust interval."""
    from cje import calibrated_mean_ci

    labels = np.full(len(scores), np.nan)
    labels[: len(ratings)] = ratings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return calibrated_mean_ci(scores, labels).ci
