"""What the demo's own study would cost on a model with a price: the product's dry run, with another model's figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.base.values import Budget
from optimizer.core.family.family import Family
from optimizer.core.models.language import ModelPrice
from optimizer.core.search.cost_estimate import CostEstimate
from optimizer.jobs.studies.create_study import create_study
from optimizer.ports import Clock, Store
from optimizer.runtime import wiring

EXAMPLE_MODEL = "openai/gpt-4o-mini"  # only its listed price is used; no call is made


class PricedCatalogue:
    """Every model name means one priced model of LiteLLM's own table."""

    def __init__(self, litellm_id: str) -> None:
        self._facts = wiring.listed_model(litellm_id)
        self._price: ModelPrice | None = self._facts.known_price()

    def describe(self, name: str) -> Any:
        return self._facts

    def price(self, name: str) -> ModelPrice | None:
        return self._price


def dry_run(
    family: Family, definition: Mapping[str, Any], *, store: Store, clock: Clock
) -> tuple[CostEstimate, ModelPrice] | None:
    """(estimate, price) of this study on ``EXAMPLE_MODEL``; None where its price is not listed.

    Writes nothing, spends nothing.
    """
    catalogue = PricedCatalogue(EXAMPLE_MODEL)
    price = catalogue.price("")
    if price is None:
        return None
    sizes = {k: v for k, v in definition.items() if k not in ("strategy", "aim", "seed", "budget")}
    made = create_study(
        family,
        strategy=str(definition["strategy"]),
        budget=Budget(**definition["budget"]),
        seed=int(definition["seed"]),
        definition=sizes,
        actor="demo",
        store=store,
        clock=clock,
        models=catalogue,
        dry_run=True,
    )
    assert isinstance(made, CostEstimate)
    return made, price
