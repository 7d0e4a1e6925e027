"""Reads users' queries: common, slow and failed ones, families that nobody asks, and what follows. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from optimizer.core.family.family import Family, kind_of
from optimizer.core.feedback.review_kinds import LABEL_INTERACTION
from optimizer.core.views.dialogs import DialogAnalysis, FamilyDialogs, family_dialogs, ideas
from optimizer.jobs.champions.read_quality import AnalyticsRequest, Range, families_asked, time_of
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.golden_scenarios import asked_by, asks, with_kept_golden
from optimizer.jobs.dataset.sealed_events import sealed_interactions, without_texts
from optimizer.ports import Transaction

MOST_READ = 2000  # queries of a family, the newest: each text is compared with every other


class DialogsRequest(AnalyticsRequest):
    range: Range = "7d"


def read_dialogs(context: Context, request: DialogsRequest) -> DialogAnalysis:
    """What users asked in a time, by family: queries that are alike with their shares, response times and failures,
    families that nobody asked, and ideas with the command that follows.

    Of each family the newest 2,000 queries are read, which count by when they came. Texts are null for a key without
    role read-texts, and for every key where the sealed holdout asks the same.
    """
    store, now = context.store, context.clock.now()
    since, declared = now - time_of(request.range), context.families().families
    in_scope = [declared[name] for name in families_asked(context, request.family) if name in declared]
    in_scope = [family for family in in_scope if kind_of(family).asks_models]
    families, unused = list[FamilyDialogs](), list[str]()
    for family in in_scope:
        with store.read() as tx:
            queries = store.traffic.newest(tx, family.name, since, now, MOST_READ + 1)
            sealed = sealed_interactions(tx, store, queries, declared)
            is_golden = _golden(tx, context, family)
            offered = store.reviews.of_kind(tx, family.name, LABEL_INTERACTION)
        if not queries:
            unused.append(family.name)
            continue
        families.append(
            family_dialogs(
                family.name,
                [without_texts(one) if (family.name, one.id) in sealed else one for one in queries[:MOST_READ]],
                group=context.group_texts,
                is_golden=is_golden,
                offered=offered.keys(),
                is_cut=len(queries) > MOST_READ,
            )
        )
    families.sort(key=lambda one: (-one.figures.n, one.family))
    return DialogAnalysis(
        since=since, until=now, families=families, unused=unused, ideas=ideas(families, unused, request.range)
    )


def _golden(tx: Transaction, context: Context, family: Family) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a golden scenario of the family asks an input."""
    whole = with_kept_golden(tx, context.store, family)
    questions = asked_by(whole, whole.golden)
    return lambda input: asks(family, input) in questions
