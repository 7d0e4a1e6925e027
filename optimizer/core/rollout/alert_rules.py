"""Rules as data: which figure of a family, a variant or a model alarms, beyond what, and when it is well again.

Everything is decided of the sums of full minutes that there are; nothing is remembered but which alerts are open. A
rule looks at the newest 1, 2, 3, 5 … minutes up to its window, so that it tells of half of the requests failing within
the first minute that holds enough of them, and of a small rise later. It alarms where chance does not explain what it
saw: by the exact binomial tail of a share, and of a mean score by the lesser of two bounds that are never below that
tail: Chernoff's, and one that also knows how little the scores scatter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from math import exp, inf, log, sqrt
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from optimizer.core.base.minute_sums import WIDTH, Histogram, MinuteSums, edge, merge, quantile
from optimizer.core.base.phrasing import count, dollars
from optimizer.core.feedback.events import FeedbackSource
from optimizer.core.statistics.interval import wilson_interval
from optimizer.core.statistics.noninferiority import binomial_tail

ONE_MINUTE = timedelta(minutes=1)
LADDER = (1, 2, 3, 5, 8, 13, 21, 34, 60)  # minutes that are looked at, up to the rule's window
LONGEST_WINDOW = LADDER[-1]
CHANCE = 1e-4  # that one look alarms though the figure stands exactly at its limit, over all its windows together
Z = 4.5  # of a mean that has no upper bound: dollars have rare great ones, so rather too far out
BETS = (0.03, 0.06, 0.12, 0.25, 0.4, 0.6)  # shares of the most that may be staked on a mean, of which one will suit
LEAST_STAKED = 1e-6  # below, the squares of such stakes lose their digits
MOST_EXACT = 5000  # events, up to which the tail is summed up; of more, Chernoff's bound is near enough
TO_CLEAR = 15  # minutes that have to be well, and more where they hold too few events
SLOWER = 0.05  # the share of requests that may be slower than the p95
INSIDE = 0.8  # of the limit, which a figure that is open has to come back to
INSIDE_NUMBER = 0.95  # the same of a figure that is no sum of minutes, and so has no chance in it
MOST_OF_BUDGET = 10
ENOUGH_BEFORE = 200  # events, of which a figure counts as the usual one
Z90 = 1.645

Metric = Literal[
    "success",
    "quality",
    "errors",
    "latency_p95",
    "cost",
    "feedback",
    "retries",
    "tools_ignored",
    "low_scores",
    "conversation",
    "outcome_age",
    "budget",
    "failed_jobs",
    "disk",
    "restarts",
]
Scope = Literal["family", "variant", "model"]
Against = Literal["earlier_weeks", "champion_before"]
AlertLevel = Literal["info", "warning", "critical"]
METRICS: tuple[Metric, ...] = get_args(Metric)
LOWER_IS_WORSE: tuple[Metric, ...] = ("success", "quality", "feedback", "conversation")
NOT_OF_MINUTES: tuple[Metric, ...] = ("conversation", "outcome_age", "budget", "failed_jobs", "disk", "restarts")
OF_HOME: tuple[Metric, ...] = ("disk", "restarts")  # no figure of a family
SHARES: tuple[Metric, ...] = (
    "success",
    "quality",
    "errors",
    "feedback",
    "retries",
    "tools_ignored",
    "low_scores",
    "conversation",
)
_OF_OUTCOMES: tuple[Metric, ...] = ("success", "quality", "low_scores")
COUNT_AS_FEEDBACK: tuple[FeedbackSource, ...] = ("user", "system")
_NAME = r"^[a-z][a-z0-9_]{0,59}$"
_TIME = re.compile(r"(\d{1,4})(m|h)")


def _minutes(value: Any) -> Any:
    """``5m`` and ``1h`` as minutes."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"a time such as 5m or 1h is needed, not {value!r}")
    return int(match[1]) * (60 if match[2] == "h" else 1)


Minutes = Annotated[int, BeforeValidator(_minutes)]


