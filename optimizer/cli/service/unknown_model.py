"""Which families' files name a model that config/models.yaml, as it is now, does not: for pages that list families."""

from __future__ import annotations

from collections.abc import Iterable

from optimizer.core.base.errors import DetentError, InvalidFamily
from optimizer.core.family.family import Family
from optimizer.host.config import Settings


def with_unknown_model(settings: Settings, families: Iterable[Family]) -> dict[str, InvalidFamily]:
    """By family; none where config/models.yaml itself cannot be read, which is told where it is used."""
    from optimizer.jobs.families.check_models import unknown_models
    from optimizer.runtime import wiring

    try:
        models = wiring.open_models(settings)
    except DetentError:
        return {}
    return {family.name: fault for family in families if (fault := unknown_models(family, models)) is not None}
