"""docs/reference/search-tables-measured.md, made of bench/results/prompt_tables.json and of nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pages import in_columns

OURS = "continuous rejects, ours"
HEAD = """# Which rule spends calls best, measured on recorded tables

Made by `python bench/prompt_tables.py` from `bench/results/prompt_tables.json` (commit {commit}, {machine}). A table
holds the recorded score of each of 8 to 100 variants (prompts, templates, judges) on each of some hundred examples, by
real models. A rule may look at a share of these cells and then names one variant. *Points lost*: the mean of the
variant that evaluating everybody in full would choose, less that of the one named, in hundredths of score, on the whole
table. It speaks of what a search can know of its dev set, not of held-out examples; what a study says of its winner
comes from its sealed holdout alone.

All rules have the same pool, the same order of variants and examples and the same number of calls: a draw puts both in
another random order, and every rule meets both in that order. The first variant of a draw stands for the champion:
always a contender, and the winner of ties. An example on which some variant has no recorded score is left out of its
table (the tables below say how many). Thirty draws of each table, ten of the tables of means, five where the rule is
slow (Thompson sampling, the Rasch model, the three other rules of a race); comparisons are on the same draws. Intervals
are 95 %, by bootstrap over the tables, and so speak of tables like these: 11 and 8 are few, and those of one source are
alike.

**Ours** is `ContinuousRejects` of `optimizer/core/search/racing.py`, which strategy `race` uses;
[0018](../adr/0018-the-worst-falls-as-soon-as-the-calls-that-are-left-allow.md) has its constants, which were chosen on
the development tables and written down there before the confirmation tables were opened. *One reservation*: before the
split was made, a prototype of several of these rules (ours among them, with its weight at 4) was looked at over all
recorded tables together, as means over the tables at each share. No table was looked at by itself. The weight was
chosen on the development tables afterwards, but the confirmation is blind neither to this kind of rule nor to that
weight. For speed ours is computed by a twin of the product's code; {agreed} of {asked} choices that were also made by
the product's code were the same, and a test holds the two equal on drawn tables. The rules marked racing.py
(`bench/fixed_pool/race_rules.py` since) go through the product's code; they know no budget and end by themselves, often
far below it.
"""
PARTS = {
    "confirmation": (
        """
## Confirmation tables

Opened once, after the rule was fixed: relevance judgements under 24 to 27 prompts (TREC Deep Learning; GPT-4o, Mistral,
Llama 3.2), 100 sentiment templates (SST-2, OPT 2.7B), 33 judging systems (LLMJudge).
"""
    ),
    "development": (
        """
## Development tables

Ours was chosen on these, so its figures here are favourable to it: media bias under eight or nine prompts with seven
models (BABE), and 10 to 15 ways of judging with four models (LLMBar).
"""
    ),
    "means": (
        """
## Means of many paraphrases

Part of the confirmation: 157 to 265 paraphrases of each of 17 tasks, of which only the mean accuracy on 100 samples is
published (one model for each task, another with each task). Answers are drawn by these means, 100 for each paraphrase
and independently, so no two paraphrases find the same example hard. Rules that take minutes with so many variants are
not here. The published mean is what a choice is worth, so a rule can be luckier than full evaluation, which sees the
drawn answers only.
"""
    ),
}
TABLE = """
| rule | {shares} |
| --- |{lines}
"""
DIFFERENCES = """
Ours less the other, with the interval over the {n} tables (below zero: ours loses less):

| rule | {shares} |
| --- |{lines}
"""
BETTER = "\nBetter than ours here, the whole interval on its side: {found}.\n"
LIKE = "\nNo rule is better than ours here by its whole interval. A lower mean, within the error, has: {found}.\n"
NONE = "\nNo rule has a lower mean than ours here.\n"
BY_TABLE = """
<details><summary>by table: ours and CR-A as published, points lost</summary>

| table | {shares} |
| --- |{lines}
{rows}
</details>
"""
SHUFFLED = """
## Where no variant is better than another

Each example's scores dealt out among the variants by chance, half of the examples held out, a study with strategy
`race` and one look at the held-out half through the product's gates: {share:.1%} of {n} studies report an improvement
({low:.1%} to {high:.1%}); at most 5 % may.
"""
READING = """
## What this says, and what not

* Asking everybody equally, or some in full, is far behind dropping the worst on the way. Among the rules that drop with
  a fixed number of calls the differences are small: on the confirmation tables ours, continuous rejects as published,
  successive rejects and sequential halving lie within each other's error at 10 and 20 %.
