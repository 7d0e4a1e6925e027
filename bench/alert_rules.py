"""How soon the rules of alerts tell of a fault, and how often they tell of none.

    python bench/alert_rules.py [--runs 100] [--weeks 4] [--seed 1000] [--only "new champion"]

The rules of config/alert_rules.yaml through the product's own watcher (optimizer/jobs/champions/watch_rules.py), on
simulated sums by minute; alerts and sums are held in memory. Ten families (four with 5 requests a minute, four with 60,
two with 3,000 on average), whose traffic goes up and down with the day and the week, and whose errors, latency,
outcomes and scores do, too; half of the requests are answered by a policy, and in a week without a fault every second
family gets a new champion. A fault begins at a random second of a random minute; it is told when the sums that show it
are settled and the worker has looked, and ends ten minutes later. Messages are counted as the sender counts them: one
for one cause. Seeds below 1,000 were used while the rules were chosen.

Writes bench/results/alert_rules.json and docs/reference/alerts-measured.md. Exits 1 where half of the requests failing
are not told of within four minutes at 60 requests a minute, or more than one false message a week came.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from math import cos, pi
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from common import ROOT, Cell, measured_before, options_of, write_result

from optimizer.adapters.files.alert_rule_files import read_alert_rules
from optimizer.core.base.minute_sums import WIDTH, MinuteSums
from optimizer.core.rollout.alert_rules import AlertRule
from optimizer.core.serving.rollout import Champion
from optimizer.jobs.champions.watch_rules import RuleWatcher
from optimizer.jobs.outbox.send_alerts import open_cause, waits_for
from optimizer.ports import Alert, Clock, Store

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
MINUTE, WEEK = timedelta(minutes=1), timedelta(days=7)
SETTLED_S, POLL_S, SEND_S = 60.0, 20.0, 2.0  # until a minute is summed up, then until it is looked at, then sent
RATES = (5, 60, 3000)
TEN_FAMILIES = (5, 5, 5, 5, 60, 60, 60, 60, 3000, 3000)
HOURS, MOST_KEPT = timedelta(hours=3), 3000
LONGEST_MIN = 120  # after which a fault counts as not told
AFTER_MIN = 10  # for which it lasts on once it is told
ERRORS, SUCCESS, SCORED, LABELLED = 0.01, 0.95, 0.10, 0.30
SCORE, BY_POLICY, RETRIED, IGNORED = 0.975, 0.50, 0.03, 0.01  # the last two: of the requests that a policy answers
LATENCY_MS, LATENCY_SPREAD, COST_USD, COST_SPREAD = 800.0, 0.5, 0.002, 0.7
BAR_MIN, BAR_WEEK = 4.0, 1.0
WITHOUT_FAULT = "messages without a fault, ten families"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What a fault makes of a family's traffic."""

    errors: float = ERRORS
    slower: float = 1.0
    dearer: float = 1.0
    labelled: float = 1.0
    success: float = SUCCESS
    score: float = SCORE
    retried: float = RETRIED
    ignored: float = IGNORED
    source: str = "user"  # whose the outcomes are
    is_new_champion: bool = False  # another variant serves from its beginning on


FAULTS = {
    "errors 5 %": Fault(errors=0.05),
    "errors 20 %": Fault(errors=0.20),
    "errors 50 %": Fault(errors=0.50),
    "latency x 3": Fault(slower=3.0),
    "cost x 5": Fault(dearer=5.0),
    "feedback stops": Fault(labelled=0.0),
}
SIMULATED = {  # bench/faults.py has some of them on real processes
    **FAULTS,
    "outcomes come from a judge": Fault(source="judge"),
    "outcomes turn round": Fault(success=1 - SUCCESS),
    "success .95 to .70": Fault(success=0.70),
    "scores .975 to .90": Fault(score=0.90),
    "retries 3 % to 30 %": Fault(retried=0.30),
    "tools ignored 1 % to 20 %": Fault(ignored=0.20),
    "new champion, errors 5 %": Fault(errors=0.05, is_new_champion=True),
    "new champion, latency x 2": Fault(slower=2.0, is_new_champion=True),
    "new champion, cost x 2": Fault(dearer=2.0, is_new_champion=True),
}
RULES_OF = {
    "errors": ("errors", "model_errors"),
    "latency": ("latency", "model_latency"),
    "outcomes come from a judge": ("feedback", "failures"),
    "outcomes turn round": ("failures",),
    "success": ("failures",),
    "scores": ("quality",),
    "tools": ("tools_ignored",),
    "new champion, errors 5 %": ("new_champion_errors", "errors", "model_errors"),
    "new champion, latency x 2": ("new_champion_latency", "latency", "model_latency"),
    "new champion, cost x 2": ("new_champion_cost", "cost"),
}


