"""The confirmation before a rollout: base and winner answer the rows of the home that the import had sealed.

No study had opened them. This is the one step of the rollouts that asks the model: both answer 30 to 50 rows. It takes
place in a copy of the home that is kept, so that another run finds what was answered and asks nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typed.command import DONE, REFUSED, typed

from lifts.homes import declare, latest_study, serve
from lifts.recorded import VersionPair


@dataclass(frozen=True, kw_only=True)
class ConfirmedHome:
    """The kept ``home`` in which the confirmation took place, and what it showed."""

    home: Path
    record: Mapping[str, Any]


def confirm(name: str, pair: VersionPair, folder: Path) -> ConfirmedHome:
    """Serves the base and types the confirmation of the winner; again, the home's own record answers.

    The gates ask for 100 sealed rows, which about 560 imported ones give. So the family's file asks for as many as
    200 gave, as the refusal of a smaller number advises. The other gates are the defaults.

    Args:
        folder: the one for the home; made where it is not there.
    Raises:
        RuntimeError: the confirmation did not end; the next run goes on with it.
    """
    if not folder.is_dir():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(pair.home, part).rename(folder)
    serve(folder, name, pair.version)
    n_sealed = json.loads(typed(folder, "family", "show", name, "--json"))["n_holdout"]
    declare(folder, name, {"rollout": {"gates": {"n": n_sealed}}})
    words = ("study", "confirm", name, pair.candidate.id, "--yes", "--json")
    said = typed(folder, *words, allowed=(DONE, REFUSED))  # refused where the record says that a gate is not met
    study = latest_study(folder, name)
    if study.winner != pair.candidate.id or study.status != "finished" or not study.confirmation:
        raise RuntimeError(f"{pair.candidate.id} has no confirmation: {said[-500:]}")
    confirmation = study.confirmation
    figures = ("n", "champion_mean", "winner_mean", "lift", "lift_low", "lift_high", "confidence")
    return ConfirmedHome(
        home=folder,
        record={
            "outcome": study.outcome,
            **{figure: confirmation.get(figure) for figure in figures},
            "missed": {gate["name"]: gate["reason"] for gate in confirmation["gates"] if gate["verdict"] != "pass"},
        },
    )
