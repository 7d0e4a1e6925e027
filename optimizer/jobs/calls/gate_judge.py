"""The family's judge as a gate asks it: one answer's score, mapped to what people would rate, and the calls it took."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from optimizer.core.base.errors import Busy, ModelFailed
from optimizer.core.evaluation.judging.calibration import Calibration, why_uncalibrated
from optimizer.core.evaluation.judging.identity import judge_identity, judge_of
from optimizer.core.family.answer import parse_output
from optimizer.core.family.family import Family
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.attempts import Attempt, Call
from optimizer.jobs.calls.ask_judge import JudgeModel, OpenJudge, ask_judge, judged_answer

Keep = Callable[[Attempt], None]
JudgeAttempt = Callable[[Attempt, Keep], Awaitable[Attempt]]


def gate_judge(
    family: Family, input: Mapping[str, Any], calibration: Calibration | None, open_judge: OpenJudge
) -> JudgeAttempt:
    """Scores attempts at one request: (attempt, where each call goes as soon as it has ended) -> the attempt with its
    score, or with the reason why it has none, which is never a pass.

    A text that cannot be read as the family's output scores 0, unasked. The judge is shown no expected output, in a
    study as little as in the service, which knows none. One that people's ratings do not vouch for is not asked.

    Args:
        calibration: the latest of this very judge; None: there is none.
        open_judge: whatever keeps its calls. What its models raise besides ModelFailed and Busy passes through.
    Raises:
        InvalidInput: the family has no judge.
    """
    judge, why = judge_of(family), why_uncalibrated(judge_identity(family), calibration)

    async def judged(attempt: Attempt, keep: Keep) -> Attempt:
        if why is not None:
            return replace(attempt, unscored=f"{why}; it does not decide")
        assert calibration is not None  # else the judge is uncalibrated
        if parse_output(family.output, attempt.text).error is not None:
            return replace(attempt, score=0.0)

        async def opened(name: str) -> JudgeModel:
            return _Kept(name, attempt.call.tier, await open_judge(name), keep)

        judgement = await ask_judge(judge, judged_answer(family, input, {}, attempt.text), opened)
        if judgement.score is None:
            return replace(attempt, unscored=judgement.error)
        return replace(attempt, score=min(1.0, max(0.0, calibration.mapped(judgement.score))))

    return judged


@dataclass(frozen=True, slots=True)
class _Kept:
    """A member of the judge whose calls go on the answer's record."""

    name: str
    tier: int | None
    inner: JudgeModel
    keep: Keep

    @property
    def revision(self) -> str:
        return self.inner.revision

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        call = Call(model=self.name, purpose="judge", tier=self.tier)
        try:
            answer = await self.inner.complete(request)
        except Busy as error:
            failure = ModelFailed(error.detail, kind="busy", sent=False)
            self.keep(Attempt(call=call, error=f"busy: {error.detail}"))
            raise failure from error
        except ModelFailed as error:
            self.keep(Attempt(call=call, error=f"{error.kind}: {error.detail}"))
            raise
        self.keep(Attempt(call=call, answer=answer, latency_ms=answer.latency_ms))
        return answer
