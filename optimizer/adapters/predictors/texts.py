"""Texts labelled and grouped by their words and pairs of words, without a model: TF-IDF with logistic regression, and
with average linkage, of scikit-learn, which is loaded when it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optimizer.core.views.dialogs import TextGroup

# inverse of the L2 penalty, fixed beforehand: vectors of length 1 from a few dozen examples need little holding back
STRENGTH = 10.0
APART = 0.8  # mean cosine distance from which two groups are not one
N_WORDS = 4  # that name a group


def classify(texts: Sequence[str], labels: Sequence[str], inputs: Sequence[str]) -> list[str]:
    """A label for each of ``inputs``, learned from ``texts`` and their ``labels``, of which at least two differ.

    The same input gives the same answer.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(_words(), LogisticRegression(C=STRENGTH, max_iter=1000, random_state=0))
    return [str(label) for label in model.fit(list(texts), list(labels)).predict(list(inputs))]


def group_texts(texts: Sequence[str]) -> list[TextGroup]:
    """Groups of two or more. Same texts, same groups.

    Source: average linkage after Sokal and Michener (1958), on cosine distances, with words and pairs of words.
    """
    if len(texts) < 2:
        return [TextGroup(members=(0,), words=tuple(texts[0].split()[:N_WORDS]))] if texts else []
    import numpy as np
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    words = _words()
    try:
        vectors = words.fit_transform(list(texts))
    except ValueError:  # not one word in all of them
        return []
    distances = np.clip(1.0 - (vectors @ vectors.T).toarray(), 0.0, None)
    linkage = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=APART
    )
    labels = linkage.fit(distances).labels_
    names = words.get_feature_names_out()
    groups = []
    for label in range(int(labels.max()) + 1):
        places = np.flatnonzero(labels == label)
        mean = np.asarray(vectors[places].mean(axis=0)).ravel()
        nearest = places[np.argsort(-(vectors[places] @ mean), kind="stable")]
        leading = [
            str(names[at])
            for at in np.argsort(-mean, kind="stable")[: 10 * N_WORDS]
            if mean[at] > 0 and not set(str(names[at]).split()) <= ENGLISH_STOP_WORDS
        ]
        groups.append(TextGroup(members=tuple(map(int, nearest)), words=tuple(leading[:N_WORDS])))
    return groups


def _words() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True)
