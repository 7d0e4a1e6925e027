"""Plain rules beside which the learned score is set: the default filter read from a text alone, its overall score,
length, a tuned filter, few statistics.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from learned.content_rows import POINTS, Content, kept_together, quality_of

WEIGHTS = np.array([0.25, 0.15, 0.25, 0.20, 0.15])  # length, structure, coherence, topic clarity, language: C1


def parts(rows: Sequence[Content]) -> np.ndarray:
    """The five parts of the overall score, each in [0, 1], as one may read them from a text without any model.

    length: words of 500; structure: sentences of 10; coherence: shared words of neighbouring sentences, .3 and more
    being full; topic clarity: share of the title's words in the text; language: 1 less what is typed carelessly.
    """
    table = []
    for row in rows:
        its = row.statistics
        careless = (
            its["text.small_i"]
            + its["text.shouted"]
            + its["text.doubled_punctuation"]
            + its["text.crammed_punctuation"]
        )
        table.append(
            [
                np.expm1(its["text.log_words"]) / 500,
                np.expm1(its["text.log_sentences"]) / 10,
                its["text.sentence_overlap"] / 0.3,
                its["title.covered"],
                1 - 5 * careless,
            ]
        )
    return np.clip(np.array(table), 0, 1)


def overall(rows: Sequence[Content]) -> np.ndarray:
    return parts(rows) @ WEIGHTS


def default_filter(rows: Sequence[Content]) -> np.ndarray:
    """Whether each passes 3 of the 4 checks: words >= 500, sentences >= 10, coherence >= .6, overall >= .65."""
    each = parts(rows)
    words = np.array([np.expm1(row.statistics["text.log_words"]) for row in rows])
    sentences = np.array([np.expm1(row.statistics["text.log_sentences"]) for row in rows])
    return ((words >= 500).astype(int) + (sentences >= 10) + (each[:, 2] >= 0.6) + (each @ WEIGHTS >= 0.65)) >= 3


def length(rows: Sequence[Content]) -> np.ndarray:
    return np.array([row.statistics["text.log_words"] for row in rows])


def tuned_weights(rows: Sequence[Content]) -> np.ndarray:
    """Of 400 random weightings of the five parts the one whose mean quality over the points is best on these rows."""
    table = parts(rows)
    tried = np.random.default_rng(5).dirichlet(np.ones(5), size=400)
    gained = [
        np.mean([quality_of(rows, kept_together(table @ weights, saved)) for saved in POINTS]) for weights in tried
    ]
    return tried[int(np.argmax(gained))]
