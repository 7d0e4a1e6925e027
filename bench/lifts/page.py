"""docs/reference/families-measured.md from bench/results/families.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pages import in_columns

from lifts.plan import (
    ABSOLUTE,
    AT_CEILING,
    FORMAT_RISES,
    INVENTION_FALLS,
    LEAST_BASE,
    N_BASES,
    N_DEV,
    N_IMPORTED,
    PLAN,
    REPEATED,
    RULE_OF,
)
from lifts.rolled import rolled_out
from lifts.verdict import (
    MISSED,
    Lift,
    by_family,
    claimed,
    format_held,
    invention_held,
    lift_in,
    percent,
    verdict,
)

Cell = Mapping[str, Any]
Cells = Sequence[Cell]
NOT_MEASURED = "not measured"

HEAD = """# What studies of the shipped families gain

Made by `python bench/families.py` (`make bench-families`) from [families.json](../../bench/results/families.json),
at commit {commit} ({machine}). Model: {model}. For each family and seed {imported} training rows of a public data
set were imported; a study then tried four sets of examples on the family's best base prompt and chose by {dev} rows
of these. Which of the bases for three sizes of model is best, a study of strategy `bases` had told before on
{bases} other training rows. That base and the study's winner then answered the same held-out rows, which no search
had seen. Import, evaluation and study are the commands that a user types; which strategy and how large a study each
family gets was fixed on {rule_of} in `bench/lifts/plan.py`, before a held-out row was opened; 60 rows of
intent_routing that had been looked at before are left out. Two corrections came after other rows had been opened:
where a study finds nothing better, what it leaves serving counts as its choice (which changed answer_generation),
and examples show JSON with its keys in the order given (relationship_extraction was measured again, with the same
figures).

The absolute change leads. Its interval, and that of the relative one, holds 95 % by the bootstrap over held-out rows,
each the mean of its seeds. Below a base of {least:.2f} a relative one says little and is not shown, and the bar is a
gain of {absolute:.2f}. Every bar also asks for an interval beyond 0. What was not reached is said so; no measure was
chosen to fit. Asked for are 200 held-out rows, or all where the data has fewer, and two seeds; the column of rows says
how many were answered. **What is claimed is the lower end of the interval**, and nothing where it holds 0. Two
families were measured again on 100 other rows, which this benchmark does not have: {repeated}. Their claim is the
lower of both ends. **The embedded model has 135 million parameters**: another model gives other figures, and the same
command measures it.
"""

GAINS = """
## Gains

| family | measure | rows, seeds | best base | winner | change (95 %) | claimed | relative change (95 %) | bar | |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

FORM = """
## Form and invention

Format compliance is the share of the format's rules that an answer keeps. Its bar: {rises:.0f} % more than the base
with an interval above 0, or at least {ceiling:.2f}. Unsupported are names and numbers of an answer that no input
has, told without a model, on rows where every answer could be read. The bar of names: {falls:.0f} % less with an
interval below 0, or at most {floor:.2f}. Prompt tokens and latency have a bar where a study has that aim; here all
had the aim quality.

| family | format: base > winner (95 %) | | unsupported names: base > winner (95 %) | | unsupported numbers |
| --- | --- | --- | --- | --- | --- |
"""

COSTS = """
## What it takes

Calls and tokens of a search, a seed; tokens and seconds of an answer, base > winner, medians. Seconds are those of a
machine that did other work, too.

| family | strategy | calls to search | tokens to search | prompt tokens | answer tokens | seconds | best base | examples shown |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""  # noqa: E501

TRIVIAL = """
## Without a model

By the same measure, on the same rows, learnt from the rows imported with seed 1. **Where it is higher than the winner,
this model is not worth its calls on that task.** Logistic regression of document_analysis was computed later, on the
same rows: its lists are labels in fact.

| family | winner | baselines |
| --- | --- | --- |
"""

MISSING = """
## Not measured

