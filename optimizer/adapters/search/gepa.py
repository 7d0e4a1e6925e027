"""Strategy ``gepa``: instructions written anew by reflection on answers that went wrong (GEPA,
Agrawal et al. 2025, arXiv 2507.19457).

The prompt of the reflection, the reading of its answer and the choice of a parent from the Pareto front are those of
the gepa package. What is ours: every answer goes through journal and budget. The study evaluates a child that does
better on its few training examples like any other candidate. The proposer sees released examples only, since its words
may end up in every user's prompt.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog
from gepa.gepa_utils import select_program_candidate_from_pareto_front
from gepa.strategies.instruction_proposal import InstructionProposalSignature

from optimizer.core.base.errors import InvalidInput, ModelFailed
from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.family.answer import expected_text
from optimizer.core.family.variant import Variant
from optimizer.core.search.cost_estimate import REFLECTED_ON
from optimizer.core.search.space import doc_of, instruction_fault, with_instruction
from optimizer.core.search.strategy import GEPA, Proposal, SearchSetting

PERFECT = 1.0
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A variant of the pool with its scores on dev, by example."""

    variant: Variant
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """One training example as a variant answered it; ``score`` None where it could not be measured."""

    example: Example
    text: str
    score: float | None
    feedback: str


class GepaSearch:
    """At most ``n_instructions`` reflections; a child is proposed where it beats its parent on the examples
    that were reflected on.
    """

    def __init__(self, setting: SearchSetting) -> None:
        self._setting = setting
        self._draw = random.Random(setting.seed)
        self._pool: list[_Member] = []
        self._seen = {setting.start.id}
        self._left = int(setting.definition["n_instructions"])
        self._n_reflections = 0
        self._batches = self._batches_of([e for e in setting.train if e.released])

    def ask(self) -> Proposal | None:
        while self._left > 0 and self._pool:
            batch = next(self._batches, None)
            if batch is None:
                return None
            self._left -= 1
            self._n_reflections += 1
            proposal = self._reflect(self._parent(), batch)
            if proposal is not None:
                return proposal
        return None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        scores = {r.example: r.score for r in results if r.score is not None}
        if scores:
            self._pool.append(_Member(variant=proposal.variant, scores=scores))

    def _batches_of(self, examples: Sequence[Example]) -> Iterator[list[Example]]:
        """Each example once before any comes again, in a new order every time."""
        while examples:
            order = self._draw.sample(examples, len(examples))
            yield from (order[i : i + REFLECTED_ON] for i in range(0, len(order), REFLECTED_ON))

    def _parent(self) -> Variant:
        """Drawn by the number of dev examples on which none does better, without dominated ones (algorithm 2)."""
        fronts: dict[str, set[int]] = {}
        for example in self._pool[0].scores:
            best = max(m.scores.get(example, -1.0) for m in self._pool)
            fronts[example] = {i for i, m in enumerate(self._pool) if m.scores.get(example, -1.0) == best}
        means = [sum(m.scores.values()) / len(m.scores) for m in self._pool]
        chosen: int = select_program_candidate_from_pareto_front(fronts, means, self._draw)
        return self._pool[chosen].variant

    def _reflect(self, parent: Variant, batch: Sequence[Example]) -> Proposal | None:
        """One proposal. What fails on the way ends this one, not the study."""
        before = self._answers(parent, batch)
        if all(a.score is None or a.score >= PERFECT for a in before):
            log.info("nothing_to_learn_from", strategy=GEPA, proposal=self._n_reflections)
            return None
        try:
            text = self._setting.propose(
                [{"role": "user", "content": self._prompt(parent, before)}], f"{GEPA}:{self._n_reflections}"
            )
        except (ModelFailed, InvalidInput) as failure:
            log.warning("proposal_failed", strategy=GEPA, proposal=self._n_reflections, why=failure.detail)
            return None
        child = with_instruction(parent, InstructionProposalSignature.output_extractor(text)["new_instruction"])
        why_not = instruction_fault(parent, child, self._seen, self._setting.fits, self._setting.leaks)
        if why_not is not None:
            log.warning("proposal_unusable", strategy=GEPA, proposal=self._n_reflections, why=why_not)
            return None
        self._seen.add(child.id)
        after = self._answers(child, batch)
        pairs = [
            (b.score, a.score)
            for b, a in zip(before, after, strict=True)
            if b.score is not None and a.score is not None
        ]
        was, is_now = sum(b for b, _ in pairs), sum(a for _, a in pairs)
        if is_now <= was:
            log.info("proposal_no_better", strategy=GEPA, proposal=self._n_reflections, before=was, after=is_now)
            return None
        params = {
            "reflection": self._n_reflections,
            "parent": parent.id,
            "batch_before": was / len(pairs),
            "batch_after": is_now / len(pairs),
        }
        return Proposal(variant=child, proposer=GEPA, params=params)

    def _prompt(self, parent: Variant, answered: Sequence[_Answered]) -> str:
        records = [
            {"Inputs": dict(a.example.input), "Generated Outputs": a.text, "Feedback": a.feedback} for a in answered
        ]
        told = {"current_instruction_doc": doc_of(parent), "dataset_with_feedback": records, "prompt_template": None}
        return str(InstructionProposalSignature.prompt_renderer(told))

    def _answers(self, variant: Variant, batch: Sequence[Example]) -> list[_Answered]:
        return [self._answered(variant, example) for example in batch]

    def _answered(self, variant: Variant, example: Example) -> _Answered:
        try:
            text = self._setting.answer(variant, example)
        except ModelFailed as failure:
            return _Answered(example=example, text="", score=None, feedback=f"No answer: {failure.detail}")
        try:
            score = self._setting.scorer.score(example.expected, text, example.input)
            wanted = expected_text(self._setting.family.output, example.expected)
        except InvalidInput as failure:
            return _Answered(
                example=example, text=text, score=None, feedback=f"It could not be measured: {failure.detail}"
            )
        if score.value is None:
            return _Answered(
                example=example, text=text, score=None, feedback=f"It could not be measured: {score.error}"
            )
        unread = f" It cannot be read: {score.error}." if score.error else ""
        feedback = f"This answer scores {score.value:.2f} of 1.{unread} The expected answer: {wanted}"
        return _Answered(example=example, text=text, score=score.value, feedback=feedback)
