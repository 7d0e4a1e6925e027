"""What judging one answer may take: calls and dollars, before a model is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from optimizer.core.base.values import NONE, Spread
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.judging.rubric import Claims, JudgeCase, asked_again, facts_messages, judge_messages
from optimizer.core.family.family import Family
from optimizer.core.family.judge_settings import SCORER, JudgeSettings
from optimizer.core.family.space_form import varied_knobs
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelPrice
from optimizer.core.policy.refinement import DEFAULT_RETRIES, JUDGE, RETRIES
from optimizer.core.policy.refinement import SCORER as SCORER_KNOB
from optimizer.core.policy.validator import BY_JUDGE, VALIDATE_FACTS, VALIDATE_THEN
from optimizer.core.search.answer_bounds import BYTES_PER_TOKEN, calls_per_answer, options_of, request_bytes, usd_of

ASKS = 2  # of a member for one answer at most: an answer of its own that cannot be read is asked for once more
LONGEST_WHY = "x" * 300  # as long as a sentence on what could not be read
OUTPUT_BYTES_PER_TOKEN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingCost:
    """Of one answer. ``usd`` None: a member has no known price. ``most_usd_per_call``: of the dearest single call."""

    calls: Spread = NONE
    usd: Spread | None = NONE
    most_usd_per_call: float = 0.0
    members: tuple[str, ...] = ()

    def most_usd(self, n: int) -> float | None:
        """Of so many answers, at most; None where a price is unknown."""
        return None if self.usd is None else n * self.usd.high

    def usd_of(self, calls: Spread) -> Spread | None:
        """Dollars of so many judge calls."""
        if self.usd is None:
            return None
        each = self.usd.expected / self.calls.expected if self.calls.expected else 0.0
        return Spread(low=calls.low * each, expected=calls.expected * each, high=calls.high * self.most_usd_per_call)

    @property
    def once_usd(self) -> float | None:
        """The most that an answer's judgements cost where each member is understood at once."""
        return None if self.usd is None else self.usd.high / ASKS


NO_JUDGE = JudgingCost()


def judge_of_scorer(family: Family) -> JudgeSettings | None:
    """The judge that scores the family's answers; None where none does, also where one is declared for other ends."""
    return family.judge if SCORER in family.metrics else None


def gate_judgements(champion: Variant, space: Mapping[str, Any] = MappingProxyType({})) -> int:
    """Answers to one input that a gate puts before the judge at most, whichever variant of the space gives them."""
    scorers = {champion.policy.get(SCORER_KNOB.name), *options_of(space, f"policy.{SCORER_KNOB.name}")}
    if JUDGE not in scorers:
        return 0
    retries = varied_knobs(space).get(RETRIES.name) or {"choices": [champion.policy.get(RETRIES.name)]}
    (values,) = retries.values()
    return 1 + max(DEFAULT_RETRIES if value is None else int(value) for value in values)


def fact_checks(champion: Variant, space: Mapping[str, Any] = MappingProxyType({})) -> int:
    """Answers to one input whose facts a validator puts before the judge at most."""
    name = VALIDATE_FACTS.name
    if BY_JUDGE not in {champion.policy.get(name), *options_of(space, f"policy.{name}")}:
        return 0
    return calls_per_answer(champion, space)


def acts_on_judge(variant: Variant) -> bool:
    """Whether a judge may hold an answer of it back."""
    is_followed = variant.policy.get(VALIDATE_THEN.name, VALIDATE_THEN.default) != VALIDATE_THEN.default
    return gate_judgements(variant) > 0 or (is_followed and fact_checks(variant) > 0)


def policy_judgements(champion: Variant, space: Mapping[str, Any] = MappingProxyType({})) -> int:
    """What gate and validator put before the judge at most, for one input."""
    return gate_judgements(champion, space) + fact_checks(champion, space)


def judge_asked(family: Family, variants: Sequence[Variant]) -> JudgeSettings | None:
    """The judge, where it scores the family's answers or a policy of these variants asks it."""
    return family.judge if any(map(policy_judgements, variants)) else judge_of_scorer(family)


def judging_cost(
    family: Family,
    inputs: Mapping[str, str],
    seen: Sequence[Example],
    max_tokens: int,
    price_of: Callable[[str], ModelPrice | None],
    *,
    n_gate: int = 0,
) -> JudgingCost:
    """Of one answer, whose scorer takes a judgement or whose gate does; NO_JUDGE where neither does.

    Args:
        inputs: as long as the longest that is asked about.
        seen: examples whose expected outputs say how long a reference may be.
        max_tokens: that an answer may have.
        n_gate: judgements by a policy at most (``policy_judgements``).
    """
    scorer = judge_of_scorer(family)
    n_judgements = n_gate + (scorer is not None)
    judge = family.judge if n_judgements else None
    if judge is None:
        return NO_JUDGE
    n = len(judge.members) * n_judgements
    calls = Spread(low=0, expected=n, high=n * ASKS)
    prices = [price_of(name) for name in judge.members]
    known = [price for price in prices if price is not None]
    if len(known) < len(prices):
        return JudgingCost(calls=calls, usd=None, members=judge.members)
    references = [str(e.expected[family.output.field]) for e in seen if family.output.field in e.expected]
    longest = max(references, key=len, default=None) if judge.reference else None
    answer = "x" * (max_tokens * OUTPUT_BYTES_PER_TOKEN)
    judged = JudgeCase(task=family.description, input=dict(inputs), answer=answer, reference=longest)
    prompts = (judge_messages(judge, judged), facts_messages(Claims(material=dict(inputs), answer=answer)))
    n_bytes = max(request_bytes(asked_again(messages, LONGEST_WHY)) for messages in prompts)
    each = [usd_of(n_bytes, judge.max_tokens, price) for price in known]
    expected = sum(usd_of(n_bytes / BYTES_PER_TOKEN / 2, judge.max_tokens / 2, price) for price in known)
    return JudgingCost(
        calls=calls,
        usd=Spread(low=0, expected=n_judgements * expected, high=n_judgements * ASKS * sum(each)),
        most_usd_per_call=max(each),
        members=judge.members,
    )
