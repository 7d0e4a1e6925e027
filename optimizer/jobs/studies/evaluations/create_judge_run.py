"""Queues what a family's judge is asked to do in the background: score users' answers, or be checked for biases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.base.spread import Spread
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.judging.identity import judge_identity, judge_of
from optimizer.core.evaluation.judging.run import JudgeRequest, JudgeRun, JudgeRunEstimate, RunKind
from optimizer.core.family.family import Family
from optimizer.core.models.budget import checked_budget, require_bounded
from optimizer.core.scheduling.monthly_budget import Left, MonthlyLimits, under
from optimizer.jobs.families.check_models import require_known_models
from optimizer.jobs.feedback.judge_traffic import estimate_judging, latest_answers
from optimizer.jobs.ids import new_id
from optimizer.jobs.studies.evaluations.check_judge import DEFAULT_N as N_CHECKED
from optimizer.jobs.studies.evaluations.check_judge import estimate_check
from optimizer.jobs.studies.evaluations.plan_evaluation import calls_at_most
from optimizer.jobs.studies.read_spending import monthly_left
from optimizer.ports import Clock, ModelCatalogue, Store, Transaction

N_SCORED, MOST_SCORED = 50, 10_000
DAYS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """``n_asked``: answers or examples of the estimate. The rest is as in JudgeRun and JudgeRunEstimate."""

    kind: RunKind
    request: JudgeRequest
    n: int
    n_asked: int
    members: Sequence[str]
    calls: Spread
    usd: Spread | None
    why_none: str | None = None


def score_answers(
    family: Family,
    *,
    n: int = N_SCORED,
    days: float = DAYS,
    budget: Budget,
    dry_run: bool = False,
    actor: str,
    store: Store,
    clock: Clock,
    models: ModelCatalogue,
    usd_per_month: float | None = None,
) -> JudgeRun | JudgeRunEstimate:
    """Queues the scoring of ``n`` answers of the last ``days`` that the judge has not scored, drawn at random.

    Args:
        budget: without a cap of calls or dollars, as many calls as the estimate's ``calls_at_most``. Under a monthly
            limit a run without a cap in dollars gets what it may need at most of what is left.
        dry_run: only say what it would take.
    Raises:
        InvalidInput: a number out of range, or the family has no judge or keeps no texts.
        NotFound: an unknown model. BudgetTooSmall: a cap in dollars, which a monthly limit is too, over a member
            without a known price, or one that would pass a monthly limit.
    """
    if n > MOST_SCORED:
        raise InvalidInput(f"At most {MOST_SCORED} answers are scored at a time, not {n}.")
    require_known_models(family, models)
    left = latest_answers(family, n, days=days, store=store, clock=clock)
    calls, usd = estimate_judging(family, left.ids, store=store, models=models)
    drafted = _Draft(
        kind="score", request={"interactions": left.ids}, n=len(left.ids), n_asked=len(left.ids),
        members=judge_of(family).members, calls=calls, usd=usd, why_none=left.why_none,
    )  # fmt: skip
    return _queue(family, drafted, budget, dry_run, actor, store, clock, models, usd_per_month)


def check_biases(
    family: Family,
    *,
    n: int = N_CHECKED,
    beside: str | None = None,
    budget: Budget,
    dry_run: bool = False,
    actor: str,
    store: Store,
    clock: Clock,
    models: ModelCatalogue,
    usd_per_month: float | None = None,
) -> JudgeRun | JudgeRunEstimate:
    """Queues a check of the judge's biases on ``n`` dev examples; raises as ``check_judge`` does, and as
    ``score_answers``.
    """
    told = estimate_check(family, n=n, beside=beside, store=store, models=models)
    drafted = _Draft(
        kind="check", request={"n": n, "beside": beside}, n=told.n_questions, n_asked=told.n, members=told.members,
        calls=told.calls, usd=told.usd,
    )  # fmt: skip
    return _queue(family, drafted, budget, dry_run, actor, store, clock, models, usd_per_month)


def _queue(
    family: Family,
    drafted: _Draft,
    budget: Budget,
    dry_run: bool,
    actor: str,
    store: Store,
    clock: Clock,
    models: ModelCatalogue,
    usd_per_month: float | None,
) -> JudgeRun | JudgeRunEstimate:
    judge, most = judge_of(family), calls_at_most(drafted.calls)
    limits = MonthlyLimits(family_usd=family.budget.usd_per_month, all_usd=usd_per_month)
    with store.read() as tx:
        left = monthly_left(tx, store, clock, family.name, limits)
    budget = _capped(checked_budget(budget), left, drafted, most)
    for name in judge.members:
        require_bounded(name, models.price(name), judge.max_tokens, budget)
    if dry_run:
        return JudgeRunEstimate(
            family=family.name, kind=drafted.kind, members=drafted.members, n=drafted.n_asked, calls=drafted.calls,
            usd=drafted.usd, calls_at_most=most, why_none=drafted.why_none,
        )  # fmt: skip
    now = clock.now()
    run = JudgeRun(
        id=new_id("jr"),
        family=family.name,
        kind=drafted.kind,
        judge=judge_identity(family),
        request={**drafted.request, "is_priced": drafted.usd is not None, "why_none": drafted.why_none},
        budget=budget,
        status="queued",
        n=drafted.n,
        created_by=actor,
        created_at=now,
    )

    def keep(tx: Transaction) -> JudgeRun:
        under(monthly_left(tx, store, clock, family.name, limits), run.budget)  # another may have begun meanwhile
        store.judge_runs.add(tx, run)
        detail = {"n": drafted.n_asked, "judge": run.judge}
        store.audit.add(
            tx, at=now, actor=actor, action=f"judge.{run.kind}", family=family.name, subject=run.id, detail=detail
        )
        return run

    return store.write(keep, rows=2)


def _capped(budget: Budget, left: Left, drafted: _Draft, most: int) -> Budget:
    """With a cap of calls or dollars, and under what is left of the month: of that no more than it may need, since
    what a run may spend is kept from all others until it ends.
    """
    is_open = budget.usd is None
    if is_open and budget.calls is None:
        budget = replace(budget, calls=most)
    budget = under(left, budget)
    if is_open and budget.usd is not None and drafted.usd is not None and drafted.calls.high:
        return replace(budget, usd=min(budget.usd, drafted.usd.high * most / drafted.calls.high))
    return budget


def stop_judge_run(id: str, *, actor: str, store: Store, clock: Clock) -> JudgeRun:
    """Asks a run to stop before its next call; one that has not begun is cancelled at once. Safe to repeat.

    Raises NotFound.
    """
    now = clock.now()

    def stop(tx: Transaction) -> JudgeRun:
        run = store.judge_runs.get(tx, id)
        if run is None:
            raise NotFound(f"There is no judge run {id!r}. See them with: detent judge runs FAMILY.", run=id)
        if run.has_ended or run.stop_requested:
            return run
        store.audit.add(tx, at=now, actor=actor, action="judge.stop", family=run.family, subject=id, detail={})
        if run.status == "queued":
            return store.judge_runs.update(tx, id, stop_requested=True, status="cancelled", finished_at=now)
        return store.judge_runs.update(tx, id, stop_requested=True)

    return store.write(stop, rows=2)