@dataclass(kw_only=True)
class SimulatedTraffic:
    """The sums of one family, made minute by minute of a seed; the same minute is always the same."""

    family: str
    rate: float  # requests a minute, on average
    seed: int
    fault: Fault | None = None
    fault_from: datetime | None = None
    fault_until: datetime | None = None
    swing: float = 1.0  # of the day and the week; 0: every minute is alike
    champion_from: datetime | None = None  # since when another one serves that does no worse
    _kept: dict[datetime, list[MinuteSums]] = field(default_factory=dict)

    def rows(self, minute: datetime) -> list[MinuteSums]:
        if minute not in self._kept:
            if len(self._kept) > MOST_KEPT:  # minutes that the next hours compare with are drawn once
                self._kept = {at: rows for at, rows in self._kept.items() if (minute - at + HOURS) % WEEK < 2 * HOURS}
            self._kept[minute] = self._drawn(minute)
        return self._kept[minute]

    def forget_since(self, minute: datetime) -> None:
        """A fault begins or ends: what comes is another."""
        self._kept = {at: rows for at, rows in self._kept.items() if at < minute}

    def variant_of(self, at: datetime) -> str:
        since = self.fault_from if self.fault is not None and self.fault.is_new_champion else self.champion_from
        return "v_champion" if since is None or at < since else "v_second"

    def _share(self, minute: datetime) -> float:
        """Of this minute, how much lies in the fault."""
        if self.fault is None or self.fault_from is None:
            return 0.0
        until = self.fault_until or datetime.max.replace(tzinfo=UTC)
        overlap = min(minute + MINUTE, until) - max(minute, self.fault_from)
        return max(0.0, overlap / MINUTE)

    def _drawn(self, minute: datetime) -> list[MinuteSums]:
        rng = np.random.default_rng([self.seed, int(minute.timestamp()) // 60])
        day = -self.swing * cos(2 * pi * (minute.hour * 60 + minute.minute) / 1440)  # -1 at midnight, 1 at noon
        weekend = 1.0 - 0.4 * self.swing if minute.weekday() >= 5 else 1.0
        n = int(rng.poisson(self.rate * weekend * (1 + 0.6 * day)))
        part, fault = self._share(minute), self.fault or Fault()
        n_fault = int(rng.binomial(n, part)) if part else 0
        of = {"family": self.family, "minute": minute, "variant": self.variant_of(minute), "model": "m"}
        row = MinuteSums(**of)
        usual_errors = ERRORS * (1 + 0.5 * day)
        usual = LATENCY_MS * (1 + 0.25 * day)
        for k, errors, slower, dearer in (
            (n - n_fault, usual_errors, 1.0, 1.0),
            (n_fault, max(usual_errors, fault.errors), fault.slower, fault.dearer),
        ):
            if k:
                row.n += k
                row.n_errors += int(rng.binomial(k, errors))
                _amounts(row, "latency", rng, k, usual * slower, LATENCY_SPREAD)
                _amounts(row, "cost", rng, k, COST_USD * dearer, COST_SPREAD)
        row.n_with_parts = int(rng.binomial(n, BY_POLICY))
        for name, usual_share, share in (
            ("retried", RETRIED, fault.retried),
            ("tools_ignored", IGNORED, fault.ignored),
        ):
            mean = usual_share * (1 + 0.5 * day) * (1 - part) + share * part
            setattr(row, f"n_{name}", int(rng.binomial(row.n_with_parts, min(1.0, mean))))
        labelled = LABELLED * (1 - part * (1 - fault.labelled))
        answered = int(rng.poisson(self.rate * weekend * (1 + 0.6 * day) * labelled))
        user, judge = MinuteSums(**of, source="user"), MinuteSums(**of, source="judge")
        n_other = 0 if fault.source == "user" else int(rng.binomial(answered, part))
        good = (SUCCESS - 0.02 * day) * (1 - part) + fault.success * part if part else SUCCESS - 0.02 * day
        for outcomes, k in ((user, answered - n_other), (judge, n_other)):
            outcomes.n = outcomes.n_success = k
            outcomes.success_sum = int(rng.binomial(k, good))
        judge.n_score = int(rng.binomial(n, SCORED))
        judge.n += judge.n_score
        if judge.n_score:
            mean = (SCORE - 0.005 * day) * (1 - part) + fault.score * part if part else SCORE - 0.005 * day
            scores = rng.beta(40 * mean, 40 * (1 - mean), judge.n_score)
            judge.score_sum, judge.score_squares = float(scores.sum()), float((scores * scores).sum())
            judge.n_low_scores = int((scores < 0.80).sum())
        return [one for one in (row, user, judge) if one.n]


_SHARES: dict[tuple[int, float], np.ndarray[Any, Any]] = {}


def _amounts(row: MinuteSums, of: str, rng: np.random.Generator, n: int, median: float, spread: float) -> None:
    """``n`` log-normal amounts, in the buckets of the sums."""
    at = round(np.log(median) / np.log(WIDTH))
    if (at, spread) not in _SHARES:
        z = (np.arange(at - 80, at + 81) - at) * np.log(WIDTH) / spread
        density = np.exp(-z * z / 2)
        _SHARES[at, spread] = density / density.sum()
    counts = rng.multinomial(n, _SHARES[at, spread])
    histogram = getattr(row, f"{of}_histogram")
    total = 0.0
    for place in np.flatnonzero(counts):
        bucket, k = int(at - 80 + place), int(counts[place])
        histogram[str(bucket)] = histogram.get(str(bucket), 0) + k
        total += k * WIDTH ** (bucket - 0.5)
    if of == "latency":
        row.n_latency, row.latency_sum_ms = row.n_latency + n, row.latency_sum_ms + total
    else:
        row.n_cost, row.cost_sum_usd = row.n_cost + n, row.cost_sum_usd + total


class MemoryHome:
    """What the watcher asks of a store, in memory."""

    def __init__(self, traffics: Sequence[SimulatedTraffic], now: datetime) -> None:
        self.traffics = {traffic.family: traffic for traffic in traffics}
        self.at = now
        self.open: dict[tuple[str, str | None, str], Alert] = {}
        self.closed: list[Alert] = []
        self.store = SimpleNamespace(
            read=self._reading,
            write=lambda fn, rows=1: fn(None),
            minute_stats=SimpleNamespace(
                watermark=lambda tx, name: self.at,
                of_family=self._of_family,
                newest=lambda tx, family, since, *, source=None: self.at - MINUTE,
                late=lambda *of: [],
            ),
            alerts=SimpleNamespace(
                all=self._all,
                open=self._open,
                close=self._close,
                reword=self._reword,
                closed_since=lambda tx, since: [alert for alert in self.closed if alert.closed_at >= since],
            ),
            champions=SimpleNamespace(
                current=lambda tx, family: self._tenures(family)[-1], history=lambda tx, family: self._tenures(family)
            ),
            studies=SimpleNamespace(page=lambda tx, **of: ([], None)),
            runs=SimpleNamespace(latest=lambda tx, families, limit: []),
        )
        self.clock = SimpleNamespace(now=lambda: self.at, rollout_now=lambda: self.at, scale=1.0)
        self.families = {
            name: SimpleNamespace(name=name, budget=SimpleNamespace(usd_per_month=None)) for name in self.traffics
        }
        self.watcher = RuleWatcher(cast("Store", self.store), cast("Clock", self.clock))
        self.sent: list[tuple[datetime, Alert]] = []
        self._waiting: list[Alert] = []

    def look(self, rules: Sequence[AlertRule]) -> None:
        """A minute is summed up; what is new is sent, or waits behind its cause."""
        self._waiting += self.watcher.look(cast("Any", self.families), rules)
        still = []
        for alert in self._waiting:
            if (alert.kind, alert.family, alert.subject) not in self.open:
                continue
            causes = [open_cause(other) for other in self.open.values()]
            wait = waits_for(alert, silences=(), causes=causes, rules=rules, now=self.at)
            if wait is None:
                self.sent.append((self.at, alert))
            else:
                still.append(alert)
        self._waiting = still

    @contextmanager
    def _reading(self) -> Iterator[None]:
        yield None

    def _of_family(
        self, tx: None, family: str, since: datetime, *, until: datetime, variant: str | None = None
    ) -> list[MinuteSums]:
        minutes = int((until - since) / MINUTE)
        rows = [row for n in range(minutes) for row in self.traffics[family].rows(since + n * MINUTE)]
        return rows if variant is None else [row for row in rows if row.variant == variant]

    def _tenures(self, family: str) -> list[Champion]:
        traffic = self.traffics[family]
        first = Champion(family=family, seq=1, variant="v_champion", since=START - 8 * WEEK, why="", by="")
        since = traffic.fault_from if traffic.fault and traffic.fault.is_new_champion else traffic.champion_from
        if since is None or self.at < since:
            return [first]
        return [first, replace(first, seq=2, variant="v_second", since=since)]

    def _all(self, tx: None, *, open_only: bool, kind: str | None = None, family: str | None = None) -> list[Alert]:
        return [alert for alert in self.open.values() if family in (None, alert.family)]

    def _open(self, tx: None, alert: Alert) -> bool:
        return self.open.setdefault((alert.kind, alert.family, alert.subject), alert) is alert

    def _close(self, tx: None, kind: str, family: str | None, subject: str, at: datetime) -> int:
        alert = self.open.pop((kind, family, subject), None)
        self.closed += [replace(alert, closed_at=at)] if alert is not None else []
        return int(alert is not None)

    def _reword(self, tx: None, alert: Alert) -> bool:
        key = (alert.kind, alert.family, alert.subject)
        if key not in self.open:
            return False
        self.open[key] = replace(self.open[key], detail=alert.detail)
        return True


@dataclass(frozen=True, kw_only=True)
class FaultRun:
    """Minutes until the message of a fault and until it was resolved; None: not within the time. All messages."""

    told_min: float | None
    cleared_min: float | None
    messages: int


def run_fault(case: str, rate: int, seed: int) -> FaultRun:
    rng = np.random.default_rng([7, seed, rate, list(SIMULATED).index(case)])
    begin = START + timedelta(minutes=int(rng.integers(0, 7 * 1440)))
    fault_from = begin + timedelta(seconds=float(rng.uniform(0, 60)))
    traffic = SimulatedTraffic(family="f", rate=rate, seed=seed, fault=SIMULATED[case], fault_from=fault_from)
    home, rules = MemoryHome([traffic], begin - 5 * MINUTE), _rules()
    wanted = RULES_OF.get(case) or RULES_OF.get(case.split()[0], (case.split()[0],))
    told_min: float | None = None
    ends_at: datetime | None = None
    cleared: float | None = None
    while home.at < begin + (LONGEST_MIN + 240) * MINUTE:
        home.at += MINUTE
        home.look(rules)
        names = {alert.subject.split()[0] for alert in home.open.values()}
        if told_min is None and any(alert.subject.split()[0] in wanted for _, alert in home.sent):
            wait_s = SETTLED_S + float(rng.uniform(0, POLL_S)) + float(rng.uniform(0, SEND_S))
            told_min = ((home.at - fault_from).total_seconds() + wait_s) / 60
            ends_at = home.at + AFTER_MIN * MINUTE
            traffic.fault_until = ends_at
            traffic.forget_since(home.at)
        if told_min is None and home.at > begin + LONGEST_MIN * MINUTE:
            break
        if ends_at is not None and home.at > ends_at and not names:
            cleared = (home.at - ends_at).total_seconds() / 60 + SETTLED_S / 60
            break
    return FaultRun(told_min=told_min, cleared_min=cleared, messages=len(home.sent))


def run_week(seed: int) -> list[str]:
    """The messages of one week without a fault, over ten families."""
    traffics = [
        SimulatedTraffic(
            family=f"f{n}",
            rate=rate,
            seed=seed * 100 + n,
            champion_from=START + timedelta(days=1 + n % 5, hours=9 + n) if n % 2 else None,
        )
        for n, rate in enumerate(TEN_FAMILIES)
    ]
    home, rules = MemoryHome(traffics, START), _rules()
    while home.at < START + WEEK:
        home.at += MINUTE
        home.look(rules)
    return [f"{at:%a %H:%M} {alert.family} {alert.detail}" for at, alert in home.sent]


def _rules() -> Sequence[AlertRule]:
    if not _RULES:
        _RULES.extend(read_alert_rules(ROOT / "config" / "alert_rules.yaml"))
    return _RULES


_RULES: list[AlertRule] = []


def cells_of(case: str, rate: int, runs: Sequence[FaultRun]) -> list[Cell]:
    minutes = sorted(run.told_min for run in runs if run.told_min is not None)
    cleared = sorted(run.cleared_min for run in runs if run.cleared_min is not None)
    where, n = f"{case}, {rate} requests a minute", len(runs)

    def spread(values: Sequence[float], q: float) -> float | None:
        return values[min(len(values) - 1, int(q * len(values)))] if values else None

    def cell(what: str, ours: float | None, unit: str, values: Sequence[float] = ()) -> Cell:
        low, high = spread(values, 0.1), spread(values, 0.9)
        return Cell(case=f"{where}, {what}", ours=ours, unit=unit, n=n, low=low, high=high)

    return [
        cell("told", len(minutes) / n, "share of runs"),
        cell("until told", spread(minutes, 0.5), "minutes, median, 10 and 90 %", minutes),
        cell("until told, longest", minutes[-1] if len(minutes) == n else None, "minutes"),
        cell("until resolved", spread(cleared, 0.5), "minutes after its end, median, 10 and 90 %", cleared),
        cell("messages", sum(run.messages for run in runs) / n, "mean messages a run"),
        cell("one message", sum(run.messages == 1 for run in runs) / n, "share of runs"),
    ]


def main() -> int:
    options = options_of(
        __doc__,
        runs=(100, "of each fault at each traffic (default 100)"),
        weeks=(4, "without a fault (default 4); 0: as they were"),
        seed=(1000, "the first one; below 1,000 nothing is written"),
        processes=os.cpu_count(),
        only=("", "faults whose name holds this; the others stay as they were"),
    )
    seeds = range(options.seed, options.seed + options.runs)
    cells: list[Cell] = []
    with ProcessPoolExecutor(options.processes) as pool:
        for case, rate in product(SIMULATED, RATES):
            if options.only in case:
                runs = list(pool.map(partial(run_fault, case, rate), seeds, chunksize=5))
                cells += cells_of(case, rate, runs)
                print(*(f"{cell.case}: {cell.ours}" for cell in cells[-6:]), sep="\n", file=sys.stderr, flush=True)
            else:
                cells += measured_before("alert_rules", f"{case}, {rate} requests a minute, ")
        messages = list(pool.map(run_week, range(options.seed, options.seed + options.weeks)))
    for n, week in enumerate(messages):
        print(*(f"week {n}: {line}" for line in week), sep="\n", file=sys.stderr)
    a_week = sum(map(len, messages)) / max(1, len(messages))
    of_weeks = Cell(case=WITHOUT_FAULT, ours=a_week, unit="messages a week", n=len(messages))
    cells += [of_weeks] if messages else measured_before("alert_rules", WITHOUT_FAULT)
    longest = next(c for c in cells if c.case == "errors 50 %, 60 requests a minute, until told, longest").ours
    is_kept = longest is not None and longest <= BAR_MIN and a_week <= BAR_WEEK
    print(f"50 % errors at 60 a minute: at the latest after {longest} minutes; false messages a week: {a_week}")
    if options.seed >= 1000:
        write_result("alert_rules", cells)
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
