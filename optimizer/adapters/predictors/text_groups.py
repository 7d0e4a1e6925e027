"""Texts that are alike, grouped by the words they share: TF-IDF and average linkage of scikit-learn, which is loaded
when it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.core.views.dialogs import TextGroup

APART = 0.8  # mean cosine distance from which two groups are not one
N_WORDS = 4  # that name a group


def group_texts(texts: Sequence[str]) -> list[TextGroup]:
    """Groups of two or more. Same texts, same groups.

    Source: average linkage after Sokal and Michener (1958), on cosine distances, with words and pairs of words.
    """
    if len(texts) < 2:
        return [TextGroup(members=(0,), words=tuple(texts[0].split()[:N_WORDS]))] if texts else []
    import numpy as np
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

    words = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True)
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
