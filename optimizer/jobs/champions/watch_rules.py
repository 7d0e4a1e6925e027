"""Watches the rules of config/alert_rules.yaml: keeps one open alert for each figure beyond its limit, and holds the
family's rollout where the rule says so. It takes nothing back: that is the gates'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from shlex import quote

import structlog

from optimizer.core.base.minute_sums import MinuteSums, floor
from optimizer.core.base.phrasing import count, when
from optimizer.core.family.family import Family
from optimizer.core.rollout.alert_causes import BROKEN
from optimizer.core.rollout.alert_rules import (
    LONGEST_WINDOW,
    NOT_OF_MINUTES,
    ONE_MINUTE,
    AlertRule,
    Metric,
    MinuteTally,
    RuleFinding,
    finding_text,
    inner_limit,
    is_worse_since,
    limit_of,
    look,
    merged,
    still_beyond,
    tallies,
    usual_of,
)
from optimizer.core.scheduling.monthly_budget import MonthlyLimits
from optimizer.core.serving.rollout import Champion, Rollout
from optimizer.jobs.feedback.roll_up_minutes import MINUTES
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.keep_alerts import keep_alerts
from optimizer.jobs.record_change import hold_active
from optimizer.jobs.studies.read_spending import monthly_left
from optimizer.ports import Alert, Clock, Store, Transaction

FAULTY = "alert_rules_faulty"
DAYS_LOOKED_BACK = 8  # for an outcome
MOST_RUNS = 200  # of a family, of which those that failed within a day are counted
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeFigures:
    """What no minute holds. ``disk``: the used share of the disk that holds the store, None where it cannot be told;
    ``all_usd``: dollars that all families together may spend in a month; ``restarts``: the processes that died and were
    started again within an hour, None where no supervisor says it.
    """

    disk: float | None = None
    all_usd: float | None = None
    restarts: Sequence[str] | None = None


NO_FIGURES = HomeFigures()


@dataclass(slots=True)
class EarlierRows:
    """Sums of the time that a family is compared with, read when the first rule asks for them, as of one hour.

    The same three hours of four earlier weeks; where these hold too few, of the six days before; and where these do,
    too, of the last day but its newest two hours. Of the champion before, the same three hours of seven days, else all
    of them.
    """

    store: Store
    family: str
    hour: datetime
    champion: Champion | None
    before: str | None  # the variant that was champion before
    _newest: dict[str | None, datetime | None] = field(default_factory=dict)
    _rows: dict[str, list[MinuteSums]] = field(default_factory=dict)
    _usual: dict[tuple[AlertRule, str | None], float | None] = field(default_factory=dict)

    def newest_outcome(self, tx: Transaction, source: str | None) -> datetime | None:
        """Of this source, or of any; None where none came in eight days."""
        if source not in self._newest:
            since = self.hour - DAYS_LOOKED_BACK * DAY
            self._newest[source] = self.store.minute_stats.newest(tx, self.family, since, source=source)
        return self._newest[source]

    def of(self, tx: Transaction, which: str) -> list[MinuteSums]:
        if which not in self._rows:
            self._rows[which] = [
                row for since, until in self._spans(which) for row in self._read(tx, since, until, which)
            ]
        return self._rows[which]

    def usual(self, tx: Transaction, rule: AlertRule, *, model: str | None = None) -> float | None:
        """The figure that the rule compares with; None where nobody knows one yet."""
        key = rule, model
        if key not in self._usual:
            self._usual[key] = self._figure(tx, rule, model)
        return self._usual[key]

    def _figure(self, tx: Transaction, rule: AlertRule, model: str | None) -> float | None:
        spans = ("weeks", "days", "last_day") if rule.against == "earlier_weeks" else ("before", "before_all")
        for which in spans if rule.against is not None else ():
            rows = self.of(tx, which)
            usual = usual_of(rule, rows if model is None else [row for row in rows if row.model == model])
            if usual is not None:
                return usual
        return None

    def _spans(self, which: str) -> list[tuple[datetime, datetime]]:
        steps = {
            "weeks": [WEEK * n for n in range(1, 5)],
            "days": [DAY * n for n in range(1, 7)],
            "before": [DAY * n for n in range(8)],
        }
        if which in steps:
            return [(self.hour - step - HOUR, min(self.hour, self.hour - step + 2 * HOUR)) for step in steps[which]]
        if which == "last_day":
            return [(self.hour - DAY, self.hour - 2 * HOUR)]
        return [(self.hour - WEEK, self.hour)]

    def _read(self, tx: Transaction, since: datetime, until: datetime, which: str) -> list[MinuteSums]:
        if not which.startswith("before"):
            return self.store.minute_stats.of_family(tx, self.family, since, until=until)
        if self.before is None:
            return []
        return self.store.minute_stats.of_family(tx, self.family, since, until=until, variant=self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class _MinuteLook:
    """Of one minute: up to when sums reach; what is open by now, and when what was open was last well again, by family
    and subject; and the rollouts under way, by family.
    """

    tx: Transaction
    until: datetime
    now: datetime
    open: Mapping[tuple[str | None, str], Alert]
    cleared: Mapping[tuple[str | None, str], datetime | None]
    rollouts: Mapping[str, Rollout]

    def open_since(self, family: str | None, subject: str) -> datetime | None:
        alert = self.open.get((family, subject))
        return alert.opened_at if alert is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """A figure that is no sum of minutes. ``of``: what it is of, in words; ``look``: the command that shows it, where
    the metric has no one for all.
    """

    value: float
    of: str = ""
    look: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelPart:
    """What one family saw of a model."""

    family: str
    limit: float
    minutes: Sequence[MinuteTally]
    inside: Sequence[MinuteTally]  # by the limit that it has to come back to; none where no alert is open


class LateSums:
    """What came of earlier days, as of an import: it tells nothing of now. The events of each minute are read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: dict[str, tuple[datetime, list[MinuteSums]]] = {}  # by family, with the minute up to which

    def taken_off(
        self, tx: Transaction, family: str, rows: Sequence[MinuteSums], since: datetime, until: datetime
    ) -> list[MinuteSums]:
        """The family's rows of [since, until) without it; they are changed."""
        done, late = self._rows.get(family, (since, []))
        begin = max(since, done)
        if any(row.minute >= begin for row in rows):
            late = [*late, *self._store.minute_stats.late(tx, family, begin, until, begin - DAY)]
        late = [row for row in late if row.minute >= since]
        self._rows[family] = until, late
        by_key = {_of_row(row): row for row in rows}
        for one in late:
            if (row := by_key.get(_of_row(one))) is not None:
                row.add(one, -1)
        return [row for row in by_key.values() if row.n]


