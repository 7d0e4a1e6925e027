"""Reads which candidate waits for its rollout, and which holdback the next rollout should wait for."""

from __future__ import annotations

from optimizer.core.search.study import Study
from optimizer.core.serving.assignment import Holdback, holdback_of
from optimizer.jobs.outbox.read_freezes import freezes_of
from optimizer.ports import Clock, Store, Transaction


def waiting_candidate(tx: Transaction, store: Store, family: str) -> Study | None:
    """The last study that started by itself, if its candidate has had no rollout against this champion yet."""
    study = store.studies.last_triggered(tx, family)
    if study is None or study.outcome != "nominated" or study.winner is None:
        return None
    champion = store.champions.current(tx, family)
    if champion is None or champion.variant != study.champion:
        return None
    earlier = store.rollouts.last_against(tx, family, candidate=study.winner, champion=study.champion)
    return study if earlier is None else None


def unconfirmed_winner(tx: Transaction, store: Store, family: str) -> Study | None:
    """The family's last study, if it started by itself, beat this champion on dev, and was not to look at
    the holdout.
    """
    page, _ = store.studies.page(tx, family=family, limit=1)
    champion = store.champions.current(tx, family)
    if not page or champion is None or page[0].champion != champion.variant:
        return None
    study = page[0]
    is_open = (
        study.trigger is not None
        and study.outcome == "not_confirmed"
        and study.winner is not None
        and study.confirmation is None
    )
    return study if is_open else None


def current_holdback(tx: Transaction, store: Store, clock: Clock, family: str) -> Holdback | None:
    """The holdback of the family's last promotion, while its week is not over."""
    champion = store.champions.current(tx, family)
    if champion is None:
        return None
    now = clock.now()
    freezes = freezes_of(tx, store, champion.family, now)
    holdback = holdback_of(champion, store.rollouts.latest(tx, family), clock.scale, freezes)
    return holdback if holdback is not None and now < holdback.until else None
