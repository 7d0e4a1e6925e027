"""The demo's users, and the rows that they send: each fetches its prompt over REST, has the model answer, and reports
what it got and how good it was.

What users send is held out of the import, and neither train nor dev nor sealed: no search has seen it, nor another row
of its parameter's name. Such rows come from the end of the orders in which studies draw their training rows, so that
the searches see the same rows as if everything had been imported.

A row under a prompt is answered once, beforehand where time runs faster than the model; whoever sends it gets that
answer: at temperature 0 the model would say the same. The servers know nothing of this.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx

from optimizer.core.dataset.examples import Example, make_example, select
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import fill, render
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelAnswer, request_for
from optimizer.jobs.calls.blocking import wait_for
from optimizer.ports import LanguageModel, SourceRow, Store

N_SENT = 48  # rows of users, as many of each type: one of each name


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRows:
    """``imported``: for ``detent import``, without a row of the names of ``sent``: what users send, by family."""

    imported: Sequence[SourceRow]
    sent: Mapping[str, Sequence[Example]]

    def write(self, path: Path) -> None:
        """JSON lines."""
        lines = ({"group": row.group, "input": row.input, "expected": row.expected} for row in self.imported)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def divide_rows(rows: Iterable[SourceRow], families: Sequence[Family], *, at: datetime) -> DemoRows:
    """A row that cannot be imported goes to neither side.

    Args:
        families: all of the same inputs, output field and labels.
    """
    usable = [row for row in rows if row.rejected is None]
    by_family = [
        [
            make_example(
                family=family.name,
                input=row.input,
                expected=row.expected,
                created_at=at,
                origin="curated",
                group=row.group,
            )
            for row in usable
        ]
        for family in families
    ]
    # Of the training examples those of the names whose first row the studies would draw last.
    examples = by_family[0]
    field = families[0].output.field
    train = {example.id: example for example in examples if example.split == "train"}
    labels = [(id, str(example.expected[field])) for id, example in train.items()]
    orders = [select(labels, len(labels), balance=True, seed_text=f"detent/{family.name}") for family in families]
    orders.append(sorted(train))  # in which the long prompt takes its examples
    earliest: dict[str, int] = {}  # by group
    for order in orders:
        for place, id in enumerate(order):
            group = train[id].group
            earliest[group] = min(place, earliest.get(group, place))
    ids, used, of_label = set[str](), set[str](), Counter[str]()
    for id, label in sorted(labels, key=lambda pair: (-earliest[train[pair[0]].group], pair[0])):
        if train[id].group not in used and of_label[label] < N_SENT // len(families[0].output.labels or (label,)):
            ids.add(id)
            used.add(train[id].group)
            of_label[label] += 1
    sent = {
        family.name: [example for example in examples if example.id in ids]
        for family, examples in zip(families, by_family, strict=True)
    }
    held_out = {example.group for example in by_family[0] if example.id in ids}
    return DemoRows(
        imported=[row for row, example in zip(usable, by_family[0], strict=True) if example.group not in held_out],
        sent=sent,
    )


def balanced(examples: Sequence[Example], n: int, *, field: str) -> list[Example]:
    """``n`` of the examples, as many of each label."""
    labels = [(example.id, str(example.expected[field])) for example in examples]
    ids = set(select(labels, n, balance=True, seed_text="detent/demo"))
    return [example for example in examples if example.id in ids]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of one user, from the fetched prompt to the score of what the model wrote."""

    example: Example
    variant: str
    role: str
    assignment: str
    answer: ModelAnswer
    is_repeated: bool  # answered as before
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedUsers:
    """Visits that were reported and accepted."""

    visits: Sequence[Visit]
    n_accepted: int

    def arms(self) -> dict[tuple[str, str], tuple[int, float | None]]:
        """(role, variant) > (visits, mean score)."""
        scores: dict[tuple[str, str], list[float | None]] = defaultdict(list)
        for visit in self.visits:
            scores[visit.role, visit.variant].append(visit.score)
        measured = {arm: [score for score in arm_scores if score is not None] for arm, arm_scores in scores.items()}
        return {arm: (len(scores[arm]), fmean(values) if values else None) for arm, values in sorted(measured.items())}