_of_row = attrgetter("minute", "variant", "model", "source")


class RuleWatcher:
    """Called by the worker after each minute was summed up; what it remembers is read again after a restart."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._seen: tuple[datetime | None, Sequence[AlertRule]] = (None, ())
        self._earlier: dict[str, EarlierRows] = {}
        self._late = LateSums(store)

    def look(
        self, families: Mapping[str, Family], rules: Sequence[AlertRule], figures: HomeFigures = NO_FIGURES
    ) -> list[Alert]:
        """Keeps what is open as it should be by the last minute that is summed up; returns the alerts that are new.

        While the worker sums up nothing, nothing is raised and nothing cleared. A family that cannot be looked at keeps
        what is open of it.
        """
        store, now = self._store, self._clock.now()
        with store.read() as tx:
            # Before the first event of a home its disk, jobs and budget are watched all the same.
            until = store.minute_stats.watermark(tx, MINUTES) or floor(now, 1)
            if until == self._seen[0] and rules is self._seen[1]:
                return []
            alerts = store.alerts.all(tx, open_only=True, kind=BROKEN)
            # An hour at least, since what is open is well again by what came in it.
            since = until - max([LONGEST_WINDOW, *(rule.window + rule.for_ for rule in rules)]) * ONE_MINUTE
            closed = [alert for alert in store.alerts.closed_since(tx, since) if alert.kind == BROKEN]
            holds = any(rule.action == "hold" for rule in rules)
            this = _MinuteLook(
                tx=tx,
                until=until,
                now=now,
                open={(alert.family, alert.subject): alert for alert in alerts},
                cleared={(alert.family, alert.subject): alert.closed_at for alert in closed},
                rollouts={
                    rollout.family: rollout
                    for rollout in (store.rollouts.all_active(tx) if holds else ())
                    if rollout.status == "deploying"
                },
            )
            wanted: list[Alert] = []
            rows_of: dict[str, list[MinuteSums]] = {}
            for family in families.values():
                try:
                    rows = store.minute_stats.of_family(tx, family.name, since, until=until)
                    rows = rows_of[family.name] = self._late.taken_off(tx, family.name, rows, since, until)
                    wanted += list(self._of_family(this, family, rules, rows))
                except Exception:
                    log.exception("family not looked at", family=family.name)
                    wanted += [alert for alert in alerts if alert.family == family.name]
            wanted += self._of_models(this, rules, rows_of)
            wanted += self._of_home(this, rules, figures)
        actions = {rule.name: rule.action for rule in rules}

        def keep(tx: Transaction) -> list[Alert]:
            new = keep_alerts(tx, store, BROKEN, wanted, at=now)
            for alert in new:
                name = alert.subject.split(" ", 1)[0]
                if actions.get(name) == "hold" and alert.family is not None:
                    hold_active(tx, store, self._clock, alert.family, actor=f"rule:{name}", reason=alert.detail[:2000])
            return new

        new = store.write(keep) if wanted or alerts else []
        self._seen = until, rules  # last: a look whose write failed is made again
        return new

    def _of_family(
        self, this: _MinuteLook, family: Family, rules: Sequence[AlertRule], rows: Sequence[MinuteSums]
    ) -> Iterable[Alert]:
        earlier = self.earlier(this.tx, family.name, this.until)
        for rule in rules:
            if not rule.concerns(family.name) or rule.scope == "model":
                continue
            if rule.metric in NOT_OF_MINUTES:
                reading = self._number(this, family, rule, earlier, rows)
                if reading is not None:
                    yield from _of_number(this, rule, family.name, reading)
                continue
            usual = earlier.usual(this.tx, rule)
            limit = limit_of(rule, usual)
            if limit is None:
                continue
            for subject, group in _groups(rule, rows, earlier):
                name = f"{rule.name} {subject}".rstrip()
                minutes, since = tallies(rule, group, limit), this.open_since(family.name, name)
                inside = None if since is None else tallies(rule, group, inner_limit(rule, limit))
                cleared = this.cleared.get((family.name, name))
                finding = look(rule, minutes, this.until, limit, open_since=since, cleared_at=cleared, inside=inside)
                if finding is not None:
                    yield _alert(this, rule, family.name, name, f"{finding_text(rule, finding, usual)}.")

    def _of_models(
        self, this: _MinuteLook, rules: Sequence[AlertRule], rows_of: Mapping[str, Sequence[MinuteSums]]
    ) -> Iterable[Alert]:
        """Over all families that ask the model, each beside its own limit; raised where it is worse in two or more,
        since of one family its own alert speaks.
        """
        for rule in rules:
            if rule.scope != "model" or not rule.watch:
                continue
            names = [name for name in rows_of if rule.concerns(name)]
            for model in sorted({row.model for name in names for row in rows_of[name] if row.model}):
                name = f"{rule.name} {model}"
                open_since = this.open_since(None, name)
                parts = [
                    part
                    for family in names
                    if (part := self._model_part(this, rule, family, model, rows_of[family], open_since)) is not None
                ]
                n = sum(tally.n for part in parts for tally in part.minutes)
                if not n:
                    continue
                limit = sum(part.limit * tally.n for part in parts for tally in part.minutes) / n
                minutes = merged(part.minutes for part in parts)
                inside = None if open_since is None else merged(part.inside for part in parts)
                cleared = this.cleared.get((None, name))
                finding = look(
                    rule, minutes, this.until, limit, open_since=open_since, cleared_at=cleared, inside=inside
                )
                if finding is None:
                    continue
                since = this.until - finding.minutes * ONE_MINUTE
                worse = [part.family for part in parts if is_worse_since(rule, part.minutes, since, part.limit)]
                if open_since is not None or len(worse) > 1:
                    where = f" Families: {', '.join(worse)}." if worse else ""
                    yield _alert(this, rule, None, name, f"{finding_text(rule, finding, None)}.{where}")

    def _model_part(
        self,
        this: _MinuteLook,
        rule: AlertRule,
        family: str,
        model: str,
        rows: Sequence[MinuteSums],
        open_since: datetime | None,
    ) -> _ModelPart | None:
        """None where the family does not ask the model, or nobody knows what is usual."""
        own = [row for row in rows if row.model == model]
        if not own:
            return None
        usual = self.earlier(this.tx, family, this.until).usual(this.tx, rule, model=model)
        limit = limit_of(rule, usual)
        if limit is None:
            return None
        inside = () if open_since is None else tallies(rule, own, inner_limit(rule, limit))
        return _ModelPart(family=family, limit=limit, minutes=tallies(rule, own, limit), inside=inside)

    def _of_home(self, this: _MinuteLook, rules: Sequence[AlertRule], figures: HomeFigures) -> Iterable[Alert]:
        for rule in rules:
            reading = None
            if rule.metric == "disk" and figures.disk is not None:
                reading = _Reading(value=figures.disk)
            elif rule.metric == "restarts" and rule.watch:
                for process, n in Counter(figures.restarts or ()).items():
                    yield from _of_number(this, rule, None, _Reading(value=n), f"{rule.name} {process}")
            elif rule.metric == "budget" and figures.all_usd is not None and not rule.families:
                reading = self._spent(this.tx, "", MonthlyLimits(all_usd=figures.all_usd))
            elif rule.metric == "failed_jobs" and not rule.families:
                reading = self._failed(this, "")
            if reading is not None and rule.watch:
                yield from _of_number(this, rule, None, reading)

    def _number(
        self, this: _MinuteLook, family: Family, rule: AlertRule, earlier: EarlierRows, rows: Sequence[MinuteSums]
    ) -> _Reading | None:
        """None where there is nothing to measure."""
        if rule.metric == "budget":
            limit = family.budget.usd_per_month
            return None if limit is None else self._spent(this.tx, family.name, MonthlyLimits(family_usd=limit))
        if rule.metric == "failed_jobs":
            return self._failed(this, family.name)
        if rule.metric == "conversation":
            since = this.until - rule.window * ONE_MINUTE
            lowest = self._store.traffic.lowest_conversation(this.tx, family.name, since, this.until, rule.min_n)
            if lowest is None:
                return None
            look = f"detent quality monitor --conversation {quote(lowest.conversation)}"
            return _Reading(value=lowest.mean, of=f"{lowest.conversation}, {count(lowest.n, 'score')}", look=look)
        if rule.metric == "outcome_age":
            # What is open stays so while requests come, few as they may be.
            is_open = this.open_since(family.name, rule.name) is not None
            n_requests = sum(row.n for row in rows if row.source == "")
            before = earlier.newest_outcome(this.tx, rule.source)
            outcomes = [row.minute for row in rows if row.source and rule.source in (None, row.source)]
            newest = max(outcomes if before is None else [before, *outcomes], default=None)
            if n_requests < (1 if is_open else rule.min_n) or (newest is None and not is_open):
                return None
            if newest is None:
                return _Reading(value=DAYS_LOOKED_BACK * DAY / HOUR, of="or more")
            return _Reading(value=(this.until - newest) / HOUR)
        return None

    def _failed(self, this: _MinuteLook, family: str) -> _Reading:
        """``family`` "": runs that are of none, as a forgetting is."""
        studies = self._store.studies.page(this.tx, family=family, status="failed")[0] if family else []
        runs = [run for run in self._store.runs.latest(this.tx, {family}, MOST_RUNS) if run.status == "failed"]
        failed = [
            *((study.finished_at, f"study {study.id}", study.error) for study in studies),
            *((run.finished_at, f"{run.kind} {run.id}", run.error) for run in runs),
        ]
        of_a_day = sorted((at, name, why or "") for at, name, why in failed if at is not None and at > this.now - DAY)
        if not of_a_day:
            return _Reading(value=0)
        at, name, why = of_a_day[-1]
        last = f"last {name}, which counts until {when(at + DAY)}: {why.rstrip('.') or 'no reason is known'}"
        return _Reading(value=len(of_a_day), of=last)

    def _spent(self, tx: Transaction, family: str, limits: MonthlyLimits) -> _Reading | None:
        limit = limits.family_usd if limits.family_usd is not None else limits.all_usd
        left = monthly_left(tx, self._store, self._clock, family, limits).usd
        return None if left is None or not limit else _Reading(value=1 - left / limit)

    def earlier(self, tx: Transaction, family: str, until: datetime) -> EarlierRows:
        """What the family is compared with, read anew each hour and under each champion."""
        hour, champion = until.replace(minute=0), self._store.champions.current(tx, family)
        known = self._earlier.get(family)
        if known is None or known.hour != hour or known.champion != champion:
            history = self._store.champions.history(tx, family) if champion is not None else []
            before = next((c.variant for c in history if champion is not None and c.seq == champion.seq - 1), None)
            known = EarlierRows(self._store, family, hour, champion, before)
            self._earlier[family] = known
        return known


def _groups(
    rule: AlertRule, rows: Sequence[MinuteSums], earlier: EarlierRows
) -> list[tuple[str, Sequence[MinuteSums]]]:
    """(whose figure, its rows): of the family, of each variant, or of the champion alone."""
    if rule.against == "champion_before":
        champion = earlier.champion
        if champion is None:
            return []
        return [("", [row for row in rows if row.variant == champion.variant and row.minute >= champion.since])]
    if rule.scope == "variant":
        variants = sorted({row.variant for row in rows if row.variant})
        return [(variant, [row for row in rows if row.variant == variant]) for variant in variants]
    return [("", rows)]


def _of_number(
    this: _MinuteLook, rule: AlertRule, family: str | None, reading: _Reading, subject: str | None = None
) -> Iterable[Alert]:
    name = subject or rule.name
    if still_beyond(rule, reading.value, is_open=(family, name) in this.open):
        finding = RuleFinding(value=reading.value, n=0, limit=rule.limit or 0.0, minutes=0)
        of = f" ({reading.of})" if reading.of else ""
        yield _alert(this, rule, family, name, f"{finding_text(rule, finding, None)}{of}.", look=reading.look)


def look_at(metric: Metric, family: str | None) -> str:
    """The command that shows the cause: the first one of the alert's chapter in docs/runbook.md."""
    if metric in ("budget", "failed_jobs"):
        only = " --status failed" if metric == "failed_jobs" else ""
        return f"detent study list {family or ''}".rstrip() + only
    if metric == "disk":
        return "detent doctor"
    if metric == "restarts":
        return "detent status"
    if family is None:
        return "detent quality analytics --range 1h"
    if metric in ("errors", "latency_p95", "cost"):
        return f"detent feedback stats {family} --by hour"
    return f"detent quality analytics --range 1h --family {family}"


