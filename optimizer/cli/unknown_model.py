"""Whether a family's file names a model that config/models.yaml, as it is now, does not: for pages that list families."""

from __future__ import annotations

from optimizer.config import Settings
from optimizer.core.errors import DetentError, InvalidFamily
from optimizer.core.family import Family


def unknown_model(settings: Settings, family: Family) -> InvalidFamily | None:
    """None where all are known, and where config/models.yaml itself cannot be read, which is told where it is used."""
    from optimizer import wiring
    from optimizer.jobs.check_models import unknown_models

    try:
        models = wiring.open_models(settings)
    except DetentError:
        return None
    return unknown_models(family, models)
