"""Strategy ``copro``: instructions written from those tried so far and their scores, as in DSPy's COPRO (after OPRO,
Yang et al. 2023, arXiv 2309.03409).

The two prompts are DSPy's. What is ours: the study measures every instruction on its dev examples, so that nothing is
evaluated twice, and an instruction has no prefix for the output field, since a prompt here has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dspy
import structlog
from dspy.teleprompt.copro_optimizer import BasicGenerateInstruction, GenerateInstructionGivenAttempts

from optimizer.adapters.search.dspy_instructions import ProposerEngine
from optimizer.adapters.search.dspy_programs import silence_dspy
from optimizer.core.base.values import ExampleResult
from optimizer.core.family.variant import Variant
from optimizer.core.search.space import doc_of, instruction_fault, with_instruction
from optimizer.core.search.strategy import COPRO, Proposal, SearchSetting

BREADTH = 3  # instructions of one round, written from the same view
SHOWN = 10  # instructions that the proposer sees, the best of those measured
PREFIX = "proposed_prefix_for_output_field"
log = structlog.get_logger(__name__)


class CoproSearch:
    """At most ``n_instructions``, in rounds: the first rewrites the start's,
    the later ones see what earlier ones scored.

    It sees instructions and scores only, no example.
    """

    def __init__(self, setting: SearchSetting) -> None:
        silence_dspy()
        self._setting = setting
        self._engine = ProposerEngine(COPRO, setting)
        self._lm = dspy.LM("detent/proposer", engine=self._engine, cache=False, num_retries=0)
        self._left = int(setting.definition["n_instructions"])
        self._n_asked = 0
        self._seen = {setting.start.id}
        self._scores: dict[str, float] = {}  # instruction -> score told
        self._round: list[Proposal] = []

    def ask(self) -> Proposal | None:
        while not self._round and self._left > 0:
            self._round = self._written()
        return self._round.pop(0) if self._round else None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        if score is not None:
            self._scores[doc_of(proposal.variant)] = score

    def _written(self) -> list[Proposal]:
        """One round. A proposal that fails, or is no use, ends itself only."""
        signature, given = self._view()
        ask = dspy.Predict(signature.delete(PREFIX))
        found = []
        for _ in range(min(BREADTH, self._left)):
            self._left -= 1
            self._n_asked += 1
            variant = self._variant(ask, given)
            if variant is not None:
                self._seen.add(variant.id)
                found.append(
                    Proposal(
                        variant=variant, proposer=COPRO, params={"proposal": self._n_asked, "n_seen": len(self._scores)}
                    )
                )
        return found

    def _view(self) -> tuple[Any, dict[str, Any]]:
        """What the proposer is shown: the start's instruction alone, or what was tried,
        in the order of rising scores.
        """
        if len(self._scores) < 2:
            return BasicGenerateInstruction, {"basic_instruction": doc_of(self._setting.start)}
        best = sorted(self._scores.items(), key=lambda of: of[1])[-SHOWN:]
        attempts = [
            line
            for i, (text, score) in enumerate(best, 1)
            for line in (f"Instruction #{i}: {text}", f"Resulting Score #{i}: {score:.3f}")
        ]
        return GenerateInstructionGivenAttempts, {"attempted_instructions": attempts}

    def _variant(self, ask: Any, given: dict[str, Any]) -> Variant | None:
        setting = self._setting
        self._engine.begin()
        try:
            with dspy.context(
                lm=self._lm,
                adapter=dspy.ChatAdapter(use_json_adapter_fallback=False),
                warn_on_type_mismatch=False,
                provide_traceback=False,
            ):
                text = str(ask(**given).proposed_instruction)
        except Exception as failure:  # DSPy wraps what its model raises, and a weak model's answer cannot be parsed
            self._engine.require_whole()
            log.warning(
                "proposal_failed",
                strategy=COPRO,
                proposal=self._n_asked,
                why=str(self._engine.failure or failure)[:500],
            )
            return None
        written = with_instruction(setting.start, (self._engine.written() or text).strip().strip('"').strip())
        why_not = instruction_fault(setting.start, written, self._seen, setting.fits, setting.leaks)
        if why_not is not None:
            log.warning("proposal_unusable", strategy=COPRO, proposal=self._n_asked, why=why_not)
            return None
        return written
