"""Strategy ``copro``: instructions written from earlier ones and their scores, as in DSPy's COPRO.

COPRO follows OPRO (Yang et al. 2023, arXiv 2309.03409). The two prompts are DSPy's. The rest is ours: the study
measures every instruction on its dev examples, so that nothing is evaluated twice, and an instruction has no prefix for
the output field, since a prompt here has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from optimizer.core.base.values import ExampleResult
from optimizer.core.search.space import doc_of, with_instruction
from optimizer.core.search.strategy import COPRO, Proposal, SearchSetting, strategy

BREADTH = 3  # instructions of one round, written from the same view
SHOWN = 10  # instructions that the proposer sees, the best of those measured
PREFIX = "proposed_prefix_for_output_field"


@strategy(
    name=COPRO,
    does="has instructions written with a look at the scores of those before",
    writes="always",
    n_trials=attrgetter("n_instructions"),
)
class CoproSearch:
    """At most ``n_instructions``, in rounds: the first rewrites the start's, the later ones see the earlier scores.

    It sees instructions and scores only, no example.
    """

    def __init__(self, setting: SearchSetting) -> None:
        from optimizer.adapters.search.with_dspy.programs import ProposerEngine, silence_dspy

        silence_dspy()
        self._setting = setting
        self._engine = ProposerEngine(COPRO, setting)
        self._n_remaining = int(setting.definition["n_instructions"])
        self._n_asked = 0
        self._seen = {setting.start.id}
        self._scores: dict[str, float] = {}  # instruction -> score told
        self._round: list[Proposal] = []

    def ask(self) -> Proposal | None:
        while not self._round and self._n_remaining > 0:
            self._round = self._written()
        return self._round.pop(0) if self._round else None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        if score is not None:
            self._scores[doc_of(proposal.variant)] = score

    def _written(self) -> list[Proposal]:
        """One round. A proposal that fails, or is no use, ends itself only."""

        import dspy

        # What the proposer is shown: the start's instruction alone, or what was tried, in the order of rising scores.
        from dspy.teleprompt.copro_optimizer import BasicGenerateInstruction, GenerateInstructionGivenAttempts

        if len(self._scores) < 2:
            signature = BasicGenerateInstruction
            arguments: dict[str, Any] = {"basic_instruction": doc_of(self._setting.start)}
        else:
            best = sorted(self._scores.items(), key=lambda of: of[1])[-SHOWN:]
            attempts = [
                line
                for i, (text, score) in enumerate(best, 1)
                for line in (f"Instruction #{i}: {text}", f"Resulting Score #{i}: {score:.3f}")
            ]
            signature, arguments = GenerateInstructionGivenAttempts, {"attempted_instructions": attempts}
        ask = dspy.Predict(signature.delete(PREFIX))
        proposals = []
        for _ in range(min(BREADTH, self._n_remaining)):
            self._n_remaining -= 1
            self._n_asked += 1
            start, at = self._setting.start, {"proposal": self._n_asked}
            with self._engine.as_model():
                text = self._engine.proposed(lambda: str(ask(**arguments).proposed_instruction), **at)
            if text is None:
                continue
            written = with_instruction(start, (self._engine.written() or text).strip().strip('"').strip())
            if self._engine.is_usable(start, written, self._seen, **at):
                self._seen.add(written.id)
                proposals.append(Proposal(variant=written, proposer=COPRO, params={**at, "n_seen": len(self._scores)}))
        return proposals
