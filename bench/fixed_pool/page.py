"""docs/reference/search-tables-measured.md, made of bench/results/prompt_tables.json and of nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pages import in_columns

HEAD = """# Which rule spends calls best, measured on recorded tables

Made by `python bench/prompt_tables.py` from `bench/results/prompt_tables.json` (commit {commit}, {machine}). A table
holds the recorded score of each of 8 to 265 variants (prompts, templates, judges, models) on each of some hundred
examples, by real models. A rule may look at a share of these cells and then names one variant. *Points lost*: the mean
of the variant that evaluating everybody in full would choose, less that of the one named, in hundredths of score, on
the whole table. It speaks of what a search can know of its dev set, not of held-out examples; what a study says of its
winner comes from its sealed holdout alone.

All rules have the same pool, the same order of variants and examples and the same number of calls: a draw puts both in
another random order, and every rule meets both in that order. *60 rows* and *200 rows*: the search may ask about so
many examples of the draw, and a share is of these. The first variant of a draw stands for the champion: always a
contender, and the winner of ties. An example on which some variant has no recorded score is left out of its table.
100 draws of each table, 8 of each table of means, 10 where the rule is slow (Thompson sampling, the Rasch model);
comparisons are on the same draws. Intervals are 95 %, by bootstrap over the tables, and so speak of tables like these:
19 and 11 are few, and those of one source are alike.

*Means*: of 157 to 265 paraphrases of a task, only the mean accuracy on 100 samples is published, by 11 or 16 models, of
which every third is taken, others with each task.
Answers are drawn by these means, 100 for each paraphrase and independently: no two paraphrases find the same example
hard, as they do in tables of answers, and that favours rules that do not pair. The published mean is what a choice is
worth, so a rule can be luckier than full evaluation, which sees the drawn answers only.

**Ours** is `ContinuousRejects` of `optimizer/core/search/racing.py`, by which strategy `race` spends its calls, and
`joint` where its cap does not pay for all rows of each candidate. It is continuous rejects, CR-A, as published, but for
two things: several may fall at a time, and the calls are planned with the rows that there are.
[0039](../adr/0039-race-uses-continuous-rejects.md) has how it was chosen, on the development tables alone, and
fixed on 23 November 2026, before the confirmation tables were opened for it. *Two reservations*: the tables of TREC,
SST-2 and LLMJudge and one model of each task of the means were opened once before, for the rule before (0018), and
before that a prototype of such rules was looked at over all tables with answers together. The stories (HANNA) and the
nine models (rational cascades) were opened for no rule. For speed ours is computed by a twin of the product's code;
{agreed} of {asked} choices that were also made by the product's code were the same, and a test holds the two equal.
"""
PARTS = {
    "confirmation": (
        """
## Confirmation tables

Relevance judgements under 24 to 27 prompts (TREC Deep Learning; GPT-4o, Mistral, Llama 3.2), 100 sentiment templates
(SST-2, OPT 2.7B), 33 judging systems (LLMJudge), five models under four prompts that judge stories by six criteria
(HANNA), nine models on five sets of questions (rational cascades). Means: every other task.
"""
    ),
    "development": (
        """
## Development tables

Ours was chosen on these, so its figures here are favourable to it: media bias under eight or nine prompts with seven
models (BABE), 10 to 15 ways of judging with four models (LLMBar), and the means of the other tasks. *Ours, ...*: what
was considered beside it.
"""
    ),
}
GROUP = "\n### {name}\n"
TABLE = """
Points lost, and ours less the other with the interval over the {n} tables (below zero: ours loses less):

| rule | {shares} |
| --- |{lines}
"""
BETTER = "\nBetter than ours here, the whole interval on its side: {found}.\n"
LIKE = "\nNo rule is better than ours here by its whole interval. A lower mean, within the error, has: {found}.\n"
NONE = "\nNo rule has a lower mean than ours here.\n"
SHUFFLED = """
## Where no variant is better than another

120 examples of each table, each example's scores dealt out among the variants by chance, half of them held out, a study
with strategy `race` and one look at the held-out half through the product's gates: {share:.1%} of {n} studies report an
improvement ({low:.1%} to {high:.1%}); at most 5 % may.
"""
READING = """
## What this says, and what not

