"""Runs one study from wherever it stands: dataset, search, confirmation, finish.

May be killed and run again at any point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import structlog

from optimizer.core.base.errors import BudgetExhausted, Busy, Conflict, DetentError, NotFound, StudyStopped
from optimizer.core.base.values import Spend, scores_by_example
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.evaluation.label_report import LABELS, read_labels
from optimizer.core.evaluation.suite import suite_id, suites_of
from optimizer.core.evaluation.trivial_baselines import (
    BY_STUDENT,
    STUDENT_SEARCHED,
    WITHOUT_MODEL,
    Classify,
    bare_prompt,
    measure_trivial,
    trivial_scores,
)
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.variant import Variant
from optimizer.core.search.answer_bounds import judge_of_metrics, longest_allowed, longest_inputs
from optimizer.core.search.cost_estimate import confirmation_calls, confirmation_usd, search_budget
from optimizer.core.search.run_off import RUN_OFF, read_frozen
from optimizer.core.search.strategy import StrategyMaker, proposers_of, searched_tiers, writes
from optimizer.core.search.study import ENDED, JUDGED_BY, STOPPED_S, TAUGHT_STUDENTS, Definition, Study
from optimizer.core.views.forgetting import holds_up
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.calls.shelves import is_student
from optimizer.jobs.context import JobContext
from optimizer.jobs.dataset.build_dataset import build_dataset, dev_examples, load_examples, teaching_examples
from optimizer.jobs.dataset.golden_scenarios import with_kept_golden
from optimizer.jobs.studies.confirm_winner import confirm_winner
from optimizer.jobs.studies.context import StopFlag, StudyRun, variant_of
from optimizer.jobs.studies.evaluate_variant import CallSource, evaluate_variant
from optimizer.jobs.studies.plan_evaluation import EvaluationScope
from optimizer.jobs.studies.run_search import Reserve, run_search
from optimizer.jobs.studies.transitions import fail_study, next_status
from optimizer.ports import SealedHoldout, Transaction

MOST_TAUGHT = 1000  # for baselines; the nearest of these is found for each dev row in 4 s, that of 5,000 in 20
log = structlog.get_logger("detent.study")


def run_study(
    study_id: str,
    context: JobContext,
    *,
    holdout: SealedHoldout,
    strategies: StrategyMaker,
    classify: Classify,
) -> Study:
    """Runs the whole study. One that has ended is returned as it is; one that was interrupted continues from the
    journal.

    What a user caused (a model that does not answer, a family that is gone) ends the study as failed with its sentence.
    Any other error fails it too and is raised, so that the log shows where. A kill leaves it running, to be run again.
    A study that started by itself asks a model only while no user waits.
    """
    store, clock = context.store, context.clock
    with store.read() as tx:
        study = store.studies.get(tx, study_id)
    if study is None:
        raise NotFound(f"There is no study {study_id!r}; `detent study list` shows those that exist.")
    if study.status in ENDED:
        return study
    try:
        family = context.families.families.get(study.family)
        if family is None:
            raise NotFound(
                f"Family {study.family!r} cannot be loaded, so study {study_id} cannot run. See `detent family"
                " validate`."
            )
        run = _begin(study, family, context, strategies, classify)
        return run.study if run.study.status in ENDED else _search_and_confirm(run, holdout)
    except Busy:
        raise  # the store is away for a while, through no fault of the study, which can go on later
    except DetentError as problem:
        return fail_study(store, clock, study_id, problem.detail)
    except Exception as problem:
        fail_study(
            store,
            clock,
            study_id,
            f"Unexpected {type(problem).__name__}: {problem}. The log of the worker shows where.",
        )
        raise


def _begin(
    study: Study,
    family: Family,
    context: JobContext,
    strategies: StrategyMaker,
    classify: Classify,
) -> StudyRun:
    """Fixes the dataset before the first call, counts calls that a kill left in flight, and loads what the run needs.

    A study that was cancelled in between is left as it is.
    """
    store, clock = context.store, context.clock
    definition = Definition.parse(study.definition)
    dataset = study.dataset or build_dataset(family, definition, store)
    scorer = context.scorer_for(family)
    now = clock.now()

    def begin(tx: Transaction) -> Study:
        now_stored = store.studies.get(tx, study.id) or study
        if now_stored.status in ENDED:
            return now_stored
        if holds_up(store.runs.unfinished(tx), now_stored):  # it was queued since the worker looked
            raise Busy("A person is being forgotten, and no study begins before that has ended.", retry_after_s=5)
        if now_stored.scorer_version not in (None, scorer.version):
            raise Conflict(
                f"The scorer of {study.family} changed from {now_stored.scorer_version} to {scorer.version} while study"
                f" {study.id} was interrupted, and scores of two scorers are never compared. Put the scorer back and"
                f" resume the study, or search again: detent study run {study.family} (what was asked at temperature 0"
                " is answered from the journal)."
            )
        n_lost = store.journal.mark_lost(tx, study.id, now)
        if n_lost:
            log.warning("calls_lost", study=study.id, n_lost=n_lost)
        changes: dict[str, Any] = {"dataset": dataset, "scorer_version": scorer.version}
        if judge_of_metrics(family) is not None:
            changes["findings"] = {**(now_stored.findings or {}), JUDGED_BY: judge_identity(family)}
        # Once a winner was scored on the holdout no other variant may be, since that look would not be counted.
        has_a_winner = now_stored.winner is not None and (
            now_stored.status == "confirming"
            or now_stored.mode == "confirm"
            or bool(store.examples.looked_at(tx, study.family, study.id))
        )
        changes["status"] = next_status(now_stored, "confirming" if has_a_winner else "running")
        changes |= {"started_at": now_stored.started_at or now, "outcome": None, "error": None, "finished_at": None}
        store.outbox.add(tx, "study", study.id, {}, now)
        return store.studies.update(tx, study.id, **changes)

    study = store.write(begin)
    champion = variant_of(store, family.name, study.champion)
    train, dev = load_examples(family, dataset, store)
    further = dev_examples(family, dataset.get(RUN_OFF, ()), store)
    with store.read() as tx:
        own = store.journal.answers(tx, study.id)
    return StudyRun(
        study=study,
        family=family,
        definition=definition,
        champion=champion,
        train=train,
        dev=dev,
        run_off=further,
        job=context,
        scorer=scorer,
        strategies=strategies,
        classify=classify,
        longest_bytes=_longest_bytes(study, family, definition, champion, [*train, *dev, *further]),
        own=own,
        fresh_ms=[answer.latency_ms for answer in own.values()],
        search_cut=study.spend.search_cut,
        remark=study.spend.remark,
    )


def _longest_bytes(
    study: Study, family: Family, definition: Definition, champion: Variant, seen: Sequence[Example]
) -> int:
    """Bytes of the longest request that a candidate may make; 0 where none is made."""
    if not kind_of(family).asks_models:
        return 0
    space = definition.space_over(family.space)
    is_written = writes(proposers_of(study.strategy), space)
    return longest_allowed(champion, longest_inputs(family, seen), definition, space, is_written=is_written)


def _search_and_confirm(run: StudyRun, holdout: SealedHoldout) -> Study:
    if run.study.status != "confirming":
        reserve = _reserve(run, len((run.study.dataset or {}).get("holdout", ())))
        stop = run.stop_flag(lambda: _search_deadline(run, reserve.n_calls))
        search = run_search(run, reserve=reserve, stop=stop)
        log.info("search_ended", study=run.study.id, ended=search.ended, reason=search.reason, winner=search.winner)
        if search.ended == "cancelled":
            return _finish(run, status="cancelled", winner=search.winner)
        if search.winner is None:
            is_cut = search.n_candidates == 0 and search.ended in ("budget", "time")
            # One that was cancelled and goes on may have had a winner then.
            outcome = "budget_exhausted" if is_cut else "no_improvement"
            return _finish(run, status="finished", outcome=outcome, winner=None)
        if run.definition.n_holdout == 0:
            return _finish(run, status="finished", outcome="not_confirmed", winner=search.winner)
        run.store.write(lambda tx: run.update(tx, status="confirming", winner=search.winner))
    assert run.study.winner is not None
    return _confirm(run, run.study.winner, holdout)


def _confirm(run: StudyRun, winner: str, holdout: SealedHoldout) -> Study:
    stop = run.stop_flag()
    with run.store.read() as tx:
        champion = run.store.champions.current(tx, run.family.name)
        has_looked = bool(run.store.examples.looked_at(tx, run.family.name, run.study.id))
    if champion is not None and champion.variant != run.study.champion and not has_looked:
        why = (
            f"Not confirmed: {champion.variant} became the champion, and this study compares with {run.study.champion}."
        )
        run.keep_remark(" ".join(filter(None, (run.remark, why))))
        return _finish(run, status="finished", outcome="not_confirmed")
    try:
        variants = [variant_of(run.store, run.family.name, id) for id in read_frozen(run.study.findings) or [winner]]
        confirmed = confirm_winner(run, variants, holdout=holdout, stop=stop)
        if confirmed.outcome == "nominated" and run.study.trigger is not None:
            _ask_suites(run, confirmed.winner, stop=stop)
    except StudyStopped:
        return _finish(run, status="cancelled")
    except BudgetExhausted as exhausted:
        run.keep_remark(" ".join(filter(None, (run.remark, f"Not confirmed: {exhausted}"))))
        return _finish(run, status="finished", outcome="budget_exhausted")
    return _finish(
        run,
        status="finished",
        outcome=confirmed.outcome,
        winner=confirmed.winner,
        confirmation=confirmed.record,
    )


def _reserve(run: StudyRun, n_holdout: int) -> Reserve:
    """What the confirmation may take.

    Raises BudgetTooSmall when it leaves nothing for the search, before any call.
    """
    if run.is_replayed:
        return Reserve(n_confirmation=run.n_confirmation, usd_confirmation=0.0, usd_per_call=0.0)

    def usd_of(n_answers: int, n_judged: int) -> float | None:
        return confirmation_usd(
            run.champion,
            run.space,
            n_calls=n_answers,
            longest_bytes=run.longest_bytes,
            price_of=run.models.price,
            tiers=run.asked_tiers,
            judged_usd=run.judging.most_usd(n_judged),
        )

    reserved = usd_of(confirmation_calls(n_holdout, run.calls_per_answer), confirmation_calls(n_holdout))
    search_budget(
        run.study.budget,
        n_confirmation=run.n_confirmation,
        reserved_usd=reserved,
        n_dev=len(run.dev) * run.calls_with_judges,
        seconds_per_call=None,
    )
    return Reserve(
        n_confirmation=run.n_confirmation,
        usd_confirmation=reserved or 0.0,
        usd_per_call=max(usd_of(1, 0) or 0.0, run.judging.most_usd_per_call),
        calls_per_answer=run.calls_with_judges,
    )


def _search_deadline(run: StudyRun, n_reserved: int) -> datetime | None:
    """When the search must end so that the reserved calls still fit, at the pace so far. Time for which the study was
    stopped does not count; time without a worker does, since nothing says when it ended.
    """
    minutes, started = run.study.budget.minutes, run.study.started_at
    if minutes is None or started is None:
        return None
    reserved_s = n_reserved * (run.seconds_per_call() or 0.0) / run.concurrency
    stopped_s = (run.study.findings or {}).get(STOPPED_S, 0.0)
    return started + timedelta(minutes=minutes) + timedelta(seconds=stopped_s - reserved_s)


def _finish(run: StudyRun, **changes: Any) -> Study:
    """The last write: outcome, trivial baselines, labels, audit and outbox in one transaction."""
    # The confirmation may prefer another proposal than the one that the search ended with.
    winner = changes.get("winner", run.study.winner)
    try:
        trivial = _baselines(run, winner)
    except Exception:  # a family's own metric may raise anything; what the study found is paid for and stays
        log.exception("trivial_baselines_not_measured", study=run.study.id)
        trivial = None
    measured = {WITHOUT_MODEL: trivial, LABELS: _labels(run, winner)}
    if findings := {name: values for name, values in measured.items() if values is not None}:
        changes["findings"] = {**(run.study.findings or {}), **findings}
    now = run.clock.now()

    def finish(tx: Transaction) -> None:
        run.update(tx, finished_at=now, **changes)
        detail = {"outcome": run.study.outcome, "winner": run.study.winner, "spend": asdict(run.study.spend)}
        run.store.audit.add(
            tx,
            at=now,
            actor=f"study:{run.study.id}",
            action=f"study_{run.study.status}",
            family=run.family.name,
            subject=run.study.id,
            detail=detail,
        )

    run.store.write(finish)
    return run.study


def _ask_suites(run: StudyRun, winner: str, *, stop: StopFlag) -> None:
    """Evaluates ``winner`` against each suite with the rest of the study's budget; after a kill, against those left.

    What cannot be measured or paid for is left to a person: the rollout's gate names the command. So is the rest once
    the study is cancelled, since its look at the holdout has been taken.
    """
    study, actor = run.study, f"study:{run.study.id}"
    with run.store.read() as tx:
        family = with_kept_golden(tx, run.store, run.family)
        champion = run.store.champions.current(tx, family.name)
        batches = run.store.performance.batches(tx, family.name)
    suites_asked = {batch.suite for batch in batches if (batch.variant, batch.created_by) == (winner, actor)}
    variant = variant_of(run.store, family.name, winner)

    def open_model(name: str, purpose: str) -> JournaledModel:
        return run.journaled(name, purpose=purpose, stop=stop)

    def spend() -> Spend:
        with run.store.read() as tx:
            return run.spend(tx)

    for name, suite in suites_of(family).items():
        if suite_id(family, champion.variant if champion is not None else None, suite) in suites_asked:
            continue
        try:
            evaluate_variant(
                run.job,
                family,
                variant,
                EvaluationScope(suite=name),
                classify=run.classify,
                calls=CallSource(open_model=open_model, own=run.own, id=f"{study.id}:{name}", actor=actor, spend=spend),
            )
        except (BudgetExhausted, DetentError) as problem:
            log.warning("suite_not_asked", study=study.id, suite=name, reason=str(problem))
        except StudyStopped as stopped:
            log.info("suites_left_to_a_person", study=study.id, suite=name, reason=str(stopped))
            return


def _baselines(run: StudyRun, winner: str | None) -> dict[str, Any] | None:
    """The baselines as plain values, beside the winner, else the champion; BY_STUDENT of its answers on dev are
    a student's. They learn from what taught the study's student, where it has one; of that from 1,000 rows at most.

    None where no model answers (policies), or nothing was searched.
    """
    if run.is_replayed or run.study.mode == "confirm" or not run.dev:
        return None
    variant = winner or run.champion.id
    with run.store.read() as tx:
        results = run.store.studies.results(tx, run.study.id, "search")
        is_taught = bool((run.study.findings or {}).get(TAUGHT_STUDENTS, {}).get("students"))
        train = teaching_examples(run.family, run.store, tx, MOST_TAUGHT) if is_taught else run.train
    answers = [result.answered_by for result in results.get(variant, ()) if result.output is not None]
    n_own = sum(tier is not None and is_student(run.models, tier) for tier in answers)
    by_variant = {id: dict(scores_by_example(baselines)) for id, baselines in results.items()}
    # The champion's prompt without examples, as far as the search met every dev row with it.
    bare_id = bare_prompt(run.champion).id
    met = by_variant.get(bare_id, {})
    whole = {e.id: met[e.id] for e in run.dev if e.id in met}
    baselines = measure_trivial(
        train,
        run.dev,
        trivial_scores(run.family, train, run.dev, run.scorer, classify=run.classify),
        variant=variant,
        scores=by_variant.get(variant, {}),
        bare=(
            whole
            if len(whole) == len(run.dev)
            else f"{bare_id}, the champion's prompt without examples, did not meet every dev row in this search"
        ),
    )
    tiers = searched_tiers(proposers_of(run.study.strategy), run.family)
    return {
        **asdict(baselines),
        BY_STUDENT: n_own / len(answers) if answers else 0.0,
        STUDENT_SEARCHED: any(is_student(run.models, tier) for tier in tiers),
    }


def _labels(run: StudyRun, winner: str | None) -> dict[str, Any] | None:
    """A LabelReport of the champion and of the winner as plain values; sums only, so that they outlast the answers.

    None where there is nothing to report.
    """
    if run.is_replayed or run.study.mode == "confirm" or run.family.output.parser != "label":
        return None
    with run.store.read() as tx:
        results = run.store.studies.results(tx, run.study.id, "search")
    expected = {example.id: example.expected for example in run.dev}
    ids = dict.fromkeys([run.champion.id, winner or run.champion.id])
    reports = {variant: read_labels(run.family.output, expected, results.get(variant, ())) for variant in ids}
    return {variant: asdict(report) for variant, report in reports.items() if report is not None} or None
