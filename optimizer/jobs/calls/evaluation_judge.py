"""The judge of one evaluation: asked for its judgement as soon as an answer is there, by the same calls and caps."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from optimizer.core.evaluation.judging.judgement import Judgement
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.jobs.calls.ask_judge import JudgeModel, WatchedMember, ask_judge, judged_answer
from optimizer.jobs.calls.blocking import wait_for
from optimizer.jobs.calls.evaluation_calls import JUDGEMENTS, EvaluationCalls


class EvaluationJudge:
    """Asks nothing where the family's scorer takes no judgement. Thread-safe."""

    def __init__(self, family: Family, scorer: Scorer, calls: EvaluationCalls) -> None:
        self._family, self._scorer, self._calls = family, scorer, calls

    @property
    def is_asked(self) -> bool:
        return self._scorer.is_judged

    async def judgement(
        self, expected: Mapping[str, Any], text: str, input: Mapping[str, Any], *, counts_for: str = JUDGEMENTS
    ) -> Judgement | None:
        """The judgement of a model's text; None where none is needed, as for a text that cannot be read and so scores
        0.

        Args:
            counts_for: the variant whose answer it is.
        Raises:
            InvalidInput: the expected output cannot be shown. BudgetExhausted and StudyStopped pass through.
        """
        if not self.is_asked or not await asyncio.to_thread(self._scorer.reads, text):
            return None
        judge = self._family.judge
        assert judge is not None  # else there is no metric that is judged

        member = partial(self.member, counts_for)
        return await ask_judge(judge, judged_answer(self._family, input, expected, text), member)

    async def member(self, counts_for: str, name: str) -> JudgeModel:
        """One of the judge's models, whose answers count for a variant or for what stands in its place."""

        member = await self._calls.opened_judge(name)

        async def counted(request: ModelRequest) -> ModelAnswer:
            answer = self._calls.count(counts_for, request.key, await member.complete(request))
            # asked by this study: its latency counts
            return replace(answer, from_journal=False) if request.key in self._calls.asked else answer

        return WatchedMember(revision=member.revision, complete=counted)

    def asking(self) -> Scorer:
        """The scorer for code that blocks, such as strategies: it asks the judge by itself."""

        def ask(expected: Mapping[str, Any], text: str, input: Mapping[str, Any]) -> Judgement:
            judgement = wait_for(self.judgement(expected, text, input))
            assert judgement is not None  # the scorer asks only for what can be read
            return judgement

        return self._scorer.asking(ask)
