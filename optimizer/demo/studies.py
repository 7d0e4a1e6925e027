"""The two searches, queued by command, run at the same time by the worker, and watched in the store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optimizer.cli.study_run import read_definition
from optimizer.config import Settings
from optimizer.core.study import Study, Trial
from optimizer.demo.place import FAMILIES
from optimizer.demo.screen import Bars, Screen
from optimizer.ports import Store

POLL_S = 1.0
ENDED = ("finished", "cancelled", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """An ended study with its trials, and the variant that a rollout may start with."""

    study: Study
    trials: list[Trial]

    @property
    def is_nominated(self) -> bool:
        return self.study.outcome == "nominated"

    @property
    def candidate(self) -> str | None:
        """The nominated winner; else the best trial beside the champion, to be started as forced and called so; None without any."""
        if self.is_nominated:
            return self.study.winner
        others = [t for t in self.trials if t.variant != self.study.champion and t.score is not None]
        return max(others, key=lambda t: (t.score or 0.0, -t.number)).variant if others else None


def run_studies(
    screen: Screen, definition: Path, *, settings: Settings, store: Store, visit: Callable[[Searched], int]
) -> dict[str, Searched]:
    """Both studies to their end. Raises RuntimeError when one failed.

    ``visit`` brings users of the champion as soon as a study has ended, and says how many: what they report is summed up two minutes
    later, and the rollout's guardrails compare with it.
    """
    values = read_definition(definition)
    search = int(values["budget"]["calls"]) - 2 * int(values["n_holdout"])
    screen.say(
        f"Each: examples by DSPy, settings by Optuna, at most {search} calls; then champion and winner once on {values['n_holdout']} sealed documents "
        f"({2 * int(values['n_holdout'])} calls). All documents are fixed by hash before the first call."
    )
    where = str(definition.relative_to(settings.home))
    ids = {}
    for family in FAMILIES:
        answer = json.loads(screen.command("study", "run", family, "--definition", where, "--no-follow", "--json", show=lambda line: False))
        ids[family] = str(answer.get("study", answer)["id"])
        screen.say(f"  queued: {ids[family]}")
    searched: dict[str, Searched] = {}
    with screen.bars() as bars:
        seen = {family: 0 for family in FAMILIES}
        open_families = set(FAMILIES)
        while open_families:
            time.sleep(POLL_S)
            for family in sorted(open_families):
                study, trials, n_calls = _look(store, ids[family])
                seen[family] = _tell_trials(bars, study, trials, seen[family])
                _move_bar(bars, study, n_calls, values)
                if study.status in ENDED:
                    open_families.discard(family)
                    searched[family] = one = _searched(study, trials)
                    bars.line(f"{family}: {visit(one)} users of the champion, before anything is rolled out")
    for family in FAMILIES:
        for line in outcome_lines(searched[family]):
            screen.say(line)
    return searched


def _searched(study: Study, trials: list[Trial]) -> Searched:
    if study.status != "finished":
        raise RuntimeError(f"the study of {study.family} {study.status}: {study.error}. See `detent study show {study.id}`.")
    return Searched(study=study, trials=trials)


def outcome_lines(searched: Searched) -> list[str]:
    """What came out, in words and figures."""
    study = searched.study
    spent = f"{study.spend.n_calls} calls, {study.spend.n_from_journal} more answered by the journal"
    head = f"  {study.family}: {(study.outcome or study.status).replace('_', ' ')} ({len(searched.trials)} trials, {spent})"
    summary = str((study.confirmation or {}).get("summary") or "")
    if not summary:
        summary = "nothing was better than the champion on the dev documents, so the sealed ones were not looked at"
    return [head, f"    {summary}"]


def _look(store: Store, id: str) -> tuple[Study, list[Trial], int]:
    with store.read() as tx:
        study = store.studies.get(tx, id)
        assert study is not None
        return study, store.studies.trials(tx, id), store.journal.spend(tx, id).n_calls


def _tell_trials(bars: Bars, study: Study, trials: list[Trial], n_told: int) -> int:
    complete = [t for t in trials if t.status == "complete"]
    for trial in complete[n_told:]:
        score = "not measured" if trial.score is None else f"{trial.score:.3f}"
        bars.line(f"{study.family}: trial {trial.number} by {trial.proposer}: {score}  ({trial.variant})")
    return max(n_told, len(complete))


def _move_bar(bars: Bars, study: Study, n_calls: int, values: Mapping[str, Any]) -> None:
    total = int(values["budget"]["calls"])
    words = {"queued": "waiting for the worker", "running": "searching", "confirming": "confirming on sealed documents"}
    done = total if study.status in ENDED else min(n_calls, total - 1)
    doing = words.get(study.status, study.outcome or study.status)
    bars.show(study.family, done, total, f"{doing}, {n_calls} of at most {total} calls{_time_left(study, n_calls, total)}")


def _time_left(study: Study, n_calls: int, total: int) -> str:
    """At the pace so far; nothing before there is a pace."""
    if study.status in ENDED or study.started_at is None or n_calls < 10:
        return ""
    minutes = (datetime.now(UTC) - study.started_at).total_seconds() / 60 / n_calls * (total - n_calls)
    return f", {minutes:.0f} min left at the most" if minutes >= 1 else ", less than a minute left"
