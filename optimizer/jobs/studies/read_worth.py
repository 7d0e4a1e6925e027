"""Reads, before anything is spent, what a family gets right without a model, and whether more labels would pay."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from optimizer.core.base.errors import DatasetTooSmall, DetentError
from optimizer.core.dataset.examples import select
from optimizer.core.predictor.worth import MoreLabels, OutOfFold, out_of_fold
from optimizer.core.search.answer_bounds import all_priced
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.build_dataset import cut_as_served, dev_examples_apart, train_examples
from optimizer.jobs.dataset.weigh_examples import weights_by_chance
from optimizer.jobs.request import FamilyRequest
from optimizer.jobs.studies.context import variant_of
from optimizer.ports import Transaction

LEAST_ROWS = 20  # fewer say nothing about what was not seen
MOST_ROWS = 500  # of long documents that is a third of a minute of processor time


@dataclass(frozen=True, slots=True, kw_only=True)
class ChampionScore:
    """The champion's last evaluation on dev rows, or its last trial in a study: mean score in [0, 1] with its 95 %
    interval (None of a trial), dollars an answer (None where one of its models has no known price).
    """

    variant: str
    n: int
    score: float
    low: float | None
    high: float | None
    usd_per_answer: float | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyWorth:
    """``n_known``: train and dev examples, of which ``measured.n`` were drawn by hash; ``n_unreleased`` of these teach
    nothing, since nobody released them. ``n_more_labels``: how many would pay; None where that cannot be told.
    ``champion``: None where it was not measured on dev.
    """

    family: str
    n_known: int
    n_unreleased: int
    measured: OutOfFold
    more_labels: MoreLabels | None
    n_more_labels: int | None
    champion: ChampionScore | None


def read_worth(context: Context, request: FamilyRequest) -> FamilyWorth:
    """What answers without a model get right on the family's own train and dev examples, each by what learned from
    others; beside it the champion's last figure on dev, and what twice the labels gained. Nothing is asked or spent,
    and no sealed example is read.

    Raises:
        DatasetTooSmall: fewer than 20 examples.
    """
    family, store = context.family(request.family), context.store
    with store.read() as tx:
        known = [*train_examples(family, store, tx), *dev_examples_apart(family, store, tx)]
        weights = weights_by_chance(tx, store, family, known)
        tenure = store.champions.current(tx, family.name)
        champion = None if tenure is None else _champion_score(tx, context, family.name, tenure.variant)
    # Of what a student answered only the requests that chance chose teach one, so no other is counted.
    known = [example for example in known if weights.get(example.id, 1.0) > 0]
    if len(known) < LEAST_ROWS:
        raise DatasetTooSmall(
            f"Cannot tell what {family.name!r} is worth: it has {len(known)} train and dev examples that may be read,"
            f" and it takes at least {LEAST_ROWS}. Import more: detent import FILE --family {family.name}.",
            n_rows=len(known),
            n_required=LEAST_ROWS,
        )
    by_id = {example.id: example for example in known}
    drawn = select([(id, None) for id in by_id], MOST_ROWS, balance=False, seed_text=f"detent/worth/{family.name}")
    may_all_teach = family.privacy.examples_from == "any"
    rows = [replace(cut_as_served(family, by_id[id]), released=may_all_teach or by_id[id].released) for id in drawn]
    measured = out_of_fold(family, rows, context.scorer_for(family), learn=context.learn_student)
    doubling = measured.last_doubling
    if champion is not None:
        is_priced = False
        with suppress(DetentError):  # a model that is in no file any more
            is_priced = all_priced(family, [variant_of(store, family.name, champion.variant)], context.models().price)
        champion = champion if is_priced else replace(champion, usd_per_answer=None)
    return FamilyWorth(
        family=family.name,
        n_known=len(known),
        n_unreleased=sum(not row.released for row in rows),
        measured=measured,
        more_labels=doubling.more_labels if doubling is not None else None,
        n_more_labels=measured.n_more_labels,
        champion=champion,
    )


def _champion_score(tx: Transaction, context: Context, family: str, variant: str) -> ChampionScore | None:
    """With dollars as they were counted, prices known or not."""
    store, scores = context.store, list[ChampionScore]()
    for batch in store.performance.batches(tx, family):
        if (batch.variant, batch.split) == (variant, "dev") and batch.mean_score is not None:
            scores.append(
                ChampionScore(
                    variant=variant,
                    n=batch.n,
                    score=batch.mean_score,
                    low=batch.score_low,
                    high=batch.score_high,
                    usd_per_answer=batch.cost_usd / batch.n,
                    at=batch.created_at,
                )
            )
    trial = store.studies.last_measured(tx, family, variant)
    if trial is not None and trial.score is not None and trial.finished_at is not None:
        scores.append(
            ChampionScore(
                variant=variant,
                n=trial.n,
                score=trial.score,
                low=None,
                high=None,
                usd_per_answer=trial.usd_per_example or 0.0,
                at=trial.finished_at,
            )
        )
    return max(scores, key=lambda score: score.at, default=None)
