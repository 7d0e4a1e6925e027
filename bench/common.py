"""The result file that every benchmark writes, and the same as a table.

Run the other files of this folder, not this one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # what is shared with the tests, before an installed package of that name
RESULTS = ROOT / "bench" / "results"
# Where a run keeps what it would not do again; never inside the project.
CACHES = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
CACHE = Path(os.environ.get("DETENT_RECORDED") or CACHES / "detent-bench-recorded")
SHARED = Path(os.environ.get("DETENT_SHARED", ROOT.parent / "shared"))

Bounds = tuple[float, float] | tuple[None, None]
Span = tuple[float | None, float | None]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measurement side by side. ``low`` and ``high``: 95 % interval of what ``unit`` says they bound."""

    case: str
    ours: float | None  # None: not measured
    other: float | None = None
    other_name: str = ""
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str
    n: int


def options_of(about: str | None, **known: Any) -> argparse.Namespace:
    """What was typed.

    Args:
        known: by option its default, or a pair of it and what it is for. A type stands for no default, False for a
            switch; a list takes several, of names those in it and no others.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in known.items():
        default, words = value if isinstance(value, tuple) else (value, None)
        flag, kind = f"--{name.replace('_', '-')}", default if isinstance(default, type) else type(default)
        if default is False:
            parser.add_argument(flag, action="store_true", help=words)
        elif isinstance(default, list):
            kind = type(default[0])
            parser.add_argument(
                flag, nargs="+", type=kind, choices=default if kind is str else None, default=default, help=words
            )
        else:
            parser.add_argument(flag, type=kind, default=None if kind is default else default, help=words)
    return parser.parse_args()


def data_of(*places: str) -> Path:
    """A folder of the recorded data; ends the command, which is skipped then, where it is not there."""
    folder = SHARED.joinpath("data", *places)
    if not folder.is_dir():
        print(f"Skipped: there is no {folder}; set DETENT_SHARED to the folder that holds data/.", file=sys.stderr)
        raise SystemExit(0)
    return folder


def write_result(name: str, cells: list[Cell], folder: Path = RESULTS) -> Path:
    """Writes bench/results/<name>.json, prints the same as a table, and makes the pages that take it again."""
    from pages import PAGES, publish

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    result = {"name": name, "commit": commit(), "machine": machine(), "cells": [asdict(cell) for cell in cells]}
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(cells))
    for page in (page for page, (_, *results) in PAGES.items() if name in results and folder == RESULTS):
        publish(page)
    return path


def measured_before(name: str, of: str | tuple[str, ...] = "") -> list[Cell]:
    """The cells of bench/results/<name>.json whose case begins so; none where there is no such file."""
    path = RESULTS / f"{name}.json"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else []
    return [Cell(**cell) for cell in cells if cell["case"].startswith(of)]


def table(cells: list[Cell]) -> str:
    head = ("case", "ours", "other", "ratio", "low", "high", "unit", "n")
    rows = [
        head,
        *[
            (c.case, _shown(c.ours), _shown(c.other), _shown(c.ratio), _shown(c.low), _shown(c.high), c.unit, str(c.n))
            for c in cells
        ],
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def cell(
    case: str,
    ours: float | None,
    unit: str,
    n: int,
    bounds: Span = (None, None),
    other: float | None = None,
    by: str = "",
) -> Cell:
    """A cell without a ratio; ``by``: the name of the other."""
    (low, high), ours = bounds, None if ours is None else float(ours)
    other = None if other is None else float(other)
    return Cell(case=case, ours=ours, other=other, other_name=by, low=low, high=high, unit=unit, n=n)


def beside(
    case: str, ours: float, other: float | None, other_name: str, unit: str, n: int, bounds: Bounds = (None, None)
) -> Cell:
    """A cell with the ratio of both, where the other is known and not 0."""
    low, high = bounds
    ratio = ours / other if other else None
    return Cell(
        case=case, ours=ours, other=other, other_name=other_name, ratio=ratio, low=low, high=high, unit=unit, n=n
    )


def ratio_interval(
    ours: Sequence[float], other: Sequence[float], of: Callable[..., Any] = np.mean
) -> tuple[float, float]:
    """95 % interval of ``of(ours) / of(other)`` by the bootstrap (Efron 1979) over pairs:
    the i-th of either side belong together.
    """
    rng, pairs = np.random.default_rng(1), np.array([ours, other])
    drawn = [np.divide(*of(pairs[:, rng.integers(len(ours), size=len(ours))], axis=1)) for _ in range(2000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def commit() -> str | None:
    """The commit measured, with + when files differ from it that a result does not write; None outside a repository."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "-uno", "--", ".", ":!bench/results", ":!docs"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
