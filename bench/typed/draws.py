"""One draw of a table: its rows as examples of a family of its own, a study on them,
and what was nominated on the whole table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import isnan, log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from optimizer.core.dataset.examples import make_example
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.core.family.variant import VariantRecord
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.policy import parse_policy
from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import TierRecords, replay
from optimizer.core.search.cascade.thresholds import FoundThresholds, LeastCost, search
from optimizer.core.search.study import Study
from optimizer.core.serving.champion import first
from optimizer.core.statistics.noninferiority import exact_p
from optimizer.host.config import load_settings
from optimizer.jobs.context import JobContext
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
from optimizer.jobs.studies.run_study import run_study
from optimizer.runtime import wiring
from tests.worlds.contexts import study_context
from typed.command import DONE, REFUSED, typed

CHEAP, STRONG = "gpt-4o-mini", "gpt-4o"
MARGIN, CONFIDENCE = 0.05, 0.9
USD_PER_MTOK = 0.01  # dollars are told in tokens of this price, since the journal prices tokens anew
MODELS = {
    tier: {
        "openai_compatible": "http://127.0.0.1:9/v1",
        "model": tier,
        "price": {"input_usd_per_mtok": USD_PER_MTOK, "output_usd_per_mtok": 0},
    }
    for tier in (CHEAP, STRONG)
}  # nothing listens there: what was recorded is in the journal
CALLS = 100_000


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What the study of one draw nominated, judged on the whole table.

    ``winner`` None: refused or not confirmed, which saves and loses nothing.

    ``core_*``: the core rule on the draw's rows outside the holdout, and on all of them. ``boldest_saved``: by the last
    proposal of the frozen sequence. ``passing_saved``: by the boldest threshold that passes the holdout's test by
    itself, picked after the look as no rule may; what has to pass that test cannot save more, in whatever order.
    ``typed_same``: whether the command nominates the same; None: it was not typed.
    """

    number: int
    outcome: str
    winner: tuple[float, ...] | None  # its thresholds
    saved: float
    lost: float
    core_saved: float
    core_lost: float
    core_saved_all: float
    boldest_saved: float
    passing_saved: float
    n_proposed: int
    n_tested: int
    n_holdout: int
    typed_same: bool | None = None


SERIES = 2  # a rule that changes after a series was looked at is measured on the next one


