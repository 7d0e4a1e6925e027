"""Asks a family's judge about answers that users were given; what it says becomes feedback of source ``judge``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import structlog

from optimizer.core.base.canonical import digest
from optimizer.core.base.errors import BudgetExhausted, InvalidInput, StudyStopped
from optimizer.core.base.phrasing import count
from optimizer.core.base.values import NONE, Budget, Spread
from optimizer.core.evaluation.judging.calibration import judge_identity, judge_of
from optimizer.core.evaluation.judging.judgement import Judgement
from optimizer.core.evaluation.judging.rubric import JudgeCase, asked_again, judge_messages
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import clip_inputs
from optimizer.core.feedback.events import Interaction
from optimizer.core.feedback.rating_draws import ReviewPayload, first_sampled, is_sampled, span_of
from optimizer.core.models.budget import BYTES_PER_TOKEN, request_bytes
from optimizer.core.scheduling.monthly_budget import Remainder
from optimizer.core.search.answer_bounds import ASKS, LONGEST_WHY, usd_of
from optimizer.core.search.prefix_queue import Rows
from optimizer.jobs.calls.ask_judge import ask_judge, judged_answer
from optimizer.jobs.calls.ask_together import Share, ask_together
from optimizer.jobs.calls.blocking import wait_for
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.calls.run_calls import RunCalls
from optimizer.jobs.feedback.collect_reviews import SETTLED, open_reviews
from optimizer.jobs.feedback.ingest_feedback import Intake
from optimizer.ports import Clock, ModelCatalogue, ModelSource, Store

MONITOR = "monitor"  # the purpose of its calls
HOUR, MOMENT = timedelta(hours=1), timedelta(microseconds=1)
MOST = 200  # answers that a look puts before the judge, and others that came at the same moment as the last
MOST_READ = 20_000  # answers that it draws from
RUNS_READ = 100  # of the judge, whose answers are drawn last
LOOKED_AT = 1000  # drawn answers whose texts are read together, until enough can be judged
MOST_REASONING = 1000  # characters of what a judge says that go into its feedback
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedTraffic:
    """``n``: answers put before the judge; ``n_unmeasured``: of those, without a score that could be stored, so that
    nothing was said of them. ``reviews``: opened for a person, since a committee's members differ. ``stopped``: why
    not all were judged.
    """

    n: int
    n_judged: int = 0
    n_unmeasured: int = 0
    reviews: tuple[str, ...] = ()
    usd: float = 0.0
    stopped: str | None = None


def monitor_traffic(
    family: Family,
    *,
    store: Store,
    clock: Clock,
    models: ModelSource,
    intake: Intake,
    month: Remainder | None = None,
    users_wait: Callable[[], bool] = lambda: False,
) -> JudgedTraffic | None:
    """Judges what came since the last look: the share in the family's file, for the dollars of this hour and of the
    month.

    None where the family's answers are not judged. What the dollars do not pay for is passed over, not made up for.

    Args:
        month: what the monthly limits leave; None: nothing limits it.
        users_wait: whether a user's call is under way, which goes first.
    """
    if family.judge is None or family.judge.monitor.share <= 0 or family.privacy.store == "metadata":
        return None
    monitor, identity, until = family.judge.monitor, judge_identity(family), clock.now() - SETTLED
    name = f"judge {family.name}"
    with store.read() as tx:
        last = store.minute_stats.watermark(tx, name)
        since = max(last, until - HOUR) if last is not None else until - HOUR
        answered = store.traffic.answered(tx, family.name, since, until, MOST_READ) if since < until else []
        spent = store.journal.usd_of_no_study(tx, family.name, MONITOR, clock.now() - HOUR)
    reached = until if len(answered) < MOST_READ else max(answered[-1][1], since + MOMENT)
    sampled = [(id, at) for id, at in answered if at < reached and is_sampled(id, identity, monitor.share)]
    if len(sampled) > MOST:  # what was received at one moment is looked at as a whole, since only times are kept
        reached = sampled[MOST - 1][1] + MOMENT
    # What is left of the hour's dollars after those that were spent or reserved within it.
    usd = max(0.0, monitor.usd_per_hour - spent)
    if month is not None and month.usd is not None:
        usd = min(usd, month.usd)
    judging = judge_answers(
        family,
        [id for id, at in sampled if at < reached],
        RunCalls(store=store, clock=clock, models=models, budget=Budget(usd=usd), users_wait=users_wait),
        intake=intake,
    )
    store.write(lambda tx: store.minute_stats.set_watermark(tx, name, reached))
    return judging


@dataclass(frozen=True, slots=True, kw_only=True)
class UnscoredAnswers:
    """Ids of answers that a judge has not scored; ``why_none`` is a sentence where there are none."""

    ids: Sequence[str]
    why_none: str | None = None


def latest_answers(family: Family, n: int, *, days: float, store: Store, clock: Clock) -> UnscoredAnswers:
    """``n`` answers of the last days that this judge has not scored, drawn at random.

    Raises InvalidInput for days out of range, or where the family has no judge or keeps no texts.
    """
    span = span_of(days, "judged")
    identity = judge_identity(family)
    if family.privacy.store == "metadata":
        raise InvalidInput(
            f"Answers of {family.name} cannot be judged: its privacy.store is metadata, so that no text of them is"
            " kept."
        )
    now = clock.now()
    with store.read() as tx:
        ids = [id for id, _ in store.traffic.answered(tx, family.name, now - span, now, None)]
        drawn, n_unfit = list[str](), 0
        # Last those that were drawn before and have no score: the same unreadable ones would be drawn for ever.
        runs = [run for run in store.runs.latest_of_judge(tx, family.name, RUNS_READ) if run.judge == identity]
        asked_before = {id for run in runs for id in run.request.get("interactions", ())}
        in_order = sorted(first_sampled(ids, identity, len(ids)), key=lambda id: id in asked_before)
        for start in range(0, len(ids), LOOKED_AT):
            some = in_order[start : start + LOOKED_AT]
            known = store.events.known(tx, [(family.name, _event_id(identity, id)) for id in some])
            unscored = [id for id in some if (family.name, _event_id(identity, id)) not in known]
            stored = store.events.interactions(tx, unscored)
            fit = [id for id in unscored if any(_can_be_judged(family, one) for one in stored.get(id, ()))]
            n_unfit += len(unscored) - len(fit)
            drawn += fit
            if len(drawn) >= n:
                break
    why_none = None
    if not drawn:
        last = "day" if days == 1 else f"{days:g} days"
        why = "none was reported with input and output (docs/how-to/report-interactions.md)"
        if ids:
            why = f"the judge has scored {count(len(ids) - n_unfit, 'answer')}, and no other was reported since"
        if n_unfit:
            names = ", ".join(family.inputs)
            why += f" with every input that the family declares ({names}): {count(n_unfit, 'answer')} lack one"
        why_none = f"No answer of the last {last} is left to score: {why}."
    return UnscoredAnswers(ids=drawn[:n], why_none=why_none)


def estimate_judging(
    family: Family, interactions: Sequence[str], *, store: Store, models: ModelCatalogue
) -> tuple[Spread, Spread | None]:
    """(calls, dollars; None where a member has no known price) of ``judge_answers``; asks and spends nothing."""
    judge = judge_of(family)
    with store.read() as tx:
        stored = store.events.interactions(tx, interactions)
    calls, usd = NONE, NONE
    prices = [models.price(name) for name in judge.members]
    for interaction in (
        interaction for ones in stored.values() for interaction in ones if _can_be_judged(family, interaction)
    ):
        messages = judge_messages(judge, _judged(family, interaction))
        n_bytes, again = request_bytes(messages), request_bytes(asked_again(messages, LONGEST_WHY))
        calls += Spread(low=0, expected=len(prices), high=ASKS * len(prices))
        for price in prices:
            if price is not None:
                once, most = usd_of(n_bytes / BYTES_PER_TOKEN, judge.max_tokens / 2, price), judge.max_tokens
                usd += Spread(low=0, expected=once, high=usd_of(n_bytes, most, price) + usd_of(again, most, price))
    return calls, None if None in prices else usd


def judge_answers(
    family: Family,
    interactions: Sequence[str],
    calls: RunCalls,
    *,
    intake: Intake,
    purpose: str = MONITOR,
) -> JudgedTraffic:
    """Judges the answers of these interactions as far as the budget goes; one that this judge has scored is left out.

    An answer that could not be judged gets no feedback. Where the members of a committee differ too much a review is
    opened, within the family's ``review.per_day``; what a person answers becomes an example.

    What a run has judged before a restart counts, too.

    Raises:
        InvalidInput: the family has no judge.
        BudgetTooSmall: a cap in dollars over a member without a known price.
    """
    judge, identity, store, run = judge_of(family), judge_identity(family), calls.store, calls.run
    calls.require_bounded(judge.members, judge.max_tokens)
    with store.read() as tx:
        known = store.events.known(tx, [(family.name, _event_id(identity, id)) for id in interactions])
        stored = store.events.interactions(tx, interactions)
    unjudged = [
        interaction
        for id in dict.fromkeys(interactions)
        if (family.name, _event_id(identity, id)) not in known
        for interaction in stored.get(id, ())
        if _can_be_judged(family, interaction)
    ]

    @cache
    def opened(name: str) -> JournaledModel:
        return calls.journaled(name, family=family.name, purpose=purpose)

    sink = _JudgementSink(family, identity, store, calls.clock, intake)
    if run is not None:
        sink.n_judged, sink.tell = len(known), run.progress
    if not unjudged:
        return sink.report(calls.spend().usd)
    for name in judge.members:
        opened(name)  # outside the loop of calls, since an embedded model takes a while to start

    async def open_member(name: str) -> JournaledModel:
        return opened(name)

    async def ask(interaction: Interaction) -> Judgement:
        return await ask_judge(judge, _judged(family, interaction), open_member)

    n_at_once = min(len(unjudged), *(opened(name).concurrency for name in judge.members))
    stopped: str | None = None
    try:
        wait_for(
            ask_together(
                [Share(rows=Rows(("", interaction) for interaction in unjudged), n_at_once=n_at_once)], ask, sink.keep
            )
        )
    except (BudgetExhausted, StudyStopped) as ended:
        stopped = str(ended)
    judging = sink.report(calls.spend().usd, stopped)
    log.info("answers judged", family=family.name, n=judging.n_judged, unmeasured=judging.n_unmeasured, usd=judging.usd)
    return judging


class _JudgementSink:
    """Keeps each judgement as feedback as it comes; several threads call it."""

    def __init__(self, family: Family, identity: str, store: Store, clock: Clock, intake: Intake) -> None:
        self._family, self._identity, self._store, self._clock, self._intake = family, identity, store, clock, intake
        self._lock = threading.Lock()
        self.n_judged = self.n_unmeasured = 0
        self.reviews: list[str] = []
        self.tell: Callable[[int], None] = lambda n_done: None

    def report(self, usd: float, stopped: str | None = None) -> JudgedTraffic:
        return JudgedTraffic(
            n=self.n_judged + self.n_unmeasured,
            n_judged=self.n_judged,
            n_unmeasured=self.n_unmeasured,
            reviews=tuple(self.reviews),
            usd=usd,
            stopped=stopped,
        )

    def keep(self, interaction: Interaction, judgement: Judgement) -> None:
        with self._lock:
            if judgement.score is None:
                self.n_unmeasured += 1
            else:
                tags = {"judge": self._identity}
                if judgement.signs:
                    tags["signs"] = ", ".join(judgement.signs)
                event = {
                    "id": _event_id(self._identity, interaction.id),
                    "family": self._family.name,
                    "interaction": interaction.id,
                    "source": "judge",
                    "score": judgement.score,
                    "success": judgement.passes(judge_of(self._family)),
                }
                # Without the reasoning where the family's masks refuse it: the score has been paid for.
                is_stored = any(
                    not self._intake.take([{**event, "tags": {**tags, **reasoning}}])["rejected"]
                    for reasoning in ({"reasoning": judgement.reasoning[:MOST_REASONING]}, {})
                )
                self.n_judged += is_stored
                self.n_unmeasured += not is_stored
            if judgement.needs_a_person(judge_of(self._family)):
                why = f"the judge's members differ by {judgement.spread:.2f}"
                doubts, now = {interaction.id: ReviewPayload(doubt="divided", why=why)}, self._clock.now()
                opened = self._store.write(lambda tx: open_reviews(tx, self._store, self._family, doubts, now))
                self.reviews += opened.values()
            self.tell(self.n_judged + self.n_unmeasured)


def _event_id(identity: str, interaction: str) -> str:
    """One for each answer and judge, so that no answer is judged twice by the same."""
    return f"{identity}_{digest(interaction.encode(errors='surrogatepass'))[:24]}"


def _can_be_judged(family: Family, interaction: Interaction) -> bool:
    return (
        interaction.arm.family == family.name
        and interaction.output is not None
        and interaction.input is not None
        and all(name in interaction.input for name in family.inputs)
    )


def _judged(family: Family, interaction: Interaction) -> JudgeCase:
    inputs = clip_inputs(family, family.declared_inputs(interaction.input or {}))
    return judged_answer(family, inputs, {}, interaction.output or "")
