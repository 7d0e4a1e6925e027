"""Searches for a study: the champion as trial 0, then what the strategies propose, evaluated on the dev examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from optimizer.core.base.errors import BudgetExhausted, Conflict, StudyStopped
from optimizer.core.base.values import MIN_TIMED, ExampleResult, timed_ms
from optimizer.core.dataset.examples import Example
from optimizer.core.declaration.prompt_kind import policy_faults
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import HeldBack
from optimizer.core.policy.nearest import MAX_TOKENS, SCOPE, fixed_rendering
from optimizer.core.search.answer_bounds import longest_inputs, longest_of
from optimizer.core.search.call_estimate import answers_for_a_race, is_raced, n_champion_first, n_champions
from optimizer.core.search.cost_estimate import kept_for_last
from optimizer.core.search.proposers.race import RacedSearch, RaceRound
from optimizer.core.search.run_off import (
    N_LEADERS,
    RUN_OFF,
    SEQUENCE,
    STEP,
    safest_first,
    sequence_record,
    stages,
)
from optimizer.core.search.strategy import (
    RACE,
    RACED,
    REPLAY,
    STRATEGIES,
    Proposal,
    Propose,
    SearchSetting,
    Sequential,
    StrategyMaker,
    check_strategy,
    proposers_of,
)
from optimizer.jobs.families.keep_playbook import StudyPlaybook
from optimizer.jobs.studies.context import StopFlag, StudyRun
from optimizer.jobs.studies.evaluation import Measures
from optimizer.jobs.studies.kinds.kind import study_kind
from optimizer.jobs.studies.search_trials import Trials
from optimizer.jobs.studies.teach_student import StudentTeacher, index_examples, teach_student

Ended = Literal["complete", "budget", "time", "cancelled"]
MOVE = "move"  # proposes the champion's own prompt with the other model


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a search found: the best candidate that beats the champion, or None, and why the search ended.

    Beats on dev; of proposals that the holdout tests in sequence on cross-fitted rows, and then it is the first of
    them. Of a move to another model it is the best with that one, whether it beats the champion or not.
    """

    winner: str | None
    ended: Ended
    reason: str
    n_candidates: int  # compared with the champion


@dataclass(kw_only=True)
class Reserve:
    """Calls that must be left over: the confirmation's, at the longest allowed request, and those of a race's end or of
    fixed examples on the holdout, and those of replay until its turn.

    Mutable: the race says how many its end takes.
    """

    n_confirmation: int
    usd_confirmation: float
    usd_per_call: float  # of the dearest call that may be made
    n_last: int = 0  # answers
    what_is_last: str = "the end of the race"
    n_replay: int = 0  # calls
    calls_per_answer: int = 1

    @property
    def n_calls(self) -> int:
        return self.n_confirmation + self.n_last * self.calls_per_answer + self.n_replay

    def held(self, dearest_usd: float) -> HeldBack:
        """Args:
        dearest_usd: what the dearest answer so far cost. The race's end is reserved at that price; its calls are
            checked against the cap all the same.
        """
        usd = self.usd_confirmation
        if n_last := self.n_last * self.calls_per_answer + self.n_replay:
            # One in flight counts at its highest price.
            usd += n_last * min(dearest_usd, self.usd_per_call) + self.usd_per_call
        others = [*([self.what_is_last] if self.n_last else []), *([REPLAY] if self.n_replay else [])]
        return HeldBack(usd=usd, n_calls=self.n_calls, what_for=" and ".join(["the confirmation", *others]))


