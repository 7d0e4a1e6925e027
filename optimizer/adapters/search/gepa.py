"""Strategy ``gepa``: instructions rewritten by reflection on wrong answers (GEPA, Agrawal et al. 2025, arXiv
2507.19457).

The prompt of the reflection, the reading of its answer and the choice of a parent from the Pareto front are the gepa
package's. The rest is ours: every answer goes through journal and budget, and the study evaluates a child that does
better on its few training examples like any other candidate. The proposer sees released examples only, since its words
may end up in every user's prompt.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter

import structlog

from optimizer.adapters.search.answered_examples import answers, batches, pairs_of
from optimizer.core.base.errors import InvalidInput, ModelFailed
from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.family.variant import Variant
from optimizer.core.search import strategy_calls
from optimizer.core.search.cost_estimate import REFLECTED_ON
from optimizer.core.search.space import doc_of, instruction_fault, with_instruction
from optimizer.core.search.strategy import GEPA, QUALITY, Proposal, SearchSetting, strategy

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PoolMember:
    """A variant of the pool with its scores on dev, by example."""

    variant: Variant
    scores: Mapping[str, float]


@strategy(
    name=GEPA,
    does="has instructions rewritten after a look at what went wrong",
    writes="always",
    aims=QUALITY,
    n_trials=attrgetter("n_instructions"),
    calls=strategy_calls.gepa_calls,
)
class GepaSearch:
    """At most ``n_instructions`` reflections; a child is proposed where it beats its parent on the
    reflected examples.
    """

    def __init__(self, setting: SearchSetting) -> None:
        self._setting = setting
        self._draw = random.Random(setting.seed)
        self._pool: list[_PoolMember] = []
        self._seen = {setting.start.id}
        self._n_reflections = 0
        examples = [e for e in setting.train if e.released]
        self._batches = islice(batches(examples, REFLECTED_ON, self._draw), int(setting.definition["n_instructions"]))

    def ask(self) -> Proposal | None:
        for batch in self._batches if self._pool else ():
            self._n_reflections += 1
            # Drawn by the number of dev examples on which none does better, without dominated ones (algorithm 2).
            from gepa.gepa_utils import select_program_candidate_from_pareto_front

            fronts: dict[str, set[int]] = {}
            for example in self._pool[0].scores:
                best = max(m.scores.get(example, -1.0) for m in self._pool)
                fronts[example] = {i for i, m in enumerate(self._pool) if m.scores.get(example, -1.0) == best}
            means = [sum(m.scores.values()) / len(m.scores) for m in self._pool]
            chosen: int = select_program_candidate_from_pareto_front(fronts, means, self._draw)
            if (proposal := self._reflect(self._pool[chosen].variant, batch)) is not None:
                return proposal
        return None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        scores = {r.example: r.score for r in results if r.score is not None}
        if scores:
            self._pool.append(_PoolMember(variant=proposal.variant, scores=scores))

    def _reflect(self, parent: Variant, batch: Sequence[Example]) -> Proposal | None:
        """One proposal. What fails on the way ends this one, not the study."""
        from gepa.strategies.instruction_proposal import InstructionProposalSignature

        before = answers(self._setting, parent, batch)
        if all(a.lost <= 0 for a in before):
            log.info("nothing_to_learn_from", strategy=GEPA, proposal=self._n_reflections)
            return None
        try:
            records = [
                {"Inputs": dict(a.example.input), "Generated Outputs": a.text, "Feedback": a.feedback} for a in before
            ]
            values = {
                "current_instruction_doc": doc_of(parent),
                "dataset_with_feedback": records,
                "prompt_template": None,
            }
            text = self._setting.propose(
                [{"role": "user", "content": str(InstructionProposalSignature.prompt_renderer(values))}],
                f"{GEPA}:{self._n_reflections}",
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
        pairs = pairs_of(before, answers(self._setting, child, batch))
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
