"""The context that all steps of one study's run share: study, family, examples and evaluator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, cached_property
from math import ceil
from typing import Any

from optimizer.core.base.errors import ModelFailed, NotFound, StudyStopped
from optimizer.core.base.values import Spend
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.run import QueuedRun
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.evaluation.trivial_baselines import Classify
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import HeldBack
from optimizer.core.models.language import PROPOSAL_TOKENS, PROPOSER, ModelRequest
from optimizer.core.policy.votes import similarity
from optimizer.core.search.answer_bounds import (
    NO_JUDGE,
    JudgingCost,
    calls_per_answer,
    judge_of_metrics,
    judging_cost,
    longest_answer,
    longest_inputs,
    policy_judgements,
)
from optimizer.core.search.cost_estimate import confirmation_calls
from optimizer.core.search.leaks import Fingerprints, LeakCheck, of_example, own_texts
from optimizer.core.search.move import moved
from optimizer.core.search.strategy import Propose, StrategyMaker, proposers_of, searched_tiers
from optimizer.core.search.study import KEEP, LEAKS, Definition, Study
from optimizer.jobs.calls.blocking import wait_for
from optimizer.jobs.calls.call_book import Account
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.calls.shelves import is_student, students_among
from optimizer.jobs.context import JobContext
from optimizer.jobs.dataset.golden_scenarios import asked_by, asks, golden_examples, with_kept_golden
from optimizer.jobs.dataset.weigh_examples import weights_by_chance
from optimizer.jobs.studies.evaluation import Measures
from optimizer.jobs.studies.transitions import next_status
from optimizer.ports import Clock, ModelCatalogue, ModelSource, Store, TierAnswers, Transaction

STOP_CACHE_S = 0.5  # what was stopped sends no call later than this
CALLS_FOR_A_PACE = 10
TIER_NUMBERS = ("score", "cost_usd", "own_usd", "latency_ms", "confidence")  # of a tier's answer that a study keeps


class StopFlag:
    """Read before every call: why nothing more may be asked, or None. The store is asked at most twice a second.

    Args:
        record: the study or run as it is stored.
        name: which it is, for the sentence.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        record: Callable[[Transaction], Study | QueuedRun | None],
        name: str,
        deadline: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self._store, self._clock, self._record, self._name, self._deadline = store, clock, record, name, deadline
        self._read_at: datetime | None = None
        self.cancelled = False

    def __call__(self) -> str | None:
        now = self._clock.now()
        if not self.cancelled and (self._read_at is None or (now - self._read_at).total_seconds() >= STOP_CACHE_S):
            self._read_at = now
            with self._store.read() as tx:
                record = self._record(tx)
            self.cancelled = record is not None and record.stop_requested
        if self.cancelled:
            return f"{self._name} was cancelled."
        deadline = self._deadline()
        if deadline is None or now < deadline:
            return None
        return f"{self._name} has used its time, but for what its end needs."

    def check_cancelled(self) -> None:
        """Raises StudyStopped, for places between calls.

        Time is no reason there: what the journal answers takes none.
        """
        reason = self()
        if self.cancelled:
            raise StudyStopped(reason or "")


