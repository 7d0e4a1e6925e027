"""A home for each family and seed, and in it what a user types: import, evaluate, study."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT
from ruamel.yaml import YAML
from typed.command import typed

from lifts.plan import N_BASES, N_IMPORTED, FamilyMeasurement, definition_of
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.host.config import load_settings
from optimizer.runtime import wiring

Row = Mapping[str, Any]
MANY_CALLS = 100_000  # a cap that never bites: the definition's sizes bound the study


@dataclass(frozen=True, kw_only=True)
class HomeModel:
    """The model that answers in every home, by its name there and its entry in config/models.yaml."""

    name: str = "embedded"
    entry: Mapping[str, Any] | None = None

    @classmethod
    def from_environment(cls) -> HomeModel:
        """The embedded model, or the one that DETENT_BENCH_MODEL and DETENT_BENCH_API name.

        Raises SystemExit where only one of both is set.
        """
        model, address = os.environ.get("DETENT_BENCH_MODEL"), os.environ.get("DETENT_BENCH_API")
        if not model and not address:
            return cls()
        if not model or not address:
            raise SystemExit("Set both: DETENT_BENCH_MODEL names the model, DETENT_BENCH_API is the address up to /v1.")
        entry = {"openai_compatible": address, "model": model, "size": os.environ.get("DETENT_BENCH_SIZE", "medium")}
        if key := os.environ.get("DETENT_BENCH_KEY_ENV"):
            entry["api_key_env"] = key
        return cls(name="measured", entry=entry)

    @property
    def label(self) -> str:
        return self.name if self.entry is None else str(self.entry["model"])


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What a study chose, by its own dev rows.

    ``base``: the best of the family's bases. ``proposer``: of the winner; "base" where nothing was better, "champion"
    where the base that served was.
    """

    base: Variant
    base_name: str
    winner: Variant
    proposer: str
    strategy: str
    dev_scores: Mapping[str, float]  # of base and winner
    n_calls: int
    n_tokens: int
    model_minutes: float


def rows_of(data: Path, name: str, part: str, measured: FamilyMeasurement, family: Family) -> list[dict[str, Any]]:
    """The data's rows in a shuffled order that is always the same, with the family's own names and inputs."""
    lines = (data / name / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [_row(json.loads(line), measured, family) for line in lines if line]
    random.Random(f"families {name} {part}").shuffle(rows)
    return rows


def _row(row: Row, measured: FamilyMeasurement, family: Family) -> dict[str, Any]:
    expected = {**row["expected"], **{ours: row["expected"][theirs] for ours, theirs in measured.expected.items()}}
    return {"id": row["id"], "input": family.declared_inputs(row["input"]), "expected": expected}


def make_home(home: Path, name: str, measured: FamilyMeasurement, data: Path, model: HomeModel) -> None:
    """A project with this family as it is shipped; its corpus and the like are those of the data."""
    folder = home / "families" / name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "families" / name / "family.yaml", folder / "family.yaml")
    for ours, theirs in measured.files.items():
        shutil.copyfile(data / name / theirs, folder / ours)
    if model.entry is not None:
        _write_yaml(home / "config" / "models.yaml", {model.name: dict(model.entry)})
        file = YAML()
        declared = file.load((folder / "family.yaml").read_text(encoding="utf-8"))
        declared["model"]["default"] = model.name
        declared["model"].pop("tiers", None)  # what is measured is one model's prompts
        _write_yaml(folder / "family.yaml", declared)


def _write_yaml(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)


def family_in(home: Path, name: str) -> Family:
    """Raises SystemExit where the family cannot be used in this home, with the first reason."""
    files = wiring.load_families(load_settings(home=home))
    if name not in files.families:
        raise SystemExit(f"{name} cannot be used in {home}: {next(iter(files.problems), 'it is not there')}")
    return files.families[name]


def declare(home: Path, name: str, changes: Mapping[str, Any]) -> None:
    """Edits the family's file as a user does: nested keys of ``changes`` are set, all else stays."""
    path, file = home / "families" / name / "family.yaml", YAML()
    declared = file.load(path.read_text(encoding="utf-8"))
    _set(declared, changes)
    _write_yaml(path, declared)


def _set(declared: Any, changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping):
            _set(declared.setdefault(key, {}), value)
        else:
            declared[key] = value


def serve(home: Path, name: str, version: str) -> None:
    """Makes this version of the family's file the champion, by a person's word, where it is not."""
    family = family_in(home, name)
    variant = family.variant(version).id
    if family.variant().id != variant:
        declare(home, name, {"prompt": {"current": version}})
    if json.loads(typed(home, "family", "show", name, "--json"))["champion"]["variant"] != variant:
        typed(home, "family", "adopt", name, "--confirm", name, "--reason", "the best of its bases")


