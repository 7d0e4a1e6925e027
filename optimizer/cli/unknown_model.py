"""Which families' files name a model that config/models.yaml, as it is now, does not: for pages that list families."""

from __future__ import annotations

from collections.abc import Iterable

from optimizer.config import Settings
from optimizer.core.errors import DetentError, InvalidFamily
from optimizer.core.family import Family


def with_unknown_model(settings: Settings, families: Iterable[Family]) -> dict[str, InvalidFamily]:
    """By family; none where config/models.yaml itself cannot be read, which is told where it is used."""
    from optimizer import wiring
    from optimizer.jobs.check_models import unknown_models

    try:
        models = wiring.open_models(settings)
    except DetentError:
        return {}
    return {family.name: fault for family in families if (fault := unknown_models(family, models)) is not None}
