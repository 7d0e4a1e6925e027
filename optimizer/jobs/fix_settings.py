"""Fixes the settings of a rollout as a start freezes them: what the family declares, filled in from what its champion did."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from optimizer.core.errors import NotFound
from optimizer.core.family import Family
from optimizer.core.family_settings import RolloutSettings
from optimizer.core.rollout import Champion
from optimizer.core.rollout_start import LABEL_WINDOW_DAYS, frozen, holdout_ratios
from optimizer.core.study import Study
from optimizer.ports import Clock, Store, Transaction

N_DELAYS = 2000  # of the newest outcomes


def reigning(tx: Transaction, store: Store, family: str) -> Champion:
    """The champion that a rollout compares with. Raises NotFound where there is none."""
    champion = store.champions.current(tx, family)
    if champion is None:
        raise NotFound(
            f"Family {family!r} has no champion to compare with. Serve a first one: detent family adopt {family} --confirm {family}."
        )
    return champion


def fix_settings(
    tx: Transaction, store: Store, family: Family, settings: RolloutSettings, *, champion: str, study: Study | None, clock: Clock
) -> dict[str, Any]:
    """``settings``: the family's, with what this start overrides. ``study``: whose confirmation speaks for the candidate."""
    since = clock.now() - timedelta(days=LABEL_WINDOW_DAYS)
    labels = store.events.label_summary(tx, family.name, since)
    delays = store.observations.delays_s(tx, family.name, champion, since, N_DELAYS)
    return frozen(
        settings, champion=champion, labels=labels, delays_hours=[s / 3600 * clock.scale for s in delays],
        limits=family.constraints.model_dump(mode="json"), holdout_ratios=holdout_ratios(study),
    )  # fmt: skip
