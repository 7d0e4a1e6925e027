"""Variant x examples -> ExampleResults: the one way in which search, confirmation and evaluation batches measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from optimizer.core.base.errors import BudgetExhausted, InvalidInput, ModelFailed
from optimizer.core.base.values import REFUSED, ExampleResult, grouped
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.judging.judgement import Judgement
from optimizer.core.evaluation.scoring import Score, Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelAnswer, ModelRequest, request_for
from optimizer.core.policy.policy import Policy, parse_policy
from optimizer.core.search.prefix_queue import Rows
from optimizer.jobs.calls.ask_together import Share, ask_together
from optimizer.jobs.calls.blocking import wait_for
from optimizer.jobs.calls.evaluation_calls import CallCounts, Completes, EvaluationCalls, JudgeAccess
from optimizer.jobs.calls.evaluation_judge import EvaluationJudge
from optimizer.jobs.calls.evaluation_policies import EvaluationPolicies, TierNotDue
from optimizer.jobs.calls.execute_policy import Execution, PolicyRequest
from optimizer.jobs.calls.shelves import Shelves

ROWS_IN_TURN = 32  # that every tier answers before others are asked; no more calls are under way at once
TierQuestion = tuple[int, Example, PolicyRequest]  # the example's place, itself, and what is asked about it
Answered = ModelAnswer | Execution | ModelFailed | InvalidInput | TierNotDue


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One pair with its request, or why there can be none."""

    variant: Variant
    example: Example
    request: ModelRequest | InvalidInput
    key: str = ""  # of the request; empty where a policy makes the requests
    policy: Policy | None = None  # that asks more than one call, or may


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a question, and the judge's judgement of it where one was made."""

    answer: Answered
    judgement: Judgement | None = None


def text_of(answer: Answered) -> str | None:
    """What would be given out; None where nothing would."""
    if isinstance(answer, Execution):
        return None if answer.attempt is None else answer.attempt.text
    return answer.text if isinstance(answer, ModelAnswer) else None


def model_of(question: Question) -> str:
    return str(question.variant.model["name"])


def n_tiers(question: Question) -> int:
    return (
        len(question.policy.cascade.models)
        if question.policy is not None and question.policy.cascade is not None
        else 1
    )


PAIRS_AT_ONCE = 2000  # looked up in the journal together; the next are asked once these are answered


class Measures(Protocol):
    """What searches and confirmations need of an evaluator.

    It is this one or, for policy families, ``replay_evaluation.ReplayEvaluator``.
    """

    counts: CallCounts

    def text(self, variant: Variant, example: Example, draw: int = 0, /) -> str: ...
    def measure_all(
        self,
        pairs: Sequence[tuple[Variant, Example]],
        keep: Callable[[Variant, ExampleResult], None],
        *,
        in_turns: bool = False,
    ) -> None: ...
    def tier_rows(self, variant: Variant, examples: Sequence[Example]) -> list[dict[str, Any]]: ...
    def tier_texts(self, variant: Variant, tier: str, examples: Sequence[Example]) -> Mapping[str, str]: ...
    def asking_scorer(self) -> Scorer:
        """The scorer for code that blocks: it asks the judge by itself where the family has one."""


