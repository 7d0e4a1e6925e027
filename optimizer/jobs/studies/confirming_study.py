"""Finds the study whose confirmation on the sealed holdout speaks for a variant."""

from __future__ import annotations

from optimizer.core.base.errors import NotFound
from optimizer.core.base.values import Aim
from optimizer.core.search.study import Study
from optimizer.ports import Store, Transaction


def confirming_study(
    tx: Transaction, store: Store, family: str, variant: str, *, aim: Aim | None = None, named: str | None = None
) -> Study | None:
    """The study named, else the last one that confirmed this variant (for ``aim``, where one has).

    Raises NotFound where the family has no such study.
    """
    if named is not None:
        study = store.studies.get(tx, named)
        if study is None or study.family != family:
            raise NotFound(f"Family {family!r} has no study {named!r}.", study=named)
        return study
    cursor: str | None = None
    own: list[Study] = []
    while True:
        page, cursor = store.studies.page(tx, family=family, status="finished", cursor=cursor)
        own += [s for s in page if s.winner == variant and s.confirmation]
        if cursor is None:
            return max(own, key=lambda s: (s.aim == aim, s.finished_at or s.created_at, s.id), default=None)


def standing_look(tx: Transaction, store: Store, family: str, variant: str, aim: Aim) -> Study | None:
    """The look at the holdout that ``variant`` needs for ``aim``: one that is under way,
    or one that was taken against the champion of today.
    """
    for study in store.studies.unfinished(tx):
        if (study.family, study.mode, study.winner, study.aim) == (family, "confirm", variant, aim):
            return study
    before, champion = confirming_study(tx, store, family, variant, aim=aim), store.champions.current(tx, family)
    return before if before and champion and (before.aim, before.champion) == (aim, champion.variant) else None


def last_nominated(tx: Transaction, store: Store, family: str) -> str | None:
    """The winner of the last study that nominated one: what a rollout without a named candidate starts."""
    finished, _ = store.studies.page(tx, family=family, status="finished")
    nominated = [s for s in finished if s.outcome == "nominated" and s.winner]
    return str(max(nominated, key=lambda s: s.finished_at or s.created_at).winner) if nominated else None
