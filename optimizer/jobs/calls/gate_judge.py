"""The family's judge as a policy asks it: how people would rate one answer, or whether its facts are wrong.

It also reports the calls that this took.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from optimizer.core.base.errors import ModelFailed
from optimizer.core.evaluation.judging.calibration import Calibration, judge_identity, judge_of, why_uncalibrated
from optimizer.core.evaluation.judging.rubric import Claims
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import parse_output
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.assess import Situation, checked_answer, facts_material, with_facts, without_judgement
from optimizer.core.policy.attempts import Attempt, Call, Judge
from optimizer.core.policy.policy import Policy
from optimizer.jobs.calls.ask_judge import JudgeModel, OpenJudge, ask_facts, ask_judge, judged_answer

Keep = Callable[[Attempt], None]
JudgeAttempt = Callable[[Judge, Keep], Awaitable[Attempt]]


def gate_judge(
    family: Family, policy: Policy, situation: Situation, calibration: Calibration | None, open_judge: OpenJudge
) -> JudgeAttempt:
    """Judges attempts at one request.

    The result is a function: (what is asked of which attempt, where each call goes once it has ended) -> the attempt
    with its score or its factual errors, or with the reason why it has none, which is never a pass. A text that cannot
    be read as the family's output scores 0, unasked, and its facts are not measured. The judge sees no expected output,
    in a study as in the service. A judge whose scores people's ratings do not support is not asked.

    Args:
        calibration: the latest of this very judge; None: there is none.
        open_judge: records its calls. Errors of its models other than ModelFailed pass through: a busy store is no
            judge that failed, and its study goes on later.
    Raises:
        InvalidInput: the family has no judge.
    """
    judge, why = judge_of(family), why_uncalibrated(judge_identity(family), calibration)

    async def judged(question: Judge, keep: Keep) -> Attempt:
        attempt = question.attempt
        if why is not None:
            return without_judgement(policy, question, f"{why}; it does not decide")
        assert calibration is not None  # else the judge is uncalibrated

        async def opened(name: str) -> JudgeModel:
            return _RecordedMember(name, attempt.call.tier, await open_judge(name), keep)

        is_readable = parse_output(family.output, attempt.text).error is None
        if question.about == "facts":
            assert attempt.answer is not None  # else nothing is asked
            if not is_readable:
                return without_judgement(policy, question, "the answer cannot be read")
            material = facts_material(checked_answer(situation, attempt.answer))
            if not material or not attempt.text.strip():
                return with_facts(policy, attempt, False)
            facts = await ask_facts(judge, Claims(material=material, answer=attempt.text), opened)
            return with_facts(policy, attempt, facts.value, facts.why)
        if not is_readable:
            return replace(attempt, score=0.0)
        judgement = await ask_judge(judge, judged_answer(family, situation.input, {}, attempt.text), opened)
        if judgement.score is None:
            return replace(attempt, unscored=judgement.error)
        return replace(attempt, score=min(1.0, max(0.0, calibration.mapped(judgement.score))))

    return judged


@dataclass(frozen=True, slots=True)
class _RecordedMember:
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
        except ModelFailed as error:
            self.keep(Attempt(call=call, error=f"{error.kind}: {error.detail}"))
            raise
        self.keep(Attempt(call=call, answer=answer, latency_ms=answer.latency_ms))
        return answer
