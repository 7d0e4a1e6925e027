"""A short look at the store, by which open pages hear that something has changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from optimizer.core.serving.rollout import ALERT as FROZEN
from optimizer.ports import Clock, Store

RECORDED_WITHIN = timedelta(hours=1)
# What somebody or the worker decided; of that, what stands still; how far runs and studies are; sums by minute, and
# what content pipelines report.
Topic = Literal["acts", "freezes", "work", "figures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreGlance:
    """What differs as soon as a topic has changed. ``freezes``: those that stand, and the newest of all, which tells of
    one that began and ended between two looks. ``figures``: the last hour with events that are summed up, how many
    they are, and the newest record of a content pipeline.
    """

    acts: object
    freezes: object
    work: object
    figures: object

    def changes_since(self, before: StoreGlance) -> set[Topic]:
        return {topic for topic in get_args(Topic) if getattr(self, topic) != getattr(before, topic)}


AWAY = StoreGlance(acts="away", freezes=None, work=None, figures=None)  # where the store cannot be read


def glance_at_store(store: Store, clock: Clock, *, watched_within: timedelta) -> StoreGlance:
    """``watched_within``: a worker whose last tick is older watches no more."""
    with store.read() as tx:
        version, ticked_at = store.serving_version.read(tx)
        return StoreGlance(
            acts=(
                version,
                ticked_at is not None and clock.now() - ticked_at < watched_within,
                [entry["seq"] for entry in store.audit.page(tx, None, 1)[0]],
                [(alert.id, alert.detail) for alert in store.alerts.all(tx, open_only=True)],
            ),
            freezes=(store.freezes.all(tx), store.alerts.all(tx, open_only=False, kind=FROZEN, most=1)),
            work=(
                [(run.id, run.status, run.n_done, run.stop_requested) for run in store.runs.unfinished(tx)],
                [
                    (study.id, study.status, study.stop_requested, store.journal.spend(tx, study.id))
                    for study in store.studies.unfinished(tx)
                ],
            ),
            figures=(
                store.minute_stats.newest_hour(tx),
                [record.id for record in store.pipeline_stats.records(tx, clock.now() - RECORDED_WITHIN, 1)],
            ),
        )
