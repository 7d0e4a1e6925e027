"""The search of a study: the champion as trial 0, then what the strategies propose, each evaluated on the dev examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from optimizer.core.budget import HeldBack
from optimizer.core.errors import BudgetExhausted, ModelFailed, StudyStopped
from optimizer.core.estimate import longest_inputs, longest_of
from optimizer.core.strategy import Proposal, SearchSetting, Sequential, check_strategy
from optimizer.core.study import ExampleResult, Trial, mean_score
from optimizer.core.variant import Variant
from optimizer.core.words import count
from optimizer.jobs.evaluation import Evaluator, p95_ms
from optimizer.jobs.study_run import StopFlag, StudyRun
from optimizer.ports import Transaction, VariantRecord

Ended = Literal["complete", "budget", "time", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found: the best candidate that beats the champion on dev, or None, and why the search ended."""

    winner: str | None
    ended: Ended
    reason: str
    n_candidates: int  # evaluated in full


def run_search(run: StudyRun, *, held: HeldBack, stop: StopFlag) -> Found:
    """Evaluates until the strategies, the budget or the time are at their end; what was found so far stays usable.

    ``held`` is what the confirmation must find left over.

    Run again after a kill it takes the same way, answered by the journal.

    Raises:
        ModelFailed: the model answered none of the champion's examples, so that nothing can be compared.
    """
    evaluator = run.evaluator(purpose="search", stop=stop, held=held)
    trials = _Trials(run, evaluator)
    ended: Ended = "complete"
    reason = "The strategies have nothing left to try."
    try:
        _propose_and_evaluate(run, trials, evaluator, stop)
    except BudgetExhausted as exhausted:
        ended, reason = "budget", str(exhausted)
    except StudyStopped as stopped:
        ended, reason = ("cancelled" if stop.cancelled else "time"), str(stopped)
    finally:
        stop.end()
        evaluator.wait()
        trials.close()
    run.search_cut = reason if ended in ("budget", "time") else None
    return Found(winner=trials.winner(), ended=ended, reason=reason, n_candidates=trials.n_candidates)


def _propose_and_evaluate(run: StudyRun, trials: _Trials, evaluator: Evaluator, stop: StopFlag) -> None:
    inputs = longest_inputs(run.family, [*run.train, *run.dev])
    setting = SearchSetting(
        family=run.family,
        start=run.champion,
        train=run.train,
        dev=run.dev,
        scorer=run.scorer,
        seed=run.study.seed,
        definition=asdict(run.definition),
        answer=evaluator.text,
        fits=lambda variant: longest_of(variant, inputs) <= run.longest_bytes,
        n_threads=run.concurrency,
    )
    search = Sequential(check_strategy(run.study.strategy), setting, run.strategies)
    proposal: Proposal | None = Proposal(variant=run.champion, proposer="champion")
    while proposal is not None:
        stop.check_cancelled()
        results = trials.evaluate(proposal)
        search.tell(proposal, mean_score(results), results)
        proposal = search.ask()


