"""Studies and their trials, as people and programs see them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from optimizer.core.base.answers import Page, page_read
from optimizer.core.base.errors import NotFound
from optimizer.core.base.values import Aim
from optimizer.core.search.study import ENDED, Study, StudyStatus, Trial, unknown_study
from optimizer.core.views.study_headline import StudyView, has_decided, view_of_study
from optimizer.jobs.context import Context
from optimizer.jobs.request import FamilyPageRequest, ItemPageRequest, ItemRequest
from optimizer.ports import Store, Transaction


class StudiesRequest(FamilyPageRequest):
    status: StudyStatus | None = None


class TrialsRequest(ItemPageRequest):
    order: Annotated[Literal["number", "score"], Field(description="As they were tried, or the best score first")] = (
        "number"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowLink:
    """``url``: of the study's run, or of the list of experiments while it is not mirrored yet."""

    study: str
    url: str | None


def read_studies(context: Context, request: StudiesRequest) -> Page[StudyView]:
    """Studies, newest first."""
    family, store = context.family_asked(request.family), context.store
    with store.read() as tx:
        studies, next_cursor = store.studies.page(
            tx, family=family, status=request.status, cursor=request.cursor, limit=request.limit
        )
        return Page(items=[view_now(tx, context, study) for study in studies], next_cursor=next_cursor)


def read_study(context: Context, request: ItemRequest) -> StudyView:
    """One study: what it searched, what it has spent by now, what came out of it."""
    study = stored_study(context, request.id)
    with context.store.read() as tx:
        return view_now(tx, context, study)


def read_trials(context: Context, request: TrialsRequest) -> Page[Trial]:
    """The variants that the study evaluated, in order. A score of null was not measured; it is not zero."""
    stored_study(context, request.id)
    studies, best_first = context.store.studies, request.order == "score"
    with context.store.read() as tx:
        return page_read(
            lambda start, n: studies.some_trials(tx, request.id, best_first=best_first, start=start, n=n),
            request.cursor,
            request.limit,
        )


def read_mlflow_link(context: Context, request: ItemRequest) -> MlflowLink:
    """Where the study is to be seen in MLflow; null where no MLflow answers."""
    study = stored_study(context, request.id)
    return MlflowLink(study=study.id, url=context.mlflow_link(study))


def view_now(tx: Transaction, context: Context, study: Study) -> StudyView:
    """The study with what it has spent by now; while it runs, its row only says what it had spent after a trial."""
    if study.status in ENDED:
        return view_of_study(study)
    by_now = context.store.journal.spend(tx, study.id)
    spend = replace(study.spend, usd=by_now.usd, n_calls=by_now.n_calls, n_lost=by_now.n_lost)
    return view_of_study(replace(study, spend=spend), is_worker_running=context.is_worker_running())


def stored_study(context: Context, id: str) -> Study:
    """Raises NotFound; to a key for other families it does not exist."""
    with context.store.read() as tx:
        study = context.store.studies.get(tx, id)
    if study is None or not context.access.may_see(study.family):
        raise unknown_study(id)
    return study


def confirming_study(
    tx: Transaction, store: Store, family: str, variant: str, *, aim: Aim | None = None, named: str | None = None
) -> Study | None:
    """The study named, else the last one that confirmed this variant (against the champion of today and for ``aim``,
    where one has).

    Raises NotFound where the family has no such study.
    """
    if named is not None:
        study = store.studies.get(tx, named)
        if study is None or study.family != family:
            raise NotFound(f"Family {family!r} has no study {named!r}.", study=named)
        return study
    own, champion = _confirmations(tx, store, family, variant), store.champions.current(tx, family)
    today = champion.variant if champion is not None else None
    return max(
        own, key=lambda s: (s.champion == today, s.aim == aim, s.finished_at or s.created_at, s.id), default=None
    )


def _confirmations(tx: Transaction, store: Store, family: str, variant: str) -> list[Study]:
    cursor: str | None = None
    own: list[Study] = []
    while True:
        page, cursor = store.studies.page(tx, family=family, status="finished", cursor=cursor)
        own += [s for s in page if s.winner == variant and s.confirmation]
        if cursor is None:
            return own


def standing_look(
    tx: Transaction, store: Store, family: str, variant: str, aim: Aim, move_to: str | None = None
) -> Study | None:
    """The look at the holdout that ``variant`` needs for ``aim``: one under way, or one against today's champion
    that has decided.

    ``move_to``: as of a study; whether quality is kept is another question than whether it improves.
    """
    for study in store.studies.unfinished(tx):
        if (study.family, study.mode, study.winner, study.aim, study.move_to) == (
            family,
            "confirm",
            variant,
            aim,
            move_to,
        ):
            return study
    champion = store.champions.current(tx, family)
    if champion is None:
        return None
    question = (aim, champion.variant, move_to)
    own = [
        s
        for s in _confirmations(tx, store, family, variant)
        if (s.aim, s.champion, s.move_to) == question and has_decided(s)
    ]
    return max(own, key=lambda s: (s.finished_at or s.created_at, s.id), default=None)


def last_nomination(tx: Transaction, store: Store, family: str) -> str | None:
    """The winner of the last study that nominated one: what a rollout without a named candidate starts."""
    finished, _ = store.studies.page(tx, family=family, status="finished")
    nominated = [s for s in finished if s.outcome == "nominated" and s.winner]
    return str(max(nominated, key=lambda s: s.finished_at or s.created_at).winner) if nominated else None
