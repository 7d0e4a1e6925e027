"""docs/reference/families-measured.md from bench/results/families.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pages import lines, text_of

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
from optimizer.core.predictor.worth import STUDENT

Cell = Mapping[str, Any]
Cells = Sequence[Cell]
NOT_MEASURED = "not measured"


def page(result: Mapping[str, Any], rollouts: Mapping[str, Any] | None = None) -> str:
    families = by_family(result)
    missing = [f"[{name}](families/{name}.md)" for name in PLAN if name not in families]
    shown = {"gains": _gain, "form": _form, "costs": _cost, "trivial": _trivial}
    return text_of(
        "families-measured",
        left_out=[*([] if missing else ["Not measured"]), *([] if rollouts else ["Rolled out"])],
        **result,
        imported=N_IMPORTED,
        dev=N_DEV,
        bases=N_BASES,
        rule_of=RULE_OF,
        least=LEAST_BASE,
        absolute=ABSOLUTE,
        repeated=" and ".join(f"{name} gained {_repeated(name)}" for name in REPEATED),
        ceiling=AT_CEILING,
        floor=1 - AT_CEILING,
        rises=100 * FORMAT_RISES,
        falls=100 * INVENTION_FALLS,
        names=", ".join(missing),
        **{
            part: lines((f"[{name}](families/{name}.md)", *row(name, cells)) for name, cells in families.items())
            for part, row in shown.items()
        },
        **({} if rollouts is None else rolled_out(rollouts)),
    )


def _gain(name: str, cells: Cells) -> Sequence[str]:
    text = verdict(name, cells)
    lift = text.lift
    relative = (
        "not shown"
        if lift.relative is None or lift.relative_interval is None
        else "{} ({} to {})".format(*(percent(one, 1) for one in (lift.relative, *lift.relative_interval)))
    )
    gain = f"**{lift.absolute:+.3f}** ({lift.interval[0]:+.3f} to {lift.interval[1]:+.3f})"
    held = "held" if text.is_held else MISSED
    means = f"{lift.n_rows}, {lift.n_seeds}", f"{lift.base:.3f}", f"{lift.winner:.3f}"
    return PLAN[name].falls or PLAN[name].figure, *means, gain, _claim(name, lift), relative, text.bar, held


def _claim(name: str, lift: Lift) -> str:
    least = claimed(name, lift)
    if least is not None:
        return f"at least {least:.3f}"
    return "nothing: not confirmed on other rows" if name in REPEATED and lift.interval[0] > 0 else "nothing"


def _repeated(name: str) -> str:
    one = REPEATED[name]
    return f"{one.change:+.3f} ({one.interval[0]:+.3f} to {one.interval[1]:+.3f})"


def _form(name: str, cells: Cells) -> Sequence[str]:
    form, names, numbers = (lift_in(cells, part) for part in ("format", "entities", "numbers"))
    assert form is not None
    held = invention_held(names) if names else NOT_MEASURED
    return _shown(form), format_held(form), _shown(names), held, _shown(numbers)


def _shown(lift: Lift | None) -> str:
    if lift is None:
        return NOT_MEASURED
    return f"{lift.base:.2f} > {lift.winner:.2f} ({lift.interval[0]:+.2f} to {lift.interval[1]:+.2f})"


def _cost(name: str, cells: Cells) -> Sequence[str]:
    calls, tokens = (sum(cell["search"][what] for cell in cells) / len(cells) for what in ("calls", "tokens"))
    per_answer = [
        f"{_median_of(cells, 'base', part):.0f} > {_median_of(cells, 'winner', part):.0f}"
        for part in ("input_tokens", "output_tokens")
    ]
    seconds = " > ".join(f"{_median_of(cells, side, 'latency_ms') / 1000:.1f}" for side in ("base", "winner"))
    bases = ", ".join(dict.fromkeys(cell["base"] for cell in cells))
    examples = ", ".join(str(cell["n_examples"]) for cell in cells)
    strategies = ", ".join(dict.fromkeys(cell["strategy"] for cell in cells))
    return strategies, f"{calls:,.0f}", f"{tokens:,.0f}", *per_answer, seconds, bases, examples


def _trivial(name: str, cells: Cells) -> Sequence[str]:
    plan = PLAN[name]
    first = next((cell for cell in cells if cell["seed"] == 1), cells[0])
    texts = {
        baseline: f"{one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
        for baseline, one in first["trivial"].items()
        if not isinstance(one, str)
    }
    student = texts.pop(STUDENT, "none: its answers are no labels")
    listed = ", ".join(f"{baseline} {figure}" for baseline, figure in texts.items()) or "none can be computed"
    values = _values(cells, "winner", "figure")
    winner = sum(values) / len(values) if values else None
    return f"{winner:.3f} ({plan.figure})", listed, student


def _values(cells: Cells, side: str, part: str) -> list[float]:
    return [one[part] for cell in cells for one in cell["answers"][side] if one[part] is not None]


def _median_of(cells: Cells, side: str, part: str) -> float:
    values = sorted(_values(cells, side, part))
    return values[len(values) // 2]