@dataclass(kw_only=True)
class Users:
    """People who use the two applications.

    Args:
        api_url: address of the API.
        success_from: score in [0, 1] from which a user counts an answer as a success.
    """

    api_url: str
    store: Store
    model_named: Callable[[str], LanguageModel]
    scorer_for: Callable[[str], Scorer]
    n_at_once: Callable[[], int]  # how many calls the model takes side by side now
    success_from: Mapping[str, float]
    n_sent: int = 0

    def __post_init__(self) -> None:
        self._http = httpx.Client(base_url=self.api_url, timeout=30.0, trust_env=False)
        self._answers: dict[tuple[str, str, str], ModelAnswer] = {}  # by family, variant and example

    def visit_all(
        self, family: str, pairs: Sequence[tuple[str, Example]], *, on_visit: Callable[[int], None] = lambda n: None
    ) -> SimulatedUsers:
        """Every (unit, example) once; answers are asked for as many at once as the model has processes."""
        self.scorer_for(family)  # loaded before the threads need it
        visits: list[Visit] = []
        with ThreadPoolExecutor(max_workers=self.n_at_once()) as pool:
            for visit in pool.map(lambda pair: self._visit(family, *pair), pairs):
                visits.append(visit)
                on_visit(len(visits))
        events = [self._event(family, visit) for visit in visits]
        body = self._http.post("/v1/feedback", json=events).raise_for_status().json()
        return SimulatedUsers(visits=visits, n_accepted=int(body["accepted"]))

    def answer_all(self, family: str, variant: str, examples: Sequence[Example]) -> int:
        """Has the model answer these under this prompt, each once; how many it was asked."""
        with self.store.read() as tx:
            record = self.store.variants.get(tx, family, variant)
        assert record is not None
        new = [example for example in examples if (family, variant, example.id) not in self._answers]

        def answer(example: Example) -> None:
            messages = render(record.variant, example.input, declared=example.input)
            self._answers[family, variant, example.id] = self._ask(record.variant, messages, example)

        with ThreadPoolExecutor(max_workers=self.n_at_once()) as pool:
            list(pool.map(answer, new))
        return len(new)

    def fetch(self, family: str, unit: str) -> dict[str, Any]:
        """GET the prompt as this unit."""
        return self.get(f"/v1/families/{family}/prompt", {"X-Detent-Unit": unit})

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON of what the API answers."""
        body: dict[str, Any] = self._http.get(path, headers=headers).raise_for_status().json()
        return body

    def close(self) -> None:
        self._http.close()

    def _visit(self, family: str, unit: str, example: Example) -> Visit:
        served = self.fetch(family, unit)
        key = (family, str(served["variant"]), example.id)
        earlier = self._answers.get(key)
        answer = self._answers[key] = earlier or self._answer(family, served, example)
        return Visit(
            example=example,
            variant=served["variant"],
            role=served["role"],
            assignment=served["assignment"],
            answer=answer,
            is_repeated=earlier is not None,
            score=self.scorer_for(family).score(example.expected, answer.text, example.input).value,
        )

    def _answer(self, family: str, served: Mapping[str, Any], example: Example) -> ModelAnswer:
        messages = fill(served["messages"], example.input, declared=example.input)
        with self.store.read() as tx:
            record = self.store.variants.get(tx, family, served["variant"])
        assert record is not None
        return self._ask(record.variant, messages, example)

    def _ask(self, variant: Variant, messages: Sequence[Mapping[str, Any]], example: Example) -> ModelAnswer:
        model = self.model_named(str(variant.model["name"]))
        return wait_for(model.complete(request_for(variant, messages, revision=model.revision, example=example.id)))

    def _event(self, family: str, visit: Visit) -> dict[str, Any]:
        """Report and feedback in one; latency only where the model was really asked."""
        self.n_sent += 1
        event: dict[str, Any] = {
            "id": f"demo-{family}-{self.n_sent:05d}",
            "assignment": visit.assignment,
            "input": dict(visit.example.input),
            "output": visit.answer.text,
            "cost_usd": visit.answer.cost_usd,
            "input_tokens": visit.answer.input_tokens,
            "output_tokens": visit.answer.output_tokens,
            "source": "system",  # a comparison with the reference, not a person's opinion
            "tags": {"demo": True, "answered_by": "model, before" if visit.is_repeated else "model"},
        }
        if not visit.is_repeated:
            event["latency_ms"] = visit.answer.latency_ms
        if visit.score is not None:
            event |= {"score": visit.score, "success": visit.score >= self.success_from[family]}
        return event
