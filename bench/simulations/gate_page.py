"""docs/reference/gate-trial.md, made of bench/results/gate_trial.json and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pages import bounded, in_columns, matching, table

from simulations.page import OURS

HEAD = """# The gates on real logs

Made by `make bench-gates` from `bench/results/gate_trial.json` (commit {commit}, {machine}). Recorded A/B tests of
others are dealt out again in random order, without replacement, to each rule in turn: {n} times for each log, once for
each of Upworthy's tests; a log has no more to say than it holds, so rates of one log are those of its orders, not of
new users. Blocks of 100 outcomes, ladder and thresholds of the product, but as many labels as the log has (not 8,000);
the other rules as in the simulations ([statistics-measured](statistics-measured.md)), ramps and durations stretched to
the log. Where the log is used up, rules by the clock ship and the others end inconclusive: ours keeps a doubtful
candidate at a small share, so there it is the champion's log that ends first.

**The margin is the operator's decision.** In Cookie Cats the candidate (gate_40) costs about .9 points of the users who
come back after a week. With a margin of 5 points that harm is within what the operator allowed, and the gates ship it,
rightly by their rule; with 1 point it is still allowed, and mostly found too near to the limit to be called; with half
a point it is more than allowed, and may ship in at most 5 of 100 rollouts. No statistics can say how much harm is worth
a new version. A margin wider than the champion's own rate (.01 at a click rate of .5 %) allows everything: choose it by
hand for rare outcomes.

**Where another rule is better.** With a margin of one point, tests that plan their size (one look, O'Brien-Fleming) and
put half of all users on the candidate call Cookie Cats' harm in nearly every order; ours calls it seldom, since a
candidate that cannot show itself keeps a tenth of the users, and ends inconclusive. It does not ship either way. With
five points the clock and the safe rollout, which know no margin, stop half of what the operator allowed.

Logs: Cookie Cats (github.com/Atlam0s/cookie_cats_game_ab_test), Open Bandit Dataset (github.com/st-tech/zr-obp, Apache
2.0), Upworthy Research Archive (CC BY 4.0; cleaned in github.com/elilk2/Upworthy-Analysis-Project).
"""
TABLE = """
## Shipped / rolled back

Shares of replays; what is missing to 1 ended inconclusive. Ours with 95 % intervals and outcomes used in
`gate_trial.json`.
"""
RATIO = """
## Faulty assignment

The archive's authors warn that Upworthy's assignment was faulty from June 2013 to January 2014. Share of tests in which
the first two arms, meant to be of the same size, raise the product's sample-ratio alarm (valid at every look) and a
chi-square test at the same level (valid at one).
"""


@in_columns
def page(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    ends: dict[str, dict[str, str]] = {OURS: {}}
    for (case, end, name), cell in matching(cells, "(.*): (promote|roll_back) vs (.*)"):
        for rule, share in ((OURS, cell["ours"]), (name, cell["other"])):
            row = ends.setdefault(rule, {})
            row[case] = f"{share:.2f}" if end == "promote" else f"{row[case].split(' / ')[0]} / {share:.2f}"
    alarms = {
        case: {OURS: bounded(cell), cell["other_name"]: f"{cell['other']:.3f}"}
        for (case,), cell in matching(cells, "(.*?): alarm.*")
    }
    n = max(c["n"] for c in cells if c["case"].startswith("Cookie Cats"))
    head = HEAD.format(commit=result["commit"], machine=result["machine"], n=n)
    return head + TABLE + table("rule", ends) + RATIO + table("tests", alarms)
