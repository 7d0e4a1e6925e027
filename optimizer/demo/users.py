"""The demo's users: each fetches its prompt over REST, has the model answer,
and reports what it got and how good it was.

They are the only part that reads the journal to save time: a request that a study has asked before is answered from
there, and counted. The servers know nothing of this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.rendering import fill
from optimizer.core.models.language import ModelAnswer, ModelRequest, request_for
from optimizer.jobs.calls.blocking import wait_for
from optimizer.ports import LanguageModel, Store

JOURNAL_AGE = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of one user, from the fetched prompt to the score of what the model wrote."""

    unit: str
    example: Example
    variant: str
    role: str
    assignment: str
    answer: ModelAnswer
    from_journal: bool
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedUsers:
    """Visits that were reported and accepted."""

    visits: Sequence[Visit]
    n_accepted: int
    n_rejected: int

    @property
    def n_from_journal(self) -> int:
        return sum(v.from_journal for v in self.visits)

    def arms(self) -> dict[tuple[str, str], tuple[int, float | None]]:
        """(role, variant) > (visits, mean score)."""
        scores: dict[tuple[str, str], list[float | None]] = defaultdict(list)
        for visit in self.visits:
            scores[visit.role, visit.variant].append(visit.score)
        return {arm: (len(seen), _mean([s for s in seen if s is not None])) for arm, seen in sorted(scores.items())}


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

    def visit_all(
        self, family: str, pairs: Sequence[tuple[str, Example]], *, told: Callable[[int], None] = lambda n: None
    ) -> SimulatedUsers:
        """Every (unit, example) once; answers are asked for as many at once as the model has processes."""
        self.scorer_for(family)  # loaded before the threads need it
        visits: list[Visit] = []
        with ThreadPoolExecutor(max_workers=self.n_at_once()) as pool:
            for visit in pool.map(lambda pair: self._visit(family, *pair), pairs):
                visits.append(visit)
                told(len(visits))
        answer = self._http.post("/v1/feedback", json=[self._event(family, v) for v in visits])
        answer.raise_for_status()
        body = answer.json()
        return SimulatedUsers(visits=visits, n_accepted=int(body["accepted"]), n_rejected=len(body["rejected"]))

    def fetch(self, family: str, unit: str) -> dict[str, Any]:
        """GET the prompt as this unit."""
        answer = self._http.get(f"/v1/families/{family}/prompt", headers={"X-Detent-Unit": unit})
        answer.raise_for_status()
        served: dict[str, Any] = answer.json()
        return served

    def close(self) -> None:
        self._http.close()

    def _visit(self, family: str, unit: str, example: Example) -> Visit:
        served = self.fetch(family, unit)
        messages = fill(served["messages"], example.input, declared=example.input)
        with self.store.read() as tx:
            record = self.store.variants.get(tx, family, served["variant"])
        assert record is not None
        model = self.model_named(str(record.variant.model["name"]))
        request = request_for(record.variant, messages, revision=model.revision, example=example.id)
        journaled = self._from_journal(family, request)
        answer = journaled or wait_for(model.complete(request))
        score = self.scorer_for(family).score(example.expected, answer.text, example.input)
        return Visit(
            unit=unit,
            example=example,
            variant=served["variant"],
            role=served["role"],
            assignment=served["assignment"],
            answer=answer,
            from_journal=journaled is not None,
            score=score.value,
        )

    def _from_journal(self, family: str, request: ModelRequest) -> ModelAnswer | None:
        """What a study of this family was answered to the same request;
        above temperature 0 only as that study's own sample.
        """
        with self.store.read() as tx:
            studies, _ = self.store.studies.page(tx, family=family, limit=1)
            study = studies[0].id if studies else None
            return self.store.journal.find(tx, request.key, study=study, not_before=datetime.now(UTC) - JOURNAL_AGE)

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
            "tags": {"demo": True, "answered_by": "journal" if visit.from_journal else "model"},
        }
        if not visit.from_journal:
            event["latency_ms"] = visit.answer.latency_ms
        if visit.score is not None:
            event |= {"score": visit.score, "success": visit.score >= self.success_from[family]}
        return event


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
