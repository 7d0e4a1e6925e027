"""docs/reference/cascades-measured.md, made of bench/results/cascades.json and of nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pages import Cell, bounded, bounds, grid, in_columns, matching

KEY = "gpt-4o-mini > gpt-4o"
OURS = "confident"
DRAWN = (OURS, "score test in sequence", "plain bound", "expected")
HEAD = """# Cascades, measured

Made by `python bench/cascades.py` from `bench/results/cascades.json` (commit {commit}, {machine}). The data are read
from the folder that `DETENT_SHARED` names. Recorded cascades of others are replayed, no model is asked: five sets of
[rational-llm-cascades](https://github.com/mzelling/rational-llm-cascades) with nine models each (answers, costs,
latencies and confidences of January 2025), three of [RouteLLM](https://github.com/lm-sys/RouteLLM) with two models and
no confidence. A *pair* asks the cheap model and keeps its answer where its confidence reaches the threshold, otherwise
the strong one as well. *Saved*: share of what the strong model alone would have cost. *Loss*: mean score of the strong
model less the cascade's, in points of a hundred. Thresholds are found on train and judged on dev; 95 % intervals of dev
figures are over dev queries.

**The rules.** *Expected* takes the cheapest threshold with a loss of at most one point on train. *Confident* (the
default) wants the one-sided 90 % upper bound of the loss within the point, at that threshold and at every safer one:
thresholds are tested from the safest on, and the first that fails ends it (Learn then Test, fixed sequence). Then the
number of thresholds needs no correction. The bound is the mean and 1.28 standard errors with half a loss and half a win
added; while no difference at all has been seen it is the exact one, which asks for 230 records before it allows a
point.
"""
PAIR = """
## gpt-4o-mini > gpt-4o

*Plain*: mean + 1.28 standard errors at each threshold, then the cheapest that fits. *Best on dev*: the cheapest
threshold with a loss of at most one point on the dev rows themselves, which cannot be known beforehand; below ours
where ours loses more than a point there. *Above a point*: share of {n} draws in which the true loss is above one point:
training rows drawn with replacement from train and dev together, that pool being the truth.

| set | dev rows | saved | plain | best on dev | loss on dev | above a point: ours | plain | expected |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
RULES = """
## The same pair by other rules

Saved / points lost on dev. *RouteLLM* and *FrugalGPT* as their papers state the rule, on what the records hold: no
votes of people, no embeddings and no answers are recorded, so both predict by logistic regression on TF-IDF of the
query, FrugalGPT with confidence and length of the answer besides (`bench/cascade_logs/rules.py` says what was left
out). *Random mixing* sends a share of the queries to the cheap model by chance.

"""
ALL = """
## All pairs

Mean saved / mean points lost on dev over the pairs of a set, and the share of pairs with a dev loss above one point.
Dev sets are small: a rule whose true loss is just below a point is above it on dev in nearly half of them.

"""
REGRET = """
## Against the best threshold on dev

Regret: what the best possible threshold on dev saves more than ours, mean over pairs, with a 95 % interval from drawing
dev queries again.

| set | best on dev | ours | regret | 95 % interval |
| --- | --- | --- | --- | --- |
"""
DRAWS = """
## How often a rule loses more than it may

Over the draws of every pair: the share with a true loss above one point (mean and worst pair of the set), and what was
saved. At most .10 is allowed; with {n} draws up to {limit:.3f} is within binomial error.

"""
AGAIN = """
Of so many pairs some are above .10 by luck. Those were drawn again, 3,000 times, from other random numbers:

| pair | ours | 95 % interval | plain bound |
| --- | --- | --- | --- |
"""
TENSION = """
**What was weighed.** A rule that never errs saves little, one that saves all errs often. The plain bound takes the best
of many thresholds and so exceeds its level in many pairs. The score test (Tango 1998) in sequence keeps it everywhere
and refuses {kept}, by a p-value of just above .10. The rule used lies between: it keeps the level within binomial error
in all pairs drawn here and saves what the plain one saves in this pair. It was picked on these sets among six bounds
(normal, score test, half or one added at either end, half a loss only, Jeffreys' posterior), so another set may treat
it less kindly. It is an approximation, not a proof; how far it can be off is in the next table. With fewer than 230
records (rlc_gsm8k has 157) it accepts hardly anything but where the cheap model has also won some: a clean sheet of
that length proves no point.

## The hardest world for the rule

One confidence for all queries, losses just above a point (.0101), never a win: share of 20,000 draws in which it is
accepted nevertheless.

| records | accepted | 95 % interval |
| --- | --- | --- |
"""
CHAINS = """
## Chains of three and four

All chains of three that end with gpt-4o, and every seventh of four. A tier may also be left out, so no chain is worse
on train than its pairs.

| set | length | rule | saved on train | saved on dev | loss on dev | above a point on dev |
| --- | --- | --- | --- | --- | --- | --- |
"""
OVERFIT = """
Longer chains are lucky on their own records: by the expected rule more of them lose over a point than of pairs. The
confident rule therefore judges each choice of thresholds on parts it was not fitted to, and `choose_chain` takes the
longer chain only if it is cheaper there by more than a standard error, each candidate held to a level shared among
them. Over draws as above (true loss above a point / true saving):

| set | chain | expected | confident | pair or chain, chosen |
| --- | --- | --- | --- | --- |
"""
QUERY = """
## Without a confidence: the query alone

RouteLLM's sets, routed before any call by its rule (predicted here from TF-IDF of the query), prices set by hand as in
its paper ($0.24 and $24.7 a million tokens, equal lengths).

| set | rule | saved | loss | 95 % interval of the loss |
| --- | --- | --- | --- | --- |
"""
EVERY = """
## Every pair

Confident rule: saved on dev (best on dev), points lost on dev with 95 % interval, share of draws above a point
(expected rule).
"""


@in_columns
def page(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    by_case = {cell["case"]: cell for cell in cells}
    sets = list(dict.fromkeys(c["case"].split(":")[0] for c in cells if ": all pairs: " in c["case"]))
    n = max(c["n"] for c in cells if c["case"].endswith("above a point vs expected") and " > " in c["case"])
    drawn = {rule: [_drawn(cells, s, rule) for s in sets] for rule in DRAWN}
    again = "".join(
        f"| {case} | {c['ours']:.3f} | {bounds(c)} | {c['other']:.3f} |\n"
        for (case,), c in matching(cells, "(.*): drawn again")
    )
    hardest = "".join(
        f"| {rows} | {c['ours']:.3f} | {bounds(c)} |\n"
        for (rows,), c in matching(cells, r"hardest case, (\d+) records")
    )
    parts = (
        HEAD.format(commit=result["commit"], machine=result["machine"]),
        PAIR.format(n=n),
        *(_key_row(by_case, name) for name in sets),
        RULES,
        _by_set(sets, _key_rules(cells, by_case, sets)),
        ALL,
        _by_set(sets, _pair_rules(cells, by_case, sets)),
        REGRET,
        *(_regret(name, by_case[f"{name}: all pairs: saved vs best on dev"]) for name in sets),
        DRAWS.format(n=n, limit=0.1 + 1.645 * (0.09 / n) ** 0.5),
        _by_set(sets, drawn),
        AGAIN,
        again,
        TENSION.format(kept=_refused(by_case, sets)),
        hardest,
        CHAINS,
        *(_chain_rows(by_case, s) for s in sets),
        OVERFIT,
        _chain_draws(cells),
        QUERY,
        _query_rows(cells),
        EVERY,
        *(_every(cells, by_case, s) for s in sets),
    )
    return "".join(parts)


def _by_set(sets: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    return grid(["rule", *sets], ([name, *row] for name, row in rows.items()))


def _key_rules(cells: Sequence[Cell], by_case: Mapping[str, Cell], sets: Sequence[str]) -> dict[str, list[str]]:
    rules = _rules(cells, f"{sets[0]}: {KEY}: saved on dev vs ")
    return {rule: [_both(by_case, f"{s}: {KEY}: ", " on dev", rule) for s in sets] for rule in rules}


def _pair_rules(cells: Sequence[Cell], by_case: Mapping[str, Cell], sets: Sequence[str]) -> dict[str, list[str]]:
    rules = _rules(cells, f"{sets[0]}: all pairs: saved vs ")
    return {
        rule: [
            f"{_both(by_case, f'{s}: all pairs: ', '', rule)}"
            f" ({_of(by_case, f'{s}: all pairs: above a point vs ', rule):.2f})"
            for s in sets
        ]
        for rule in rules
    }


def _regret(name: str, cell: Cell) -> str:
    regret = f"{cell['other'] - cell['ours']:+.3f} | {-cell['high']:+.3f} to {-cell['low']:+.3f}"
    return f"| {name} | {cell['other']:.3f} | {cell['ours']:.3f} | {regret} |\n"


def _refused(by_case: Mapping[str, Cell], sets: Sequence[str]) -> str:
    """The sets that the score test refuses and ours does not."""

    def saved(name: str, rule: str) -> float:
        return _of(by_case, f"{name}: {KEY}: saved on dev vs ", rule)

    refused = [s for s in sets if saved(s, "score test in sequence") == 0 < saved(s, OURS)]
    return f"{KEY} on {', '.join(refused)}" if refused else "none of the sets that ours accepts"


def _of(by_case: Mapping[str, Cell], start: str, rule: str) -> float:
    """A rule's figure: it is the other of its own cell, and ours of every one."""
    if rule == OURS:
        return float(next(c["ours"] for case, c in by_case.items() if case.startswith(start)))
    return float(by_case[start + rule]["other"])


def _rules(cells: Iterable[Cell], start: str) -> list[str]:
    return [OURS, *(c["other_name"] for c in cells if c["case"].startswith(start))]


def _both(by_case: Mapping[str, Cell], start: str, where: str, rule: str) -> str:
    return (
        f"{_of(by_case, f'{start}saved{where} vs ', rule):.2f} /"
        f" {100 * _of(by_case, f'{start}loss{where} vs ', rule):+.2f}"
    )


def _key_row(by_case: Mapping[str, Cell], name: str) -> str:
    case = f"{name}: {KEY}"
    best, plain = (by_case[f"{case}: saved on dev vs {rule}"] for rule in ("best on dev", "plain bound"))
    above, expected = (by_case[f"{case}: above a point vs {rule}"] for rule in ("plain bound", "expected"))
    saved = bounded(best) if best["ours"] else "do not cascade"
    lost = bounded(by_case[f"{case}: loss on dev vs best on dev"], "+.2f", 100)
    return (
        f"| {name} | {best['n']} | {saved} | {plain['other']:.3f} | {best['other']:.3f} | {lost} | {bounded(above)} |"
        f" {above['other']:.3f} | {expected['other']:.3f} |\n"
    )


def _drawn(cells: Iterable[Cell], name: str, rule: str) -> str:
    found: dict[str, list[float]] = {"above a point": [], "saved over draws": []}
    for what, values in found.items():
        wanted = f": {what} vs {'expected' if rule == OURS else rule}"
        values += [
            c["ours" if rule == OURS else "other"]
            for c in cells
            if c["case"].startswith(f"{name}: ") and c["case"].endswith(wanted) and (str(c["case"]).count(" > ") == 1)
        ]
    above, saved = found.values()
    return f"{sum(above) / len(above):.3f}, worst {max(above):.3f}; saved {sum(saved) / len(saved):.2f}"


def _chain_rows(by_case: Mapping[str, Cell], name: str) -> str:
    text = ""
    for length in (3, 4):
        found = [
            by_case[f"{name}: chains of {length}: {what} vs expected"]
            for what in ("saved on train", "saved on dev", "loss on dev", "above a point")
        ]
        for rule, key in ((OURS, "ours"), ("expected", "other")):
            train, dev, loss, above = (c[key] for c in found)
            text += (
                f"| {name} | {length} ({found[0]['n']}) | {rule} | {train:.3f} | {dev:.3f} | {100 * loss:+.2f} |"
                f" {above:.2f} |\n"
            )
    return text


def _chain_draws(cells: Iterable[Cell]) -> str:
    rows: dict[tuple[str, str], list[str]] = {}
    for (name, chain), cell in matching(cells, r"(\w+): (.*): above a point, .*"):
        rows.setdefault((name, chain), []).append(f"{bounded(cell, '.2f')} / {cell['other']:.2f}")
    return "".join(f"| {name} | {chain} | {' | '.join(row)} |\n" for (name, chain), row in rows.items())


def _query_rows(cells: Sequence[Cell]) -> str:
    text = ""
    by_case = {c["case"]: c for c in cells}
    names = dict.fromkeys(c["case"].split(":")[0] for c in cells if ": query only: " in c["case"])
    for name in names:
        start = f"{name}: query only: saved vs "
        for rule in _rules(cells, start):
            loss = next(c for c in cells if c["case"].startswith(f"{name}: query only: loss vs "))
            interval = f"{100 * loss['low']:+.2f} to {100 * loss['high']:+.2f}" if rule == OURS else ""
            text += (
                f"| {name} | {rule} | {_of(by_case, start, rule):.3f} |"
                f" {100 * _of(by_case, f'{name}: query only: loss vs ', rule):+.2f} | {interval} |\n"
            )
    return text


def _every(cells: Iterable[Cell], by_case: Mapping[str, Cell], name: str) -> str:
    text = (
        f"\n### {name}\n\n| pair | saved (best) | points lost | above a point (expected) |\n| --- | --- | --- | --- |\n"
    )
    for cell in cells:
        if cell["case"].startswith(f"{name}: ") and cell["case"].endswith(": saved on dev vs best on dev"):
            pair = cell["case"].split(": ")[1]
            loss, above = (
                by_case[f"{name}: {pair}: loss on dev vs best on dev"],
                by_case[f"{name}: {pair}: above a point vs expected"],
            )
            saved = f"{cell['ours']:.2f}" if cell["ours"] else "no"
            text += (
                f"| {pair} | {saved} ({cell['other']:.2f}) | {bounded(loss, '+.2f', 100) if cell['ours'] else '-'} |"
                f" {above['ours']:.3f} ({above['other']:.2f}) |\n"
            )
    return text