class _Trials:
    """Evaluates proposals and writes them down: results, trial, variant, spend and outbox in one transaction each."""

    def __init__(self, run: StudyRun, evaluator: Evaluator) -> None:
        self._run = run
        self._evaluator = evaluator
        self._results: dict[str, list[ExampleResult]] = {}  # complete ones, by variant in order of trial
        with run.store.read() as tx:
            stored = run.store.studies.results(tx, run.study.id, "search")
            self._known = {variant: {r.example: r for r in results} for variant, results in stored.items()}
            self._written = {t.number: t for t in run.store.studies.trials(tx, run.study.id)}
        self._n_fresh = 0
        self._started_at = run.clock.now()

    @property
    def n_candidates(self) -> int:
        return max(0, len(self._results) - 1)

    def evaluate(self, proposal: Proposal) -> list[ExampleResult]:
        """The proposal's results on dev; a variant that was evaluated before is not evaluated again."""
        run, variant = self._run, proposal.variant
        if variant.id in self._results:
            return self._results[variant.id]
        number = len(self._results)
        new: list[ExampleResult] = []
        known = self._known.get(variant.id, {})
        try:
            results = self._evaluator.evaluate(variant, run.dev, known=known, keep=new.append)
        except (BudgetExhausted, StudyStopped):
            self._write(number, proposal, [*known.values(), *new], new, "stopped")
            raise
        self._results[variant.id] = results
        if number == 0:
            _require_answers(results)
        trial = self._write(number, proposal, results, new, "complete")
        self._report(trial)
        return results

    def winner(self) -> str | None:
        """The variant with the highest mean that beats the champion and is measured wherever the champion is; first of equals."""
        if not self._results:
            return None
        (_, champion), *candidates = self._results.items()
        measured = {r.example for r in champion if r.score is not None}
        best, best_score = None, mean_score(champion)
        for variant, results in candidates:
            score = _mean_on(results, measured)
            if score is not None and best_score is not None and score > best_score + 1e-12:
                best, best_score = variant, score
        return best

    def close(self) -> None:
        """Counts what was found in the journal, whatever ended the search."""
        self._run.n_from_journal = max(self._run.n_from_journal, self._evaluator.n_from_journal)

    def _write(
        self,
        number: int,
        proposal: Proposal,
        results: Sequence[ExampleResult],
        new: Sequence[ExampleResult],
        status: Literal["complete", "stopped"],
    ) -> Trial:
        run, now = self._run, self._run.clock.now()
        written = self._written.get(number)
        if written is not None and written.variant == proposal.variant.id and written.status == "complete":
            self._begin_next()
            return written  # replayed after a kill: its calls and times are those of the first run
        trial = Trial(
            study=run.study.id,
            number=number,
            variant=proposal.variant.id,
            proposer=proposal.proposer,
            params=proposal.params,
            status=status,
            n=len(results),
            n_errors=sum(r.error is not None for r in results),
            score=mean_score(results),
            cost_usd=sum(r.cost_usd for r in results),
            p95_ms=p95_ms(results),
            n_calls=self._evaluator.n_fresh - self._n_fresh,
            started_at=self._started_at,
            finished_at=now,
        )
        self._run.n_from_journal = max(run.n_from_journal, self._evaluator.n_from_journal)

        def write(tx: Transaction) -> None:
            run.store.variants.add(tx, self._record(proposal.variant))
            if new:
                run.store.studies.put_results(tx, run.study.id, "search", proposal.variant.id, new)
            run.store.studies.put_trial(tx, trial)
            run.update(tx)

        run.store.write(write)
        self._begin_next()
        return trial

    def _begin_next(self) -> None:
        self._n_fresh = self._evaluator.n_fresh
        self._started_at = self._run.clock.now()

    def _record(self, variant: Variant) -> VariantRecord:
        run = self._run
        return VariantRecord(
            family=run.family.name,
            variant=variant,
            source="study",
            created_at=run.clock.now(),
            created_by=f"study:{run.study.id}",
            parent=run.study.champion if variant.id != run.study.champion else None,
            study=run.study.id,
        )

    def _report(self, trial: Trial) -> None:
        run = self._run
        run.n_trials = len(self._results)
        if trial.number == 0:
            run.champion_score = trial.score
        if trial.score is not None and (run.best_score is None or trial.score > run.best_score):
            run.best_score = trial.score
        score = "no score" if trial.score is None else f"{trial.score:.3f}"
        text = f"trial {trial.number} ({trial.proposer}): {score} on {count(trial.n, 'dev example')}"
        run.tell("trial", text, trial=trial, eta_s=self._eta_s())

    def _eta_s(self) -> float | None:
        """Seconds left at the pace so far, confirmation included; None before there is one."""
        run, per_call = self._run, self._run.seconds_per_call()
        if per_call is None:
            return None
        n_left = (run.n_trials_most - run.n_trials) * max(len(run.dev), self._evaluator.n_fresh / max(1, run.n_trials))
        n_confirmation = 2 * len((run.study.dataset or {}).get("holdout", ()))
        if run.study.budget.calls is not None:
            n_left = min(n_left, max(0, run.study.budget.calls - n_confirmation - self._evaluator.n_fresh))
        return (n_left + n_confirmation) * per_call / run.concurrency


def _mean_on(results: Sequence[ExampleResult], examples: set[str]) -> float | None:
    """Mean over ``examples``; None unless every one of them is measured: a missing score wins nothing."""
    scores = [r.score for r in results if r.example in examples and r.score is not None]
    return sum(scores) / len(scores) if scores and len(scores) == len(examples) else None


def _require_answers(results: Sequence[ExampleResult]) -> None:
    if mean_score(results) is None:
        reason = next((r.error for r in results if r.error), "no example")
        raise ModelFailed(
            f"The model answered none of the champion's {len(results)} dev examples, so nothing can be compared. First failure: {reason}",
            kind="unreachable",
        )