* As published, continuous rejects drops at most one variant for each example met. With 200 paraphrases and 100 examples
  that leaves it no room, so on the means it is hardly better than fewer examples for all; ours may drop several at a
  time and gives a gap more weight; which of the two tells was not measured apart. Successive rejects drops without such
  a bound and is as good as ours.
* Halving and expected gain, which race by no budget, stop early and stay where they stopped; the signed-rank race goes
  on for longer. Strategy `race` used expected gain before.
* Rules that model the scores (Thompson sampling, Rasch) are here as they can be written in fifty lines; tuned ones may
  do better. PromptEval's own aim is the distribution over prompts, not the best one.
* TRIPLE's two rules are sequential halving and continuous rejects; *examples not shared* lets each prompt draw its own.
  Its variants with embeddings of the prompts are not here: the tables hold no text to embed for most.
* A share is of the table's own size, 419 to 1,000 examples for most. With the 12 to 60 dev rows of a small study four
  examples are a share of their own, and less can be saved.
"""

Cells = Sequence[Mapping[str, Any]]


@in_columns
def page(result: Mapping[str, Any]) -> str:
    cells = [c for c in result["cells"] if not c["case"].startswith(("agreed", "shuffled"))]
    agreed = next(c for c in result["cells"] if c["case"].startswith("agreed"))
    text = HEAD.format(
        commit=result["commit"], machine=result["machine"], agreed=round(agreed["ours"]), asked=agreed["n"]
    )
    for part, opening in PARTS.items():
        of_part = [c for c in cells if c["case"].startswith(part)]
        text += opening + (_part(of_part, part) if of_part else "\nNot measured yet.\n")
    false = next((c for c in result["cells"] if c["case"].startswith("shuffled")), None)
    if false is not None:
        text += SHUFFLED.format(share=false["ours"], n=false["n"], low=false["low"], high=false["high"])
    return text + READING


def _part(cells: Cells, part: str) -> str:
    points: dict[str, dict[str, float]] = {}
    differences: dict[str, dict[str, str]] = {}
    lower: dict[str, list[str]] = {}
    better: dict[str, list[str]] = {}
    tables: dict[str, dict[str, str]] = {}
    for cell in cells:
        if match := re.fullmatch(rf"{part}: points lost at (\d+)%: (.*)", cell["case"]):
            share, name = match.groups()
            points.setdefault(name, {})[share] = cell["ours"] if cell["other"] is None else cell["other"]
            if cell["other"] is None:
                differences.setdefault(name, {})[share] = f"({cell['low']:.2f} to {cell['high']:.2f})"
                continue
            differences.setdefault(name, {})[share] = (
                f"{cell['ours'] - cell['other']:+.2f} ({cell['low']:+.2f} to {cell['high']:+.2f})"
            )
            if cell["other"] < cell["ours"] - 1e-9:
                (better if cell["low"] > 0 else lower).setdefault(name, []).append(f"{share} %")
        elif match := re.fullmatch(rf"{part}, (.*): points lost at (\d+)%", cell["case"]):
            tables.setdefault(match[1], {})[match[2]] = f"{cell['ours']:.2f}, {cell['other']:.2f}"
    shares = list(points[OURS])
    n = next(c["n"] for c in cells)
    own = differences.pop(OURS)
    text = _table(TABLE, shares, {name: {s: _shown(points, name, s, own) for s in shares} for name in points})
    text += _table(DIFFERENCES, shares, differences, n=n)
    text += BETTER.format(found=_listed(better)) if better else LIKE.format(found=_listed(lower)) if lower else NONE
    rows = "".join(f"| {name} | {' | '.join(row[s] for s in shares)} |\n" for name, row in tables.items())
    return text + BY_TABLE.format(shares=_heads(shares), lines=" --- |" * len(shares), rows=rows)


def _shown(points: Mapping[str, Mapping[str, float]], name: str, share: str, own: Mapping[str, str]) -> str:
    least = min(row[share] for row in points.values())
    value = points[name][share]
    shown = f"**{value:.2f}**" if value <= least + 1e-9 else f"{value:.2f}"
    return f"{shown} {own[share]}" if name == OURS else shown


def _table(form: str, shares: Sequence[str], rows: Mapping[str, Mapping[str, str]], **values: object) -> str:
    text = form.format(shares=_heads(shares), lines=" --- |" * len(shares), **values)
    return text + "".join(f"| {name} | {' | '.join(row[s] for s in shares)} |\n" for name, row in rows.items())


def _heads(shares: Sequence[str]) -> str:
    return " | ".join(f"{share} % of the calls" for share in shares)


def _listed(found: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{name} (at {', '.join(shares)})" for name, shares in found.items())