def best_base(home: Path, name: str, measured: FamilyMeasurement, data: Path) -> str:
    """The version of the best base on training rows of its own, by a study of strategy ``bases``; of equals the one
    that serves.
    """
    family = family_in(home, name)
    _import(home, name, 0, measured, data)
    _study(home, name, "bases", 0, definition_of(measured, N_BASES))
    scores = _trials(home, name)[1]
    by_size = family.prompt.by_size
    assert by_size is not None
    serves = family.prompt.current
    return max(by_size.names(), key=lambda name: (scores.get(family.variant(name).id, 0.0), name == serves))


def search(home: Path, name: str, seed: int, base: str, measured: FamilyMeasurement, data: Path) -> Chosen:
    """Imports, evaluates and searches by the commands; run again, what was paid is answered by the journal.

    Args:
        base: the version of the best base.
    """
    family = family_in(home, name)
    _import(home, name, seed, measured, data)
    serves = family.variant(base).id == family.variant().id
    strategy = measured.strategy if serves else f"bases+{measured.strategy}"
    _study(home, name, strategy, seed, definition_of(measured))
    return _chosen(home, family, base)


def _import(home: Path, name: str, seed: int, measured: FamilyMeasurement, data: Path) -> None:
    rows = rows_of(data, name, "train", measured, family_in(home, name))
    drawn = random.Random(f"families {name} {seed}").sample(rows, min(N_IMPORTED, len(rows)))
    (home / "rows.jsonl").write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in drawn), encoding="utf-8"
    )
    typed(home, "import", str(home / "rows.jsonl"), "--family", name, "--curated")


def _study(home: Path, name: str, strategy: str, seed: int, definition: Mapping[str, Any]) -> None:
    """What the first base scores on the rows of the study, then the study; one that was cut off goes on."""
    begun = latest_study(home, name)
    if begun is not None:
        if begun.status != "finished":
            typed(home, "study", "resume", begun.id, "--json")
        return
    _write_yaml(home / "study.yaml", dict(definition))
    typed(home, "family", "evaluate", name, "--n", str(definition["n_dev"]), "--json")
    words = f"study run {name} --strategy {strategy} --seed {seed} --budget-calls {MANY_CALLS} --json".split()
    typed(home, *words, "--definition", str(home / "study.yaml"))


def latest_study(home: Path, name: str) -> Any:
    """The family's last study, None where it has none."""
    settings = load_settings(home=home)
    wiring.migrate_store(settings)
    store = wiring.open_store(settings)
    try:
        with store.read() as tx:
            return next(iter(store.studies.page(tx, family=name)[0]), None)
    finally:
        store.close()


def _trials(home: Path, name: str) -> tuple[Any, dict[str, float], dict[str, str]]:
    """The finished study, and by variant its score and who proposed it."""
    store = wiring.open_store(load_settings(home=home))
    try:
        with store.read() as tx:
            study = next(s for s in store.studies.page(tx, family=name)[0] if s.status == "finished")
            trials = store.studies.trials(tx, study.id)
    finally:
        store.close()
    scores = {t.variant: t.score for t in trials if t.score is not None}
    return study, scores, {t.variant: t.proposer for t in trials}


def _chosen(home: Path, family: Family, base_name: str) -> Chosen:
    """A study without a winner leaves what served. Of what is no better than the base on the study's dev rows the base
    itself.
    """
    study, scores, proposers = _trials(home, family.name)
    base, best = family.variant(base_name), study.winner or study.champion
    is_better = scores.get(best, 0.0) > scores.get(base.id, 0.0)
    store = wiring.open_store(load_settings(home=home))
    try:
        with store.read() as tx:
            answers = [c.answer for c in store.journal.calls(tx, study.id) if c.answer is not None]
            record = store.variants.get(tx, family.name, best) if is_better else None
    finally:
        store.close()
    winner = base if record is None else record.variant
    return Chosen(
        base=base,
        base_name=base_name,
        winner=winner,
        proposer="base" if record is None else proposers[winner.id],
        strategy=study.strategy,
        dev_scores={one.id: scores[one.id] for one in (base, winner) if one.id in scores},
        n_calls=len(answers),
        n_tokens=sum((one.input_tokens or 0) + (one.output_tokens or 0) for one in answers),
        model_minutes=sum(one.latency_ms for one in answers) / 60_000,
    )