def _alert(this: _MinuteLook, rule: AlertRule, family: str | None, name: str, text: str, *, look: str = "") -> Alert:
    subject = name.partition(" ")[2]
    whose = " ".join(part for part in (family, subject) if part)
    rollout = this.rollouts.get(family) if rule.action == "hold" and family is not None else None
    # One that is new holds it in the transaction that keeps it; later a person may have resumed it.
    is_held = rollout is not None and (rollout.held or (family, name) not in this.open)
    held = f" Its rollout is held; to go on: detent rollout resume {family}." if is_held else ""
    look = look or look_at(rule.metric, family)
    return Alert(
        id=new_id("al"),
        kind=BROKEN,
        family=family,
        subject=name,
        level=rule.level,
        opened_at=this.now,
        detail=f"{rule.name}{f' of {whose}' if whose else ''}: {text}{held} Look: {look}",
    )


def tell_faulty_file(store: Store, clock: Clock, problem: str | None) -> None:
    """Keeps an alert open while the file of rules cannot be used."""
    with store.read() as tx:
        open_alerts = store.alerts.all(tx, open_only=True, kind=FAULTY)
    if problem is None and not open_alerts:
        return
    wanted = []
    if problem is not None:
        detail = f"The last rules that could be used go on watching; detent alerts rules shows them. {problem}"
        wanted = [Alert(id=new_id("al"), kind=FAULTY, level="warning", opened_at=clock.now(), detail=detail)]
    store.write(lambda tx: keep_alerts(tx, store, FAULTY, wanted, at=clock.now()))
