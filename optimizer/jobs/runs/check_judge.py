"""Measures the biases of a family's judge: swaps two answers, pads one, and puts its own beside another's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from optimizer.core.base.errors import BudgetExhausted, Conflict, StudyStopped
from optimizer.core.base.values import Spread
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.judging.bias import BiasFound, Pair, bias_of, own_wins, pad, pair_messages, place_bias
from optimizer.core.evaluation.judging.calibration import judge_identity, judge_of
from optimizer.core.evaluation.judging.run import JudgeRunEstimate
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import request_bytes
from optimizer.core.search.answer_bounds import (
    ASKS,
    DEFAULT_MAX_TOKENS,
    OUTPUT_BYTES_PER_TOKEN,
    models_of,
    usd_of,
)
from optimizer.core.search.cost_estimate import estimate_evaluation
from optimizer.core.search.prefix_queue import Rows
from optimizer.jobs.calls.ask_judge import JUDGE, ask_member, ask_pair, judged_answer
from optimizer.jobs.calls.ask_together import Share, ask_together
from optimizer.jobs.calls.blocking import wait_for
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.calls.run_calls import RunCalls
from optimizer.jobs.calls.shelves import Shelves, students_among
from optimizer.jobs.families.check_models import require_known_models
from optimizer.jobs.studies.evaluation import Evaluator
from optimizer.jobs.studies.plan_evaluation import calls_at_most, drawn_examples
from optimizer.ports import ModelCatalogue, Store

DEFAULT_N = 40
DRAWN_AT = 1.0  # temperature of the second answer of a pair
Kind = Literal["place", "plain", "padded", "own"]
Key = tuple[Kind, str, str, str, bool]  # what is asked, the member, the example, whose own answer, swapped
NO_OTHER = "no other judge says how good its own answers are; name one (--beside MODEL)"
SAME_MODEL = "it judges answers of its own model alone; let another model answer, or another one judge"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCheck:
    """``biases`` by member of the judge: position, verbosity and self-preference. ``n``: examples. ``stopped``: why not
    all was asked; the biases then rest on what was.
    """

    family: str
    judge: str
    n: int
    biases: Mapping[str, Sequence[BiasFound]]
    n_calls: int
    usd: float
    stopped: str | None = None

    @property
    def is_biased(self) -> bool:
        return any(bias["verdict"] == "biased" for of_member in self.biases.values() for bias in of_member)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """``own``: by member whose own answers are compared, the variant that gives them."""

    champion: Variant
    drawn: Variant  # the champion, more daring: the other answer of a pair
    own: Mapping[str, Variant]
    members: Sequence[str]
    beside: Sequence[str]  # all who judge own answers
    examples: Sequence[Example]

    @property
    def variants(self) -> list[Variant]:
        return [self.champion, self.drawn, *self.own.values()]

    @property
    def n_judgements(self) -> int:
        return len(self.examples) * (4 * len(self.members) + 2 * len(self.own) * len(self.beside))


def check_judge(
    family: Family,
    calls: RunCalls,
    *,
    n: int = DEFAULT_N,
    beside: str | None = None,
    scorer_for: Callable[[Family], Scorer],
) -> JudgeCheck:
    """Asks the champion for two answers to each of ``n`` dev examples, and every member of the judge about them.

    It goes as far as the budget does: answers at temperature 0 stay in the journal; the second answers are drawn anew.

    Args:
        beside: a model that judges each member's own answers, too; members of a committee do so for one another.
    Raises:
        InvalidInput, InvalidFamily: the family has no judge, or a model is unknown.
        Conflict: nothing serves yet. DatasetTooSmall: no dev example.
        BudgetTooSmall: a cap in dollars over a model without a known price.
    """
    judge, plan = judge_of(family), _plan(family, n, beside, calls.store, calls.models)
    calls.require_bounded(plan.beside, judge.max_tokens)

    def opener(purpose: str) -> Callable[[str], JournaledModel]:
        return lambda name: calls.journaled(name, family=family.name, purpose=purpose)

    shelves = Shelves.of(calls.store, calls.models)
    evaluator = Evaluator(family, scorer_for(family).unjudged(), opener("evaluation"), shelves=shelves)
    opened = {name: opener(JUDGE)(name) for name in dict.fromkeys([*plan.members, *plan.beside])}

    async def open_member(name: str) -> JournaledModel:
        return opened[name]

    async def ask(question: tuple[Key, Example, Pair | str]) -> float | None:
        (_, member, *_), example, shown = question
        if isinstance(shown, Pair):
            return await ask_pair(judge, shown, member, open_member)
        return (await ask_member(judge, judged_answer(family, example.input, {}, shown), member, open_member)).score

    answers, lock = dict[Key, float | None](), threading.Lock()

    def keep(question: tuple[Key, Example, Pair | str], answer: float | None) -> None:
        with lock:
            answers[question[0]] = answer
            if calls.run is not None:
                calls.run.progress(len(answers))

    stopped: str | None = None
    try:
        # Example -> answer; those without an answer are left out
        texts = {
            variant.id: {
                result.example: result.output for result in evaluator.evaluate(variant, plan.examples) if result.output
            }
            for variant in plan.variants
        }
        questions = list(_questions(family, plan, texts))
        if questions:
            n_at_once = min(len(questions), *(model.concurrency for model in opened.values()))
            wait_for(
                ask_together(
                    [Share(rows=Rows(("", question) for question in questions), n_at_once=n_at_once)], ask, keep
                )
            )
    except (BudgetExhausted, StudyStopped) as ended:
        stopped = str(ended)
    spend = calls.spend()
    return JudgeCheck(
        family=family.name,
        judge=judge_identity(family),
        n=len(plan.examples),
        biases={member: _biases(plan, member, answers) for member in plan.members},
        n_calls=spend.n_calls,
        usd=spend.usd,
        stopped=stopped,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckEstimate:
    """``n_questions`` to judges at most; ``models``: all asked, of the variants too."""

    run: JudgeRunEstimate
    n_questions: int
    models: Sequence[str]


def estimate_check(
    family: Family, *, n: int = DEFAULT_N, beside: str | None = None, store: Store, models: ModelCatalogue
) -> CheckEstimate:
    """What ``check_judge`` takes; asks and spends nothing, and raises as it does."""
    judge, plan = judge_of(family), _plan(family, n, beside, store, models)
    calls, usd = estimate_evaluation(
        plan.variants,
        plan.examples,
        family,
        models.price,
        are_judged=False,
        students=students_among(models, plan.variants),
    )
    prices = [models.price(name) for name in plan.beside]
    answer = "x" * OUTPUT_BYTES_PER_TOKEN * int(plan.champion.model.get("max_tokens") or DEFAULT_MAX_TOKENS)
    longest = max(
        request_bytes(
            pair_messages(judge, Pair(task=family.description, input=example.input, first=answer, second=answer))
        )
        for example in plan.examples
    )
    judged = Spread(low=0, expected=plan.n_judgements, high=plan.n_judgements * ASKS)
    if usd is not None and None not in prices:
        dearest = max(usd_of(longest, judge.max_tokens, price) for price in prices if price is not None)
        usd += Spread(low=0, expected=judged.expected * dearest / 4, high=judged.high * dearest)
    else:
        usd = None
    names = dict.fromkeys([*plan.beside, *(name for one in plan.variants for name in models_of(one, {}))])
    calls += judged
    run = JudgeRunEstimate(
        family=family.name,
        kind="check",
        members=plan.members,
        n=len(plan.examples),
        calls=calls,
        usd=usd,
        calls_at_most=calls_at_most(calls),
    )
    return CheckEstimate(run=run, n_questions=plan.n_judgements, models=tuple(names))


def _plan(family: Family, n: int, beside: str | None, store: Store, models: ModelCatalogue) -> _Plan:
    judge = judge_of(family)
    require_known_models(family, models)
    if beside is not None:
        models.describe(beside)
    with store.read() as tx:
        champion = store.champions.current(tx, family.name)
        record = None if champion is None else store.variants.get(tx, family.name, champion.variant)
    if record is None:
        raise Conflict(
            f"{family.name} has no champion whose answers could be judged. Serve one: detent family adopt"
            f" {family.name} --confirm {family.name}."
        )
    variant = record.variant
    others = list(dict.fromkeys([*judge.members, *([beside] if beside is not None else [])]))
    compared = [name for name in judge.members if name not in models_of(variant, {})] if len(others) > 1 else []
    return _Plan(
        champion=variant,
        drawn=replace(variant, model={**variant.model, "temperature": DRAWN_AT}),
        own={name: replace(variant, model={**variant.model, "name": name}, policy={}) for name in compared},
        members=judge.members,
        beside=others,
        examples=drawn_examples(family, "dev", n, store),
    )


def _questions(
    family: Family, plan: _Plan, texts: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[Key, Example, Pair | str]]:
    for example in plan.examples:
        first, second = (texts[variant.id].get(example.id) for variant in (plan.champion, plan.drawn))
        if first is None:
            continue
        for member in plan.members:
            yield ("plain", member, example.id, "", False), example, first
            yield ("padded", member, example.id, "", False), example, pad(first)
            if second is not None:
                yield from _both_orders("place", member, "", family, example, first, second)
        for author, variant in plan.own.items():
            if (own := texts[variant.id].get(example.id)) is not None:
                for member in plan.beside:
                    yield from _both_orders("own", member, author, family, example, own, first)


def _both_orders(
    kind: Kind, member: str, author: str, family: Family, example: Example, first: str, second: str
) -> Iterator[tuple[Key, Example, Pair]]:
    pair = Pair(task=family.description, input=example.input, first=first, second=second)
    yield (kind, member, example.id, author, False), example, pair
    yield (kind, member, example.id, author, True), example, pair.swapped


def _biases(plan: _Plan, member: str, answers: Mapping[Key, float | None]) -> list[BiasFound]:
    def wins(kind: Kind, judge: str, example: Example, author: str = "") -> tuple[float, float] | None:
        once, swapped = (answers.get((kind, judge, example.id, author, order)) for order in (False, True))
        return None if once is None or swapped is None else (once, swapped)

    places = [place_bias(*pair) for one in plan.examples if (pair := wins("place", member, one)) is not None]
    lengths = []
    for one in plan.examples:
        plain, longer = (answers.get((kind, member, one.id, "", False)) for kind in ("plain", "padded"))
        if plain is not None and longer is not None:
            lengths.append(longer - plain)
    owns = []
    for one in plan.examples:
        mine = wins("own", member, one, member)
        theirs = [wins("own", judge, one, member) for judge in plan.beside if judge != member]
        known = [own_wins(*pair) for pair in theirs if pair is not None]
        if mine is not None and known:
            owns.append(own_wins(*mine) - sum(known) / len(known))
    why = "" if member in plan.own else NO_OTHER if len(plan.beside) < 2 else SAME_MODEL
    return [
        bias_of("position", places),
        bias_of("verbosity", lengths),
        bias_of("self_preference", owns, why_few=why),
    ]
