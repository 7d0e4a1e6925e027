"""Where homes and results are kept, and the files and pages that are made of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import CACHES, RESULTS, SHARED, commit, machine
from pages import DOCS

from lifts.homes import HomeModel
from lifts.page import page
from lifts.plan import PER_SECOND, PLAN, SCALE
from optimizer.core.family.settings import RolloutSettings

LIFTS, ROLLOUTS = "families.json", "family_rollouts.json"


@dataclass(frozen=True, kw_only=True)
class Work:
    """Where cells are kept, by whom they are answered, and from which data."""

    folder: Path
    data: Path
    model: HomeModel

    @classmethod
    def from_environment(cls) -> Work:
        """Of the environment's model."""
        model = HomeModel.from_environment()
        cache = Path(os.environ.get("DETENT_FAMILIES") or CACHES / "detent-bench-families")
        return cls(
            folder=cache / model.label.replace("/", "_"),
            data=SHARED / "data",
            model=model,
        )

    def home(self, name: str, seed: int | None = None) -> Path:
        return self.folder / name / ("held_out" if seed is None else f"seed_{seed}")

    def bases(self, name: str) -> Path:
        return self.folder / name / "bases"

    def result(self, name: str, seed: int) -> Path:
        return self.folder / name / f"seed_{seed}.json"

    def confirmed(self, name: str, variant: str) -> Path:
        return self.folder / name / f"confirmed_{variant}"

    def rollout(self, name: str) -> Path:
        return self.folder / name / "rollout.json"

    @property
    def is_ours(self) -> bool:
        """Whether the embedded model answered, whose figures the repository keeps."""
        return self.model.entry is None


def collected(work: Work) -> dict[str, Any]:
    """Every cell that is kept, in the plan's order; where none is, what the repository keeps of the embedded model."""
    published = RESULTS / LIFTS
    if work.is_ours and published.is_file() and not any(_cell_files(work)):
        return dict(json.loads(published.read_text(encoding="utf-8")))
    cells = [_rounded(json.loads(path.read_text(encoding="utf-8"))) for path in _cell_files(work)]
    return {"name": "families", "commit": commit(), "machine": machine(), "model": work.model.label, "cells": cells}


def rolled_out(work: Work) -> dict[str, Any] | None:
    """Every rollout that is kept, and what was the same for all; None where there is none.

    Where no cell is kept either, what the repository keeps of the embedded model.
    """
    published = RESULTS / ROLLOUTS
    if work.is_ours and published.is_file() and not any(_cell_files(work)):
        return dict(json.loads(published.read_text(encoding="utf-8")))
    paths = [work.rollout(name) for name in PLAN if work.rollout(name).is_file()]
    cells = [_rounded(json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    setting = {"per_second": PER_SECOND, "scale": SCALE, "most": RolloutSettings().max_labelled}
    page = {"name": "family_rollouts", "machine": machine(), "model": work.model.label}
    return {**page, "setting": setting, "cells": cells} if cells else None


def publish(work: Work) -> None:
    """Results and page, of what is kept; another model's stay in its folder."""
    result, rollouts = collected(work), rolled_out(work)
    results, to = (RESULTS, DOCS) if work.is_ours else (work.folder, work.folder)
    results.mkdir(parents=True, exist_ok=True)
    (results / LIFTS).write_text(json.dumps(result) + "\n", encoding="utf-8")
    if rollouts is not None:
        (results / ROLLOUTS).write_text(json.dumps(rollouts, indent=1) + "\n", encoding="utf-8")
    (to / "families-measured.md").write_text(page(result, rollouts), encoding="utf-8")


def _rounded(value: Any) -> Any:
    """Numbers with four decimals: there are some of each answer."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def _cell_files(work: Work) -> Iterator[Path]:
    for name in PLAN:
        yield from sorted((work.folder / name).glob("seed_*.json"))
