"""The rules that are compared: each finds its setting on train and is judged on dev, record by record.

RouteLLM (Ong et al. 2024, arXiv:2406.18665): the strong model is asked where its predicted chance to win, P(strong wins
| query), is at least a threshold, which is set so that a given share of calibration queries goes there (half, as in the
paper's CPT(50 %)). A win is a higher score; ties count for the weak one. Predicted here by logistic regression on
TF-IDF of the query: the paper's routers are trained on 80,000 votes of people and on embeddings, of which these records
hold nothing.

FrugalGPT (Chen, Zaharia, Zou 2023, arXiv:2305.05176): a score function g(query, answer), trained to tell right answers,
and one threshold per tier, both chosen on train for the best accuracy within a budget. The budget is here the least at
which train accuracy is within a point of the strong model's. The paper's g is DistilBERT on query and answer; the
records hold no answers, so g is logistic regression on TF-IDF of the query, the recorded confidence of the answer and
its cost (its length). Scores on train are cross-fitted, which is kinder to the rule than the paper, and thresholds are
searched exactly. Left out: its prompt adaptation and completion cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from scipy.special import ndtr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from cascade_logs.tables import Logs
from optimizer.core.search.cascade.records import TierRecords
from optimizer.core.search.cascade.sweep import NEVER, LossCurve, curve, last_in_sequence

MARGIN = 0.01
PLAIN_ACCEPT = 0.95  # the default that users start from
HALF = 0.5
OURS = "confident"
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RuleOutcome:
    """Per dev record: what it cost, and the loss against the strong model. ``refused``: the strong model alone."""

    cost: Array
    loss: Array
    refused: bool = False


def judge(pair: TierRecords, threshold: float, *, before_call: bool = False) -> RuleOutcome:
    """One threshold on a pair; NEVER: the strong model alone, without asking the cheap one."""
    confident = pair.confidence[:, 0] >= threshold
    cheap, strong = pair.cost_usd[:, 0], pair.cost_usd[:, 1]
    if threshold == NEVER:
        return RuleOutcome(cost=strong, loss=np.zeros(len(pair)), refused=True)
    spent = np.where(confident, cheap, strong) if before_call else cheap + np.where(confident, 0.0, strong)
    return RuleOutcome(cost=spent, loss=np.where(confident, pair.score[:, 1] - pair.score[:, 0], 0.0))


def thresholds_of(pair: TierRecords, *, before_call: bool = False) -> dict[str, float]:
    """By each rule on the recorded confidence the threshold of least cost;
    NEVER where none is cheaper than the strong model alone.
    """
    swept = curve(pair, before_call=before_call)
    squares = _squares(pair, swept)
    allowed = {
        "expected": swept.loss,
        "plain bound": plain_upper(len(pair), swept, squares),
        "score test in sequence": np.maximum.accumulate(score_test_p(len(pair), swept, squares) - 0.1 + MARGIN),
    }
    places = {OURS: last_in_sequence(swept.upper, MARGIN)}
    for rule, held in allowed.items():
        within = np.flatnonzero(held <= MARGIN + 1e-12)
        places[rule] = int(within[swept.cost_usd[within].argmin()]) if len(within) else 0
    strong = pair.cost_usd[:, 1].mean()
    return {rule: float(swept.threshold[at]) if swept.cost_usd[at] < strong else NEVER for rule, at in places.items()}


def plain_upper(n: int, swept: LossCurve, squares: Array) -> Array:
    """What a plain implementation does: mean + 1.28 standard errors of the observed differences at each threshold,
    and then the best of them.
    """
    return swept.loss + NormalDist().inv_cdf(0.9) * np.sqrt(np.maximum(squares - swept.loss**2, 0) / n)


def score_test_p(n: int, swept: LossCurve, squares: Array) -> Array:
    """One-sided p of "the loss is a point or more" for differences of -1, 0, 1.

    Source: Tango (1998), Statistics in Medicine 17, 891-908.
    """
    lost, won = (squares + swept.loss) * n / 2, (squares - swept.loss) * n / 2
    b = -lost - won + (2 * n - lost + won) * MARGIN
    q = (-b + np.sqrt(np.maximum(b * b + 8 * n * won * MARGIN * (1 - MARGIN), 0))) / (4 * n)
    p = np.asarray(ndtr((lost - won - n * MARGIN) / np.sqrt(n * (2 * q + MARGIN * (1 - MARGIN)))))
    p[0] = 0.0
    return p


def _squares(pair: TierRecords, swept: LossCurve) -> Array:
    """Mean squared difference of the records answered by the cheap model, per threshold."""
    order = np.argsort(-pair.confidence[:, 0], kind="stable")
    summed = np.concatenate(([0.0], np.cumsum((pair.score[:, 1] - pair.score[:, 0])[order] ** 2)))
    return summed[np.rint(swept.answered_share * len(pair)).astype(int)] / len(pair)


def best_on(pair: TierRecords) -> RuleOutcome:
    """The best threshold on these very records: what nobody can know beforehand."""
    return judge(pair, thresholds_of(pair)["expected"])


def mixed(train: TierRecords, dev: TierRecords) -> RuleOutcome:
    """Random mixing: each query to the cheap model by chance, as often as the loss on train allows."""
    lost = float((train.score[:, 1] - train.score[:, 0]).mean())
    share = 1.0 if lost <= MARGIN else MARGIN / lost
    cheap, strong = dev.cost_usd[:, 0], dev.cost_usd[:, 1]
    return RuleOutcome(cost=share * cheap + (1 - share) * strong, loss=share * (dev.score[:, 1] - dev.score[:, 0]))


class TextRouters:
    """RouteLLM's and FrugalGPT's predictions for one set; TF-IDF is fitted once, on train."""

    def __init__(self, logs: Logs, n_folds: int = 5) -> None:
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True)
        self.logs = logs
        self.train, self.dev = words.fit_transform(logs.train_queries), words.transform(logs.dev_queries)
        self.folds = np.arange(len(logs.train)) % n_folds
        self._scores: dict[str, tuple[Array, Array]] = {}

    def router(self, cheap: str, strong: str) -> tuple[TierRecords, TierRecords]:
        """Train (cross-fitted) and dev with 1 - P(strong wins | query) as the cheap model's confidence."""
        train, dev = (r.chain([cheap, strong]) for r in (self.logs.train, self.logs.dev))
        wins = (train.score[:, 1] > train.score[:, 0]).astype(int)
        on_train, on_dev = self._predicted(self.train, self.dev, wins)
        return train.with_confidence(cheap, 1 - on_train), dev.with_confidence(cheap, 1 - on_dev)

    def scored(self, tiers: tuple[str, ...]) -> tuple[TierRecords, TierRecords]:
        """Train (cross-fitted) and dev with FrugalGPT's g as the confidence of every tier but the last."""
        train, dev = (r.chain(tiers) for r in (self.logs.train, self.logs.dev))
        for tier in tiers[:-1]:
            if tier not in self._scores:
                at = tiers.index(tier)
                beside = [_answer_features(r.confidence[:, at], r.cost_usd[:, at]) for r in (train, dev)]
                right = (train.score[:, at] >= 0.5).astype(int)
                self._scores[tier] = self._predicted(
                    hstack([self.train, beside[0]]).tocsr(), hstack([self.dev, beside[1]]).tocsr(), right
                )
            on_train, on_dev = self._scores[tier]
            train, dev = train.with_confidence(tier, on_train), dev.with_confidence(tier, on_dev)
        return train, dev

    def _predicted(self, train: csr_matrix, dev: csr_matrix, label: NDArray[np.int_]) -> tuple[Array, Array]:
        if len(set(label)) < 2:
            return np.full(train.shape[0], float(label[0])), np.full(dev.shape[0], float(label[0]))
        thresholds = np.empty(train.shape[0])
        for fold in range(self.folds.max() + 1):
            other = self.folds != fold
            thresholds[~other] = _fitted(train[other], label[other])(train[~other])
        return thresholds, _fitted(train, label)(dev)