* The bar was set beforehand at 20 % of the calls: no published rule better by its whole interval with 60 rows, with all
  rows and on means. **On the confirmation tables it {bar}.** At other shares the lines under the tables say who is
  better; with some forty comparisons in each part, one or two whole intervals fall on one side by chance.
* Asking everybody equally, or some in full, is far behind dropping the worst on the way. Among the rules that drop with
  a fixed number of calls the differences on tables of answers are small.
* With more variants than examples, continuous rejects as published has no room, since it drops one variant at most for
  each example met, and successive rejects plans for more examples than there are. Ours does neither.
* Rules that model the scores (Thompson sampling, Rasch) are here as they can be written in fifty lines; tuned ones may
  do better. PromptEval's own aim is the distribution over prompts, not the best one.
* TRIPLE's two rules are sequential halving and continuous rejects; *examples not shared* lets each prompt draw its own.
  Its variants with embeddings of the prompts are not here: the tables hold no text to embed for most.
* What is asked after every example cannot be asked many at a time: with two or three contenders left a model that takes
  16 calls at once is given two or three.
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
        groups = list(dict.fromkeys(c["case"].split(": ")[0] for c in of_part))
        text += opening + "".join(
            _group(group.removeprefix(f"{part}, "), [c for c in of_part if c["case"].startswith(f"{group}: ")])
            for group in groups
        )
    false = next((c for c in result["cells"] if c["case"].startswith("shuffled")), None)
    if false is not None:
        text += SHUFFLED.format(share=false["ours"], n=false["n"], low=false["low"], high=false["high"])
    missed = worse_at_the_bar(cells)
    return text + READING.format(bar=f"was missed: {'; '.join(missed)}" if missed else "holds")


def worse_at_the_bar(cells: Cells) -> list[str]:
    """Groups of confirmation tables, each with a published rule that loses less than ours there by its whole interval
    at 20 % of the calls.
    """
    return [
        f"{c['case'].split(': ')[0].removeprefix('confirmation, ')}, {c['other_name']}"
        for c in cells
        if c["case"].startswith("confirmation, ")
        and ": points lost at 20%: " in c["case"]
        and c["other"] is not None
        and c["low"] > 0
        and not c["other_name"].startswith("ours")
    ]


def _group(name: str, cells: Cells) -> str:
    rows: dict[str, dict[str, str]] = {}
    lower: dict[str, list[str]] = {}
    better: dict[str, list[str]] = {}
    found = [(re.fullmatch(r".*: points lost at (\d+)%: (.*)", c["case"]), c) for c in cells]
    points = {(m[1], m[2]): c["ours"] if c["other"] is None else c["other"] for m, c in found if m}
    for match, cell in found:
        assert match is not None
        share, rule = match.groups()
        least = min(lost for (of, _), lost in points.items() if of == share)
        lost = points[share, rule]
        shown = f"**{lost:.2f}**" if lost <= least + 1e-9 else f"{lost:.2f}"
        between = f"({cell['low']:.2f} to {cell['high']:.2f})"
        if cell["other"] is not None:
            between = f"{cell['ours'] - cell['other']:+.2f} ({cell['low']:+.2f} to {cell['high']:+.2f})"
            if cell["other"] < cell["ours"] - 1e-9:
                (better if cell["low"] > 0 else lower).setdefault(rule, []).append(f"{share} %")
        rows.setdefault(rule, {})[share] = f"{shown} {between}"
    shares = list(dict.fromkeys(share for share, _ in points))
    heads = " | ".join(f"{share} % of the calls" for share in shares)
    text = GROUP.format(name=name[0].upper() + name[1:])
    text += TABLE.format(shares=heads, lines=" --- |" * len(shares), n=max(c["n"] for c in cells))
    text += "".join(f"| {rule} | {' | '.join(row[s] for s in shares)} |\n" for rule, row in rows.items())
    text += BETTER.format(found=_listed(better)) if better else LIKE.format(found=_listed(lower)) if lower else NONE
    return text


def _listed(found: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{name} (at {', '.join(shares)})" for name, shares in found.items())