def run_search(run: StudyRun, *, reserve: Reserve, stop: StopFlag) -> SearchResult:
    """Evaluates until the strategies, the budget or the time are at their end; what was found so far stays usable.

    Run again after a kill it takes the same way, answered by the journal; a call that failed is made again, and what it
    answers then counts.

    Args:
        stop: its deadline leaves time for what ``reserve`` holds at the moment.
    Raises:
        ModelFailed: the model answered none of the champion's examples, so that nothing can be compared.
    """
    evaluator: Measures = study_kind(run.family).evaluator(
        run, purpose="search", stop=stop, held=lambda: reserve.held(evaluator.counts.dearest_usd)
    )
    trials = Trials(run)
    names = check_strategy(run.study.strategy)
    strategies = run.leak_check().watching(run.strategies)
    ended: Ended = "complete"
    reason = "The strategies have nothing left to try."
    with_fixed = set[str]()
    try:
        setting = _setting(
            run,
            evaluator,
            run.proposer(evaluator, stop=stop, held=lambda: reserve.held(evaluator.counts.dearest_usd)),
            reserve,
        )
        calls = answers_for_a_race(
            run.study.budget.calls,
            run.definition,
            n_train=len(run.train),
            n_confirmation=reserve.n_confirmation,
            per_answer=max(1, run.calls_per_answer) - 1 + run.calls_with_judges,
        )
        if is_raced(names, run.study.aim, run.definition, calls=calls, n_dev=len(run.dev)):
            _race(run, _race_of(run, names, strategies, setting, calls), trials, evaluator, reserve, stop)
        else:
            if REPLAY in names and (cap := run.study.budget.calls) is not None:
                n_first = len(run.dev) * run.calls_with_judges * n_champions(run.definition)
                reserve.n_replay = kept_for_last(_n_replayed(run), cap - reserve.n_confirmation - n_first)
            cut = _in_turn(run, Sequential(names, setting, strategies), trials, evaluator, reserve, stop, with_fixed)
            if cut is not None:
                ended, reason = "budget", cut
    except BudgetExhausted as exhausted:
        ended, reason = "budget", str(exhausted)
    except StudyStopped as stopped:
        ended, reason = ("cancelled" if stop.cancelled else "time"), str(stopped)
    finally:
        run.n_from_journal = max(run.n_from_journal, len(evaluator.counts.found))
    if ended == "complete":
        trials.drop()
    run.search_cut = reason if ended in ("budget", "time") else None
    predicted = trials.predicted() if is_sequenced(run, names) else []
    sequence = safest_first(predicted, worth=run.family.rollout.gates.improvement)
    if sequence or (is_sequenced(run, names) and len(names) == 1):
        # The order in which the holdout tests the proposals is fixed before it is looked at; none may be worth a look.
        run.keep_finding(SEQUENCE, sequence_record(sequence))
        winner = sequence[0].variant if sequence else None
        _keep_rows(run, len(run.dev), 0, "The proposals are chosen on cross-fitted rows.", [])
    elif ended == "cancelled":
        winner = next((leader.variant for leader in trials.leaders()), None)
    else:
        if not any(leader.variant in with_fixed for leader in trials.leaders()[:N_LEADERS]):
            reserve.n_last = 0  # the race, where there was one, has ended
        winner = _run_off(run, trials, evaluator)
        if stop.cancelled:
            ended = "cancelled"
    return SearchResult(winner=winner, ended=ended, reason=reason, n_candidates=trials.n_candidates)


def _in_turn(
    run: StudyRun,
    search: Sequential,
    trials: Trials,
    evaluator: Measures,
    reserve: Reserve,
    stop: StopFlag,
    with_fixed: set[str],
) -> str | None:
    """Every proposal on every dev example; why the budget ended the strategies before the replay, or None.

    Args:
        with_fixed: gets the variants of nearest examples whose fixed ones are another variant than the champion.
    """
    cut: str | None = None
    proposal: Proposal | None = Proposal(variant=run.champion, proposer="champion")
    while proposal is not None:
        stop.check_cancelled()
        try:
            (results,) = trials.evaluate(evaluator, [(proposal, run.dev)])
            objective = trials.objective()
            assert objective is not None  # the champion is the first
            if proposal.variant.id == run.champion.id:
                _require_timed(run, results)
                if run.study.budget.calls is None and REPLAY in check_strategy(run.study.strategy):
                    reserve.n_replay = _kept_by_dollars(run, reserve, evaluator.counts.dearest_usd, results)
                if run.moved is not None:  # what the old model scores is no start, but what is compared with
                    proposal = Proposal(variant=run.moved, proposer=MOVE)
                    continue
            search.tell(proposal, objective.figure(results), results)
            fixed = fixed_rendering(proposal.variant)
            if fixed is not None and fixed.id != run.champion.id:  # scored on the holdout, too, should it win
                with_fixed.add(proposal.variant.id)
                reserve.n_last = len((run.study.dataset or {}).get("holdout", ()))
                reserve.what_is_last = "the look at fixed examples"
            proposal = search.ask()
        except BudgetExhausted as exhausted:
            if not search.skip_to(REPLAY):
                raise
            cut = str(exhausted)
            proposal = search.ask()
    return cut


