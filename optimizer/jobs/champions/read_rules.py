"""Reads the rules of alerts in force, what each allows a family now, and how soon it would tell of more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Annotated

from pydantic import Field

from optimizer.core.rollout.alert_rules import (
    AGAINST,
    LONGEST_WINDOW,
    LOWER_IS_WORSE,
    NOT_OF_MINUTES,
    OF_HOME,
    ONE_MINUTE,
    SLOWER,
    AlertLevel,
    AlertRule,
    Metric,
    Scope,
    amount_text,
    events_to_tell,
    limit_of,
    tallies,
)
from optimizer.jobs.champions.watch_rules import RuleWatcher
from optimizer.jobs.context import Context
from optimizer.jobs.feedback.roll_up_minutes import MINUTES
from optimizer.jobs.request import Request
from optimizer.ports import AlertSilence, Transaction

SUMMED_UP = 2  # minutes: until a minute has ended, is settled, and is looked at


class RulesRequest(Request):
    family: Annotated[str | None, Field(max_length=200, description="For this one alone")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleStanding:
    """What a rule allows a family now. ``per_minute``: events of its figure, over the last hour; ``limit``: None while
    it does not know what is usual, which ``unwatched`` says. ``minutes_double``, ``minutes_half``: about how long it
    takes until twice as many bad events as the limit allows, and half of all, are told of; None: never, at this
    traffic. Of a figure that is no sum of minutes these three are None: it tells once it is beyond its limit.
    """

    family: str
    per_minute: float | None
    limit: float | None
    usual: float | None
    minutes_double: int | None
    minutes_half: int | None
    unwatched: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleView:
    """``says``: its limit in words; ``silenced``: in which families, until when; ``families``: empty where the figure
    is the whole home's.
    """

    name: str
    metric: Metric
    scope: Scope
    says: str
    level: AlertLevel
    action: str
    window_minutes: int
    for_minutes: int
    min_n: int
    explains: Sequence[str]
    watch: bool
    silenced: Sequence[str]
    families: Sequence[RuleStanding]


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesReport:
    """``left_out``: rules that come along, and that the home's own file does not name; ``silences``: of kinds of alerts
    that no rule raises and of families, too; ``file_problem``: why the file cannot be used, with every fault; the rules
    are then the last good ones, or those that come along where there were none.
    """

    items: Sequence[RuleView]
    left_out: Sequence[str]
    silences: Sequence[AlertSilence]
    file_problem: Annotated[str | None, Field(exclude_if=lambda problem: problem is None)] = None


def read_rules(context: Context, request: RulesRequest) -> RulesReport:
    """The rules that are in force, and for each family its limit now and about how long each takes to tell.

    Where the file cannot be used, those with which the worker goes on.
    """
    rules, problem, store = context.alert_rules(), context.alert_rules_problem(), context.store
    names = [name for name in sorted(context.families().families) if context.access.may_see(name)]
    if request.family is not None:
        names = [context.family(request.family).name] if context.access.may_see(request.family) else []
    watcher = RuleWatcher(store, context.clock)
    with store.read() as tx:
        silences = [
            one
            for one in store.alerts.silences(tx, context.clock.now())
            if not one.family or context.access.may_see(one.family)
        ]
        items: list[RuleView] = []
        for rule in rules:
            word = _WORDS[rule.lower_is_worse]
            own = [f"{word} {amount_text(rule.metric, rule.limit)}"] if rule.limit is not None else []
            if rule.times is not None and rule.against is not None:
                own.append(f"{word} {rule.times:g} times {AGAINST[rule.against]}")
            items.append(
                RuleView(
                    name=rule.name,
                    metric=rule.metric,
                    scope=rule.scope,
                    says=" and ".join(own),
                    level=rule.level,
                    action=rule.action,
                    window_minutes=rule.window,
                    for_minutes=rule.for_,
                    min_n=rule.min_n,
                    explains=rule.explains,
                    watch=rule.watch,
                    silenced=[
                        f"{one.family or 'all families'} until {one.until:%Y-%m-%d %H:%M} UTC"
                        for one in silences
                        if one.rule in ("", rule.name)
                    ],
                    families=[
                        _standing(tx, context, watcher, rule, name)
                        for name in names
                        if rule.concerns(name) and rule.metric not in OF_HOME
                    ],
                )
            )
    in_force = {rule.name for rule in rules}
    left_out = [rule.name for rule in context.shipped_alert_rules() if rule.name not in in_force]
    return RulesReport(
        items=items,
        left_out=left_out,
        silences=silences,
        file_problem=problem.detail if problem is not None else None,
    )


def _standing(tx: Transaction, context: Context, watcher: RuleWatcher, rule: AlertRule, family: str) -> RuleStanding:
    until = context.store.minute_stats.watermark(tx, MINUTES)
    if rule.metric in NOT_OF_MINUTES or until is None:
        is_watched = until is not None or rule.metric in ("budget", "failed_jobs")
        return RuleStanding(
            family=family,
            per_minute=None,
            limit=rule.limit,
            usual=None,
            minutes_double=None,
            minutes_half=None,
            unwatched=None if is_watched else "not watched yet: no event came",
        )
    usual = watcher.earlier(tx, family, until).usual(tx, rule)
    limit = limit_of(rule, usual)
    rows = context.store.minute_stats.of_family(tx, family, until - LONGEST_WINDOW * ONE_MINUTE, until=until)
    per_minute = sum(tally.n for tally in tallies(rule, rows, limit or 0.0)) / LONGEST_WINDOW
    unwatched = None
    if limit is None and rule.against is not None:
        unwatched = f"not watched yet: fewer than 200 events of {AGAINST[rule.against]}, or of the days before"
    # The share of bad events that the limit allows.
    allowed = (1 - (limit or 0.0)) if rule.metric in LOWER_IS_WORSE else (limit or 0.0)
    if rule.metric == "latency_p95":
        allowed = SLOWER
    return RuleStanding(
        family=family,
        per_minute=round(per_minute, 2),
        limit=limit,
        usual=usual,
        minutes_double=_minutes(rule, limit, 2 * allowed, per_minute),
        minutes_half=_minutes(rule, limit, 0.5, per_minute),
        unwatched=unwatched,
    )


def _minutes(rule: AlertRule, limit: float | None, bad: float, per_minute: float) -> int | None:
    if limit is None or not per_minute:
        return None
    n = events_to_tell(rule, limit, min(1.0, bad))
    needed = n / per_minute if n < inf else inf
    return None if needed > rule.window else SUMMED_UP + ceil(needed) + rule.for_


_WORDS: Mapping[bool, str] = {True: "below", False: "above"}
