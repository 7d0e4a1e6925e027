"""Rollouts in which the difference between the arms swings with the hour or the week: by the product's rule, which
waits for whole days, and by the rule before, on the same outcomes.

Where all hours bring as many labels, both rules read the same evidence and pass their stages at the same hours, so one
path shows the ends of both. The hour of the day in which a rollout begins is drawn by chance, unless a case says
otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import pi, sin

import numpy as np
from common import Cell

from optimizer.core.rollout.evidence_state import DAY, WEEK
from optimizer.core.serving.assignment import HOLDBACK_SHARE
from optimizer.core.statistics.outcomes import Block, Outcomes
from optimizer.core.statistics.quality_gate import QualityGate, WholeDays
from optimizer.core.statistics.stopping_rule import RolloutPosition, harm_evidence, stopping_rule
from simulations.own_rule import BUDGET, ENDINGS, LADDER
from simulations.returning_users import Crowd, draw_users
from simulations.tally import BASE, DELTA, Tally, as_block, mean_cell, progress, share_cell

START = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
MAX_HOURS = 720
USUAL = 40  # labels an hour
OURS, BEFORE, HOLDBACK = "ours", "the rule before", "holdback"
ENDS = ("promote", "roll_back", "inconclusive")


@dataclass(frozen=True, kw_only=True)
class Case:
    """``swing``: points that the best hour lies above the mean difference; ``period``: hours from one to the next."""

    swing: float = 0.0
    period: int = 24
    week: bool = False  # min_duration_hours: 168
    labels: int = USUAL
    by_night: float = 1.0  # labels in the twelve hours with the fewest, beside those of the others
    first: float = 1.0  # part of the first hour in which it begins
    unserved: tuple[int, int] = (0, 0)  # from which hour to which nobody was served: a freeze
    budget: int | None = None  # max_labelled; None: enough for the evidence
    jumps: int = 1  # six hours a day on average have so many times the labels
    window: int = 0  # hours until a cohort is complete
    begins: float | None = None  # part of the period in which it begins; None: drawn
    crowd: Crowd | None = None  # users who come back
    turns: tuple[int, float] | None = None  # from this hour on the difference is another
    differences: tuple[float, ...] = (0.0, -DELTA)

    def difference(self, mean: float, hour: float) -> float:
        if self.turns is not None and hour >= self.turns[0]:
            return self.turns[1]
        by_labels = 2 / pi * (1 - self.by_night) / (1 + self.by_night)  # the swing's mean where each label weighs alike
        return mean + self.swing * (sin(2 * pi * hour / self.period) - by_labels)


@dataclass(kw_only=True)
class Rules:
    """One gate, and the rules that read it until each has ended."""

    names: tuple[str, ...]  # of OURS and BEFORE; the gate is BEFORE's where it is alone
    week: bool
    budget: int
    gate: QualityGate = field(init=False)
    days: WholeDays = field(init=False)
    stage: int = 0
    ends: dict[str, tuple[str, int, int]] = field(default_factory=dict)  # rule -> how, labels, hour

    def __post_init__(self) -> None:
        gate = QualityGate.start(margin=DELTA, champion_mean=BASE)
        self.gate = gate.with_roll2() if OURS in self.names else gate
        self.days = WholeDays.start(gate)

    def after(self, block: Block | None, *, cohort: int, now: int) -> None:
        """``cohort``: the hour in which its units were assigned; ``now``: hours since the start."""
        self.add(block, cohort=cohort)
        here = self.gate.stage == self.stage
        actions = {}
        for name in self.names:
            if name not in self.ends:
                standing = RolloutPosition(
                    ladder=LADDER,
                    stage=self.stage,
                    peaks=self.gate.peaks,
                    whole=self.days if name == OURS else None,
                    labelled_in_stage=self.gate.labelled_in_stage if here else 0,
                    labelled=self.gate.labelled,
                    max_labelled=self.budget,
                    min_duration_over=now >= (168 if self.week else 24),
                )
                actions[name] = stopping_rule(standing).action
        for name, action in actions.items():
            if action in ENDINGS:
                self.ends[name] = (ENDINGS[action], self.gate.labelled, now)
        if "advance" in actions.values():
            self.stage += 1

    def add(self, block: Block | None, *, cohort: int) -> None:
        if OURS in self.names:
            day = WEEK if self.week else DAY
            days = self.days.until(START + cohort * HOUR, self.gate, day=day, cohort=HOUR)
            counted = None if block is None else self.gate.counted(block)
            self.days = days if counted is None else days.after(counted)
        if block is not None:
            self.gate = self.gate.after(block)

    @property
    def over(self) -> bool:
        return len(self.ends) == len(self.names)


def run(case: Case, mean: float, at: list[int]) -> dict[str, tuple[str, int, int]]:
    """How each rule ended, after how many labels and hours; ``at``: where the random numbers begin."""
    apart = case != replace(case, jumps=1, by_night=1.0, first=1.0, crowd=None, turns=None)
    together = [(OURS,), (BEFORE,)] if apart else [(OURS, BEFORE)]
    return {rule: end for names in together for rule, end in _run(np.random.default_rng(at), case, mean, names).items()}


def _run(rng: np.random.Generator, case: Case, mean: float, names: tuple[str, ...]) -> dict[str, tuple[str, int, int]]:
    begins = case.period * (rng.random() if case.begins is None else case.begins)
    budget = case.budget or BUDGET * max(1, case.labels // USUAL) * case.jumps
    rules = Rules(names=names, week=case.week, budget=budget)
    draw = _by_users(rng, case) if case.crowd is not None else _by_hour(rng, case, begins)
    waiting: deque[Block | None] = deque()
    for hour in range(MAX_HOURS):
        served = not case.unserved[0] <= hour < case.unserved[1]
        waiting.append(draw(rules.stage, hour, case.difference(mean, hour + begins)) if served else None)
        if len(waiting) > case.window:
            rules.after(waiting.popleft(), cohort=hour - case.window, now=hour + 1)
            if rules.over:
                break
    for rule in names:
        rules.ends.setdefault(rule, ("inconclusive", rules.gate.labelled, MAX_HOURS))
    if case.turns is not None and OURS in names and rules.ends[OURS][0] == "promote":
        rules.ends[HOLDBACK] = _alert_of_holdback(rng, case, rules, waiting, begins)
    return rules.ends


def _alert_of_holdback(
    rng: np.random.Generator, case: Case, rules: Rules, waiting: deque[Block | None], begins: float
) -> tuple[str, int, int]:
    """The week after the promotion, in which 5 % stay on the champion before: whether and when the alert opens.

    ``waiting``: the cohorts that were open at the promotion. They close first, and all of the week's do.
    """
    promoted = rules.ends[OURS][2]
    for hour in range(promoted, promoted + 168 + case.window):
        if hour < promoted + 168:
            n_b = int(rng.binomial(case.labels, HOLDBACK_SHARE))
            n_c = case.labels - n_b
            good_c = int(rng.binomial(n_c, BASE + case.difference(0.0, hour + begins)))
            waiting.append(as_block(len(LADDER), [n_c, good_c, n_b, int(rng.binomial(n_b, BASE))]))
        rules.add(waiting.popleft(), cohort=hour - case.window)
        if harm_evidence(rules.gate.peaks, rules.days.peak("roll")).proven:
            return "told", rules.gate.labelled, hour + 1 - case.turns[0] if case.turns else 0
    return "not told", rules.gate.labelled, 168


Draw = Callable[[int, int, float], Block | None]


def _by_hour(rng: np.random.Generator, case: Case, begins: float) -> Draw:
    busy_until = 0

    def draw(stage: int, hour: int, difference: float) -> Block:
        nonlocal busy_until
        if case.jumps > 1 and hour >= busy_until and rng.random() < 1 / 24:
            busy_until = hour + 6
        n = case.labels * (case.jumps if hour < busy_until else 1)
        if (hour + begins) % 24 >= 12:
            n = round(n * case.by_night)
        if not hour:
            n = round(n * case.first)
        n_c = int(rng.binomial(n, LADDER[stage]))
        good_c, good_b = int(rng.binomial(n_c, BASE + difference)), int(rng.binomial(n - n_c, BASE))
        return as_block(stage, [n_c, good_c, n - n_c, good_b])

    return draw


def _by_users(rng: np.random.Generator, case: Case) -> Draw:
    """As in ``returning_users``: a user counts once per stage, in its first hour there."""
    crowd = case.crowd
    assert crowd is not None
    bucket, pleased = draw_users(rng, replace(crowd, swing=case.swing))
    counted_in = np.full(crowd.users, -1)

    def draw(stage: int, hour: int, difference: float) -> Block | None:
        in_candidate = bucket < LADDER[stage]
        user = crowd.draw(rng)
        chance = np.where(in_candidate, BASE + difference, BASE) / (BASE + case.swing) * pleased
        good = rng.random(crowd.requests_per_hour) < chance[user]
        requests = np.bincount(user, minlength=crowd.users)
        counted = (requests > 0) & (counted_in < stage)
        if not counted.any():
            return None
        means = np.bincount(user, good, minlength=crowd.users)[counted] / requests[counted]
        counted_in[counted] = stage
        arms = (means[in_candidate[counted]], means[~in_candidate[counted]])
        c, b = (Outcomes.of(np.round(arm, 4)) for arm in arms)
        return Block(stage=stage, candidate=c, champion=b)

    return draw


DAILY, CROWD = Case(swing=0.10), Crowd(users=6_000, requests_per_hour=80)
CASES = {
    "the same at every hour": Case(),
    "the same at every hour, window 24 h": Case(window=24),
    "± 5 by the day": Case(swing=0.05),
    "± 10 by the day": DAILY,
    "± 10 by the day, begins with its good half": Case(swing=0.10, begins=0.0, differences=(-DELTA,)),
    "± 10 by the day, begins with its bad half": Case(swing=0.10, begins=0.5, differences=(0.0,)),
    "± 10 by the day, 400 labels an hour": Case(swing=0.10, labels=400),
    "± 10 by the day, labels jump tenfold": Case(swing=0.10, jumps=10),
    "± 10 by the day, a tenth of the labels by night": Case(swing=0.10, by_night=0.1),
    "± 10 by the day, 400 labels an hour, max_labelled 8,000": Case(swing=0.10, labels=400, budget=BUDGET),
    "the same at every hour, 1,000 labels an hour, few in the first, max_labelled 8,000": Case(
        labels=1_000, first=0.03, budget=BUDGET
    ),
    "± 10 by the day, 6,000 users who come back every third day": Case(swing=0.10, crowd=CROWD),
    "the same at every hour, 300 users who come back 1.6 times a day": Case(
        crowd=Crowd(users=300, requests_per_hour=20)
    ),
    "± 10 by the week, 168 h": Case(swing=0.10, period=168, week=True),
    "± 10 by the week": Case(swing=0.10, period=168),
    "+ 5 for 48 hours, then - 10": Case(turns=(48, -0.10), begins=0.0, differences=(0.05,)),
    "± 10 by the day, 400 labels an hour, begins with its bad half": Case(
        swing=0.10, labels=400, begins=0.5, differences=(-DELTA,)
    ),
    "± 10 by the day, 400 labels an hour, frozen in the bad half of the second day": Case(
        swing=0.10, labels=400, begins=0.0, unserved=(36, 48), differences=(-DELTA,)
    ),
    "± 10 by the day, 6,000 users who come back twice a day": Case(
        swing=0.10, crowd=replace(CROWD, requests_per_hour=500)
    ),
    "± 20 by the day": Case(swing=0.20),
    "± 10 by the day, 6,000 users who come back once a day": Case(
        swing=0.10, crowd=replace(CROWD, requests_per_hour=250)
    ),
    "± 10 by the day, window 24 h": Case(swing=0.10, window=24),
    "± 10 by the day, labels jump tenfold, window 24 h": Case(swing=0.10, jumps=10, window=24),
    "± 10 by the week, window 24 h": Case(swing=0.10, period=168, window=24),
    "+ 5 for 48 hours, then - 10, window 24 h": Case(turns=(48, -0.10), begins=0.0, window=24, differences=(0.05,)),
    "± 10 by the day, 400 labels an hour, begins with its bad half, window 24 h": Case(
        swing=0.10, labels=400, begins=0.5, window=24, differences=(-DELTA,)
    ),
    "± 10 by the day, 6,000 users who come back twice a day, window 24 h": Case(
        swing=0.10, crowd=replace(CROWD, requests_per_hour=500), window=24
    ),
    "± 10 by the day, 6,000 users who come back once a day, window 24 h": Case(
        swing=0.10, crowd=replace(CROWD, requests_per_hour=250), window=24
    ),
    "± 10 by the day, 6,000 users who come back every third day, window 24 h": Case(swing=0.10, crowd=CROWD, window=24),
    "± 10 by the day, a tenth of the labels by night, window 24 h": Case(swing=0.10, by_night=0.1, window=24),
    "± 10 by the day, 400 labels an hour, window 24 h": Case(swing=0.10, labels=400, window=24),
    "± 10 by the week, 168 h, window 24 h": Case(swing=0.10, period=168, week=True, window=24),
}

STEEP = {  # hours below two margins, many labels
    "± 20 by the day, 400 labels an hour": Case(swing=0.20, labels=400),
    "± 20 by the day, 2,000 labels an hour": Case(swing=0.20, labels=2_000, differences=(0.0,)),
    "± 20 by the day, 400 labels an hour, begins with its bad half": Case(
        swing=0.20, labels=400, begins=0.5, differences=(-DELTA,)
    ),
}


def table_days(runs: int, seed: int, names: Sequence[str], cases: Mapping[str, Case] = CASES) -> list[Cell]:
    cells: list[Cell] = []
    for name in names:
        case = cases[name]
        for mean in case.differences:
            ours, before, after = Tally(), Tally(), Tally()
            for i in range(runs):
                at = [seed, 12, list(cases).index(name), round(mean * 1000) + 1000, i]
                ends = run(case, mean, at)
                for tally, (end, labels, hours) in ((ours, ends[OURS]), (before, ends[BEFORE])):
                    tally.add(end, labels, hours)
                if HOLDBACK in ends:
                    after.add(*ends[HOLDBACK])
            label = f"days, {name}, {100 * mean:+.0f} pt"
            cells += [share_cell(f"{label}: {end}", ours, end, before.share(end), BEFORE) for end in ENDS]
            for what, unit, of in (("labels", "labels, mean", "labels"), ("days", "days, mean", "on_candidate")):
                scale = 24 if what == "days" else 1
                mine, other = ([x / scale for x in getattr(tally, of)] for tally in (ours, before))
                cells += mean_cell(f"{label}: {what}", mine, float(np.mean(other)), BEFORE, unit)
            longer = [(a - b) / 24 for a, b in zip(ours.on_candidate, before.on_candidate, strict=True)]
            cells += mean_cell(f"{label}: days more", longer, None, BEFORE, "days, mean")
            if after.ends:
                hours = [h / 24 for h, end in zip(after.on_candidate, after.ends, strict=True) if end == "told"]
                cells.append(share_cell(f"{label}: told in the holdback's week", after, "told", None, "none"))
                cells += mean_cell(f"{label}: days from the turn until told", hours, None, "none", "days, mean")
            progress(label)
    return cells
