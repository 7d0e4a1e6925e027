"""Fixes the settings of a rollout at its start: what the family declares, completed by what its champion did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from optimizer.core.base.errors import NotFound
from optimizer.core.family.family import Family
from optimizer.core.family.settings import RolloutSettings
from optimizer.core.feedback.events import LabelSummary
from optimizer.core.rollout.start import LABEL_WINDOW_DAYS, fixed_settings, holdout_ratios
from optimizer.core.search.study import Study
from optimizer.core.serving.rollout import Champion
from optimizer.ports import Clock, Store, Transaction

N_DELAYS = 2000  # newest outcomes whose delays are read


def current_champion(tx: Transaction, store: Store, family: str) -> Champion:
    """The champion with which a rollout compares. Raises NotFound where there is none."""
    champion = store.champions.current(tx, family)
    if champion is None:
        raise NotFound(
            f"Family {family!r} has no champion to compare with. Serve a first one: detent family adopt {family}"
            f" --confirm {family}."
        )
    return champion


@dataclass(frozen=True, slots=True, kw_only=True)
class ChampionRecord:
    """What was recorded of a family and its champion in the last LABEL_WINDOW_DAYS."""

    champion: str
    labels: Sequence[LabelSummary]
    delays_hours: Sequence[float]  # of its newest outcomes, on the rollout clock


def read_champion_record(tx: Transaction, store: Store, family: str, clock: Clock) -> ChampionRecord:
    """Reads the champion's record. Call it in a transaction of its own, since no writer should wait for a month's sums.

    Raises NotFound where there is no champion.
    """
    champion, since = current_champion(tx, store, family).variant, clock.now() - timedelta(days=LABEL_WINDOW_DAYS)
    delays = store.observations.delays_s(tx, family, champion, since, N_DELAYS)
    return ChampionRecord(
        champion=champion,
        labels=store.events.label_summary(tx, family, since),
        delays_hours=[s / 3600 * clock.scale for s in delays],
    )


def fix_settings(
    family: Family,
    settings: RolloutSettings,
    record: ChampionRecord,
    *,
    candidate: str = "",
    study: Study | None = None,
) -> dict[str, Any]:
    """The fixed settings.

    Args:
        settings: the family's, with what this start overrides.
        study: whose confirmation counts where it compares the candidate with the champion.
    """
    return fixed_settings(
        settings,
        champion=record.champion,
        labels=record.labels,
        delays_hours=record.delays_hours,
        limits=family.constraints.model_dump(mode="json"),
        holdout_ratios=holdout_ratios(study, variant=candidate, champion=record.champion),
    )
