"""What the demo's own study would cost on a model with a price: the product's dry run, with another model's figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optimizer.core.family.family import Family
from optimizer.core.models.language import ModelPrice
from optimizer.core.search.cost_estimate import CostEstimate
from optimizer.jobs.context import Context
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
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


def dry_run(context: Context, family: Family, definition: Mapping[str, Any]) -> tuple[CostEstimate, ModelPrice] | None:
    """(estimate, price) of this study on ``EXAMPLE_MODEL``; None where its price is not listed.

    Writes nothing, spends nothing.
    """
    catalogue = PricedCatalogue(EXAMPLE_MODEL)
    price = catalogue.price("")
    if price is None:
        return None
    sizes = {k: v for k, v in definition.items() if k not in ("strategy", "aim", "seed", "budget")}
    request = StudyRequest(
        family=family.name,
        strategy=str(definition["strategy"]),
        budget=BudgetBody(**definition["budget"]),
        seed=int(definition["seed"]),
        definition=sizes,
        dry_run=True,
    )
    estimate = create_study(replace(context, family=lambda name: family, models=lambda: catalogue), request)
    assert isinstance(estimate, CostEstimate)
    return estimate, price
