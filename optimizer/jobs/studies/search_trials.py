"""The trials of a search: the results of each Variant on the dev examples that it has met, stored as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from optimizer.core.base.errors import BudgetExhausted, ModelFailed, StudyStopped
from optimizer.core.base.values import ExampleResult, mean_score, p95_ms
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.comparison import TIE
from optimizer.core.family.variant import Variant, VariantRecord
from optimizer.core.search.objective import Objective
from optimizer.core.search.run_off import (
    LOSS,
    RUN_OFF,
    SAVED,
    Leader,
    PredictedLoss,
    change_of,
    ranked_leaders,
)
from optimizer.core.search.strategy import Proposal
from optimizer.core.search.study import Trial
from optimizer.jobs.studies.context import StudyRun
from optimizer.jobs.studies.evaluation import Measures
from optimizer.ports import Transaction

Part = tuple[Proposal, Sequence[Example]]


@dataclass(kw_only=True)
class _TrialEntry:
    """One trial of this run and its results so far, by example."""

    number: int
    proposal: Proposal
    results: dict[str, ExampleResult] = field(default_factory=dict)
    further: dict[str, ExampleResult] = field(default_factory=dict)  # on the rows of the run-off
    trial: Trial | None = None  # as written

    @property
    def variant(self) -> Variant:
        return self.proposal.variant

    def on(self, further: Sequence[Example], common: Container[str] | None = None) -> list[ExampleResult]:
        """The results on dev, or on those of it that are ``common``, and on these rows behind it."""
        own = [r for example, r in self.results.items() if common is None or example in common]
        return [*own, *(self.further[example.id] for example in further)]


class Trials:
    """Evaluates proposals and writes them down: results, trial, variant, spend and outbox in one transaction each."""

    def __init__(self, run: StudyRun) -> None:
        self._run = run
        self._entries: dict[str, _TrialEntry] = {}  # by variant, in order of trial
        with run.store.read() as tx:
            stored = run.store.studies.results(tx, run.study.id, "search")
            further = run.store.studies.results(tx, run.study.id, RUN_OFF)
            self._known = _by_example(stored, run.dev)
            self._known_further = _by_example(further, run.run_off)
            self._written = {t.number: t for t in run.store.studies.trials(tx, run.study.id)}
        # Champion and leader of a race that ended before both met every example.
        self._pair: frozenset[str] = frozenset()
        self._counted: Counter[str] = Counter()  # fresh calls by variant that written trials count
        self._started_at = run.clock.now()

    @property
    def n_candidates(self) -> int:
        """Compared with the champion, on however many examples."""
        return max(0, sum(bool(entry.results) for entry in self._entries.values()) - 1)

    def evaluate(self, evaluator: Measures, parts: Sequence[Part]) -> list[list[ExampleResult]]:
        """Results per part, in order of its examples; what a proposal was evaluated on before is not evaluated again.

        ``parts``: proposals, each once, with the examples of dev that it meets; all of them are asked at once where the
        model allows it.
        """
        entries = [self._entry(proposal) for proposal, _ in parts]
        new: dict[str, list[ExampleResult]] = {entry.variant.id: [] for entry in entries}
        pairs = [
            (entry.variant, example)
            for entry, (_, examples) in zip(entries, parts, strict=True)
            for example in examples
            if example.id not in entry.results
        ]
        try:
            evaluator.measure_all(pairs, lambda variant, result: new[variant.id].append(result))
        except (BudgetExhausted, StudyStopped):
            self._write_all(evaluator, entries, new)
            raise
        for entry in entries:
            if entry.number == 0 or entry.variant is self._run.moved:
                _require_answers([*entry.results.values(), *new[entry.variant.id]], entry.variant)
        self._write_all(evaluator, entries, new)
        return [[entry.results[e.id] for e in examples] for entry, (_, examples) in zip(entries, parts, strict=True)]

    def end_race(self, pair: Sequence[Proposal]) -> None:
        """Compares only champion and leader, on what both have met, where a race's cap left them no call
        for the rest.
        """
        entries = [self._entries[proposal.variant.id] for proposal in pair if proposal.variant.id in self._entries]
        if not all(map(self._is_complete, entries)):
            self._pair = frozenset(entry.variant.id for entry in entries)
            for entry in entries:
                if entry.trial is not None:
                    entry.trial = replace(entry.trial, status="complete", finished_at=self._run.clock.now())
                    self._put(entry, [])

    @property
    def n_compared(self) -> int:
        """Dev examples of the study on which the champion is compared."""
        met = [entry.results.keys() for entry in self._compared()]
        return len(frozenset.intersection(*map(frozenset, met))) if self._pair and met else len(self._run.dev)

    def drop(self) -> None:
        """The race is decided: those that have not met every example are out of it."""
        for entry in self._entries.values():
            if entry.trial is not None and entry.trial.status != "complete":
                entry.trial = replace(
                    entry.trial, status="dropped", finished_at=entry.trial.finished_at or self._run.clock.now()
                )
                self._put(entry, [])

    def objective(self) -> Objective | None:
        """How results compare with the champion's; None before it has any."""
        champion = next((list(entry.results.values()) for entry in self._entries.values() if entry.number == 0), None)
        return (
            Objective(aim=self._run.study.aim, champion=champion, margin=self._run.search_margin) if champion else None
        )

    def leaders(self, further: Sequence[Example] = ()) -> list[Leader]:
        """The variants that gain over the champion, the best first; after a race that ended before, its leader; on the
        way to another model all that ask it.

        They met every dev example and all of ``further``. None while the champion has not met them all. A variant
        without a score where the champion has one cannot win.
        """
        compared = [entry for entry in self._compared() if all(example.id in entry.further for example in further)]
        if not compared or compared[0].number != 0:
            return []
        common = frozenset.intersection(*(frozenset(entry.results) for entry in compared))
        champion, *others = ((entry, entry.on(further, common)) for entry in compared)
        objective = Objective(aim=self._run.study.aim, champion=champion[1], margin=self._run.search_margin)
        model = self._run.study.move_to
        return ranked_leaders(
            [
                Leader(
                    variant=entry.variant.id,
                    gain=gain,
                    change=change_of(self._run.champion, entry.variant),
                    usd=sum(r.cost_usd for r in results) / len(results),
                    number=entry.number,
                )
                for entry, results in others
                if (gain := objective.gain(results)) is not None
                and (model is None or entry.variant.model["name"] == model)
            ],
            above=TIE if model is None else -inf,
        )

    def meet(self, evaluator: Measures, variants: Sequence[str], further: Sequence[Example]) -> None:
        """The champion and ``variants`` on rows behind dev; what was measured stays where a cap ends it."""
        run, entries = self._run, [self._entries[variant] for variant in (self._run.champion.id, *variants)]
        new: dict[str, list[ExampleResult]] = {entry.variant.id: [] for entry in entries}
        pairs = [
            (entry.variant, example) for entry in entries for example in further if example.id not in entry.further
        ]
        try:
            evaluator.measure_all(pairs, lambda variant, result: new[variant.id].append(result))
        finally:
            run.n_from_journal = max(run.n_from_journal, len(evaluator.counts.found))
            for entry in entries:
                entry.further |= {r.example: r for r in new[entry.variant.id]}

            def write(tx: Transaction) -> None:
                for variant, results in new.items():
                    if results:
                        run.store.studies.put_results(tx, run.study.id, RUN_OFF, variant, results)
                run.update(tx)

            run.store.write(write)

    def compared(self, variant: str) -> dict[str, Any]:
        """{"variant", "n", "score", "champion_score"} on all the rows that it has met."""
        entry, champion = self._entries[variant], self._entries[self._run.champion.id]
        rows = [example for example in self._run.run_off if example.id in entry.further]
        own = entry.on(rows)
        return {
            "variant": variant,
            "n": len(own),
            "score": mean_score(own),
            "champion_score": mean_score(champion.on([row for row in rows if row.id in champion.further])),
        }

    def predicted(self) -> list[PredictedLoss]:
        """What the proposals are predicted to do that differ from the champion in their policy alone, met every dev
        example and have a score wherever the champion has one.
        """
        complete = [entry for entry in self._entries.values() if self._is_complete(entry)]
        if not complete or complete[0].number != 0:
            return []
        champion, scored = complete[0].variant, {r.example for r in complete[0].results.values() if r.score is not None}
        return [
            PredictedLoss(
                variant=entry.variant.id,
                saved=float(entry.proposal.params[SAVED]),
                loss=float(entry.proposal.params[LOSS]),
            )
            for entry in complete[1:]
            if SAVED in entry.proposal.params
            and replace(entry.variant, policy=champion.policy).id == champion.id
            and all(entry.results[example].score is not None for example in scored)
        ]

    def _compared(self) -> list[_TrialEntry]:
        return [
            entry
            for entry in self._entries.values()
            if (entry.variant.id in self._pair if self._pair else self._is_complete(entry))
        ]

    def _is_complete(self, entry: _TrialEntry) -> bool:
        return all(example.id in entry.results for example in self._run.dev)

    def _lacks_scores(self, entry: _TrialEntry) -> bool:
        """Whether it has no score where the champion has one: mean and dollars then leave out what failed, and compare
        with no other's.
        """
        champion = next(iter(self._entries.values()))
        return any(
            result.score is not None and entry.results[example].score is None
            for example, result in champion.results.items()
            if example in entry.results
        )

    def _entry(self, proposal: Proposal) -> _TrialEntry:
        id = proposal.variant.id
        if id not in self._entries:
            self._entries[id] = _TrialEntry(
                number=len(self._entries),
                proposal=proposal,
                results=self._known.get(id, {}),
                further=self._known_further.get(id, {}),
            )
        return self._entries[id]

    def _write_all(
        self, evaluator: Measures, entries: Sequence[_TrialEntry], new: Mapping[str, Sequence[ExampleResult]]
    ) -> None:
        """What the proposers asked since the last time counts for the first of ``entries``."""
        fresh = evaluator.counts.fresh_by_variant.copy()
        own = {entry.variant.id: fresh[entry.variant.id] - self._counted[entry.variant.id] for entry in entries}
        n_proposers = fresh.total() - self._counted.total() - sum(own.values())
        self._counted = fresh
        for entry in entries:
            self._write(evaluator, entry, new[entry.variant.id], own[entry.variant.id] + n_proposers)
            n_proposers = 0
        self._started_at = self._run.clock.now()

    def _write(self, evaluator: Measures, entry: _TrialEntry, new: Sequence[ExampleResult], n_calls: int) -> None:
        run = self._run
        run.n_from_journal = max(run.n_from_journal, len(evaluator.counts.found))
        entry.results |= {r.example: r for r in new}
        if not entry.results and n_calls == 0:
            return  # cut short before its first answer
        results, before = list(entry.results.values()), entry.trial or self._written.get(entry.number)
        is_complete = self._is_complete(entry)
        if before is not None and before.variant != entry.variant.id:
            before = None  # of another search
        if before is not None and before.n >= len(results) and not new:
            entry.trial = before  # replayed after a kill: its calls and times are those of the first run
            return
        entry.trial = Trial(
            study=run.study.id,
            number=entry.number,
            variant=entry.variant.id,
            proposer=entry.proposal.proposer,
            params=entry.proposal.params,
            status="running" if not is_complete else "dropped" if self._lacks_scores(entry) else "complete",
            n=len(results),
            n_errors=sum(r.error is not None for r in results),
            score=mean_score(results),
            cost_usd=sum(r.cost_usd for r in results),
            p95_ms=p95_ms(results),
            n_calls=(before.n_calls if before else 0) + n_calls,
            started_at=before.started_at if before else self._started_at,
            finished_at=run.clock.now() if is_complete else None,
        )
        self._put(entry, new)

    def _put(self, entry: _TrialEntry, new: Sequence[ExampleResult]) -> None:
        run, trial = self._run, entry.trial
        assert trial is not None

        def write(tx: Transaction) -> None:
            run.store.variants.add(
                tx,
                VariantRecord(
                    family=self._run.family.name,
                    variant=entry.variant,
                    source="study",
                    created_at=self._run.clock.now(),
                    created_by=f"study:{self._run.study.id}",
                    parent=self._run.study.champion if entry.variant.id != self._run.study.champion else None,
                    study=self._run.study.id,
                ),
            )
            if new:
                run.store.studies.put_results(tx, run.study.id, "search", trial.variant, new)
            run.store.studies.put_trial(tx, trial)
            run.update(tx)

        run.store.write(write)


def _by_example(
    stored: Mapping[str, Sequence[ExampleResult]], examples: Sequence[Example]
) -> dict[str, dict[str, ExampleResult]]:
    """Without examples that were forgotten since, and without those that an earlier run could not score: their calls
    failed, and are made again, while the journal has what was answered.
    """
    ids = {example.id for example in examples}
    return {
        variant: {r.example: r for r in results if r.example in ids and r.score is not None}
        for variant, results in stored.items()
    }


def _require_answers(results: Sequence[ExampleResult], variant: Variant) -> None:
    if mean_score(results) is None:
        reason = next((r.error for r in results if r.error), "no example")
        raise ModelFailed(
            f"The model {variant.model['name']} answered none of the champion's {len(results)} dev examples, so nothing"
            f" can be compared. First failure: {reason}",
            kind="unreachable",
        )
