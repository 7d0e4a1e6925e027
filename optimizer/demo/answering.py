"""Which models answer in the demo: the names in its families, as config/models.yaml explains them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from optimizer.core.family.family import Family
from optimizer.host.config import Settings
from optimizer.runtime import wiring


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """``is_embedded``: only the embedded model answers, which takes no key, no network and no money.

    ``words`` go on after "with".
    """

    is_embedded: bool
    words: str


def read_answering(settings: Settings, families: Iterable[Family]) -> Answering:
    """Reads config/models.yaml and starts no model. Raises NotFound for a model that the file does not name."""
    models = wiring.open_models(settings)
    try:
        names = dict.fromkeys(name for family in families for name in (family.model.default, *family.model.tiers))
        others = {name: model for name in names if not (model := models.describe(name)).embedded}
    finally:
        models.close()
    if not others:
        return Answering(is_embedded=True, words="a real and very small language model on this machine")
    listed = ", ".join(
        f"{name} ({model.litellm or model.model or 'no embedded model'})" for name, model in others.items()
    )
    return Answering(is_embedded=False, words=f"models of config/models.yaml: {listed}")