class AlertRule(BaseModel):
    """One entry of config/alert_rules.yaml.

    The limit is ``above`` or ``below``, and ``times`` what ``against`` names: where both are there, the laxer of the
    two. So a family that always was beyond the number raises nothing while it stays what it was. ``limit_of`` says
    what holds until that is known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    name: str = Field(pattern=_NAME)
    metric: Metric
    scope: Scope = "family"
    families: tuple[str, ...] = Field(default=(), description="Only these; default: all.")
    source: FeedbackSource | None = None
    above: float | None = Field(default=None, ge=0)
    below: float | None = Field(default=None, gt=0)
    times: float | None = Field(default=None, gt=0, le=1000)
    against: Against | None = None
    window: Minutes = Field(default=LONGEST_WINDOW, ge=1, le=LONGEST_WINDOW, validate_default=False)
    for_: Minutes = Field(default=0, ge=0, le=LONGEST_WINDOW, alias="for", validate_default=False)
    min_n: int = Field(default=20, ge=1, le=1_000_000)
    clear: float | None = Field(default=None, ge=0)
    level: AlertLevel = "warning"
    action: Literal["notify", "hold"] = "notify"
    explains: tuple[str, ...] = ()
    watch: bool = True

    @model_validator(mode="after")
    def _says_one_thing(self) -> AlertRule:
        lower = self.metric in LOWER_IS_WORSE
        wanted, other = ("below", "above") if lower else ("above", "below")
        if getattr(self, other) is not None:
            raise ValueError(f"{self.metric} is worse when it is {'lower' if lower else 'higher'}: say `{wanted}`")
        if (self.times is None) != (self.against is None):
            raise ValueError("`times` and `against` belong together: how many times what may it be?")
        limit = self.below if lower else self.above
        if limit is None and self.times is None:
            raise ValueError(f"no limit: say `{wanted}`, or `times` and `against`, or both")
        if self.times is not None and (self.times >= 1) == lower:
            raise ValueError(f"`times` of {self.metric} must be {'below' if lower else 'at least'} 1, not {self.times}")
        if limit is not None and self.metric in (*SHARES, "disk") and not limit < 1:
            raise ValueError(f"{self.metric} is a share: a limit below 1 is needed, not {limit:g}")
        if limit is not None and self.metric == "budget" and limit > MOST_OF_BUDGET:
            raise ValueError(f"budget is a share, 1 is all of it: at most {MOST_OF_BUDGET} is a limit, not {limit:g}")
        if self.metric in NOT_OF_MINUTES and self.for_:
            raise ValueError(f"{self.metric} is looked at as it is now: `for` says nothing of it")
        if self.source is not None and self.metric not in (*_OF_OUTCOMES, "feedback", "outcome_age"):
            raise ValueError(f"{self.metric} is of no outcome: `source` says nothing of it")
        if self.clear is not None and limit is not None and (self.clear < limit if lower else self.clear > limit):
            raise ValueError(f"`clear` ({self.clear:g}) must not lie beyond the limit ({limit:g})")
        if self.metric in NOT_OF_MINUTES and (self.against is not None or self.scope != "family"):
            raise ValueError(f"{self.metric} has no earlier weeks, variants or models: say `{wanted}` alone")
        if self.metric == "feedback" and self.source not in (None, *COUNT_AS_FEEDBACK):
            raise ValueError(f"feedback counts outcomes of {' and '.join(COUNT_AS_FEEDBACK)}, not of {self.source}")
        if self.against == "champion_before" and self.scope != "family":
            raise ValueError("`against: champion_before` compares the champion of a family: scope has to be family")
        if self.action == "hold" and (self.scope == "model" or self.metric in OF_HOME):
            raise ValueError("`action: hold` holds the rollout of a family, and this rule is about none")
        return self

    @property
    def limit(self) -> float | None:
        return self.below if self.metric in LOWER_IS_WORSE else self.above

    @property
    def lower_is_worse(self) -> bool:
        return self.metric in LOWER_IS_WORSE

    def concerns(self, family: str) -> bool:
        return self.watch and (not self.families or family in self.families)


class MinuteTally(NamedTuple):
    """Of one minute, or of many: events, how many of them were bad, and the sum and squares of amounts without bound.

    ``bad`` is no whole number where scores are: 1 - score of each.
    """

    minute: datetime
    n: int = 0
    bad: float = 0.0
    total: float = 0.0
    squares: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFinding:
    """A figure beyond its limit, or not yet well again; ``n`` events of ``minutes``; None: too few to tell."""

    value: float | None
    n: int
    limit: float
    minutes: int


def usual_of(rule: AlertRule, rows: Sequence[MinuteSums]) -> float | None:
    """The figure of rows of the time that it is compared with; None with fewer than 200 events."""
    if rule.metric == "latency_p95":
        histogram: Histogram = merge(row.latency_histogram for row in rows if row.source == "")
        n, value = sum(histogram.values()), quantile(histogram, 1 - SLOWER)
    else:
        sums = reduce(_added, tallies(rule, rows, 0.0), MinuteTally(datetime.min))
        n, value = sums.n, _value(rule, sums)
    if value is None or n < ENOUGH_BEFORE:
        return None
    if rule.metric in ("errors", "retries", "tools_ignored", "low_scores"):
        return wilson_interval(round(value * n), n, z=Z90).upper  # of none in 200 it is not known that it is none
    return value


def limit_of(rule: AlertRule, usual: float | None) -> float | None:
    """What holds now: the laxer of both limits. None where what it needs to know is not known.

    In a family of which nobody knows what is usual, the number of a share holds alone. That of milliseconds or dollars
    does not: what a model usually takes may be far beyond it; nor does one beside a champion before that nobody saw.
    """
    is_known = rule.against is None or usual is not None
    if not is_known and (rule.against == "champion_before" or rule.metric not in SHARES):
        return None
    relative = _relative(rule, usual)
    known = [limit for limit in (rule.limit, relative) if limit is not None]
    if not known:
        return None
    return min(known) if rule.lower_is_worse else max(known)


def _relative(rule: AlertRule, usual: float | None) -> float | None:
    """So many times what is usual; of a share of bad events at most what takes so many times fewer good ones, or where
    a third fails as a rule three times that would never be passed.
    """
    if rule.times is None or usual is None:
        return None
    if rule.metric not in SHARES or rule.lower_is_worse:
        return rule.times * usual
    return min(rule.times * usual, 1 - (1 - usual) / rule.times)


def tallies(rule: AlertRule, rows: Iterable[MinuteSums], limit: float) -> list[MinuteTally]:
    """By minute, the newest first; ``limit`` in milliseconds says which requests count as slow."""
    is_of_outcomes = None if rule.metric == "feedback" else rule.metric in _OF_OUTCOMES
    amounts_of = _amounts_of(rule.metric, limit)
    row_tallies: list[MinuteTally] = []
    for row in rows:
        source = row.source
        if is_of_outcomes is not None and is_of_outcomes != bool(source):
            continue
        if source and rule.source not in (None, source):
            continue
        own = MinuteTally(row.minute, *amounts_of(row))
        if own.n or own.bad:
            row_tallies.append(own)
    return merged([row_tallies])


def merged(parts: Iterable[Sequence[MinuteTally]]) -> list[MinuteTally]:
    """Of several by minute, the newest first."""
    by_minute: dict[datetime, MinuteTally] = {}
    for tally in (tally for part in parts for tally in part):
        before = by_minute.get(tally.minute)
        by_minute[tally.minute] = tally if before is None else _added(before, tally)
    return [by_minute[minute] for minute in sorted(by_minute, reverse=True)]


def is_worse_since(rule: AlertRule, minutes: Iterable[MinuteTally], since: datetime, limit: float) -> bool:
    """Whether what came since then lies beyond the limit, whatever chance says."""
    sums = reduce(_added, (tally for tally in minutes if tally.minute >= since), MinuteTally(since))
    return _is_worse(rule, sums, limit)


_Amounts = tuple[int, float, float, float]  # events, bad ones, and the sum and squares of amounts


def _amounts_of(metric: Metric, limit: float) -> Callable[[MinuteSums], _Amounts]:
    """Of a row that says something of the metric."""
    if metric != "latency_p95":
        return _AMOUNTS[metric]

    def amounts(row: MinuteSums) -> _Amounts:
        # Surely above are those of the buckets that begin at the limit or later.
        slower = sum([k for bucket, k in row.latency_histogram.items() if edge(bucket) / WIDTH >= limit])
        return row.n_latency, slower, 0.0, 0.0

    return amounts


def _outcomes_missing(row: MinuteSums) -> _Amounts:
    """Each outcome takes one off the requests that have none."""
    if not row.source:
        return row.n, row.n, 0.0, 0.0
    return 0, -row.n if row.source in COUNT_AS_FEEDBACK else 0, 0.0, 0.0


def _dollars(row: MinuteSums) -> _Amounts:
    squares = sum([k * edge(bucket) ** 2 for bucket, k in row.cost_histogram.items()])
    return row.n_cost, 0.0, row.cost_sum_usd, squares


def _scores(row: MinuteSums) -> _Amounts:
    return row.n_score, row.n_score - row.score_sum, 0.0, row.n_score - 2 * row.score_sum + row.score_squares


_AMOUNTS: Mapping[Metric, Callable[[MinuteSums], _Amounts]] = {
    "feedback": _outcomes_missing,
    "cost": _dollars,
    "quality": _scores,
    "success": lambda row: (row.n_success, row.n_success - row.success_sum, 0.0, 0.0),
    "low_scores": lambda row: (row.n_score, row.n_low_scores, 0.0, 0.0),
    "errors": lambda row: (row.n, row.n_errors, 0.0, 0.0),
    "retries": lambda row: (row.n_with_parts, row.n_retried, 0.0, 0.0),
    "tools_ignored": lambda row: (row.n_with_parts, row.n_tools_ignored, 0.0, 0.0),
}


def look(
    rule: AlertRule,
    minutes: Sequence[MinuteTally],
    until: datetime,
    limit: float,
    *,
    open_since: datetime | None = None,
    cleared_at: datetime | None = None,
    inside: Sequence[MinuteTally] | None = None,
) -> RuleFinding | None:
    """What is to be told of now; None: all is well, or there is nothing to say yet.

    Args:
        minutes: the newest first, up to the rule's window and its ``for`` before ``until``.
        until: up to when minutes are summed up.
        open_since: when this was raised, if it is open: then it has to come back inside the limit, for 15 minutes in
            which no window is beyond it.
        cleared_at: when it was last well again. Of the minutes before the quarter of an hour that cleared it people
            have heard: they never raise it again.
        inside: the same minutes by ``inner_limit``, where a limit says which requests are slow.
    """
    if cleared_at is not None:
        untold_since = cleared_at - TO_CLEAR * ONE_MINUTE
        minutes = [tally for tally in minutes if tally.minute >= untold_since]
    now = _beyond(rule, minutes, until, limit)
    if open_since is not None:
        return now or _still(rule, minutes if inside is None else inside, until, limit, open_since)
    for shift in range(1, rule.for_ + 1) if now is not None else ():
        then = until - shift * ONE_MINUTE
        if _beyond(rule, [tally for tally in minutes if tally.minute < then], then, limit) is None:
            return None
    return now


def _beyond(rule: AlertRule, minutes: Sequence[MinuteTally], until: datetime, limit: float) -> RuleFinding | None:
    """The first window that is beyond the limit by more than chance, and whose newest quarter is, too: what is over is
    not told of again while a long window still holds it.
    """
    steps = [step for step in LADDER if step < rule.window] + [rule.window]
    place, sums = 0, MinuteTally(until)
    newest: dict[int, MinuteTally] = {}
    for step in range(1, rule.window + 1):
        since = until - step * ONE_MINUTE
        while place < len(minutes) and minutes[place].minute >= since:
            sums = _added(sums, minutes[place])
            place += 1
        newest[step] = sums
        if step not in steps or sums.n < rule.min_n or not _is_worse(rule, sums, limit):
            continue
        recent = newest[max(1, step // 4)]
        if recent.n and not _is_worse(rule, recent, limit):
            continue
        chance = CHANCE / len(steps)
        n = sums.n
        if rule.metric == "cost":
            mean = sums.total / n
            variance = max(0.0, sums.squares / n - mean * mean)
            is_beyond_chance = mean - Z * sqrt(variance / n) > limit
        else:
            share = _bad_share(rule, limit)
            probable = tail(sums.bad, n, share, chance)
            if rule.metric == "quality":
                probable = 2 * min(probable, tail_by_scatter(sums, share))
            is_beyond_chance = probable <= chance
        if is_beyond_chance:
            return RuleFinding(value=_value(rule, sums), n=sums.n, limit=limit, minutes=step)
    return None


def _still(
    rule: AlertRule, minutes: Sequence[MinuteTally], until: datetime, limit: float, open_since: datetime
) -> RuleFinding | None:
    """What is open stays open until 15 minutes after it was raised are well, or more where they hold too few events;
    and ends where no event came for an hour.
    """
    since, inner = until - TO_CLEAR * ONE_MINUTE, inner_limit(rule, limit)
    limit = inner if rule.metric == "latency_p95" else limit  # by which its requests were counted
    sums = MinuteTally(until)
    for tally in minutes:
        if tally.minute < since and sums.n >= rule.min_n:
            break
        sums = _added(sums, tally)
    if not sums.n:
        return None
    span = max(TO_CLEAR, int((until - sums.minute) / ONE_MINUTE))
    if sums.n < rule.min_n:
        return RuleFinding(value=None, n=sums.n, limit=limit, minutes=span)
    if until - open_since >= TO_CLEAR * ONE_MINUTE and not _is_worse(rule, sums, inner):
        return None
    return RuleFinding(value=_value(rule, sums), n=sums.n, limit=limit, minutes=span)


def inner_limit(rule: AlertRule, limit: float) -> float:
    """What a figure that is open has to come back to: ``clear``, but never beyond the limit that holds now."""
    if rule.lower_is_worse:
        inner = 1 - INSIDE * (1 - limit) if rule.clear is None else rule.clear
        return max(inner, limit)
    inside = INSIDE_NUMBER if rule.metric in NOT_OF_MINUTES else INSIDE
    return min(inside * limit if rule.clear is None else rule.clear, limit)


def still_beyond(rule: AlertRule, value: float, *, is_open: bool) -> bool:
    """Of a figure that is one number: the age of data, a share of a budget or a disk, a count of what failed, the mean
    of a conversation.
    """
    limit = rule.limit or 0.0
    edge_now = inner_limit(rule, limit) if is_open else limit
    return value < edge_now if rule.lower_is_worse else value > edge_now


def _is_worse(rule: AlertRule, sums: MinuteTally, limit: float) -> bool:
    return sums.total > limit * sums.n if rule.metric == "cost" else sums.bad > _bad_share(rule, limit) * sums.n


def _bad_share(rule: AlertRule, limit: float) -> float:
    """The share of events that may be bad at the limit."""
    if rule.metric == "latency_p95":
        return SLOWER
    return 1 - limit if rule.lower_is_worse else limit


def tail(bad: float, n: int, share: float, chance: float) -> float:
    """How probable it is that so many or more of n are bad where each is with probability ``share``; at least that
    where scores are no whole numbers or n is great.

    Source: Hoeffding (1963), JASA 58(301), theorem 1, for values in [0, 1].
    """
    if bad <= n * share:
        return 1.0
    if share <= 0:
        return 0.0
    rate = min(1.0, bad / n)
    distance = rate * log(rate / share) + ((1 - rate) * log((1 - rate) / (1 - share)) if rate < 1 else 0.0)
    bound = exp(-n * distance)
    if bound <= chance or n > MOST_EXACT or bad != int(bad):
        return bound
    return binomial_tail(int(bad), n, share)


def tail_by_scatter(sums: MinuteTally, share: float) -> float:
    """At most how probable such a sum of bad parts in [0, 1] is where their mean is ``share``, by how far they scatter.

    Stakes on each part being more than the mean multiply by 1 + bet (part - share) / share, and on average no stake
    grows; of the logarithm of that product sums and squares give a lower bound.

    Source: Fan, Grama & Liu (2015), Electronic Journal of Probability 20(1), lemma 4.1; Waudby-Smith & Ramdas (2024),
    JRSS B 86(1), section 3.
    """
    if sums.bad <= sums.n * share or share < LEAST_STAKED:
        return 1.0
    above = sums.bad / share - sums.n
    scatter = sums.squares / share**2 - 2 * sums.bad / share + sums.n
    grown = max(bet * above + (log(1 - bet) + bet) * scatter for bet in BETS)
    return min(1.0, exp(log(len(BETS)) - grown))


def events_to_tell(rule: AlertRule, limit: float, bad: float) -> float:
    """About how many events it takes until a share of ``bad`` ones is told of; infinite where it never is. Of scores at
    most so many.

    Of cost, whose spread nobody knows beforehand: as many as the rule asks for.
    """
    if rule.metric == "cost":
        return rule.min_n
    share, chance = _bad_share(rule, limit), CHANCE / len(LADDER)
    if bad <= share:
        return inf
    n = rule.min_n
    while tail(float(int(n * bad)), n, share, chance) > chance:
        n = max(n + 1, int(n * 1.05))
        if n > 10_000_000:
            return inf
    return n


def _added(a: MinuteTally, b: MinuteTally) -> MinuteTally:
    return MinuteTally(b.minute, a.n + b.n, a.bad + b.bad, a.total + b.total, a.squares + b.squares)


def _value(rule: AlertRule, sums: MinuteTally) -> float | None:
    if not sums.n:
        return None
    if rule.metric == "cost":
        return sums.total / sums.n
    share = min(1.0, max(0.0, sums.bad / sums.n))
    return 1 - share if rule.lower_is_worse else share


_MEANINGS: Mapping[Metric, str] = {
    "success": "{value:.1%} of {n} said that the answer was good",
    "quality": "the mean score of {n} is {value:.3f}",
    "errors": "{value:.1%} of {n} failed",
    "latency_p95": "{value:.1%} of {n} took longer than {limit}, and {slower:.0%} may",
    "cost": "a request costs {value} on average of {n}",
    "feedback": "outcomes came of {value:.1%} of {n}",
    "retries": "{value:.1%} of {n} were asked again by their policy",
    "tools_ignored": "in {value:.1%} of {n} the answer did not use the results of its tools",
    "low_scores": "{value:.1%} of {n} lie below .80",
    "outcome_age": "the newest outcome is {value:.1f} hours old, though requests come",
    "budget": "{value:.0%} of the month's dollars are spent or reserved",
    "conversation": "the mean score of one conversation is {value:.3f}",
    "failed_jobs": "{value:.0f} failed within a day",
    "restarts": "it died and was started again {value:.0f} times within an hour",
    "disk": "{value:.0%} of the disk are used",
}
_EVENTS: Mapping[Metric, str] = {"success": "outcome", "quality": "score", "low_scores": "score"}
AGAINST: Mapping[Against, str] = {
    "earlier_weeks": "the same hours of earlier weeks",
    "champion_before": "the champion before",
}


def finding_text(rule: AlertRule, finding: RuleFinding, usual: float | None) -> str:
    """What is told: the figure, since when, the limit and where it comes from, and when it clears."""
    events = count(finding.n, _EVENTS.get(rule.metric, "request"))
    if finding.value is None:
        return f"was beyond its limit, and {events} of the last {count(finding.minutes, 'minute')} are too few to tell"
    figures = {"n": events, "limit": amount_text(rule.metric, finding.limit), "slower": SLOWER, "value": finding.value}
    if rule.metric == "cost":
        figures["value"] = dollars(finding.value)
    text = _MEANINGS[rule.metric].format(**figures)
    where = f", in the last {count(finding.minutes, 'minute')}" if finding.n else ""
    least = "at least " if rule.metric in LOWER_IS_WORSE else ""
    limit = "" if rule.metric == "latency_p95" else f"; the limit is {least}{amount_text(rule.metric, finding.limit)}"
    known = ""
    if rule.against is not None and usual is not None:
        known = f" ({AGAINST[rule.against]}: {amount_text(rule.metric, usual)})"
    elif rule.against is not None and rule.scope != "model":
        known = " (what is usual is not known yet)"
    return f"{text}{where}{limit}{known}"


def amount_text(metric: Metric, value: float) -> str:
    """A figure of this metric for people."""
    if metric == "cost":
        return dollars(value)
    if metric == "latency_p95":
        return f"{value:,.0f} ms"
    if metric in ("quality", "conversation"):
        return f"{value:.3f}"
    if metric == "outcome_age":
        return f"{value:g} hours"
    return f"{value:g}" if metric in ("failed_jobs", "restarts") else f"{value:.1%}"