{names}: run the command again; it goes on where it stopped.
"""


@in_columns
def page(result: Mapping[str, Any], rollouts: Mapping[str, Any] | None = None) -> str:
    found = by_family(result)
    head = HEAD.format(
        commit=result["commit"],
        machine=result["machine"],
        model=result["model"],
        imported=N_IMPORTED,
        dev=N_DEV,
        bases=N_BASES,
        rule_of=RULE_OF,
        least=LEAST_BASE,
        absolute=ABSOLUTE,
        repeated=" and ".join(f"{name} gained {_repeated(name)}" for name in REPEATED),
    )
    form = FORM.format(ceiling=AT_CEILING, floor=1 - AT_CEILING, rises=100 * FORMAT_RISES, falls=100 * INVENTION_FALLS)
    tables = [(GAINS, _gain), (form, _form), (COSTS, _cost), (TRIVIAL, _trivial)]
    missing = [f"[{name}](families/{name}.md)" for name in PLAN if name not in found]
    parts = [
        head,
        *(
            top + "".join(f"| [{name}](families/{name}.md) | {row(name, cells)} |\n" for name, cells in found.items())
            for top, row in tables
        ),
    ]
    return "".join([*parts, rolled_out(rollouts), MISSING.format(names=", ".join(missing)) if missing else ""])


def _gain(name: str, cells: Cells) -> str:
    told = verdict(name, cells)
    lift = told.lift
    relative = (
        "not shown"
        if lift.relative is None or lift.relative_interval is None
        else "{} ({} to {})".format(*(percent(one, 1) for one in (lift.relative, *lift.relative_interval)))
    )
    gain = f"**{lift.absolute:+.3f}** ({lift.interval[0]:+.3f} to {lift.interval[1]:+.3f})"
    held = "held" if told.is_held else MISSED
    means = f"{lift.n_rows}, {lift.n_seeds} | {lift.base:.3f} | {lift.winner:.3f}"
    return f"{_measure(name)} | {means} | {gain} | {_claim(name, lift)} | {relative} | {told.bar} | {held}"


def _claim(name: str, lift: Lift) -> str:
    least = claimed(name, lift)
    if least is not None:
        return f"at least {least:.3f}"
    return "nothing: not confirmed on other rows" if name in REPEATED and lift.interval[0] > 0 else "nothing"


def _repeated(name: str) -> str:
    one = REPEATED[name]
    return f"{one.change:+.3f} ({one.interval[0]:+.3f} to {one.interval[1]:+.3f})"


def _measure(name: str) -> str:
    return PLAN[name].falls or PLAN[name].figure


def _form(name: str, cells: Cells) -> str:
    form, names, numbers = (lift_in(cells, part) for part in ("format", "entities", "numbers"))
    assert form is not None
    told = (
        f"{_shown(form)} | {format_held(form)} | {_shown(names)} | {invention_held(names) if names else NOT_MEASURED}"
    )
    return f"{told} | {_shown(numbers)}"


def _shown(lift: Lift | None) -> str:
    if lift is None:
        return NOT_MEASURED
    return f"{lift.base:.2f} > {lift.winner:.2f} ({lift.interval[0]:+.2f} to {lift.interval[1]:+.2f})"


def _cost(name: str, cells: Cells) -> str:
    calls, tokens = (sum(cell["search"][what] for cell in cells) / len(cells) for what in ("calls", "tokens"))
    per_answer = [
        f"{_median_of(cells, 'base', part):.0f} > {_median_of(cells, 'winner', part):.0f}"
        for part in ("input_tokens", "output_tokens")
    ]
    seconds = " > ".join(f"{_median_of(cells, side, 'latency_ms') / 1000:.1f}" for side in ("base", "winner"))
    bases = ", ".join(dict.fromkeys(cell["base"] for cell in cells))
    examples = ", ".join(str(cell["n_examples"]) for cell in cells)
    strategies = ", ".join(dict.fromkeys(cell["strategy"] for cell in cells))
    return f"{strategies} | {calls:,.0f} | {tokens:,.0f} | {' | '.join(per_answer)} | {seconds} | {bases} | {examples}"


def _trivial(name: str, cells: Cells) -> str:
    plan = PLAN[name]
    first = next((cell for cell in cells if cell["seed"] == 1), cells[0])
    told = {
        baseline: f"{one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
        for baseline, one in first["trivial"].items()
        if not isinstance(one, str)
    }
    listed = ", ".join(f"{baseline} {figure}" for baseline, figure in told.items()) or "none can be computed"
    values = _values(cells, "winner", "figure")
    winner = sum(values) / len(values) if values else None
    return f"{winner:.3f} ({plan.figure}) | {listed}"


def _values(cells: Cells, side: str, part: str) -> list[float]:
    return [one[part] for cell in cells for one in cell["answers"][side] if one[part] is not None]


def _median_of(cells: Cells, side: str, part: str) -> float:
    values = sorted(_values(cells, side, part))
    return values[len(values) // 2]
