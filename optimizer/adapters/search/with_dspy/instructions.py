"""Instructions as MIPROv2 has them written: by DSPy's GroundedProposer.

It knows a summary of the data, examples that worked, the present instruction, and a tip (Opsahl-Ong et al. 2024, arXiv
2406.11695). Each of its calls goes through journal and budget.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import partial

import dspy
from dspy.propose import grounded_proposer
from dspy.propose.grounded_proposer import TIPS, GroundedProposer

from optimizer.adapters.search.with_dspy.programs import OUTPUT, ProposerEngine, example_of, signature_of, silence_dspy
from optimizer.core.family.variant import FewShot, Variant
from optimizer.core.search.space import doc_of, with_instruction
from optimizer.core.search.strategy import SearchSetting


def written_instructions(
    strategy: str, setting: SearchSetting, sets: Sequence[Sequence[FewShot]], n: int
) -> Iterator[Variant]:
    """The start variant with other instructions, at most ``n``. A proposal that fails, or is no use, ends itself only.

    Args:
        strategy: for whom they are written.
        sets: few-shot examples that worked, in turn shown to the proposer.
    """
    silence_dspy()
    grounded_proposer.print = lambda *_, **__: None
    draw, engine = random.Random(setting.seed), ProposerEngine(strategy, setting)
    train = [example_of(setting.family, e) for e in setting.train if e.released]
    if not train or n <= 0:
        return
    program = dspy.Predict(signature_of(setting.family, doc_of(setting.start)))
    shown = [
        [
            dspy.Example(augmented=True, **{f"input_{k}": v for k, v in s.input.items()}, **{OUTPUT: s.output})
            for s in some
        ]
        for some in sets
    ]
    seen = {setting.start.id}
    with engine.as_model(dspy.ChatAdapter()):
        proposer = GroundedProposer(
            prompt_model=engine.lm,
            program=program,
            trainset=train,
            program_aware=False,
            use_instruct_history=False,
            set_history_randomly=False,
            rng=draw,
        )
        engine.require_whole()
        for i in range(1, n + 1):
            tip = TIPS[draw.choice(sorted(TIPS))]
            proposer.use_tip = bool(tip)
            ask = partial(
                proposer.propose_instruction_for_predictor,
                program=program,
                predictor=program,
                pred_i=0,
                demo_candidates={0: shown},
                demo_set_i=(i - 1) % len(shown),
                trial_logs={},
                tip=tip,
            )
            text = engine.proposed(ask, proposal=i)
            if text is None:
                continue
            written = with_instruction(setting.start, engine.written() or str(text))
            if engine.is_usable(setting.start, written, seen, proposal=i):
                seen.add(written.id)
                yield written