class Evaluator:
    """Asks, scores and remembers.

    Thread-safe; nothing is asked twice, and what this process asked freshly keeps its latency.

    Its methods block, as searches do; how many calls are in flight meanwhile is the models' affair.
    Arguments as in ``EvaluationCalls``, and ``judge``: how it comes to the family's judge, whose calibration is read
    once. ``shelves``: what variants name beside models; None: nothing.
    """

    def __init__(
        self,
        family: Family,
        scorer: Scorer,
        open_model: Callable[[str], Completes],
        *,
        on_fresh: Callable[[float], None] = lambda latency_ms: None,
        own: Mapping[str, ModelAnswer] | None = None,
        judge: JudgeAccess | None = None,
        shelves: Shelves | None = None,
    ) -> None:
        self.family = family
        self.scorer = scorer
        access = judge or JudgeAccess()
        self._calls = EvaluationCalls(open_model, on_fresh, own or {}, access.open_model)
        self.counts = self._calls.counts
        self._judge = EvaluationJudge(family, scorer, self._calls)
        self._policies = EvaluationPolicies(family, scorer, self._calls, self._judge, access.calibration, shelves)

    def model(self, variant: Variant) -> Completes:
        return self._calls.model(str(variant.model["name"]))

    def text(self, variant: Variant, example: Example, draw: int = 0) -> str:
        """The model's text, as strategies ask for it.

        Raises ModelFailed; BudgetExhausted and StudyStopped pass through.
        """
        request = self._request(variant, example, draw)
        return self._calls.count(variant.id, request.key, wait_for(self.model(variant).complete(request))).text

    def evaluate(
        self,
        variant: Variant,
        examples: Sequence[Example],
        *,
        keep: Callable[[ExampleResult], None] = lambda result: None,
    ) -> list[ExampleResult]:
        """One result per example, in order; each goes to ``keep`` as soon as it is there."""
        results: dict[str, ExampleResult] = {}

        def record(_: Variant, result: ExampleResult) -> None:
            results[result.example] = result
            keep(result)

        self.measure_all([(variant, example) for example in examples], record)
        return [results[example.id] for example in examples]

    def measure_all(
        self,
        pairs: Sequence[tuple[Variant, Example]],
        keep: Callable[[Variant, ExampleResult], None],
        *,
        in_turns: bool = False,
    ) -> None:
        """Measures in order, so that one variant's examples come in a row while a model's prefix cache is warm.

        As many run at once as the models take. Every result goes to ``keep`` as soon as it is there, so that an
        interrupted evaluation loses nothing; several threads call it.

        Args:
            in_turns: keep the order also where a model has several processes; otherwise each would follow one variant.
        """
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            questions = [self._question(*pair) for pair in pairs[start : start + PAIRS_AT_ONCE]]
            if in_turns:
                self._measure_some(questions, keep, in_turns)
                continue
            self._measure_some([question for question in questions if question.policy is None], keep)
            policies = grouped((question.variant.id, question) for question in questions if question.policy is not None)
            for own in policies.values():
                # One variant's examples go through one tier before any goes to the next: else prompts would push each
                # other out of a prefix cache.
                missing: Sequence[Question] = own
                for tier in range(n_tiers(own[0])):
                    missing = self._measure_some(missing, keep, up_to=tier)

    def _measure_some(
        self,
        questions: Sequence[Question],
        keep: Callable[[Variant, ExampleResult], None],
        in_turns: bool = False,
        up_to: int | None = None,
    ) -> list[Question]:
        """Measures; returns the pairs that need a tier behind ``up_to``, and remembers what was answered for them."""
        known, later = self._known(questions), list[Question]()

        def done(question: Question, outcome: Outcome) -> None:
            if isinstance(outcome.answer, TierNotDue):
                later.append(question)
            else:
                keep(question.variant, self._result(question, outcome.answer, outcome.judgement))

        def rows(some: Iterable[Question]) -> Rows[Question]:
            return Rows(("" if in_turns else question.variant.id, question) for question in some)

        def needs_no_call(question: Question) -> bool:
            if question.policy is not None:
                return False
            return not question.key or (question.key in known and not self._judge.is_asked)

        def known_outcome(question: Question) -> Outcome | None:
            return Outcome(answer=known[question.key]) if question.key in known and needs_no_call(question) else None

        outcome = partial(self._outcome, known=known, up_to=up_to)
        to_ask = [question for question in questions if question.policy is None and not needs_no_call(question)]
        shares = [
            Share(rows=rows(own), n_at_once=min(self.model(own[0].variant).concurrency, len(own)))
            for own in grouped((model_of(question), question) for question in to_ask).values()
        ]
        policies = [question for question in questions if question.policy is not None]
        if policies:
            shares.append(Share(rows=rows(policies), n_at_once=min(len(policies), max(map(self._places_of, policies)))))
        if max((share.n_at_once for share in shares), default=1) <= 1:
            for question in questions:
                done(question, known_outcome(question) or wait_for(outcome(question)))
            return later
        for question in questions:
            if needs_no_call(question):
                done(question, known_outcome(question) or wait_for(outcome(question)))
        wait_for(ask_together(shares, outcome, done))
        return later

    def _places_of(self, question: Question) -> int:
        """Calls worth having in flight for a policy's question: what the slowest of its models takes."""
        tiers = self._policies.asked_tiers(question.policy) if question.policy is not None else ()
        return min(self._calls.model(tier).concurrency for tier in tiers or (model_of(question),))

    def _known(self, questions: Sequence[Question]) -> Mapping[str, ModelAnswer]:
        """What the journals of the models hold already, looked up at once."""
        known: dict[str, ModelAnswer] = {}
        for own in grouped((model_of(question), question) for question in questions if question.key).values():
            known |= self.model(own[0].variant).known({question.key for question in own})
        return known

    async def _outcome(
        self, question: Question, *, known: Mapping[str, ModelAnswer], up_to: int | None = None
    ) -> Outcome:
        """The answer, and then the judge's judgement of it, so that both are there or neither was paid for in vain."""
        answer = known.get(question.key) or await self._answer(question, up_to=up_to)
        text = text_of(answer)
        if text is None:
            return Outcome(answer=answer)
        example = question.example
        case = (example.expected, text, example.input)
        try:
            judgement = await self._judge.judgement(*case, counts_for=question.variant.id)
        except InvalidInput as fault:
            return Outcome(answer=fault)
        return Outcome(answer=answer, judgement=judgement)

    async def _answer(self, question: Question, *, up_to: int | None = None) -> Answered:
        """The model's answer, or why there is none; BudgetExhausted and StudyStopped pass through."""
        if isinstance(question.request, InvalidInput):
            return question.request
        if question.policy is not None:
            return await self._policies.executed(
                question.variant, question.example, question.policy, question.request, up_to
            )
        try:
            return await self.model(question.variant).complete(question.request, looked_up=True)
        except (ModelFailed, InvalidInput) as failure:
            return failure

    def _result(self, question: Question, answer: Answered, judgement: Judgement | None) -> ExampleResult:
        """A failed call or a broken example has no score; an unreadable answer scores 0, since the model did answer."""
        variant, example = question.variant, question.example
        try:
            if isinstance(answer, Execution):
                return self._of_policy(example, answer, judgement)
            if not isinstance(answer, ModelAnswer):
                raise answer
            self._calls.count(variant.id, question.key, answer)
            score = self.scorer.score(example.expected, answer.text, example.input, judgement=judgement)
        except (ModelFailed, InvalidInput) as failure:
            return ExampleResult(example=example.id, score=None, output=None, error=failure.detail)
        fresh = self._calls.asked.get(question.key)
        return ExampleResult(
            example=example.id,
            score=score.value,
            output=answer.text,
            error=score.error,
            cost_usd=answer.cost_usd,
            latency_ms=fresh.latency_ms if fresh else None,
            from_journal=fresh is None,
            call_key=question.key,
            judgement=None if judgement is None else judgement.as_data(),
        )

    def tier_rows(self, variant: Variant, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """What every tier of the variant's policy answers, as rows of ``TierRecords.from_rows``; without tiers that
        failed.

        Beside its figures each tier has ``read``, what a predictor reads of request and answer, and ``own_usd``, what
        this answer cost without a second sample. Of ``ROWS_IN_TURN`` examples one tier is asked after the other: a
        model's prefix cache stays warm for so long, and a cap leaves rows that every tier has answered. The last tier
        comes first, since the champion, which was asked just before, nearly always is that one. Where a cap ends the
        calls the rows end, too; it is raised where none can have every tier by then.
        """
        policy = parse_policy(variant.policy)
        rows: list[dict[str, Any]] = [{"tiers": {}} for _ in examples]
        if policy.cascade is None:
            return rows
        readable = self._readable(variant, examples, policy)
        asked_tiers, has_ended = self._policies.asked_tiers(policy), False
        for start in range(0, len(readable), ROWS_IN_TURN):
            for tier in reversed(policy.cascade.models):

                async def answer(question: TierQuestion, tier: str = tier) -> dict[str, Any] | None:
                    return await self._policies.tier_answer(variant, tier, *question[1:])

                def keep(question: TierQuestion, answered: dict[str, Any] | None, tier: str = tier) -> None:
                    if answered is not None:
                        rows[question[0]]["tiers"][tier] = answered

                some = readable[start : start + ROWS_IN_TURN]
                try:
                    wait_for(ask_together([self._share(tier, some, is_model=tier in asked_tiers)], answer, keep))
                except BudgetExhausted:
                    if start == 0 and tier != asked_tiers[0]:  # another model has to answer the same rows
                        raise
                    has_ended = True
            if has_ended:
                break
        return rows

    def tier_texts(self, variant: Variant, tier: str, examples: Sequence[Example]) -> dict[str, str]:
        """What a model that is a tier of the variant's policy answers, by example and without a score; what failed is
        missing, and what a cap left out.
        """
        readable = self._readable(variant, examples, parse_policy(variant.policy))
        texts: dict[str, str] = {}

        async def answer(question: TierQuestion) -> str | None:
            return await self._policies.tier_text(variant, tier, question[2])

        def keep(question: TierQuestion, text: str | None) -> None:
            if text is not None:
                texts[question[1].id] = text

        if readable:
            with suppress(BudgetExhausted):
                wait_for(ask_together([self._share(tier, readable, is_model=True)], answer, keep))
        return texts

    def _share(self, tier: str, readable: Sequence[TierQuestion], *, is_model: bool) -> Share[TierQuestion]:
        """All of these at one tier, once its journal was looked through."""
        places = self._policies.look_up(tier, (wanted for _, _, wanted in readable)) if is_model else 1
        return Share(rows=Rows(("", row) for row in readable), n_at_once=min(places, len(readable)))

    def _readable(self, variant: Variant, examples: Sequence[Example], policy: Policy) -> list[TierQuestion]:
        """Without the examples whose input does not fit the prompt."""
        questions: list[TierQuestion] = []
        for at, example in enumerate(examples):
            with suppress(InvalidInput):
                wanted = self._policies.wanted(variant, example, policy, self._request(variant, example))
                questions.append((at, example, wanted))
        return questions

    def _of_policy(self, example: Example, executed: Execution, judgement: Judgement | None) -> ExampleResult:
        """What the policy would answer, at the price of all its calls."""
        attempt = executed.attempt
        if attempt is None:
            failure = executed.failure.detail if executed.failure is not None else executed.why
            return ExampleResult(example=example.id, score=None, output=None, error=failure, cost_usd=executed.cost_usd)
        score = (
            Score(value=0.0)
            if attempt.refused
            else self.scorer.score(example.expected, attempt.text, example.input, judgement=judgement)
        )
        answers = [attempt.answer for attempt in executed.attempts if attempt.answer is not None]
        is_journalled = any(answer.from_journal for answer in answers)
        return ExampleResult(
            example=example.id,
            score=score.value,
            output=attempt.text,
            error=score.error,
            cost_usd=executed.cost_usd,
            latency_ms=None if is_journalled else executed.latency_ms,
            from_journal=all(answer.from_journal for answer in answers),
            n_retries=sum(attempt.call.purpose in ("gate", "retry") for attempt in executed.attempts),
            judgement=None if judgement is None else judgement.as_data(),
            answered_by=REFUSED if attempt.refused else attempt.call.model if attempt.call.tier is not None else None,
        )

    def _question(self, variant: Variant, example: Example) -> Question:
        try:
            request = self._request(variant, example)
            policy = self._policies.of(variant)
        except InvalidInput as fault:
            return Question(variant=variant, example=example, request=fault)
        if policy is not None:
            return Question(variant=variant, example=example, request=request, policy=policy)
        return Question(variant=variant, example=example, request=request, key=request.key)

    def _request(self, variant: Variant, example: Example, draw: int = 0) -> ModelRequest:
        messages = self._policies.messages(variant, example)
        return request_for(variant, messages, revision=self.model(variant).revision, example=example.id, draw=draw)

    def asking_scorer(self) -> Scorer:
        return self._judge.asking()