def _fitted(features: csr_matrix, label: NDArray[np.int_]) -> Callable[[csr_matrix], Array]:
    if len(set(label)) < 2:
        return lambda x: np.full(x.shape[0], float(label[0]))
    model = LogisticRegression(C=1.0, solver="liblinear").fit(features, label)
    return lambda x: np.asarray(model.predict_proba(x)[:, 1])


def _answer_features(confidence: Array, cost: Array) -> csr_matrix:
    known = np.nan_to_num(confidence, nan=0.0)
    unsure = -np.log(np.clip(1 - known, 1e-9, 1)) / 10
    return csr_matrix(np.column_stack([known, unsure, np.isnan(confidence), np.log(cost / cost.mean() + 1e-9) / 5]))


def judged_by_rule(train: TierRecords, dev: TierRecords, learned: TextRouters) -> Mapping[str, RuleOutcome]:
    """Every rule on one pair of a set with recorded confidences."""
    thresholds = thresholds_of(train)
    routed, routed_dev = learned.router(train.tiers[0], train.tiers[1])
    scored, scored_dev = learned.scored(train.tiers)
    cheap = dev.score[:, 1] - dev.score[:, 0]
    return {
        OURS: judge(dev, thresholds[OURS]),
        "expected": judge(dev, thresholds["expected"]),
        "plain bound": judge(dev, thresholds["plain bound"]),
        "score test in sequence": judge(dev, thresholds["score test in sequence"]),
        "plain threshold .95": judge(dev, PLAIN_ACCEPT),
        "random mixing": mixed(train, dev),
        "always strong": RuleOutcome(cost=dev.cost_usd[:, 1], loss=np.zeros(len(dev)), refused=True),
        "always cheap": RuleOutcome(cost=dev.cost_usd[:, 0], loss=cheap),
        "RouteLLM, half of the calls": judge(
            routed_dev, float(np.quantile(routed.confidence[:, 0], HALF)), before_call=True
        ),
        "RouteLLM, a point on train": judge(
            routed_dev, thresholds_of(routed, before_call=True)["expected"], before_call=True
        ),
        "FrugalGPT": judge(scored_dev, thresholds_of(scored)["expected"]),
    }