class Table:
    """A recorded table with a home of its own, in which every draw is a family."""

    def __init__(self, name: str, *, pool: TierRecords, folder: Path) -> None:
        self.name, self.pool, self.folder = name, pool, folder

    def done(self) -> list[Draw]:
        return [_read(path) for path in sorted(self.folder.glob("draw_*.json"))]

    def draw(self, number: int, *, typed: bool) -> bool:
        """False where it is done already, and typed where that is asked for."""
        path, name = self.folder / f"draw_{number:03d}.json", f"draw_{number:03d}"
        self.folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            draw = _read(path)
            if not typed or draw.typed_same is not None:
                return False
            family, study = self._family(name), self._kept_study(name)
        else:
            rng = np.random.default_rng([number, len(self.pool), SERIES])
            rows = rng.integers(len(self.pool), size=len(self.pool))
            family = self._family(name)
            study = self._study(family, rows)
            draw = self._judged(number, family, study, rows)
        if typed:
            draw = replace(draw, typed_same=self._typed(family, study))
        path.write_text(json.dumps(asdict(draw)) + "\n", encoding="utf-8")
        return True

    def _kept_study(self, family: str) -> Study:
        with self.store.read() as tx:
            return next(s for s in self.store.studies.page(tx, family=family)[0] if s.status == "finished")

    @cached_property
    def settings(self) -> Any:
        (self.folder / "config").mkdir(exist_ok=True)
        with (self.folder / "config" / "models.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(MODELS, file)
        settings = load_settings(home=self.folder)
        wiring.migrate_store(settings)
        return settings

    @cached_property
    def store(self) -> Any:
        return wiring.open_store(self.settings)

    @cached_property
    def models(self) -> Any:
        return wiring.open_models(self.settings)

    def _family(self, name: str) -> Family:
        declared = {
            "name": name,
            "inputs": {"row": {"type": "text", "max_chars": 20}},
            "output": {"field": "said", "parser": "label", "labels": ["right", "wrong"]},
            "prompt": {"current": "1", "versions": {"1": {"content": [{"role": "user", "content": "{{row}}"}]}}},
            "model": {"default": STRONG, "tiers": [CHEAP, STRONG], "temperature": 0.0, "max_tokens": 8},
            "scorer": {"label_match": 1.0},
            "space": {},
            "rollout": {"margin": MARGIN, "gates": {"aim": "cost", "confidence": CONFIDENCE, "n": 30}},
        }
        folder = self.folder / "families" / name
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "family.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(declared, file)
        return parse_family(declared)

    def _study(self, family: Family, rows: Any) -> Study:
        clock = wiring.open_clock(self.settings)
        now = clock.now()
        examples = [
            make_example(
                family=family.name,
                input={"row": f"row {row}"},
                expected={"said": "right"},
                created_at=now,
                origin="curated",
                id=f"{family.name}-{at}",
                group=f"{family.name} copy {at}",
            )
            for at, row in enumerate(rows)
        ]
        champion = replace(
            family.variant(), policy={}
        )  # the strong model alone serves, and the file names the tiers to search
        record = VariantRecord(family=family.name, variant=champion, source="file", created_at=now, created_by="bench")

        def write(tx: Any) -> None:
            self.store.examples.add(tx, examples)
            self.store.variants.add(tx, record)
            self.store.champions.put(
                tx, first(family=family.name, variant=champion.id, at=now, by="bench", why="first")
            )

        with self.store.read() as tx:
            begun = next((s for s in self.store.studies.page(tx, family=family.name)[0] if s.status != "failed"), None)
        if begun is None:
            self.store.write(write)
        study = begun or create_study(
            study_context(self.store, clock, family, self.models, actor="bench"),
            StudyRequest(family=family.name, strategy="replay", aim="cost", budget=BudgetBody(calls=CALLS)),
        )
        assert isinstance(study, Study)
        source = SimpleNamespace(
            get=lambda name: ReplayedTier(self, name), describe=self.models.describe, price=self.models.price
        )
        ended = run_study(
            study.id,
            JobContext(
                store=self.store,
                clock=clock,
                families=SimpleNamespace(families={family.name: family}),
                models=source,
                scorer_for=wiring.scorers(self.settings),
            ),
            holdout=wiring.sealed_holdout(),
            strategies=wiring.strategy_for,
            classify=wiring.classify,
        )
        assert ended.status == "finished", ended.error
        return ended

    def _judged(self, number: int, family: Family, study: Study, rows: Any) -> Draw:
        assert study.dataset is not None
        at = {
            split: [int(id.rsplit("-", 1)[1]) for id in study.dataset[split]] for split in ("train", "dev", "holdout")
        }
        open_rows = self.pool.take(np.array([rows[i] for split in ("train", "dev") for i in at[split]]))
        core = self._truth(search(open_rows, LeastCost(margin=MARGIN, level=CONFIDENCE)))
        nominated = self._setting(family, study.winner) if study.outcome == "nominated" and study.winner else None
        saved, lost = self._true(nominated)
        sequence = (study.findings or {}).get("sequence") or {"proposals": []}
        return Draw(
            number=number,
            outcome=str(study.outcome),
            winner=None if nominated is None else nominated.accept,
            saved=saved,
            lost=lost,
            core_saved=core[0],
            core_lost=core[1],
            core_saved_all=self._truth(search(self.pool.take(rows), LeastCost(margin=MARGIN, level=CONFIDENCE)))[0],
            boldest_saved=self._true(
                self._setting(family, sequence["proposals"][-1]["variant"]) if sequence["proposals"] else None
            )[0],
            passing_saved=self._passing(self.pool.take(np.array([rows[i] for i in at["holdout"]]))),
            n_proposed=len(sequence["proposals"]),
            n_holdout=len(at["holdout"]),
            n_tested=len((study.confirmation or {}).get("sequence") or ([1] if study.confirmation else [])),
        )

    def _passing(self, held: TierRecords) -> float:
        """What the boldest threshold saves that the holdout does not reject: all are tried, from the boldest on."""
        sure, gain = held.confidence[:, 0], held.score[:, 0] - held.score[:, 1]
        for accept in np.unique(sure[~np.isnan(sure)]).tolist():
            accepted = gain[sure >= accept]
            wins, losses = int((accepted > 0).sum()), int((accepted < 0).sum())
            if (
                wins - losses > -MARGIN * len(held)
                and exact_p(len(held), wins, losses, MARGIN) <= 1 - CONFIDENCE + 1e-12
            ):
                return self._true(CascadeSetting(tiers=(CHEAP, STRONG), accept=(accept,)))[0]
        return 0.0

    def _truth(self, thresholds: FoundThresholds) -> tuple[float, float]:
        return self._true(thresholds.setting)

    def _true(self, setting: CascadeSetting | None) -> tuple[float, float]:
        """Share of the dollars saved and score lost on the whole table."""
        if setting is None:
            return 0.0, 0.0
        outcome = replay(self.pool, setting)
        return outcome.saved_share.mean, outcome.loss.mean

    def _setting(self, family: Family, winner: str) -> CascadeSetting:
        with self.store.read() as tx:
            cascade = parse_policy(self.store.variants.get(tx, family.name, winner).variant.policy).cascade
        assert cascade is not None
        return CascadeSetting(tiers=cascade.models, accept=cascade.accept)

    def _typed(self, family: Family, study: Study) -> bool:
        """The same study by the command, in a process of its own, with the holdout as unseen as it was."""
        copy = self.folder / "typed" / family.name
        copy.mkdir(parents=True, exist_ok=True)
        self._copy_without_studies(copy, family.name)
        words = f"study run {family.name} --strategy replay --aim cost --budget-calls {CALLS} --json".split()
        said = typed(copy, *words, allowed=(DONE, REFUSED))
        body = json.loads(said)
        again: Mapping[str, Any] = body.get("study", body)
        return (again.get("outcome"), again.get("winner")) == (study.outcome, study.winner)

    def _copy_without_studies(self, copy: Path, family: str) -> None:
        """A home with this family only and the journal, and nothing of its study:
        a holdout that was looked at would be another one.
        """
        import shutil
        import sqlite3

        shutil.copytree(self.folder / "config", copy / "config", dirs_exist_ok=True)
        shutil.copytree(self.folder / "families" / family, copy / "families" / family, dirs_exist_ok=True)
        settings = load_settings(home=copy)
        path = Path(str(settings.db_url()).removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            sqlite3.connect(str(self.settings.db_url()).removeprefix("sqlite:///")) as source,
            sqlite3.connect(path) as target,
        ):
            source.backup(target)
            for table in ("holdout_looks", "trial_results", "trials", "tier_answers", "studies"):
                target.execute(f"DELETE FROM {table}")
            target.execute("DELETE FROM examples WHERE family != ?", (family,))


def _read(path: Path) -> Draw:
    one = json.loads(path.read_text(encoding="utf-8"))
    return Draw(**{**one, "winner": None if one["winner"] is None else tuple(one["winner"])})


class ReplayedTier:
    """A tier that says what was recorded."""

    retries = 0
    concurrency = 1
    max_output_tokens = 8

    def __init__(self, table: Table, name: str) -> None:
        opened = table.models.get(name)
        self.name, self.revision, self.price = opened.name, opened.revision, opened.price
        self._pool, self._at = table.pool, table.pool.tiers.index(name)

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        row = int(str(request.messages[-1]["content"]).split()[-1])
        confidence, score = float(self._pool.confidence[row, self._at]), self._pool.score[row, self._at]
        tokens = round(float(self._pool.cost_usd[row, self._at]) * 1e6 / USD_PER_MTOK)
        return ModelAnswer(
            text="right" if score > 0.5 else "wrong",
            input_tokens=tokens,
            output_tokens=0,
            cost_usd=tokens * USD_PER_MTOK / 1e6,
            latency_ms=1.0,
            log_probability=None if isnan(confidence) else log(max(confidence, 1e-9)),
        )
