"""docs/reference/families-measured.md from bench/results/families.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pages import text_of

from lifts import plan
from lifts.plan import PLAN
from lifts.rolled import rolled_out
from lifts.verdict import by_family, claimed, format_held, invention_held, lift_in, percent, verdict
from optimizer.core.predictor.worth import STUDENT

Cell = Mapping[str, Any]
Cells = Sequence[Cell]


def page(result: Mapping[str, Any], rollouts: Mapping[str, Any] | None = None) -> str:
    families = by_family(result)
    missing = [f"[{name}](families/{name}.md)" for name in PLAN if name not in families]
    functions = (verdict, claimed, lift_in, format_held, invention_held, percent, median_of, trivial)
    return text_of(
        "families-measured",
        left_out=[*([] if missing else ["Not measured"]), *([] if rollouts else ["Rolled out"])],
        **result,
        families=families,
        plan=plan,
        names=", ".join(missing),
        **{function.__name__: function for function in functions},
        **({} if rollouts is None else rolled_out(rollouts)),
    )


def trivial(name: str, cells: Cells) -> str:
    """The last columns of a row: what the winner, the baselines and the student score."""
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
    return f"{winner:.3f} ({PLAN[name].figure}) | {listed} | {student}"


def _values(cells: Cells, side: str, part: str) -> list[float]:
    return [one[part] for cell in cells for one in cell["answers"][side] if one[part] is not None]


def median_of(cells: Cells, side: str, part: str) -> float:
    values = sorted(_values(cells, side, part))
    return values[len(values) // 2]