def _n_replayed(run: StudyRun) -> int:
    """Calls that the replay makes where none of its answers is there yet."""
    return (len(run.train) + len(run.dev)) * len(run.asked_tiers)


def _kept_by_dollars(run: StudyRun, reserve: Reserve, dearest_usd: float, of_champion: Sequence[ExampleResult]) -> int:
    """Calls that are kept for the replay where dollars are the only cap: what a call costs is known from the
    champion's.
    """
    cap, usd_per_call = run.study.budget.usd, min(dearest_usd, reserve.usd_per_call)
    if cap is None or usd_per_call <= 0:
        return 0
    spent_usd = sum(result.cost_usd or 0.0 for result in of_champion)
    room_usd = cap - reserve.usd_confirmation - reserve.usd_per_call - spent_usd
    return kept_for_last(_n_replayed(run), room_usd / usd_per_call)


def _run_off(run: StudyRun, trials: Trials, evaluator: Measures) -> str | None:
    """Lets leaders and champion meet the dev rows that are left, until the rows or a cap end; the winner, or None."""
    leaders = trials.leaders()[:N_LEADERS]
    entered, rows, n_met = [leader.variant for leader in leaders], run.run_off, 0
    why = None if leaders else "Nothing led the champion on them, and only what leads is asked about more."
    try:
        for stage in stages(len(rows), len(leaders)):
            leaders = leaders[: stage.n_leaders]
            while leaders and n_met < stage.upto:
                step = rows[n_met : min(n_met + STEP, stage.upto)]
                trials.meet(evaluator, [leader.variant for leader in leaders], step)
                n_met += len(step)
            standing = {leader.variant for leader in leaders}
            leaders = [leader for leader in trials.leaders(rows[:n_met]) if leader.variant in standing]
        if entered and not leaders:
            why = "Nothing led the champion on them any more."
    except (BudgetExhausted, StudyStopped) as cut:
        why = str(cut)
        standing = {leader.variant for leader in leaders}
        leaders = [leader for leader in trials.leaders(rows[:n_met]) if leader.variant in standing]
    _keep_rows(run, trials.n_compared, n_met, why, [trials.compared(variant) for variant in entered] if n_met else [])
    return leaders[0].variant if leaders else None


def _keep_rows(
    run: StudyRun, n_compared: int, n_met: int, why: str | None, leaders: Sequence[Mapping[str, Any]]
) -> None:
    """How many dev rows the choice rests on; nothing for a study that was made before that was counted."""
    dataset, n_used = run.study.dataset or {}, n_compared + n_met
    n_rows = dataset.get("n_dev")
    if n_rows is None:
        return
    if why is None and n_compared < len(run.dev):
        why = run.search_cut or "The calls paid for no more of them."
    if why is None and n_used < n_rows:
        sizes = f"n_dev {run.definition.n_dev} and n_run_off {run.definition.n_run_off}"
        is_all = len(dataset["dev"]) + len(dataset.get(RUN_OFF, ())) == n_rows
        why = "The others were forgotten since." if is_all else f"The study's definition asks for no more ({sizes})."
    record = {
        "n_dev": n_rows,
        "n_used": n_used,
        "why_not_all": why if n_used < n_rows else None,
        "leaders": [dict(one) for one in leaders],
    }
    run.keep_finding(RUN_OFF, record)


def is_sequenced(run: StudyRun, names: Sequence[str]) -> bool:
    """Whether proposals come with predictions from cross-fitted rows, so that the holdout tests them in sequence."""
    return REPLAY in names and run.study.aim == "cost" and not run.is_replayed