@dataclass(kw_only=True)
class StudyRun:
    """One run of one study in this process. Mutable: ``study`` follows the store, ``fresh_ms`` what calls take."""

    study: Study
    family: Family
    definition: Definition
    champion: Variant
    train: list[Example]
    dev: list[Example]
    job: JobContext
    scorer: Scorer
    strategies: StrategyMaker
    classify: Classify
    longest_bytes: int
    run_off: list[Example] = field(default_factory=list)  # dev rows behind ``dev``, for those that lead
    own: dict[str, Any] = field(default_factory=dict)  # request key -> answer that this study asked for before this run
    fresh_ms: list[float] = field(default_factory=list)
    n_from_journal: int = 0
    search_cut: str | None = None  # as in Spend
    remark: str | None = None  # as in Spend

    @property
    def store(self) -> Store:
        return self.job.store

    @property
    def clock(self) -> Clock:
        return self.job.clock

    @property
    def models(self) -> ModelSource:
        return self.job.models

    @cached_property
    def moved(self) -> Variant | None:
        """The champion's prompt with the model to which the study looks for a way, from where it starts then."""
        return None if self.study.move_to is None else moved(self.champion, self.study.move_to)

    @property
    def is_replayed(self) -> bool:
        """Whether policies are replayed on recorded items: no call, no dollar, no limit of a request."""
        return not kind_of(self.family).asks_models

    @property
    def search_margin(self) -> float | None:
        """How far a variant's dev score may be below the champion's where the aim is time or money; None: the
        contract's.

        A wished saving or quality leaves it open: items that are not processed count as .5 there, and the wish is
        tested on the sealed items.
        """
        is_wished = any(self.study.definition.get(name) is not None for name in KEEP)
        return 1.0 if is_wished else self.family.rollout.margin

    @property
    def space(self) -> Mapping[str, Any]:
        """The study's own, else the family's."""
        return self.definition.space_over(self.family.space)

    @property
    def asked_tiers(self) -> tuple[str, ...]:
        return asked_tiers(proposers_of(self.study.strategy), self.family, self.models)

    @cached_property
    def calls_per_answer(self) -> int:
        """The most calls that one example takes: 0 where policies are replayed."""
        if self.is_replayed:
            return 0
        students = students_among(self.models, [self.champion], self.space)
        return calls_per_answer(self.champion, self.space, self.asked_tiers, students=students)

    @cached_property
    def judging(self) -> JudgingCost:
        """What judging one answer takes; NO_JUDGE where no judge is asked. Asking may open a model."""
        n_gate = 0 if self.is_replayed else policy_judgements(self.champion, self.space)
        if judge_of_metrics(self.family) is None and not n_gate:
            return NO_JUDGE
        examples = [*self.train, *self.dev, *self.run_off]
        inputs, most = longest_inputs(self.family, examples), longest_answer(self.champion, self.space)
        return judging_cost(
            self.family, inputs, examples, most, lambda name: self.models.get(name).price, n_gate=n_gate
        )

    @property
    def calls_with_judges(self) -> int:
        """Calls that an answer of one call takes together with its judgement."""
        return 1 + ceil(self.judging.calls.expected)

    @property
    def n_confirmation(self) -> int:
        """Calls of the confirmation at most."""
        n_holdout = len((self.study.dataset or {}).get("holdout", ()))
        return confirmation_calls(n_holdout, self.calls_per_answer + ceil(self.judging.calls.high))

    @cached_property
    def concurrency(self) -> int:
        """Calls of the champion's model worth having in flight at once; asking may start an embedded model."""
        return 1 if self.is_replayed else max(1, self.models.get(str(self.champion.model["name"])).concurrency)

    def stop_flag(self, deadline: Callable[[], datetime | None] = lambda: None) -> StopFlag:
        id = self.study.id
        return StopFlag(self.store, self.clock, lambda tx: self.store.studies.get(tx, id), f"Study {id}", deadline)

    def proposer(self, evaluator: Measures, *, stop: StopFlag, held: Callable[[], HeldBack]) -> Propose:
        """strategy.SearchSetting.propose. A fresh proposal is a call of ``evaluator``, and so of the trial after it."""
        name = self.definition.proposer or str(self.champion.model.get("name"))

        @cache  # opened at the first proposal, since opening a model may start it
        def journaled() -> JournaledModel:
            return self.journaled(name, purpose=PROPOSER, stop=stop, held=held)

        def propose(messages: Sequence[Mapping[str, Any]], draw: str) -> str:
            calls = journaled()
            request = ModelRequest(
                model=name,
                revision=calls.revision,
                messages=[dict(message) for message in messages],
                params={"temperature": 1.0, "max_tokens": PROPOSAL_TOKENS},  # drawn, since proposals shall differ
                sample=draw,
            )
            answer = wait_for(calls.complete(request))
            evaluator.counts.add_proposal(answer)
            if answer.finish_reason == "length" or answer.output_tokens >= PROPOSAL_TOKENS:
                raise ModelFailed(
                    f"The proposer's answer was cut off after {answer.output_tokens} tokens.", kind="malformed"
                )
            return answer.text

        return propose

    def journaled(
        self, name: str, *, purpose: str, stop: StopFlag, held: Callable[[], HeldBack] = HeldBack
    ) -> JournaledModel:
        return JournaledModel(
            self.models.get(name),
            Account(study=self.study.id, family=self.family.name, purpose=purpose, budget=self.study.budget, held=held),
            store=self.store,
            clock=self.clock,
            stop=stop,
            users_wait=lambda: self.study.trigger is not None and self.job.users_wait(),
        )

    def spend(self, tx: Transaction) -> Spend:
        spend = self.store.journal.spend(tx, self.study.id)
        return replace(spend, n_from_journal=self.n_from_journal, search_cut=self.search_cut, remark=self.remark)

    def keep_remark(self, text: str) -> None:
        self.remark = text

    def keep_finding(self, name: str, values: Any) -> None:
        self.store.write(lambda tx: self.update(tx, findings={**(self.study.findings or {}), name: values}))

    def leak_check(self) -> LeakCheck:
        """Refuses what quotes a sealed or unreleased example of the family or a golden row; counts among the findings.

        A released example that asks what a golden row asks is in no dataset, and excuses nothing.
        """

        def find(hidden: bool) -> Callable[[], Fingerprints]:
            is_any = self.family.privacy.examples_from == "any"

            def read() -> Fingerprints:
                with self.store.read() as tx:
                    family = with_kept_golden(tx, self.store, self.family)
                    questions = asked_by(family, family.golden)

                    def of(example: Example) -> Fingerprints:
                        is_twin = not hidden and asks(family, example.input) in questions
                        return set() if is_twin else of_example(example)

                    fingerprints = self.store.examples.fingerprints(
                        tx, family.name, of, hidden=hidden, any_origin=is_any
                    )
                rows = golden_examples(family, family.golden) if hidden else []
                return fingerprints.union(*map(of_example, rows))

            return read

        return LeakCheck(
            own_texts(self.family, self.champion),
            hidden=find(True),
            shown=find(False),
            refused=lambda counts: self.keep_finding(LEAKS, counts),
        )

    def tier_rows(self, evaluator: Measures, variant: Variant, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """``evaluator.tier_rows``; their numbers, and no text, are kept for the study's report.

        Beside its own numbers each tier has its ``agreement_with`` each one behind it that answered, since a variant
        may leave out those between. A row whose example came from a request that a student answered has the ``weight``
        of its chance.
        """
        with self.store.read() as tx:
            weights = weights_by_chance(tx, self.store, self.family, examples)
        rows = [
            {**row, "weight": weights[example.id]} if example.id in weights else row
            for row, example in zip(evaluator.tier_rows(variant, examples), examples, strict=True)
        ]
        tiers = tuple(variant.policy.get("tiers") or ())
        numbers = [
            {
                **row,
                "tiers": {
                    tier: {
                        **{name: figures[name] for name in TIER_NUMBERS},
                        "agreement_with": {
                            behind: similarity(self.family.output, figures["text"], row["tiers"][behind]["text"])
                            for behind in tiers[tiers.index(tier) + 1 :]
                            if behind in row["tiers"]
                        },
                    }
                    for tier, figures in row["tiers"].items()
                },
            }
            for row in rows
        ]
        answers = TierAnswers(tiers=tiers, rows=numbers)
        if answers.tiers and rows:
            self.store.write(lambda tx: self.store.studies.put_tier_answers(tx, self.study.id, answers))
        return rows

    def update(self, tx: Transaction, **changes: Any) -> None:
        """Changes the study's row, its spend included, and lets the mirror know."""
        if "status" in changes:
            next_status(self.study, changes["status"])
        self.study = self.store.studies.update(tx, self.study.id, spend=self.spend(tx), **changes)
        self.store.outbox.add(tx, "study", self.study.id, {}, self.clock.now())

    def seconds_per_call(self) -> float | None:
        """The mean time of a fresh call without the slowest, which may have woken the model; None before there is a
        pace.
        """
        if len(self.fresh_ms) < CALLS_FOR_A_PACE:
            return None
        return (sum(self.fresh_ms) - max(self.fresh_ms)) / (len(self.fresh_ms) - 1) / 1000


def asked_tiers(names: Sequence[str], family: Family, models: ModelCatalogue) -> tuple[str, ...]:
    """The searched tiers that are models: a student answers without a call."""
    return tuple(tier for tier in searched_tiers(names, family) if not is_student(models, tier))


def variant_of(store: Store, family: str, id: str) -> Variant:
    """A stored Variant; raises NotFound."""
    with store.read() as tx:
        record = store.variants.get(tx, family, id)
    if record is None:
        raise NotFound(
            f"Family {family!r} has no variant {id!r}; `detent variant list {family}` shows those that exist."
        )
    return record.variant
