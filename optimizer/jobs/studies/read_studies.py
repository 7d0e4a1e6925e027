"""Studies and their trials, as people and programs see them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from optimizer.core.base.answers import Page, page_of
from optimizer.core.search.study import Study, StudyStatus, Trial, study_view, unknown_study
from optimizer.jobs.context import Context
from optimizer.jobs.request import PageRequest, Request


class StudiesRequest(PageRequest):
    family: Annotated[str | None, Field(max_length=200)] = None
    status: StudyStatus | None = None


class StudyReadRequest(Request):
    id: str


class TrialsRequest(PageRequest):
    id: str


def read_studies(context: Context, request: StudiesRequest) -> Page[Study]:
    """Studies, newest first."""
    family, store = context.family_asked(request.family), context.store
    with store.read() as tx:
        found, next_cursor = store.studies.page(
            tx, family=family, status=request.status, cursor=request.cursor, limit=request.limit
        )
    return Page(items=[study_view(study) for study in found], next_cursor=next_cursor)


def read_study(context: Context, request: StudyReadRequest) -> Study:
    """One study: what it searched, what it has spent, what came out of it."""
    return study_view(stored_study(context, request.id))


def read_trials(context: Context, request: TrialsRequest) -> Page[Trial]:
    """The variants that the study evaluated, in order. A score of null was not measured; it is not zero."""
    stored_study(context, request.id)
    with context.store.read() as tx:
        return page_of(context.store.studies.trials(tx, request.id), request.cursor, request.limit)


def stored_study(context: Context, id: str) -> Study:
    """Raises NotFound; to a key for other families it does not exist."""
    with context.store.read() as tx:
        found = context.store.studies.get(tx, id)
    if found is None or not context.sees(found.family):
        raise unknown_study(id)
    return found
