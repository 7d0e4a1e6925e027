"""A classifier that costs nothing: logistic regression on TF-IDF of words and pairs of words.

scikit-learn is loaded at its first use.
"""

from __future__ import annotations

from collections.abc import Sequence

# inverse of the L2 penalty, fixed beforehand: vectors of length 1 from a few dozen examples need little holding back
STRENGTH = 10.0


def classify(texts: Sequence[str], labels: Sequence[str], inputs: Sequence[str]) -> list[str]:
    """A label for each of ``inputs``, learned from ``texts`` and their ``labels``, of which at least two differ.

    The same input gives the same answer.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=STRENGTH, max_iter=1000, random_state=0))
    return [str(label) for label in model.fit(list(texts), list(labels)).predict(list(inputs))]
