"""Answers to held-out rows, and what is measured of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lifts.plan import FamilyMeasurement
from optimizer.core.base.errors import ModelFailed
from optimizer.core.base.values import Budget
from optimizer.core.dataset.examples import Example, make_example
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import clip_inputs, parse_output, render
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import request_for
from optimizer.host.config import load_settings
from optimizer.jobs.calls.blocking import wait_for
from optimizer.jobs.calls.call_book import Account
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.runtime import wiring

UNSUPPORTED = ("supported_entities", "supported_numbers")
FORMAT = "format_compliance"


@dataclass(frozen=True, kw_only=True)
class MeasuredAnswer:
    """What was measured of one answer; None where that could not be measured.

    ``figure``: the family's in [0, 1]. ``format``: share of the rules kept, 0 where it could not be read.
    ``entities``, ``numbers``: shares of the names and numbers in the answer that no source has.
    """

    row: str
    figure: float
    format: float
    entities: float | None
    numbers: float | None
    input_tokens: int
    output_tokens: int
    latency_ms: float

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


class HeldOut:
    """The held-out rows of a family, asked in a home of their own whose journal keeps every answer.

    Both seeds share it, so that a base is asked once.
    """

    def __init__(self, home: Path, family: Family, measured: FamilyMeasurement) -> None:
        self._family, self._measured = family, measured
        settings = load_settings(home=home)
        wiring.migrate_store(settings)
        self._store, self._models = wiring.open_store(settings), wiring.open_models(settings)
        self._clock = wiring.open_clock(settings)
        # The parts of the figure, with the parameters that the family gives them
        self._scorer = wiring.open_scorer(
            _scored_by(
                family,
                {
                    name: {"weight": weight, **family.metric_parameters.get(name, {})}
                    for name, weight in measured.parts.items()
                },
            ),
            settings,
        )
        self._form = wiring.open_scorer(_scored_by(family, {FORMAT: {"weight": 1.0, **measured.format}}), settings)
        support = {"weight": 1.0, "sources": list(measured.sources)}
        self._support = {
            name: wiring.open_scorer(_scored_by(family, {name: support}), settings)
            for name in UNSUPPORTED
            if measured.sources and (name == "supported_entities" or family.output.parser == "text")
        }
        self._model = self._models.get(str(family.model.default))

    def close(self) -> None:
        self._models.close()
        self._store.close()

    def examples(self, rows: Sequence[Mapping[str, Any]]) -> list[Example]:
        now = self._clock.now()
        answers = (
            make_example(
                family=self._family.name,
                id=row["id"],
                input=clip_inputs(self._family, row["input"]),
                expected=row["expected"],
                created_at=now,
                origin="curated",
            )
            for row in rows
        )
        return [replace(example, group=example.id) for example in answers]

    @property
    def scorer(self) -> Scorer:
        """By which the figure is measured; trivial baselines are scored by it, too."""
        return self._scorer

    def answers(self, variant: Variant, examples: Sequence[Example]) -> list[MeasuredAnswer]:
        """One per example, in order. Raises ModelFailed: a table with holes compares nothing."""
        model = JournaledModel(
            self._model,
            Account(study=None, family=self._family.name, purpose="evaluation", budget=Budget()),
            store=self._store,
            clock=self._clock,
        )
        return [self._answered(model, variant, example) for example in examples]

    def _answered(self, model: JournaledModel, variant: Variant, example: Example) -> MeasuredAnswer:
        messages = render(variant, example.input, declared=self._family.inputs)
        request = request_for(variant, messages, revision=self._model.revision, example=example.id)
        answer = wait_for(model.complete(request))
        score = self._scorer.score(example.expected, answer.text, example.input)
        if score.value is None:
            raise ModelFailed(f"{self._family.name}, row {example.id} cannot be scored: {score.error}", kind="other")
        is_read = parse_output(self._family.output, answer.text).error is None
        answers = {
            name: self._unsupported(scorer, example, answer.text) if is_read else None
            for name, scorer in self._support.items()
        }
        return MeasuredAnswer(
            row=example.id,
            figure=score.value,
            format=self._form.score(example.expected, answer.text, example.input).value or 0.0,
            entities=answers.get("supported_entities"),
            numbers=answers.get("supported_numbers"),
            input_tokens=answer.input_tokens or 0,
            output_tokens=answer.output_tokens or 0,
            latency_ms=answer.latency_ms,
        )

    def _unsupported(self, scorer: Scorer, example: Example, text: str) -> float | None:
        value = scorer.score(example.expected, text, example.input).value
        return None if value is None else 1 - value


def _scored_by(family: Family, scorer: Mapping[str, Any]) -> Family:
    """The family with another scorer."""
    declared = family.model_dump(mode="json", exclude_unset=True, by_alias=True)
    return parse_family({**declared, "scorer": dict(scorer)})