def _setting(run: StudyRun, evaluator: Measures, propose: Propose, reserve: Reserve) -> SearchSetting:
    inputs = longest_inputs(run.family, [*run.train, *run.dev, *run.run_off])
    training, indexing, policy = teach_student(run), index_examples(run), run.champion.policy

    def tier_rows(variant: Variant, examples: Sequence[Example]) -> list[dict[str, Any]]:
        reserve.n_replay = 0  # its turn has come
        return run.tier_rows(evaluator, variant, examples)

    def teach(setting: SearchSetting, variant: Variant) -> SearchSetting:
        model = str(variant.policy["tiers"][-1])

        def ask(examples: Sequence[Example]) -> Mapping[str, str]:
            reserve.n_replay = 0  # its turn has come: the thresholds ask the same
            return evaluator.tier_texts(variant, model, examples)

        return replace(setting, **asdict(teach_student(run, StudentTeacher(model=model, variant=variant, ask=ask))))

    return SearchSetting(
        family=run.family,
        start=run.moved or run.champion,
        train=run.train,
        dev=run.dev,
        scorer=evaluator.asking_scorer(),
        seed=run.study.seed,
        aim=run.study.aim,
        is_sequenced=is_sequenced(run, proposers_of(run.study.strategy)),
        definition=asdict(run.definition),
        answer=evaluator.text,
        propose=propose,
        tier_rows=tier_rows,
        remark=run.keep_remark,
        study=run.study.id,
        keep_finding=run.keep_finding,
        playbook=StudyPlaybook(family=run.family.name, study=run.study.id, store=run.store, clock=run.clock),
        **asdict(training),
        teach=teach,
        example_index=indexing.index,
        of_nearest={knob.name: policy[knob.name] for knob in (SCOPE, MAX_TOKENS) if policy.get(knob.name)},
        unindexed=indexing.unindexed,
        # In a space one knob may bound another.
        fits=lambda variant: (
            run.is_replayed or (not policy_faults(variant.policy) and longest_of(variant, inputs) <= run.longest_bytes)
        ),
    )


def _require_timed(run: StudyRun, champion: Sequence[ExampleResult]) -> None:
    """Before anything is spent on candidates: raises Conflict where the champion's latency is the aim and unknown."""
    n_timed = len(timed_ms(champion))
    if run.study.aim == "latency" and n_timed < MIN_TIMED:
        raise Conflict(
            f"Latency cannot be compared: only {n_timed} of the champion's {len(champion)} dev examples are timed, and"
            f" fewer than {MIN_TIMED} say nothing. What was asked before is answered by the journal for thirty days,"
            " which takes no time; where tiers answer, all of their answers have to be timed. Import more examples, or"
            f" search for cost: detent study run {run.family.name} --aim cost --dry-run."
        )


def _race_of(
    run: StudyRun, names: Sequence[str], strategies: StrategyMaker, setting: SearchSetting, calls: int | None
) -> RacedSearch:
    """``calls``: that champion and contenders may meet examples with."""
    raced = RACED if RACE in names else names
    definition = replace(run.definition, n_train=len(run.train))
    proposers = [lambda start, name=name: strategies(name, replace(setting, start=start)) for name in raced]
    return RacedSearch(
        run.champion,
        proposers,
        [e.id for e in run.dev],
        seed=run.study.seed,
        calls=calls,
        n_contenders=[STRATEGIES[name].n_trials(definition) for name in raced],
        n_champion_first=n_champion_first(definition),
    )


def _race(
    run: StudyRun, race: RacedSearch, trials: Trials, evaluator: Measures, reserve: Reserve, stop: StopFlag
) -> None:
    """Heats until the race is decided. What else fails on the way is no end of it.

    Cut short by dollars or time, leader and champion still meet every example: calls were left over for that.
    """
    try:
        try:
            while heats := race.heats():
                stop.check_cancelled()
                reserve.n_last = race.n_last
                _run_heats(run, race, heats, trials, evaluator)
            if (cap := run.study.budget.calls) is not None:
                n_left = (cap - reserve.n_confirmation - evaluator.counts.fresh_by_variant.total()) // max(
                    1, reserve.calls_per_answer
                )
                _run_heats(run, race, race.last(n_left), trials, evaluator)
        except (BudgetExhausted, StudyStopped):
            reserve.n_last = 0
            if not stop.cancelled:
                _run_heats(run, race, race.last(), trials, evaluator)
            raise
    except (BudgetExhausted, StudyStopped):
        if not stop.cancelled:
            trials.end_race(race.pair)
        raise
    if not stop.cancelled:
        trials.end_race(race.pair)


def _run_heats(
    run: StudyRun, race: RacedSearch, heats: Sequence[RaceRound], trials: Trials, evaluator: Measures
) -> None:
    dev = {example.id: example for example in run.dev}
    parts = [(heat.proposal, [dev[id] for id in heat.turn.examples]) for heat in heats]
    for heat, results in zip(heats, trials.evaluate(evaluator, parts), strict=True):
        race.tell(heat, results)
